"""Finding records of one segment by their timestamps.

Three steps, each on less: the time index gives a batch before which there is nothing late
enough; from there the headers' largest timestamps are compared; only the batch so found has its
records read, and decompressed, to tell which of them it is. Indexes are believed as far as the
headers bear them out, as in :mod:`ottla.storage.segment_reader`.

All of it may wait for the disk.
"""

from __future__ import annotations

from typing import NamedTuple

from ottla.model.errors import CorruptMessageError
from ottla.record.batch import BatchHeader, RecordBatch
from ottla.record.records import iterate_records
from ottla.storage.batch_scan import read_bytes
from ottla.storage.segment import Segment
from ottla.storage.segment_indexes import NO_LARGEST
from ottla.storage.segment_reader import SegmentReader, trusting_index_first
from ottla.storage.time_index import TimestampOffset


class FoundRecord(NamedTuple):
    """A record that was looked up by time."""

    offset: int
    timestamp_ms: int
    leader_epoch: int


class _FoundBatch(NamedTuple):
    position: int
    header: BatchHeader


def first_at_or_after(
    segment: Segment, timestamp_ms: int, *, start_offset: int, end_offset: int, closed: bool
) -> FoundRecord | None:
    """Find the first record in ``[start_offset, end_offset)`` that is not before ``timestamp_ms``.

    Raises:
        DamagedLogError: there are no sound batches where they should be.
        CorruptMessageError: the records of the batch cannot be decompressed.
        InvalidRecordError: the records of the batch cannot be read.
    """

    def find(reader: SegmentReader) -> _FoundBatch | None:
        index = reader.time_index()
        entry = None if index is None else index.at_or_before(timestamp_ms)
        if entry is not None and entry.offset >= start_offset:
            _check_entry(segment, reader, entry)
            walk = reader.headers_from(entry.offset)
        else:
            walk = reader.headers_from(start_offset)
        for position, header in walk:
            if header.base_offset >= end_offset:
                return None
            if header.max_timestamp >= timestamp_ms and header.last_offset >= start_offset:
                return _FoundBatch(position, header)
        return None

    while start_offset < end_offset:
        batch = trusting_index_first(segment, find, closed=closed)
        if batch is None:
            return None
        for record in iterate_records(_read(segment, batch)):
            if record.timestamp_ms >= timestamp_ms and start_offset <= record.offset < end_offset:
                epoch = batch.header.partition_leader_epoch
                return FoundRecord(record.offset, record.timestamp_ms, epoch)
        # The header's largest timestamp is of a record before the start, or of none at all.
        start_offset = batch.header.next_offset
    return None


def largest_timestamp(
    segment: Segment, *, start_offset: int, end_offset: int, closed: bool
) -> TimestampOffset | None:
    """Return the largest timestamp of the batches in a range, with that batch's last offset.

    ``None`` if there is no batch, or none with a timestamp. Reads one index entry for a segment
    that lies in the range.

    Raises:
        DamagedLogError: there are no sound batches where they should be.
    """
    largest = segment.checked_indexes().largest()
    if not start_offset <= largest.offset < end_offset:
        largest = trusting_index_first(
            segment,
            lambda reader: _largest_between(segment, reader, start_offset, end_offset),
            closed=closed,
        )
    return largest if largest.timestamp_ms >= 0 else None


def record_with(
    segment: Segment,
    largest: TimestampOffset,
    *,
    start_offset: int,
    end_offset: int,
    closed: bool,
) -> FoundRecord | None:
    """Find the record whose batch :func:`largest_timestamp` gave; the first one if there are more.

    Raises:
        DamagedLogError: there are no sound batches where they should be.
        CorruptMessageError: the records of the batch cannot be decompressed.
        InvalidRecordError: the records of the batch cannot be read.
    """

    def find(reader: SegmentReader) -> _FoundBatch:
        wanted = largest
        if reader.time_index() is None:
            wanted = _largest_between(segment, reader, start_offset, end_offset)
        return _check_entry(segment, reader, wanted)

    batch = trusting_index_first(segment, find, closed=closed)
    found: FoundRecord | None = None
    for record in iterate_records(_read(segment, batch)):
        later = found is None or record.timestamp_ms > found.timestamp_ms
        if later and record.offset >= start_offset:
            epoch = batch.header.partition_leader_epoch
            found = FoundRecord(record.offset, record.timestamp_ms, epoch)
    return found


def _largest_between(
    segment: Segment, reader: SegmentReader, start_offset: int, end_offset: int
) -> TimestampOffset:
    index = reader.time_index()
    entry = None if index is None else index.at_or_before_offset(end_offset - 1)
    if entry is None or entry.offset < start_offset or start_offset > segment.base_offset:
        largest, from_offset = NO_LARGEST, start_offset
    else:
        _check_entry(segment, reader, entry)
        largest, from_offset = entry, entry.offset
    for _, header in reader.headers_from(from_offset):
        if header.next_offset > end_offset:
            break
        if header.max_timestamp > largest.timestamp_ms and header.last_offset >= start_offset:
            largest = TimestampOffset(header.max_timestamp, header.last_offset)
    return largest


def _check_entry(segment: Segment, reader: SegmentReader, entry: TimestampOffset) -> _FoundBatch:
    """Return the batch that an entry of the time index names.

    Raises:
        CorruptMessageError: there is none that ends at its offset and has its timestamp.
    """
    for position, header in reader.headers_from(entry.offset):
        if header.last_offset >= entry.offset:
            if header.last_offset == entry.offset and header.max_timestamp == entry.timestamp_ms:
                return _FoundBatch(position, header)
            break
    raise CorruptMessageError(
        f"the time index of {segment.log.path} says that a batch with timestamp "
        f"{entry.timestamp_ms} ends at offset {entry.offset}, but there is none"
    )


def _read(segment: Segment, batch: _FoundBatch) -> RecordBatch:
    content = read_bytes(segment.log, batch.position, batch.header.size_bytes)
    return RecordBatch(batch.header, memoryview(content))
