"""How much of a log survives a crash, and the work that makes it more.

One thread appends (and truncates), another syncs, and neither waits for the other. The end that is
about to become durable is therefore noted before the first sync and published after the last. A
truncation in between makes that end wrong, so a durable end belongs to an :class:`Era`, the
time between two truncations: what a sync publishes for an era that is over, nobody looks at.

One sync covers, in this order, so that the end is never ahead of what it stands for:

1. closed segments that were not yet synced as a whole: their logs, their indexes, and the
   producer snapshot taken when they were closed. From then on recovery need not look at them;
2. the log of the active segment (its indexes are made anew after a crash);
3. the leader epochs, if they have changed;
4. the directory, if a file has been made since.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ottla.runtime.files import FileSystem
from ottla.storage.cut_mark import CutMark, remove_cut_mark, write_cut_mark
from ottla.storage.leader_epochs import FILE_NAME as EPOCHS_FILE
from ottla.storage.leader_epochs import EpochStart, LeaderEpochs
from ottla.storage.segment import Segment


class Era:
    """The time between two truncations."""

    __slots__ = ("durable_end",)

    def __init__(self, durable_end: int) -> None:
        self.durable_end = durable_end


class SyncAttempt(NamedTuple):
    """When a sync began."""

    era: Era
    names_changed: int


class Durability:
    """Which part of one log is durable."""

    __slots__ = (
        "_cut_mark",
        "_directory",
        "_epochs_written",
        "_era",
        "_file_system",
        "_leader_epochs",
        "_names_changed",
        "_names_synced",
        "_unsynced_files",
        "_waiting",
    )

    def __init__(
        self,
        directory: Path,
        *,
        file_system: FileSystem,
        leader_epochs: LeaderEpochs,
        epochs_written: Sequence[EpochStart],
        durable_end: int,
        cut_mark: CutMark | None,
    ) -> None:
        """Args: ``epochs_written``: what the epochs' file holds; ``durable_end``: exclusive."""
        self._directory = directory
        self._file_system = file_system
        self._leader_epochs = leader_epochs
        self._epochs_written = epochs_written
        self._era = Era(durable_end)
        self._cut_mark = cut_mark
        # The directory of a log that was just opened may hold files that were never synced.
        self._names_changed = 1
        self._names_synced = 0
        self._unsynced_files: deque[Path] = deque()
        self._waiting: tuple[int, int] | None = None

    @property
    def durable_end(self) -> int:
        """Everything below survives a crash."""
        return self._era.durable_end

    # --- The appending thread -----------------------------------------------------------

    def file_made(self, unsynced: Path | None = None) -> None:
        """Take note that a file was made; ``unsynced`` is one that nobody else will sync."""
        if unsynced is not None:
            self._unsynced_files.append(unsynced)
        self._names_changed += 1

    def appended(self, end_offset: int, *, now_ms: int) -> None:
        """Take note that there is something to sync, for :meth:`waited_ms`."""
        waiting = self._waiting
        if waiting is None or waiting[0] <= self.durable_end:
            self._waiting = (end_offset, now_ms)

    def waited_ms(self, end_offset: int, *, now_ms: int) -> int:
        """Return for how long something below ``end_offset`` has been waiting to be synced.

        What was appended while a sync was under way counts from the next time this is called.
        """
        if end_offset <= self.durable_end:
            return 0
        self.appended(end_offset, now_ms=now_ms)
        assert self._waiting is not None
        return now_ms - self._waiting[1]

    def before_cut(self, mark: CutMark) -> None:
        """Write down that the log is about to be cut. Waits for the disk.

        The mark's ``until`` is the log's end: a sync under way may still make all of that
        durable, and a checkpoint say so.

        Raises:
            OSError: nothing may be cut.
        """
        if self._cut_mark is not None:
            mark = mark.together_with(self._cut_mark)
        write_cut_mark(self._directory, mark, file_system=self._file_system)
        self._cut_mark = mark

    def after_cut(self, offset: int) -> None:
        """Begin a new era: the log was cut to ``offset``, durably, if it was longer."""
        self._era = Era(min(self.durable_end, offset))
        self._waiting = None

    def remove_epochs(self) -> None:
        """Remove the file of the leader epochs, because the log is emptied. Does not sync.

        Raises:
            OSError: the file is still there.
        """
        path = self._directory / EPOCHS_FILE
        if self._file_system.exists(path):
            self._file_system.remove(path)
        self._epochs_written = ()

    def forget_cut(self) -> None:
        """Remove the note of a cut once it is void. Does not wait."""
        mark = self._cut_mark
        if mark is not None and self.durable_end >= mark.until:
            remove_cut_mark(self._directory, file_system=self._file_system)
            self._cut_mark = None

    # --- The syncing thread ---------------------------------------------------------------

    def begin_sync(self) -> SyncAttempt:
        """Begin a sync. Look at the end of the log after this, and at the segments after that."""
        return SyncAttempt(self._era, self._names_changed)

    def sync(self, attempt: SyncAttempt, segments: Sequence[Segment], end_offset: int) -> None:
        """Make everything below ``end_offset`` durable; ``segments`` are those not yet durable.

        Waits for the disk. One thread at a time.

        Raises:
            OSError: nothing is known about what is durable beyond what was.
        """
        era, names = attempt
        *closed, active = segments
        for segment in closed:
            if not segment.synced:
                segment.log.sync()
                segment.sync_indexes()
        self._sync_files()
        active.log.sync()
        self._write_epochs()
        if names != self._names_synced:
            self._file_system.sync_directory(self._directory)
            self._names_synced = names
        for segment in closed:
            segment.synced = True
        era.durable_end = max(era.durable_end, end_offset)

    def _sync_files(self) -> None:
        while self._unsynced_files:
            path = self._unsynced_files.popleft()
            if self._file_system.exists(path):
                file = self._file_system.open(path)
                file.sync()
                file.close()

    def _write_epochs(self) -> None:
        entries = self._leader_epochs.entries
        if entries != self._epochs_written:
            content = LeaderEpochs(entries).encode()
            self._file_system.replace(self._directory / EPOCHS_FILE, content)
            self._epochs_written = entries
