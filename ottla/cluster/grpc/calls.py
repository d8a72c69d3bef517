"""What every method does around its own work: let in, measure, and end with the right status.

A servicer writes ``async with self._calls.call("Fetch", context):`` around what it does. Whatever
leaves that block is translated on its way: typed errors to their status, cancellation to nothing,
anything else to an incident. So no method has error handling of its own.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Final, Self

from ottla.cluster.gate import Gate, GateState
from ottla.cluster.grpc.errors import Context, abort, abort_incident
from ottla.cluster.instruments import Instruments
from ottla.metrics.registry import OK
from ottla.model.errors import OttlaError

CANCELLED: Final = "CANCELLED"
"""The ``error`` label of a call that its client gave up."""


class Calls:
    """Shared by the servicers of one server."""

    def __init__(self, *, gate: Gate, instruments: Instruments) -> None:
        self.gate = gate
        self._instruments = instruments
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self, *, timeout_ms: int) -> bool:
        """Wait until no request is being served; return whether that was so in time."""
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def opened(self) -> None:
        """Count a request that begins."""
        self._under_way += 1
        self._idle.clear()

    def closed(self) -> None:
        """Count a request that ended."""
        self._under_way -= 1
        if self._under_way == 0:
            self._idle.set()

    def call(self, method: str, context: Context) -> Call:
        """Wrap the serving of one request."""
        return Call(method, context, self, self._instruments)

    def stream(self, method: str, context: Context) -> Call:
        """Wrap a stream, whose duration means nothing."""
        return StreamCall(method, context, self, self._instruments)


class Call:
    """One request being served."""

    __slots__ = ("_calls", "_context", "_instruments", "_method", "_started", "_waited_s")

    def __init__(
        self, method: str, context: Context, calls: Calls, instruments: Instruments
    ) -> None:
        self._method = method
        self._context = context
        self._calls = calls
        self._instruments = instruments
        self._started = 0.0
        self._waited_s = 0.0

    def leave_out(self, seconds: float) -> None:
        """Do not count a wait that the client asked for."""
        self._waited_s += seconds

    async def __aenter__(self) -> Self:
        self._started = time.perf_counter()
        self._opened()
        self._calls.opened()
        gate = self._calls.gate
        if gate.state is not GateState.SERVING:
            try:
                await self._fail(gate.refusal())
            finally:
                self._calls.closed()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._end(error)
        finally:
            self._calls.closed()

    async def _end(self, error: BaseException | None) -> None:
        if error is None:
            self._finished(OK)
        elif isinstance(error, OttlaError):
            await self._fail(error)
        elif isinstance(error, asyncio.CancelledError):
            self._finished(CANCELLED)
        elif isinstance(error, Exception):
            self._finished(OttlaError.name)
            await abort_incident(self._context, self._method, error)

    async def _fail(self, error: OttlaError) -> None:
        self._finished(error.name)
        await abort(self._context, error)

    def _opened(self) -> None:
        """A request counts once, when it ends."""

    def _finished(self, error: str) -> None:
        seconds = max(0.0, time.perf_counter() - self._started - self._waited_s)
        self._instruments.request_finished(self._method, seconds=seconds, error=error)


class StreamCall(Call):
    """One stream being served: counted while it is open."""

    __slots__ = ()

    def _opened(self) -> None:
        self._instruments.stream_opened(self._method)

    def _finished(self, error: str) -> None:
        self._instruments.stream_closed(self._method, error=error)
