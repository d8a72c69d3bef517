"""What the controller can be asked, and what it answers.

A request about several topics is answered topic by topic, in the same order: an error there says
that nothing was done for that topic, and nothing about the others. A request about one thing is
refused as a whole, by an exception.

These are plain values. The doors (gRPC, Kafka) translate into them and back, and limit what they
let in; what is said here about errors is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, NamedTuple, TypeVar

from ottla.model.errors import OttlaError
from ottla.model.ids import (
    BrokerEpoch,
    BrokerId,
    LeaderEpoch,
    PartitionEpoch,
    ProducerId,
    TopicId,
    TopicPartition,
)
from ottla.model.image import BrokerListener, QuotaEntity

Answer_co = TypeVar("Answer_co", covariant=True)


class Asks(Generic[Answer_co]):
    """A request, by what it is answered with: who submits an ``Asks[int]`` gets an ``int``."""

    __slots__ = ()


# --- Topics -----------------------------------------------------------------------


class Assignment(NamedTuple):
    """The replicas that somebody chose for a new partition; the first is the preferred leader."""

    partition: int
    replicas: tuple[BrokerId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTopic:
    """A topic to create."""

    name: str
    partitions: int | None = None
    """``None``: as many as the broker's ``num.partitions`` says."""
    replication_factor: int | None = None
    """``None``: the broker's ``default.replication.factor``."""
    configs: Mapping[str, str] = field(default_factory=dict)
    assignments: tuple[Assignment, ...] = ()
    """For every partition, and neither of the numbers above; empty: the controller chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTopics(Asks["tuple[CreatedTopic, ...]"]):
    """Create topics. Answer: a :class:`CreatedTopic` for each.

    Errors of a topic: ``INVALID_TOPIC_EXCEPTION``, ``TOPIC_ALREADY_EXISTS``,
    ``INVALID_PARTITIONS``, ``INVALID_REPLICATION_FACTOR``, ``INVALID_CONFIG``,
    ``INVALID_REPLICA_ASSIGNMENT``, and ``INVALID_REQUEST`` for a name that the request has twice.
    """

    topics: tuple[NewTopic, ...]
    validate_only: bool = False
    """Check and answer, but create nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatedTopic:
    """What became of one :class:`NewTopic`. With an error, the other fields mean nothing."""

    name: str
    error: OttlaError | None = None
    topic_id: TopicId | None = None
    """``None`` if it was only validated."""
    partitions: int = -1
    replication_factor: int = -1
    configs: Mapping[str, str] = field(default_factory=dict)
    """Those given, in canonical form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteTopics(Asks["tuple[TopicResult, ...]"]):
    """Delete topics with their records. Answer: a :class:`TopicResult` for each, names first.

    Errors of a topic: ``UNKNOWN_TOPIC_OR_PARTITION``, ``UNKNOWN_TOPIC_ID``, ``INVALID_REQUEST``
    for one that the request names twice.
    """

    names: tuple[str, ...] = ()
    topic_ids: tuple[TopicId, ...] = ()
    """Topics without regard to the names that they have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartitions:
    """A topic and how many partitions it is to have."""

    name: str
    partitions: int
    """The new total."""
    assignments: tuple[tuple[BrokerId, ...], ...] | None = None
    """The replicas of each partition that is added; ``None``: the controller chooses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartitions(Asks["tuple[TopicResult, ...]"]):
    """Raise the number of partitions. Answer: a :class:`TopicResult` for each topic.

    Errors of a topic: ``UNKNOWN_TOPIC_OR_PARTITION``, ``INVALID_PARTITIONS``,
    ``INVALID_REPLICATION_FACTOR``, ``INVALID_REPLICA_ASSIGNMENT``, ``INVALID_REQUEST``.
    """

    topics: tuple[NewPartitions, ...]
    validate_only: bool = False


class ConfigOperation(Enum):
    """What to do with a setting; the values are Kafka's."""

    SET = 0
    DELETE = 1
    """Back to the default."""
    APPEND = 2
    """Add to a list; what it has already is not added again."""
    SUBTRACT = 3
    """Take from a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChange:
    """One change of one setting."""

    key: str
    operation: ConfigOperation = ConfigOperation.SET
    value: str = ""
    """Ignored by ``DELETE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigChanges:
    """The changes of one topic, or broker; all are made, or none."""

    name: str
    changes: tuple[ConfigChange, ...]
    replaces: bool = False
    """What is not named goes back to its default, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterTopicConfigs(Asks["tuple[TopicResult, ...]"]):
    """Change some settings of topics and leave the others. Answer: a :class:`TopicResult` each.

    Errors of a topic: ``UNKNOWN_TOPIC_OR_PARTITION``, ``INVALID_CONFIG``, ``INVALID_REQUEST``.
    """

    topics: tuple[ConfigChanges, ...]
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicResult:
    """What became of one topic of a request."""

    name: str
    error: OttlaError | None = None


# --- Brokers ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterBroker(Asks[BrokerEpoch]):
    """A broker process has started. Answer: its :data:`~ottla.model.ids.BrokerEpoch`.

    Refused: ``INCONSISTENT_CLUSTER_ID``, ``INCONSISTENT_VOTER_SET`` (a voter with another data
    directory than the one that is known), ``INVALID_REQUEST``.
    """

    cluster_id: str
    broker_id: BrokerId
    incarnation_id: bytes
    """16 random bytes, chosen when the process starts."""
    host: str
    """Where clients and brokers reach it."""
    grpc_port: int
    rack: str = ""
    """Empty: the broker is in the rack that its host is."""
    clean_shutdown: bool = False
    """Its last life ended with everything on disk."""
    directory_id: bytes = b""
    """16 bytes that came with its data directory; a new directory means that its replicas are
    gone."""
    voter: bool = False
    """It is a voter of the metadata quorum; the first registration of one admits its directory."""
    listeners: tuple[BrokerListener, ...] = ()
    """Where it serves Kafka's protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceBroker(Asks[None]):
    """A broker serves no more: it left, or is not heard from. Answer: ``None``.

    Refused: ``BROKER_ID_NOT_REGISTERED``, ``STALE_BROKER_EPOCH``.
    """

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfenceBroker(Asks[None]):
    """A broker has caught up with the metadata log and can serve. Answer: ``None``.

    Refused: ``BROKER_ID_NOT_REGISTERED``, ``STALE_BROKER_EPOCH``.
    """

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginShutdown(Asks[int]):
    """A broker wants to stop: others are to lead. Answer: how many partitions it still leads.

    It leaves the in-sync sets that suffice for ``min.insync.replicas`` without it, too. What it
    still leads nobody else can; asked again, what has become possible since is done. A broker that
    is fenced has nothing to hand over.

    Refused: ``BROKER_ID_NOT_REGISTERED``, ``STALE_BROKER_EPOCH``.
    """

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class UnregisterBroker(Asks[None]):
    """A fenced broker that has no replicas and no vote leaves the cluster. Answer: ``None``.

    Refused: ``BROKER_ID_NOT_REGISTERED``, ``INVALID_REQUEST``.
    """

    broker_id: BrokerId


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDraining(Asks[None]):
    """A broker is to get no new replicas, or may again. Answer: ``None``.

    Refused: ``BROKER_ID_NOT_REGISTERED``.
    """

    broker_id: BrokerId
    draining: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateProducerIds(Asks["ProducerIdBlock"]):
    """A broker needs producer ids to give away. Answer: a :class:`ProducerIdBlock`.

    Refused: ``BROKER_ID_NOT_REGISTERED``, ``STALE_BROKER_EPOCH``.
    """

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerIdBlock:
    """Producer ids that nobody else gets: ``first`` and those after it."""

    first: ProducerId
    count: int


# --- Partitions ---------------------------------------------------------------------


class ProposedMember(NamedTuple):
    """A replica that is to be in sync, in the life in which its leader knows it to be."""

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterPartition:
    """The in-sync set that a leader proposes for one partition."""

    topic_id: TopicId
    partition: int
    leader_epoch: LeaderEpoch
    partition_epoch: PartitionEpoch
    isr: tuple[ProposedMember, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterPartitions(Asks["tuple[PartitionResult, ...]"]):
    """A leader proposes in-sync sets (KIP-497, KIP-903). Answer: a :class:`PartitionResult` each.

    Refused: ``BROKER_ID_NOT_REGISTERED``, ``STALE_BROKER_EPOCH``. Errors of a partition:
    ``UNKNOWN_TOPIC_ID``, ``UNKNOWN_TOPIC_OR_PARTITION``, ``FENCED_LEADER_EPOCH`` (the broker does
    not lead it in this epoch), ``INVALID_UPDATE_VERSION``, ``INELIGIBLE_REPLICA``,
    ``INVALID_REQUEST``.

    What becomes of the partition may differ from the proposal: a reassignment may be complete.
    """

    broker_id: BrokerId
    broker_epoch: BrokerEpoch
    partitions: tuple[AlterPartition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassignment:
    """Who is to replicate one partition; no ``replicas``: cancel what is under way."""

    topic_partition: TopicPartition
    replicas: tuple[BrokerId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassign(Asks["tuple[PartitionResult, ...]"]):
    """Move partitions to other brokers, online. Answer: a :class:`PartitionResult` each.

    Errors of a partition: ``UNKNOWN_TOPIC_OR_PARTITION``, ``INVALID_REPLICA_ASSIGNMENT``,
    ``NO_REASSIGNMENT_IN_PROGRESS``, ``INVALID_REPLICATION_FACTOR``.
    """

    partitions: tuple[Reassignment, ...]
    keeps_replication_factor: bool = False
    """Refuse a partition that would have more replicas, or fewer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElectLeaders(Asks["tuple[PartitionResult, ...]"]):
    """Elect the preferred leaders, or, ``unclean``, any. Answer: a :class:`PartitionResult` each.

    Errors of a partition: ``UNKNOWN_TOPIC_OR_PARTITION``, ``ELECTION_NOT_NEEDED``,
    ``PREFERRED_LEADER_NOT_AVAILABLE``, ``ELIGIBLE_LEADERS_NOT_AVAILABLE``.
    """

    partitions: tuple[TopicPartition, ...] | None
    """``None``: every partition that needs it; those that do not are not answered."""
    unclean: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionResult:
    """What became of one partition of a request."""

    topic_partition: TopicPartition
    error: OttlaError | None = None


# --- The cluster --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class EstablishCluster(Asks[str]):
    """Give the cluster its identity unless it has one. Answer: the cluster id it has then."""

    cluster_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadmitVoter(Asks[None]):
    """A voter has lost its data directory and may vote again with another. Answer: ``None``.

    Safe once this is committed by a majority to which the voter does not belong: it is refused
    every link until then. Refused: ``INVALID_REQUEST`` if it is no voter.
    """

    broker_id: BrokerId
    directory_id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterBrokerConfigs(Asks[tuple[TopicResult, ...]]):
    """Change settings of brokers while they run. Answer: a :class:`TopicResult` each.

    The name of a resource is a broker id in decimal, or empty for the default of all brokers.
    Errors: ``INVALID_CONFIG``, ``INVALID_REQUEST``, ``BROKER_ID_NOT_REGISTERED``.
    """

    brokers: tuple[ConfigChanges, ...]
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaChanges:
    """New quotas of one entity; ``None``: it has none of this key any more."""

    entity: QuotaEntity
    changes: Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterClientQuotas(Asks["tuple[QuotaResult, ...]"]):
    """Change what clients may send and receive. Answer: a :class:`QuotaResult` for each entity.

    Errors of an entity: ``INVALID_REQUEST``.
    """

    entities: tuple[QuotaChanges, ...]
    validate_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaResult:
    """What became of one entity of a request."""

    entity: QuotaEntity
    error: OttlaError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFeatureLevel(Asks[None]):
    """Allow the log to hold what a level of a feature brings. Answer: ``None``.

    Refused: ``INVALID_REQUEST``, also for a level below the present one.
    """

    name: str
    level: int
    validate_only: bool = False


Request = (
    CreateTopics
    | DeleteTopics
    | CreatePartitions
    | AlterTopicConfigs
    | RegisterBroker
    | FenceBroker
    | UnfenceBroker
    | AllocateProducerIds
    | SetFeatureLevel
    | BeginShutdown
    | UnregisterBroker
    | SetDraining
    | AlterPartitions
    | Reassign
    | ElectLeaders
    | EstablishCluster
    | ReadmitVoter
    | AlterBrokerConfigs
    | AlterClientQuotas
)
