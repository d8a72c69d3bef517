"""Records that were safe once and are not any more are reported with file and position."""

from __future__ import annotations

import pytest

from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from ottla.storage.damage import DamagedLogError
from tests.storage.world import World, values_in

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
