"""How far groups have come: the committed offsets of one shard.

An offset is committed for a group and a partition; the last one counts. What a commit says is kept
as it is, its metadata and its leader epoch included; it says which topic it was for by id as well,
so that it can be told from one for a topic of the same name that came later.

A topic need not exist for a commit. When one is deleted, so are the offsets for it.

Offsets that a transaction commits will be kept beside these, by producer, until it ends; nothing
here knows of any yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ottla.coordinator.effects import Effects, GroupRecord
from ottla.coordinator.records import StoredOffset, offset_record, offset_tombstone
from ottla.coordinator.requests import (
    NO_LEADER_EPOCH,
    CommitOffsets,
    CommittedOffset,
    OffsetToCommit,
)
from ottla.model.errors import (
    InvalidCommitOffsetSizeError,
    OffsetMetadataTooLargeError,
    OttlaError,
)
from ottla.model.ids import TopicId, TopicPartition
from ottla.model.limits import (
    COMMITTED_OFFSET_TEXT_PER_SHARD_MAX,
    COMMITTED_OFFSETS_PER_SHARD_MAX,
    GROUP_STRING_BYTES_MAX,
)


@dataclass(frozen=True, slots=True)
class Expiry:
    """Which offsets of a group are too old."""

    until_ms: int
    """Those that were committed at this time or before."""
    is_kept: Callable[[str], bool]
    """But not those of topics that the group reads."""


class CommittedOffsets:
    """The committed offsets of all groups of a shard; ``len`` counts them."""

    def __init__(self, metadata_characters_max: int) -> None:
        """Begin with none; a commit may say so much about an offset."""
        self._metadata_characters_max = metadata_characters_max
        self._groups: dict[str, dict[str, dict[int, StoredOffset]]] = {}
        self._count = 0
        self._text = 0
        """Characters of topic names and metadata."""

    def __repr__(self) -> str:
        return f"<CommittedOffsets {self._count} of {len(self._groups)} groups>"

    def __len__(self) -> int:
        return self._count

    @property
    def group_ids(self) -> Iterable[str]:
        """The groups that have committed something."""
        return self._groups.keys()

    def count(self, group_id: str) -> int:
        """Return how many offsets a group has committed."""
        return sum(len(partitions) for partitions in self._groups.get(group_id, {}).values())

    def has_any(self, group_id: str) -> bool:
        """Return whether a group has committed anything."""
        return group_id in self._groups

    def get(self, group_id: str, topic_partition: TopicPartition) -> StoredOffset | None:
        """Return what a group has committed for a partition."""
        topics = self._groups.get(group_id)
        if topics is None:
            return None
        return topics.get(topic_partition.topic, {}).get(topic_partition.partition)

    # --- What is asked for ---

    def commit(
        self,
        request: CommitOffsets,
        refused: Sequence[OttlaError | None],
        topic_id_of: Callable[[str], TopicId | None],
        now_ms: int,
        effects: Effects,
    ) -> list[OttlaError | None]:
        """Commit what a group may commit; return an outcome for each.

        What is refused already has an error in ``refused``, which may be empty if nothing is.
        """
        outcomes: list[OttlaError | None] = []
        for index, asked in enumerate(request.offsets):
            error = refused[index] if refused else None
            if error is None:
                error = self._refusal(request.group_id, asked)
            outcomes.append(error)
            if error is not None:
                continue
            topic_id = asked.topic_id
            stored = StoredOffset(
                offset=asked.offset,
                # Anything below zero is none; clients have sent -2147483648, and got it back.
                leader_epoch=asked.leader_epoch if asked.leader_epoch >= 0 else NO_LEADER_EPOCH,
                metadata=asked.metadata,
                commit_timestamp_ms=now_ms,
                topic_id=topic_id_of(asked.topic_partition.topic) if topic_id is None else topic_id,
            )
            self.put(request.group_id, asked.topic_partition, stored)
            effects.records.append(offset_record(request.group_id, asked.topic_partition, stored))
        return outcomes

    def _refusal(self, group_id: str, asked: OffsetToCommit) -> OttlaError | None:
        topic_partition, metadata = asked.topic_partition, asked.metadata
        too_long = len(metadata.encode()) > GROUP_STRING_BYTES_MAX
        if too_long or len(metadata) > self._metadata_characters_max:
            return OffsetMetadataTooLargeError(
                f"Group {group_id!r} says {len(metadata)} characters about its offset of"
                f" {topic_partition}; offset.metadata.max.bytes allows"
                f" {self._metadata_characters_max}."
            )
        if len(topic_partition.topic.encode()) > GROUP_STRING_BYTES_MAX:
            return InvalidCommitOffsetSizeError(
                f"The name of a topic has at most {GROUP_STRING_BYTES_MAX} bytes in a commit."
            )
        is_new = self.get(group_id, topic_partition) is None
        text = self._text + len(metadata) + (len(topic_partition.topic) if is_new else 0)
        full = is_new and self._count >= COMMITTED_OFFSETS_PER_SHARD_MAX
        if full or text > COMMITTED_OFFSET_TEXT_PER_SHARD_MAX:
            return InvalidCommitOffsetSizeError(
                f"The coordinator of group {group_id!r} has {self._count} committed offsets with"
                f" {self._text} characters of names and metadata, and takes no more. Delete groups"
                " that nobody uses, or set offsets.topic.num.partitions higher in a new cluster."
            )
        return None

    def fetch(
        self, group_id: str, partitions: Sequence[TopicPartition] | None
    ) -> list[CommittedOffset]:
        """Return what a group has committed for these partitions, or for all."""
        if partitions is None:
            return [
                _committed(topic_partition, stored)
                for topic_partition, stored in self._of_group(group_id)
            ]
        return [_committed(one, self.get(group_id, one)) for one in partitions]

    def delete(self, group_id: str, partitions: Iterable[TopicPartition], effects: Effects) -> None:
        """Forget what a group has committed for some partitions, if anything."""
        for topic_partition in partitions:
            if self.remove(group_id, topic_partition):
                effects.records.append(offset_tombstone(group_id, topic_partition))

    def delete_group(self, group_id: str, effects: Effects) -> None:
        """Forget everything that a group has committed."""
        self.delete(group_id, [one for one, _ in self._of_group(group_id)], effects)

    # --- What happens to them ---

    def expire(self, group_id: str, expiry: Expiry, effects: Effects) -> None:
        """Forget what a group committed too long ago."""
        self.delete(
            group_id,
            [
                topic_partition
                for topic_partition, stored in self._of_group(group_id)
                if stored.commit_timestamp_ms <= expiry.until_ms
                and not expiry.is_kept(topic_partition.topic)
            ],
            effects,
        )

    def topics_deleted(self, deleted: Mapping[str, Iterable[TopicId]], effects: Effects) -> None:
        """Forget what was committed for topics that are no more, given by name."""
        for group_id, topics in list(self._groups.items()):
            for topic in deleted.keys() & topics.keys():
                gone = [
                    TopicPartition(topic, partition)
                    for partition, stored in topics[topic].items()
                    if stored.topic_id is None or stored.topic_id in deleted[topic]
                ]
                self.delete(group_id, gone, effects)

    # --- The log ---

    def put(self, group_id: str, topic_partition: TopicPartition, stored: StoredOffset) -> None:
        """Take note of a commit that is, or will be, in the log."""
        topic, partition = topic_partition
        partitions = self._groups.setdefault(group_id, {}).setdefault(topic, {})
        before = partitions.get(partition)
        if before is None:
            self._count += 1
            self._text += len(topic)
        else:
            self._text -= len(before.metadata)
        partitions[partition] = stored
        self._text += len(stored.metadata)

    def remove(self, group_id: str, topic_partition: TopicPartition) -> bool:
        """Forget a commit; return whether there was one."""
        stored = self.get(group_id, topic_partition)
        if stored is None:
            return False
        topics = self._groups[group_id]
        partitions = topics[topic_partition.topic]
        del partitions[topic_partition.partition]
        if not partitions:
            del topics[topic_partition.topic]
        if not topics:
            del self._groups[group_id]
        self._count -= 1
        self._text -= len(topic_partition.topic) + len(stored.metadata)
        return True

    def records(self) -> Iterator[GroupRecord]:
        """Yield what the log must say; commits may come in between."""
        for group_id in list(self._groups):
            for topic_partition in [one for one, _ in self._of_group(group_id)]:
                stored = self.get(group_id, topic_partition)
                if stored is not None:
                    yield offset_record(group_id, topic_partition, stored)

    def _of_group(self, group_id: str) -> Iterator[tuple[TopicPartition, StoredOffset]]:
        for topic, partitions in self._groups.get(group_id, {}).items():
            for partition, stored in partitions.items():
                yield TopicPartition(topic, partition), stored


def _committed(topic_partition: TopicPartition, stored: StoredOffset | None) -> CommittedOffset:
    if stored is None:
        return CommittedOffset(topic_partition=topic_partition)
    return CommittedOffset(
        topic_partition=topic_partition,
        offset=stored.offset,
        leader_epoch=stored.leader_epoch,
        metadata=stored.metadata,
        commit_timestamp_ms=stored.commit_timestamp_ms,
    )
