"""How a shard comes to know what its log says.

Records are taken one by one, in order. Those of one key replace each other; of the order of
different keys nothing is expected (see :meth:`~ottla.coordinator.shard.GroupShard.live_records`).
So offsets may come before the group that they are of, which is why groups of which there is
nothing else are made at the end. A classic group is one record, of which only the last counts. If
the log should have a classic group and a consumer group of the same id, which no
coordinator writes, the consumer group stays.
"""

from __future__ import annotations

from ottla.coordinator.effects import Effects, GroupRecord
from ottla.coordinator.group_table import GroupTable
from ottla.coordinator.offsets import CommittedOffsets
from ottla.coordinator.records import StoredGroup, read_group, read_offset
from ottla.model.ids import TopicPartition
from ottla.model.image import ClusterImage
from ottla.wire.group_records import (
    VALUE_CLASSES,
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMetadataKey,
    GroupMetadataKey,
    LegacyOffsetCommitKey,
    OffsetCommitKey,
    read_record_key,
    read_record_value,
)

ConsumerGroupKey = (
    ConsumerGroupMetadataKey
    | ConsumerGroupPartitionMetadataKey
    | ConsumerGroupMemberMetadataKey
    | ConsumerGroupTargetAssignmentMetadataKey
    | ConsumerGroupTargetAssignmentMemberKey
    | ConsumerGroupCurrentMemberAssignmentKey
    | ConsumerGroupRegularExpressionKey
)


class ShardLoading:
    """Reads records into a shard's groups and offsets."""

    def __init__(self, groups: GroupTable, offsets: CommittedOffsets) -> None:
        """Begin with a log of which nothing has been read."""
        self._groups = groups
        self._offsets = offsets
        self._classic: dict[str, tuple[GroupRecord, StoredGroup]] = {}

    def replay(self, key: bytes, value: bytes | None, image: ClusterImage) -> None:
        """Take note of a record. Raises :exc:`~ottla.wire.malformed.MalformedError`."""
        about = read_record_key(key)
        if isinstance(about, OffsetCommitKey | LegacyOffsetCommitKey):
            topic_partition = TopicPartition(about.topic, about.partition)
            if value is None:
                self._offsets.remove(about.group, topic_partition)
            else:
                self._offsets.put(about.group, topic_partition, read_offset(value))
        elif isinstance(about, GroupMetadataKey):
            if value is None:
                self._classic.pop(about.group, None)
            else:
                record = GroupRecord(bytes(key), bytes(value))
                self._classic[about.group] = record, read_group(value)
        elif isinstance(about, ConsumerGroupKey):
            self._replay_consumer(about, value, image)

    def _replay_consumer(
        self, about: ConsumerGroupKey, value: bytes | None, image: ClusterImage
    ) -> None:
        group = self._groups.consumer(about.group_id)
        if value is not None:
            if group is None:
                group = self._groups.make_consumer(about.group_id, image)
                self._groups.keep(group)
            group.replay(about, read_record_value(VALUE_CLASSES[type(about)], value))
        elif group is not None:
            group.replay(about, None)
            if group.is_unknown:
                self._groups.forget(about.group_id)

    def finish(self, now_ms: int, effects: Effects) -> None:
        """Let the groups begin, now that everything has been read."""
        for group_id, (record, stored) in self._classic.items():
            if self._groups.consumer(group_id) is None:
                group = self._groups.make_classic(group_id, now_ms)
                group.restore(stored, record)
                group.loaded(now_ms, effects)
        for consumer_group in self._groups.consumers():
            consumer_group.loaded(now_ms)
        for group_id in self._offsets.group_ids:
            if self._groups.get(group_id) is None:
                self._groups.make_classic(group_id, now_ms)
        for group_id in self._groups.group_ids():
            self._groups.look_after(group_id, now_ms)
