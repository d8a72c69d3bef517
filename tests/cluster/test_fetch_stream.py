"""A stream sends what is committed as soon as it is, in order, within the credit that it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.cluster.fetch_stream import BrokerFetchStream
from ottla.cluster.services import FetchFailed, PartitionFetched, PartitionToFetch
from ottla.model.errors import (
    BrokerNotAvailableError,
    InvalidRequestError,
    NotLeaderOrFollowerError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import Offset, TopicPartition
from ottla.model.limits import FETCH_CREDIT_BYTES_MAX, PARTITIONS_PER_REQUEST_MAX
from ottla.record.batch import split_batches
from ottla.storage.format import segment_file
from tests.cluster.world import DIRECTORY, ME, OTHER, BusyReaders, World, batch

Response = list[PartitionFetched | FetchFailed]
PLENTY = 1 << 30
WEB_0, WEB_1 = TopicPartition("web", 0), TopicPartition("web", 1)


class Reader:
    """A client at the other end of a stream."""

    def __init__(self, world: World, **limits: int) -> None:
        self.stream: BrokerFetchStream = world.fetch.open_stream(
            **{"max_wait_ms": 0, "min_bytes": 0, "max_bytes": 0, **limits}
        )
        self._responses: AsyncIterator[Response] = self.stream.responses()
        self._next: asyncio.Task[Response] | None = None

    def read_from(self, offset: int, *, number: int = 0, name: str = "web") -> None:
        self.stream.add([PartitionToFetch(TopicPartition(name, number), Offset(offset))])

    async def next(self) -> Response:
        task, self._next = self._next or self._begin(), None
        return await asyncio.wait_for(task, 10)

    async def is_silent(self) -> bool:
        """Whether nothing comes, however long the event loop turns."""
        self._next = self._next or self._begin()
        for _ in range(20):
            await asyncio.sleep(0)
        return not self._next.done()

    async def offsets(self) -> dict[str, list[int]]:
        """Base offsets of the batches in the next response, by partition."""
        found: dict[str, list[int]] = {}
        for part in await self.next():
            assert isinstance(part, PartitionFetched), part
            found[str(part.topic_partition)] = [
                each.header.base_offset for each in split_batches(part.records)
            ]
        return found

    async def close(self) -> None:
        self.stream.close()
        if self._next is not None:
            await asyncio.wait([self._next])
        await self._responses.aclose()  # type: ignore[attr-defined]

    def _begin(self) -> asyncio.Task[Response]:
        async def read() -> Response:
            return await anext(self._responses)

        return asyncio.create_task(read())


@pytest.fixture
async def reader(world: World) -> AsyncIterator[Reader]:
    opened = Reader(world)
    yield opened
    await opened.close()


async def test_what_is_there_comes_at_once(world: World, reader: Reader) -> None:
    await world.appended()
    await world.appended()
    reader.stream.grant(PLENTY)

    reader.read_from(1)

    assert await reader.offsets() == {"web-0": [1]}


async def test_new_batches_come_when_they_are_committed(world: World, reader: Reader) -> None:
    reader.stream.grant(PLENTY)
    reader.read_from(0)
    silent = await reader.is_silent()

    await world.appended()
    first = await reader.offsets()
    await world.appended()

    assert silent
    assert first == {"web-0": [0]}
    assert await reader.offsets() == {"web-0": [1]}


async def test_several_partitions_share_a_response(world: World, reader: Reader) -> None:
    await world.appended(number=0)
    await world.appended(number=1)
    reader.stream.grant(PLENTY)

    reader.stream.add([PartitionToFetch(tp, Offset(0)) for tp in (WEB_0, WEB_1)])

    assert await reader.offsets() == {"web-0": [0], "web-1": [0]}


async def test_busy_partition_does_not_starve_the_others(world: World) -> None:
    reader = Reader(world, max_bytes=1)
    for _ in range(3):
        await world.appended(number=0)
    await world.appended(number=1)
    reader.stream.grant(PLENTY)
    reader.stream.add([PartitionToFetch(tp, Offset(0), 1) for tp in (WEB_0, WEB_1)])

    order = [next(iter(await reader.offsets())) for _ in range(4)]

    assert order == ["web-0", "web-1", "web-0", "web-0"]
    await reader.close()


# --- Credit ------------------------------------------------------------------------------


async def test_nothing_comes_without_credit(world: World, reader: Reader) -> None:
    await world.appended()
    reader.read_from(0)

    assert await reader.is_silent()
    reader.stream.grant(1)
    assert await reader.offsets() == {"web-0": [0]}


async def test_batch_larger_than_the_credit_is_sent_and_the_debt_is_carried(
    world: World, reader: Reader
) -> None:
    one = batch(bytes(1_000))
    for _ in range(2):
        await world.appended(one)
    reader.stream.grant(10)
    reader.read_from(0)
    first = await reader.offsets()

    reader.stream.grant(len(one) - 10)
    silent = await reader.is_silent()
    reader.stream.grant(1)

    assert (first, silent) == ({"web-0": [0]}, True)
    assert await reader.offsets() == {"web-0": [1]}


async def test_no_more_is_sent_than_credit_was_granted(world: World, reader: Reader) -> None:
    one = batch(bytes(1_000))
    for _ in range(10):
        await world.appended(one)
    reader.stream.grant(3 * len(one))
    reader.read_from(0)

    assert await reader.offsets() == {"web-0": [0, 1, 2]}
    assert await reader.is_silent()


@pytest.mark.parametrize("credit", [-1, FETCH_CREDIT_BYTES_MAX + 1])
async def test_impossible_credit_is_refused(reader: Reader, credit: int) -> None:
    with pytest.raises(InvalidRequestError):
        reader.stream.grant(credit)


async def test_credit_that_adds_up_to_too_much_is_refused(reader: Reader) -> None:
    reader.stream.grant(FETCH_CREDIT_BYTES_MAX)

    with pytest.raises(InvalidRequestError):
        reader.stream.grant(1)


async def test_stream_that_collects_sends_what_its_credit_paid_for(world: World) -> None:
    reader = Reader(world, max_wait_ms=60_000, min_bytes=1_000_000)
    await world.appended()
    reader.stream.grant(1)

    reader.read_from(0)

    assert await reader.offsets() == {"web-0": [0]}
    await reader.close()


async def test_response_holds_no_more_than_its_limit_but_for_the_first_batch(world: World) -> None:
    one = batch(bytes(1_000))
    reader = Reader(world, max_bytes=len(one) + 500)
    for number in (0, 1):
        await world.appended(one, number=number)
    reader.stream.grant(PLENTY)

    reader.stream.add([PartitionToFetch(tp, Offset(0)) for tp in (WEB_0, WEB_1)])

    assert await reader.offsets() == {"web-0": [0]}
    assert await reader.offsets() == {"web-1": [0]}
    await reader.close()


# --- Steering -----------------------------------------------------------------------------


async def test_moved_partition_goes_on_at_its_new_offset(world: World, reader: Reader) -> None:
    for _ in range(3):
        await world.appended()
    reader.stream.grant(PLENTY)
    reader.read_from(3)
    silent = await reader.is_silent()

    reader.read_from(1)

    assert silent
    assert await reader.offsets() == {"web-0": [1, 2]}


async def test_removed_partition_is_silent(world: World, reader: Reader) -> None:
    reader.stream.grant(PLENTY)
    reader.read_from(0)
    assert await reader.is_silent()

    reader.stream.remove([WEB_0, TopicPartition("unknown", 3)])
    await world.appended()

    assert await reader.is_silent()
    assert len(world.waiters.reads) == 0


async def test_failing_partition_is_told_once_and_dropped(world: World, reader: Reader) -> None:
    await world.appended()
    reader.stream.grant(PLENTY)
    reader.stream.add([PartitionToFetch(TopicPartition("x", 0), Offset(0))])

    (failed,) = await reader.next()
    reader.read_from(0)

    assert isinstance(failed, FetchFailed)
    assert isinstance(failed.error, UnknownTopicOrPartitionError)
    assert await reader.offsets() == {"web-0": [0]}


async def test_idle_partition_hears_that_its_leader_has_changed(
    world: World, reader: Reader
) -> None:
    reader.stream.grant(PLENTY)
    reader.read_from(0)
    await reader.is_silent()

    await world.change_partition("web", 0, replicas=(OTHER, ME), leader=OTHER)

    (failed,) = await reader.next()
    assert isinstance(failed, FetchFailed)
    assert isinstance(failed.error, NotLeaderOrFollowerError)


async def test_partition_named_twice_is_refused_and_changes_nothing(
    world: World, reader: Reader
) -> None:
    await world.appended()
    reader.stream.grant(PLENTY)
    reader.read_from(0)

    with pytest.raises(InvalidRequestError):
        reader.stream.add([PartitionToFetch(WEB_0, Offset(5)), PartitionToFetch(WEB_0, Offset(6))])

    assert await reader.offsets() == {"web-0": [0]}


async def test_more_partitions_than_a_request_may_name_are_refused(reader: Reader) -> None:
    half = PARTITIONS_PER_REQUEST_MAX // 2 + 1

    def some(name: str) -> list[PartitionToFetch]:
        return [PartitionToFetch(TopicPartition(name, n), Offset(0)) for n in range(half)]

    reader.stream.add(some("a"))
    with pytest.raises(InvalidRequestError, match=str(PARTITIONS_PER_REQUEST_MAX)):
        reader.stream.add(some("b"))


# --- Collecting -----------------------------------------------------------------------------


async def test_stream_collects_until_there_is_enough(world: World) -> None:
    one = batch(bytes(1_000))
    reader = Reader(world, max_wait_ms=60_000, min_bytes=2 * len(one))
    reader.stream.grant(PLENTY)
    reader.read_from(0)
    await world.appended(one)
    silent = await reader.is_silent()

    await world.appended(one)

    assert silent
    parts = await reader.next()
    assert sum(
        len(part.records) for part in parts if isinstance(part, PartitionFetched)
    ) == 2 * len(one)
    await reader.close()


async def test_stream_sends_what_it_has_when_the_time_is_up(world: World) -> None:
    reader = Reader(world, max_wait_ms=5, min_bytes=100_000)
    reader.stream.grant(PLENTY)
    reader.read_from(0)
    await world.appended()
    assert await reader.is_silent()

    world.clock.passed_ms += 5

    assert await reader.offsets() == {"web-0": [0]}
    await reader.close()


async def test_stream_ends_once_the_last_credit_is_used_up(world: World, reader: Reader) -> None:
    await world.appended()
    await world.appended()
    reader.stream.grant(1)
    reader.read_from(0)

    reader.stream.end_of_credit()

    assert await reader.offsets() == {"web-0": [0]}
    with pytest.raises(StopAsyncIteration):
        await reader.next()


# --- The end ----------------------------------------------------------------------------------


async def test_stream_ends_when_the_broker_stops(world: World, reader: Reader) -> None:
    reader.stream.grant(PLENTY)
    reader.read_from(0)
    await reader.is_silent()

    world.gate.close()

    with pytest.raises(BrokerNotAvailableError):
        await reader.next()


async def test_closed_stream_leaves_nothing_behind(world: World, reader: Reader) -> None:
    reader.stream.grant(PLENTY)
    reader.read_from(0)
    reader.read_from(0, number=1)
    await reader.is_silent()
    waiting = len(world.waiters.reads)

    reader.stream.close()

    assert (waiting, len(world.waiters.reads)) == (2, 0)
    with pytest.raises(StopAsyncIteration):
        await reader.next()


async def test_old_batches_are_read_on_a_thread_and_come_in_order(
    world: World, reader: Reader
) -> None:
    for _ in range(3):
        await world.appended()
    world.disk.make_cold(segment_file(DIRECTORY / "web-0", 0, ".log"))
    reader.stream.grant(PLENTY)

    reader.read_from(0)

    assert await reader.offsets() == {"web-0": [0, 1, 2]}


async def test_cold_read_of_a_partition_that_moved_meanwhile_is_thrown_away(
    world: World, reader: Reader
) -> None:
    for _ in range(3):
        await world.appended()
    world.disk.make_cold(segment_file(DIRECTORY / "web-0", 0, ".log"))
    busy = BusyReaders(world.readers)
    reader.stream.grant(PLENTY)
    reader.read_from(0)
    assert await reader.is_silent()  # it waits for the disk

    reader.read_from(2)
    busy.end()

    assert await reader.offsets() == {"web-0": [2]}
