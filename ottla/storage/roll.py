"""Closing the active segment and beginning the next one."""

from __future__ import annotations

from ottla.storage.log_state import LogState


def roll(state: LogState, *, now_ms: int) -> None:
    """Close the active segment, which has records, and begin the next one at the log's end.

    Writes the indexes and a producer snapshot but waits for nothing: the next sync covers them.

    Raises:
        OSError: the active segment is still the same; trying again is possible.
    """
    active = state.segments.active
    assert active.extent.size_bytes > 0, active
    active.finish()
    snapshot = state.snapshots.write(state.end_offset, state.producers)
    state.durability.file_made(unsynced=snapshot)
    state.segments.add(state.new_segment(state.end_offset, now_ms=now_ms))
    state.durability.forget_cut()
