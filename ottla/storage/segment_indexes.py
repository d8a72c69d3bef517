"""Both sparse indexes of one segment, filled in step.

Every ``index.interval.bytes`` of log the batch that begins there gets an entry in the offset
index, and one in the time index if the largest timestamp has grown by then. What happened since the
last entry (bytes, largest timestamp) is not in any file; it is found again by walking the batches
after that entry.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from ottla.model.errors import CorruptMessageError
from ottla.model.ids import NO_TIMESTAMP_MS
from ottla.record.batch import HEADER_BYTES, BatchHeader, read_header
from ottla.runtime.files import File, FileSystem
from ottla.storage.batch_scan import read_bytes, walk_headers
from ottla.storage.entry_file import TAIL_ENTRIES
from ottla.storage.format import OFFSET_ENTRY, TIME_ENTRY
from ottla.storage.offset_index import OffsetIndex, OffsetPosition
from ottla.storage.time_index import TimeIndex, TimestampOffset

NO_LARGEST: Final = TimestampOffset(NO_TIMESTAMP_MS, -1)


class Span(NamedTuple):
    """What the indexes have to know of a batch, or of several together."""

    last_offset: int
    size_bytes: int
    max_timestamp_ms: int


class SegmentIndexes:
    """The offset index and the time index of the segment at ``base_offset``."""

    __slots__ = (
        "_bytes_since_entry",
        "_largest",
        "_noted_since_spill",
        "base_offset",
        "interval_bytes",
        "offset",
        "time",
    )

    def __init__(
        self, directory: Path, base_offset: int, *, file_system: FileSystem, interval_bytes: int
    ) -> None:
        """Take the files as they are; ``interval_bytes`` of log lie between two entries."""
        self.base_offset = base_offset
        self.interval_bytes = interval_bytes
        self.offset = OffsetIndex(directory, base_offset, file_system=file_system)
        self.time = TimeIndex(directory, base_offset, file_system=file_system)
        self._largest: TimestampOffset | None = None
        self._bytes_since_entry = 0
        self._noted_since_spill = 0

    def largest(self) -> TimestampOffset:
        """Return the largest timestamp in the segment, and the offset that ends its batch.

        For a closed segment that is the last entry of the time index, read once.
        """
        if self._largest is None:
            self._largest = self.time.last() or NO_LARGEST
        return self._largest

    def is_full(self, bytes_max: int) -> bool:
        """Whether another entry would make one of the files larger than ``bytes_max``.

        The time index keeps room for the entry that closing the segment adds.
        """
        return (
            self.offset.entries.size_bytes > bytes_max - OFFSET_ENTRY.size
            or self.time.entries.size_bytes > bytes_max - 2 * TIME_ENTRY.size
        )

    def unsound(self, log: File, *, size_bytes: int) -> str | None:
        """Say what is wrong with an index of a log of ``size_bytes``; ``None`` if nothing shows.

        Looks at the sizes, at the last entries and at the batches that these name. The cost does
        not grow with the index, so damage inside it does not show; whoever uses an entry checks
        it against the batch that it names.
        """
        reason = self.offset.unsound(log_bytes=size_bytes) or self.time.unsound()
        if reason is not None:
            return reason
        try:
            return self._disagreement(log, size_bytes)
        except CorruptMessageError as error:
            return str(error)

    # --- Writing --------------------------------------------------------------------

    def note(self, span: Span, position: int) -> None:
        """Take note of the batch at ``position``, the next one of the log."""
        largest = self._largest or self.largest()
        if span.max_timestamp_ms > largest.timestamp_ms:
            self._largest = largest = TimestampOffset(span.max_timestamp_ms, span.last_offset)
        if self._bytes_since_entry > self.interval_bytes:
            self.offset.append(span.last_offset, position)
            self.time.append_if_later(largest)
            self._noted_since_spill += 1
            self._bytes_since_entry = 0
        self._bytes_since_entry += span.size_bytes

    def spill_if_due(self) -> None:
        """Write the entries that wait in memory if there are many. :exc:`OSError`: they stay."""
        if self._noted_since_spill >= TAIL_ENTRIES:  # in neither index more than so many wait
            self.offset.entries.spill()
            self.time.entries.spill()
            self._noted_since_spill = 0

    def finish(self) -> None:
        """Write everything: the segment is not appended to from here on. Does not sync."""
        self.time.append_if_later(self.largest())
        for entries in (self.offset.entries, self.time.entries):
            entries.create()
            entries.spill()

    @property
    def has_unwritten(self) -> bool:
        """Whether entries wait in memory, as those of an index do that was made anew."""
        return self.offset.entries.has_unwritten or self.time.entries.has_unwritten

    def sync(self) -> None:
        """Return once what was written survives a crash."""
        self.offset.entries.sync()
        self.time.entries.sync()

    def truncate_to(self, end_offset: int) -> None:
        """Forget every batch that does not end before ``end_offset``; then catch up is due."""
        self.offset.truncate_to(end_offset)
        self.time.truncate_to(end_offset)
        self._largest = None

    def discard(self) -> None:
        """Forget everything, without touching the files until the next write."""
        self.offset.entries.discard()
        self.time.entries.discard()
        self._largest = NO_LARGEST
        self._bytes_since_entry = 0

    def close(self) -> None:
        """Give the descriptors back."""
        self.offset.entries.close()
        self.time.entries.close()

    # --- Reading the log -------------------------------------------------------------

    def catch_up(self, log: File, *, size_bytes: int) -> int:
        """Walk the batches from the last entry to the end; return the offset after the last one.

        Raises:
            CorruptMessageError: the last entry does not point at the batch that it names, or what
                follows is not a sequence of whole batches up to ``size_bytes``.
        """
        entry = self.offset.last()
        position = 0 if entry is None else entry.position
        next_offset = self.base_offset
        largest = self.time.last() or NO_LARGEST
        self._bytes_since_entry = size_bytes - position
        for at, header in walk_headers(log, position=position, end=size_bytes):
            if entry is not None and at == position:
                check_entry(entry, header, log)
            if header.max_timestamp > largest.timestamp_ms:
                largest = TimestampOffset(header.max_timestamp, header.last_offset)
            next_offset = header.next_offset
        self._largest = largest
        return next_offset

    def rebuild(self, log: File, *, size_bytes: int) -> None:
        """Make all entries anew from the headers of the log.

        Raises:
            CorruptMessageError: the log is not a sequence of whole batches up to ``size_bytes``.
        """
        self.discard()
        for position, header in walk_headers(log, position=0, end=size_bytes):
            if position == 0 and header.base_offset != self.base_offset:
                raise CorruptMessageError(
                    f"{log.path} begins with offset {header.base_offset}, not {self.base_offset}"
                )
            self.note(Span(header.last_offset, header.size_bytes, header.max_timestamp), position)

    # --- Inside -----------------------------------------------------------------------

    def _disagreement(self, log: File, size_bytes: int) -> str | None:
        """Say what the last entries, or the lack of any, have wrong about the log."""
        entry, largest = self.offset.last(), self.time.last()
        if entry is not None:
            check_entry(entry, read_header(read_bytes(log, entry.position, HEADER_BYTES)), log)
        elif self._entry_is_due(log, size_bytes):
            return "the offset index has no entries"
        if largest is not None:
            return self._largest_is_wrong(log, size_bytes, largest)
        if size_bytes and read_header(read_bytes(log, 0, HEADER_BYTES)).max_timestamp >= 0:
            return "the time index has no entries"
        return None

    def _entry_is_due(self, log: File, size_bytes: int) -> bool:
        for position, _ in walk_headers(log, position=0, end=size_bytes):
            if position > self.interval_bytes:
                return True
        return False

    def _largest_is_wrong(self, log: File, size_bytes: int, largest: TimestampOffset) -> str | None:
        entry = self.offset.at_or_before(largest.offset)
        position = 0 if entry is None else entry.position
        for _, header in walk_headers(log, position=position, end=size_bytes):
            if header.last_offset == largest.offset and header.max_timestamp == largest[0]:
                return None
            if header.last_offset >= largest.offset:
                break
        return f"the time index ends with {largest}, which is not in the log"


def check_entry(entry: OffsetPosition, header: BatchHeader, log: File) -> None:
    """Compare an entry of the offset index with the batch at its position.

    Raises:
        CorruptMessageError: the entry means another batch.
    """
    if header.last_offset != entry.offset:
        raise CorruptMessageError(
            f"the index of {log.path} says that the batch at position {entry.position} ends at "
            f"offset {entry.offset}, but it ends at {header.last_offset}"
        )
