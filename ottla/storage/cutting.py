"""Taking parts of a log away: its end, its beginning, or all of it.

    truncate to 60        [0 .. 39][40 .. 59 | 60 .. 79][80 .. 99]      the end is 60
    delete before 45      [0 .. 39][40 .. 44 | 45 .. 79][80 .. 99]      segment 0 goes, 40..44 hide
    start at 500          [0 .. 39][40 .......... 79][80 .. 99]         all go; empty at 500

A log is cut at its end when it has diverged from its leader's. What was cut must not come back
after a crash and be taken for part of what was written in its place; so cutting the end waits for
the disk, at every step. The beginning is cut by age and size, and on request; that waits
for nothing, because coming back does it no harm.
"""

from __future__ import annotations

from ottla.model.errors import OffsetOutOfRangeError, StorageError
from ottla.model.ids import Offset
from ottla.storage.cut_mark import CutMark
from ottla.storage.format import DELETED_SUFFIX
from ottla.storage.log_state import LogState
from ottla.storage.producer_history import replay
from ottla.storage.removal import RemovedSegments, mark_deleted, unlink
from ottla.storage.segment import Segment
from ottla.storage.segment_reader import trusting_index_first


def truncate_to(state: LogState, offset: int, *, now_ms: int) -> RemovedSegments:
    """Cut the end; see :meth:`ottla.storage.log.PartitionLog.truncate_to`."""
    state.check_writable()
    if offset >= state.end_offset:
        return _nothing(state)
    if offset < state.segments.all[0].base_offset:
        return start_at(state, offset, now_ms=now_ms)
    segment = state.segments.from_offset(offset)[0]
    closed = segment is not state.segments.active
    position, base_offset = trusting_index_first(
        segment, lambda reader: reader.place_of(offset), closed=closed
    )
    try:
        return _cut_end(state, segment, end_offset=base_offset, position=position)
    except OSError as error:
        raise state.failed(error, "truncating") from error
    except StorageError as error:
        state.failure = error
        raise


def delete_records_before(state: LogState, offset: int) -> RemovedSegments:
    """Cut the beginning; see :meth:`ottla.storage.log.PartitionLog.delete_records_before`."""
    state.check_writable()
    if offset > state.end_offset:
        raise OffsetOutOfRangeError(
            f"records before {offset} cannot be deleted: {state.topic_partition} ends at "
            f"{state.end_offset}"
        )
    if offset <= state.start_offset:
        return _nothing(state)
    state.start_offset = offset
    state.leader_epochs.truncate_to_start(Offset(offset))
    state.producers.delete_before(Offset(offset))
    *closed, _ = state.segments.all
    count = sum(segment.extent.next_offset <= offset for segment in closed)
    segments = state.segments.drop_first(count)
    state.snapshots.forget({segment.base_offset for segment in segments})
    try:
        return mark_deleted(state.directory, segments, file_system=state.file_system)
    except OSError as error:
        raise state.failed(error, "deleting segments of") from error


def start_at(state: LogState, offset: int, *, now_ms: int) -> RemovedSegments:
    """Begin anew; see :meth:`ottla.storage.log.PartitionLog.start_at`."""
    state.check_writable()
    try:
        return _begin_anew(state, offset, now_ms=now_ms)
    except OSError as error:
        raise state.failed(error, "emptying") from error


def _cut_end(
    state: LogState, segment: Segment, *, end_offset: int, position: int
) -> RemovedSegments:
    _note_cut(state, end_offset=end_offset, believed_end=end_offset)
    state.end_offset = end_offset
    state.start_offset = min(state.start_offset, end_offset)
    state.snapshots.remove_above(end_offset)
    removed = unlink(
        state.directory, state.segments.drop_after(segment), file_system=state.file_system
    )
    segment.truncate_to(end_offset, position)
    state.leader_epochs.truncate_to_end(Offset(end_offset))
    known = state.snapshots.load(state.producers, offset_max=end_offset)
    replay(state.producers, state.segments, start_offset=known or 0, end_offset=end_offset)
    state.durability.after_cut(end_offset)
    return removed


def _begin_anew(state: LogState, offset: int, *, now_ms: int) -> RemovedSegments:
    # A crash in the midst of it may leave any number of the old segments, or none.
    _note_cut(state, end_offset=offset, believed_end=0)
    state.end_offset = min(state.end_offset, offset)
    state.snapshots.remove_above(-1)
    state.leader_epochs.clear()
    state.durability.remove_epochs()
    for name in state.file_system.list(state.directory):
        # The new segments may have lower offsets than those which are marked as deleted.
        if name.endswith(DELETED_SUFFIX):
            state.file_system.remove(state.directory / name)
    removed = unlink(state.directory, state.segments.all, file_system=state.file_system)
    state.segments.replace_all(state.new_segment(offset, now_ms=now_ms))
    state.file_system.sync_directory(state.directory)
    state.producers.clear()
    state.start_offset = offset
    state.durability.after_cut(offset)
    state.end_offset = offset
    return removed


def _note_cut(state: LogState, *, end_offset: int, believed_end: int) -> None:
    state.durability.before_cut(
        CutMark(
            recovery_point_max=believed_end,
            until=max(state.end_offset, end_offset),
            log_start_offset_max=min(state.start_offset, end_offset),
            log_start_offset_before=state.start_offset,
        )
    )


def _nothing(state: LogState) -> RemovedSegments:
    return RemovedSegments(state.directory, (), (), file_system=state.file_system)
