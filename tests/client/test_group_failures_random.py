"""Whatever members and coordinators do, every record is processed, and no commit passes one by."""

from __future__ import annotations

import pytest

from tests.client.fake_broker import FakeCluster
from tests.client.group_failure_world import GroupFailureWorld
from tests.client.test_consumer import fill

RECORDS = 30


@pytest.mark.parametrize("seed", range(5))
async def test_group_processes_everything_after_any_failures(trio: FakeCluster, seed: int) -> None:
    for number in range(3):
        await fill(trio, RECORDS, partition=number, batch_size=120)
    world = GroupFailureWorld(trio, seed, records=RECORDS)

    await world.run()
    await world.finish()
