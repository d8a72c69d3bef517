"""Where a client is told that brokers are: at the listener of the name that it came through.

A broker registers where each of its listeners is reached (``advertised.listeners``). If it listens
on every address of its machine and was told nothing else, no address is better than another; then
a client that has reached this machine is told the address by which it did, for all brokers there.

The trap in this is as old as Kafka: a client connects, asks where the brokers are, is told
``127.0.0.1``, and from then on talks to itself. Nobody sees more of it than "connection refused" in
the client's log. :class:`AddressAdvice` says it in the broker's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ottla.config.addresses import Address
from ottla.kafka.handling import Connection
from ottla.model.image import BrokerImage
from ottla.runtime.logging import Event, Severity, emit

UNREACHABLE_ADDRESS: Final = Event("kafka.unreachable_address", Severity.WARNING)


def address_for(
    broker: BrokerImage, connection: Connection, own: BrokerImage | None
) -> Address | None:
    """Return where the client of ``connection`` reaches ``broker``.

    ``own`` is the broker that it asked; ``None``: the cluster does not know that one any more.
    Returns ``None`` where there is no way, for ``broker`` has no listener of the name.
    """
    listener = broker.listener(connection.listener)
    if listener is None:
        return None
    asked = None if own is None else own.listener(connection.listener)
    if listener.any_address and asked is not None and asked.host == listener.host:
        return Address(connection.local.host, listener.port)
    return Address(listener.host, listener.port)


class AddressAdvice:
    """Tells the operator of clients that are told an address which cannot be theirs to use."""

    def __init__(self, told: dict[str, Address], *, gateway: Callable[[], str | None]) -> None:
        """``told`` is what clients of each listener are told of this broker.

        ``gateway`` returns the address by which this machine reaches all others; may read a file.
        """
        self._told = told
        self._gateway = gateway

    def look_at(self, connection: Connection) -> None:
        """Say, once for each listener, if this client has been told a wrong address."""
        told = self._told.get(connection.listener)
        if told is None or not told.is_loopback or connection.client.is_loopback:
            return
        # In a container, the machine around it comes in by the gateway, through ports that are
        # published there; 127.0.0.1 may be right for it.
        if connection.client.host == self._gateway():
            return
        del self._told[connection.listener]
        emit(
            UNREACHABLE_ADDRESS,
            listener=connection.listener,
            client=connection.client,
            told=told,
            advice=f"this client is on another machine and is told to connect to {told}, which is "
            "that machine itself; set advertised.listeners to an address by which clients reach "
            f"this broker, e.g. advertised.listeners={connection.listener}://"
            f"{connection.local.host}:{told.port}, or give them a listener of their own",
        )
