"""After an answer that throttles its client, a connection begins nothing for as long as it says."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

from ottla.kafka.handling import Begun, RequestContext, Throttled
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse
from ottla.wire.messages.produce import ProduceRequest, ProduceResponse
from tests.cluster.world import until
from tests.kafka.doors import Door, answering


async def test_throttled_connection_keeps_quiet_for_a_while_after_its_answer() -> None:
    async def throttled(request: HeartbeatRequest) -> Any:
        return Throttled(HeartbeatResponse(throttle_time_ms=request.generation_id), mute_ms=50)

    async with aclosing(await Door(heartbeat=answering(throttled)).open()) as door:
        client = await door.connect()
        began = asyncio.get_running_loop().time()
        client.beat(1)
        client.beat(2)

        assert [await client.beaten(), await client.beaten()] == [1, 2]
        assert asyncio.get_running_loop().time() - began >= 0.05
        assert door.counted.throttled_seconds == {"Heartbeat": 0.05}


async def test_of_two_answers_that_throttle_the_longer_silence_counts() -> None:
    acknowledged = asyncio.Event()

    async def answered(mute_ms: int) -> Any:
        await acknowledged.wait()
        return Throttled(ProduceResponse(throttle_time_ms=mute_ms), mute_ms)

    def throttled(context: RequestContext, request: ProduceRequest) -> Begun[Any]:
        del context
        return Begun(answered(request.timeout_ms))

    async with aclosing(await Door(produce=throttled).open()) as door:
        client = await door.connect()
        for mute_ms in (60_000, 1):
            client.produce(timeout_ms=mute_ms)
        await until(lambda: door.connection()._pipeline.requests_begun == 2)
        acknowledged.set()
        assert [(await client.produced()).throttle_time_ms for _ in range(2)] == [60_000, 1]

        mute = door.connection()._pipeline._mute
        assert mute is not None
        assert mute.when() - asyncio.get_running_loop().time() > 50
