"""What is known of a kind of request without importing its messages."""

from __future__ import annotations

from typing import NamedTuple


class Api(NamedTuple):
    """One kind of request: where its messages are and which versions exist."""

    key: int
    module: str
    """Below ``ottla.wire.messages``."""

    name: str
    """As Kafka writes it; the classes are ``<name>Request`` and ``<name>Response``."""

    version_first: int
    version_last: int
    version_flexible: int
    """The first with compact lengths, tagged fields and the headers that go with them."""
