r"""``consume --format``: what is written for each record.

====  ==========================  ====  =========================================
%v    value                       %t    topic
%k    key                         %p    partition
%o    offset                      %h    headers, ``name=value,name=value``
%T    timestamp, milliseconds     %%    a percent sign
====  ==========================  ====  =========================================

Bytes are written as they are; null is nothing. ``\n``, ``\t``, ``\r``, ``\0``, ``\\`` and ``\xHH``
mean what they mean in most languages. Each record ends its line, unless the format itself ends
with ``\n`` or ``\0``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from ottla.cli.escapes import unescape
from ottla.cli.record_json import encode_record
from ottla.record.builder import Headers


class ReadRecord(Protocol):
    """A record as a consumer returns it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp_ms(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...


Part = Callable[[ReadRecord], bytes]
Writer = Callable[[Iterable[ReadRecord]], bytes]
"""Turns records into what is written for them."""


def _headers(record: ReadRecord) -> bytes:
    return b",".join(b"%s=%s" % (name.encode(), value or b"") for name, value in record.headers)


_PARTS: Final[dict[bytes, Part]] = {
    b"v": lambda record: record.value or b"",
    b"k": lambda record: record.key or b"",
    b"o": lambda record: b"%d" % record.offset,
    b"p": lambda record: b"%d" % record.partition,
    b"t": lambda record: record.topic.encode(),
    b"T": lambda record: b"%d" % record.timestamp_ms,
    b"h": _headers,
}
FIELDS: Final = ", ".join(f"%{name.decode()}" for name in (*_PARTS, b"%"))

_FIELD = re.compile(rb"%(.?)", re.DOTALL)


def values_writer(records: Iterable[ReadRecord]) -> bytes:
    """Write values, one a line: what ``--format '%v'`` does, faster."""
    values = [record.value or b"" for record in records]
    values.append(b"")
    return b"\n".join(values)


def json_writer(records: Iterable[ReadRecord]) -> bytes:
    """Write records as :mod:`ottla.cli.record_json` has them."""
    return "".join(
        encode_record(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
            key=record.key,
            value=record.value,
            headers=record.headers,
        )
        + "\n"
        for record in records
    ).encode()


def format_writer(template: str) -> Writer:
    """Return what writes records by ``template``; :exc:`ValueError` for an unknown field."""
    content = unescape(template)
    if not content.endswith((b"\n", b"\0")):
        content += b"\n"
    pieces: list[bytes | Part] = []
    position = 0
    for match in _FIELD.finditer(content):
        pieces.append(content[position : match.start()])
        position = match.end()
        if match[1] == b"%":
            pieces.append(b"%")
        elif (part := _PARTS.get(match[1])) is not None:
            pieces.append(part)
        else:
            raise ValueError(
                f"{match[0].decode(errors='replace').strip()!r} names no field; there is {FIELDS}"
            )
    pieces.append(content[position:])

    def write(records: Iterable[ReadRecord]) -> bytes:
        return b"".join(
            [
                piece if isinstance(piece, bytes) else piece(record)
                for record in records
                for piece in pieces
            ]
        )

    return write
