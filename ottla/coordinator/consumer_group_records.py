"""The records of a consumer group: our words for them, and Kafka's bytes.

A group has one record for its epoch and one for the epoch of its target; each member has one for
what it told about itself, one for what it has and one for what it shall have; and each regular
expression has one. :mod:`ottla.wire.group_records` has the formats.

:class:`ReplayedGroup` is what the log says so far while it is read. It relates nothing to anything:
records of different keys come in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from ottla.coordinator.assignment import Assigned, Partitions
from ottla.coordinator.consumer_member import MemberProfile
from ottla.coordinator.current_assignment import CurrentAssignment, MemberState
from ottla.coordinator.effects import GroupRecord
from ottla.model.ids import TopicId
from ottla.model.limits import CONSUMER_SUBSCRIPTION_BYTES_MAX
from ottla.wire.group_records import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
    CurrentTopicPartitions,
    RecordKey,
    RecordValue,
    TargetTopicPartitions,
    write_record_key,
    write_record_value,
)

Piece = TypeVar("Piece")

_STATES: Final = frozenset(map(int, MemberState))

# --- Writing ----------------------------------------------------------------------------


def epoch_record(group_id: str, *, epoch: int, metadata_hash: int) -> GroupRecord:
    """Return the record of a group's epoch."""
    value = ConsumerGroupMetadataValue(epoch=epoch, metadata_hash=metadata_hash)
    return _record(ConsumerGroupMetadataKey(group_id=group_id), value)


def target_epoch_record(group_id: str, *, epoch: int, divided_at_ms: int) -> GroupRecord:
    """Return the record of the epoch that the targets of a group's members are of."""
    value = ConsumerGroupTargetAssignmentMetadataValue(
        assignment_epoch=epoch, assignment_timestamp_ms=divided_at_ms
    )
    return _record(ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id), value)


def profile_record(group_id: str, member_id: str, profile: MemberProfile) -> GroupRecord:
    """Return the record of what a member told about itself."""
    value = ConsumerGroupMemberMetadataValue(
        instance_id=profile.group_instance_id,
        rack_id=profile.rack_id,
        client_id=profile.client_id,
        client_host=profile.client_host,
        subscribed_topic_names=sorted(profile.topic_names),
        subscribed_topic_regex=profile.topic_expression,
        rebalance_timeout_ms=profile.rebalance_timeout_ms,
        server_assignor=profile.server_assignor,
    )
    key = ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id)
    return _record(key, value)


def target_record(group_id: str, member_id: str, target: Partitions) -> GroupRecord:
    """Return the record of what a member shall have."""
    value = ConsumerGroupTargetAssignmentMemberValue(
        topic_partitions=[
            TargetTopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
            for topic_id, partitions in target.items()
        ]
    )
    key = ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id)
    return _record(key, value)


def current_record(group_id: str, member_id: str, current: CurrentAssignment) -> GroupRecord:
    """Return the record of what a member has."""
    value = ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=current.member_epoch,
        previous_member_epoch=current.previous_member_epoch,
        state=int(current.state),
        assigned_partitions=_with_epochs(current.assigned),
        partitions_pending_revocation=_with_epochs(current.pending_revocation),
    )
    key = ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id)
    return _record(key, value)


def expression_record(
    group_id: str, expression: str, topics: Iterable[str], *, version: int, resolved_at_ms: int
) -> GroupRecord:
    """Return the record of the topics that a regular expression means.

    They are for people who read the log. A coordinator compares the expression with the topics
    that there are by then, so that it matters little if a great many are cut short.
    """
    named: list[str] = []
    room = CONSUMER_SUBSCRIPTION_BYTES_MAX
    for topic in sorted(topics):
        room -= len(topic)
        if room < 0:
            break
        named.append(topic)
    value = ConsumerGroupRegularExpressionValue(
        topics=named, version=version, timestamp_ms=resolved_at_ms
    )
    key = ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=expression)
    return _record(key, value)


def expression_tombstone(group_id: str, expression: str) -> GroupRecord:
    """Return the record that says that nobody subscribes by an expression any more."""
    key = ConsumerGroupRegularExpressionKey(group_id=group_id, regular_expression=expression)
    return GroupRecord(write_record_key(key), None)


def member_tombstones(group_id: str, member_id: str) -> list[GroupRecord]:
    """Return the records that forget a member. What it has comes first."""
    keys: tuple[RecordKey, ...] = (
        ConsumerGroupCurrentMemberAssignmentKey(group_id=group_id, member_id=member_id),
        ConsumerGroupTargetAssignmentMemberKey(group_id=group_id, member_id=member_id),
        ConsumerGroupMemberMetadataKey(group_id=group_id, member_id=member_id),
    )
    return [GroupRecord(write_record_key(key), None) for key in keys]


def group_tombstones(group_id: str) -> list[GroupRecord]:
    """Return the records that forget a group without members."""
    keys: tuple[RecordKey, ...] = (
        ConsumerGroupTargetAssignmentMetadataKey(group_id=group_id),
        ConsumerGroupMetadataKey(group_id=group_id),
    )
    return [GroupRecord(write_record_key(key), None) for key in keys]


def _record(key: RecordKey, value: RecordValue) -> GroupRecord:
    return GroupRecord(write_record_key(key), write_record_value(value))


def _with_epochs(assigned: Assigned) -> list[CurrentTopicPartitions]:
    return [
        CurrentTopicPartitions(
            topic_id=topic_id,
            partitions=list(epochs),
            assignment_epochs=list(epochs.values()),
        )
        for topic_id, epochs in assigned.items()
    ]


# --- Reading ----------------------------------------------------------------------------


class ReplayedGroup:
    """What the log says of a group, key by key."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.epoch: tuple[int, int] | None = None
        """Of the group, with the hash of its topics."""
        self.target_epoch: tuple[int, int] | None = None
        """Of the targets, with when they were made."""
        self.profiles: dict[str, MemberProfile] = {}
        self.currents: dict[str, CurrentAssignment] = {}
        self.targets: dict[str, Mapping[TopicId, frozenset[int]]] = {}
        self.expressions: set[str] = set()

    @property
    def is_unknown(self) -> bool:
        """The log says nothing that still holds."""
        return (self.epoch, self.target_epoch) == (None, None) and not (
            self.profiles or self.currents or self.targets or self.expressions
        )

    def replay(self, key: RecordKey, value: RecordValue | None) -> None:
        """Take what a record says; without a value, take back what was said under its key."""
        match key:
            case ConsumerGroupMetadataKey():
                self.epoch = _read_epoch(value)
            case ConsumerGroupTargetAssignmentMetadataKey():
                self.target_epoch = _read_target_epoch(value)
            case ConsumerGroupMemberMetadataKey():
                _put(self.profiles, key.member_id, _read_profile(value))
            case ConsumerGroupCurrentMemberAssignmentKey():
                _put(self.currents, key.member_id, _read_current(value))
            case ConsumerGroupTargetAssignmentMemberKey():
                _put(self.targets, key.member_id, _read_target(value))
            case ConsumerGroupRegularExpressionKey():
                self._replay_expression(key.regular_expression, value)
            case ConsumerGroupPartitionMetadataKey():
                """Kafka wrote this before 4.1; the hash in the record of the epoch replaced it."""
            case _:
                raise AssertionError(key)

    def _replay_expression(self, expression: str, value: RecordValue | None) -> None:
        if value is None:
            self.expressions.discard(expression)
        else:
            self.expressions.add(expression)


def _put(pieces: dict[str, Piece], member_id: str, piece: Piece | None) -> None:
    if piece is None:
        pieces.pop(member_id, None)
    else:
        pieces[member_id] = piece


def _read_epoch(value: RecordValue | None) -> tuple[int, int] | None:
    if value is None:
        return None
    assert isinstance(value, ConsumerGroupMetadataValue)
    return value.epoch, value.metadata_hash


def _read_target_epoch(value: RecordValue | None) -> tuple[int, int] | None:
    if value is None:
        return None
    assert isinstance(value, ConsumerGroupTargetAssignmentMetadataValue)
    return value.assignment_epoch, value.assignment_timestamp_ms


def _read_profile(value: RecordValue | None) -> MemberProfile | None:
    if value is None:
        return None
    assert isinstance(value, ConsumerGroupMemberMetadataValue)
    return MemberProfile(
        group_instance_id=value.instance_id,
        rack_id=value.rack_id,
        client_id=value.client_id,
        client_host=value.client_host,
        topic_names=frozenset(value.subscribed_topic_names),
        topic_expression=value.subscribed_topic_regex or "",
        rebalance_timeout_ms=value.rebalance_timeout_ms,
        server_assignor=value.server_assignor,
    )


def _read_current(value: RecordValue | None) -> CurrentAssignment | None:
    if value is None:
        return None
    assert isinstance(value, ConsumerGroupCurrentMemberAssignmentValue)
    if value.state not in _STATES:
        # A later version of Kafka wrote it. The member is fenced, and joins anew.
        return None
    return CurrentAssignment(
        member_epoch=value.member_epoch,
        previous_member_epoch=value.previous_member_epoch,
        state=MemberState(value.state),
        assigned=_read_with_epochs(value.assigned_partitions, value.member_epoch),
        pending_revocation=_read_with_epochs(
            value.partitions_pending_revocation, value.member_epoch
        ),
    )


def _read_target(value: RecordValue | None) -> Mapping[TopicId, frozenset[int]] | None:
    if value is None:
        return None
    assert isinstance(value, ConsumerGroupTargetAssignmentMemberValue)
    return {TopicId(one.topic_id): frozenset(one.partitions) for one in value.topic_partitions}


def _read_with_epochs(
    topics: Iterable[CurrentTopicPartitions], member_epoch: int
) -> dict[TopicId, dict[int, int]]:
    # Kafka before 4.3 did not say since when a member has a partition.
    return {
        TopicId(one.topic_id): (
            dict.fromkeys(one.partitions, member_epoch)
            if one.assignment_epochs is None
            else dict(zip(one.partitions, one.assignment_epochs, strict=True))
        )
        for one in topics
    }
