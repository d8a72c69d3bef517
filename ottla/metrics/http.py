"""The HTTP port: ``/metrics``, ``/healthz`` and ``/readyz``.

* ``/metrics``: everything in :mod:`ottla.metrics.registry`, in Prometheus' text format.
* ``/healthz``: 200 while the broker does its work; 503 with the reason in one sentence when it
  cannot, e.g. after a log directory failed. A supervisor restarts what is unhealthy.
* ``/readyz``: 200 while clients should be sent here; 503 with the reason while the broker starts or
  stops. A load balancer waits for what is not ready.

h11 reads and writes the protocol; this module moves its bytes and holds the bounds: size of a
request, number of connections, time to send a request and to take the answer. Whatever a
connection does costs that connection only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, NamedTuple

import h11

from ottla.metrics.registry import CONTENT_TYPE, BrokerMetrics
from ottla.model.limits import (
    HTTP_CONNECTIONS_MAX,
    HTTP_LINGER_READS_MAX,
    HTTP_LINGER_S,
    HTTP_REQUEST_BYTES_MAX,
    HTTP_REQUEST_TIMEOUT_S,
    HTTP_RESPONSE_TIMEOUT_S,
)

Probe = Callable[[], str | None]
"""Why not, in one sentence; ``None`` if all is well. Must not wait."""

_TEXT: Final = "text/plain; charset=utf-8"
_METHODS: Final = (b"GET", b"HEAD")
_READ_BYTES: Final = 4_096


class Response(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes
    content_type: str = _TEXT
    headers: tuple[tuple[str, str], ...] = ()


def _sentence(status: int, text: str, *headers: tuple[str, str]) -> Response:
    return Response(status, f"{text}\n".encode(), headers=headers)


class HttpServer:
    """Serves one broker's figures and probes until stopped."""

    def __init__(self, *, metrics: BrokerMetrics, health: Probe, readiness: Probe) -> None:
        self._metrics = metrics
        self._probes = {b"/healthz": health, b"/readyz": readiness}
        self._connections: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port: ``port``, or a free one if that is 0.

        Raises :exc:`OSError` if the address cannot be had.
        """
        assert self._server is None, "started twice"
        self._server = await asyncio.start_server(
            self._serve, host, port, limit=HTTP_REQUEST_BYTES_MAX
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def stop(self) -> None:
        """Stop listening and drop every connection. Harmless if it was not started."""
        if self._server is None:
            return
        self._server.close()
        for writer in self._connections:
            writer.close()
        if self._connections:
            await asyncio.wait(self._connections.values())
        await self._server.wait_closed()
        self._server = None

    async def respond(self, method: bytes, target: bytes) -> Response:
        """Decide what to answer. Waits only for ``/metrics``, which is put together in a thread."""
        path = target.partition(b"?")[0]
        probe = self._probes.get(path)
        if probe is None and path != b"/metrics":
            return _sentence(404, "There is /metrics, /healthz and /readyz here, nothing else.")
        if method not in _METHODS:
            return _sentence(
                405, "This can be read with GET and HEAD only.", ("Allow", "GET, HEAD")
            )
        if probe is not None:
            reason = probe()
            return _sentence(200, "ok") if reason is None else _sentence(503, reason)
        self._metrics.sample()
        return Response(200, await asyncio.to_thread(self._metrics.render), CONTENT_TYPE)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[writer] = task
        try:
            # A reader that vanishes, or is too slow, is nobody's problem but its own.
            with contextlib.suppress(ConnectionError, TimeoutError):
                await self._serve_all(reader, writer)
        finally:
            del self._connections[writer]
            writer.close()

    async def _serve_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HTTP_REQUEST_BYTES_MAX)
        if len(self._connections) > HTTP_CONNECTIONS_MAX:
            full = f"{HTTP_CONNECTIONS_MAX} connections are open already; try again later."
            await _send(connection, writer, _sentence(503, full), with_body=True)
        else:
            while await self._serve_one(connection, reader, writer):
                connection.start_next_cycle()
        await _linger(reader, writer)

    async def _serve_one(
        self,
        connection: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request; return whether the connection can take another."""
        request: h11.Request | None = None
        try:
            async with asyncio.timeout(HTTP_REQUEST_TIMEOUT_S):
                request = await _receive(connection, reader)
        except h11.RemoteProtocolError as error:
            response = _sentence(
                error.error_status_hint, f"This is not HTTP as it should be: {error}."
            )
        except TimeoutError:
            if not connection.trailing_data[0]:
                return False  # nothing was begun: no question, no answer
            response = _sentence(
                408, f"No whole request came within {HTTP_REQUEST_TIMEOUT_S:g} seconds."
            )
        else:
            if request is None:
                return False
            response = await self.respond(request.method, request.target)
        with_body = request is None or request.method != b"HEAD"
        await _send(connection, writer, response, with_body=with_body)
        return connection.our_state is h11.DONE and connection.their_state is h11.DONE


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> h11.Request | None:
    """Read one request with nothing after its headers; ``None`` at the end of the connection.

    Raises :exc:`h11.RemoteProtocolError` for anything that is not such a request.
    """
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_BYTES))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.EndOfMessage):
            return request
        elif isinstance(event, h11.Data):
            raise h11.RemoteProtocolError("a body came where none is expected", 413)
        else:
            assert isinstance(event, h11.ConnectionClosed), event
            return None


async def _send(
    connection: h11.Connection, writer: asyncio.StreamWriter, response: Response, *, with_body: bool
) -> None:
    """Write a whole response and wait, within bounds, until the reader has taken it."""
    if connection.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
        return
    head = h11.Response(
        status_code=response.status,
        headers=[
            ("Content-Type", response.content_type),
            ("Content-Length", str(len(response.body))),
            ("Cache-Control", "no-store"),
            *response.headers,
        ],
    )
    pieces = [connection.send(head)]
    if with_body:
        pieces.append(connection.send(h11.Data(data=response.body)))
    pieces.append(connection.send(h11.EndOfMessage()))
    writer.write(b"".join(piece for piece in pieces if piece))
    async with asyncio.timeout(HTTP_RESPONSE_TIMEOUT_S):
        await writer.drain()


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the peer read the last answer before the connection goes.

    Closing with bytes unread makes TCP reset the connection, which throws the answer away.
    """
    if writer.can_write_eof() and not writer.is_closing():
        writer.write_eof()
    async with asyncio.timeout(HTTP_LINGER_S):
        for _ in range(HTTP_LINGER_READS_MAX):
            if not await reader.read(_READ_BYTES):
                return
