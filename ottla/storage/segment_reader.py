"""Reading batches out of one segment: from an offset, up to a number of bytes, up to an offset.

    max_bytes from here
    |<----------------------------------->|
    [ offset ][        ][        ][       |]     cut back to a batch boundary
                                  ^ the offset index knows a boundary close by

Both ends are batch boundaries, and the headers of what lies between are not looked at: the offset
index gives a boundary at most ``index.interval.bytes`` (or one batch) away, and from there headers
are walked. At the lower end that costs a small read of its own, unless the position is known from a
read that stopped there; at the upper end the bytes are at hand already. The records
themselves come with one read.

The checksum of a batch does not cover its offsets. So each header that is looked at must follow on
from the one before, and what a read hands on ends where the last of its headers says. A closed
segment that ends before the next one begins is an error of whoever reads on there, never a gap.

Whatever the index says is checked against the header that it points at. Where they disagree, the
index is made anew (of a closed segment) or done without (of the one being written).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ottla.model.errors import CorruptMessageError, StorageError
from ottla.record.batch import HEADER_BYTES, BatchHeader, read_header
from ottla.storage.batch_scan import read_bytes, walk_headers
from ottla.storage.entry_file import WouldWaitError
from ottla.storage.offset_index import OffsetPosition
from ottla.storage.segment import KnownPositions, Segment
from ottla.storage.segment_indexes import check_entry
from ottla.storage.time_index import TimeIndex

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRead:
    """Whole batches, contiguous in the log."""

    records: bytes | memoryview
    """The batches; empty if there is nothing to read."""
    base_offset: int
    """Of the first batch, which may begin before the offset asked for."""
    next_offset: int
    """Exclusive end of the last batch: where to read on."""


class SegmentReader:
    """One read of one segment; see :func:`read_segment`."""

    __slots__ = ("_cached_only", "_extent", "_positions", "_segment", "_use_index")

    def __init__(
        self, segment: Segment, *, cached_only: bool = False, use_index: bool = True
    ) -> None:
        """Look at the segment as it is now; what is appended later is not seen."""
        self._segment = segment
        # Together with the extent: a truncation replaces both.
        self._positions = segment.positions
        self._extent = segment.extent
        self._cached_only = cached_only
        self._use_index = use_index

    def read(
        self, offset: int, *, max_bytes: int, end_offset: int, minimum_one: bool, closed: bool
    ) -> LogRead:
        """Read from the batch that holds ``offset``, which must be in the segment."""
        end_offset = min(end_offset, self._extent.next_offset)
        stop = self._known_position(end_offset)
        start, base_offset = self.place_of(offset)
        nothing = LogRead(records=b"", base_offset=offset, next_offset=offset)
        available = (self._extent.size_bytes if stop is None else stop) - start
        if available < HEADER_BYTES:
            if closed:
                raise self._ends_early(offset)
            return nothing
        content = self._read(start, min(available, max(max_bytes, HEADER_BYTES)))
        first = read_header(content)
        self._check_first(first, base_offset, offset)
        if first.next_offset > end_offset:
            return nothing
        if first.size_bytes > len(content) or first.size_bytes > max_bytes:
            if not minimum_one:
                return nothing
            size, next_offset = first.size_bytes, first.next_offset
            if size > len(content):
                content = self._read(start, size)
        elif stop is not None and start + len(content) == stop and not closed:
            size, next_offset = len(content), end_offset
        else:
            size, next_offset = self._last_boundary(content, start, end_offset)
        self._positions.note(next_offset, start + size)
        return LogRead(
            records=content if size == len(content) else memoryview(content)[:size],
            base_offset=first.base_offset,
            next_offset=next_offset,
        )

    def place_of(self, offset: int) -> tuple[int, int]:
        """Return (position, base offset) of the batch that holds ``offset``.

        Of the end of the segment, if ``offset`` is that.
        """
        known = self._known_position(offset)
        if known is not None:
            return known, offset
        for position, header in self.headers_from(offset):
            if header.next_offset > offset:
                return position, header.base_offset
        raise CorruptMessageError(
            f"{self._segment.log.path} has no batch with offset {offset}, although it should go "
            f"from {self._segment.base_offset} to {self._extent.next_offset}"
        )

    def headers_from(self, offset: int) -> Iterator[tuple[int, BatchHeader]]:
        """Yield (position, header) from the batch that holds ``offset``, or one close before it."""
        entry = None
        if self._use_index and offset > self._segment.base_offset:
            indexes = self._segment.checked_indexes(cached_only=self._cached_only)
            entry = indexes.offset.at_or_before(offset, cached_only=self._cached_only)
        position = 0 if entry is None else entry.position
        for at, header in walk_headers(
            self._segment.log,
            position=position,
            end=self._extent.size_bytes,
            cached_only=self._cached_only,
        ):
            if entry is not None and at == position:
                check_entry(entry, header, self._segment.log)
            yield at, header

    def time_index(self) -> TimeIndex | None:
        """Return the time index; ``None`` if indexes are not to be believed."""
        if not self._use_index:
            return None
        return self._segment.checked_indexes(cached_only=self._cached_only).time

    def _last_boundary(self, content: bytes, start: int, end_offset: int) -> tuple[int, int]:
        """Return the largest (size, next offset) of whole batches of ``content`` before the end."""
        size = 0
        entry = self._entry_near_end(start, len(content), end_offset)
        if entry is not None:
            size = entry.position - start
            check_entry(entry, read_header(content, size), self._segment.log)
        header = read_header(content, size)
        next_offset = header.base_offset
        while size + header.size_bytes <= len(content) and header.next_offset <= end_offset:
            size += header.size_bytes
            next_offset = header.next_offset
            if size + HEADER_BYTES > len(content):
                break
            header = read_header(content, size)
            if header.base_offset != next_offset:
                raise self._unexpected(header, next_offset)
        return size, next_offset

    def _entry_near_end(self, start: int, size: int, end_offset: int) -> OffsetPosition | None:
        """Return the last entry of a batch in the bytes read, if it ends before ``end_offset``."""
        if not self._use_index:
            return None
        index = self._segment.checked_indexes(cached_only=self._cached_only).offset
        last_header = start + size - HEADER_BYTES
        entry = index.at_or_before_position(last_header, cached_only=self._cached_only)
        if entry is not None and entry.offset >= end_offset:
            entry = index.at_or_before(end_offset - 1, cached_only=self._cached_only)
        if entry is None or not start <= entry.position <= last_header:
            return None
        return entry

    def _known_position(self, offset: int) -> int | None:
        if offset == self._extent.next_offset:
            return self._extent.size_bytes
        if offset == self._segment.base_offset:
            return 0
        return self._positions.find(offset)

    def _check_first(self, header: BatchHeader, base_offset: int, offset: int) -> None:
        if header.base_offset != base_offset or not base_offset <= offset < header.next_offset:
            raise self._unexpected(header, offset)
        if header.next_offset > self._extent.next_offset:
            raise self._unexpected(header, self._extent.next_offset)

    def _unexpected(self, header: BatchHeader, offset: int) -> CorruptMessageError:
        return CorruptMessageError(
            f"{self._segment.log.path} has {header.base_offset} to {header.last_offset} where "
            f"offset {offset} should be"
        )

    def _ends_early(self, offset: int) -> CorruptMessageError:
        return CorruptMessageError(
            f"{self._segment.log.path} ends at offset {offset}, but what follows it begins at "
            f"offset {self._extent.next_offset}"
        )

    def _read(self, position: int, size: int) -> bytes:
        return read_bytes(self._segment.log, position, size, cached_only=self._cached_only)


def read_segment(
    segment: Segment,
    offset: int,
    *,
    max_bytes: int,
    end_offset: int,
    minimum_one: bool,
    cached_only: bool,
    closed: bool,
) -> LogRead:
    """Read whole batches from the one that holds ``offset``, which must be in the segment.

    Raises:
        WouldWaitError: ``cached_only``, and something has to come from the disk.
        DamagedLogError: there are no sound batches where they should be.
    """

    def read(reader: SegmentReader) -> LogRead:
        return reader.read(
            offset,
            max_bytes=max_bytes,
            end_offset=end_offset,
            minimum_one=minimum_one,
            closed=closed,
        )

    if cached_only:
        try:
            return read(SegmentReader(segment, cached_only=True))
        except CorruptMessageError:
            raise WouldWaitError from None
    return trusting_index_first(segment, read, closed=closed)


def trusting_index_first(
    segment: Segment, operation: Callable[[SegmentReader], Result], *, closed: bool
) -> Result:
    """Do ``operation``; if it finds an index wrong, do it again without that index.

    Raises:
        DamagedLogError: it was not the index.
    """
    try:
        return operation(SegmentReader(segment))
    except CorruptMessageError:
        segment.positions = KnownPositions()
    if closed:
        segment.rebuild_indexes()
    try:
        return operation(SegmentReader(segment, use_index=closed))
    except CorruptMessageError as error:
        raise segment.damaged() or StorageError(str(error)) from None
