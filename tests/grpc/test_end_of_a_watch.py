"""A watch that ends with its broker lets the message that is under way pass first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, cast

import pytest

from ottla.cluster.gate import Gate
from ottla.cluster.grpc.metadata_watch import serve_watch
from ottla.cluster.services import MetadataChange
from ottla.model.errors import BrokerNotAvailableError


class SlowCall:
    """A call whose messages take as long as the test says."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.may_pass = asyncio.Event()
        self.passed = 0

    async def write(self, message: object) -> None:
        del message
        self.begun.set()
        await self.may_pass.wait()
        self.passed += 1


async def one_change() -> AsyncGenerator[MetadataChange]:
    yield cast("MetadataChange", object())
    await asyncio.Event().wait()


async def test_status_is_given_when_the_message_under_way_has_passed() -> None:
    gate, call = Gate(), SlowCall()
    gate.open()
    serving = asyncio.create_task(
        serve_watch(one_change(), lambda _: cast("Any", None), cast("Any", call), gate)
    )
    await call.begun.wait()
    gate.close()
    await asyncio.wait((serving,), timeout=0.02)
    assert not serving.done()

    call.may_pass.set()

    with pytest.raises(BrokerNotAvailableError):
        await asyncio.wait_for(serving, 5)
    assert call.passed == 1


async def test_client_that_has_ceased_to_read_is_not_waited_for_long() -> None:
    gate, call = Gate(), SlowCall()
    gate.open()
    serving = asyncio.create_task(
        serve_watch(one_change(), lambda _: cast("Any", None), cast("Any", call), gate)
    )
    await call.begun.wait()
    gate.close()

    with pytest.raises(BrokerNotAvailableError):
        await asyncio.wait_for(serving, 5)
    assert call.passed == 0
