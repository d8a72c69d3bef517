"""What the simulated brokers report as it happens, to whoever checks it.

The reports are made where the fact is created, not where somebody hears of it: an acknowledgement
is reported when the leader decides to send it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ottla.controller.raft.consensus import RoleChanged
from ottla.model.ids import BrokerId, LeaderEpoch, MetadataOffset, Offset, TopicPartition
from ottla.model.image import ClusterImage
from ottla.record.batch import RecordBatch
from ottla.replication.leader import PartitionLeader
from ottla.storage.log import PartitionLog


class Watcher(Protocol):
    """Told everything that an invariant is about."""

    def raft_role(self, broker: BrokerId, change: RoleChanged) -> None:
        """A node of the quorum believes something else."""

    def metadata_applied(
        self, broker: BrokerId, index: MetadataOffset, entry: bytes, image: ClusterImage
    ) -> None:
        """A node applied an entry of the metadata log; ``image`` is what it made."""

    def log_opened(
        self, broker: BrokerId, topic_partition: TopicPartition, log: PartitionLog
    ) -> None:
        """A broker has a log, new or recovered."""

    def leads(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader: PartitionLeader,
        log: PartitionLog,
    ) -> None:
        """A broker begins to lead."""

    def leader_stepped(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader: PartitionLeader,
        log: PartitionLog,
    ) -> None:
        """A leader took an input, and its effects are about to be performed."""

    def dropped(self, broker: BrokerId, topic_partition: TopicPartition) -> None:
        """A broker gives a log up: the partition is replicated elsewhere."""

    def appended(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        batches: Sequence[RecordBatch],
    ) -> None:
        """A follower appended what its leader sent in ``leader_epoch``."""

    def produced(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        base_offset: Offset,
        batch: RecordBatch,
    ) -> None:
        """A leader appended a new batch at ``base_offset``."""

    def truncating(
        self, broker: BrokerId, topic_partition: TopicPartition, log: PartitionLog, offset: Offset
    ) -> None:
        """A follower is about to cut its log."""

    def truncated(
        self, broker: BrokerId, topic_partition: TopicPartition, log: PartitionLog
    ) -> None:
        """It did."""

    def durable(
        self, broker: BrokerId, topic_partition: TopicPartition, end_offset: Offset
    ) -> None:
        """A log is safe on disk up to here."""

    def acknowledging(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        end_offset: Offset,
    ) -> None:
        """A leader is about to answer a producer that asked for all."""

    def showing(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        high_watermark: Offset,
    ) -> None:
        """A leader shows its high watermark to a reader."""
