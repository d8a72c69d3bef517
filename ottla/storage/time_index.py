"""Which part of a segment holds records at or after a time: ``.timeindex``.

An entry (timestamp, offset - base offset) says: up to and including the batch that ends at this
offset, no record is later than the timestamp, and that batch has a record with it. Entries are
added together with those of the offset index, where the largest timestamp has grown since the last
one, and once more when the segment is closed, so that the last entry gives the largest timestamp
of all.

So the first record at or after time *t* is not before the last entry whose timestamp is at
most *t*: its batch is the place to start looking.
"""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ottla.model.ids import NO_TIMESTAMP_MS
from ottla.runtime.files import FileSystem
from ottla.storage.entry_file import EntryFile
from ottla.storage.format import TIME_ENTRY, TIME_INDEX_SUFFIX, segment_file

_timestamp = itemgetter(0)
_relative_offset = itemgetter(1)


class TimestampOffset(NamedTuple):
    """A timestamp and the offset of a record that has it, or of the last one in its batch."""

    timestamp_ms: int
    offset: int


class TimeIndex:
    """The time index of one segment."""

    __slots__ = ("_base_offset", "_last_timestamp_ms", "entries")

    def __init__(self, directory: Path, base_offset: int, *, file_system: FileSystem) -> None:
        self._base_offset = base_offset
        self._last_timestamp_ms: int | None = None
        self.entries = EntryFile(
            segment_file(directory, base_offset, TIME_INDEX_SUFFIX),
            TIME_ENTRY,
            file_system=file_system,
        )

    def append_if_later(self, largest: TimestampOffset) -> None:
        """Add an entry if its timestamp is larger than that of the last one."""
        if self._last_timestamp_ms is None:
            last = self.last()
            self._last_timestamp_ms = NO_TIMESTAMP_MS if last is None else last.timestamp_ms
        if largest.timestamp_ms > self._last_timestamp_ms:
            self.entries.append(largest.timestamp_ms, largest.offset - self._base_offset)
            self._last_timestamp_ms = largest.timestamp_ms

    def at_or_before(self, timestamp_ms: int) -> TimestampOffset | None:
        """Return the last entry whose timestamp is ``timestamp_ms`` or earlier."""
        return self._absolute(self.entries.last_at_most(_timestamp, timestamp_ms))

    def at_or_before_offset(self, offset: int) -> TimestampOffset | None:
        """Return the last entry that speaks of batches up to ``offset`` only."""
        return self._absolute(
            self.entries.last_at_most(_relative_offset, offset - self._base_offset)
        )

    def last(self) -> TimestampOffset | None:
        """Return the last entry."""
        return self._absolute(self.entries.last())

    def unsound(self) -> str | None:
        """Say what is wrong with the index; ``None`` if nothing shows at its end."""
        if not self.entries.is_whole():
            return "it is missing, or its size is not a multiple of 12"
        last = self.last()
        if last is not None and (last.offset < self._base_offset or last.timestamp_ms < 0):
            return f"its last entry {last} is not of the segment at {self._base_offset}"
        return None

    def truncate_to(self, end_offset: int) -> None:
        """Forget every entry that speaks of offsets at or beyond ``end_offset``."""
        last_kept = end_offset - 1 - self._base_offset
        self.entries.keep(self.entries.count_at_most(_relative_offset, last_kept))
        self._last_timestamp_ms = None

    def _absolute(self, entry: tuple[int, ...] | None) -> TimestampOffset | None:
        if entry is None:
            return None
        return TimestampOffset(entry[0], entry[1] + self._base_offset)
