"""All that was ever written to one partition, by whom, and how much of it is committed.

*Log matching* is checked batch by batch: a leader epoch puts one batch at an offset, and always
after the same predecessor. By induction, two logs that have the same epoch at the same offset are
equal up to there. So everything else may compare epochs instead of contents.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

from ottla.model.ids import BrokerId, LeaderEpoch, Offset, TopicPartition
from ottla.model.image import PartitionImage
from ottla.record.batch import RecordBatch
from ottla.simulation.world import Violation
from ottla.storage.log import PartitionLog

_NOTHING: Final = LeaderEpoch(-1)
"""In place of the epoch of a predecessor: there is none."""


class Written(NamedTuple):
    """One batch, as an epoch wrote it."""

    crc: int
    next_offset: Offset


class Ledger:
    """One partition."""

    def __init__(self, topic_partition: TopicPartition) -> None:
        """Know of nothing."""
        self.topic_partition = topic_partition
        self.image: PartitionImage | None = None
        """As the metadata log says, at its newest entry that anybody has applied."""
        self.min_insync_needed = 1
        """How many replicas must be in sync for anything to be committed."""
        self.write_caching = False
        """Whether what is not synced yet counts as well."""
        self.leaders: dict[LeaderEpoch, BrokerId] = {}
        self.shown: dict[LeaderEpoch, tuple[Offset, Offset]] = {}
        """The lowest and the highest high watermark that readers saw from each epoch's leader."""
        self.durable: dict[BrokerId, Offset] = {}
        """What each replica is known to have on disk."""
        self.lossy: set[BrokerId] = set()
        """Who got an empty disk or lost what was not synced, and has not opened the log since."""
        self.committed_end = Offset(0)
        self._written: dict[tuple[int, int], Written] = {}
        self._predecessors: dict[tuple[int, int], LeaderEpoch] = {}
        """The epoch of the batch before, as soon as a log was seen that still had it."""
        self._last_epochs: dict[BrokerId, LeaderEpoch | None] = {}
        """Of each log's last batch; ``None``: it was deleted."""
        self._deleted_to = Offset(0)
        self._committed_starts: list[int] = []
        self._committed_epochs: list[LeaderEpoch] = []

    # --- Log matching ---

    def opened(self, broker: BrokerId, log: PartitionLog) -> None:
        """Learn what a replica's log ends with."""
        latest = log.leader_epochs.latest
        if latest is not None:
            self._last_epochs[broker] = latest.epoch
        else:
            self._last_epochs[broker] = None if log.log_end_offset else _NOTHING

    def write(
        self, broker: BrokerId, base_offset: int, epoch: int, next_offset: int, batch: RecordBatch
    ) -> None:
        """Learn of a batch that a replica appended."""
        place = (base_offset, epoch)
        written = Written(batch.header.crc, Offset(next_offset))
        known = self._written.setdefault(place, written)
        # What was deleted cannot be compared any more, and is never read again.
        before = self._last_epochs[broker] if base_offset > self._deleted_to else None
        known_before = None if before is None else self._predecessors.setdefault(place, before)
        if known != written or known_before != before:
            raise Violation(
                "LogMatching",
                f"broker {broker} has {written} after epoch {before} at offset {base_offset} of "
                f"{self.topic_partition} in epoch {epoch}, another {known} after {known_before}",
            )
        self._last_epochs[broker] = LeaderEpoch(epoch)

    # --- What is committed ---

    def deleted(self, offset: Offset) -> None:
        """Learn that somebody asked for everything below ``offset`` to be deleted."""
        self._deleted_to = max(self._deleted_to, offset)

    def commit(self, log: PartitionLog, high_watermark: Offset) -> None:
        """Learn that everything in ``log`` below ``high_watermark`` is committed."""
        while self.committed_end < high_watermark:
            offset = self.committed_end
            epoch = log.leader_epochs.epoch_at(offset)
            written = None if epoch is None else self._written.get((offset, epoch))
            if epoch is None or written is None or written.next_offset > log.log_end_offset:
                raise Violation(
                    "CommittedIsWritten",
                    f"{high_watermark} is the high watermark of {self.topic_partition}, and "
                    f"nobody wrote {offset} in epoch {epoch}",
                )
            if not self._committed_epochs or self._committed_epochs[-1] != epoch:
                self._committed_starts.append(offset)
                self._committed_epochs.append(epoch)
            self.committed_end = written.next_offset

    def has_committed(self, log: PartitionLog) -> bool:
        """Whether a log has everything that is committed."""
        end = self.committed_end
        if log.log_end_offset < end:
            return end <= self._deleted_to
        return end <= log.log_start_offset or log.leader_epochs.epoch_at(
            Offset(end - 1)
        ) == self._epoch_at(end - 1)

    def would_lose(self, log: PartitionLog, offset: Offset) -> bool:
        """Whether cutting a log to ``offset`` takes away something that is committed."""
        offset = max(offset, self._deleted_to)
        if offset >= min(self.committed_end, log.log_end_offset):
            return False
        return log.leader_epochs.epoch_at(offset) == self._epoch_at(offset)

    def _epoch_at(self, offset: int) -> LeaderEpoch:
        return self._committed_epochs[bisect_right(self._committed_starts, offset) - 1]
