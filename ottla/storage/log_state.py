"""What a log consists of: the values that appending, reading and cutting have in common.

The thread that appends changes them, one attribute at a time; others read. ``end_offset`` is
changed last when the log grows, and first when it is cut.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ottla.model.errors import StorageError
from ottla.model.ids import TopicPartition
from ottla.runtime.files import FileSystem
from ottla.storage.durability import Durability
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.log_config import LogConfig
from ottla.storage.producer_snapshots import ProducerSnapshots
from ottla.storage.producer_state import ProducerStates
from ottla.storage.segment import Segment
from ottla.storage.segments import Segments


@dataclass(slots=True, kw_only=True)
class LogState:
    """The parts of one log."""

    topic_partition: TopicPartition
    directory: Path
    file_system: FileSystem
    config: LogConfig
    segments: Segments
    leader_epochs: LeaderEpochs
    producers: ProducerStates
    snapshots: ProducerSnapshots
    durability: Durability
    start_offset: int
    end_offset: int
    """Exclusive: the offset of the next record."""
    failure: StorageError | None = None
    """Why nothing is written any more."""

    def check_writable(self) -> None:
        """Raise what :attr:`failure` says."""
        if self.failure is not None:
            raise StorageError(str(self.failure)) from self.failure

    def failed(self, error: OSError, doing: str) -> StorageError:
        """Stop all writes, because ``error`` came up while ``doing``; return what to raise."""
        if error.errno == errno.ENOSPC:
            reason = f"the disk that holds {self.directory} is full; free some space"
        else:
            reason = f"the disk that holds {self.directory} failed ({error}); check it"
        self.failure = StorageError(
            f"{doing} {self.topic_partition} failed: {reason}, then restart the broker"
        )
        return self.failure

    def new_segment(self, base_offset: int, *, now_ms: int) -> Segment:
        """Make a segment that begins at ``base_offset``. Does not sync.

        Raises:
            OSError: it could not be made.
        """
        segment = Segment(
            self.directory,
            base_offset,
            file_system=self.file_system,
            index_interval_bytes=self.config.index_interval_bytes,
            created_ms=now_ms,
        )
        assert segment.log.size == 0, segment.log
        segment.begin()
        self.durability.file_made()
        return segment

    def unsynced_segments(self) -> Sequence[Segment]:
        """Return the segments that are not durable as a whole, the active one last.

        The one that holds the last durable record is among them: it may have been closed
        after that was synced, and its indexes not.
        """
        return self.segments.from_offset(max(0, self.durability.durable_end - 1))
