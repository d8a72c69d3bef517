"""A cluster in memory for each test, and a way to wait for what it does."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.client.fake_broker import FakeCluster


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    """One broker with a topic ``web`` of one partition."""
    fake = FakeCluster()
    fake.create("web")
    await fake.start()
    yield fake
    await fake.stop()


@pytest.fixture
async def trio() -> AsyncIterator[FakeCluster]:
    """Three brokers with a topic ``web`` of three partitions, one led by each."""
    fake = FakeCluster(brokers=3)
    fake.create("web", 3)
    await fake.start()
    yield fake
    await fake.stop()
