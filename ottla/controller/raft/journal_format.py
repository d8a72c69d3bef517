"""The bytes of the journal file.

::

    file    = header group*
    header  = "OTTLAJ" 0x00 version          8 bytes
    group   = marker crc position length payload
    payload = record*                        what one sync made durable

A group is what one :meth:`Journal.sync` wrote, in one append. The next group is written only
after that sync succeeded. Hence, after a crash, *at most the last group is torn*, and a sound
group proves that everything before it was durable once. That is how damage is told from a
torn tail:

    ``[group][group][torn``            cut: nobody was told that it was written
    ``[group][damaged][group]``        refuse: something that was promised is gone

A group carries its own position, so that bytes which merely look like one are not taken for
proof. Its CRC-32C covers position, length and payload. Numbers are little-endian.

Damage inside the very last group cannot be told from a torn tail; no log can, without a
second copy. Raft's second copy is the other voters.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from crc32c import crc32c

from ottla.controller.raft.messages import Entry
from ottla.model.errors import StorageError
from ottla.model.ids import NO_BROKER, BrokerId

FILE_HEADER: Final = b"OTTLAJ\x00\x01"
GROUP_MARKER: Final = b"\xf5grp"

_GROUP = struct.Struct("<4sIQI")
_COVERED = struct.Struct("<QI")
GROUP_HEADER_BYTES: Final = _GROUP.size

_BASE = struct.Struct("<BQQ")
_ENTRY = struct.Struct("<BQQI")
_TRUNCATED = struct.Struct("<BQ")
_TERM = struct.Struct("<BQq")
_COMMITTED = struct.Struct("<BQ")


@dataclass(frozen=True, slots=True)
class Base:
    """The log begins after this entry, which a snapshot contains. First in every file."""

    index: int
    term: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """Entries from this index on were taken back."""

    index: int


@dataclass(frozen=True, slots=True)
class TermBegan:
    """The node is in this term, and voted for this one in it (``None``: for nobody yet)."""

    term: int
    voted_for: BrokerId | None


@dataclass(frozen=True, slots=True)
class Committed:
    """Entries up to this index are committed. Written when convenient; may lag."""

    index: int


Record = Base | Entry | Truncated | TermBegan | Committed


def encode_record(record: Record) -> bytes:
    """Return the bytes of one record."""
    match record:
        case Base(index, term):
            return _BASE.pack(1, index, term)
        case Entry(command, index, term):
            return _ENTRY.pack(2, index, term, len(command)) + command
        case Truncated(index):
            return _TRUNCATED.pack(3, index)
        case TermBegan(term, voted_for):
            return _TERM.pack(4, term, NO_BROKER if voted_for is None else voted_for)
        case Committed(index):
            return _COMMITTED.pack(5, index)


def decode_records(payload: memoryview) -> Iterator[Record]:
    """Yield the records of a group whose checksum is right.

    Raises :exc:`StorageError` on content that no writer of this version could have made.
    """
    position = 0
    try:
        while position < len(payload):
            record, size = _decode_record(payload, position)
            position += size
            yield record
    except struct.error as error:
        raise StorageError(f"a record of the journal ends too early: {error}") from error


def _decode_record(payload: memoryview, position: int) -> tuple[Record, int]:
    match payload[position]:
        case 1:
            _, index, term = _BASE.unpack_from(payload, position)
            return Base(index, term), _BASE.size
        case 2:
            _, index, term, size = _ENTRY.unpack_from(payload, position)
            start = position + _ENTRY.size
            command = bytes(payload[start : start + size])
            if len(command) != size or not command:
                raise StorageError(f"entry {index} of the journal has {len(command)} of {size}B")
            return Entry(command, index, term), _ENTRY.size + size
        case 3:
            _, index = _TRUNCATED.unpack_from(payload, position)
            return Truncated(index), _TRUNCATED.size
        case 4:
            _, term, voted_for = _TERM.unpack_from(payload, position)
            vote = None if voted_for == NO_BROKER else BrokerId(voted_for)
            return TermBegan(term, vote), _TERM.size
        case 5:
            _, index = _COMMITTED.unpack_from(payload, position)
            return Committed(index), _COMMITTED.size
        case kind:
            raise StorageError(
                f"the journal has a record of kind {kind}, which this version does not know; "
                "start the version that wrote it"
            )


def encode_group(records: bytes, *, position: int) -> bytes:
    """Return a group of encoded ``records`` that will stand at ``position`` bytes of the file."""
    checksum = crc32c(records, crc32c(_COVERED.pack(position, len(records))))
    return _GROUP.pack(GROUP_MARKER, checksum, position, len(records)) + records


def split_groups(content: bytes) -> tuple[list[memoryview], int]:
    """Return the payloads of all sound groups, and where they end.

    What lies behind that end is a torn tail. Raises :exc:`StorageError` if a sound group
    follows it, which makes it damage, or if the file does not begin with our header.
    """
    view = memoryview(content)
    if content[: len(FILE_HEADER)] != FILE_HEADER:
        raise StorageError(f"begins with {content[:8]!r}; a journal begins with {FILE_HEADER!r}")
    payloads = []
    position = len(FILE_HEADER)
    while (payload := _sound_group_at(view, position)) is not None:
        payloads.append(payload)
        position += GROUP_HEADER_BYTES + len(payload)
    _refuse_damage(content, position)
    return payloads, position


def _sound_group_at(view: memoryview, position: int) -> memoryview | None:
    if position + GROUP_HEADER_BYTES > len(view):
        return None
    marker, checksum, claimed_position, length = _GROUP.unpack_from(view, position)
    start = position + GROUP_HEADER_BYTES
    payload = view[start : start + length]
    if marker != GROUP_MARKER or claimed_position != position or len(payload) != length:
        return None
    if crc32c(payload, crc32c(_COVERED.pack(position, length))) != checksum:
        return None
    return payload


def _refuse_damage(content: bytes, damaged_at: int) -> None:
    """Raise if a sound group stands anywhere after ``damaged_at``."""
    view = memoryview(content)
    found = content.find(GROUP_MARKER, damaged_at + 1)
    while found >= 0:
        if _sound_group_at(view, found) is not None:
            raise StorageError(
                f"is damaged at byte {damaged_at}: a sound group follows at byte {found}, so "
                "something that was durable is gone; give this node an empty directory and a "
                "new id, and let the other voters bring it up to date"
            )
        found = content.find(GROUP_MARKER, found + 1)
