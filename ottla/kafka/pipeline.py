"""The requests of one connection: begun in order, and answered in order.

::

    received ──► waiting ──worker──► handler ─────────────────► response
                                        └─Begun─► begun ──responder──┘

One task, the worker, takes a request and awaits its handler before it takes the next. If a handler
says that everything whose order matters is done (:class:`~ottla.kafka.handling.Begun`), the worker
goes on, and another task, the responder, awaits the responses one after another; what is answered
at once meanwhile stands in line. Neither task is made before it is needed, and no request needs
one of its own.

What may pile up is bounded: requests that wait, by not reading from the connection
(:attr:`Pipeline.is_full`); those begun, and responses that the client does not take, by beginning
no more.

A handler that raises has found that the connection must be closed (``DisconnectError``), bytes
that are no request, or a bug. All of these end the task, and the owner is told why; but first what
was begun before is answered, unless it is a bug.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from ottla.kafka.dispatch import Dispatch, Request
from ottla.kafka.framing import Frame
from ottla.kafka.handling import Begun, Connection, Message, Throttled
from ottla.model.errors import OttlaError
from ottla.model.limits import (
    KAFKA_BYTES_BEGUN_MAX,
    KAFKA_BYTES_READ_AHEAD_MAX,
    KAFKA_REQUESTS_BEGUN_MAX,
    KAFKA_REQUESTS_READ_AHEAD_MAX,
)
from ottla.runtime.files import Buffer
from ottla.wire.api_keys import ApiKey

_TURN_S: Final = 0.002
"""A client that sends one request after another lets others have their turn this often."""


class Outlet(Protocol):
    """The connection, as its pipeline sees it."""

    def send(self, response: Sequence[Buffer]) -> None:
        """Send the parts of a response, one after another."""

    def may_begin(self) -> bool:
        """Whether responses are taken; if not, :meth:`Pipeline.look_again` is called when so."""

    def began(self) -> None:
        """A request does not wait any more."""

    def answered(self, size: int) -> None:
        """The ``size`` bytes of a request are not needed any more."""

    def ended(self, error: BaseException, request: Request) -> None:
        """Nothing is handled any more, because of what came of this request."""


class _Answer(NamedTuple):
    """In line for the responder."""

    request: Request
    outstanding: Begun[Message] | None
    response: Message | None = None


class Pipeline:
    """Of one connection."""

    def __init__(self, dispatch: Dispatch, connection: Connection, outlet: Outlet) -> None:
        self._dispatch = dispatch
        self._connection = connection
        self._outlet = outlet
        self._waiting: deque[Frame] = deque()
        self._waiting_bytes = 0
        self._handled: Request | None = None
        """What the worker is busy with."""
        self._answered: Request | None = None
        """What the responder is busy with."""
        self._begun: deque[_Answer] = deque()
        self._begun_bytes = 0
        self._worker: asyncio.Task[None] | None = None
        self._responder: asyncio.Task[None] | None = None
        self._worker_waits: asyncio.Future[None] | None = None
        self._responder_waits: asyncio.Future[None] | None = None
        self._turn_began_s = 0.0
        self._mute: asyncio.TimerHandle | None = None
        self._is_closing = False
        self._last_words: OttlaError | None = None
        """Why the connection is closed once everything before has been answered."""
        self.requests_begun = 0
        """Since the connection was opened."""

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be received for the moment."""
        return (
            len(self._waiting) >= KAFKA_REQUESTS_READ_AHEAD_MAX
            or self._waiting_bytes >= KAFKA_BYTES_READ_AHEAD_MAX
        )

    @property
    def is_busy(self) -> bool:
        """Whether a request waits or is under way."""
        return self._handled is not None or bool(self._begun) or bool(self._waiting)

    def add(self, frames: Sequence[Frame]) -> None:
        """Handle these after those that came before."""
        if self._is_closing:
            return
        self._waiting.extend(frames)
        for frame in frames:
            self._waiting_bytes += frame.size
        if self._worker is None:
            self._worker = asyncio.get_running_loop().create_task(self._work())
            self._worker.add_done_callback(self._worker_ended)
        else:
            self.look_again()

    def look_again(self) -> None:
        """Begin the next request if that is possible now."""
        if self._worker_waits is not None and not self._worker_waits.done():
            self._worker_waits.set_result(None)

    def close(self) -> None:
        """Begin nothing more. What is under way goes on, and is answered."""
        self._is_closing = True
        self._waiting.clear()
        self._waiting_bytes = 0

    def cancel(self) -> None:
        """Stop everything: nobody is there any more."""
        self.close()
        for task in (self._worker, self._responder):
            if task is not None:
                task.cancel()
        if self._mute is not None:
            self._mute.cancel()
        for answer in self._begun:
            if answer.outstanding is not None:
                _close_unused(answer.outstanding)
        self._begun.clear()
        self._worker = self._responder = None

    def left(self) -> None:
        """Stop everything but what the client, who has gone, still sent to be appended.

        Many send without asking for an acknowledgement and hang up at once; all that arrived
        counts, as in Kafka.
        """
        unheard = [frame for frame in self._waiting if frame.api_key == ApiKey.PRODUCE]
        self.cancel()
        if unheard:
            self._worker = asyncio.get_running_loop().create_task(self._append(unheard))
            self._worker.add_done_callback(self._worker_ended)

    async def _append(self, frames: Sequence[Frame]) -> None:
        for frame in frames:
            self._handled = request = self._dispatch.request(frame)
            outcome = self._dispatch.begin(request, frame, self._connection)
            if isinstance(outcome, Begun):
                _close_unused(outcome)
            else:
                await outcome
            request.finished()
        self._handled = None

    # --- The worker ---

    async def _work(self) -> None:
        while True:
            # Two calls, so that nothing of a request is kept while the next one is waited for: it
            # was given back, and may be large.
            await self._handle(await self._next())

    async def _handle(self, frame: Frame) -> None:
        self._handled = request = self._dispatch.request(frame)
        self.requests_begun += 1
        outcome = self._dispatch.begin(request, frame, self._connection)
        if isinstance(outcome, Begun):
            self._in_line(_Answer(request, outcome))
        else:
            response = await outcome
            if self._begun:
                self._in_line(_Answer(request, None, response))
            else:
                self._answer(request, response)
        self._handled = None

    async def _next(self) -> Frame:
        while not (self._waiting and self._may_begin()):
            self._worker_waits = asyncio.get_running_loop().create_future()
            await self._worker_waits
            self._turn_began_s = time.perf_counter()
        if time.perf_counter() - self._turn_began_s > _TURN_S:
            await asyncio.sleep(0)
            self._turn_began_s = time.perf_counter()
            if not self._waiting:
                return await self._next()
        frame = self._waiting.popleft()
        self._waiting_bytes -= frame.size
        self._outlet.began()
        return frame

    def _may_begin(self) -> bool:
        return (
            self._mute is None
            and len(self._begun) < KAFKA_REQUESTS_BEGUN_MAX
            and self._begun_bytes < KAFKA_BYTES_BEGUN_MAX
            and self._outlet.may_begin()
        )

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        error = _reason(task)
        if error is None:
            return
        assert self._handled is not None
        if self._begun and isinstance(error, OttlaError):
            self.close()
            self._last_words = error
        else:
            self._outlet.ended(error, self._handled)

    # --- The responder ---

    def _in_line(self, answer: _Answer) -> None:
        self._begun.append(answer)
        self._begun_bytes += answer.request.size
        if self._responder is None:
            self._responder = asyncio.get_running_loop().create_task(self._respond())
            self._responder.add_done_callback(self._responder_ended)
        elif self._responder_waits is not None and not self._responder_waits.done():
            self._responder_waits.set_result(None)

    async def _respond(self) -> None:
        while True:
            while not self._begun:
                self._responder_waits = asyncio.get_running_loop().create_future()
                await self._responder_waits
            await self._respond_to_first()

    async def _respond_to_first(self) -> None:
        request, outstanding, response = self._begun[0]
        self._answered = request
        if outstanding is not None:
            response = await outstanding.response
        self._begun.popleft()
        self._begun_bytes -= request.size
        self._answer(request, response)
        if self._last_words is not None and not self._begun:
            assert self._handled is not None
            self._outlet.ended(self._last_words, self._handled)
        self.look_again()

    def _responder_ended(self, task: asyncio.Task[None]) -> None:
        error = _reason(task)
        if error is not None:
            assert self._answered is not None
            self._outlet.ended(error, self._answered)

    def _answer(self, request: Request, response: Message | None) -> None:
        if isinstance(response, Throttled):
            self._keep_quiet(response.mute_ms / 1000)
            request.throttled(response.mute_ms / 1000)
            response = response.response
        if response is None:
            request.finished()
        else:
            self._outlet.send(request.answer(response))
        self._outlet.answered(request.size)

    def _keep_quiet(self, seconds: float) -> None:
        """Begin nothing for so long, or until whenever an earlier answer said if that is later."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if self._mute is not None:
            until = max(until, self._mute.when())
            self._mute.cancel()
        self._mute = loop.call_at(until, self._unmute)

    def _unmute(self) -> None:
        self._mute = None
        self.look_again()


def _close_unused(outstanding: Begun[Message]) -> None:
    """Say that nobody awaits a response, if nobody does."""
    awaitable = outstanding.response
    if inspect.iscoroutine(awaitable) and inspect.getcoroutinestate(awaitable) == (
        inspect.CORO_CREATED
    ):
        awaitable.close()


def _reason(task: asyncio.Task[None]) -> BaseException | None:
    """Return why a task ended; ``None``: it was told to."""
    if not task.cancelled():
        return task.exception()
    return None if task.cancelling() else RuntimeError("a handler awaited what was cancelled")
