"""Whatever leaders do, no record is lost, repeated or out of order, in the log or for a reader."""

from __future__ import annotations

import asyncio

import pytest

from tests.client.failure_world import FailureWorld
from tests.client.fake_broker import FakeCluster
from tests.client.test_consumer import reading
from tests.client.test_producer_failures import eager

RECORDS = 120


@pytest.mark.parametrize("seed", range(100))
async def test_history_is_whole_after_any_failures(trio: FakeCluster, seed: int) -> None:
    world = FailureWorld(trio, seed)
    async with (
        eager(trio, batch_size=120, linger_ms=0) as producer,
        reading(trio, "web", max_partition_fetch_bytes=400) as consumer,
        asyncio.timeout(20),
    ):
        await asyncio.gather(
            world.run(), world.send(producer, RECORDS), world.read(consumer, RECORDS)
        )
        assert producer.statistics().records_failed == 0

    world.check()
