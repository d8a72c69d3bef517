"""The services for administrators: settings, and who serves what.

They are values and protocols as those of :mod:`ottla.cluster.services`, and stand apart from them
for their size alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from ottla.config.topic_settings import SettingType
from ottla.controller.requests import ConfigChange, QuotaChanges, Reassignment
from ottla.model.ids import BrokerId, TopicPartition

if TYPE_CHECKING:
    from ottla.cluster.services import Result

# --- Configuration --------------------------------------------------------------------


class ResourceType(Enum):
    """What has settings; the numbers are Kafka's."""

    TOPIC = 2
    BROKER = 4


@dataclass(frozen=True, slots=True)
class Resource:
    """A topic by name, or a broker by its id in decimal; no name: the default of all brokers."""

    type: ResourceType
    name: str


class ConfigSource(Enum):
    """Where a value comes from, the nearest first; names and numbers are Kafka's."""

    DYNAMIC_TOPIC_CONFIG = 1
    DYNAMIC_BROKER_CONFIG = 2
    """Set for this broker while it ran."""
    DYNAMIC_DEFAULT_BROKER_CONFIG = 3
    """Set for all brokers while they ran."""
    STATIC_BROKER_CONFIG = 4
    """In this broker's file, environment or flags."""
    DEFAULT_CONFIG = 5


@dataclass(frozen=True, slots=True)
class ConfigSynonym:
    """A place where a setting could have its value from, and what is set there."""

    key: str
    value: str
    source: ConfigSource


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """One setting of one resource."""

    key: str
    value: str
    default: str
    source: ConfigSource
    read_only: bool
    sensitive: bool
    documentation: str
    type: SettingType
    synonyms: Sequence[ConfigSynonym]
    """Every place where it is set, the one that counts first; the default is among them."""


class ConfigsService(Protocol):
    """Describes and changes settings."""

    def describe_configs(
        self, resources: Sequence[tuple[Resource, Sequence[str]]]
    ) -> list[Result[Sequence[ConfigEntry]]]:
        """Settings of each resource: those with the keys given, or all."""

    def describe_new_topic(self, configs: Mapping[str, str]) -> Sequence[ConfigEntry]:
        """All settings of a topic that sets ``configs``, whether or not there is such a topic."""

    async def alter_configs(
        self,
        resources: Sequence[tuple[Resource, Sequence[ConfigChange]]],
        *,
        validate_only: bool,
        replaces: bool = False,
    ) -> list[Result[None]]:
        """Make all changes of a resource, or none of them.

        With ``replaces`` the settings that are not named go back to their defaults.
        """


# --- Administration of the cluster -------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumNode:
    """A voter of the metadata quorum, as the broker asked sees it."""

    broker_id: BrokerId
    connected: bool
    """Whether there is a link with it; of itself, true."""
    offered_directory_id: bytes = b""
    """Of a voter that lost its data directory and is refused until it is admitted again: the
    directory that it has now. Empty: it is not refused."""
    log_end_offset: int = -1
    """How many entries of the metadata log it has; -1: that is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumDescription:
    """The metadata quorum, as the broker asked sees it."""

    leader_id: BrokerId
    """``NO_BROKER`` while there is none, or none is known."""
    term: int
    applied_index: int
    nodes: Sequence[QuorumNode]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMove:
    """A partition that would better have other replicas, or another first one."""

    topic_partition: TopicPartition
    replicas_before: Sequence[BrokerId]
    replicas: Sequence[BrokerId]


class AdministrationService(Protocol):
    """Changes who serves what. What a change may be is the controller's to say."""

    def describe_quorum(self) -> QuorumDescription:
        """Describe the metadata quorum."""

    async def reassign(
        self, partitions: Sequence[Reassignment], *, keeps_replication_factor: bool = False
    ) -> list[tuple[TopicPartition, Result[None]]]:
        """Begin to move each partition to other brokers, or cancel that."""

    async def plan_rebalancing(self, draining: Collection[BrokerId]) -> list[PlannedMove]:
        """Return what to move so that every broker has its share, and those ``draining`` nothing.

        Raises :exc:`BrokerIdNotRegisteredError` for a broker that is not there.
        """

    async def elect_leaders(
        self, partitions: Sequence[TopicPartition], *, unclean: bool
    ) -> list[tuple[TopicPartition, Result[None]]]:
        """Elect a leader for each partition; none named: for all that need it."""

    async def set_draining(self, broker_id: BrokerId, *, draining: bool) -> None:
        """Give a broker no new replicas, or let it have some again."""

    async def unregister_broker(self, broker_id: BrokerId) -> None:
        """Forget a broker."""

    async def readmit_voter(self, broker_id: BrokerId, directory_id: bytes) -> None:
        """Let a voter vote with another data directory."""

    async def alter_client_quotas(
        self, entities: Sequence[QuotaChanges], *, validate_only: bool
    ) -> list[Result[None]]:
        """Change what clients may send and receive."""

    async def set_feature_level(self, name: str, level: int, *, validate_only: bool) -> None:
        """Let the cluster use what a level of a feature brings; there is no way back.

        Raises :exc:`InvalidRequestError` for a feature or level that there is not.
        """
