"""A fetch returns what is committed, and waits for as much as was asked for, in its time."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import pytest

from ottla.cluster.services import FetchFailed, PartitionFetched, PartitionToFetch
from ottla.model.errors import (
    FencedLeaderEpochError,
    InvalidRequestError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    UnknownLeaderEpochError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.model.limits import FETCH_RESPONSE_BYTES_MAX, FETCH_WAIT_MAX_MS
from ottla.record.batch import split_batches
from ottla.storage.format import segment_file
from tests.cluster.world import DIRECTORY, ME, OTHER, BusyReaders, World, batch, until


def at(
    offset: int, *, number: int = 0, name: str = "web", max_bytes: int = 0, epoch: int | None = None
) -> PartitionToFetch:
    return PartitionToFetch(
        TopicPartition(name, number),
        Offset(offset),
        max_bytes,
        None if epoch is None else LeaderEpoch(epoch),
    )


async def fetch(
    world: World,
    *partitions: PartitionToFetch,
    max_wait_ms: int = 0,
    min_bytes: int = 0,
    max_bytes: int = 0,
) -> list[PartitionFetched | FetchFailed]:
    return await world.fetch.fetch(
        partitions, max_wait_ms=max_wait_ms, min_bytes=min_bytes, max_bytes=max_bytes
    )


async def fetched(world: World, asked: PartitionToFetch, **limits: int) -> PartitionFetched:
    (result,) = await fetch(world, asked, **limits)
    assert isinstance(result, PartitionFetched), result
    return result


def bases(result: PartitionFetched) -> list[int]:
    return [each.header.base_offset for each in split_batches(result.records)]


async def wait_until_waiting(world: World) -> None:
    await until(lambda: len(world.waiters.reads))


async def test_whole_batches_come_from_the_offset_on(world: World) -> None:
    for _ in range(3):
        await world.appended(batch(b"a", b"b"))

    result = await fetched(world, at(2))

    assert bases(result) == [2, 4]
    assert (result.next_offset, result.high_watermark, result.log_start_offset) == (6, 6, 0)


async def test_topic_created_again_is_not_the_one_that_the_reader_means(world: World) -> None:
    asked = replace(at(0), topic_id=TopicId(UUID(int=0xBAD)))

    (result,) = await fetch(world, asked)

    assert isinstance(result, FetchFailed)
    assert isinstance(result.error, UnknownTopicIdError)


async def test_response_may_be_as_large_as_the_door_says(world: World) -> None:
    too_large = FETCH_RESPONSE_BYTES_MAX + 1

    (result,) = await world.fetch.fetch(
        [at(0)], max_wait_ms=0, min_bytes=0, max_bytes=too_large, response_bytes_max=too_large
    )

    assert isinstance(result, PartitionFetched)


async def test_first_batch_may_begin_below_the_offset(world: World) -> None:
    await world.appended(batch(b"a", b"b", b"c"))

    result = await fetched(world, at(1))

    assert bases(result) == [0]
    assert result.next_offset == 3


async def test_what_is_not_durable_is_not_served(world: World) -> None:
    world.disk.hold()
    world.begin(("web", 0, batch()), acks=1)

    result = await fetched(world, at(0))

    assert (result.records, result.next_offset, result.high_watermark) == (b"", 0, 0)


@pytest.mark.parametrize("offset", [-1, 4, 1_000_000])
async def test_offset_outside_the_log_is_out_of_range(world: World, offset: int) -> None:
    await world.appended(batch(b"a", b"b", b"c"))

    bad, good = await fetch(world, at(offset), at(0, number=1))

    assert isinstance(bad, FetchFailed)
    assert isinstance(bad.error, OffsetOutOfRangeError)
    assert isinstance(good, PartitionFetched)


async def test_deleted_offset_is_out_of_range(world: World) -> None:
    await world.appended(batch(b"a", b"b", b"c"))
    await world.offsets.delete_records([(TopicPartition("web", 0), Offset(2))])

    (result,) = await fetch(world, at(1))

    assert isinstance(result, FetchFailed)
    assert isinstance(result.error, OffsetOutOfRangeError)
    assert (await fetched(world, at(2))).log_start_offset == 2


async def test_unknown_partitions_fail_alone(world: World) -> None:
    await world.appended()

    results = await fetch(world, at(0, name="x"), at(0, number=-1), at(0, number=2), at(0))

    assert [isinstance(result, FetchFailed) for result in results] == [True, True, True, False]
    assert isinstance(results[0], FetchFailed)
    assert isinstance(results[0].error, UnknownTopicOrPartitionError)


async def test_leader_epoch_of_the_client_is_compared(world: World) -> None:
    await world.change_partition("web", 0, leader_epoch=3)

    results = await fetch(world, at(0, epoch=2))
    newer = await fetch(world, at(0, epoch=4))
    same = await fetch(world, at(0, epoch=3))

    assert isinstance(results[0], FetchFailed)
    assert isinstance(results[0].error, FencedLeaderEpochError)
    assert isinstance(newer[0], FetchFailed)
    assert isinstance(newer[0].error, UnknownLeaderEpochError)
    assert isinstance(same[0], PartitionFetched)


# --- Limits -----------------------------------------------------------------------------


async def test_partition_limit_holds_but_for_the_first_batch(world: World) -> None:
    for _ in range(3):
        await world.appended(batch(bytes(1_000)))

    assert bases(await fetched(world, at(0, max_bytes=1))) == [0]
    assert bases(await fetched(world, at(0, max_bytes=2_500))) == [0, 1]


async def test_response_limit_leaves_later_partitions_empty(world: World) -> None:
    await world.appended(batch(bytes(1_000)), number=0)
    await world.appended(batch(bytes(1_000)), number=1)

    first, second = await fetch(world, at(0), at(0, number=1), max_bytes=1_500)

    assert isinstance(first, PartitionFetched)
    assert isinstance(second, PartitionFetched)
    assert (len(first.records) > 1_000, len(second.records)) == (True, 0)
    assert (second.next_offset, second.high_watermark) == (0, 1)


async def test_batch_above_every_limit_is_returned_alone(world: World) -> None:
    await world.appended(batch(bytes(100_000)), number=0)
    await world.appended(batch(bytes(100)), number=1)

    first, second = await fetch(world, at(0), at(0, number=1), max_bytes=10)

    assert isinstance(first, PartitionFetched)
    assert isinstance(second, PartitionFetched)
    assert (bases(first), second.records) == ([0], b"")


@pytest.mark.parametrize(
    "limits",
    [
        {"max_wait_ms": -1},
        {"max_wait_ms": FETCH_WAIT_MAX_MS + 1},
        {"min_bytes": -1},
        {"max_bytes": -1},
        {"max_bytes": FETCH_RESPONSE_BYTES_MAX + 1},
    ],
)
async def test_impossible_numbers_are_refused(world: World, limits: dict[str, int]) -> None:
    with pytest.raises(InvalidRequestError):
        await fetch(world, at(0), **limits)


async def test_negative_partition_limit_is_refused(world: World) -> None:
    with pytest.raises(InvalidRequestError):
        await fetch(world, at(0, max_bytes=-1))


async def test_partition_named_twice_is_refused(world: World) -> None:
    with pytest.raises(InvalidRequestError, match="web-0"):
        await fetch(world, at(0), at(1))


# --- Waiting ----------------------------------------------------------------------------


async def test_empty_fetch_without_a_wait_answers_at_once(world: World) -> None:
    result = await fetched(world, at(0))

    assert (result.records, result.next_offset) == (b"", 0)


async def test_long_poll_wakes_when_something_is_committed(world: World) -> None:
    poll = asyncio.create_task(fetched(world, at(0), max_wait_ms=60_000))
    await wait_until_waiting(world)

    await world.appended()

    assert bases(await poll) == [0]


async def test_long_poll_does_not_wake_for_what_is_not_durable(world: World) -> None:
    poll = asyncio.create_task(fetched(world, at(0), max_wait_ms=60_000))
    await wait_until_waiting(world)
    world.disk.hold()

    world.begin(("web", 0, batch()), acks=1)
    await asyncio.sleep(0)

    assert not poll.done()
    world.disk.let_go()
    assert bases(await poll) == [0]


async def test_long_poll_gathers_the_bytes_it_asks_for(world: World) -> None:
    one = batch(bytes(1_000))
    poll = asyncio.create_task(
        fetched(world, at(0), max_wait_ms=60_000, min_bytes=2 * len(one) + 1)
    )
    await wait_until_waiting(world)
    await world.appended(one)
    await world.appended(one)
    done_early = poll.done()

    await world.appended(one)

    assert not done_early
    result = await poll
    assert bases(result) == [0, 1, 2]
    assert (result.next_offset, result.high_watermark) == (3, 3)


async def test_long_poll_answers_with_what_there_is_when_the_time_is_up(world: World) -> None:
    await world.appended()
    poll = asyncio.create_task(fetched(world, at(0), max_wait_ms=100, min_bytes=100_000))
    await wait_until_waiting(world)

    world.clock.passed_ms += 100
    world.waiters.reads.expire_due()

    assert bases(await poll) == [0]


async def test_long_poll_for_more_than_its_partitions_may_give_does_not_wait(world: World) -> None:
    await world.appended(batch(bytes(1_000)))

    result = await fetched(world, at(0, max_bytes=500), max_wait_ms=60_000, min_bytes=100_000)

    assert bases(result) == [0]


async def test_long_poll_hears_that_the_leader_has_changed(world: World) -> None:
    poll = asyncio.create_task(fetch(world, at(0), at(0, number=1), max_wait_ms=60_000))
    await wait_until_waiting(world)

    await world.change_partition("web", 0, replicas=(OTHER, ME), leader=OTHER)

    gone, stays = await poll
    assert isinstance(gone, FetchFailed)
    assert isinstance(gone.error, NotLeaderOrFollowerError)
    assert isinstance(stays, PartitionFetched)


async def test_long_poll_is_answered_when_the_broker_stops(world: World) -> None:
    poll = asyncio.create_task(fetched(world, at(0), max_wait_ms=60_000))
    await wait_until_waiting(world)

    world.gate.close()
    world.waiters.reads.fail_all(world.gate.refusal())

    assert (await poll).records == b""


async def test_poll_that_is_given_up_leaves_nothing_behind(world: World) -> None:
    poll = asyncio.create_task(fetch(world, at(0), max_wait_ms=60_000))
    await wait_until_waiting(world)

    poll.cancel()
    await asyncio.wait([poll])

    assert len(world.waiters.reads) == 0


async def test_time_waited_is_told(world: World) -> None:
    waits: list[float] = []
    poll = asyncio.create_task(
        world.fetch.fetch(
            [at(0)], max_wait_ms=60_000, min_bytes=0, max_bytes=0, waited=waits.append
        )
    )
    await until(lambda: len(world.waiters.reads))

    await world.appended()

    await poll
    assert len(waits) == 1


# --- Cold reads -------------------------------------------------------------------------


async def test_what_is_not_in_memory_is_read_on_a_thread(world: World) -> None:
    await world.appended(batch(b"old"))
    world.disk.make_cold(segment_file(DIRECTORY / "web-0", 0, ".log"))

    result = await fetched(world, at(0))

    assert bases(result) == [0]
    assert world.counted.topics["web"].fetched_bytes == len(result.records)


async def test_what_is_committed_during_a_read_from_the_disk_is_not_missed(world: World) -> None:
    one = batch(bytes(1_000))
    await world.appended(one, number=1)
    world.disk.make_cold(segment_file(DIRECTORY / "web-1", 0, ".log"))
    busy = BusyReaders(world.readers)
    poll = asyncio.create_task(
        fetch(world, at(0), at(0, number=1), max_wait_ms=60_000, min_bytes=2 * len(one))
    )
    await asyncio.sleep(0)
    await world.appended(one, number=0)

    busy.end()

    assert [len(part.records) for part in await poll if isinstance(part, PartitionFetched)] == [
        len(one),
        len(one),
    ]
