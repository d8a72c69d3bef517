"""Whether ports can be had, and which ones could be had instead.

gRPC says no more than that it could not bind, after the fact. So a port is tried before anything
starts. Somebody else may take it in between; then gRPC's own words have to do.

Several brokers of one machine take ports in a row, the first one's and those after it.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final, NamedTuple

from ottla.cli.failure import CommandError
from ottla.config.addresses import PORT_MAX, Address

ALTERNATIVES_MAX: Final = 100
"""Ports above the wanted one that are tried; with more taken, the system's choice will do."""


class Door(NamedTuple):
    """A service that listens, and how a command is told to let it listen elsewhere."""

    what: str
    """``gRPC``, ``Kafka`` or ``HTTP``."""
    address: Address
    """Of the first broker; port 0 is any."""
    brokers: int = 1
    """How many brokers there are, each with the port after that of the one before."""
    by_flags: bool = True
    """Whether the command takes ``--host`` and ``--grpc-port``; if not, it takes settings."""
    listener: str = ""
    """The name of a listener of Kafka's protocol."""

    def choice(self, address: Address) -> str:
        """Return the option that chooses ``address`` instead."""
        name = self.what.lower()
        if not self.by_flags:
            if self.listener:
                return f"--set listeners={self.listener}://{address}"
            return f"--set {name}.listen={address}"
        if address.host != self.address.host:
            return f"--host {address.host}"
        return f"--{name}-port {address.port}"


def check_door(door: Door) -> None:
    """Raise :exc:`CommandError` with what to do unless all its ports can be listened on."""
    for address in _row(door.address, door.brokers):
        try:
            _bind(address)
        except OSError as error:
            raise CommandError(_advice(door, address, error)) from error


def free_ports(host: str, count: int) -> list[int]:
    """Return different ports that were free a moment ago.

    Raises :exc:`CommandError` if ``host`` is not an address of this machine.
    """
    try:
        with ExitStack() as held:
            probes = [held.enter_context(_listening(Address(host, 0))) for _ in range(count)]
            return [_port(probe) for probe in probes]
    except OSError as error:
        door = Door("gRPC", Address(host, 0))
        raise CommandError(_advice(door, door.address, error)) from error


def _row(first: Address, count: int) -> Iterable[Address]:
    return [first._replace(port=first.port + index) for index in range(count if first.port else 1)]


def _advice(door: Door, address: Address, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            free = door.choice(door.address._replace(port=_free_port(door)))
            if door.brokers > 1:
                free += f" has {door.brokers} in a row that are free"
            else:
                free += " is free"
            return (
                f"port {address.port}, for {door.what}, is taken by another program; stop that, or "
                f"choose another port: {free}, {door.choice(address._replace(port=0))} takes any"
            )
        case errno.EACCES:
            free_address = door.address._replace(port=_free_port(door, above=1023))
            return (
                f"port {address.port}, for {door.what}, is reserved for the administrator; choose "
                f"one from 1024 up, e.g. {door.choice(free_address)}"
            )
        case errno.EADDRNOTAVAIL:
            return (
                f"{address.host} is not an address of this machine; choose another, "
                f"e.g. {door.choice(address._replace(host='127.0.0.1'))}"
            )
        case _:
            return (
                f"cannot listen on {address} for {door.what}: {error.strerror}; choose another "
                f"host, e.g. {door.choice(address._replace(host='127.0.0.1'))}"
            )


def _free_port(door: Door, *, above: int | None = None) -> int:
    """Return the first port of a row that is free."""
    start = (door.address.port if above is None else above) + 1
    for port in range(start, min(start + ALTERNATIVES_MAX, PORT_MAX - door.brokers)):
        try:
            for address in _row(door.address._replace(port=port), door.brokers):
                _bind(address)
        except OSError:
            continue
        return port
    return _bind(door.address._replace(port=0))


def _bind(address: Address) -> int:
    """Listen for a moment, and return the port."""
    with _listening(address) as probe:
        return _port(probe)


def _port(probe: socket.socket) -> int:
    port: int = probe.getsockname()[1]
    return port


def _listening(address: Address) -> socket.socket:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, place = found[0]
    probe = socket.socket(family, kind, protocol)
    try:
        # As the servers do: connections of a broker that has just stopped are in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        probe.listen()
    except OSError:
        probe.close()
        raise
    return probe
