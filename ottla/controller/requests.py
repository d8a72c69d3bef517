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

from ottla.model.errors import OttlaError
from ottla.model.ids import BrokerEpoch, BrokerId, ProducerId, TopicId

# --- Topics -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTopic:
    """A topic to create."""

    name: str
    partitions: int | None = None
    """``None``: as many as the broker's ``num.partitions`` says."""
    replication_factor: int | None = None
    """``None``: the broker's ``default.replication.factor``."""
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateTopics:
    """Create topics. Answer: a :class:`CreatedTopic` for each.

    Errors of a topic: ``INVALID_TOPIC_EXCEPTION``, ``TOPIC_ALREADY_EXISTS``,
    ``INVALID_PARTITIONS``, ``INVALID_REPLICATION_FACTOR``, ``INVALID_CONFIG``, and
    ``INVALID_REQUEST`` for a name that the request has twice.
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
class DeleteTopics:
    """Delete topics with their records. Answer: a :class:`TopicResult` for each.

    Errors of a topic: ``UNKNOWN_TOPIC_OR_PARTITION``, ``INVALID_REQUEST``.
    """

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPartitions:
    """A topic and how many partitions it is to have."""

    name: str
    partitions: int
    """The new total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreatePartitions:
    """Raise the number of partitions. Answer: a :class:`TopicResult` for each topic.

    Errors of a topic: ``UNKNOWN_TOPIC_OR_PARTITION``, ``INVALID_PARTITIONS``,
    ``INVALID_REPLICATION_FACTOR``, ``INVALID_REQUEST``.
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
    """The changes of one topic; all are made, or none."""

    name: str
    changes: tuple[ConfigChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlterTopicConfigs:
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
class RegisterBroker:
    """A broker process has started. Answer: its :data:`~ottla.model.ids.BrokerEpoch`.

    Refused: ``INCONSISTENT_CLUSTER_ID``, ``INVALID_REQUEST``.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class FenceBroker:
    """A broker serves no more: it left, or is not heard from. Answer: ``None``.

    Refused: ``BROKER_ID_NOT_REGISTERED``, ``STALE_BROKER_EPOCH``.
    """

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfenceBroker:
    """A broker has caught up with the metadata log and can serve. Answer: ``None``.

    Refused: ``BROKER_ID_NOT_REGISTERED``, ``STALE_BROKER_EPOCH``.
    """

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocateProducerIds:
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


# --- The cluster --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFeatureLevel:
    """Allow the log to hold what a level of a feature brings. Answer: ``None``.

    Refused: ``INVALID_REQUEST``, also for a level below the present one.
    """

    name: str
    level: int


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
)
