"""The data APIs in front of a world, for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cluster.world import World
from tests.kafka.data.door import DataDoor


@pytest.fixture
async def door() -> AsyncIterator[DataDoor]:
    """Hosted partitions on a simulated disk, with the topic ``web`` of two partitions."""
    world = World()
    await world.start()
    await world.create_topic("web", partitions=2)
    yield DataDoor(world)
    await world.stop()
