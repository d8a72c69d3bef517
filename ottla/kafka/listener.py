"""One listener of Kafka's protocol: sockets that listen, and what is accepted there.

The address is taken early in the start of the broker, so that one which is taken already is heard
of at once, and nothing listens before the broker serves: whoever connects meanwhile is refused by
the kernel and goes to another broker, instead of waiting here.

Connections are accepted by hand and not by an :class:`asyncio.Server`, so that there is a decision
between accepting a connection and giving it anything, above all a TLS handshake.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from ottla.config.addresses import Address
from ottla.config.listeners import KafkaListener
from ottla.kafka.connection import KafkaConnection
from ottla.kafka.handling import Connection
from ottla.model.limits import (
    KAFKA_ACCEPT_PAUSE_MS,
    KAFKA_ACCEPTED_AT_ONCE_MAX,
    KAFKA_BACKLOG,
    KAFKA_TLS_HANDSHAKE_TIME_MAX_S,
    KAFKA_TLS_SHUTDOWN_TIME_MAX_S,
)
from ottla.runtime.logging import Event, Severity, emit
from ottla.security.identity import ANONYMOUS

ACCEPTING_FAILED: Final = Event("kafka.accepting_failed", Severity.ERROR)
HANDSHAKE_FAILED: Final = Event("kafka.handshake_failed", Severity.WARNING)

_MAPPED: Final = "::ffff:"

Admit = Callable[[str, str], int | None]
"""With the listener and a client's host: the number of its connection, or ``None`` if there are
too many."""

Released = Callable[[int], None]
"""The connection of that number is gone."""

Connect = Callable[[Connection], KafkaConnection]
"""Make the protocol of a connection."""


class Listener:
    """One of a broker's listeners, with all its sockets."""

    def __init__(
        self,
        config: KafkaListener,
        *,
        tls: ssl.SSLContext | None,
        admit: Admit,
        released: Released,
        connect: Connect,
    ) -> None:
        self.config = config
        self._tls = tls
        self._admit = admit
        self._released = released
        self._connect = connect
        self._sockets: list[socket.socket] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._retries: dict[socket.socket, asyncio.TimerHandle] = {}
        self.address = config.listen
        """With the port that there is, once bound."""

    def __repr__(self) -> str:
        return f"<Listener {self.config.name} {self.address}>"

    async def bind(self) -> None:
        """Take the address, which nobody can connect to yet.

        Raises :exc:`OSError` if it cannot be had, with the address as ``filename``.
        """
        host, port = self.config.listen
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(
                host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            for family, kind, protocol, _, place in dict.fromkeys(found):
                # All addresses of a name have one port.
                place = (place[0], self.address.port, *place[2:])  # noqa: PLW2901
                self._bind(family, kind, protocol, place)
        except OSError as error:
            self.close()
            raise OSError(error.errno, error.strerror, str(self.config.listen)) from error

    def listen(self) -> None:
        """Accept connections from now on.

        Raises :exc:`OSError` if somebody else has taken the address meanwhile.
        """
        for listening in self._sockets:
            try:
                listening.listen(KAFKA_BACKLOG)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self.address)) from error
            self._accept_from(listening)

    def close(self) -> None:
        """Accept nothing any more. Harmless if closed already."""
        for listening in self._sockets:
            if listening in self._retries:
                self._retries.pop(listening).cancel()
            asyncio.get_running_loop().remove_reader(listening)
            listening.close()
        self._sockets = []

    async def wait_closed(self) -> None:
        """Give up connections that are not made yet, and wait for that."""
        for task in self._connecting:
            task.cancel()
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _bind(
        self, family: int, kind: int, protocol: int, place: tuple[str | int | bytes, ...]
    ) -> None:
        listening = socket.socket(family, kind, protocol)
        try:
            # A broker that starts again finds connections of its last life in the kernel.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # What is accepted has this too: a peer that vanished is noticed.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if family == socket.AF_INET6:
                every = place[0] == "::"
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not every)
            listening.settimeout(0)
            listening.bind(place)
        except OSError:
            listening.close()
            raise
        self._sockets.append(listening)
        self.address = self.address._replace(port=listening.getsockname()[1])

    def _accept_from(self, listening: socket.socket) -> None:
        self._retries.pop(listening, None)
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(KAFKA_ACCEPTED_AT_ONCE_MAX):
            try:
                accepted, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no more descriptors, no memory, trouble of the network
                self._accept_later(listening, error)
                return
            client = _address(peer)
            number = self._admit(self.config.name, client.host)
            if number is None:
                accepted.close()
                continue
            task = asyncio.get_running_loop().create_task(self._serve(accepted, client, number))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    def _accept_later(self, listening: socket.socket, error: OSError) -> None:
        """Leave connections to the kernel for a while."""
        emit(ACCEPTING_FAILED, listener=self.config.name, reason=error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listening)
        self._retries[listening] = loop.call_later(
            KAFKA_ACCEPT_PAUSE_MS / 1000, self._accept_from, listening
        )

    async def _serve(self, accepted: socket.socket, client: Address, number: int) -> None:
        """Hand an accepted connection to its protocol, after a handshake if there is one."""
        made: KafkaConnection | None = None
        try:
            accepted.settimeout(0)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(
                listener=self.config.name,
                client=client,
                local=_address(accepted.getsockname()),
                principal=ANONYMOUS,
                number=number,
            )
            protocol = self._connect(connection)
            timeouts = (
                {}
                if self._tls is None
                else {
                    "ssl_handshake_timeout": KAFKA_TLS_HANDSHAKE_TIME_MAX_S,
                    "ssl_shutdown_timeout": KAFKA_TLS_SHUTDOWN_TIME_MAX_S,
                }
            )
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol, accepted, ssl=self._tls, **timeouts
            )
            made = protocol
        except OSError as error:  # those of TLS and time-outs among them
            if self._tls is not None:
                emit(HANDSHAKE_FAILED, listener=self.config.name, client=client, reason=str(error))
        finally:
            if made is None:
                with contextlib.suppress(OSError):
                    accepted.close()
                self._released(number)


def _address(place: tuple[str | int, ...]) -> Address:
    """Return a socket's address; an IPv4 one that came to an IPv6 socket as what it is."""
    host, port = str(place[0]), int(place[1])
    return Address(host.removeprefix(_MAPPED).partition("%")[0], port)
