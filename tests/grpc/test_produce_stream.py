"""A produce stream appends in the order sent, answers in that order, and holds a bounded amount."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from ottla.model.limits import PRODUCE_STREAM_UNANSWERED_BYTES_MAX
from ottla.record.builder import BatchBuilder
from ottla.v1 import log_pb2, log_pb2_grpc
from tests.grpc.fakes import Door


@pytest.fixture
def log(channel: grpc.aio.Channel) -> Any:  # the stubs do not know streams without generators
    return log_pb2_grpc.LogStub(channel)


def request(number: int, *, size_bytes: int = 10, acks: int = -1) -> log_pb2.ProduceRequest:
    builder = BatchBuilder()
    builder.append(key=None, value=bytes(size_bytes), timestamp_ms=number)
    part = log_pb2.PartitionRecords(topic="web", partition=0, batches=builder.build())
    return log_pb2.ProduceRequest(acks=acks, partitions=[part], correlation_id=number)


async def requests(*all_of_them: log_pb2.ProduceRequest) -> AsyncIterator[log_pb2.ProduceRequest]:
    for one in all_of_them:
        yield one


async def test_answers_come_in_the_order_of_the_requests(log: Any) -> None:
    stream = log.ProduceStream(requests(*map(request, range(50))))
    answers = [answer async for answer in stream]

    assert [answer.correlation_id for answer in answers] == list(range(50))
    assert [answer.partitions[0].base_offset for answer in answers] == list(range(50))


async def test_requests_are_appended_without_waiting_for_acknowledgements(
    door: Door, log: Any
) -> None:
    door.logs.acknowledging.clear()
    stream = log.ProduceStream(requests(*map(request, range(20))))
    first = stream.read()

    await door.logs.wait_begun(20)
    door.logs.acknowledging.set()

    assert (await first).correlation_id == 0


async def test_unanswered_bytes_are_bounded(door: Door, log: Any) -> None:
    door.logs.acknowledging.clear()
    size_bytes = 4 << 20
    room = PRODUCE_STREAM_UNANSWERED_BYTES_MAX // size_bytes
    stream = log.ProduceStream(
        requests(*(request(number, size_bytes=size_bytes) for number in range(2 * room)))
    )
    await door.logs.wait_begun(room)
    held = len(door.logs.requests)
    door.logs.acknowledging.set()

    assert len([answer async for answer in stream]) == 2 * room
    assert held <= room + 1


async def test_request_that_fails_as_a_whole_ends_the_stream_after_the_answers_before_it(
    log: Any,
) -> None:
    stream = log.ProduceStream(requests(request(0), request(1, acks=5), request(2)))

    first = await stream.read()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.read()

    assert first.correlation_id == 0
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "acks is 5" in (refused.value.details() or "")


async def test_stopping_broker_answers_what_it_took_and_says_that_it_stops(
    door: Door, log: Any
) -> None:
    door.logs.acknowledging.clear()
    stream = log.ProduceStream()
    await stream.write(request(0))
    await door.logs.wait_begun(1)
    door.gate.close()
    door.logs.acknowledging.set()

    answer = await stream.read()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stream.read()

    assert answer.partitions[0].end_offset == 1
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
