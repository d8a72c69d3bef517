"""Old segments go, recovery points are written down, silent producers are forgotten: when due."""

from __future__ import annotations

import errno

import pytest

from ottla.model.ids import TopicPartition
from ottla.storage.checkpoints import RECOVERY_POINT_FILE, OffsetCheckpoint
from tests.cluster.world import DIRECTORY, World, batch

MIB = 1 << 20
LARGE = batch(bytes(600_000))


async def fill(world: World, count: int, **settings: str) -> None:
    """Make a topic whose segments hold one batch each."""
    await world.create_topic("old", partitions=1, segment_bytes=str(MIB), **settings)
    for _ in range(count):
        await world.appended(LARGE, name="old")


async def test_segments_older_than_retention_ms_go(world: World) -> None:
    await fill(world, 4, retention_ms="1000")
    log = world.partition("old").log
    before = log.segment_count

    world.clock.passed_ms += 5_000
    await world.maintenance.run_due()

    assert before == 4
    assert log.log_start_offset == log.log_end_offset == 4


async def test_oldest_segments_go_until_the_log_is_small_enough(world: World) -> None:
    await fill(world, 4, retention_bytes=str(2 * len(LARGE)), retention_ms="-1")

    world.clock.passed_ms += 1_000
    await world.maintenance.run_due()

    assert world.partition("old").log.log_start_offset == 2


async def test_nothing_goes_before_it_is_time_to_look(world: World) -> None:
    await fill(world, 3, retention_bytes="0", retention_ms="-1")

    world.clock.passed_ms += 999
    await world.maintenance.run_due()

    assert world.partition("old").log.log_start_offset == 0


async def test_files_of_old_segments_go_after_the_delay(world: World) -> None:
    await fill(world, 3, retention_bytes="0", retention_ms="-1", file_delete_delay_ms="10000")
    world.clock.passed_ms += 1_000
    await world.maintenance.run_due()
    set_aside = [n for n in world.disk.list(DIRECTORY / "old-0") if n.endswith(".deleted")]

    world.clock.passed_ms += 10_000
    await world.maintenance.run_due()

    assert set_aside
    assert not [n for n in world.disk.list(DIRECTORY / "old-0") if n.endswith(".deleted")]


async def test_idle_segment_is_closed_after_segment_ms(world: World) -> None:
    await world.create_topic("idle", segment_ms="1000")
    await world.appended(name="idle")

    world.clock.passed_ms += 2_000
    await world.maintenance.run_due()

    assert world.partition("idle").log.segment_count == 2


async def test_recovery_points_are_written_down(world: World) -> None:
    await world.appended()
    world.clock.passed_ms += 60_000

    await world.maintenance.run_due()

    written = OffsetCheckpoint(world.disk, DIRECTORY / RECOVERY_POINT_FILE).read()
    assert written[TopicPartition("web", 0)] == 1


async def test_silent_producers_are_forgotten(world: World) -> None:
    await world.appended(batch(producer_id=7, producer_epoch=0, sequence=0))
    world.clock.passed_ms += 2 * 86_400_000

    await world.maintenance.run_due()

    late = batch(producer_id=7, producer_epoch=0, sequence=55, timestamp_ms=-1)
    assert (await world.appended(late)).base_offset == 1


@pytest.mark.parametrize("operation", ["append", "rename"])
async def test_failing_disk_stops_the_directory_and_not_the_maintenance(
    world: World, operation: str
) -> None:
    await fill(world, 3, retention_bytes="0", retention_ms="-1")
    world.clock.passed_ms += 60_000
    world.disk.fail(operation, errno.EIO, times=100)

    await world.maintenance.run_due()

    assert world.directory.failure is not None
    world.clock.passed_ms += 60_000
    await world.maintenance.run_due()


async def test_files_that_cannot_be_removed_are_left_to_the_next_start(world: World) -> None:
    await world.delete_topic("web")
    world.clock.passed_ms += 60_000
    world.disk.fail("remove", errno.EIO, times=100)

    await world.maintenance.run_due()

    assert world.directory.failure is None
    assert [name for name in world.disk.list(DIRECTORY) if name.endswith("-delete")]
