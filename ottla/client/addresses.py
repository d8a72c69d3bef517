"""Where brokers listen, as people write it: ``host:port``, several separated by commas.

An IPv6 address is in brackets, ``[::1]:7092``. A port may be left out: 7092.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from ottla.model.errors import InvalidConfigError

GRPC_PORT_DEFAULT: Final = 7092
"""The gRPC port of the first broker that ``ottla up`` starts."""

PORT_MAX: Final = 65_535


class Address(NamedTuple):
    """A host name or IP address, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_addresses(bootstrap_servers: str | Iterable[str]) -> tuple[Address, ...]:
    """Read ``"a:7092,b:7092"`` or ``["a:7092", "b:7092"]``.

    Raises :exc:`InvalidConfigError`, quoting the part that cannot be read.
    """
    parts = (
        bootstrap_servers.split(",") if isinstance(bootstrap_servers, str) else bootstrap_servers
    )
    addresses = tuple(_parse_address(part.strip()) for part in parts if part.strip())
    if not addresses:
        raise InvalidConfigError(
            "bootstrap_servers is empty; name at least one broker, e.g. '127.0.0.1:7092'"
        )
    return addresses


def _parse_address(text: str) -> Address:
    host, port_text = _split(text)
    if not port_text.isascii() or not port_text.isdigit() or not 0 < int(port_text) <= PORT_MAX:
        raise InvalidConfigError(
            f"bootstrap_servers: {text!r} has no port from 1 to {PORT_MAX} after its colon; "
            "write host:port, or [address]:port for IPv6"
        )
    if not host or any(character.isspace() or character == "/" for character in host):
        raise InvalidConfigError(
            f"bootstrap_servers: {text!r} is not an address; write host:port, without a scheme"
        )
    return Address(host, int(port_text))


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":") or str(GRPC_PORT_DEFAULT)
    if text.count(":") > 1:
        # A bare IPv6 address: its last group must not pass for a port.
        return text, str(GRPC_PORT_DEFAULT)
    host, colon, port_text = text.partition(":")
    return host, port_text if colon else str(GRPC_PORT_DEFAULT)
