"""What a broker can be asked, as values and protocols: the service layer that every door calls.

A door (gRPC today, Kafka's protocol next) translates bytes into these values and back, and
decides nothing. Everything that a request *means* -- defaults, limits, errors, waiting -- is in
the implementations, one module a service: ``produce.py``, ``fetch.py``, ``fetch_stream.py``,
``offsets.py``, ``producer_ids.py``, ``topics.py``, ``configs.py``, ``cluster_description.py``,
``cluster_administration.py``, ``quotas.py``.
The semantics are those written down in ``proto/ottla/v1/*.proto``.

Two kinds of failure
--------------------
* A part of a request fails (one partition, one topic): its result *is* an :exc:`OttlaError`
  instead of a value, and the others are unaffected. Results come in the order asked.
* The request as a whole fails: the method *raises* an :exc:`OttlaError`.

Sizes are bytes, times are milliseconds, end offsets are exclusive.
"""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol, TypeAlias, TypeVar

from ottla.cluster.admin_services import AdministrationService, ConfigsService
from ottla.controller.requests import Assignment
from ottla.coordinator.requests import GroupListing, GroupRequest, ListGroups
from ottla.model.errors import OttlaError
from ottla.model.ids import (
    BrokerId,
    LeaderEpoch,
    Offset,
    ProducerEpoch,
    ProducerId,
    TopicId,
    TopicPartition,
)
from ottla.model.image import ClusterImage, PartitionImage, TopicImage
from ottla.record.batch import TimestampType
from ottla.runtime.files import Buffer
from ottla.storage.leader_epochs import EpochEnd
from ottla.storage.producer_state import ProducerEntry

T = TypeVar("T")
Result: TypeAlias = T | OttlaError

# --- Produce ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartitionToAppend:
    """Batches, one after another as the client sent them, for one partition.

    A structured request arrives here as a batch too: the door fills a
    :class:`~ottla.record.builder.BatchBuilder` and passes what it builds.
    """

    topic_partition: TopicPartition
    batches: Buffer
    refusal: OttlaError | None = None
    """Why the door could make no batch of what the client sent; it is this partition's result."""
    is_prepared: bool = False
    """Whether :meth:`ProduceService.prepare` has seen it."""


@dataclass(frozen=True, slots=True)
class PartitionAppended:
    """Where the records went."""

    base_offset: Offset
    end_offset: Offset
    log_append_time_ms: int
    log_start_offset: Offset


class PendingProduce(Protocol):
    """An append that has been made and whose acknowledgement is outstanding."""

    def results(self) -> list[Result[PartitionAppended]] | None:
        """The results if they are known already, else ``None``. Never waits."""

    async def wait(self) -> list[Result[PartitionAppended]]:
        """Wait until every partition is acknowledged as asked, failed or timed out."""


class ProduceService(Protocol):
    """Appends batches."""

    def needs_preparation(self, partitions: Sequence[PartitionToAppend]) -> bool:
        """Whether :meth:`prepare` would save :meth:`begin_produce` work that takes long."""

    async def prepare(self, partitions: Sequence[PartitionToAppend]) -> list[PartitionToAppend]:
        """Do on a thread what takes long: recompress for topics that say so.

        What cannot be prepared is returned as it is; :meth:`begin_produce` says why.
        """

    def begin_produce(
        self, partitions: Sequence[PartitionToAppend], *, acks: int, timeout_ms: int
    ) -> PendingProduce:
        """Check and append now, in the order of the calls; the acknowledgement follows.

        Raises:
            InvalidRequiredAcksError: ``acks`` is none of 0, 1, -1.
            InvalidRequestError: too many partitions, one named twice, a timeout out of range.
        """

    def describe_producers(
        self, partitions: Sequence[TopicPartition]
    ) -> list[Result[Sequence[ProducerEntry]]]:
        """Return the idempotent producers that each partition remembers.

        Raises :exc:`InvalidRequestError`: too many partitions, or one named twice.
        """


# --- Fetch --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PartitionToFetch:
    """Where to read; ``max_bytes`` 0 means the default, ``leader_epoch`` ``None`` is unchecked."""

    topic_partition: TopicPartition
    offset: Offset
    max_bytes: int = 0
    leader_epoch: LeaderEpoch | None = None
    from_follower: bool = False
    """Read what is committed even if this broker only follows (KIP-392)."""
    rack: str = ""
    """Where the reader is; empty: it does not say."""
    goes_to_preferred: bool = False
    """Where another replica is preferred, the reader wants to hear it at once, and no records."""
    read_committed: bool = False
    """Read below the last stable offset only: nothing of transactions that are open."""
    last_fetched_epoch: LeaderEpoch | None = None
    """Of the last record before ``offset`` that the reader has, to be compared with the log."""
    topic_id: TopicId | None = None
    """The topic must be this one, and not another that has its name by now."""


@dataclass(frozen=True, slots=True)
class PartitionFetched:
    """Whole batches; the first may begin below the offset asked for."""

    topic_partition: TopicPartition
    offset: Offset
    """What was asked for."""
    records: Buffer
    next_offset: Offset
    high_watermark: Offset
    last_stable_offset: Offset
    log_start_offset: Offset
    timestamp_type: TimestampType = TimestampType.CREATE_TIME
    preferred_read_replica: BrokerId | None = None
    """A broker in the reader's rack that may be read from as well."""
    diverging: EpochEnd | None = None
    """Where the reader's records part from the log, if they do; then nothing was read."""


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """One partition of a fetch that failed."""

    topic_partition: TopicPartition
    error: OttlaError


class FetchStream(Protocol):
    """A continuous read: the client steers it while results flow. See ``Log.FetchStream``."""

    def add(self, partitions: Sequence[PartitionToFetch]) -> None:
        """Read these too, or from another offset; :exc:`InvalidRequestError` past the limits."""

    def remove(self, partitions: Sequence[TopicPartition]) -> None:
        """Stop reading these; unknown ones are ignored."""

    def grant(self, credit_bytes: int) -> None:
        """Allow that many more bytes; :exc:`InvalidRequestError` if negative or too many."""

    def end_of_credit(self) -> None:
        """No more is granted: :meth:`responses` ends when what there is has been used up."""

    def responses(self) -> AsyncIterator[list[PartitionFetched | FetchFailed]]:
        """What each response carries, as it becomes readable and credit allows."""

    def close(self) -> None:
        """Stop; :meth:`responses` ends."""


class FetchService(Protocol):
    """Reads batches."""

    async def fetch(
        self,
        partitions: Sequence[PartitionToFetch],
        *,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        response_bytes_max: int = ...,
        waited: Callable[[float], None] = ...,
    ) -> list[PartitionFetched | FetchFailed]:
        """Read once, waiting for ``min_bytes``; 0 means the default for each number but the wait.

        ``response_bytes_max`` is the most that ``max_bytes`` may be, as far as a response of the
        door goes. ``waited`` is told for how many seconds nothing was done because the client said
        so.

        Raises:
            InvalidRequestError: too many partitions, one named twice, a number out of range.
        """

    def open_stream(self, *, max_wait_ms: int, min_bytes: int, max_bytes: int) -> FetchStream:
        """Open a continuous read with no partition and no credit yet."""


# --- Offsets ------------------------------------------------------------------------


class SpecialPosition(Enum):
    """Positions that have a name."""

    EARLIEST = "earliest"
    LATEST = "latest"
    MAX_TIMESTAMP = "max timestamp"


@dataclass(frozen=True, slots=True)
class OffsetToFind:
    """A position: a name, or a timestamp in milliseconds."""

    topic_partition: TopicPartition
    position: SpecialPosition | int
    leader_epoch: LeaderEpoch | None = None
    read_committed: bool = False
    """The end is the last stable offset instead of the high watermark."""


@dataclass(frozen=True, slots=True)
class OffsetFound:
    """-1 for offset and timestamp where no record answers the question."""

    offset: Offset
    timestamp_ms: int
    leader_epoch: LeaderEpoch


@dataclass(frozen=True, slots=True)
class EpochToFind:
    """A leader epoch of the past whose end is asked for; ``leader_epoch`` is the present one."""

    topic_partition: TopicPartition
    epoch: LeaderEpoch
    leader_epoch: LeaderEpoch | None = None


class OffsetsService(Protocol):
    """Finds positions and deletes prefixes."""

    async def list_offsets(self, queries: Sequence[OffsetToFind]) -> list[Result[OffsetFound]]:
        """Answer each query; may read from the disk."""

    def end_offsets_of_epochs(
        self, queries: Sequence[EpochToFind]
    ) -> list[Result[EpochEnd | None]]:
        """Find for each epoch the largest one at or below it, and where that ended (KIP-320).

        ``None``: the partition has had no such epoch. A reader whose records of that epoch go
        further has records that were not committed.

        Raises :exc:`InvalidRequestError`: too many partitions, or one named twice.
        """

    async def delete_records(
        self, before: Sequence[tuple[TopicPartition, Offset]]
    ) -> list[Result[Offset]]:
        """Delete below each offset (-1: the high watermark) and return the new log starts."""


class ProducerIdsService(Protocol):
    """Hands out producer ids."""

    async def init_producer_id(
        self,
        current: tuple[ProducerId, ProducerEpoch] | None,
        *,
        transactional_id: str | None = None,
    ) -> tuple[ProducerId, ProducerEpoch]:
        """Return a fresh id with epoch 0, or the given one with its epoch raised (KIP-360).

        Raises:
            InvalidRequestError: ``current`` was never given to anybody, or ``transactional_id`` is
                empty.
            UnsupportedVersionError: there is a transactional id; this version has no transactions.
            NotControllerError, RequestTimedOutError: no block of ids could be had.
        """


# --- Topics -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopicToCreate:
    """``None`` means the broker's default for either count."""

    name: str
    partitions: int | None = None
    replication_factor: int | None = None
    configs: Mapping[str, str] | None = None
    assignments: Sequence[Assignment] = ()
    """The replicas of each partition, instead of the counts."""


@dataclass(frozen=True, slots=True)
class TopicCreated:
    """What was made, or would have been."""

    topic_id: bytes
    partitions: int
    replication_factor: int
    configs: Mapping[str, str] = field(default_factory=dict)
    """What was set for it, in canonical form."""


@dataclass(frozen=True, slots=True)
class PartitionsToCreate:
    """A topic and how many partitions it is to have in all."""

    name: str
    partitions: int
    assignments: Sequence[Sequence[BrokerId]] | None = None
    """The replicas of each that is added; ``None``: those that the controller chooses."""


@dataclass(frozen=True, slots=True)
class PartitionDescription:
    """One partition; the last three are -1 where this broker does not lead it."""

    partition: int
    image: PartitionImage
    log_start_offset: Offset
    high_watermark: Offset
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TopicDescription:
    """One topic."""

    topic: TopicImage
    internal: bool
    partitions: Sequence[PartitionDescription]


class TopicsService(Protocol):
    """Creates, deletes, grows and describes topics."""

    async def create_topics(
        self, topics: Sequence[TopicToCreate], *, validate_only: bool, timeout_ms: int
    ) -> list[Result[TopicCreated]]:
        """Create each, and wait until every partition has a leader that serves."""

    async def delete_topics(
        self, topics: Sequence[str | TopicId], *, timeout_ms: int = ...
    ) -> list[Result[None]]:
        """Delete each, by its name or by its id."""

    async def create_partitions(
        self,
        topics: Sequence[PartitionsToCreate],
        *,
        validate_only: bool,
        timeout_ms: int = ...,
    ) -> list[Result[None]]:
        """Raise the number of partitions of each to the total given, and wait as for new topics."""

    def describe_topics(
        self, names: Sequence[str], *, include_internal: bool
    ) -> list[tuple[str, Result[TopicDescription]]]:
        """Describe the topics named, or all."""


# --- The cluster ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HostedPartitionDescription:
    """One partition in a log directory."""

    topic_partition: TopicPartition
    size_bytes: int
    segment_count: int
    log_start_offset: Offset
    log_end_offset: Offset
    durable_end_offset: Offset
    high_watermark: Offset


@dataclass(frozen=True, slots=True)
class LogDirectoryDescription:
    """One directory of the broker asked; ``error`` is set once it failed."""

    path: str
    error: OttlaError | None
    total_bytes: int
    usable_bytes: int
    partitions: Sequence[HostedPartitionDescription]


@dataclass(frozen=True, slots=True)
class BrokerDescription:
    """The broker asked."""

    broker_id: BrokerId
    version: str
    started_at_ms: int
    log_directories: Sequence[LogDirectoryDescription]


@dataclass(frozen=True, slots=True)
class MetadataChange:
    """What is new in the cluster; the first of a watch is all there is."""

    image: ClusterImage
    topics: Sequence[tuple[str, Result[TopicDescription]]]
    """Those that changed. Figures of the moment, such as high watermarks, are not known here."""
    deleted_topics: Sequence[str]


class ClusterService(Protocol):
    """Describes the cluster and this broker."""

    @property
    def image(self) -> ClusterImage:
        """The cluster as this broker knows it."""

    async def metadata(
        self, names: Sequence[str], *, allow_auto_creation: bool
    ) -> list[tuple[str, Result[TopicDescription]]]:
        """Describe the topics named, creating them if that is asked for and allowed; or all."""

    async def find_topics(
        self, names: Sequence[str], *, allow_auto_creation: bool
    ) -> list[tuple[str, Result[TopicImage]]]:
        """Look up the topics named, creating them if that is asked for and allowed.

        Internal ones are found, and never created. Raises :exc:`InvalidRequestError` if too many
        are named.
        """

    def watch(self, names: Sequence[str]) -> AsyncGenerator[MetadataChange]:
        """Yield the topics named, or all, and then what changes, without end.

        Raises :exc:`InvalidRequestError` if too many are named.
        """

    def offline_partitions(self) -> int:
        """How many partitions cannot be used.

        Those that have no leader, and those whose log this broker should have and cannot open.
        """

    def describe_broker(self) -> BrokerDescription:
        """This broker, its directories and the partitions in them."""


# --- Consumer groups ------------------------------------------------------------------------


class GroupsService(Protocol):
    """Consumer groups whose coordinator is this broker, and who coordinates the others."""

    async def coordinator_of(self, group_id: str) -> BrokerId:
        """Return the broker that coordinates a group, whether or not the group exists.

        The first call of a cluster's life makes the topic ``__consumer_offsets``, and waits.

        Raises:
            InvalidGroupIdError: the id is empty.
            CoordinatorNotAvailableError: nobody leads the group's partition, or not yet.
        """

    async def submit(self, request: GroupRequest[T]) -> T:
        """Have the group's coordinator answer a request; waits as long as the request means to.

        Raises what the request's class says, and:
            NotCoordinatorError: another broker coordinates the group.
            CoordinatorLoadInProgressError: this broker is still reading the group's log.
            CoordinatorNotAvailableError: the group's log takes no records at the moment.
        """

    async def wait_for_news(self, group_id: str, member_id: str, *, timeout_ms: int) -> bool:
        """Wait until the next heartbeat of a consumer group's member would tell it something new.

        Returns whether it would; ``False`` too as soon as the same member is waited for again, or
        sends a heartbeat, or is unknown here.
        """

    async def list_groups(self, which: ListGroups) -> Sequence[GroupListing]:
        """List the groups that this broker coordinates.

        Raises :exc:`CoordinatorLoadInProgressError` while some of them are being read.
        """


# --- Quotas ---------------------------------------------------------------------------------


class ClientRate(Protocol):
    """How much a client may get through, in one direction, together with who shares its quota."""

    @property
    def portion_bytes(self) -> int:
        """How much should get through at a time."""

    def spend(self, size_bytes: int) -> None:
        """Take note of bytes that got through, or will at once."""

    def wait_ms(self) -> int:
        """For how long nothing more should get through; 0: it may."""


class QuotasService(Protocol):
    """What each client may send to this broker, and be sent by it.

    A door asks for a client's rate, spends what a request brings or an answer carries, and keeps a
    client waiting that has to wait. ``user`` is without ``User:``; ``None``: any number of bytes.
    """

    def producer_rate(self, user: str, client_id: str) -> ClientRate | None:
        """For records that the client sends."""

    def consumer_rate(self, user: str, client_id: str) -> ClientRate | None:
        """For records that it is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a door needs."""

    produce: ProduceService
    fetch: FetchService
    offsets: OffsetsService
    producer_ids: ProducerIdsService
    topics: TopicsService
    configs: ConfigsService
    cluster: ClusterService
    administration: AdministrationService
    groups: GroupsService
    quotas: QuotasService
