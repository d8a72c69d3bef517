"""The records of classic groups and of committed offsets: our words for them, and Kafka's bytes.

:mod:`ottla.wire.group_records` has the formats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ottla.coordinator.effects import GroupRecord
from ottla.model.ids import LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.wire.group_records import (
    GroupMetadataKey,
    GroupMetadataValue,
    MemberMetadata,
    OffsetCommitKey,
    OffsetCommitValue,
    read_record_value,
    write_record_key,
    write_record_value,
)
from ottla.wire.schema import NO_UUID

_NO_LEADER_EPOCH: Final = LeaderEpoch(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOffset:
    """One committed offset."""

    offset: Offset
    leader_epoch: LeaderEpoch
    metadata: str
    commit_timestamp_ms: int
    topic_id: TopicId | None
    """``None``: nobody knew which topic of that name was meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMember:
    """One member of a classic group."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    """Negative in records of very old brokers: the session timeout is meant."""
    session_timeout_ms: int
    subscription: bytes
    """In the protocol that the group has chosen."""
    assignment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredGroup:
    """One generation of a classic group."""

    protocol_type: str
    generation_id: int
    protocol_name: str | None
    leader_id: str | None
    state_since_ms: int
    """-1 in records of very old brokers."""
    members: tuple[StoredMember, ...]


def offset_record(
    group_id: str, topic_partition: TopicPartition, stored: StoredOffset
) -> GroupRecord:
    """Return the record of a commit."""
    value = OffsetCommitValue(
        offset=stored.offset,
        leader_epoch=stored.leader_epoch,
        metadata=stored.metadata,
        commit_timestamp_ms=stored.commit_timestamp_ms,
        topic_id=NO_UUID if stored.topic_id is None else stored.topic_id,
    )
    return GroupRecord(_offset_key(group_id, topic_partition), write_record_value(value))


def offset_tombstone(group_id: str, topic_partition: TopicPartition) -> GroupRecord:
    """Return the record that takes a commit back."""
    return GroupRecord(_offset_key(group_id, topic_partition), None)


def read_offset(content: bytes) -> StoredOffset:
    """Read the value of a commit. Raises :exc:`~ottla.wire.malformed.MalformedError`."""
    value = read_record_value(OffsetCommitValue, content)
    return StoredOffset(
        offset=Offset(value.offset),
        leader_epoch=LeaderEpoch(max(value.leader_epoch, _NO_LEADER_EPOCH)),
        metadata=value.metadata,
        commit_timestamp_ms=value.commit_timestamp_ms,
        topic_id=None if value.topic_id == NO_UUID else TopicId(value.topic_id),
    )


def group_record(group_id: str, stored: StoredGroup) -> GroupRecord:
    """Return the record of a generation."""
    value = GroupMetadataValue(
        protocol_type=stored.protocol_type,
        generation=stored.generation_id,
        protocol=stored.protocol_name,
        leader=stored.leader_id,
        current_state_timestamp_ms=stored.state_since_ms,
        members=[
            MemberMetadata(
                member_id=one.member_id,
                group_instance_id=one.group_instance_id,
                client_id=one.client_id,
                client_host=one.client_host,
                rebalance_timeout_ms=one.rebalance_timeout_ms,
                session_timeout_ms=one.session_timeout_ms,
                subscription=one.subscription,
                assignment=one.assignment,
            )
            for one in stored.members
        ],
    )
    return GroupRecord(_group_key(group_id), write_record_value(value))


def group_tombstone(group_id: str) -> GroupRecord:
    """Return the record that forgets a classic group."""
    return GroupRecord(_group_key(group_id), None)


def read_group(content: bytes) -> StoredGroup:
    """Read the value of a generation. Raises :exc:`~ottla.wire.malformed.MalformedError`."""
    value = read_record_value(GroupMetadataValue, content)
    return StoredGroup(
        protocol_type=value.protocol_type,
        generation_id=value.generation,
        protocol_name=value.protocol,
        leader_id=value.leader,
        state_since_ms=value.current_state_timestamp_ms,
        members=tuple(
            StoredMember(
                member_id=one.member_id,
                group_instance_id=one.group_instance_id,
                client_id=one.client_id,
                client_host=one.client_host,
                rebalance_timeout_ms=one.rebalance_timeout_ms,
                session_timeout_ms=one.session_timeout_ms,
                subscription=bytes(one.subscription),
                assignment=bytes(one.assignment),
            )
            for one in value.members
        ),
    )


def _offset_key(group_id: str, topic_partition: TopicPartition) -> bytes:
    return write_record_key(
        OffsetCommitKey(
            group=group_id, topic=topic_partition.topic, partition=topic_partition.partition
        )
    )


def _group_key(group_id: str) -> bytes:
    return write_record_key(GroupMetadataKey(group=group_id))
