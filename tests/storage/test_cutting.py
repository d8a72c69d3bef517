"""What is cut off a log is gone, for readers and for the next start; what is left is untouched."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ottla.model.errors import OffsetOutOfRangeError
from ottla.model.ids import Offset
from ottla.simulation.disk import SimulatedCrash, SimulatedDisk
from ottla.storage.cut_mark import CutMark
from tests.storage.world import (
    DIRECTORY,
    EVERYTHING,
    NOW_MS,
    World,
    batch,
    batches_in,
    values_in,
)

SMALL = {"segment_bytes": 400, "index_interval_bytes": 100}


def offsets(world: World) -> list[int]:
    return [offset for offset, _ in values_in(world.log)]


# --- The end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("end", range(21))
def test_truncated_log_holds_exactly_what_is_below(end: int) -> None:
    world = World(**SMALL)
    world.append_each(20)
    before = values_in(world.log)

    world.log.truncate_to(Offset(end), now_ms=NOW_MS)

    assert world.log.log_end_offset == end
    assert values_in(world.log) == before[:end]
    world.append(batch(b"new"))
    assert values_in(world.log) == [*before[:end], (end, b"new")]
    world.restart()
    assert values_in(world.log) == [*before[:end], (end, b"new")]
    assert world.findings() == []


def test_batch_that_holds_the_offset_goes_as_a_whole() -> None:
    world = World()
    world.append(batch(b"a", b"b"))
    world.append(batch(b"c", b"d", b"e"))

    world.log.truncate_to(Offset(3), now_ms=NOW_MS)

    assert world.log.log_end_offset == 2


def test_truncating_to_the_end_changes_nothing() -> None:
    world = World()
    world.append_each(3)
    operations = world.disk.operations

    removed = world.log.truncate_to(Offset(3), now_ms=NOW_MS)

    assert not removed
    assert world.disk.operations == operations


def test_truncated_epochs_and_producers_go_back_with_the_log() -> None:
    world = World(**SMALL)
    world.append_each(4, epoch=1)
    world.append(batch(b"p0", producer=7, sequence=0), epoch=1)
    world.append_each(4, epoch=2)
    lost = batch(b"p1", producer=7, sequence=1)
    world.append(lost, epoch=3)

    world.log.truncate_to(Offset(6), now_ms=NOW_MS)

    assert world.epochs() == [(1, 0), (2, 5)]
    assert not world.append(lost, epoch=4).duplicate
    assert world.append(batch(b"p0", producer=7, sequence=0), epoch=4).base_offset == 4


def test_truncation_takes_the_recovery_point_back() -> None:
    world = World(**SMALL)
    world.append_each(20)
    world.log.flush()

    world.log.truncate_to(Offset(12), now_ms=NOW_MS)

    assert world.log.recovery_point == 12


def test_truncated_records_do_not_come_back_after_a_crash() -> None:
    for seed in range(20):
        world = World(SimulatedDisk(seed), **SMALL)
        world.append_each(20)
        world.log.flush()
        world.checkpoint()
        world.log.truncate_to(Offset(7), now_ms=NOW_MS)

        world.crash()

        assert offsets(world) == list(range(7))


def test_segments_that_were_cut_off_do_not_come_back_in_place_of_new_ones() -> None:
    for seed in range(60):
        world = World(SimulatedDisk(seed), **SMALL)
        world.append_each(20, size=2, epoch=1)
        world.log.flush()
        bases = world.segment_bases()
        end = bases[1] + 2
        world.log.truncate_to(Offset(end), now_ms=NOW_MS)
        world.append_each(12, size=2, epoch=2)
        assert world.segment_bases()[:3] == bases[:3]

        world.crash()

        epochs = [each.header.partition_leader_epoch for each in batches_in(world.log)]
        assert set(epochs[:end]) == {1}
        assert set(epochs[end:]) <= {2}


def test_epochs_of_what_was_cut_off_and_lost_again_do_not_come_back() -> None:
    for seed in range(20):
        world = World(SimulatedDisk(seed))
        world.append_each(5, epoch=1)
        world.append_each(5, epoch=2)
        world.log.flush()
        world.log.truncate_to(Offset(3), now_ms=NOW_MS)
        world.append_each(1, epoch=3)

        world.crash()

        assert world.epochs() in ([(1, 0)], [(1, 0), (3, 3)])


def test_snapshot_of_what_was_cut_off_is_not_used_later() -> None:
    world = World()
    world.append_each(5)
    lost = batch(b"p", producer=7, sequence=0)
    world.append(lost)
    world.append_each(4)
    world.restart()  # which takes a snapshot at 10
    world.log.truncate_to(Offset(5), now_ms=NOW_MS)
    world.append_each(7)

    world.log.truncate_to(Offset(11), now_ms=NOW_MS)

    assert not world.append(lost).duplicate


def test_second_cut_keeps_what_the_note_of_the_first_says() -> None:
    world = World()
    world.append_each(20)
    world.log.truncate_to(Offset(10), now_ms=NOW_MS)
    world.append_each(5)

    world.log.truncate_to(Offset(12), now_ms=NOW_MS)

    assert world.disk.read(DIRECTORY / "log-cut-checkpoint") == b"0\n2\n10 20\n0 0\n"


def test_notes_of_two_cuts_are_as_careful_as_both() -> None:
    first, second = CutMark(50, 100, 20, 30), CutMark(60, 80, 5, 40)

    assert second.together_with(first) == CutMark(50, 100, 5, 40)


def test_note_of_a_cut_limits_older_checkpoints_only() -> None:
    mark = CutMark(50, 100, 20, 30)

    assert [mark.recovery_point(offset) for offset in (10, 90)] == [10, 50]
    assert [mark.log_start_offset(offset) for offset in (10, 25, 30, 31)] == [10, 20, 20, 31]


def test_stale_checkpoint_is_not_believed_after_a_truncation() -> None:
    for seed in range(20):
        world = World(SimulatedDisk(seed), **SMALL)
        world.append_each(20)
        world.log.flush()
        world.checkpoint()
        world.log.truncate_to(Offset(7), now_ms=NOW_MS)
        world.append_each(30)
        written = values_in(world.log)

        world.crash()

        assert values_in(world.log) == written[: world.log.log_end_offset]
        assert world.log.log_end_offset >= 7


def test_note_of_a_cut_goes_when_the_log_is_durable_past_it() -> None:
    world = World(**SMALL)
    note = DIRECTORY / "log-cut-checkpoint"
    world.append_each(10)
    world.log.truncate_to(Offset(5), now_ms=NOW_MS)
    assert world.disk.read(note) == b"0\n2\n5 10\n0 0\n"

    world.append_each(4)
    world.log.flush()
    world.log.roll(now_ms=NOW_MS)
    assert world.disk.exists(note)

    world.append_each(1)
    world.log.flush()
    world.log.roll(now_ms=NOW_MS)
    assert not world.disk.exists(note)


def test_truncating_below_the_first_segment_starts_the_log_there() -> None:
    world = World()
    world.log.start_at(Offset(100), now_ms=NOW_MS)
    world.append_each(3)

    world.log.truncate_to(Offset(40), now_ms=NOW_MS)

    assert (world.log.log_start_offset, world.log.log_end_offset) == (40, 40)


# --- The beginning -------------------------------------------------------------------------------


def test_deleted_prefix_hides_its_records_and_frees_whole_segments() -> None:
    world = World(**SMALL)
    world.append_each(20)
    bases = world.segment_bases()

    removed = world.log.delete_records_before(Offset(bases[2] + 1))

    assert world.log.log_start_offset == bases[2] + 1
    assert world.segment_bases() == bases[2:]
    assert removed.size_bytes == sum(
        len(world.disk.read(path)) for path in removed.paths if ".log" in path.name
    )
    with pytest.raises(OffsetOutOfRangeError):
        world.log.read(Offset(bases[2]), max_bytes=1, end_offset=Offset(EVERYTHING))
    assert offsets(world)[0] == bases[2] + 1


def test_files_of_deleted_segments_wait_until_they_are_removed() -> None:
    world = World(**SMALL)
    world.append_each(20)
    second = world.segment_bases()[1]

    removed = world.log.delete_records_before(Offset(second))

    marked = world.file(0, ".log").with_name(world.file(0, ".log").name + ".deleted")
    assert world.disk.exists(marked)
    removed.remove()
    assert not [name for name in world.disk.list(DIRECTORY) if name.endswith(".deleted")]


def test_reader_that_has_a_deleted_segment_goes_on_reading() -> None:
    world = World(**SMALL)
    world.append_each(20)
    segment = world.log._state.segments.all[0]
    content = world.content(0, ".log")

    world.log.delete_records_before(Offset(world.segment_bases()[2]))

    assert segment.log.read_at(0, 10_000) == content


def test_whole_log_is_deleted_up_to_its_end_and_no_further() -> None:
    world = World()
    world.append_each(3)

    world.log.delete_records_before(Offset(3))

    assert (world.log.log_start_offset, world.log.log_end_offset) == (3, 3)
    with pytest.raises(OffsetOutOfRangeError, match="ends at 3"):
        world.log.delete_records_before(Offset(4))


def test_deletion_never_goes_back() -> None:
    world = World()
    world.append_each(5)
    world.log.delete_records_before(Offset(4))

    assert not world.log.delete_records_before(Offset(2))
    assert world.log.log_start_offset == 4


def test_epochs_of_deleted_records_are_forgotten() -> None:
    world = World()
    world.append_each(3, epoch=1)
    world.append_each(3, epoch=2)

    world.log.delete_records_before(Offset(4))

    assert world.epochs() == [(2, 4)]


def test_deletion_that_a_crash_did_half_leaves_no_gap() -> None:
    for seed in range(40):
        world = World(SimulatedDisk(seed), **SMALL)
        world.append_each(30)
        written = values_in(world.log)
        world.log.flush()
        world.checkpoint()
        world.log.delete_records_before(Offset(world.segment_bases()[4]))

        world.crash()

        assert values_in(world.log) == written[offsets(world)[0] :]


def test_deletion_that_a_crash_met_after_files_were_removed_leaves_no_gap() -> None:
    for seed in range(60):
        world = World(SimulatedDisk(seed), **SMALL)
        world.append_each(30)
        written = values_in(world.log)
        world.log.flush()
        world.checkpoint()
        world.log.delete_records_before(Offset(world.segment_bases()[4])).remove()

        world.crash()

        assert values_in(world.log) == written[offsets(world)[0] :]


def test_deletion_that_two_crashes_did_half_leaves_no_gap() -> None:
    for seed in range(500):
        world = World(SimulatedDisk(seed), **SMALL)
        world.append_each(12)
        written = values_in(world.log)
        world.log.flush()
        world.checkpoint()
        world.log.delete_records_before(Offset(world.segment_bases()[2]))
        world.disk.crash()
        world.disk.crash_at_operation = world.disk.operations + 6 + seed % 8
        with suppress(SimulatedCrash):
            world.open(clean=False)

        world.crash()

        assert values_in(world.log) == written[offsets(world)[0] :]


def test_log_whose_start_is_beyond_what_a_crash_left_begins_there() -> None:
    world = World()
    world.append_each(3)
    world.disk.settle()
    world.append_each(3)
    world.log.delete_records_before(Offset(6))
    world.log_start = 6
    world.log.abandon()
    path = world.file(0, ".log")
    world.disk.open(path).truncate(len(world.disk.read(path)) // 2)

    world.log = world.open(clean=False)

    assert (world.log.log_start_offset, world.log.log_end_offset) == (6, 6)
    assert world.append().base_offset == 6


# --- All of it -----------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 5, 500])
def test_log_that_starts_anew_holds_nothing(offset: int) -> None:
    world = World(**SMALL)
    world.append_each(20)
    world.append(batch(b"p", producer=7, sequence=0))
    world.log.flush()

    removed = world.log.start_at(Offset(offset), now_ms=NOW_MS)
    removed.remove()

    assert (world.log.log_start_offset, world.log.log_end_offset) == (offset, offset)
    assert world.segment_bases() == [offset]
    assert world.epochs() == []
    assert world.append(batch(b"p", producer=7, sequence=0)).base_offset == offset
    world.restart()
    assert values_in(world.log) == [(offset, b"p")]


def test_epochs_of_before_a_new_start_do_not_come_back_after_a_crash() -> None:
    for seed in range(20):
        world = World(SimulatedDisk(seed))
        world.append_each(5, epoch=4)
        world.log.flush()
        world.log.start_at(Offset(500), now_ms=NOW_MS)

        world.crash()

        assert world.log.log_end_offset == 500
        assert world.epochs() == []


def test_new_start_survives_a_crash_whatever_the_checkpoints_say() -> None:
    for seed in range(20):
        world = World(SimulatedDisk(seed), **SMALL)
        world.append_each(20)
        world.log.delete_records_before(Offset(15))
        world.log.flush()
        world.checkpoint()
        world.log.start_at(Offset(4), now_ms=NOW_MS)
        world.append_each(2)
        world.log.flush()
        world.append_each(1)

        world.crash()

        assert world.log.log_start_offset == 4
        assert offsets(world)[:2] == [4, 5]
