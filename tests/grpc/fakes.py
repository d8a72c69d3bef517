"""Services that keep everything in lists, for a door to stand in front of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from ottla.cluster.admin_services import ConfigEntry, PlannedMove, QuorumDescription, Resource
from ottla.cluster.gate import Gate
from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.server import GrpcServer
from ottla.cluster.instruments import MetricsInstruments
from ottla.cluster.services import (
    BrokerDescription,
    EpochToFind,
    FetchFailed,
    MetadataChange,
    OffsetFound,
    OffsetToFind,
    PartitionAppended,
    PartitionFetched,
    PartitionsToCreate,
    PartitionToAppend,
    PartitionToFetch,
    Result,
    Services,
    TopicCreated,
    TopicDescription,
    TopicToCreate,
)
from ottla.controller.requests import ConfigChange, QuotaChanges, Reassignment
from ottla.coordinator.requests import GroupListing, GroupRequest, ListGroups
from ottla.metrics.registry import BrokerMetrics
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    CoordinatorNotAvailableError,
    InvalidConfigError,
    InvalidRecordError,
    InvalidRequestError,
    InvalidRequiredAcksError,
    NotCoordinatorError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import (
    BrokerId,
    LeaderEpoch,
    Offset,
    ProducerEpoch,
    ProducerId,
    TopicId,
    TopicPartition,
)
from ottla.model.image import ClusterImage, TopicImage
from ottla.record.batch import restamp_in_place, split_batches
from ottla.storage.leader_epochs import EpochEnd
from ottla.storage.producer_state import ProducerEntry

ACKS_ALL = -1

T = TypeVar("T")


class FixedClock:
    """It is always the same moment."""

    def now_ms(self) -> int:
        return 0

    def wall_ms(self) -> int:
        return 1_700_000_000_000


@dataclass
class Pending:
    """An acknowledgement that comes when the test says so."""

    answer: list[Result[PartitionAppended]]
    released: asyncio.Event

    def results(self) -> list[Result[PartitionAppended]] | None:
        return self.answer if self.released.is_set() else None

    async def wait(self) -> list[Result[PartitionAppended]]:
        await self.released.wait()
        return self.answer


@dataclass
class ListedLogs:
    """Partitions 0 and 1 of topic ``web``, each a growing string of batches."""

    batches: dict[TopicPartition, bytearray] = field(
        default_factory=lambda: {TopicPartition("web", n): bytearray() for n in range(2)}
    )
    ends: dict[TopicPartition, int] = field(default_factory=dict)
    acknowledging: asyncio.Event = field(default_factory=asyncio.Event)
    requests: list[int] = field(default_factory=list)
    """Bytes of each produce request, in the order they were begun."""
    _begun: list[tuple[int, asyncio.Event]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.acknowledging.set()

    async def wait_begun(self, count: int) -> None:
        """Wait until ``count`` requests were appended."""
        reached = asyncio.Event()
        self._begun.append((count, reached))
        self._tell_begun()
        await reached.wait()

    def _tell_begun(self) -> None:
        for count, reached in self._begun:
            if len(self.requests) >= count:
                reached.set()

    def needs_preparation(self, partitions: Sequence[PartitionToAppend]) -> bool:
        del partitions
        return False

    async def prepare(self, partitions: Sequence[PartitionToAppend]) -> list[PartitionToAppend]:
        return list(partitions)

    def begin_produce(
        self, partitions: Sequence[PartitionToAppend], *, acks: int, timeout_ms: int
    ) -> Pending:
        del timeout_ms
        if acks not in (0, 1, ACKS_ALL):
            raise InvalidRequiredAcksError(f"acks is {acks}; use 0, 1 or -1 (all)")
        if acks == 1 and not partitions:
            raise ZeroDivisionError("a bug of the service")
        self.requests.append(sum(len(part.batches) for part in partitions))
        self._tell_begun()
        return Pending([self._append(part) for part in partitions], self.acknowledging)

    def _append(self, part: PartitionToAppend) -> Result[PartitionAppended]:
        if part.refusal is not None:
            return part.refusal
        if not part.batches:
            return InvalidRecordError("nothing to append")
        if part.topic_partition not in self.batches:
            return UnknownTopicOrPartitionError(f"no partition {part.topic_partition}")
        end = base = self.ends.get(part.topic_partition, 0)
        content = bytearray(part.batches)
        position = 0
        for batch in split_batches(bytes(content)):
            restamp_in_place(content, position, base_offset=end, leader_epoch=0)
            end += batch.header.last_offset_delta + 1
            position += batch.header.size_bytes
        self.batches[part.topic_partition] += content
        self.ends[part.topic_partition] = end
        return PartitionAppended(Offset(base), Offset(end), -1, Offset(0))

    async def fetch(
        self,
        partitions: Sequence[PartitionToFetch],
        *,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        response_bytes_max: int = 0,
        waited: Callable[[float], None] = lambda _seconds: None,
    ) -> list[PartitionFetched | FetchFailed]:
        del max_wait_ms, min_bytes, response_bytes_max
        waited(0.0)
        if max_bytes < 0:
            raise InvalidRequestError(f"max_bytes is {max_bytes}; it cannot be negative")
        return [self.read(part) for part in partitions]

    def read(self, part: PartitionToFetch) -> PartitionFetched | FetchFailed:
        end = self.ends.get(part.topic_partition, 0)
        if not 0 <= part.offset <= end:
            error = OffsetOutOfRangeError(f"offset {part.offset} is outside [0, {end}]")
            return FetchFailed(part.topic_partition, error)
        records = b"".join(
            bytes(batch.view)
            for batch in split_batches(bytes(self.batches[part.topic_partition]))
            if batch.header.next_offset > part.offset
        )
        return PartitionFetched(
            part.topic_partition,
            part.offset,
            records,
            Offset(end),
            Offset(end),
            Offset(end),
            Offset(0),
        )

    def open_stream(self, *, max_wait_ms: int, min_bytes: int, max_bytes: int) -> ListedStream:
        del max_wait_ms, min_bytes, max_bytes
        return ListedStream(self)

    async def list_offsets(self, queries: Sequence[OffsetToFind]) -> list[Result[OffsetFound]]:
        return [
            OffsetFound(Offset(self.ends.get(query.topic_partition, 0)), -1, LeaderEpoch(3))
            if query.topic_partition in self.batches
            else UnknownTopicOrPartitionError(f"no partition {query.topic_partition}")
            for query in queries
        ]

    async def delete_records(
        self, before: Sequence[tuple[TopicPartition, Offset]]
    ) -> list[Result[Offset]]:
        return [
            offset
            if offset <= self.ends.get(partition, 0)
            else OffsetOutOfRangeError(f"offset {offset} is past the end")
            for partition, offset in before
        ]

    def end_offsets_of_epochs(
        self, queries: Sequence[EpochToFind]
    ) -> list[Result[EpochEnd | None]]:
        return [None for _ in queries]

    def describe_producers(
        self, partitions: Sequence[TopicPartition]
    ) -> list[Result[Sequence[ProducerEntry]]]:
        return [[] for _ in partitions]

    async def init_producer_id(
        self,
        current: tuple[ProducerId, ProducerEpoch] | None,
        *,
        transactional_id: str | None = None,
    ) -> tuple[ProducerId, ProducerEpoch]:
        assert transactional_id is None
        if current is None:
            return ProducerId(4000), ProducerEpoch(0)
        return current[0], ProducerEpoch(current[1] + 1)


class ListedStream:
    """Sends what it reads while credit is positive."""

    def __init__(self, logs: ListedLogs) -> None:
        self._logs = logs
        self._partitions: dict[TopicPartition, PartitionToFetch] = {}
        self._credit = 0
        self._changed = asyncio.Event()
        self._ended = False

    def add(self, partitions: Sequence[PartitionToFetch]) -> None:
        self._partitions |= {part.topic_partition: part for part in partitions}
        self._changed.set()

    def remove(self, partitions: Sequence[TopicPartition]) -> None:
        for part in partitions:
            self._partitions.pop(part, None)

    def grant(self, credit_bytes: int) -> None:
        if credit_bytes < 0:
            raise InvalidRequestError(f"credit of {credit_bytes} bytes is negative")
        self._credit += credit_bytes
        self._changed.set()

    def end_of_credit(self) -> None:
        self._ended = True
        self._changed.set()

    async def responses(self) -> AsyncIterator[list[PartitionFetched | FetchFailed]]:
        while not self._ended or self._credit > 0:
            for part in list(self._partitions.values()):
                if self._credit <= 0:
                    break
                result = self._logs.read(part)
                if isinstance(result, FetchFailed):
                    del self._partitions[part.topic_partition]
                    yield [result]
                elif result.records:
                    self._credit -= len(result.records)
                    self._partitions[part.topic_partition] = PartitionToFetch(
                        part.topic_partition, result.next_offset
                    )
                    yield [result]
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        self._partitions.clear()


class NamedTopics:
    """Topics that exist by name only."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    async def create_topics(
        self, topics: Sequence[TopicToCreate], *, validate_only: bool, timeout_ms: int
    ) -> list[Result[TopicCreated]]:
        del timeout_ms
        results: list[Result[TopicCreated]] = []
        for topic in topics:
            if topic.name in self.names:
                results.append(TopicAlreadyExistsError(f"topic {topic.name} exists"))
                continue
            if not validate_only:
                self.names.add(topic.name)
            results.append(TopicCreated(b"i" * 16, topic.partitions or 1, 1))
        return results

    async def delete_topics(
        self, topics: Sequence[str | TopicId], *, timeout_ms: int = 0
    ) -> list[Result[None]]:
        del timeout_ms
        known = self.names.intersection(topic for topic in topics if isinstance(topic, str))
        self.names -= known
        return [
            None if topic in known else UnknownTopicOrPartitionError(f"no topic {topic}")
            for topic in topics
        ]

    async def create_partitions(
        self, topics: Sequence[PartitionsToCreate], *, validate_only: bool, timeout_ms: int = 0
    ) -> list[Result[None]]:
        del validate_only, timeout_ms
        return [
            None
            if topic.name in self.names
            else UnknownTopicOrPartitionError(f"no topic {topic.name}")
            for topic in topics
        ]

    def describe_topics(
        self, names: Sequence[str], *, include_internal: bool
    ) -> list[tuple[str, Result[TopicDescription]]]:
        del include_internal
        return [(name, UnknownTopicOrPartitionError(f"no topic {name}")) for name in names]


class NoSettings:
    """Resources without settings: whatever is changed is unknown."""

    def describe_configs(
        self, resources: Sequence[tuple[Resource, Sequence[str]]]
    ) -> list[Result[Sequence[ConfigEntry]]]:
        return [[] for _ in resources]

    def describe_new_topic(self, configs: Mapping[str, str]) -> Sequence[ConfigEntry]:
        del configs
        return []

    async def alter_configs(
        self,
        resources: Sequence[tuple[Resource, Sequence[ConfigChange]]],
        *,
        validate_only: bool,
        replaces: bool = False,
    ) -> list[Result[None]]:
        del validate_only, replaces
        return [
            InvalidConfigError(f"no setting {changes[0].key}") if changes else None
            for _, changes in resources
        ]


class NothingToAdminister:
    """A quorum of this broker alone, which refuses every change."""

    def describe_quorum(self) -> QuorumDescription:
        return QuorumDescription(leader_id=BrokerId(0), term=1, applied_index=1, nodes=[])

    async def reassign(
        self, partitions: Sequence[Reassignment], *, keeps_replication_factor: bool = False
    ) -> list[tuple[TopicPartition, Result[None]]]:
        del keeps_replication_factor
        return [
            (part.topic_partition, UnknownTopicOrPartitionError(f"no {part.topic_partition}"))
            for part in partitions
        ]

    async def plan_rebalancing(self, draining: Collection[BrokerId]) -> list[PlannedMove]:
        raise BrokerIdNotRegisteredError(f"no brokers {draining}")

    async def elect_leaders(
        self, partitions: Sequence[TopicPartition], *, unclean: bool
    ) -> list[tuple[TopicPartition, Result[None]]]:
        del unclean
        return [(part, UnknownTopicOrPartitionError(f"no {part}")) for part in partitions]

    async def set_draining(self, broker_id: BrokerId, *, draining: bool) -> None:
        del draining
        raise BrokerIdNotRegisteredError(f"no broker {broker_id}")

    async def unregister_broker(self, broker_id: BrokerId) -> None:
        raise BrokerIdNotRegisteredError(f"no broker {broker_id}")

    async def readmit_voter(self, broker_id: BrokerId, directory_id: bytes) -> None:
        raise InvalidRequestError(f"broker {broker_id} with {directory_id!r} is no voter")

    async def alter_client_quotas(
        self, entities: Sequence[QuotaChanges], *, validate_only: bool
    ) -> list[Result[None]]:
        del validate_only
        return [InvalidRequestError(f"no quotas for {wanted.entity}") for wanted in entities]

    async def set_feature_level(self, name: str, level: int, *, validate_only: bool) -> None:
        del validate_only
        raise InvalidRequestError(f"no feature {name} of level {level}")


class EmptyCluster:
    """A cluster of nobody."""

    image = ClusterImage(cluster_id="test-cluster")

    async def metadata(
        self, names: Sequence[str], *, allow_auto_creation: bool
    ) -> list[tuple[str, Result[TopicDescription]]]:
        del allow_auto_creation
        return [(name, UnknownTopicOrPartitionError(f"no topic {name}")) for name in names]

    async def find_topics(
        self, names: Sequence[str], *, allow_auto_creation: bool
    ) -> list[tuple[str, Result[TopicImage]]]:
        del allow_auto_creation
        return [(name, UnknownTopicOrPartitionError(f"no topic {name}")) for name in names]

    async def watch(self, names: Sequence[str]) -> AsyncGenerator[MetadataChange]:
        yield MetadataChange(
            self.image,
            [(name, UnknownTopicOrPartitionError(f"no topic {name}")) for name in names],
            (),
        )
        await asyncio.Event().wait()

    def offline_partitions(self) -> int:
        return 0

    def describe_broker(self) -> BrokerDescription:
        return BrokerDescription(BrokerId(0), "test", 1, [])


class NoQuotas:
    """Every client may send and be sent what it likes."""

    def producer_rate(self, user: str, client_id: str) -> None:
        del user, client_id

    def consumer_rate(self, user: str, client_id: str) -> None:
        del user, client_id


class NoGroups:
    """A broker that coordinates no group."""

    async def coordinator_of(self, group_id: str) -> BrokerId:
        raise CoordinatorNotAvailableError(f"nobody coordinates {group_id}")

    async def submit(self, request: GroupRequest[T]) -> T:
        raise NotCoordinatorError(f"{request.group_id} is not coordinated here")

    async def wait_for_news(self, group_id: str, member_id: str, *, timeout_ms: int) -> bool:
        del group_id, member_id, timeout_ms
        return False

    async def list_groups(self, which: ListGroups) -> Sequence[GroupListing]:
        del which
        return []


@dataclass
class Door:
    """The server under test with what is behind it."""

    logs: ListedLogs
    gate: Gate
    server: GrpcServer
    port: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


def new_server(logs: ListedLogs, gate: Gate) -> GrpcServer:
    """Make a server in front of fakes."""
    services = Services(
        produce=logs,
        fetch=logs,
        offsets=logs,
        producer_ids=logs,
        topics=NamedTopics(),
        configs=NoSettings(),
        cluster=EmptyCluster(),
        administration=NothingToAdminister(),
        groups=NoGroups(),
        quotas=NoQuotas(),
    )
    calls = Calls(
        gate=gate, instruments=MetricsInstruments(BrokerMetrics(version="test", node_id=0))
    )
    return GrpcServer(services, FixedClock(), calls)
