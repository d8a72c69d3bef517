"""What simulated brokers say to each other about replication, controllers and sessions.

The messages of ``proto/ottla/v1/replication.proto`` as values, without encoding: a simulation has
better things to do than to serialise. Field for field they mean what the format says.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla.controller.requests import Request
from ottla.model.errors import OttlaError
from ottla.model.ids import (
    BrokerEpoch,
    BrokerId,
    LeaderEpoch,
    MetadataOffset,
    Offset,
    TopicPartition,
)

FOLLOW = "follow"
SESSION = "session"
QUORUM = "quorum"

# --- Replication ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FollowerIdentity:
    """Who opens a follow call."""

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowPartition:
    """Begin to copy a partition, or begin again."""

    topic_partition: TopicPartition
    generation: int
    leader_epoch: LeaderEpoch
    fetch_offset: Offset
    last_fetched_epoch: LeaderEpoch | None
    durable_end_offset: Offset


@dataclass(frozen=True, slots=True)
class EndPartition:
    """A partition is not to be copied any more."""

    topic_partition: TopicPartition


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The follower cannot lose what is below ``end_offset``."""

    topic_partition: TopicPartition
    generation: int
    end_offset: Offset


@dataclass(frozen=True, slots=True)
class Alive:
    """Every partition of the call is where its last acknowledgement said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedPartition:
    """The leader's side: records, or only offsets, or why nothing more comes."""

    topic_partition: TopicPartition
    generation: int
    error: OttlaError | None = None
    diverging: tuple[LeaderEpoch, Offset] | None = None
    records: bytes = b""
    high_watermark: Offset = Offset(0)  # noqa: RUF009 -- a NewType of int
    log_start_offset: Offset = Offset(0)  # noqa: RUF009


# --- Calls --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskController:
    """A request for whoever is controller; answered with :class:`Served`, or an error."""

    request: Request


@dataclass(frozen=True, slots=True)
class Served:
    """The response, and where in the metadata log what it is about can be seen."""

    response: object
    metadata_offset: MetadataOffset


@dataclass(frozen=True, slots=True)
class Produce:
    """One batch for one partition; answered with its base offset, or an error."""

    topic_partition: TopicPartition
    batch: bytes
    acks: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Fetch:
    """Read committed records; answered with :class:`Fetched`, or an error."""

    topic_partition: TopicPartition
    offset: Offset


@dataclass(frozen=True, slots=True)
class Fetched:
    """Batches from the offset asked for, below the high watermark."""

    records: bytes
    high_watermark: Offset
    leader_epoch: LeaderEpoch


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was asked for is not there any more; the log starts here."""

    log_start_offset: Offset


@dataclass(frozen=True, slots=True)
class AskMetadata:
    """Who leads what; answered with the image that the broker asked has."""
