"""UUIDs as Kafka writes them into files: 22 characters of URL-safe base64, without padding."""

from __future__ import annotations

import base64
import binascii
from typing import Final
from uuid import UUID

_PADDING: Final = "=="
_UUID_BYTES: Final = 16


def uuid_to_text(value: UUID) -> str:
    """Write a UUID, e.g. ``q83vEjRWeJCrze8SNFZ4kA``."""
    return base64.urlsafe_b64encode(value.bytes).decode().rstrip("=")


def uuid_from_text(text: str) -> UUID:
    """Read a UUID; :exc:`ValueError` if ``text`` is not one."""
    try:
        content = base64.b64decode(text + _PADDING, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if len(content) != _UUID_BYTES:
        raise ValueError(f"{text[:40]!r} is not a UUID in 22 characters of base64")
    return UUID(bytes=content)
