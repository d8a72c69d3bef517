"""Requests of a connection are handled and answered in order, and bounded in what they take."""

from __future__ import annotations

import asyncio
import logging
import struct
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from ottla.kafka.handling import Begun, DisconnectError, RequestContext
from ottla.kafka.unsent import UnsentResponses
from ottla.model.limits import (
    KAFKA_BYTES_READ_AHEAD_MAX,
    KAFKA_FIRST_REQUEST_TIME_MAX_MS,
    KAFKA_FRAME_TIME_MIN_MS,
    KAFKA_REQUESTS_BEGUN_MAX,
    KAFKA_STALLED_CROWDED_TIME_MAX_MS,
    KAFKA_STALLED_TIME_MAX_MS,
)
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.produce import (
    PartitionProduceData,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.cluster.world import until
from tests.kafka.doors import PRODUCE_VERSION, Client, Door, alive, answering

MakeDoor = Callable[..., Awaitable[Door]]


@pytest.fixture
async def make() -> AsyncIterator[MakeDoor]:
    doors: list[Door] = []

    async def open_door(**options: Any) -> Door:
        doors.append(await Door(**options).open())
        return doors[-1]

    yield open_door
    for door in doors:
        await door.close()


class Slow:
    """Handlers that answer when they are told to, and remember what they were asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.outstanding: dict[int, asyncio.Future[None]] = {}

    async def heartbeat(self, context: RequestContext, request: HeartbeatRequest) -> Any:
        del context
        await self._wait(request.generation_id)
        return HeartbeatResponse(throttle_time_ms=request.generation_id)

    def produce(self, context: RequestContext, request: ProduceRequest) -> Begun[Any]:
        del context
        self.asked.append(request.timeout_ms)
        self.outstanding[request.timeout_ms] = asyncio.get_running_loop().create_future()
        return Begun(self._acknowledged(request.timeout_ms))

    async def _acknowledged(self, number: int) -> ProduceResponse:
        await self.outstanding[number]
        return ProduceResponse(throttle_time_ms=number)

    async def _wait(self, number: int) -> None:
        self.asked.append(number)
        self.outstanding[number] = asyncio.get_running_loop().create_future()
        await self.outstanding[number]

    def answer(self, *numbers: int) -> None:
        for number in numbers:
            self.outstanding[number].set_result(None)


# --- Order ---


async def test_request_is_answered_under_its_correlation_id(make: MakeDoor) -> None:
    client = await (await make()).connect()

    client.correlation_id = 41
    client.beat(5)

    correlation_id, response = await client.receive(12, 4)
    assert (correlation_id, response.throttle_time_ms) == (42, 5)


async def test_requests_sent_at_once_are_answered_in_their_order(make: MakeDoor) -> None:
    client = await (await make()).connect()

    for number in range(500):
        client.beat(number)

    assert [await client.beaten() for _ in range(500)] == list(range(500))


async def test_next_request_is_not_begun_before_the_one_before_is_answered(make: MakeDoor) -> None:
    slow = Slow()
    client = await (await make(heartbeat=slow.heartbeat)).connect()
    client.beat(1)
    client.beat(2)
    await until(lambda: slow.asked == [1])
    await client.writer.drain()

    slow.answer(1)
    assert await client.beaten() == 1
    await until(lambda: slow.asked == [1, 2])


async def test_begun_requests_are_under_way_together_and_answered_in_order(make: MakeDoor) -> None:
    slow = Slow()
    client = await (await make(produce=slow.produce)).connect()
    for number in (1, 2, 3):
        client.produce(timeout_ms=number)
    client.beat(4)
    await until(lambda: slow.asked == [1, 2, 3])

    slow.answer(3, 2, 1)

    assert [(await client.produced()).throttle_time_ms for _ in range(3)] == [1, 2, 3]
    assert await client.beaten() == 4


async def test_so_many_requests_are_begun_and_no_more(make: MakeDoor) -> None:
    slow = Slow()
    client = await (await make(produce=slow.produce)).connect()
    for number in range(KAFKA_REQUESTS_BEGUN_MAX + 1):
        client.produce(timeout_ms=number)
    await until(lambda: len(slow.asked) == KAFKA_REQUESTS_BEGUN_MAX)

    slow.answer(0)

    await client.produced()
    await until(lambda: len(slow.asked) == KAFKA_REQUESTS_BEGUN_MAX + 1)


async def test_request_that_wants_no_answer_gets_none(make: MakeDoor) -> None:
    async def silent(request: ProduceRequest) -> ProduceResponse | None:
        return ProduceResponse() if request.acks else None

    door = await make(produce=answering(silent))
    client = await door.connect()
    client.produce(acks=0)
    last = client.produce(acks=1)

    assert (await client.receive(0, 9))[0] == last
    assert door.counted.finished["Produce", 0] == 2


async def test_connections_do_not_wait_for_each_other(make: MakeDoor) -> None:
    slow = Slow()
    door = await make(heartbeat=slow.heartbeat)
    first, second = await door.connect(), await door.connect()
    first.beat(1)
    await until(lambda: slow.asked == [1])
    second.beat(2)
    await until(lambda: slow.asked == [1, 2])

    slow.answer(2)

    assert await second.beaten() == 2


async def test_client_without_a_name_is_served(make: MakeDoor) -> None:
    client = await (await make()).connect()

    client.beat(1, client_id=None)
    client.beat(2, client_id="")

    assert [await client.beaten(), await client.beaten()] == [1, 2]


# --- Memory ---


async def test_idle_connection_keeps_nothing_of_its_last_request_and_answer(
    make: MakeDoor,
) -> None:
    buffers: list[Any] = []

    def produce(context: RequestContext, request: ProduceRequest) -> Any:
        del context
        records = request.topic_data[0].partition_data[0].records
        assert isinstance(records, memoryview)
        buffers.append(records.obj)
        return answer(records)

    async def answer(records: Any) -> ProduceResponse:
        return ProduceResponse(throttle_time_ms=len(records))

    client = await (await make(produce=produce)).connect()
    partition = PartitionProduceData(records=bytes(100_000))
    client.send(
        ProduceRequest(topic_data=[TopicProduceData(name="web", partition_data=[partition])]),
        PRODUCE_VERSION,
    )

    assert (await client.produced()).throttle_time_ms == 100_000
    # By the list, and by the call.
    assert [sys.getrefcount(buffers[0]), len(buffers)] == [2, 1]


# --- What costs a connection ---


def request_start(size: int, api_key: int, api_version: int) -> bytes:
    return struct.pack(">ihh", size, api_key, api_version)


@pytest.mark.parametrize(
    "sent",
    [
        request_start(-1, 12, 4),
        request_start(0, 12, 4),
        request_start(7, 12, 4),
        request_start((10 << 20) + 1, 12, 4),
        request_start((1 << 20) + 1, 12, 4),
        request_start(100, 999, 0),
        request_start(100, 12, 5),
        request_start(100, 12, -1),
        request_start(20, 12, 4) + bytes(20),
        request_start(8, 12, 4) + b"\0\0\0\1",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=[
        "negative",
        "empty",
        "too short for a header",
        "larger than any request",
        "larger than its kind",
        "unknown kind",
        "unknown version",
        "negative version",
        "no such request",
        "half a header",
        "TLS",
    ],
)
async def test_bad_request_costs_its_connection_and_no_other(make: MakeDoor, sent: bytes) -> None:
    door = await make()
    good, bad = await door.connect(), await door.connect()

    bad.writer.write(sent)

    assert await bad.is_hung_up_on()
    good.beat(1)
    assert await good.beaten() == 1


async def test_what_came_before_a_bad_request_is_answered(make: MakeDoor) -> None:
    client = await (await make()).connect()

    client.beat(1)
    client.beat(2)
    client.writer.write(request_start(100, 999, 0))

    assert [await client.beaten(), await client.beaten()] == [1, 2]
    assert await client.is_hung_up_on()


async def test_handler_can_close_the_connection_after_what_was_begun_before(
    make: MakeDoor,
) -> None:
    slow = Slow()

    async def refuse(request: HeartbeatRequest) -> Any:
        raise DisconnectError(f"no generation {request.generation_id}")

    door = await make(produce=slow.produce, heartbeat=answering(refuse))
    client = await door.connect()
    client.produce(timeout_ms=1)
    client.beat(2)
    client.produce(timeout_ms=3)
    await until(lambda: slow.asked == [1])

    slow.answer(1)

    assert (await client.produced()).throttle_time_ms == 1
    assert await client.is_hung_up_on()
    assert slow.asked == [1]
    assert sum(door.counted.failed.values()) == 1


async def test_bug_in_a_handler_costs_its_connection_and_is_told_loudly(
    make: MakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(request: HeartbeatRequest) -> Any:
        raise ZeroDivisionError(request.generation_id)

    door = await make(heartbeat=answering(broken))
    good, bad = await door.connect(), await door.connect()
    with caplog.at_level(logging.ERROR):
        bad.beat(1)
        assert await bad.is_hung_up_on()

    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    assert "incident=" in record.getMessage()
    assert (await good.versions()).error_code == 0
    assert door.counted.failed["Heartbeat", "UNKNOWN_SERVER_ERROR"] == 1


async def test_bug_in_what_was_begun_costs_the_connection_as_well(
    make: MakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow()
    client = await (await make(produce=slow.produce)).connect()
    client.produce(timeout_ms=1)
    await until(lambda: slow.asked == [1])

    with caplog.at_level(logging.ERROR):
        slow.outstanding[1].set_exception(ZeroDivisionError())

        assert await client.is_hung_up_on()
    assert len(caplog.records) == 1


async def test_handler_that_awaits_what_was_cancelled_is_a_bug(
    make: MakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow()
    client = await (await make(heartbeat=slow.heartbeat)).connect()
    client.beat(1)
    await until(lambda: slow.asked == [1])

    with caplog.at_level(logging.ERROR):
        slow.outstanding[1].cancel()

        assert await client.is_hung_up_on()
    assert len(caplog.records) == 1


async def test_statement_19_what_a_client_sent_before_it_hung_up_is_appended(
    make: MakeDoor,
) -> None:
    slow = Slow()
    client = await (await make(heartbeat=slow.heartbeat, produce=slow.produce)).connect()
    client.beat(0)
    for number in range(1, 6):
        client.produce(timeout_ms=number)
    client.beat(6)
    await until(lambda: slow.asked == [0])

    client.writer.close()

    await until(lambda: slow.asked == [0, 1, 2, 3, 4, 5])


async def test_bug_in_what_is_appended_for_a_client_that_has_gone_is_told(
    make: MakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(request: ProduceRequest) -> Any:
        raise ZeroDivisionError(request.acks)

    slow = Slow()
    door = await make(heartbeat=slow.heartbeat, produce=answering(broken))
    client = await door.connect()
    client.beat(0)
    client.produce()
    await until(lambda: slow.asked == [0])

    with caplog.at_level(logging.ERROR):
        client.writer.close()
        await until(lambda: bool(caplog.records))

    assert door.counted.failed["Produce", "UNKNOWN_SERVER_ERROR"] == 1


async def test_client_that_goes_has_its_request_cancelled(make: MakeDoor) -> None:
    slow = Slow()
    client = await (await make(heartbeat=slow.heartbeat)).connect()
    client.beat(1)
    await until(lambda: slow.asked == [1])

    client.writer.close()

    await until(slow.outstanding[1].cancelled)


# --- What piles up ---


async def test_nothing_more_is_received_while_requests_wait(make: MakeDoor) -> None:
    slow = Slow()
    door = await make(heartbeat=slow.heartbeat)
    client = await door.connect()
    client.beat(0)
    await until(lambda: slow.asked == [0])
    padding = "x" * 30_000

    for _ in range(1_000):
        client.beat(1, client_id=padding)
    await until(lambda: door.connection()._paused)

    assert door.counted.received_bytes < 2 * KAFKA_BYTES_READ_AHEAD_MAX
    slow.answer(0)
    await client.beaten()
    await until(lambda: slow.asked == [0, 1])


async def test_nothing_more_is_begun_while_the_client_does_not_take_its_answers(
    make: MakeDoor,
) -> None:
    async def much(request: HeartbeatRequest) -> Any:
        asked.append(request.generation_id)
        return await alive(None, request)  # type: ignore[arg-type]

    async def large(request: ProduceRequest) -> ProduceResponse:
        asked.append(request.timeout_ms)
        response = ProduceResponse()
        response.responses = [produce_topic("x" * 30_000) for _ in range(1_000)]
        return response

    asked: list[int] = []
    door = await make(produce=answering(large), heartbeat=answering(much))
    client = await door.connect(limit=1_000)
    client.produce(timeout_ms=1)
    client.beat(2)
    await until(lambda: asked and door.connection()._pipeline._waiting)

    assert asked == [1]
    await client.receive_frame()
    await until(lambda: asked == [1, 2])


def produce_topic(name: str) -> Any:
    from ottla.wire.messages.produce import TopicProduceResponse  # noqa: PLC0415

    return TopicProduceResponse(name=name)


# --- Time ---


async def hung_up_after(door: Door, client: Client, elapsed_ms: int) -> bool:
    """Whether the client is hung up on when so much time has passed, and not much before."""
    await door.door.look_after(0)
    await door.door.look_after(elapsed_ms - 1)
    await asyncio.sleep(0)
    assert not client.reader.at_eof()
    await door.door.look_after(2)
    return await client.is_hung_up_on()


async def test_client_that_asks_for_nothing_is_hung_up_on(make: MakeDoor) -> None:
    door = await make()
    client = await door.connect()
    await until(lambda: door.counted.connections == {"PLAINTEXT": 1})

    assert await hung_up_after(door, client, KAFKA_FIRST_REQUEST_TIME_MAX_MS)


async def test_idle_client_is_hung_up_on(make: MakeDoor) -> None:
    door = await make(idle_max_ms=60_000)
    client = await door.connect()
    client.beat()
    await client.beaten()

    assert await hung_up_after(door, client, 60_000)


async def test_idle_client_may_stay_if_the_setting_says_so(make: MakeDoor) -> None:
    door = await make(idle_max_ms=None)
    client = await door.connect()
    client.beat()
    await client.beaten()
    for _ in range(3):
        await door.door.look_after(1 << 40)

    client.beat(1)

    assert await client.beaten() == 1


async def test_client_whose_request_is_under_way_is_not_idle(make: MakeDoor) -> None:
    slow = Slow()
    door = await make(heartbeat=slow.heartbeat, idle_max_ms=60_000)
    client = await door.connect()
    client.beat(1)
    await until(lambda: slow.asked == [1])
    for _ in range(3):
        await door.door.look_after(1 << 40)

    slow.answer(1)

    assert await client.beaten() == 1


def has_received(door: Door, size: int) -> bool:
    return door.counted.received_bytes == size


async def test_request_that_comes_bit_by_bit_costs_its_connection(make: MakeDoor) -> None:
    door = await make()
    client = await door.connect()
    client.writer.write(request_start(100, 12, 4))
    await until(lambda: door.counted.received_bytes == 8)
    await door.door.look_after(1_000)

    for count in range(KAFKA_FRAME_TIME_MIN_MS // 1_000 + 1):
        client.writer.write(b"x")
        await until(partial(has_received, door, 9 + count))
        await door.door.look_after(1_000)

    assert await client.is_hung_up_on()


async def test_client_that_takes_nothing_of_its_answer_is_hung_up_on(make: MakeDoor) -> None:
    async def large(request: ProduceRequest) -> ProduceResponse:
        del request
        return ProduceResponse(responses=[produce_topic("x" * 30_000) for _ in range(1_000)])

    door = await make(produce=answering(large))
    client = await door.connect(limit=1_000)
    client.produce()
    await until(lambda: door.counted.sent_bytes > 0)

    connection = door.connection()

    def gone() -> bool:
        connection.look_after(KAFKA_STALLED_TIME_MAX_MS)
        return door.counted.connections == {"PLAINTEXT": 0}

    await until(gone)


def test_less_patience_is_shown_while_there_is_too_much_to_send() -> None:
    unsent = UnsentResponses(100)
    unsent.changed(1, 100)
    assert unsent.stalled_max_ms == KAFKA_STALLED_TIME_MAX_MS

    unsent.changed(2, 50)
    assert unsent.stalled_max_ms == KAFKA_STALLED_CROWDED_TIME_MAX_MS

    unsent.changed(1, 10)
    assert unsent.stalled_max_ms == KAFKA_STALLED_TIME_MAX_MS
    unsent.changed(1, 0)
    unsent.changed(2, 0)
    assert unsent.total_bytes == 0


# --- Counting ---


async def test_requests_are_counted_with_their_errors_and_the_time_of_their_work(
    make: MakeDoor,
) -> None:
    async def waits(context: RequestContext, request: HeartbeatRequest) -> Any:
        context.leave_out(3_600)
        return HeartbeatResponse(error_code=request.generation_id)

    door = await make(heartbeat=waits)
    client = await door.connect()
    for code in (0, 27, 27):
        client.beat(code)
        await client.beaten()

    assert door.counted.finished == {("Heartbeat", 0): 1, ("Heartbeat", 27): 2}
    assert door.counted.seconds["Heartbeat"] == 0.0
    assert door.counted.received_bytes > 0
    assert door.counted.sent_bytes > 0
