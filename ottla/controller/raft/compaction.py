"""When a snapshot replaces the beginning of the log.

The log is in memory and on the disk, and a restart replays it; so once what is applied has
grown past a number of entries or bytes, the state machine is asked for its state, which is
written in the background. Only when that is durable is the log cut, and not quite up to the
snapshot: a few entries stay, so that a peer a moment behind need not be sent the whole state::

    base                         snapshot            applied        end
     |------------------------------|-------------------|------------|
                     kept from here |  (trailing entries)
"""

from __future__ import annotations

from collections.abc import Callable

from ottla.controller.raft.fatal import Fatal
from ottla.controller.raft.journal import Journal
from ottla.controller.raft.settings import RaftSettings
from ottla.controller.raft.snapshots import SnapshotId, SnapshotStore


class Compaction:
    """Keeps one node's log short."""

    def __init__(
        self,
        journal: Journal,
        snapshots: SnapshotStore,
        *,
        settings: RaftSettings,
        take_snapshot: Callable[[], bytes],
        fatal: Fatal,
    ) -> None:
        """Watch ``journal``; ``take_snapshot`` returns the state as of the last applied entry."""
        self._journal = journal
        self._snapshots = snapshots
        self._settings = settings
        self._take_snapshot = take_snapshot
        self._fatal = fatal

    def run(self, applied_index: int) -> None:
        """Cut the log if a snapshot has become durable; begin one if it is time."""
        if self._snapshots.finished():
            self._cut()
        if not self._snapshots.writing and self._is_due(applied_index):
            self.begin(applied_index)

    def begin(self, applied_index: int) -> None:
        """Begin to write a snapshot of what is applied, unless there is one or one is under way."""
        latest = self._snapshots.latest
        if self._snapshots.writing or (latest is not None and latest.index >= applied_index):
            return
        state = self._take_snapshot()
        if len(state) > self._settings.snapshot_bytes_max:
            self._fatal(
                f"the metadata takes {len(state)} bytes, more than the "
                f"{self._settings.snapshot_bytes_max} that a snapshot may have"
            )
        term = self._journal.term_at(applied_index)
        self._snapshots.write(SnapshotId(applied_index, term), state)

    def _is_due(self, applied_index: int) -> bool:
        base_index = self._journal.base_index
        return (
            applied_index - base_index > self._settings.log_entries_max
            or self._journal.bytes_between(base_index + 1, applied_index + 1)
            > self._settings.log_bytes_max
        )

    def _cut(self) -> None:
        latest = self._snapshots.latest
        assert latest is not None
        journal, settings = self._journal, self._settings
        index = latest.index
        oldest = max(journal.base_index, index - settings.trailing_entries_max)
        while (
            index > oldest
            and journal.bytes_between(index, latest.index + 1) <= settings.trailing_bytes_max
        ):
            index -= 1
        journal.compact(index)
