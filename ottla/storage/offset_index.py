"""Where in a segment a batch is, roughly: ``.index``.

Every ``index.interval.bytes`` of log, the batch that begins there gets an entry: (offset of its
*last* record - base offset, position of its first byte). To find an offset, take the last entry
that is not beyond it and walk the headers from there.

    entries       (41, 4200)            (83, 8470)
    log     ...[ 30..41 ][ 42..60 ][ 61..75 ][ 76..83 ][ 84..
    looking for 70: start at 4200, skip two batches

Lookups are hints. A damaged entry can send a reader to a wrong place, so readers check the header
that they find there (:mod:`ottla.storage.segment_reader`).
"""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ottla.runtime.files import FileSystem
from ottla.storage.entry_file import EntryFile
from ottla.storage.format import OFFSET_ENTRY, OFFSET_INDEX_SUFFIX, segment_file

_relative_offset = itemgetter(0)
_position = itemgetter(1)


class OffsetPosition(NamedTuple):
    """The batch at ``position`` ends with the record at ``offset``."""

    offset: int
    position: int


class OffsetIndex:
    """The offset index of one segment."""

    __slots__ = ("_base_offset", "entries")

    def __init__(self, directory: Path, base_offset: int, *, file_system: FileSystem) -> None:
        self._base_offset = base_offset
        self.entries = EntryFile(
            segment_file(directory, base_offset, OFFSET_INDEX_SUFFIX),
            OFFSET_ENTRY,
            file_system=file_system,
        )

    def append(self, last_offset: int, position: int) -> None:
        """Add the batch at ``position`` that ends with the record at ``last_offset``."""
        self.entries.append(last_offset - self._base_offset, position)

    def at_or_before(self, offset: int, *, cached_only: bool = False) -> OffsetPosition | None:
        """Return the last entry whose batch ends at ``offset`` or before it."""
        return self._absolute(
            self.entries.last_at_most(
                _relative_offset, offset - self._base_offset, cached_only=cached_only
            )
        )

    def at_or_before_position(
        self, position: int, *, cached_only: bool = False
    ) -> OffsetPosition | None:
        """Return the last entry whose batch begins at ``position`` or before it."""
        return self._absolute(
            self.entries.last_at_most(_position, position, cached_only=cached_only)
        )

    def last(self) -> OffsetPosition | None:
        """Return the last entry."""
        return self._absolute(self.entries.last())

    def unsound(self, *, log_bytes: int) -> str | None:
        """Say what is wrong with the index of a log of ``log_bytes``; ``None`` if nothing shows.

        Looks at its size and its last entry only: the cost does not grow with the index.
        """
        if not self.entries.is_whole():
            return "it is missing, or its size is not a multiple of 8"
        last = self.last()
        if last is None:
            return None
        if last.offset < self._base_offset or not 0 <= last.position < log_bytes:
            return f"its last entry {last} is not within the log of {log_bytes} bytes"
        return None

    def truncate_to(self, end_offset: int) -> None:
        """Forget every entry of a batch that does not end before ``end_offset``."""
        last_kept = end_offset - 1 - self._base_offset
        self.entries.keep(self.entries.count_at_most(_relative_offset, last_kept))

    def _absolute(self, entry: tuple[int, ...] | None) -> OffsetPosition | None:
        if entry is None:
            return None
        return OffsetPosition(entry[0] + self._base_offset, entry[1])
