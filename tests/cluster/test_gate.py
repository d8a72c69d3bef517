"""Requests pass while the broker serves, and whoever holds one open hears of the end."""

from __future__ import annotations

import asyncio

import pytest

from ottla.cluster.gate import Gate
from ottla.model.errors import BrokerNotAvailableError


def test_gate_refuses_before_it_is_opened_and_after_it_is_closed() -> None:
    gate = Gate()
    with pytest.raises(BrokerNotAvailableError, match="starting"):
        gate.check()

    gate.open()
    gate.check()

    gate.close()
    with pytest.raises(BrokerNotAvailableError, match="stopping"):
        gate.check()


async def test_closing_wakes_those_who_wait_for_it() -> None:
    gate = Gate()
    gate.open()
    waiting = asyncio.create_task(gate.wait_closing())
    await asyncio.sleep(0)

    gate.close()

    await asyncio.wait_for(waiting, 10)
    assert gate.is_closing


def test_gate_may_be_closed_twice() -> None:
    gate = Gate()

    gate.close()
    gate.close()

    assert gate.is_closing
