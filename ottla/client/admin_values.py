"""What an administrator asks with and gets back: plain values, none of them tied to the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from uuid import UUID

from ottla.client.addresses import Address
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition

# --- Topics ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class NewTopic:
    """A topic to create."""

    name: str
    partitions: int = 0
    """0: the brokers' ``num.partitions``."""

    replication_factor: int = 0
    """0: the brokers' ``default.replication.factor``."""

    configs: Mapping[str, str] = field(default_factory=dict)
    """Topic settings that differ from the defaults, e.g. ``{"retention.ms": "604800000"}``."""


@dataclass(frozen=True, slots=True)
class CreatedTopic:
    """A topic as it was created."""

    name: str
    topic_id: UUID
    partitions: int
    replication_factor: int


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """One partition. Sizes and offsets are -1 where the broker that was asked does not lead it."""

    partition: int
    leader: int
    """Broker id; -1 while there is none."""

    leader_epoch: int
    replicas: tuple[int, ...]
    """Broker ids in order of preference."""

    in_sync_replicas: tuple[int, ...]
    eligible_leader_replicas: tuple[int, ...]
    log_start_offset: int
    high_watermark: int
    """Exclusive end of what is committed."""

    size_bytes: int
    adding_replicas: tuple[int, ...] = ()
    """Of a reassignment under way: those of ``replicas`` that come, ..."""

    removing_replicas: tuple[int, ...] = ()
    """... and those that go once these are in sync."""


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """One topic."""

    name: str
    topic_id: UUID
    is_internal: bool
    partitions: tuple[PartitionDescription, ...]


# --- Configuration ----------------------------------------------------------------------------


class ConfigResourceType(IntEnum):
    """What settings belong to."""

    TOPIC = 2
    BROKER = 4


@dataclass(frozen=True, slots=True)
class ConfigResource:
    """A topic by its name, a broker by its id, or (a broker without a name) all brokers."""

    type: ConfigResourceType
    name: str

    @classmethod
    def topic(cls, name: str) -> ConfigResource:
        """Return the resource that is a topic."""
        return cls(ConfigResourceType.TOPIC, name)

    @classmethod
    def broker(cls, broker_id: int) -> ConfigResource:
        """Return the resource that is a broker."""
        return cls(ConfigResourceType.BROKER, str(broker_id))

    @classmethod
    def all_brokers(cls) -> ConfigResource:
        """Return the resource that has the defaults of all brokers."""
        return cls(ConfigResourceType.BROKER, "")

    def __str__(self) -> str:
        return f"{self.type.name.lower()} {self.name}" if self.name else "all brokers"


class ConfigSource(Enum):
    """Where a value comes from, the nearest first; names and numbers are Kafka's."""

    UNKNOWN = 0
    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    """Set for one broker while it ran."""

    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    """Set for all brokers while they ran."""

    STATIC_BROKER_CONFIG = 4
    """In a broker's file, environment or flags."""

    DEFAULT_CONFIG = 5


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One setting."""

    key: str
    value: str
    """Empty if it is sensitive."""

    default_value: str
    source: ConfigSource
    is_read_only: bool
    is_sensitive: bool
    documentation: str
    """Effect and unit."""


class ConfigOperation(Enum):
    """What to do with a setting."""

    SET = 0
    DELETE = 1
    """Back to the default."""

    APPEND = 2
    """Add to a comma-separated list."""

    SUBTRACT = 3
    """Take from a comma-separated list."""


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """A change of one setting."""

    key: str
    value: str = ""
    operation: ConfigOperation = ConfigOperation.SET


# --- Cluster ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker and where its gRPC port is."""

    broker_id: int
    address: Address
    rack: str
    """Empty: none."""

    is_fenced: bool
    """Known, but not serving."""

    is_shutting_down: bool = False
    """Stopping in good order: it leads nothing more."""

    is_draining: bool = False
    """It gets no new replicas."""


@dataclass(frozen=True, slots=True)
class ClusterDescription:
    """The cluster as a whole."""

    cluster_id: str
    controller_id: int
    """-1 while there is none."""

    brokers: tuple[BrokerAddress, ...]
    topics: int
    partitions: int
    under_replicated_partitions: int
    offline_partitions: int
    metadata_offset: int
    """Position in the metadata log that this reflects; larger is newer."""


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """What changed in the cluster; the first of a watch is all there is."""

    cluster_id: str
    controller_id: int
    """-1 while there is none."""

    brokers: tuple[BrokerAddress, ...]
    """All of them."""

    topics: tuple[TopicDescription, ...]
    """Those that changed, each with all its partitions. Sizes and offsets are -1."""

    deleted_topics: tuple[str, ...]
    metadata_offset: int
    """Position in the metadata log that this reflects; larger is newer."""


@dataclass(frozen=True, slots=True)
class PlannedMove:
    """A partition that would better have other replicas, or another first one."""

    topic_partition: TopicPartition
    replicas_before: tuple[int, ...]
    """Broker ids in order of preference, as these:"""

    replicas: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class QuorumNode:
    """A node of the metadata quorum, as the broker that was asked sees it."""

    broker_id: int
    is_voter: bool
    is_connected: bool
    """Whether there is a link with it; of the broker that was asked, true."""

    offered_directory_id: bytes | None
    """Set if it has lost its data directory, and is refused until it is admitted again: the
    directory that it has now, for :meth:`~ottla.client.Admin.readmit_voter`."""


@dataclass(frozen=True, slots=True)
class QuorumDescription:
    """The metadata quorum, as the broker that was asked sees it."""

    leader_id: int
    """-1 while there is none, or none that is known."""

    term: int
    applied_index: int
    """How far that broker knows the metadata log."""

    nodes: tuple[QuorumNode, ...]


@dataclass(frozen=True, slots=True)
class HostedPartition:
    """A replica on one broker."""

    topic_partition: TopicPartition
    size_bytes: int
    segments: int
    log_start_offset: int
    log_end_offset: int
    durable_end_offset: int
    """What a crash cannot take away any more. Exclusive."""

    high_watermark: int


@dataclass(frozen=True, slots=True)
class LogDirectory:
    """A directory with partitions."""

    path: str
    error: OttlaError | None
    """Why it takes no more writes until the broker restarts."""

    total_bytes: int
    usable_bytes: int
    partitions: tuple[HostedPartition, ...]


@dataclass(frozen=True, slots=True)
class BrokerDescription:
    """One broker."""

    broker_id: int
    version: str
    started_at_ms: int
    """Milliseconds since 1970."""

    log_directories: tuple[LogDirectory, ...]
