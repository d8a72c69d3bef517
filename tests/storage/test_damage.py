"""Records that were safe once and are not any more are reported with file and position."""

from __future__ import annotations

import pytest

from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from ottla.storage.damage import DamagedLogError
from tests.storage.world import World, batches_in, values_in

SMALL = {"segment_bytes": 800, "index_interval_bytes": 100}


def synced_world(count: int = 60) -> World:
    """A log of which everything was synced and the checkpoint says so, closed without a word."""
    world = World(**SMALL)
    world.append_each(count)
    world.log.flush()
    world.checkpoint()
    world.log.abandon()
    return world


def position_of(world: World, base_offset: int, number: int) -> int:
    """Where the batch with this number begins; all batches of a segment are of one size here."""
    size = len(world.content(base_offset, ".log"))
    bases = [*world.segment_bases(), 60]
    return number * size // (bases[bases.index(base_offset) + 1] - base_offset)


def test_damaged_batch_below_the_recovery_point_is_reported_with_file_and_position() -> None:
    world = synced_world()
    last = world.segment_bases()[-1]
    position = position_of(world, last, 2)
    world.disk.flip_bit(world.file(last, ".log"), position + 65)

    with pytest.raises(DamagedLogError) as raised:
        world.open(clean=False)

    damage = raised.value.damage
    assert (damage.path, damage.position) == (world.file(last, ".log"), position)
    assert damage.offset == last + 2
    assert "checksum" in damage.reason


def test_damaged_log_is_left_as_it_is() -> None:
    world = synced_world()
    last = world.segment_bases()[-1]
    world.disk.flip_bit(world.file(last, ".log"), 65)
    content = world.content(last, ".log")

    for _ in range(2):
        with pytest.raises(DamagedLogError):
            world.open(clean=False)

    assert world.content(last, ".log") == content


def test_log_that_ends_before_the_recovery_point_is_damaged() -> None:
    world = synced_world()
    last = world.segment_bases()[-1]
    world.disk.open(world.file(last, ".log")).truncate(position_of(world, last, 1))

    with pytest.raises(DamagedLogError, match="the log ends there, but everything below 60"):
        world.open(clean=False)


def test_missing_segment_is_damage() -> None:
    world = synced_world()
    last = world.segment_bases()[-1]
    world.disk.remove(world.file(last, ".log"))

    with pytest.raises(DamagedLogError):
        world.open(clean=False)


def test_missing_files_altogether_are_damage() -> None:
    world = synced_world()
    for base_offset in world.segment_bases():
        world.disk.remove(world.file(base_offset, ".log"))

    with pytest.raises(DamagedLogError, match="there is no segment"):
        world.open(clean=False)


def test_torn_end_after_a_clean_stop_is_damage() -> None:
    world = World()
    world.append_each(5)
    world.log.close()
    world.checkpoint()
    file = world.disk.open(world.file(0, ".log"))
    file.truncate(file.size - 1)

    with pytest.raises(DamagedLogError):
        world.open(clean=True)


def test_damage_past_the_recovery_point_is_cut_and_reported_as_followed_by_sound_batches() -> None:
    world = World()
    world.append_each(10)
    world.log.abandon()
    size = len(world.content(0, ".log")) // 10
    world.disk.flip_bit(world.file(0, ".log"), 4 * size + 65)

    world.log = world.open(clean=False)

    cut = world.log.recovery.cut
    assert cut is not None
    assert (cut.position, cut.offset, cut.removed_bytes) == (4 * size, 4, 6 * size)
    assert cut.sound_batches_follow


@pytest.mark.parametrize("closed", [True, False])
def test_reader_reports_damage_it_meets(*, closed: bool) -> None:
    world = World(**SMALL)
    world.append_each(60)
    bases = world.segment_bases()
    base_offset = bases[0] if closed else bases[-1]
    world.restart()
    # The magic byte of the third batch.
    position = position_of(world, base_offset, 2)
    world.disk.flip_bit(world.file(base_offset, ".log"), position + 16, 5)

    with pytest.raises(DamagedLogError) as raised:
        world.log.read(Offset(base_offset + 2), max_bytes=1000, end_offset=Offset(60))

    assert raised.value.damage.path == world.file(base_offset, ".log")
    assert raised.value.damage.position == position
    # Others are served as before.
    read = world.log.read(Offset(base_offset), max_bytes=1, end_offset=Offset(60))
    assert read is not None
    assert read.next_offset == base_offset + 1


def test_damage_error_is_a_storage_error_that_says_what_to_do() -> None:
    world = synced_world()
    world.disk.flip_bit(world.file(world.segment_bases()[-1], ".log"), 65)

    with pytest.raises(StorageError, match=r"restore the file, or remove the directory") as raised:
        world.open(clean=False)

    assert raised.value.code == 56


def test_damage_in_a_closed_segment_does_not_keep_the_log_from_opening() -> None:
    world = synced_world()
    world.disk.flip_bit(world.file(0, ".log"), 65)

    world.log = world.open(clean=False)

    assert world.log.log_end_offset == 60
    assert len(values_in(world.log)) == 60  # the records themselves are their readers' to check


# --- Closed segments after a clean stop ---------------------------------------------------


def stopped_world() -> World:
    world = World(**SMALL)
    world.append_each(60)
    world.log.close()
    world.checkpoint()
    return world


def offsets_until_damage(world: World, **limits: int) -> tuple[list[int], DamagedLogError]:
    """Read from the start until that fails; return the base offsets read, and the error."""
    offsets: list[int] = []
    with pytest.raises(DamagedLogError) as raised:
        offsets.extend(each.header.base_offset for each in batches_in(world.log, **limits))
    return offsets, raised.value


@pytest.mark.parametrize("max_bytes", [1, 250, 1 << 20])
def test_missing_segment_is_damage_to_whoever_reads_on_there(max_bytes: int) -> None:
    world = stopped_world()
    first, second, third = world.segment_bases()[:3]
    world.disk.remove(world.file(second, ".log"))
    world.log = world.open(clean=True)

    offsets, error = offsets_until_damage(world, max_bytes=max_bytes)

    assert offsets == list(range(first, second))
    assert f"begins at offset {third}" in str(error)
    assert error.damage.path == world.file(first, ".log")
    assert error.damage.offset == second


def test_missing_first_segment_is_damage_after_a_clean_stop() -> None:
    world = stopped_world()
    world.disk.remove(world.file(0, ".log"))

    with pytest.raises(DamagedLogError, match="is missing") as raised:
        world.open(clean=True)

    assert raised.value.damage.path == world.file(0, ".log")


@pytest.mark.parametrize("into_a_segment", [0, 1])
def test_log_whose_first_segments_were_deleted_is_not_damaged(into_a_segment: int) -> None:
    world = World(**SMALL)
    world.append_each(60)
    start = world.segment_bases()[2] + into_a_segment
    world.log.delete_records_before(Offset(start)).remove()
    world.log.close()
    world.log_start = 0  # the checkpoint was lost

    world.log = world.open(clean=True)

    assert world.log.log_start_offset == start


@pytest.mark.parametrize("clean", [True, False])
def test_emptied_closed_segment_is_damage(*, clean: bool) -> None:
    world = stopped_world()
    second = world.segment_bases()[1]
    world.disk.open(world.file(second, ".log")).truncate(0)

    with pytest.raises(DamagedLogError, match="it is empty") as raised:
        world.open(clean=clean)

    assert raised.value.damage.path == world.file(second, ".log")


@pytest.mark.parametrize("byte", range(8))
@pytest.mark.parametrize("batch", ["first", "last"])
def test_altered_base_offset_is_damage_and_nothing_beyond_it_is_read(byte: int, batch: str) -> None:
    world = stopped_world()
    second, third = world.segment_bases()[1:3]
    offset = second if batch == "first" else third - 1
    position = position_of(world, second, offset - second)
    world.disk.flip_bit(world.file(second, ".log"), position + byte, 2)
    world.log = world.open(clean=True)

    offsets, error = offsets_until_damage(world)

    assert offsets == list(range(len(offsets)))
    assert len(offsets) <= offset
    assert error.damage.path == world.file(second, ".log")
    assert error.damage.position == position
