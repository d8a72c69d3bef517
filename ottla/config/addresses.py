"""``host:port`` as people write it, and back.

An IPv6 address stands in brackets, because it has colons of its own: ``[::1]:7092``.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

PORT_MAX: Final = 65_535

_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^\s:\[\]/]+)):(?P<port>[0-9]{1,5})\Z"
)
_WILDCARDS = frozenset({"0.0.0.0", "::", "[::]", "*"})  # noqa: S104 -- recognised, not bound


class Address(NamedTuple):
    """A host, by name or number, and a TCP port."""

    host: str
    """Without brackets."""
    port: int
    """0 lets the operating system choose a free one."""

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every address of the machine, which nobody can connect *to*."""
        return self.host in _WILDCARDS

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect to it. Of names, only ``localhost`` counts."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """Return the address that ``text`` names; :exc:`ValueError` if it names none."""
    match = _ADDRESS.match(text.strip())
    if match is None or int(match["port"]) > PORT_MAX:
        raise ValueError(text)
    return Address(match["ipv6"] or match["host"], int(match["port"]))


def parse_voters(text: str) -> dict[int, Address]:
    """Return the address of each node in ``0@host:7092,1@other:7092``, by ascending id.

    :exc:`ValueError` if the text is anything else, or names an id or an address twice.
    """
    voters: dict[int, Address] = {}
    for part in text.split(","):
        node_id, at, address = part.strip().partition("@")
        if not at or not node_id.isascii() or not node_id.isdigit() or int(node_id) in voters:
            raise ValueError(text)
        voters[int(node_id)] = parse_address(address)
    if len(set(voters.values())) != len(voters):
        raise ValueError(text)
    return dict(sorted(voters.items()))
