"""Whether a port can be had, and which one could be had instead.

gRPC says no more than that it could not bind, after the fact. So a port is tried before anything
starts. Somebody else may take it in between; then gRPC's own words have to do.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from ottla.cli.failure import CommandError
from ottla.config.addresses import PORT_MAX, Address

ALTERNATIVES_MAX: Final = 100
"""Ports above the wanted one that are tried; with more taken, the system's choice will do."""


def check_port(address: Address, *, what: str, flag: str) -> None:
    """Raise :exc:`CommandError` with what to do unless ``address`` can be listened on.

    ``what`` is the service that wants it and ``flag`` the option that chooses another port.
    """
    try:
        _bind(address)
    except OSError as error:
        raise CommandError(_advice(address, error, what=what, flag=flag)) from error


def _advice(address: Address, error: OSError, *, what: str, flag: str) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return (
                f"port {address.port}, for {what}, is taken by another program; stop that, or "
                f"choose another port: {flag} {_free_port(address)} is free, {flag} 0 takes any"
            )
        case errno.EACCES:
            return (
                f"port {address.port}, for {what}, is reserved for the administrator; choose one "
                f"from 1024 up, e.g. {flag} {_free_port(address._replace(port=1024))}"
            )
        case errno.EADDRNOTAVAIL:
            return (
                f"{address.host} is not an address of this machine; choose another with --host, "
                "e.g. --host 127.0.0.1"
            )
        case _:
            return f"cannot listen on {address} for {what}: {error.strerror}; choose another --host"


def _free_port(taken: Address) -> int:
    for port in range(taken.port + 1, min(taken.port + ALTERNATIVES_MAX, PORT_MAX)):
        try:
            return _bind(taken._replace(port=port))
        except OSError:
            continue
    return _bind(taken._replace(port=0))


def _bind(address: Address) -> int:
    """Listen for a moment, and return the port."""
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, kind, protocol, _, place = found[0]
    with socket.socket(family, kind, protocol) as probe:
        # As the servers do: connections of a broker that has just stopped are in nobody's way.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
        probe.listen()
        port: int = probe.getsockname()[1]
        return port
