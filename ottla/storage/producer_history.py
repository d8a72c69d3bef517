"""What the log says of its producers: applying its batches to their states.

The states are a function of the batches. :func:`remember` is that function for one batch; leader,
follower and recovery all use it. Headers suffice for it but for control batches, whose one record,
a *transaction marker*, says how a transaction ended:

    key    int16 version, int16 type (0 abort, 1 commit)
    value  int16 version, int32 epoch of the transaction coordinator
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple

from ottla.model.errors import InvalidRecordError
from ottla.record.batch import RecordBatch
from ottla.record.records import iterate_records
from ottla.storage.producer_state import ProducerStates
from ottla.storage.segment import Segment
from ottla.storage.segment_reader import SegmentReader, trusting_index_first
from ottla.storage.transaction_index import AbortedTransaction

_MARKER_KEY: Final = Struct(">hh")
_MARKER_VALUE: Final = Struct(">hi")
_ABORT: Final = 0


class TransactionMarker(NamedTuple):
    """How a transaction coordinator ended a transaction."""

    aborted: bool
    coordinator_epoch: int


def read_marker(batch: RecordBatch) -> TransactionMarker:
    """Read the record of a control batch.

    Raises:
        InvalidRecordError: it is not a transaction marker.
        CorruptMessageError: the batch claims to be compressed and cannot be decompressed.
    """
    record = next(iterate_records(batch), None)
    key = b"" if record is None or record.key is None else record.key
    value = b"" if record is None or record.value is None else record.value
    if len(key) < _MARKER_KEY.size or len(value) < _MARKER_VALUE.size:
        raise InvalidRecordError(
            f"the control batch at offset {batch.header.base_offset} has a key of {len(key)} bytes "
            f"and a value of {len(value)}; a transaction marker has {_MARKER_KEY.size} and "
            f"{_MARKER_VALUE.size}"
        )
    _, marker_type = _MARKER_KEY.unpack_from(key)
    _, coordinator_epoch = _MARKER_VALUE.unpack_from(value)
    return TransactionMarker(marker_type == _ABORT, coordinator_epoch)


def remember(producers: ProducerStates, batch: RecordBatch) -> AbortedTransaction | None:
    """Apply a batch that is in the log, with its final offsets.

    Returns what the transaction index must say of it: the transaction that it aborts, if it does.

    Raises:
        InvalidRecordError: it is a control batch without a transaction marker; nothing changed.
    """
    header = batch.header
    if not header.has_producer:
        return None
    if not header.is_control:
        producers.append(header)
        return None
    marker = read_marker(batch)
    completed = producers.end_transaction(
        header, coordinator_epoch=marker.coordinator_epoch, aborted=marker.aborted
    )
    if completed is None or not completed.aborted:
        return None
    return AbortedTransaction(
        completed.producer_id,
        completed.first_offset,
        completed.last_offset,
        producers.last_stable_offset_after(completed),
    )


def replay(
    producers: ProducerStates, segments: Iterable[Segment], *, start_offset: int, end_offset: int
) -> None:
    """Apply every batch in ``[start_offset, end_offset)``, both of them batch boundaries.

    Reads headers, and the rest of control batches only. Waits for the disk.

    Raises:
        DamagedLogError: there are no sound batches where they should be.
    """
    for segment in segments:
        start = max(start_offset, segment.base_offset)
        end = min(end_offset, segment.extent.next_offset)
        if start < end:
            _replay_segment(producers, segment, start_offset=start, end_offset=end)


def _replay_segment(
    producers: ProducerStates, segment: Segment, *, start_offset: int, end_offset: int
) -> None:
    def place_of_start(reader: SegmentReader) -> tuple[int, int]:
        return reader.place_of(start_offset)

    position, _ = trusting_index_first(segment, place_of_start, closed=False)
    for at, header in segment.headers(position):
        if header.base_offset >= end_offset:
            return
        if header.is_control:
            content = segment.log.read_at(at, header.size_bytes)
            remember(producers, RecordBatch(header, memoryview(content)))
        elif header.has_producer:
            producers.append(header)
