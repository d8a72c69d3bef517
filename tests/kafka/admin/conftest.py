"""Three brokers with a listener each, and the APIs of the first."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ottla.controller.topics import TopicDefaults
from tests.cluster.control_plane import control_plane
from tests.kafka.admin.door import AdminDoor, listener

DEFAULTS = TopicDefaults(partitions=2, replication_factor=2)


@pytest.fixture
async def door() -> AsyncIterator[AdminDoor]:
    """A cluster without topics; broker 3 is in rack ``r3``."""
    async with control_plane(brokers=0, defaults=DEFAULTS) as plane:
        for broker in (1, 2, 3):
            rack = f"r{broker}" if broker == 3 else ""
            await plane.start_broker(broker, rack=rack, listeners=(listener(broker),))
        yield AdminDoor(plane)
