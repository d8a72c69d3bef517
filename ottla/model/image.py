"""An immutable view of the cluster at one position of the metadata log.

The controller's state machine produces a new image with each applied batch of
records; everybody else reads. An image is never changed, so it may be held across
an ``await`` and compared with a later one to find out what happened.

It is the whole cluster as the metadata log tells it, the same on every broker
that has applied the log up to ``metadata_offset``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ottla.model.ids import (
    NO_BROKER,
    NO_CONTROLLER_EPOCH,
    NO_METADATA,
    BrokerEpoch,
    BrokerId,
    ControllerEpoch,
    LeaderEpoch,
    MetadataOffset,
    PartitionEpoch,
    TopicId,
    TopicPartition,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerListener:
    """Where a broker serves Kafka's protocol, as it registered."""

    name: str
    host: str
    port: int
    security_protocol: str
    """``PLAINTEXT`` or ``SSL``."""
    any_address: bool = False
    """It listens on all addresses of the machine ``host`` and was told none to advertise: whoever
    has reached that machine by another address may go on using it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerImage:
    """One registered broker."""

    broker_id: BrokerId
    broker_epoch: BrokerEpoch
    host: str
    grpc_port: int
    rack: str
    incarnation_id: bytes
    fenced: bool
    directory_id: bytes = b""
    """Of its data directory; empty if an earlier version registered it."""
    shutting_down: bool = False
    """It is stopping in good order: it leads nothing, and is elected for nothing."""
    draining: bool = False
    """It gets no new replicas; survives a restart of the broker."""
    listeners: tuple[BrokerListener, ...] = ()
    """Of Kafka's protocol."""

    def listener(self, name: str) -> BrokerListener | None:
        """Return the listener of that name, if there is one."""
        return next((one for one in self.listeners if one.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionImage:
    """Who replicates a partition and who leads it."""

    replicas: tuple[BrokerId, ...]
    """In order of preference; the first is the preferred leader."""
    in_sync_replicas: tuple[BrokerId, ...]
    eligible_leader_replicas: tuple[BrokerId, ...]
    leader: BrokerId
    """``NO_BROKER`` while there is none."""
    leader_epoch: LeaderEpoch
    """Rises with every change of leader."""
    partition_epoch: PartitionEpoch
    """Rises with every change of anything here."""
    adding_replicas: tuple[BrokerId, ...] = ()
    """Those of ``replicas`` that a reassignment under way brings."""
    removing_replicas: tuple[BrokerId, ...] = ()
    """Those of ``replicas`` that go once the ones above are in sync."""

    def min_insync_needed(self, min_insync_replicas: int) -> int:
        """Return how many in-sync replicas commit a record, where the topic asks for so many.

        A partition of fewer replicas needs all of them; those that a reassignment is only
        bringing do not count as its replicas yet.
        """
        return min(min_insync_replicas, len(self.replicas) - len(self.adding_replicas))


class QuotaEntity(NamedTuple):
    """Whose quotas: those of a user, of a client by its id, or of a client of a user.

    ``DEFAULT_ENTITY`` in place of a name stands for all that have no quotas by their own name.
    """

    user: str | None = None
    """``None``: of every user."""
    client_id: str | None = None
    """``None``: of every client."""


DEFAULT_ENTITY: Final = ""
"""No user and no client has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicImage:
    """One topic with its partitions and the settings that differ from the defaults."""

    topic_id: TopicId
    name: str
    partitions: tuple[PartitionImage, ...]
    """By partition number."""
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterImage:
    """Everything the metadata log says, up to ``metadata_offset``."""

    cluster_id: str
    """Empty until the first controller has given the cluster its identity."""
    metadata_offset: MetadataOffset = NO_METADATA
    controller_id: BrokerId = NO_BROKER
    controller_epoch: ControllerEpoch = NO_CONTROLLER_EPOCH
    brokers: Mapping[BrokerId, BrokerImage] = field(default_factory=dict)
    topics: Mapping[str, TopicImage] = field(default_factory=dict)
    topic_names: Mapping[TopicId, str] = field(default_factory=dict)
    voters: Mapping[BrokerId, bytes] = field(default_factory=dict)
    """The data directory that each voter of the metadata quorum is known to have."""
    broker_configs: Mapping[BrokerId | None, Mapping[str, str]] = field(default_factory=dict)
    """Settings changed while running: of one broker, or by ``None`` the default of all."""
    client_quotas: Mapping[QuotaEntity, Mapping[str, float]] = field(default_factory=dict)
    """By entity, and then by key: see :mod:`ottla.model.quotas`."""

    def settings_of_broker(
        self, broker_id: BrokerId | None, configured: Mapping[str, str]
    ) -> dict[str, str]:
        """Return a broker's settings: those changed while running, else those ``configured``.

        A broker's own come before the default of all; ``None`` leaves the former out.
        """
        own = {} if broker_id is None else self.broker_configs.get(broker_id, {})
        return {**configured, **self.broker_configs.get(None, {}), **own}

    def partition(self, topic_partition: TopicPartition) -> PartitionImage | None:
        """Look one partition up; ``None`` if the topic or the partition does not exist."""
        topic = self.topics.get(topic_partition.topic)
        if topic is None or not 0 <= topic_partition.partition < len(topic.partitions):
            return None
        return topic.partitions[topic_partition.partition]
