"""A proxy in front of a broker's Kafka port, which can cut, delay and answer in the broker's place.

Each connection of a client has its counterpart at the broker. What passes between the two is
:mod:`ottla.testing.conversation`'s business; here are the sockets::

    client ==> _Way: cut, delay ==> Conversation ==> broker
    client <== Conversation <== _Way: cut <== broker

A *cut* reads no more. Bytes stay where they are, in the buffers of this system, and pass when the
cut has healed, as TCP repeats what a network has lost. Nobody is told, not even of the end of a
connection; new connections are accepted, by the kernel as always, and hear nothing. A *delay*
is how long each piece of a request is on its way; pieces that are on their way together do not wait
for each other. Whoever sends faster than the other side receives, or than the delay lets pass, is
not read meanwhile, so that memory is bounded.

While the broker does not listen, neither does the proxy, so that clients are refused as they would
be without it; the port stays taken nevertheless.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from ottla.testing.conversation import Conversation
from ottla.testing.faults import Faults
from ottla.testing.ports import HeldPort
from ottla.wire.schema import Buffer

DELAYED_BYTES_MAX: Final = 4 * 1024 * 1024
"""On their way on one connection; then the client is not read until some have arrived."""

UNSENT_BYTES_MAX: Final = 1024 * 1024
"""For one side of a connection; then the other side is not read until they have left."""

BACKLOG: Final = 1024
"""Connections that the kernel accepts before we do: a test may open hundreds at once."""

CLOSE_TIMEOUT_S: Final = 5.0

CONNECT_TIMEOUT_S: Final = 10.0
"""To the broker on this machine, which may be paused."""


class KafkaProxy:
    """One broker's proxy. All methods belong to the event loop that runs it, the first excepted.

    Args:
        target: says where the broker's Kafka port is; asked for every connection.
    """

    def __init__(self, target: Callable[[], tuple[str, int]]) -> None:
        self.faults = Faults()
        self.target = target
        self._held = HeldPort()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()

    @property
    def port(self) -> int:
        """Where clients connect, on loopback."""
        return self._held.port

    async def listen(self) -> None:
        """Let clients connect. No error if they can."""
        if self._server is None:
            self._server = await asyncio.get_running_loop().create_server(
                self._accept, sock=self._held.listener(), backlog=BACKLOG
            )

    async def refuse_connections(self) -> None:
        """Let nobody connect, and close every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()

    async def close(self) -> None:
        """Close everything for good."""
        await self.refuse_connections()
        if closing := [connection.closed for connection in self._connections]:
            _, open_still = await asyncio.wait(closing, timeout=CLOSE_TIMEOUT_S)
            assert not open_still, "an aborted connection is closed at once"
        self._held.release()

    def drop(self) -> None:
        """Close every connection; clients may come again."""
        for connection in list(self._connections):
            connection.abort()

    def faults_changed(self) -> None:
        """Have all connections follow :attr:`faults`."""
        for connection in list(self._connections):
            connection.follow_faults()

    def _accept(self) -> _End:
        connection = _Connection(self)
        self._connections.add(connection)
        connection.closed.add_done_callback(lambda _: self._connections.discard(connection))
        return connection.client


class _Connection:
    """A client's connection with its counterpart; the sides of a :class:`Conversation`."""

    def __init__(self, proxy: KafkaProxy) -> None:
        loop = asyncio.get_running_loop()
        self._faults = proxy.faults
        self._target = proxy.target
        self._connecting: asyncio.Task[None] | None = None
        conversation = Conversation(proxy.faults, self)
        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when both ends are closed."""
        self.client = _End(self, _Way(conversation.from_client), self._connect)
        self.broker = _End(self, _Way(conversation.from_broker), self._connected)

    def follow_faults(self) -> None:
        """Cut, delay and pass on as the faults say now."""
        self.client.way.set_faults(is_cut=self._faults.cuts_requests, delay_s=self._faults.delay_s)
        self.broker.way.set_faults(is_cut=self._faults.cuts_responses, delay_s=0)

    def to_broker(self, content: Buffer) -> None:
        self.broker.send(content)

    def to_client(self, content: Buffer) -> None:
        self.client.send(content)

    def hang_up(self) -> None:
        self.client.close()
        self.broker.abort()

    def abort(self) -> None:
        """Close both ends at once."""
        if self._connecting is not None:
            self._connecting.cancel()
        self.client.abort()
        self.broker.abort()

    def other(self, end: _End) -> _End:
        """Return the end at the other side."""
        return self.broker if end is self.client else self.client

    def ended(self) -> None:
        """Hear that an end is closed."""
        connecting = self._connecting is not None and not self._connecting.done()
        if not (self.client.is_open or self.broker.is_open or connecting or self.closed.done()):
            self.closed.set_result(None)

    def _connect(self) -> None:
        # Nothing of the client is read before there is somebody to tell it.
        self.client.way.hold(connecting=True)
        self.follow_faults()
        self._connecting = asyncio.ensure_future(self._reach_broker())
        self._connecting.add_done_callback(lambda _: self.ended())

    async def _reach_broker(self) -> None:
        host, port = self._target()
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await loop.create_connection(lambda: self.broker, host, port)
        except (OSError, TimeoutError):
            self.client.abort()

    def _connected(self) -> None:
        self.follow_faults()
        self.client.way.hold(connecting=False)
        if not self.client.is_open:
            self.broker.abort()


class _Way:
    """What comes in at one end, on its way to the conversation."""

    def __init__(self, arrive: Callable[[bytes], None]) -> None:
        self._arrive = arrive
        self._transport: asyncio.Transport | None = None
        self._under_way: deque[tuple[float, bytes | None]] = deque()
        """Pieces, the end of the connection the last, with the time at which they arrive."""
        self._bytes_under_way = 0
        self._arriving: asyncio.TimerHandle | None = None
        self._delay_s = 0.0
        self._is_cut = False
        self._is_connecting = False
        self._is_stuffed = False
        self._at_end: Callable[[], None] = lambda: None

    def begin(self, transport: asyncio.Transport, at_end: Callable[[], None]) -> None:
        """Begin at a transport; ``at_end`` is told when everything has arrived."""
        self._transport = transport
        self._at_end = at_end

    def stop(self) -> None:
        """Forget what is on its way."""
        self._transport = None
        self._under_way.clear()
        if self._arriving is not None:
            self._arriving.cancel()

    def set_faults(self, *, is_cut: bool, delay_s: float) -> None:
        """Cut or no cut; delay what comes from now on. Without delay all arrives at once."""
        self._is_cut = is_cut
        self._delay_s = delay_s
        if not delay_s:
            self._under_way = deque((0.0, piece) for _, piece in self._under_way)
        self._deliver()

    def hold(self, *, connecting: bool) -> None:
        """Read nothing while the other side is being connected."""
        self._is_connecting = connecting
        self._deliver()

    def stuffed(self, *, is_stuffed: bool) -> None:
        """Hear that what arrives cannot, or can, be sent on at the other side."""
        self._is_stuffed = is_stuffed
        self._read_or_not()

    def come(self, piece: bytes | None) -> None:
        """Take what was read; ``None``: the end."""
        # A transport that has just been made may begin to read although it was told not to.
        waits = self._is_cut or self._is_connecting
        if not (waits or self._delay_s or self._under_way):
            self._hand_over(piece)
            return
        due = asyncio.get_running_loop().time() + self._delay_s
        self._under_way.append((due, piece))
        self._bytes_under_way += len(piece or b"")
        self._deliver()

    def _deliver(self) -> None:
        """Let arrive what has been on its way long enough."""
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None
        loop = asyncio.get_running_loop()
        passes = not (self._is_cut or self._is_connecting)
        while passes and self._under_way and self._transport is not None:
            due, piece = self._under_way[0]
            if due > loop.time():
                self._arriving = loop.call_at(due, self._deliver)
                break
            self._under_way.popleft()
            self._bytes_under_way -= len(piece or b"")
            self._hand_over(piece)
        self._read_or_not()

    def _hand_over(self, piece: bytes | None) -> None:
        if piece is None:
            self._at_end()
        else:
            self._arrive(piece)

    def _read_or_not(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        reads = not (
            self._is_cut
            or self._is_connecting
            or self._is_stuffed
            or self._bytes_under_way > DELAYED_BYTES_MAX
        )
        if reads and not self._transport.is_reading():
            self._transport.resume_reading()
        elif not reads and self._transport.is_reading():
            self._transport.pause_reading()


class _End(asyncio.Protocol):
    """One end of a connection."""

    def __init__(self, connection: _Connection, way: _Way, made: Callable[[], None]) -> None:
        self.way = way
        self._connection = connection
        self._made = made
        self._has_ended = False
        """Whether the peer has said all that it says."""
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was connected and is not closed."""
        return self._transport is not None

    def send(self, content: Buffer) -> None:
        """Send, as soon as the other side receives."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(content)

    def close(self) -> None:
        """Close when everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    # --- Of asyncio ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have its methods and are none of its subclasses.
        self._transport = transport = cast("asyncio.Transport", transport)
        transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        self.way.begin(transport, self._ended_by_peer)
        self._made()

    def data_received(self, data: bytes) -> None:
        self.way.come(data)

    def eof_received(self) -> bool:
        self.way.come(None)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.way.stop()
        # What came before is delivered; a connection that broke breaks at the other side as well.
        other = self._connection.other(self)
        if exc is None:
            other.close()
        else:
            other.abort()
        self._connection.ended()

    def pause_writing(self) -> None:
        self._connection.other(self).way.stuffed(is_stuffed=True)

    def resume_writing(self) -> None:
        self._connection.other(self).way.stuffed(is_stuffed=False)

    def _ended_by_peer(self) -> None:
        """The peer has said all that it says, and hears what is still said to it."""
        self._has_ended = True
        other = self._connection.other(self)
        if other._has_ended:  # noqa: SLF001 -- of the same class
            self.close()
            other.close()
        elif other._transport is not None and not other._transport.is_closing():  # noqa: SLF001
            other._transport.write_eof()  # noqa: SLF001
