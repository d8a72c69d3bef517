"""A TCP proxy that stands for the network between two brokers, and can be cut.

A cut that closed connections would be noticed at once, and real networks are not so kind: packets
vanish and nobody is told. So a cut proxy goes on accepting connections and keeps them open, and
passes nothing on, in one direction or in both. What it swallowed cannot be delivered later without
holes, so :meth:`LinkProxy.heal` closes every connection that was open during a cut.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

CHUNK_BYTES: Final = 64 * 1024


class _Pipe:
    """One direction of all connections."""

    def __init__(self) -> None:
        self.is_cut = False


class LinkProxy:
    """Passes on what arrives at :attr:`port` to ``target_port``; both on loopback."""

    def __init__(self, target_port: int) -> None:
        """Prepare; an asynchronous context manager begins to listen, on a free port."""
        self._target_port = target_port
        self._there = _Pipe()
        self._back = _Pipe()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def port(self) -> int:
        """Where to connect."""
        assert self._server is not None, "not started"
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self, *, there: bool = True, back: bool = True) -> None:
        """Let nothing pass towards the target, back from it, or either way."""
        self._there.is_cut |= there
        self._back.is_cut |= back

    def heal(self) -> None:
        """Let everything pass again, on new connections."""
        if self._there.is_cut or self._back.is_cut:
            self._there.is_cut = self._back.is_cut = False
            for connection in self._connections:
                connection.cancel()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._closed = True
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._connect(reader, writer))
        self._connections.add(connection)

        def ended(connection: asyncio.Task[None]) -> None:
            # Also of one that was cancelled before it began.
            self._connections.discard(connection)
            writer.transport.abort()

        connection.add_done_callback(ended)
        if self._closed:
            connection.cancel()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            return
        ways = [
            asyncio.ensure_future(_pass_on(reader, far_writer, self._there)),
            asyncio.ensure_future(_pass_on(far_reader, writer, self._back)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            far_writer.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pipe: _Pipe) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        if not pipe.is_cut:
            writer.write(chunk)
            await writer.drain()
    if pipe.is_cut:
        # Not even the end of the connection gets through.
        await asyncio.get_running_loop().create_future()
