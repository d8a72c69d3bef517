"""Positions are found among what is committed and not deleted; what is committed can be deleted."""

from __future__ import annotations

import errno

import pytest

from ottla.cluster.offsets import HIGH_WATERMARK
from ottla.cluster.services import OffsetFound, OffsetToFind, SpecialPosition
from ottla.model.errors import InvalidRequestError, OttlaError, StorageError
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition
from ottla.model.limits import MIB, PARTITIONS_PER_REQUEST_MAX
from tests.cluster.control_plane import code, codes
from tests.cluster.world import DIRECTORY, ME, OTHER, START_MS, World, batch

EARLIEST, LATEST = SpecialPosition.EARLIEST, SpecialPosition.LATEST
MAX_TIMESTAMP = SpecialPosition.MAX_TIMESTAMP
WEB, EMPTY = TopicPartition("web", 0), TopicPartition("web", 1)
NOTHING = (-1, -1)


@pytest.fixture
async def filled(world: World) -> World:
    """Partition 0 of ``web`` holds records 0 to 5, two a batch, ten milliseconds from the next."""
    for after_ms in (0, 10, 20):
        await world.appended(batch(b"a", b"b", timestamp_ms=START_MS + after_ms))
    return world


async def find(
    world: World,
    position: SpecialPosition | int,
    *,
    of: TopicPartition = WEB,
    epoch: int | None = None,
) -> OffsetFound | OttlaError:
    known = None if epoch is None else LeaderEpoch(epoch)
    (result,) = await world.offsets.list_offsets([OffsetToFind(of, position, known)])
    return result


async def found(
    world: World, position: SpecialPosition | int, *, of: TopicPartition = WEB
) -> tuple[int, int]:
    """Return offset and timestamp, the latter since ``START_MS`` if there is one."""
    result = await find(world, position, of=of)
    assert isinstance(result, OffsetFound), result
    timestamp_ms = result.timestamp_ms
    return result.offset, timestamp_ms if timestamp_ms < 0 else timestamp_ms - START_MS


async def epoch_of(world: World, position: SpecialPosition | int) -> int:
    result = await find(world, position)
    assert isinstance(result, OffsetFound), result
    return result.leader_epoch


async def delete(world: World, before: int, *, of: TopicPartition = WEB) -> int | OttlaError:
    (result,) = await world.offsets.delete_records([(of, Offset(before))])
    return result


async def lead_anew(world: World) -> None:
    """Let another broker lead in between: the leader epoch rises from 0 to 2."""
    await world.change_partition("web", 0, leader=OTHER)
    await world.change_partition("web", 0, leader=ME)


def append_uncommitted(world: World, *, timestamp_ms: int = START_MS + 30) -> None:
    """Append a record that is not durable, and so not committed, until the disk is let go."""
    world.disk.hold()
    world.begin(("web", 0, batch(timestamp_ms=timestamp_ms)), acks=1)


# --- Named positions ------------------------------------------------------------------


async def test_earliest_is_the_log_start(filled: World) -> None:
    assert await found(filled, EARLIEST) == (0, -1)


async def test_earliest_follows_a_deletion(filled: World) -> None:
    await delete(filled, 3)

    assert await found(filled, EARLIEST) == (3, -1)


async def test_latest_is_the_high_watermark(filled: World) -> None:
    append_uncommitted(filled)

    assert await found(filled, LATEST) == (6, -1)


async def test_latest_moves_when_records_are_committed(filled: World) -> None:
    append_uncommitted(filled)
    filled.disk.let_go()
    await filled.flushed()

    assert await found(filled, LATEST) == (7, -1)


async def test_both_ends_of_an_empty_partition_are_the_same(world: World) -> None:
    assert await found(world, EARLIEST) == await found(world, LATEST) == (0, -1)


async def test_record_with_the_largest_timestamp_is_found(filled: World) -> None:
    await filled.appended(batch(timestamp_ms=START_MS + 50))
    await filled.appended(batch(timestamp_ms=START_MS + 40))

    assert await found(filled, MAX_TIMESTAMP) == (6, 50)


async def test_first_of_the_records_with_the_largest_timestamp_is_found(filled: World) -> None:
    assert await found(filled, MAX_TIMESTAMP) == (4, 20)


async def test_largest_timestamp_that_is_not_committed_does_not_count(filled: World) -> None:
    append_uncommitted(filled)

    assert await found(filled, MAX_TIMESTAMP) == (4, 20)


async def test_empty_partition_has_no_largest_timestamp(filled: World) -> None:
    assert await found(filled, MAX_TIMESTAMP, of=EMPTY) == NOTHING


# --- Timestamps -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_ms", "expected"),
    [(-1, (0, 0)), (0, (0, 0)), (1, (2, 10)), (10, (2, 10)), (20, (4, 20)), (21, NOTHING)],
)
async def test_first_record_at_or_after_a_timestamp_is_found(
    filled: World, after_ms: int, expected: tuple[int, int]
) -> None:
    assert await found(filled, START_MS + after_ms) == expected


async def test_any_record_is_at_or_after_timestamp_zero(filled: World) -> None:
    assert await found(filled, 0) == (0, 0)


async def test_record_that_is_not_committed_is_not_found(filled: World) -> None:
    append_uncommitted(filled)

    assert await found(filled, START_MS + 30) == NOTHING


async def test_record_that_was_deleted_is_not_found(filled: World) -> None:
    await delete(filled, 3)

    assert await found(filled, START_MS) == (3, 10)


async def test_empty_partition_has_no_record_at_any_time(filled: World) -> None:
    assert await found(filled, 0, of=EMPTY) == NOTHING


async def test_negative_timestamp_is_a_position_that_this_version_does_not_know(
    filled: World,
) -> None:
    assert code(await find(filled, -5)) == "UNSUPPORTED_VERSION"


async def test_disk_that_cannot_be_read_is_an_error_of_the_partition(filled: World) -> None:
    filled.disk.fail("read", errno.EIO, name_suffix=".log")

    assert code(await find(filled, START_MS)) == "KAFKA_STORAGE_ERROR"


# --- Leader epochs --------------------------------------------------------------------


async def test_earliest_has_the_epoch_of_its_record(filled: World) -> None:
    await lead_anew(filled)
    await filled.appended()

    assert await epoch_of(filled, EARLIEST) == 0


async def test_record_that_was_found_has_the_epoch_it_was_written_in(filled: World) -> None:
    await lead_anew(filled)
    await filled.appended(batch(timestamp_ms=START_MS + 30))

    assert await epoch_of(filled, START_MS) == 0
    assert await epoch_of(filled, START_MS + 30) == 2


@pytest.mark.parametrize("position", [LATEST, START_MS + 1000])
async def test_where_no_record_is_the_epoch_is_the_present_one(
    filled: World, position: SpecialPosition | int
) -> None:
    await lead_anew(filled)

    assert await epoch_of(filled, position) == 2


async def test_empty_partition_has_the_present_epoch(world: World) -> None:
    await lead_anew(world)

    assert await epoch_of(world, EARLIEST) == 2


@pytest.mark.parametrize(
    ("known", "error"),
    [
        (None, "NONE"),
        (1, "FENCED_LEADER_EPOCH"),
        (2, "NONE"),
        (3, "UNKNOWN_LEADER_EPOCH"),
    ],
)
async def test_client_of_another_leader_epoch_is_told(
    filled: World, known: int | None, error: str
) -> None:
    await lead_anew(filled)

    assert code(await find(filled, EARLIEST, epoch=known)) == error


# --- A new leader ---------------------------------------------------------------------


@pytest.mark.parametrize("position", [LATEST, MAX_TIMESTAMP, START_MS])
async def test_new_leader_does_not_guess_what_is_committed(
    filled: World, position: SpecialPosition | int
) -> None:
    append_uncommitted(filled)
    await lead_anew(filled)

    assert code(await find(filled, position)) == "OFFSET_NOT_AVAILABLE"


async def test_new_leader_knows_the_earliest_offset(filled: World) -> None:
    append_uncommitted(filled)
    await lead_anew(filled)

    assert await found(filled, EARLIEST) == (0, -1)


async def test_new_leader_deletes_nothing_that_may_not_be_committed(filled: World) -> None:
    append_uncommitted(filled)
    await lead_anew(filled)

    assert code(await delete(filled, 1)) == "OFFSET_NOT_AVAILABLE"


# --- Which partitions -----------------------------------------------------------------

UNKNOWN = [TopicPartition("no", 0), TopicPartition("web", 2), TopicPartition("web", -1)]


@pytest.mark.parametrize("unknown", UNKNOWN)
async def test_unknown_partition_does_not_disturb_the_others(
    filled: World, unknown: TopicPartition
) -> None:
    queries = [OffsetToFind(partition, LATEST) for partition in (unknown, WEB)]

    results = await filled.offsets.list_offsets(queries)

    assert codes(results) == ["UNKNOWN_TOPIC_OR_PARTITION", "NONE"]


@pytest.mark.parametrize("unknown", UNKNOWN)
async def test_unknown_partition_does_not_keep_others_from_deletion(
    filled: World, unknown: TopicPartition
) -> None:
    results = await filled.offsets.delete_records([(unknown, Offset(1)), (WEB, Offset(1))])

    assert codes(results) == ["UNKNOWN_TOPIC_OR_PARTITION", "NONE"]


async def test_broker_that_does_not_lead_finds_and_deletes_nothing(filled: World) -> None:
    await filled.change_partition("web", 0, leader=OTHER)

    assert code(await find(filled, EARLIEST)) == "NOT_LEADER_OR_FOLLOWER"
    assert code(await delete(filled, 1)) == "NOT_LEADER_OR_FOLLOWER"


async def test_partition_named_twice_is_an_invalid_request(filled: World) -> None:
    with pytest.raises(InvalidRequestError):
        await filled.offsets.list_offsets([OffsetToFind(WEB, EARLIEST), OffsetToFind(WEB, LATEST)])
    with pytest.raises(InvalidRequestError):
        await filled.offsets.delete_records([(WEB, Offset(1)), (WEB, Offset(2))])


async def test_more_partitions_than_the_limit_are_an_invalid_request(filled: World) -> None:
    named = [TopicPartition("web", number) for number in range(PARTITIONS_PER_REQUEST_MAX + 1)]

    with pytest.raises(InvalidRequestError):
        await filled.offsets.list_offsets([OffsetToFind(one, LATEST) for one in named])
    with pytest.raises(InvalidRequestError):
        await filled.offsets.delete_records([(one, Offset(1)) for one in named])


async def test_as_many_partitions_as_the_limit_are_answered(filled: World) -> None:
    named = [TopicPartition("web", number) for number in range(PARTITIONS_PER_REQUEST_MAX)]

    results = await filled.offsets.list_offsets([OffsetToFind(one, LATEST) for one in named])

    assert codes(results)[:3] == ["NONE", "NONE", "UNKNOWN_TOPIC_OR_PARTITION"]


# --- Deleting -------------------------------------------------------------------------


async def test_deletion_answers_the_new_log_start(filled: World) -> None:
    assert await delete(filled, 3) == 3
    assert filled.partition().log.log_start_offset == 3


async def test_minus_one_deletes_all_that_is_committed(filled: World) -> None:
    append_uncommitted(filled)

    assert await delete(filled, HIGH_WATERMARK) == 6


async def test_everything_below_the_high_watermark_can_be_deleted(filled: World) -> None:
    assert await delete(filled, 6) == 6


async def test_what_is_not_committed_cannot_be_deleted(filled: World) -> None:
    append_uncommitted(filled)

    assert code(await delete(filled, 7)) == "OFFSET_OUT_OF_RANGE"
    assert filled.partition().log.log_start_offset == 0


@pytest.mark.parametrize("before", [-2, 7])
async def test_offset_outside_the_log_is_out_of_range(filled: World, before: int) -> None:
    assert code(await delete(filled, before)) == "OFFSET_OUT_OF_RANGE"


@pytest.mark.parametrize("before", [0, 2, 3])
async def test_deleting_what_is_deleted_already_changes_nothing(filled: World, before: int) -> None:
    await delete(filled, 3)

    assert await delete(filled, before) == 3


async def test_nothing_can_be_deleted_from_an_empty_partition(filled: World) -> None:
    assert await delete(filled, HIGH_WATERMARK, of=EMPTY) == 0


async def test_statement_28_records_of_a_compacted_topic_are_not_deleted(world: World) -> None:
    await world.create_topic("table", cleanup_policy="compact")

    answer = await delete(world, HIGH_WATERMARK, of=TopicPartition("table", 0))

    assert code(answer) == "POLICY_VIOLATION"


async def test_records_of_a_topic_that_is_compacted_and_deletes_can_be_deleted(
    world: World,
) -> None:
    await world.create_topic("table", cleanup_policy="compact,delete")

    assert await delete(world, HIGH_WATERMARK, of=TopicPartition("table", 0)) == 0


async def test_failed_directory_deletes_nothing(filled: World) -> None:
    filled.directory.fail(StorageError("the disk failed"))

    assert code(await delete(filled, 3)) == "KAFKA_STORAGE_ERROR"


async def test_failure_to_delete_makes_the_directory_fail(world: World) -> None:
    await fill_segments(world)
    world.disk.fail("rename", errno.EIO)

    assert code(await delete(world, 2, of=BIG)) == "KAFKA_STORAGE_ERROR"
    assert world.directory.failure is not None


# --- Files ----------------------------------------------------------------------------

BIG = TopicPartition("big", 0)
DELAY_MS = 5_000


async def fill_segments(world: World) -> None:
    """Give a topic three segments of one record."""
    await world.create_topic("big", segment_bytes=str(MIB), file_delete_delay_ms=str(DELAY_MS))
    for _ in range(3):
        await world.appended(batch(bytes(MIB * 3 // 4)), name="big")
    assert world.partition("big").log.segment_count == 3


def deleted_logs(world: World) -> list[str]:
    names = world.disk.list(DIRECTORY / "big-0")
    return [name for name in names if name.endswith(".log.deleted")]


async def test_whole_segments_below_the_offset_leave_the_log(world: World) -> None:
    await fill_segments(world)

    await delete(world, 2, of=BIG)

    assert world.partition("big").log.segment_count == 1
    assert len(deleted_logs(world)) == 2


async def test_segment_with_a_record_that_stays_stays(world: World) -> None:
    await fill_segments(world)
    await world.appended(batch(b"a", b"b"), name="big")

    await delete(world, 4, of=BIG)

    assert world.partition("big").log.segment_count == 1
    assert await found(world, EARLIEST, of=BIG) == (4, -1)


async def test_files_go_after_the_delay_of_the_topic(world: World) -> None:
    await fill_segments(world)
    await delete(world, 2, of=BIG)

    assert not world.logs.take_due_removals(now_ms=DELAY_MS - 1)
    for removal in world.logs.take_due_removals(now_ms=DELAY_MS):
        removal.run()
    assert not deleted_logs(world)


async def test_deletion_within_a_segment_leaves_no_files_to_remove(filled: World) -> None:
    await delete(filled, 3)

    assert not filled.logs.take_due_removals(now_ms=10**9)
