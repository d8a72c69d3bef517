"""A world for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.cluster.following import Leading
from tests.cluster.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """Hosted partitions on a simulated disk, with the topic ``web`` of two partitions."""
    running = World()
    await running.start()
    await running.create_topic("web", partitions=2)
    yield running
    await running.stop()


@pytest.fixture
async def leading() -> AsyncIterator[Leading]:
    """Partitions that this broker leads, and that others may follow."""
    running = Leading()
    await running.start()
    yield running
    await running.stop()
