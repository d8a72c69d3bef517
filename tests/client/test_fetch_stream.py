"""A fetch stream grants credit in good portions, and moves partitions only where that is safe."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ottla.client.addresses import Address
from ottla.client.connections import Connections
from ottla.client.fetch_stream import FetchStream
from ottla.client.partition_reader import PartitionReader
from ottla.client.settings import ConsumerSettings
from ottla.model.ids import TopicPartition
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX
from ottla.v1 import log_pb2

WEB_0 = TopicPartition("web", 0)


@pytest.fixture
async def stream() -> AsyncIterator[FetchStream]:
    """To a broker that is never called."""
    connections = Connections(ConsumerSettings())
    yield FetchStream(
        connections.to(Address("127.0.0.1", 1)),
        ConsumerSettings(fetch_min_bytes=7),
        received=lambda *_: None,
        leader_epoch_of=lambda partition: partition.partition,
        doubted=lambda: None,
    )
    await connections.close()


def reader_at(offset: int, number: int = 0) -> PartitionReader:
    reader = PartitionReader(TopicPartition("web", number), ConsumerSettings())
    reader.seek(offset)
    return reader


def fetched(next_offset: int, size: int = 0, *, code: int = 0) -> log_pb2.FetchResponse:
    response = log_pb2.FetchResponse()
    entry = response.partitions.add(topic="web", partition=0, next_offset=next_offset)
    entry.batches = bytes(size)
    if code:
        entry.error.code = code  # type: ignore[assignment]  # any number may be on the wire
    return response


async def test_share_is_granted_at_once(stream: FetchStream) -> None:
    stream.replenish(1_000)

    assert stream._next_request(is_first=True).credit_bytes == 1_000


async def test_credit_is_granted_again_once_a_quarter_is_used(stream: FetchStream) -> None:
    stream.replenish(1_000)
    stream._next_request(is_first=True)
    stream._receive(fetched(1, 249))
    stream.replenish(1_000)
    assert stream._next_request(is_first=False).credit_bytes == 0

    stream._receive(fetched(2, 1))
    stream.replenish(1_000)

    assert stream._next_request(is_first=False).credit_bytes == 250


async def test_what_is_in_memory_counts_against_the_share(stream: FetchStream) -> None:
    reader = reader_at(0)
    stream.add(reader)
    reader.buffered_bytes = 600
    stream.replenish(1_000)

    assert stream.credit_bytes == 400


async def test_debt_of_a_large_batch_is_paid_once_on_top(stream: FetchStream) -> None:
    stream.replenish(1_000)
    stream._receive(fetched(1, 5_000))
    stream.replenish(1_000)

    assert stream.credit_bytes == 1_000


async def test_partition_may_move_forward_on_a_stream_but_not_back(stream: FetchStream) -> None:
    stream.add(reader_at(100))
    stream._receive(fetched(200))

    assert stream.can_serve(reader_at(200))
    assert not stream.can_serve(reader_at(199))


async def test_what_arrives_for_a_removed_partition_still_counts_as_brought(
    stream: FetchStream,
) -> None:
    stream.add(reader_at(100))
    stream.remove(WEB_0)
    stream._receive(fetched(200))

    assert not stream.can_serve(reader_at(150))


async def test_error_may_be_about_an_earlier_place_so_it_opens_no_way_back(
    stream: FetchStream,
) -> None:
    stream.add(reader_at(5))
    stream.add(reader_at(100))
    stream._receive(fetched(0, code=1))

    assert stream.can_serve(reader_at(100))
    assert not stream.can_serve(reader_at(0))


async def test_changes_travel_together_and_the_last_one_counts(stream: FetchStream) -> None:
    stream.add(reader_at(5))
    stream.add(reader_at(6, number=1))
    stream.remove(TopicPartition("web", 1))
    stream.add(reader_at(9))

    request = stream._next_request(is_first=True)

    assert [(each.partition, each.offset) for each in request.partitions] == [(0, 9)]
    assert [each.partition for each in request.remove] == [1]
    assert (request.min_bytes, request.partitions[0].current_leader_epoch) == (7, 0)


async def test_request_names_no_more_partitions_than_allowed(stream: FetchStream) -> None:
    for number in range(PARTITIONS_PER_REQUEST_MAX + 5):
        stream.add(reader_at(0, number=number))

    sizes = [len(stream._next_request(is_first=False).partitions) for _ in range(2)]

    assert sizes == [PARTITIONS_PER_REQUEST_MAX, 5]
