"""Appending batches: as the leader, who gives them their offsets, and as a follower.

Both are the same write: sixteen new or sixteen old bytes and the untouched rest of each batch, all
batches in one call of the file. Everything that may refuse an append comes before it and changes
nothing; everything after it happens in memory and cannot fail. So an append is done as a whole or
not at all.

When the disk refuses, the log is as it was, but the disk is not to be trusted (or full) until
somebody has looked at it: nothing is appended any more until the log is opened again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ottla.model.errors import OffsetOutOfRangeError, RecordListTooLargeError
from ottla.model.ids import NO_TIMESTAMP_MS, LeaderEpoch, Offset
from ottla.record.batch import (
    BatchHeader,
    RecordBatch,
    TimestampType,
    restamped,
    with_log_append_time,
)
from ottla.runtime.files import Buffer
from ottla.storage.log_state import LogState
from ottla.storage.producer_history import read_marker, remember
from ottla.storage.producer_state import Duplicate
from ottla.storage.roll import roll
from ottla.storage.segment_indexes import Span


class Appended(NamedTuple):
    """What became of an append by the leader."""

    base_offset: Offset
    """Of the first record: the one it got the first time, if it was there already."""
    end_offset: Offset
    """Exclusive end of the last record."""
    log_append_time_ms: int
    """When the records were stamped, if the topic says that the leader does; else -1."""
    duplicate: bool
    """Whether all of it was in the log already, so that nothing was appended."""


class _Write:
    """Batches on their way into one segment, with their final offsets."""

    __slots__ = (
        "base_offset",
        "buffers",
        "end_offset",
        "epochs",
        "producing",
        "size_bytes",
        "spans",
    )

    def __init__(self, base_offset: int) -> None:
        self.base_offset = base_offset
        self.end_offset = base_offset
        self.buffers: list[Buffer] = []
        self.size_bytes = 0
        self.spans: list[Span] = []
        self.producing: list[RecordBatch] = []
        """Those that the producers' states must hear of."""
        self.epochs: list[tuple[int, int]] = []
        """The leader epochs that wrote them, each with the first offset it wrote."""

    def add(self, batch: RecordBatch, leader_epoch: int) -> None:
        """Take the batch whose bytes were put into ``buffers`` last.

        Raises:
            InvalidRecordError: it is a control batch without a transaction marker.
        """
        header = batch.header
        if not self.epochs or self.epochs[-1][0] != leader_epoch:
            self.epochs.append((leader_epoch, self.end_offset))
        last_offset = self.end_offset + header.last_offset_delta
        if header.producer_id >= 0:
            final = header._replace(base_offset=self.end_offset)
            if final.is_control:
                read_marker(batch)
            self.producing.append(RecordBatch(final, batch.view))
        size_bytes = len(batch.view)
        self.size_bytes += size_bytes
        self.spans.append(Span(last_offset, size_bytes, header.max_timestamp))
        self.end_offset = last_offset + 1

    def total(self) -> Span:
        """Return what there is to know of all of them together; there is at least one."""
        spans = self.spans
        if len(spans) == 1:
            return spans[0]
        return Span(
            spans[-1].last_offset,
            self.size_bytes,
            max(span.max_timestamp_ms for span in spans),
        )


# --- The leader's half ------------------------------------------------------------------


def append(
    state: LogState, batches: Sequence[RecordBatch], *, leader_epoch: LeaderEpoch, now_ms: int
) -> Appended:
    """Append as the leader; see :meth:`ottla.storage.log.PartitionLog.append`."""
    assert batches, "an append has batches"
    state.check_writable()
    fresh, earlier = batches, None
    for batch in batches:
        if batch.header.producer_id >= 0:
            fresh, earlier = _without_duplicates(state, batches)
            break
    if earlier is not None and not fresh:
        return earlier
    stamps = state.config.timestamp_type is TimestampType.LOG_APPEND_TIME
    if stamps:
        fresh = [with_log_append_time(batch, now_ms=now_ms) for batch in fresh]
    write = _Write(state.end_offset)
    for batch in fresh:
        write.buffers += restamped(batch, base_offset=write.end_offset, leader_epoch=leader_epoch)
        write.add(batch, leader_epoch)
    if write.size_bytes > state.config.segment_bytes:
        raise RecordListTooLargeError(
            f"{len(fresh)} batches of {write.size_bytes} bytes together do not fit into a "
            f"segment of {state.topic_partition}, which holds {state.config.segment_bytes} bytes; "
            "send fewer or smaller ones"
        )
    _write(state, write, now_ms=now_ms)
    return Appended(
        Offset(write.base_offset) if earlier is None else earlier.base_offset,
        Offset(write.end_offset),
        now_ms if stamps else NO_TIMESTAMP_MS,
        duplicate=False,
    )


def _without_duplicates(
    state: LogState, batches: Sequence[RecordBatch]
) -> tuple[list[RecordBatch], Appended | None]:
    """Return the batches that are not in the log, and where those are that come first and are.

    A producer may retry a batch together with one that it has not sent before.
    """
    fresh: list[RecordBatch] = []
    previous: dict[int, BatchHeader] = {}
    first: Duplicate | None = None
    last: Duplicate | None = None
    for batch in batches:
        header = batch.header
        if header.is_control:
            # From a coordinator, which has fenced the producer already.
            fresh.append(batch)
            continue
        duplicate = state.producers.check(header, previous=previous.get(header.producer_id))
        if duplicate is None:
            fresh.append(batch)
            previous[header.producer_id] = header
            continue
        if not fresh and first is None:
            first = duplicate
        last = duplicate
    if first is None or last is None:
        return fresh, None
    stamps = state.config.timestamp_type is TimestampType.LOG_APPEND_TIME
    return fresh, Appended(
        base_offset=first.base_offset,
        end_offset=Offset(last.last_offset + 1),
        log_append_time_ms=first.timestamp_ms if stamps else NO_TIMESTAMP_MS,
        duplicate=True,
    )


# --- The follower's half ------------------------------------------------------------------


def append_replicated(state: LogState, batches: Sequence[RecordBatch], *, now_ms: int) -> Offset:
    """Append as a follower; see :meth:`ottla.storage.log.PartitionLog.append_replicated`."""
    state.check_writable()
    _check_contiguous(state, batches)
    write = _Write(state.end_offset)
    for batch in batches:
        if write.size_bytes + len(batch.view) > state.config.segment_bytes and write.spans:
            _write(state, write, now_ms=now_ms)
            write = _Write(state.end_offset)
        write.buffers.append(batch.view)
        write.add(batch, batch.header.partition_leader_epoch)
    if write.spans:
        _write(state, write, now_ms=now_ms)
    return Offset(state.end_offset)


def _check_contiguous(state: LogState, batches: Sequence[RecordBatch]) -> None:
    expected = state.end_offset
    for batch in batches:
        if batch.header.base_offset != expected:
            raise OffsetOutOfRangeError(
                f"{state.topic_partition} goes on at offset {expected}, but the batch to append "
                f"begins at {batch.header.base_offset}; fetch from {state.end_offset}"
            )
        expected = batch.header.next_offset


# --- Both ---------------------------------------------------------------------------------


def _write(state: LogState, write: _Write, *, now_ms: int) -> None:
    """Write to the active segment, or to a new one, and take note of everything."""
    segment = state.segments.active
    try:
        if not segment.has_room_for(write.total(), now_ms=now_ms, config=state.config):
            roll(state, now_ms=now_ms)
            segment = state.segments.active
        segment.append(write.buffers, write.spans, write.end_offset)
    except OSError as error:
        raise state.failed(error, "appending to") from error
    for epoch, start_offset in write.epochs:
        latest = state.leader_epochs.latest
        if epoch >= 0 and (latest is None or latest.epoch != epoch):
            state.leader_epochs.assign(LeaderEpoch(epoch), Offset(start_offset))
    for batch in write.producing:
        aborted = remember(state.producers, batch)
        if aborted is not None:
            segment.transactions.append(aborted)
    state.durability.appended(write.end_offset, now_ms=now_ms)
    state.end_offset = write.end_offset
