"""A clean stop: everything written, everything synced, nothing left to find out."""

from __future__ import annotations

from ottla.storage.log_state import LogState


def finish(state: LogState) -> None:
    """Make a log and all that belongs to it durable. Waits for the disk.

    Raises:
        OSError: the disk failed.
    """
    *closed, active = state.segments.all
    for segment in closed:
        if segment.indexes.has_unwritten:
            segment.finish()
            segment.sync_indexes()
    active.finish()
    snapshot = state.snapshots.write(state.end_offset, state.producers)
    state.durability.file_made(unsynced=snapshot)
    attempt = state.durability.begin_sync()
    state.durability.sync(attempt, state.unsynced_segments(), state.end_offset)
    active.sync_indexes()
    state.durability.forget_cut()
