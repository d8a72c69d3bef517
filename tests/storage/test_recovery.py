"""Opening a log finds what a stop left: at once after a clean one, by reading after any other."""

from __future__ import annotations

import pytest

from ottla.model.ids import Offset
from ottla.simulation.disk import SimulatedDisk
from tests.storage.world import DIRECTORY, NOW_MS, World, batch, marker, values_in

SMALL = {"segment_bytes": 800, "index_interval_bytes": 100}


def chop(world: World, base_offset: int, count: int) -> None:
    """Cut bytes off the end of a segment's log."""
    path = world.file(base_offset, ".log")
    file = world.disk.open(path)
    file.truncate(file.size - count)


# --- After a clean stop -----------------------------------------------------------------------


def test_clean_restart_finds_everything_as_it_was() -> None:
    world = World(**SMALL)
    world.append_each(30, epoch=1)
    world.append_each(5, epoch=2)
    world.append(batch(b"p", producer=7, sequence=0), epoch=2)
    before = values_in(world.log), world.log.leader_epochs.entries

    world.restart()

    assert (values_in(world.log), world.log.leader_epochs.entries) == before
    assert world.log.recovery.clean
    assert world.log.recovery.segments_scanned == 0
    assert world.log.recovery_point == world.log.log_end_offset
    assert world.append(batch(b"p", producer=7, sequence=0), epoch=2).duplicate


def test_power_failure_after_a_clean_stop_changes_nothing() -> None:
    for seed in range(20):
        world = World(SimulatedDisk(seed), **SMALL)
        world.append_each(30)
        world.log.close()
        world.checkpoint()
        files = {name: world.disk.read(DIRECTORY / name) for name in world.disk.list(DIRECTORY)}

        world.disk.crash()

        assert files == {
            name: world.disk.read(DIRECTORY / name) for name in world.disk.list(DIRECTORY)
        }


def test_clean_restart_of_an_empty_log() -> None:
    world = World()
    world.restart()
    world.restart()

    assert world.append().base_offset == 0


def test_indexes_are_complete_after_a_clean_stop() -> None:
    world = World(**SMALL)
    world.append_each(30)

    world.restart()
    world.append_each(30)
    world.restart()

    assert world.findings() == []
    assert len(world.content(world.segment_bases()[-1], ".index")) > 0


def test_index_goes_on_after_a_clean_restart_as_if_nothing_had_been() -> None:
    steady, restarted = World(**SMALL), World(**SMALL)
    for world in (steady, restarted):
        for number in range(60):
            world.append(batch(at_ms=NOW_MS + number % 7 * 10 + number))
            if world is restarted:
                world.restart()
    steady.restart()

    for base_offset in steady.segment_bases():
        for suffix in (".log", ".index"):
            assert steady.content(base_offset, suffix) == restarted.content(base_offset, suffix)


# --- After a killed process, and torn writes ------------------------------------------------------


def test_everything_is_found_again_without_any_checkpoint() -> None:
    world = World(**SMALL)
    world.append_each(30, epoch=1)
    world.append_each(30, epoch=2)
    before = values_in(world.log), world.log.leader_epochs.entries

    world.kill()

    assert (values_in(world.log), world.log.leader_epochs.entries) == before
    assert world.log.recovery.segments_scanned == world.log.segment_count
    assert world.log.recovery.cut is None
    world.restart()
    assert world.findings() == []


@pytest.mark.parametrize("missing", [1, 30, 68])
def test_torn_last_batch_is_truncated_on_recovery(missing: int) -> None:
    world = World()
    world.append_each(5)
    world.log.abandon()
    chop(world, 0, missing)

    world.log = world.open(clean=False)

    assert [offset for offset, _ in values_in(world.log)] == [0, 1, 2, 3]
    cut = world.log.recovery.cut
    assert cut is not None
    assert (cut.path, cut.offset, cut.sound_batches_follow) == (world.file(0, ".log"), 4, False)
    assert world.append().base_offset == 4


def test_garbled_last_batch_is_truncated_on_recovery() -> None:
    world = World()
    world.append_each(5)
    world.log.abandon()
    world.disk.flip_bit(world.file(0, ".log"), len(world.content(0, ".log")) - 1)

    world.log = world.open(clean=False)

    assert world.log.log_end_offset == 4
    assert world.log.recovery.cut is not None
    assert "checksum" in world.log.recovery.cut.reason


@pytest.mark.parametrize("byte", [0, 7, 8, 11, 16, 21, 26])
def test_wrong_header_of_the_last_batch_is_truncated(byte: int) -> None:
    world = World()
    world.append_each(5)
    world.log.abandon()
    world.disk.flip_bit(world.file(0, ".log"), len(world.content(0, ".log")) // 5 * 4 + byte)

    world.log = world.open(clean=False)

    assert world.log.log_end_offset == 4


def test_what_recovery_found_is_not_taken_for_durable() -> None:
    world = World()
    world.append_each(5)

    world.kill()

    assert world.log.recovery_point == 0
    assert world.log.flush() == 5
    world.crash()
    assert world.log.log_end_offset == 5


def test_indexes_that_recovery_made_are_durable_with_the_next_flush() -> None:
    steady, killed = World(**SMALL), World(**SMALL)
    for world in (steady, killed):
        for number in range(60):
            world.append(batch(at_ms=NOW_MS + number))
    killed.log.abandon()
    for name in killed.disk.list(DIRECTORY):
        if name.endswith("index"):
            killed.disk.remove(DIRECTORY / name)
    killed.log = killed.open(clean=False)
    killed.log.flush()
    killed.checkpoint()

    killed.crash()

    assert killed.log.recovery.segments_scanned == 1
    for base_offset in killed.segment_bases()[:-1]:
        for suffix in (".index", ".timeindex"):
            assert killed.content(base_offset, suffix) == steady.content(base_offset, suffix)


def test_zeros_where_a_batch_should_be_are_truncated() -> None:
    world = World()
    world.append_each(5)
    world.log.abandon()
    world.disk.open(world.file(0, ".log")).append([bytes(500)])

    world.log = world.open(clean=False)

    assert world.log.log_end_offset == 5
    assert world.log.recovery.cut is not None
    assert world.log.recovery.cut.removed_bytes == 500


def test_segments_after_a_torn_one_are_removed() -> None:
    world = World(**SMALL)
    world.append_each(60)
    first, second, *_ = world.segment_bases()
    world.log.abandon()
    chop(world, first, 10)

    world.log = world.open(clean=False)

    assert world.log.log_end_offset == second - 1
    assert world.segment_bases() == [0]
    cut = world.log.recovery.cut
    assert cut is not None
    assert cut.sound_batches_follow


def test_only_segments_from_the_recovery_point_on_are_scanned() -> None:
    world = World(**SMALL)
    world.append_each(60)
    world.log.flush()
    world.append_each(3)
    world.checkpoint()

    world.kill()

    assert world.log.recovery.segments_scanned == 1
    assert world.log.log_end_offset == 63


def test_segment_that_ends_at_the_recovery_point_is_scanned_for_its_indexes() -> None:
    world = World(**SMALL)
    world.append_each(10)
    world.log.flush()
    world.checkpoint()
    world.log.roll(now_ms=NOW_MS)
    world.log.abandon()
    world.disk.remove(world.file(0, ".index"))

    world.log = world.open(clean=False)
    world.restart()

    assert len(world.content(0, ".index")) > 0
    assert world.findings() == []


# --- Indexes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("harm", ["lost", "emptied", "cut", "longer", "garbled"])
def test_lost_or_damaged_index_is_rebuilt_when_it_is_needed(
    suffix: str, harm: str, *, clean: bool
) -> None:
    world = World(**SMALL)
    for number in range(60):
        world.append(batch(b"%d" % number, at_ms=NOW_MS + number))
    before = values_in(world.log)
    world.log.close()
    world.checkpoint()
    path = world.file(0, suffix)
    original = world.disk.read(path)
    file = world.disk.open(path)
    if harm == "lost":
        world.disk.remove(path)
    else:
        file.truncate(0 if harm in {"emptied", "garbled"} else len(original) - 3)
        if harm == "longer":
            file.append([b"\x7f" * 27])
        if harm == "garbled":
            file.append([b"\x11" * len(original)])

    world.log = world.open(clean=clean)

    assert values_in(world.log, max_bytes=150) == before
    found = world.log.offset_for_timestamp(NOW_MS + 4, end_offset=Offset(60))
    assert found is not None
    assert found.offset == 4
    world.restart()
    assert world.disk.read(path) == original


@pytest.mark.parametrize("position", range(0, 40, 4))
def test_wrong_entry_inside_an_index_misleads_nobody(position: int) -> None:
    world = World(**SMALL)
    world.append_each(60)
    before = values_in(world.log)
    world.log.close()
    world.checkpoint()
    for bit in (0, 6):
        world.disk.flip_bit(world.file(0, ".index"), position + 3, bit)

    world.log = world.open(clean=True)

    for offset in range(12):
        read = world.log.read(Offset(offset), max_bytes=1, end_offset=Offset(60))
        assert read is not None
        assert (read.base_offset, read.next_offset) == (offset, offset + 1)
    assert values_in(world.log, max_bytes=300) == before


def test_index_without_a_log_is_removed() -> None:
    world = World()
    world.append_each(3)
    world.log.close()
    world.checkpoint()
    for suffix in (".index", ".timeindex", ".txnindex"):
        world.disk.open(world.file(77, suffix), create=True)
    world.disk.open(DIRECTORY / "leader-epoch-checkpoint.tmp", create=True)

    world.log = world.open(clean=True)

    names = world.disk.list(DIRECTORY)
    assert not [name for name in names if "77" in name or name.endswith(".tmp")]


# --- Epochs and producers ---------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"garbage", b"0\n2\n1 0\n"])
def test_lost_or_damaged_epochs_are_found_again_in_the_batches(content: bytes | None) -> None:
    world = World(**SMALL)
    world.append_each(20, epoch=1)
    world.append_each(20, epoch=4)
    world.log.close()
    world.checkpoint()
    path = DIRECTORY / "leader-epoch-checkpoint"
    world.disk.remove(path)
    if content is not None:
        world.disk.replace(path, content)

    world.log = world.open(clean=True)

    assert world.epochs() == [(1, 0), (4, 20)]


def test_epochs_without_a_single_segment_are_not_believed() -> None:
    world = World()
    world.append_each(5)
    world.log.flush()
    world.log.abandon()
    world.disk.remove(world.file(0, ".log"))
    world.log_start = 3

    world.log = world.open(clean=False)

    assert world.epochs() == []


def test_damaged_snapshot_is_made_up_for_by_reading_the_log() -> None:
    world = World(**SMALL)
    for sequence in range(30):
        world.append(batch(b"p", producer=7, sequence=sequence))
    world.log.close()
    world.checkpoint()
    world.disk.flip_bit(world.file(30, ".snapshot"), 8)

    world.log = world.open(clean=True)

    assert world.append(batch(b"p", producer=7, sequence=29)).duplicate
    assert not world.append(batch(b"p", producer=7, sequence=30)).duplicate


def test_aborted_transactions_are_found_again() -> None:
    world = World(**SMALL)
    world.append(batch(b"t", producer=7, sequence=0, transactional=True))
    world.append_each(30)
    world.append(marker(producer=7, aborted=True))
    expected = world.log.aborted_transactions(start_offset=Offset(0), end_offset=Offset(5))
    assert [each.first_offset for each in expected] == [0]

    world.kill()

    assert world.log.aborted_transactions(start_offset=Offset(0), end_offset=Offset(5)) == expected
    world.restart()
    assert world.log.aborted_transactions(start_offset=Offset(0), end_offset=Offset(5)) == expected
