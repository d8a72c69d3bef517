"""Scanning one segment after an unclean stop.

Everything that can be derived from its batches is: both indexes, the transaction index, the leader
epochs, the producers. What is wrong with it is found out here; what that means is decided in
:mod:`ottla.storage.recovery`.
"""

from __future__ import annotations

from collections.abc import Sequence

from ottla.model.errors import InvalidRecordError, StorageError
from ottla.model.ids import LeaderEpoch, Offset
from ottla.record.batch import BatchHeader
from ottla.storage.batch_scan import BatchScan
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.producer_history import remember
from ottla.storage.producer_state import ProducerStates
from ottla.storage.segment import Extent, Segment
from ottla.storage.segment_indexes import Span


def scan_segment(
    segment: Segment, *, leader_epochs: LeaderEpochs, producers: ProducerStates
) -> BatchScan:
    """Read every batch up to the first that is not sound, and derive everything from them.

    The segment goes as far as the sound batches do. Returns the scan, which says why it ended.

    Raises:
        StorageError: a control batch with the right checksum holds no transaction marker.
    """
    segment.begin()
    scan = BatchScan(segment.log, next_offset=segment.base_offset)
    for position, batch in scan:
        header = batch.header
        span = Span(header.last_offset, header.size_bytes, header.max_timestamp)
        segment.indexes.note(span, position)
        segment.indexes.spill_if_due()
        enter_epoch(leader_epochs, header)
        try:
            aborted = remember(producers, batch)
        except InvalidRecordError as error:
            raise StorageError(f"{segment.log.path} at position {position}: {error}") from None
        if aborted is not None:
            segment.transactions.append(aborted)
    assert scan.next_offset is not None
    segment.extent = Extent(scan.next_offset, scan.position)
    return scan


def enter_epoch(leader_epochs: LeaderEpochs, header: BatchHeader) -> None:
    """Take note of the leader epoch that a batch of the log was written under."""
    epoch = header.partition_leader_epoch
    latest = leader_epochs.latest
    if epoch >= 0 and (latest is None or latest.epoch != epoch):
        leader_epochs.assign(LeaderEpoch(epoch), Offset(header.base_offset))


def sound_batches_follow(scan: BatchScan, segment: Segment, later: Sequence[Segment]) -> bool:
    """Whether there are sound batches beyond the one at which ``scan`` stopped.

    As far as that can be seen: the length that the bad batch claims must be right.
    """
    size = scan.size_claimed()
    if size is not None:
        beyond = BatchScan(segment.log, next_offset=None, position=scan.position + size)
        if next(iter(beyond), None) is not None:
            return True
    firsts = (BatchScan(segment.log, next_offset=segment.base_offset) for segment in later)
    return any(next(iter(first), None) is not None for first in firsts)
