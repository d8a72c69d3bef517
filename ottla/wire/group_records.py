"""The records of ``__consumer_offsets``: what the coordinator of groups remembers.

The key of each record begins with two bytes that say what it is about: 0 and 1 an offset, 2 a
classic group, 3 to 8 and 16 a group of KIP-848; its fields follow. The value begins with two bytes
for the version of its own layout. A record without a value, a tombstone, takes back what was said
under its key. Tools and Kafka's own brokers read these records, so that they are written as Kafka
writes them, down to the version.

Kafka's ``group-coordinator/src/main/resources/common/message`` defines the layouts. Unlike the
messages of requests these few are written by hand, as dataclasses.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from struct import Struct
from typing import ClassVar, Final, TypeVar
from uuid import UUID

from ottla.wire.codec import read_message, write_message
from ottla.wire.malformed import MalformedError
from ottla.wire.plan import is_within
from ottla.wire.schema import NO_UUID, Buffer, Field, Message

V = TypeVar("V", bound="RecordValue")

_PREFIX: Final = Struct(">h")

_FIRST_VERSION: Final = 0


class RecordKey(Message):
    """What a record is about."""

    __slots__ = ()
    VERSIONS: ClassVar[str] = "0"
    RECORD_TYPE: ClassVar[int]
    """What the key begins with."""


class RecordValue(Message):
    """What is said about it."""

    __slots__ = ()
    VERSIONS: ClassVar[str] = "0"
    FLEXIBLE: ClassVar[str] = "0+"
    VERSION_WRITTEN: ClassVar[int] = 0
    """The layout that Kafka writes today unless there is a reason for another."""


# --- Offsets --------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class OffsetCommitKey(RecordKey):
    """The offset that a group has reached in a partition."""

    RECORD_TYPE: ClassVar[int] = 1
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("group", "string", "0+"),
        Field("topic", "string", "0+"),
        Field("partition", "int32", "0+"),
    )
    group: str = ""
    topic: str = ""
    partition: int = 0


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class LegacyOffsetCommitKey(RecordKey):
    """The same, as it was written before Kafka 0.8.2; it means the same."""

    RECORD_TYPE: ClassVar[int] = 0
    FIELDS: ClassVar[tuple[Field, ...]] = OffsetCommitKey.FIELDS
    group: str = ""
    topic: str = ""
    partition: int = 0


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class OffsetCommitValue(RecordValue):
    """How far, and since when."""

    VERSIONS: ClassVar[str] = "0-4"
    FLEXIBLE: ClassVar[str] = "4+"
    VERSION_WRITTEN: ClassVar[int] = 4
    """Version 1 if it expires at a time of its own, which later versions do not have."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("offset", "int64", "0+"),
        Field("leader_epoch", "int32", "3+"),
        Field("metadata", "string", "0+"),
        Field("commit_timestamp_ms", "int64", "0+"),
        Field("expire_timestamp_ms", "int64", "1"),
        Field("topic_id", "uuid", "4+", tag=0, tagged="4+"),
    )
    offset: int = 0
    leader_epoch: int = -1
    metadata: str = ""
    commit_timestamp_ms: int = 0
    expire_timestamp_ms: int = -1
    topic_id: UUID = NO_UUID


# --- Classic groups -------------------------------------------------------------------


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class GroupMetadataKey(RecordKey):
    """A group whose members divide the work among themselves."""

    RECORD_TYPE: ClassVar[int] = 2
    FIELDS: ClassVar[tuple[Field, ...]] = (Field("group", "string", "0+"),)
    group: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class MemberMetadata(Message):
    """Inside :class:`GroupMetadataValue`."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("member_id", "string", "0+"),
        Field("group_instance_id", "string", "3+", nullable="3+"),
        Field("client_id", "string", "0+"),
        Field("client_host", "string", "0+"),
        Field("rebalance_timeout_ms", "int32", "1+"),
        Field("session_timeout_ms", "int32", "0+"),
        Field("subscription", "bytes", "0+"),
        Field("assignment", "bytes", "0+"),
    )
    member_id: str = ""
    group_instance_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout_ms: int = -1
    session_timeout_ms: int = 0
    subscription: bytes = b""
    assignment: bytes = b""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class GroupMetadataValue(RecordValue):
    """A generation: who is in it and what each has been given."""

    VERSIONS: ClassVar[str] = "0-4"
    FLEXIBLE: ClassVar[str] = "4+"
    VERSION_WRITTEN: ClassVar[int] = 3
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("protocol_type", "string", "0+"),
        Field("generation", "int32", "0+"),
        Field("protocol", "string", "0+", nullable="0+"),
        Field("leader", "string", "0+", nullable="0+"),
        Field("current_state_timestamp_ms", "int64", "2+"),
        Field("members", MemberMetadata, "0+", array=True),
    )
    protocol_type: str = ""
    generation: int = 0
    protocol: str | None = None
    leader: str | None = None
    current_state_timestamp_ms: int = -1
    members: list[MemberMetadata] = field(default_factory=list)


# --- Groups whose coordinator divides the work (KIP-848) --------------------------------


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupMetadataKey(RecordKey):
    """A group as such."""

    RECORD_TYPE: ClassVar[int] = 3
    FIELDS: ClassVar[tuple[Field, ...]] = (Field("group_id", "string", "0+"),)
    group_id: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupMetadataValue(RecordValue):
    """Its epoch, and (KIP-1101) a hash of the topics that its members subscribe to."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("epoch", "int32", "0+"),
        Field("metadata_hash", "int64", "0+", tag=0, tagged="0+"),
    )
    epoch: int = 0
    metadata_hash: int = 0


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupPartitionMetadataKey(RecordKey):
    """The topics that a group subscribes to; Kafka stopped writing this with 4.1 (KIP-1101)."""

    RECORD_TYPE: ClassVar[int] = 4
    FIELDS: ClassVar[tuple[Field, ...]] = (Field("group_id", "string", "0+"),)
    group_id: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class PartitionMetadata(Message):
    """Inside :class:`TopicMetadata`."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("partition", "int32", "0+"),
        Field("racks", "string", "0+", array=True),
    )
    partition: int = 0
    racks: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class TopicMetadata(Message):
    """Inside :class:`ConsumerGroupPartitionMetadataValue`."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("topic_id", "uuid", "0+"),
        Field("topic_name", "string", "0+"),
        Field("num_partitions", "int32", "0+"),
        Field("partition_metadata", PartitionMetadata, "0+", array=True),
    )
    topic_id: UUID = NO_UUID
    topic_name: str = ""
    num_partitions: int = 0
    partition_metadata: list[PartitionMetadata] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupPartitionMetadataValue(RecordValue):
    """The topics as they were when the group looked at them."""

    FIELDS: ClassVar[tuple[Field, ...]] = (Field("topics", TopicMetadata, "0+", array=True),)
    topics: list[TopicMetadata] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupMemberMetadataKey(RecordKey):
    """A member and what it told about itself."""

    RECORD_TYPE: ClassVar[int] = 5
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("group_id", "string", "0+"),
        Field("member_id", "string", "0+"),
    )
    group_id: str = ""
    member_id: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ClassicProtocol(Message):
    """Inside :class:`ClassicMemberMetadata`."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("name", "string", "0+"),
        Field("metadata", "bytes", "0+"),
    )
    name: str = ""
    metadata: bytes = b""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ClassicMemberMetadata(Message):
    """Inside :class:`ConsumerGroupMemberMetadataValue`, of one that speaks the old protocol."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("session_timeout_ms", "int32", "0+"),
        Field("supported_protocols", ClassicProtocol, "0+", array=True),
    )
    session_timeout_ms: int = 0
    supported_protocols: list[ClassicProtocol] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupMemberMetadataValue(RecordValue):
    """Where a member is and what it wants."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("instance_id", "string", "0+", nullable="0+"),
        Field("rack_id", "string", "0+", nullable="0+"),
        Field("client_id", "string", "0+"),
        Field("client_host", "string", "0+"),
        Field("subscribed_topic_names", "string", "0+", array=True),
        Field("subscribed_topic_regex", "string", "0+", nullable="0+"),
        Field("rebalance_timeout_ms", "int32", "0+"),
        Field("server_assignor", "string", "0+", nullable="0+"),
        Field(
            "classic_member_metadata",
            ClassicMemberMetadata,
            "0+",
            nullable="0+",
            tag=0,
            tagged="0+",
        ),
    )
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    subscribed_topic_names: list[str] = field(default_factory=list)
    subscribed_topic_regex: str | None = None
    rebalance_timeout_ms: int = -1
    server_assignor: str | None = None
    classic_member_metadata: ClassicMemberMetadata | None = None


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupTargetAssignmentMetadataKey(RecordKey):
    """The assignment that a group is moving to."""

    RECORD_TYPE: ClassVar[int] = 6
    FIELDS: ClassVar[tuple[Field, ...]] = (Field("group_id", "string", "0+"),)
    group_id: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupTargetAssignmentMetadataValue(RecordValue):
    """Of which epoch it is, and (KIP-1263) when it was made."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("assignment_epoch", "int32", "0+"),
        Field("assignment_timestamp_ms", "int64", "0+", tag=0, tagged="0+"),
    )
    assignment_epoch: int = 0
    assignment_timestamp_ms: int = 0


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupTargetAssignmentMemberKey(RecordKey):
    """A member's part of it."""

    RECORD_TYPE: ClassVar[int] = 7
    FIELDS: ClassVar[tuple[Field, ...]] = ConsumerGroupMemberMetadataKey.FIELDS
    group_id: str = ""
    member_id: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class TargetTopicPartitions(Message):
    """Inside :class:`ConsumerGroupTargetAssignmentMemberValue`."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("topic_id", "uuid", "0+"),
        Field("partitions", "int32", "0+", array=True),
    )
    topic_id: UUID = NO_UUID
    partitions: list[int] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupTargetAssignmentMemberValue(RecordValue):
    """The partitions that it shall have."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("topic_partitions", TargetTopicPartitions, "0+", array=True),
    )
    topic_partitions: list[TargetTopicPartitions] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupCurrentMemberAssignmentKey(RecordKey):
    """What a member has at the moment."""

    RECORD_TYPE: ClassVar[int] = 8
    FIELDS: ClassVar[tuple[Field, ...]] = ConsumerGroupMemberMetadataKey.FIELDS
    group_id: str = ""
    member_id: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class CurrentTopicPartitions(Message):
    """Inside :class:`ConsumerGroupCurrentMemberAssignmentValue`."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("topic_id", "uuid", "0+"),
        Field("partitions", "int32", "0+", array=True),
        Field("assignment_epochs", "int32", "0+", "0+", array=True, tag=0, tagged="0+"),
    )
    topic_id: UUID = NO_UUID
    partitions: list[int] = field(default_factory=list)
    assignment_epochs: list[int] | None = None


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupCurrentMemberAssignmentValue(RecordValue):
    """Its epochs, its state, what it owns and what it must give up."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("member_epoch", "int32", "0+"),
        Field("previous_member_epoch", "int32", "0+"),
        Field("state", "int8", "0+"),
        Field("assigned_partitions", CurrentTopicPartitions, "0+", array=True),
        Field("partitions_pending_revocation", CurrentTopicPartitions, "0+", array=True),
    )
    member_epoch: int = 0
    previous_member_epoch: int = 0
    state: int = 0
    assigned_partitions: list[CurrentTopicPartitions] = field(default_factory=list)
    partitions_pending_revocation: list[CurrentTopicPartitions] = field(default_factory=list)


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupRegularExpressionKey(RecordKey):
    """A regular expression by which members of a group subscribe."""

    RECORD_TYPE: ClassVar[int] = 16
    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("group_id", "string", "0+"),
        Field("regular_expression", "string", "0+"),
    )
    group_id: str = ""
    regular_expression: str = ""


@dataclass(slots=True, kw_only=True, eq=False, repr=False)
class ConsumerGroupRegularExpressionValue(RecordValue):
    """The topics that it meant, at which version of the metadata and when."""

    FIELDS: ClassVar[tuple[Field, ...]] = (
        Field("topics", "string", "0+", array=True),
        Field("version", "int64", "0+"),
        Field("timestamp_ms", "int64", "0+"),
    )
    topics: list[str] = field(default_factory=list)
    version: int = 0
    timestamp_ms: int = 0


# --- Reading and writing ------------------------------------------------------------------


VALUE_CLASSES: Final[dict[type[RecordKey], type[RecordValue]]] = {
    LegacyOffsetCommitKey: OffsetCommitValue,
    OffsetCommitKey: OffsetCommitValue,
    GroupMetadataKey: GroupMetadataValue,
    ConsumerGroupMetadataKey: ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey: ConsumerGroupPartitionMetadataValue,
    ConsumerGroupMemberMetadataKey: ConsumerGroupMemberMetadataValue,
    ConsumerGroupTargetAssignmentMetadataKey: ConsumerGroupTargetAssignmentMetadataValue,
    ConsumerGroupTargetAssignmentMemberKey: ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupCurrentMemberAssignmentKey: ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupRegularExpressionKey: ConsumerGroupRegularExpressionValue,
}
"""What kind of value belongs to each kind of key."""

KEY_CLASSES: Final = {kind.RECORD_TYPE: kind for kind in VALUE_CLASSES}
"""By what a key begins with."""


def write_record_key(key: RecordKey) -> bytes:
    """Return the key of a record."""
    return _PREFIX.pack(key.RECORD_TYPE) + write_message(key, _FIRST_VERSION)


def write_record_value(value: RecordValue, version: int | None = None) -> bytes:
    """Return the value of a record, at the version that Kafka writes unless told otherwise."""
    version = value.VERSION_WRITTEN if version is None else version
    return _PREFIX.pack(version) + write_message(value, version)


def read_record_key(content: Buffer) -> RecordKey | None:
    """Return what a record is about; ``None`` if it is something that this code does not know.

    Share groups and streams groups are such things; whoever reads the log passes over them.

    Raises:
        MalformedError: the bytes are no such key.
    """
    kind = KEY_CLASSES.get(_read_prefix(content))
    if kind is None:
        return None
    return read_message(kind, _FIRST_VERSION, memoryview(content)[_PREFIX.size :])


def read_record_value(kind: type[V], content: Buffer) -> V:
    """Return a value that belongs to a key; :data:`VALUE_CLASSES` says of which kind it is.

    Raises:
        MalformedError: the bytes are no such value, or of a version that this code does not know.
    """
    version = _read_prefix(content)
    if not is_within(version, kind.VERSIONS):
        raise MalformedError(
            f"{kind.__name__} was written at version {version}, and this broker reads"
            f" {kind.VERSIONS}; it takes a broker that is as new as the writer"
        )
    return read_message(kind, version, memoryview(content)[_PREFIX.size :])


def _read_prefix(content: Buffer) -> int:
    if len(content) < _PREFIX.size:
        raise MalformedError(f"a record of {len(content)} bytes cannot say what it is about")
    prefix: int = _PREFIX.unpack_from(content)[0]
    return prefix
