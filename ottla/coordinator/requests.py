"""What a group coordinator can be asked, and what it answers.

Plain values, the same for both doors: Kafka's protocol and gRPC translate into them and back. Each
request names its group and says, by its type, what it is answered with. A request that is refused
as a whole is answered with an :exc:`~ottla.model.errors.OttlaError`; where one request is about
many things (partitions, members), each has a result of its own.

Three kinds of group share the values here:

* *classic* groups (``JoinGroup``, ``SyncGroup``, ``Heartbeat``, ``LeaveGroup``): members elect a
  leader among them, which assigns; the coordinator carries its assignments and never looks inside;
* *consumer* groups (``ConsumerHeartbeat``, KIP-848): the coordinator assigns, and tells every
  member what is its own in the answers to its heartbeats;
* groups without members, which only have offsets.

Times are milliseconds, end offsets are exclusive. ``None`` for a group instance id: the member is
dynamic (KIP-345 has the static ones).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Generic, TypeVar

from ottla.model.errors import OttlaError
from ottla.model.ids import NO_OFFSET, LeaderEpoch, Offset, TopicId, TopicPartition

Answer_co = TypeVar("Answer_co", covariant=True)

NO_GENERATION: Final = -1
"""Of who commits without being a member."""

NO_LEADER_EPOCH: Final = LeaderEpoch(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRequest(Generic[Answer_co]):
    """A request to one group, by what it is answered with."""

    group_id: str


class GroupType(Enum):
    """The values are Kafka's."""

    CLASSIC = "classic"
    CONSUMER = "consumer"


# --- Classic groups -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberProtocol:
    """A way of assigning that a member knows; its subscription is inside ``metadata``."""

    name: str
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinGroup(GroupRequest["Joined"]):
    """Join, or join again. Answered once all members have joined or were waited for in vain.

    Errors: ``INVALID_GROUP_ID``, ``INVALID_SESSION_TIMEOUT``, ``INCONSISTENT_GROUP_PROTOCOL``,
    ``UNKNOWN_MEMBER_ID``, ``FENCED_INSTANCE_ID``, ``GROUP_MAX_SIZE_REACHED``, and
    ``MEMBER_ID_REQUIRED``, whose error carries the id to join with.
    """

    member_id: str
    """Empty: the coordinator makes one."""
    group_instance_id: str | None = None
    client_id: str
    client_host: str
    protocol_type: str
    protocols: Sequence[MemberProtocol]
    """The one preferred first."""
    session_timeout_ms: int
    rebalance_timeout_ms: int
    requires_known_member_id: bool = False
    """The client joins in two steps (KIP-394)."""
    supports_skipping_assignment: bool = False
    """The client understands ``Joined.skip_assignment`` (KIP-814)."""
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinedMember:
    """A member, as the leader of the group is told of it."""

    member_id: str
    group_instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A generation has begun."""

    generation_id: int
    protocol_type: str
    protocol_name: str
    leader: str
    member_id: str
    members: Sequence[JoinedMember]
    """For the leader; empty for everybody else."""
    skip_assignment: bool = False
    """The leader need not assign: a static leader has come back and nothing changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncGroup(GroupRequest["Synced"]):
    """Give assignments (the leader), and receive one's own once the leader has given them.

    Errors: ``INVALID_GROUP_ID``, ``UNKNOWN_MEMBER_ID``, ``FENCED_INSTANCE_ID``,
    ``ILLEGAL_GENERATION``, ``REBALANCE_IN_PROGRESS``, ``INCONSISTENT_GROUP_PROTOCOL``, and
    ``GROUP_MAX_SIZE_REACHED`` for assignments that do not fit in a record.
    """

    generation_id: int
    member_id: str
    group_instance_id: str | None = None
    protocol_type: str | None = None
    """``None``: the client does not say, as below."""
    protocol_name: str | None = None
    assignments: Mapping[str, bytes]
    """By member id; empty from everybody but the leader."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Synced:
    """What a member is to do."""

    protocol_type: str
    protocol_name: str
    assignment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat(GroupRequest[None]):
    """Say that a member is alive. Errors as of :class:`SyncGroup`."""

    generation_id: int
    member_id: str
    group_instance_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeavingMember:
    """Who leaves: a member by its id, or a static one by its instance id alone."""

    member_id: str
    group_instance_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveGroup(GroupRequest["Sequence[OttlaError | None]"]):
    """Take members out, of a classic or of a consumer group. Answer: an outcome for each.

    Errors of a member: ``UNKNOWN_MEMBER_ID``, ``FENCED_INSTANCE_ID``.
    """

    members: Sequence[LeavingMember]


# --- Consumer groups (KIP-848) ----------------------------------------------------------


class ConsumerJoin:
    """Values of :attr:`ConsumerHeartbeat.member_epoch` that are no epoch."""

    JOIN: Final = 0
    LEAVE: Final = -1
    LEAVE_FOR_A_WHILE: Final = -2
    """A static member stops and will be back: what it has stays its own for the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerHeartbeat(GroupRequest["ConsumerHeartbeatAnswer"]):
    """Join, say what is owned, say that a member is alive, leave. ``None``: as last said.

    Errors: ``INVALID_REQUEST``, ``UNKNOWN_MEMBER_ID``, ``FENCED_MEMBER_EPOCH``,
    ``UNRELEASED_INSTANCE_ID``, ``UNSUPPORTED_ASSIGNOR``, ``GROUP_MAX_SIZE_REACHED``,
    ``INVALID_REGULAR_EXPRESSION``, and ``GROUP_ID_NOT_FOUND`` for a group of another kind.
    """

    member_id: str
    member_epoch: int
    group_instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int | None = None
    subscribed_topic_names: Sequence[str] | None = None
    subscribed_topic_regex: str | None = None
    server_assignor: str | None = None
    owned: Mapping[TopicId, Sequence[int]] | None = None
    client_id: str
    client_host: str
    requires_member_id: bool = True
    """The client must have made its own member id (KIP-1082)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerHeartbeatAnswer:
    """Where the member stands."""

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int
    assignment: Mapping[TopicId, Sequence[int]] | None
    """``None``: as before."""


# --- Offsets ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetToCommit:
    """How far a group has come in one partition."""

    topic_partition: TopicPartition
    topic_id: TopicId | None = None
    offset: Offset
    leader_epoch: LeaderEpoch = NO_LEADER_EPOCH
    metadata: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitOffsets(GroupRequest["Sequence[OttlaError | None]"]):
    """Commit offsets; they are replicated when the answer comes. An outcome for each.

    Refused as a whole: ``INVALID_GROUP_ID``, ``UNKNOWN_MEMBER_ID``, ``FENCED_INSTANCE_ID``,
    ``ILLEGAL_GENERATION``, ``REBALANCE_IN_PROGRESS``, ``GROUP_ID_NOT_FOUND`` (a generation of a
    group that there is not), ``GROUP_MAX_SIZE_REACHED``; of consumer groups ``STALE_MEMBER_EPOCH``.
    Of one partition: ``OFFSET_METADATA_TOO_LARGE``, ``INVALID_COMMIT_OFFSET_SIZE``.
    """

    member_id: str = ""
    generation_or_member_epoch: int = NO_GENERATION
    group_instance_id: str | None = None
    offsets: Sequence[OffsetToCommit]
    understands_stale_epochs: bool = True
    """Else a member whose epoch is old is told ``UNSUPPORTED_VERSION``, and one whose group is gone
    ``ILLEGAL_GENERATION`` (OffsetCommit before 9)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedOffset:
    """What was committed for a partition; ``NO_OFFSET`` if nothing was."""

    topic_partition: TopicPartition
    offset: Offset = NO_OFFSET
    leader_epoch: LeaderEpoch = NO_LEADER_EPOCH
    metadata: str = ""
    commit_timestamp_ms: int = -1
    error: OttlaError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOffsets(GroupRequest["Sequence[CommittedOffset]"]):
    """Return what was committed; a group that nobody knows has committed nothing.

    Of a consumer group a member may be named, with its epoch: ``UNKNOWN_MEMBER_ID`` and
    ``STALE_MEMBER_EPOCH`` then refuse the whole.
    """

    partitions: Sequence[TopicPartition] | None = None
    """``None``: all that the group has committed."""
    member_id: str | None = None
    member_epoch: int = NO_GENERATION
    require_stable: bool = False
    """Refuse partitions that an open transaction has offsets for: ``UNSTABLE_OFFSET_COMMIT``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOffsets(GroupRequest["Sequence[OttlaError | None]"]):
    """Forget committed offsets. An outcome for each partition: ``GROUP_SUBSCRIBED_TO_TOPIC``.

    Refused as a whole: ``GROUP_ID_NOT_FOUND``, ``NON_EMPTY_GROUP`` for a group with members that
    are no consumers, ``INVALID_GROUP_ID``.
    """

    partitions: Sequence[TopicPartition]


# --- Administration -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteGroup(GroupRequest[None]):
    """Forget a group and its offsets.

    Errors: ``INVALID_GROUP_ID``, ``GROUP_ID_NOT_FOUND``, ``NON_EMPTY_GROUP``.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupListing:
    """A group in a list."""

    group_id: str
    group_type: GroupType
    protocol_type: str
    state: str
    """As Kafka spells it: ``Empty``, ``PreparingRebalance``, ``Stable``, ``Assigning``..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicMemberDescription:
    """One member of a classic group."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes
    assignment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassicGroupDescription:
    """One group as ``DescribeGroups`` tells it."""

    group_id: str
    state: str
    protocol_type: str
    protocol_name: str
    members: Sequence[ClassicMemberDescription]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeClassicGroup(GroupRequest[ClassicGroupDescription]):
    """Describe a group. Errors: ``GROUP_ID_NOT_FOUND``, for consumer groups too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerMemberDescription:
    """One member of a consumer group."""

    member_id: str
    group_instance_id: str | None
    rack_id: str | None
    member_epoch: int
    client_id: str
    client_host: str
    subscribed_topic_names: Sequence[str]
    subscribed_topic_regex: str | None
    assignment: Mapping[TopicId, Sequence[int]]
    target_assignment: Mapping[TopicId, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerGroupDescription:
    """One consumer group."""

    group_id: str
    state: str
    group_epoch: int
    assignment_epoch: int
    assignor: str
    members: Sequence[ConsumerMemberDescription]


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeConsumerGroup(GroupRequest[ConsumerGroupDescription]):
    """Describe a consumer group. Errors: ``GROUP_ID_NOT_FOUND``, for classic groups too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListGroups:
    """Which groups to list; no states or types named: all."""

    states: Collection[str] = field(default_factory=tuple)
    types: Collection[str] = field(default_factory=tuple)
