"""A server on a free port in front of services that keep everything in lists."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from ottla.cluster.gate import Gate
from tests.grpc.fakes import Door, ListedLogs, new_server


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    logs, gate = ListedLogs(), Gate()
    door = Door(logs, gate, new_server(logs, gate))
    door.port = await door.server.start("127.0.0.1", 0)
    gate.open()
    await door.server.announce(serving=True)
    yield door
    logs.acknowledging.set()
    await door.server.stop(grace_s=0)


@pytest.fixture
async def channel(door: Door) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_send_message_length", 32 << 20)]
    async with grpc.aio.insecure_channel(door.address, options=options) as opened:
        yield opened
