"""One connection of a client: bytes in, bytes out, and when to have done with it.

What is received goes through the :class:`~ottla.kafka.framing.FrameReader` to the
:class:`~ottla.kafka.pipeline.Pipeline`, and responses come back by reference: nothing is copied on
the way to the kernel. Nothing is received while

* requests wait that were received already,
* there is no memory for the rest of a large request, or
* the broker stops;

and no request is begun while the client does not take the responses that it has been sent.

A connection that does wrong is closed, and costs nobody else anything. What it may do wrong in
*time* is looked at every second (:meth:`KafkaConnection.look_after`), so that a connection needs no
timers of its own: not saying anything at first, sending a request bit by bit, not taking its
response, being idle.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntFlag
from typing import Final, cast

from ottla.kafka.advertised import AddressAdvice
from ottla.kafka.dispatch import Dispatch, Request
from ottla.kafka.framing import FrameReader
from ottla.kafka.handling import Connection, DisconnectError
from ottla.kafka.instruments import KafkaInstruments
from ottla.kafka.pipeline import Pipeline
from ottla.kafka.request_memory import RequestMemory
from ottla.kafka.unsent import UnsentResponses
from ottla.model.errors import OttlaError
from ottla.model.limits import (
    KAFKA_FIRST_REQUEST_TIME_MAX_MS,
    KAFKA_FRAME_BYTES_PER_S_MIN,
    KAFKA_FRAME_TIME_MIN_MS,
    KAFKA_UNSENT_BYTES_PAUSE,
)
from ottla.runtime.files import Buffer
from ottla.runtime.logging import Event, Severity, emit
from ottla.security.identity import principal_of
from ottla.wire.malformed import MalformedError

CONNECTION_CLOSED: Final = Event("kafka.connection_closed", Severity.WARNING)
"""A client did what costs it its connection; ``reason`` says what."""

_LOGGER = logging.getLogger(__name__)


class _Pause(IntFlag):
    """Why nothing is received at the moment."""

    NONE = 0
    AHEAD = 1
    """Requests wait."""
    MEMORY = 2
    STOPPING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all connections of a broker have in common."""

    dispatch: Dispatch
    memory: RequestMemory
    unsent: UnsentResponses
    received: memoryview
    """See :class:`~ottla.kafka.framing.FrameReader`."""
    request_bytes_max: int
    idle_max_ms: int | None
    instruments: KafkaInstruments
    advice: AddressAdvice


class KafkaConnection(asyncio.BufferedProtocol):
    """A protocol of :mod:`asyncio`, for one connection."""

    def __init__(
        self,
        shared: Shared,
        connection: Connection,
        *,
        made: Callable[[int, KafkaConnection], None],
        gone: Callable[[int], None],
    ) -> None:
        """``connection`` says who it is as far as an address tells.

        ``made`` and ``gone`` are called with its number, when it begins to serve and has ended.
        """
        self._shared = shared
        self._made = made
        self._gone = gone
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._claim = shared.memory.claim(self._memory_is_there)
        self._reader = FrameReader(
            shared.received,
            self._claim,
            bytes_max=shared.request_bytes_max,
            check_size=shared.dispatch.check,
        )
        self._pipeline = Pipeline(shared.dispatch, connection, self)
        self._is_advised = False
        self._paused = _Pause.NONE
        self._unsent_bytes = 0
        self._was_heard = True
        self._silent_ms = 0
        self._requests_received = 0
        self._within_request = -1
        """The number of the request that was half received when it was last looked at."""
        self._within_ms = 0
        self._stalled_ms = 0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection is gone."""

    def __repr__(self) -> str:
        return f"<KafkaConnection {self._connection.number} from {self._connection.client}>"

    @property
    def is_busy(self) -> bool:
        """Whether a request is under way, or a response not sent."""
        return self._pipeline.is_busy or self._unsent_bytes > 0

    # --- What asyncio says ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._transport = cast("asyncio.Transport", transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None:
            self._connection = replace(self._connection, principal=principal_of(tls.getpeercert()))
            self._pipeline = Pipeline(self._shared.dispatch, self._connection, self)
        self._transport.set_write_buffer_limits(high=KAFKA_UNSENT_BYTES_PAUSE, low=0)
        self._made(self._connection.number, self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See :class:`asyncio.BufferedProtocol`."""
        del sizehint
        return self._reader.room()

    def buffer_updated(self, nbytes: int) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        self._was_heard = True
        self._shared.instruments.received(nbytes)
        reader = self._reader
        try:
            if not reader.received(nbytes):
                self._pause(_Pause.MEMORY)
        except DisconnectError as error:
            self._say(str(error))
            self._pause(_Pause.STOPPING)  # and close when what came before has been answered
        if reader.frames:
            frames, reader.frames = reader.frames, []
            self._requests_received += len(frames)
            self._pipeline.add(frames)
            if self._pipeline.is_full:
                self._pause(_Pause.AHEAD)
        if self._paused and self._paused & _Pause.STOPPING:
            self._close_when_done()

    def eof_received(self) -> bool:
        """Close: a client that has said its last word waits for no answer, as in Kafka."""
        return False

    def pause_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._count_unsent()

    def resume_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._unsent_bytes = self._stalled_ms = 0
        self._shared.unsent.changed(self._connection.number, 0)
        self._pipeline.look_again()
        self._close_when_done()

    def connection_lost(self, exc: Exception | None) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        del exc
        # A client that was told a wrong address may be gone before anybody has looked after it.
        self._advise()
        self._pipeline.left()
        # Now, and not when the collector of garbage comes by to find a connection and its parts.
        self._reader.forget()
        self._claim.give_all_back()
        self._shared.unsent.changed(self._connection.number, 0)
        self._gone(self._connection.number)
        if not self.lost.done():
            self.lost.set_result(None)

    # --- What the pipeline says ---

    def send(self, response: Sequence[Buffer]) -> None:
        """See :class:`~ottla.kafka.pipeline.Outlet`."""
        assert self._transport is not None
        self._shared.instruments.sent(sum(map(len, response)))
        self._transport.writelines(response)
        if self._unsent_bytes:
            self._count_unsent()

    def may_begin(self) -> bool:
        """See :class:`~ottla.kafka.pipeline.Outlet`."""
        return not self._unsent_bytes

    def began(self) -> None:
        """See :class:`~ottla.kafka.pipeline.Outlet`."""
        if self._paused and self._paused & _Pause.AHEAD and not self._pipeline.is_full:
            self._resume(_Pause.AHEAD)

    def answered(self, size: int) -> None:
        """See :class:`~ottla.kafka.pipeline.Outlet`."""
        self._was_heard = True
        self._claim.give_back(size)
        if self._paused and self._paused & _Pause.STOPPING:
            asyncio.get_running_loop().call_soon(self._close_when_done)

    def ended(self, error: BaseException, request: Request) -> None:
        """See :class:`~ottla.kafka.pipeline.Outlet`."""
        name = error.name if isinstance(error, OttlaError) else OttlaError.name
        request.failed(name)
        if isinstance(error, (DisconnectError, MalformedError)):
            self._close(f"{request}: {error}")
            return
        incident = uuid.uuid4().hex[:12]
        _LOGGER.error(
            "request_failed request=%s incident=%s client=%s",
            request,
            incident,
            self._connection.client,
            exc_info=error,
        )
        self._abort()

    # --- What the door says ---

    def look_after(self, elapsed_ms: int) -> None:
        """Close the connection if its client takes too much time; ``elapsed_ms`` since last asked.

        Also tells the operator of clients that will not find the broker.
        """
        if self.lost.done():
            return
        if self._unsent_bytes:
            self._look_after_response(elapsed_ms)
            return
        self._look_after_request(elapsed_ms)
        self._silent_ms = 0 if self._was_heard or self.is_busy else self._silent_ms + elapsed_ms
        self._was_heard = False
        self._advise()
        idle_max_ms = self._shared.idle_max_ms
        if not self._requests_received and self._silent_ms >= KAFKA_FIRST_REQUEST_TIME_MAX_MS:
            self._close("the client has not asked for anything since it connected")
        elif idle_max_ms is not None and self._silent_ms >= idle_max_ms:
            self._close()

    def _advise(self) -> None:
        if self._pipeline.requests_begun and not self._is_advised:
            self._is_advised = True
            self._shared.advice.look_at(self._connection)

    def finish(self) -> None:
        """Receive nothing more; close when what is under way is answered."""
        self._pause(_Pause.STOPPING)
        self._pipeline.close()
        self._close_when_done()

    def abort(self) -> None:
        """Cut the connection."""
        self._abort()

    # --- Time ---

    def _look_after_request(self, elapsed_ms: int) -> None:
        if not self._reader.is_within_a_request or self._within_request != self._requests_received:
            self._within_request = self._requests_received
            self._within_ms = 0
            return
        if self._paused:
            return  # it is we who do not go on
        self._within_ms += elapsed_ms
        expected_ms = self._reader.expected_bytes * 1000 // KAFKA_FRAME_BYTES_PER_S_MIN
        if self._within_ms > KAFKA_FRAME_TIME_MIN_MS + expected_ms:
            self._close(f"no whole request came within {self._within_ms} ms")

    def _look_after_response(self, elapsed_ms: int) -> None:
        before = self._unsent_bytes
        self._count_unsent()
        self._stalled_ms = 0 if self._unsent_bytes < before else self._stalled_ms + elapsed_ms
        if self._stalled_ms >= self._shared.unsent.stalled_max_ms:
            self._say(f"the client took nothing of its response within {self._stalled_ms} ms")
            self._abort()

    # --- Pauses and ends ---

    def _count_unsent(self) -> None:
        assert self._transport is not None
        self._unsent_bytes = self._transport.get_write_buffer_size()
        self._shared.unsent.changed(self._connection.number, self._unsent_bytes)

    def _memory_is_there(self) -> None:
        self._reader.grow()
        self._resume(_Pause.MEMORY)

    def _pause(self, reason: _Pause) -> None:
        if not self._paused and self._transport is not None:
            self._transport.pause_reading()
        self._paused |= reason

    def _resume(self, reason: _Pause) -> None:
        was_paused, self._paused = self._paused, self._paused & ~reason
        if was_paused and not self._paused and self._transport is not None:
            self._transport.resume_reading()

    def _close_when_done(self) -> None:
        if self._paused & _Pause.STOPPING and not self.is_busy:
            self._close()

    def _close(self, reason: str = "") -> None:
        """Close after what has been answered already; ``reason`` is told if there is one."""
        if reason:
            self._say(reason)
        self._pause(_Pause.STOPPING)
        self._pipeline.cancel()
        if self._transport is not None:
            self._transport.close()

    def _abort(self) -> None:
        self._pipeline.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _say(self, reason: str) -> None:
        emit(
            CONNECTION_CLOSED,
            listener=self._connection.listener,
            client=self._connection.client,
            reason=reason,
        )
