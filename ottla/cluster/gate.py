"""Whether the broker serves, for everybody who lets requests in.

::

    STARTING ──open()──► SERVING ──close()──► STOPPING

While the gate is not open, requests are refused with ``BROKER_NOT_AVAILABLE``, which clients
retry. Closing wakes whoever holds a request open for long -- streams and long polls -- so that
they end by themselves and in order, rather than be cut off.
"""

from __future__ import annotations

import asyncio
from enum import Enum

from ottla.model.errors import BrokerNotAvailableError


class GateState(Enum):
    """Where the broker is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    STOPPING = "stopping"


class Gate:
    """One for a broker."""

    def __init__(self) -> None:
        self._state = GateState.STARTING
        self._closing = asyncio.Event()

    @property
    def state(self) -> GateState:
        """Where the broker is in its life."""
        return self._state

    @property
    def is_closing(self) -> bool:
        """Whether whoever holds a request open should bring it to its end."""
        return self._closing.is_set()

    def open(self) -> None:
        """Let requests in."""
        assert self._state is GateState.STARTING, self._state
        self._state = GateState.SERVING

    def close(self) -> None:
        """Let nothing in any more, and wake those who wait. Harmless if closed already."""
        self._state = GateState.STOPPING
        self._closing.set()

    def check(self) -> None:
        """Raise :exc:`BrokerNotAvailableError` unless the gate is open."""
        if self._state is not GateState.SERVING:
            raise self.refusal()

    def refusal(self) -> BrokerNotAvailableError:
        """Return what a request gets that comes at this time, or is ended by it."""
        return BrokerNotAvailableError(
            f"the broker is {self._state.value}; try again, here or at another broker"
        )

    async def wait_closing(self) -> None:
        """Wait until the broker stops."""
        await self._closing.wait()
