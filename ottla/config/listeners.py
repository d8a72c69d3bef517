"""Where a broker serves Kafka's protocol, as Kafka's settings write it.

``listeners`` names each of them and says where to listen: ``PLAINTEXT://0.0.0.0:9092``.
``advertised.listeners`` says by the same names where clients are told to connect, and
``listener.security.protocol.map`` what is spoken there; a name that is itself a protocol needs no
entry. A client is told the addresses of all brokers by the name of the listener that it came
through, so several listeners are for clients in several networks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ottla.config.addresses import Address, parse_address
from ottla.model.limits import BROKER_LISTENER_NAME_CHARACTERS_MAX, BROKER_LISTENERS_MAX

PLAINTEXT: Final = "PLAINTEXT"
SSL: Final = "SSL"
SECURITY_PROTOCOLS: Final = (PLAINTEXT, SSL)

EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 -- what no host means, as in Kafka

_NAME = re.compile(rf"[A-Z0-9_.-]{{1,{BROKER_LISTENER_NAME_CHARACTERS_MAX}}}\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaListener:
    """One of a broker's listeners."""

    name: str
    listen: Address
    """Port 0 is any free one."""
    security_protocol: str
    advertised: Address | None = None
    """Where clients are told to connect; ``None``: where it listens, as far as one can tell."""

    @property
    def is_encrypted(self) -> bool:
        """Whether it speaks TLS."""
        return self.security_protocol == SSL

    def __str__(self) -> str:
        return f"{self.name}://{self.listen}"


def parse_listeners(text: str) -> dict[str, Address]:
    """Return the address of each listener in ``NAME://host:port,OTHER://host:port``, in order.

    A listener without a host is on every address. :exc:`ValueError` if the text is anything else,
    or names a listener twice.
    """
    listeners: dict[str, Address] = {}
    for part in text.split(",") if text else ():
        name, separator, address = part.strip().partition("://")
        name = name.upper()
        if not separator or not _NAME.match(name) or name in listeners:
            raise ValueError(text)
        listeners[name] = parse_address(
            f"{EVERY_ADDRESS}{address}" if address.startswith(":") else address
        )
    if len(listeners) > BROKER_LISTENERS_MAX:
        raise ValueError(text)
    return listeners


def write_listeners(listeners: Mapping[str, Address]) -> str:
    """Return the text that :func:`parse_listeners` reads."""
    return ",".join(f"{name}://{address}" for name, address in listeners.items())


def parse_protocol_map(text: str) -> dict[str, str]:
    """Return the protocol of each listener in ``NAME:PROTOCOL,OTHER:PROTOCOL``.

    :exc:`ValueError` if the text is anything else, or names a listener twice.
    """
    protocols: dict[str, str] = {}
    for part in text.split(",") if text else ():
        name, _, protocol = part.strip().upper().partition(":")
        if not _NAME.match(name) or name in protocols or protocol not in SECURITY_PROTOCOLS:
            raise ValueError(text)
        protocols[name] = protocol
    return protocols
