"""A fetch stream sends what is readable, within the credit granted, where the client steers it."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from ottla.record.builder import BatchBuilder
from ottla.v1 import log_pb2, log_pb2_grpc, types_pb2


@pytest.fixture
def log(channel: grpc.aio.Channel) -> Any:  # the stubs do not know streams without generators
    return log_pb2_grpc.LogStub(channel)


async def append(log: Any, partition: int, *values: bytes) -> int:
    builder = BatchBuilder()
    for value in values:
        builder.append(key=None, value=value, timestamp_ms=0)
    batches = builder.build()
    part = log_pb2.PartitionRecords(topic="web", partition=partition, batches=batches)
    await log.Produce(log_pb2.ProduceRequest(acks=-1, partitions=[part]))
    return len(batches)


def at(partition: int, offset: int = 0) -> log_pb2.FetchPartition:
    return log_pb2.FetchPartition(topic="web", partition=partition, offset=offset)


async def test_batches_flow_within_the_credit(log: Any) -> None:
    size_bytes = await append(log, 0, b"a")
    await append(log, 1, b"b")
    stream = log.FetchStream()
    await stream.write(
        log_pb2.FetchStreamRequest(partitions=[at(0), at(1)], credit_bytes=size_bytes)
    )

    first = await stream.read()
    await stream.write(log_pb2.FetchStreamRequest(credit_bytes=1))
    second = await stream.read()
    stream.cancel()

    assert [first.partitions[0].partition, second.partitions[0].partition] == [0, 1]


async def test_partition_named_again_is_read_from_its_new_offset(log: Any) -> None:
    await append(log, 0, b"a")
    await append(log, 0, b"b")
    stream = log.FetchStream()
    await stream.write(log_pb2.FetchStreamRequest(partitions=[at(0, 2)], credit_bytes=1000))
    await stream.write(log_pb2.FetchStreamRequest(partitions=[at(0, 1)]))

    response = await stream.read()
    stream.cancel()

    assert response.partitions[0].next_offset == 2


async def test_partition_that_fails_is_reported_and_the_stream_goes_on(
    log: Any,
) -> None:
    await append(log, 0, b"a")
    stream = log.FetchStream()
    await stream.write(log_pb2.FetchStreamRequest(partitions=[at(1, 9)], credit_bytes=1000))
    failed = await stream.read()
    await stream.write(log_pb2.FetchStreamRequest(partitions=[at(0)]))
    response = await stream.read()
    stream.cancel()

    assert failed.partitions[0].error.code == types_pb2.Error.OFFSET_OUT_OF_RANGE
    assert response.partitions[0].next_offset == 1


async def test_client_that_closes_its_side_still_receives(log: Any) -> None:
    await append(log, 0, b"a")
    stream = log.FetchStream()
    await stream.write(log_pb2.FetchStreamRequest(partitions=[at(0)], credit_bytes=1000))
    await stream.done_writing()

    response = await stream.read()
    stream.cancel()

    assert response.partitions[0].next_offset == 1


async def test_structured_stream_carries_records(log: Any) -> None:
    await append(log, 0, b"a", b"b")
    stream = log.FetchStream()
    await stream.write(
        log_pb2.FetchStreamRequest(partitions=[at(0)], credit_bytes=1000, structured=True)
    )

    response = await stream.read()
    stream.cancel()

    assert [record.value for record in response.partitions[0].records] == [b"a", b"b"]


async def test_negative_credit_ends_the_stream_with_invalid_argument(
    log: Any,
) -> None:
    stream = log.FetchStream()
    await stream.write(log_pb2.FetchStreamRequest(partitions=[at(0)], credit_bytes=-1))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.read()

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
