"""What must be true at every moment, checked where it could become false.

Each check has the name that docs/simulation.md explains, mostly that of the published models of
the same protocols (Raft's paper; the TLA+ models of Kafka's replication and of KIP-966).
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

from ottla.controller.raft.consensus import Role, RoleChanged
from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, MetadataOffset, Offset, TopicPartition
from ottla.model.image import ClusterImage, PartitionImage, TopicImage
from ottla.record.batch import RecordBatch
from ottla.replication.leader import PartitionLeader
from ottla.simulation.hosting import MIN_INSYNC_KEY, WRITE_CACHING_KEY
from ottla.simulation.ledger import Ledger
from ottla.simulation.world import Violation
from ottla.storage.log import PartitionLog


class Invariants:
    """Looks on, and raises :exc:`Violation`. Implements :class:`~.watcher.Watcher`."""

    def __init__(self) -> None:
        """Know of nothing."""
        self.ledgers: dict[TopicPartition, Ledger] = {}
        self.image = ClusterImage(cluster_id="")
        """The newest that any broker has."""
        self._raft_leaders: dict[int, BrokerId] = {}
        self._entries: dict[MetadataOffset, int] = {}

    def ledger(self, topic_partition: TopicPartition) -> Ledger:
        """Return what is known of a partition."""
        ledger = self.ledgers.get(topic_partition)
        if ledger is None:
            ledger = self.ledgers[topic_partition] = Ledger(topic_partition)
        return ledger

    # --- The metadata quorum ---

    def raft_role(self, broker: BrokerId, change: RoleChanged) -> None:
        """One leader a term."""
        if change.role is Role.LEADER:
            leader = self._raft_leaders.setdefault(change.term, broker)
            if leader != broker:
                raise Violation("ElectionSafety", f"{broker} and {leader} lead term {change.term}")

    def metadata_applied(
        self, broker: BrokerId, index: MetadataOffset, entry: bytes, image: ClusterImage
    ) -> None:
        """One entry at an index, and what the newest one makes of the partitions."""
        checksum = crc32(entry)
        known = self._entries.setdefault(index, checksum)
        if known != checksum:
            raise Violation("MetadataLogMatching", f"broker {broker} has another entry at {index}")
        if index > self.image.metadata_offset:
            for name, topic in image.topics.items():
                if self.image.topics.get(name) is not topic:
                    for number, partition in enumerate(topic.partitions):
                        self._partition_changed(topic, number, partition)
            self.image = image

    def _partition_changed(self, topic: TopicImage, number: int, partition: PartitionImage) -> None:
        ledger = self.ledger(TopicPartition(topic.name, number))
        in_sync, eligible = partition.in_sync_replicas, partition.eligible_leader_replicas
        if partition.leader != NO_BROKER and partition.leader not in in_sync:
            raise Violation("LeaderInIsr", f"{ledger.topic_partition}: {partition}")
        if not in_sync and not eligible:
            raise Violation("SomebodyMayLead", f"{ledger.topic_partition}: {partition}")
        needed = partition.min_insync_needed(int(topic.configs.get(MIN_INSYNC_KEY, "1")))
        ledger.min_insync_needed = needed
        ledger.write_caching = topic.configs.get(WRITE_CACHING_KEY) == "true"
        if eligible and len(in_sync) >= needed:
            raise Violation("EligibleOnlyBelowMinIsr", f"{ledger.topic_partition}: {partition}")
        ledger.image = partition

    # --- Logs ---

    def log_opened(
        self, broker: BrokerId, topic_partition: TopicPartition, log: PartitionLog
    ) -> None:
        """What was durable is still there."""
        ledger = self.ledger(topic_partition)
        ledger.opened(broker, log)
        if broker in ledger.lossy:
            ledger.lossy.discard(broker)
            ledger.durable[broker] = Offset(0)
        durable = ledger.durable.get(broker, Offset(0))
        if log.log_end_offset < durable:
            raise Violation("DurableSurvives", f"broker {broker}: {log}, {durable} was durable")
        end_offset = log.log_end_offset if ledger.write_caching else log.recovery_point
        ledger.durable[broker] = max(durable, end_offset)

    def dropped(self, broker: BrokerId, topic_partition: TopicPartition) -> None:
        """Expect nothing of a log that was given up."""
        self.ledger(topic_partition).durable.pop(broker, None)

    def wiped(self, broker: BrokerId) -> None:
        """Expect nothing of a broker that got an empty disk, or lost what it had not synced."""
        for ledger in self.ledgers.values():
            ledger.lossy.add(broker)

    def appended(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        batches: Sequence[RecordBatch],
    ) -> None:
        """What a follower copies is what a leader wrote, in the leader's epoch or before."""
        ledger = self.ledger(topic_partition)
        for batch in batches:
            header = batch.header
            epoch = header.partition_leader_epoch
            if epoch > leader_epoch:
                raise Violation("EpochsOfTheFollowed", f"{batch} from a leader of {leader_epoch}")
            ledger.write(broker, header.base_offset, epoch, header.next_offset, batch)
        self._held(ledger, broker, batches[-1].header.next_offset)

    def produced(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        base_offset: Offset,
        batch: RecordBatch,
    ) -> None:
        """A leader writes a batch once at an offset."""
        next_offset = base_offset + batch.header.last_offset_delta + 1
        ledger = self.ledger(topic_partition)
        ledger.write(broker, base_offset, leader_epoch, next_offset, batch)
        self._held(ledger, broker, next_offset)

    def _held(self, ledger: Ledger, broker: BrokerId, end_offset: int) -> None:
        """With write caching, what is in the page cache counts as if it were on the disk."""
        if ledger.write_caching:
            ledger.durable[broker] = Offset(end_offset)

    def truncating(
        self, broker: BrokerId, topic_partition: TopicPartition, log: PartitionLog, offset: Offset
    ) -> None:
        """Nothing that is committed is cut off."""
        ledger = self.ledger(topic_partition)
        if ledger.would_lose(log, offset):
            raise Violation(
                "CommittedIsKept",
                f"broker {broker} cuts {topic_partition} to {offset}, and everything below "
                f"{ledger.committed_end} is committed",
            )
        # It may die in the midst of it.
        ledger.durable[broker] = min(ledger.durable.get(broker, Offset(0)), offset)

    def truncated(
        self, broker: BrokerId, topic_partition: TopicPartition, log: PartitionLog
    ) -> None:
        """See what a log that was cut ends with."""
        self.ledger(topic_partition).opened(broker, log)

    def durable(
        self, broker: BrokerId, topic_partition: TopicPartition, end_offset: Offset
    ) -> None:
        """Know what is safe."""
        ledger = self.ledger(topic_partition)
        if not ledger.write_caching:
            ledger.durable[broker] = end_offset

    # --- Leaders ---

    def leads(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader: PartitionLeader,
        log: PartitionLog,
    ) -> None:
        """One leader an epoch, and it has everything that is committed."""
        ledger = self.ledger(topic_partition)
        epoch = leader.leader_epoch
        other = ledger.leaders.setdefault(epoch, broker)
        if other != broker:
            raise Violation(
                "OneLeaderPerEpoch", f"{broker} and {other} lead {topic_partition} in {epoch}"
            )
        is_newest = ledger.image is None or epoch >= ledger.image.leader_epoch
        if is_newest and not ledger.has_committed(log):
            raise Violation(
                "LeaderCompleteness",
                f"broker {broker} leads {topic_partition} in epoch {epoch} with {log}, and "
                f"everything below {ledger.committed_end} is committed",
            )

    def leader_stepped(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader: PartitionLeader,
        log: PartitionLog,
    ) -> None:
        """Learn what is committed; whoever may be elected counts."""
        ledger = self.ledger(topic_partition)
        if leader.high_watermark > ledger.committed_end:
            ledger.commit(log, leader.high_watermark)
        image = ledger.image
        if image is None or image.leader_epoch != leader.leader_epoch or image.leader != broker:
            return
        missing = set(image.in_sync_replicas) - leader.isr
        if missing:
            statistics = leader.statistics()
            if not missing <= (statistics.proposed_isr or frozenset()):
                raise Violation(
                    "ReplicationQuorumSuperset",
                    f"the controller has {missing} in sync for {topic_partition}, and {leader} "
                    "does not count them",
                )

    def acknowledging(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        end_offset: Offset,
    ) -> None:
        """What is acknowledged to all is on the disks of all that are in sync, and of enough."""
        ledger = self.ledger(topic_partition)
        image = ledger.image
        if image is None:
            return
        holders = {replica for replica, end in ledger.durable.items() if end >= end_offset}
        needed = ledger.min_insync_needed
        lacking = set(image.in_sync_replicas) - holders
        if lacking or len(holders) < needed:
            raise Violation(
                "AcknowledgedIsDurable",
                f"broker {broker} acknowledges {topic_partition} below {end_offset}; durable "
                f"are {ledger.durable}, in sync {image.in_sync_replicas}, {needed} needed",
            )

    def showing(
        self,
        broker: BrokerId,
        topic_partition: TopicPartition,
        leader_epoch: LeaderEpoch,
        high_watermark: Offset,
    ) -> None:
        """No reader sees the high watermark go back."""
        shown = self.ledger(topic_partition).shown
        lowest, highest = shown.get(leader_epoch, (high_watermark, high_watermark))
        if high_watermark < highest:
            raise Violation(
                "ShownHighWatermarkRises",
                f"broker {broker} showed {highest} and then {high_watermark} of {topic_partition}",
            )
        shown[leader_epoch] = (lowest, high_watermark)
        for epoch, (low, high) in shown.items():
            earlier_higher = epoch < leader_epoch and high > high_watermark
            later_lower = epoch > leader_epoch and low < high_watermark
            if earlier_higher or later_lower:
                raise Violation(
                    "ShownHighWatermarkRises",
                    f"{topic_partition}: epoch {leader_epoch} shows {high_watermark}, and epoch "
                    f"{epoch} has shown {low} to {high}",
                )
