"""What clients did and saw: the only thing that counts in the end.

Values are unique, so a value tells which record it is. The names of what can be wrong are those of
Jepsen's checker for logs: inconsistent offsets, lost writes, duplicates, reordered writes, unseen
records.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

from ottla.model.ids import Offset, TopicPartition
from ottla.simulation.world import Violation


@dataclass(slots=True)
class PartitionHistory:
    """One partition, as its clients know it."""

    acknowledged: dict[bytes, Offset] = field(default_factory=dict)
    """Values that all in-sync replicas were said to have, and where."""
    acknowledged_by_leader: dict[bytes, Offset] = field(default_factory=dict)
    """Values of producers that asked the leader only: these may be lost."""
    perhaps_twice: set[bytes] = field(default_factory=set)
    """Values sent again under another producer id, after the first one's fate was unknown."""
    seen: dict[Offset, bytes] = field(default_factory=dict)
    """What consumers read."""
    skipped_to: Offset = Offset(0)  # noqa: RUF009 -- a NewType of int
    """What lies below was deleted before a consumer got there; another leader may still have it."""


class History:
    """Everything that clients of one world did and saw."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.partitions: dict[TopicPartition, PartitionHistory] = {}
        self.digest = 0

    def of(self, topic_partition: TopicPartition) -> PartitionHistory:
        """Return the history of a partition."""
        return self.partitions.setdefault(topic_partition, PartitionHistory())

    @property
    def acknowledged(self) -> int:
        """How many records were acknowledged by all."""
        return sum(len(partition.acknowledged) for partition in self.partitions.values())

    def acknowledge(
        self, topic_partition: TopicPartition, value: bytes, offset: Offset, *, by_all: bool
    ) -> None:
        """Note that a producer was told that its record is at ``offset``."""
        partition = self.of(topic_partition)
        target = partition.acknowledged if by_all else partition.acknowledged_by_leader
        target[value] = offset
        self.digest = crc32(b"%d %b" % (offset, value), self.digest)

    def read(self, topic_partition: TopicPartition, offset: Offset, value: bytes) -> None:
        """Note that a consumer read a value, and hold it against what others read there."""
        seen = self.of(topic_partition).seen
        known = seen.setdefault(offset, value)
        if known != value:
            raise Violation(
                "ConsistentOffsets",
                f"{topic_partition} has {value!r} at {offset}, and somebody read {known!r} there",
            )
        self.digest = crc32(value, self.digest)
