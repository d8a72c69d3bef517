"""A proxy in front of a broker's Kafka port, which can cut, delay and answer in the broker's place.

Every connection has two halves. Towards the broker, requests are taken apart into frames: one that
a fault answers is not passed on, and its response takes its place in the order of responses, which
Kafka's clients insist on. Back from it, responses pass as they are, each after what was asked
before it.

A *cut* passes nothing on and tells nobody, as networks do; a *drop* closes connections. What a cut
has swallowed cannot be delivered later without holes, so healing closes what was open meanwhile.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any, Final

from ottla.model.errors import OttlaError
from ottla.testing.kafka_errors import failed_response
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import read_request
from ottla.wire.frames import RequestHeader, read_request_header, write_response_frame

_SIZE: Final = Struct(">i")

NO_RESPONSE_ACKS: Final = 0


@dataclass(slots=True)
class _Refusal:
    """Requests of one kind that are answered with an error."""

    api_key: int
    error_code: int
    times: int | None
    """How many more; ``None``: all."""


class Faults:
    """What is wrong with the way to one broker; shared by all its connections."""

    def __init__(self) -> None:
        self.delay_s = 0.0
        self.is_cut = False
        self.answered: list[tuple[ApiKey, int]] = []
        """Requests that were answered in the broker's place, with the error code."""
        self._refusals: list[_Refusal] = []

    def refuse(self, api_key: int, error_code: int, times: int | None) -> None:
        """Answer the next requests of a kind with an error; the last word about a kind counts."""
        self._refusals = [each for each in self._refusals if each.api_key != api_key]
        self._refusals.append(_Refusal(api_key, error_code, times))

    def refusal_of(self, api_key: int) -> int | None:
        """Return the error to answer a request with, and count it; ``None``: pass it on."""
        for refusal in self._refusals:
            if refusal.api_key != api_key:
                continue
            if refusal.times is not None:
                refusal.times -= 1
                if not refusal.times:
                    self._refusals.remove(refusal)
            self.answered.append((ApiKey(api_key), refusal.error_code))
            return refusal.error_code
        return None

    def clear(self) -> None:
        """Be well again."""
        self.delay_s = 0.0
        self.is_cut = False
        self._refusals.clear()


class KafkaProxy:
    """One broker's proxy. All methods belong to the event loop that starts it.

    Args:
        target: says where the broker's Kafka port is; asked for every connection.
    """

    def __init__(self, target: Callable[[], tuple[str, int]]) -> None:
        self.faults = Faults()
        self._target = target
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self, port: int) -> None:
        """Listen on a loopback port."""
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", port)

    async def stop(self) -> None:
        """Close everything."""
        assert self._server is not None, "not started"
        self._server.close()
        self.drop()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def drop(self) -> None:
        """Close every connection; clients may come again."""
        for connection in self._connections:
            connection.cancel()

    def cut(self) -> None:
        """Let nothing pass, and tell nobody."""
        self.faults.is_cut = True

    def clear(self) -> None:
        """Be well again; what went through a cut has to connect anew."""
        was_cut = self.faults.is_cut
        self.faults.clear()
        if was_cut:
            self.drop()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(connection)

        def ended(connection: asyncio.Task[None]) -> None:
            self._connections.discard(connection)
            writer.transport.abort()

        connection.add_done_callback(ended)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._target()
        try:
            far_reader, far_writer = await asyncio.open_connection(host, port)
        except OSError:
            return
        conversation = _Conversation(self.faults, writer, far_writer)
        halves = [
            asyncio.ensure_future(conversation.requests(reader)),
            asyncio.ensure_future(conversation.responses(far_reader)),
        ]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            far_writer.transport.abort()
            for half in halves:
                half.cancel()
            await asyncio.gather(*halves, return_exceptions=True)


class _Conversation:
    """One connection with its counterpart at the broker."""

    def __init__(
        self, faults: Faults, client: asyncio.StreamWriter, broker: asyncio.StreamWriter
    ) -> None:
        self._faults = faults
        self._client = client
        self._broker = broker
        self._pending: deque[bytes | None] = deque()
        """In the order of the requests: a response made here, or ``None`` for the broker's."""

    async def requests(self, reader: asyncio.StreamReader) -> None:
        """Pass requests on, or answer them."""
        while (frame := await _read_frame(reader)) is not None:
            if self._faults.is_cut:
                continue
            if self._faults.delay_s:
                await asyncio.sleep(self._faults.delay_s)
            if self._answer(memoryview(frame)):
                self._send_made()
                continue
            self._broker.writelines((_SIZE.pack(len(frame)), frame))
            await self._broker.drain()
        if self._faults.is_cut:
            # Not even the end of the connection gets through.
            await asyncio.get_running_loop().create_future()

    async def responses(self, reader: asyncio.StreamReader) -> None:
        """Pass responses back, with those made here in between."""
        while (frame := await _read_frame(reader)) is not None:
            if self._faults.is_cut:
                continue
            if self._pending:
                self._pending.popleft()
            self._client.writelines((_SIZE.pack(len(frame)), frame))
            self._send_made()
            await self._client.drain()
        if self._faults.is_cut:
            await asyncio.get_running_loop().create_future()

    def _answer(self, frame: memoryview) -> bool:
        """Note what response belongs to a request; return whether it was made here."""
        try:
            header, position = read_request_header(frame)
        except OttlaError:
            # The broker will say what it thinks of it.
            self._pending.append(None)
            return False
        error_code = self._faults.refusal_of(header.api_key)
        if error_code is None:
            if not _has_no_response(header, frame, position):
                self._pending.append(None)
            return False
        request = read_request(header.api_key, header.api_version, frame, position)
        if _has_no_response(header, frame, position):
            return True
        response = failed_response(header.api_key, header.api_version, request, error_code)
        buffers = write_response_frame(
            header.api_key, header.api_version, header.correlation_id, response
        )
        self._pending.append(b"".join(buffers))
        return True

    def _send_made(self) -> None:
        while self._pending and (made := self._pending[0]) is not None:
            self._pending.popleft()
            self._client.write(made)


def _has_no_response(header: RequestHeader, frame: memoryview, position: int) -> bool:
    if header.api_key != ApiKey.PRODUCE:
        return False
    request: Any = read_request(header.api_key, header.api_version, frame, position)
    return bool(request.acks == NO_RESPONSE_ACKS)


async def _read_frame(reader: asyncio.StreamReader) -> bytes | None:
    try:
        (size,) = _SIZE.unpack(await reader.readexactly(_SIZE.size))
        return await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
