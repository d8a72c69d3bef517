"""Retention of a log that is in use: first found out, then done.

Finding out may read an index from the disk, so it happens off the thread that appends. Doing it
belongs on that thread, and does not wait. What has changed in between is looked at again.
"""

from __future__ import annotations

from typing import NamedTuple

from ottla.model.ids import Offset
from ottla.storage.log import PartitionLog
from ottla.storage.removal import RemovedSegments
from ottla.storage.retention import Deletable, RetentionRules, deletable_segments, is_expired


class RetentionPlan(NamedTuple):
    """What should leave one log."""

    log: PartitionLog
    deletable: tuple[Deletable, ...]
    """Oldest first; at least one. The last may be the active segment."""

    @property
    def log_start_offset(self) -> Offset:
        """Where the log will start."""
        return Offset(self.deletable[-1].segment.next_offset)


def plan_retention(
    log: PartitionLog, *, high_watermark: Offset, wall_ms: int
) -> RetentionPlan | None:
    """Find what should leave ``log``; ``None``: nothing. Changes nothing; may wait for the disk.

    Raises:
        DamagedLogError: a segment is not sound, so nobody knows how old it is.
        OSError: an index cannot be read.
    """
    rules = RetentionRules(log.config.retention_ms, log.config.retention_bytes)
    segments = log.closed_segments()
    active = log.active_segment()
    active_size_bytes = active.size_bytes
    if active_size_bytes and is_expired(active.largest_timestamp_ms, rules, now_ms=wall_ms):
        # It will be rolled, and goes as a closed one.
        segments.append(active)
        active_size_bytes = 0
    deletable = deletable_segments(
        segments,
        rules,
        active_size_bytes=active_size_bytes,
        log_start_offset=log.log_start_offset,
        high_watermark=high_watermark,
        now_ms=wall_ms,
    )
    return RetentionPlan(log, tuple(deletable)) if deletable else None


def carry_out(plan: RetentionPlan, *, wall_ms: int) -> RemovedSegments | None:
    """Do what was planned; ``None`` if there is nothing left to do. Does not wait for the disk.

    Raises:
        StorageError: the disk failed or is full, now or earlier.
    """
    log = plan.log
    if plan.log_start_offset > log.active_segment().base_offset:
        if plan.log_start_offset != log.log_end_offset:
            return None  # It was appended to, or cut, since then. The next plan will see.
        log.roll(now_ms=wall_ms)
    return log.delete_records_before(plan.log_start_offset)
