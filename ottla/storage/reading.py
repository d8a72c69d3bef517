"""Reading a log: choosing the segments, and saying what goes wrong in terms of the log."""

from __future__ import annotations

from ottla.model.errors import OffsetOutOfRangeError, StorageError
from ottla.model.ids import Offset
from ottla.storage.entry_file import WouldWaitError
from ottla.storage.log_state import LogState
from ottla.storage.segment import Segment
from ottla.storage.segment_reader import LogRead, read_segment
from ottla.storage.time_index import TimestampOffset
from ottla.storage.time_lookup import (
    FoundRecord,
    first_at_or_after,
    largest_timestamp,
    record_with,
)
from ottla.storage.transaction_index import AbortedTransaction


def read(
    state: LogState,
    offset: Offset,
    *,
    max_bytes: int,
    end_offset: Offset,
    minimum_one: bool,
    cached_only: bool,
) -> LogRead | None:
    """Read batches; see :meth:`ottla.storage.log.PartitionLog.read`."""
    log_end_offset = state.end_offset
    if not state.start_offset <= offset <= log_end_offset:
        raise _out_of_range(state, offset)
    if offset >= min(end_offset, log_end_offset):
        return LogRead(records=b"", base_offset=offset, next_offset=offset)
    segments = state.segments.from_offset(offset)
    try:
        return read_segment(
            segments[0],
            offset,
            max_bytes=max_bytes,
            end_offset=min(end_offset, log_end_offset),
            minimum_one=minimum_one,
            cached_only=cached_only,
            closed=len(segments) > 1,
        )
    except WouldWaitError:
        return None
    except OSError as error:
        if offset < state.start_offset:
            # Deleted while we were at it.
            raise _out_of_range(state, offset) from None
        raise _failed(state, error) from error


def offset_for_timestamp(
    state: LogState, timestamp_ms: int, *, end_offset: Offset
) -> FoundRecord | None:
    """Find a record; see :meth:`ottla.storage.log.PartitionLog.offset_for_timestamp`."""
    start_offset, end_offset = state.start_offset, min(end_offset, Offset(state.end_offset))
    *closed, active = state.segments.from_offset(start_offset)
    try:
        for segment in (*closed, active):
            if segment.checked_indexes().largest().timestamp_ms < timestamp_ms:
                continue
            found = first_at_or_after(
                segment,
                timestamp_ms,
                start_offset=max(start_offset, segment.base_offset),
                end_offset=min(end_offset, segment.extent.next_offset),
                closed=segment is not active,
            )
            if found is not None:
                return found
    except OSError as error:
        raise _failed(state, error) from error
    return None


def record_with_max_timestamp(state: LogState, *, end_offset: Offset) -> FoundRecord | None:
    """Find a record; see :meth:`ottla.storage.log.PartitionLog.record_with_max_timestamp`."""
    start_offset, end_offset = state.start_offset, min(end_offset, Offset(state.end_offset))
    *closed, active = state.segments.from_offset(start_offset)
    best: tuple[TimestampOffset, Segment] | None = None
    try:
        for segment in (*closed, active):
            if segment.base_offset >= end_offset:
                break
            largest = largest_timestamp(
                segment,
                start_offset=max(start_offset, segment.base_offset),
                end_offset=end_offset,
                closed=segment is not active,
            )
            if largest is not None and (best is None or largest[0] > best[0][0]):
                best = largest, segment
        if best is None:
            return None
        largest, segment = best
        return record_with(
            segment,
            largest,
            start_offset=max(start_offset, segment.base_offset),
            end_offset=end_offset,
            closed=segment is not active,
        )
    except OSError as error:
        raise _failed(state, error) from error


def aborted_transactions(
    state: LogState, *, start_offset: Offset, end_offset: Offset
) -> list[AbortedTransaction]:
    """List transactions; see :meth:`ottla.storage.log.PartitionLog.aborted_transactions`."""
    found: list[AbortedTransaction] = []
    try:
        # A marker comes after its records, in any later segment.
        for segment in state.segments.from_offset(start_offset):
            found += segment.transactions.overlapping(
                start_offset=start_offset, end_offset=end_offset
            )
    except OSError as error:
        raise _failed(state, error) from error
    return sorted(found, key=lambda transaction: transaction.first_offset)


def _out_of_range(state: LogState, offset: int) -> OffsetOutOfRangeError:
    return OffsetOutOfRangeError(
        f"offset {offset} of {state.topic_partition} is out of range; the log goes from "
        f"{state.start_offset} to {state.end_offset}"
    )


def _failed(state: LogState, error: OSError) -> StorageError:
    return StorageError(
        f"reading {state.topic_partition} in {state.directory} failed ({error}); check the disk"
    )
