"""A cluster in memory that speaks the real gRPC API on loopback, with faults on demand.

The log survives a restart of a broker, as a disk would let it. What a fault does is decided for
each batch that is produced: :attr:`FakeCluster.plan` is asked once for each, and ``None`` or the
end of the plan means that all goes well.

    cluster.plan = iter([Fault.LOSE_ACK, refuse(6)])
"""

# ruff: noqa: N802, ARG002 -- gRPC gives these methods their names and arguments

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import status_pb2
from grpc_status import rpc_status

from ottla.model.errors import (
    FencedLeaderEpochError,
    NotLeaderOrFollowerError,
    OttlaError,
    UnknownTopicOrPartitionError,
    error_for,
)
from ottla.v1 import (
    cluster_pb2,
    cluster_pb2_grpc,
    configs_pb2_grpc,
    groups_pb2_grpc,
    log_pb2,
    log_pb2_grpc,
    topics_pb2,
    topics_pb2_grpc,
)
from tests.client.fake_admin import FakeConfigsService, FakeTopicsService, described
from tests.client.fake_cluster_service import FakeClusterService
from tests.client.fake_groups import FakeGroups, groups_servicer
from tests.client.fake_log import FakePartition


class Fault(Enum):
    """What happens to a batch besides being appended and acknowledged."""

    LOSE_ACK = "appended, then the stream breaks"
    LOSE_REQUEST = "the stream breaks before it is appended"


@dataclass(frozen=True)
class Refusal:
    """Not appended; answered with an error."""

    code: int


@dataclass(frozen=True)
class LateError:
    """Appended; answered with an error all the same."""

    code: int


@dataclass(frozen=True)
class StreamRefusal:
    """The whole stream ends with a status that carries an error."""

    code: int
    status: grpc.StatusCode = grpc.StatusCode.INVALID_ARGUMENT


@dataclass(frozen=True)
class Damage:
    """Fetched with the last byte wrong."""


AnyFault = Fault | Refusal | LateError | StreamRefusal | None


class Reading:
    """One FetchStream, as the broker sees it."""

    def __init__(self, broker: int) -> None:
        self.broker = broker
        self.places: dict[tuple[str, int], log_pb2.FetchPartition] = {}
        self.in_racks: set[tuple[str, int]] = set()
        """Partitions of which the client has said where it is."""
        self.credit_bytes = 0
        self.is_broken = False
        self.changed = asyncio.Event()

    def tell(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


class Answered:
    """A response to a producer, which waits until what it is about is committed."""

    def __init__(self, response: log_pb2.ProduceResponse) -> None:
        self.response = response
        self._waits: list[tuple[FakePartition, int, log_pb2.PartitionAppended]] = []

    def note(self, cluster: FakeCluster, answer: log_pb2.PartitionAppended) -> None:
        if not answer.error.code:
            partition = cluster.partition(answer.topic, answer.partition)
            self._waits.append((partition, partition.leader_epoch, answer))

    def commit(self) -> None:
        """Commit what is still to be; an old leader cannot."""
        for partition, epoch, answer in self._waits:
            if not partition.replicates:
                continue
            if partition.leader_epoch == epoch:
                partition.commit(answer.end_offset)
            else:
                answer.base_offset = answer.end_offset = -1
                answer.error.CopyFrom(described(NotLeaderOrFollowerError("led at another epoch")))


class FakeCluster:
    """Brokers that share one memory, and the switches of what goes wrong."""

    def __init__(self, *, brokers: int = 1, auto_create: bool = False) -> None:
        self.topics: dict[str, list[FakePartition]] = {}
        self.brokers = [FakeBroker(self, number) for number in range(1, brokers + 1)]
        self.auto_create = auto_create
        self.plan: Iterator[AnyFault] = iter(())
        self.poison: bytes | None = None
        """A request with this in it ends the stream."""
        self.acks_flow = asyncio.Event()
        self.acks_flow.set()
        self.appended = asyncio.Event()
        self.batches_seen = 0
        self.calls: dict[str, int] = defaultdict(int)
        self.producer_ids = 0
        self.discards = False
        self.max_unanswered = 0
        self.log_append_time_ms = -1
        self.closed_with: grpc.StatusCode | None = None
        self.acks_asked: set[int] = set()
        self.speaks = asyncio.Event()
        self.speaks.set()
        self.admin_plan: Iterator[int | None] = iter(())
        self.configs: dict[tuple[str, str], dict[str, str]] = {}
        self.fetch_plan: Iterator[Refusal | Damage | None] = iter(())
        self.lookup_error: OttlaError | None = None
        """Answers every question for an offset."""
        self.fetches_flow = asyncio.Event()
        self.fetches_flow.set()
        self.fetch_requests: list[log_pb2.FetchStreamRequest] = []
        self.readings: list[Reading] = []
        self.bytes_sent = 0
        self.can_watch = True
        """Whether brokers know ``WatchMetadata``; those of earlier versions do not."""
        self.metadata_offset = 1
        self.metadata_changed = asyncio.Event()
        self.watched_at: list[int] = []
        """Where watches of the metadata are open."""
        self.changes_told = 0
        self.changes: list[tuple[object, ...]] = []
        """What administrators changed."""
        self.groups = FakeGroups(self)

    async def start(self) -> None:
        for broker in self.brokers:
            await broker.start()

    async def stop(self) -> None:
        for broker in self.brokers:
            await broker.stop()

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{broker.port}" for broker in self.brokers)

    def create(self, topic: str, partitions: int = 1) -> list[FakePartition]:
        existing = self.topics.setdefault(topic, [])
        while len(existing) < partitions:
            leader = self.brokers[len(existing) % len(self.brokers)].id
            existing.append(FakePartition(leader, keeps_batches=not self.discards))
            self.tell_metadata()
        self.groups.topics_changed()
        return existing

    def tell_metadata(self) -> None:
        """Something changed that brokers tell their clients."""
        self.metadata_offset += 1
        self.metadata_changed.set()
        self.metadata_changed = asyncio.Event()

    def move_leader(self, topic: str, partition: int, *, to: int) -> None:
        moved = self.topics[topic][partition]
        moved.leader = to
        moved.leader_epoch += 1
        self.tell_metadata()
        self.tell_appended()

    def partition(self, topic: str, number: int) -> FakePartition:
        partitions = self.topics.get(topic, [])
        if not 0 <= number < len(partitions):
            raise UnknownTopicOrPartitionError(f"{topic}-{number}")
        return partitions[number]

    def led_partition(self, topic: str, number: int, broker: int) -> FakePartition:
        partition = self.partition(topic, number)
        if partition.leader != broker:
            raise NotLeaderOrFollowerError(f"{topic}-{number} is led by {partition.leader}")
        return partition

    def readings_at(self, broker: int) -> list[Reading]:
        return [each for each in self.readings if each.broker == broker]

    def break_fetch_streams(self) -> None:
        for reading in self.readings:
            reading.is_broken = True
            reading.tell()

    def tell_appended(self) -> None:
        self.appended.set()
        self.appended = asyncio.Event()

    def describe_topic(self, name: str) -> topics_pb2.DescribeTopicsResponse.Topic:
        if name not in self.topics and self.auto_create:
            self.create(name)
        if name not in self.topics:
            error = UnknownTopicOrPartitionError(name)
            return topics_pb2.DescribeTopicsResponse.Topic(name=name, error=described(error))
        return topics_pb2.DescribeTopicsResponse.Topic(
            name=name,
            partitions=[
                topics_pb2.PartitionDescription(
                    partition=number,
                    leader=partition.leader,
                    leader_epoch=partition.leader_epoch,
                    high_watermark=partition.log_end_offset,
                    in_sync_replicas=partition.in_sync_replicas,
                )
                for number, partition in enumerate(self.topics[name])
            ],
        )

    def describe(self, names: Iterable[str]) -> cluster_pb2.GetMetadataResponse:
        topics = [self.describe_topic(name) for name in names]
        return cluster_pb2.GetMetadataResponse(
            cluster_id="fake",
            controller_id=1,
            brokers=self.describe_brokers(),
            topics=topics,
            metadata_offset=self.metadata_offset,
        )

    def describe_brokers(self) -> list[cluster_pb2.Broker]:
        return [
            cluster_pb2.Broker(id=broker.id, host="127.0.0.1", port=broker.port)
            for broker in self.brokers
        ]


class FakeBroker:
    """One server. Keeps its port over restarts."""

    def __init__(self, cluster: FakeCluster, number: int) -> None:
        self.cluster = cluster
        self.id = number
        self.port = 0
        self.batches_sent = 0
        """Answers to readers with something in them."""
        self.credentials: grpc.ServerCredentials | None = None
        self.flow = asyncio.Event()
        """While it is not set, the broker hangs: it says nothing."""
        self.flow.set()
        self.intake = asyncio.Event()
        """While it is not set, it appends nothing either."""
        self.intake.set()
        self.stale: dict[str, cluster_pb2.GetMetadataResponse] | None = None
        """By topic: what it says of the metadata, if it does not hear of changes any more."""
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", 8 << 20),
                ("grpc.max_send_message_length", 8 << 20),
                ("grpc.http2.min_ping_interval_without_data_ms", 400),
            ]
        )
        log_pb2_grpc.add_LogServicer_to_server(FakeLogService(self), server)
        cluster_pb2_grpc.add_ClusterServicer_to_server(FakeClusterService(self), server)
        topics_pb2_grpc.add_TopicsServicer_to_server(FakeTopicsService(self.cluster), server)
        configs_pb2_grpc.add_ConfigsServicer_to_server(FakeConfigsService(self.cluster), server)
        groups_pb2_grpc.add_GroupsServicer_to_server(groups_servicer(self), server)
        address = f"127.0.0.1:{self.port}"
        self.port = (
            server.add_insecure_port(address)
            if self.credentials is None
            else server.add_secure_port(address, self.credentials)
        )
        await server.start()
        self._server = server

    @property
    def is_up(self) -> bool:
        return self._server is not None

    async def stop(self) -> None:
        """Break every connection, at once."""
        if self._server is not None:
            await self._server.stop(None)
            self._server = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    def describe(self, names: Iterable[str]) -> cluster_pb2.GetMetadataResponse:
        """Answer for topics, as far as it has heard of them."""
        if self.stale is None:
            return self.cluster.describe(names)
        told = cluster_pb2.GetMetadataResponse()
        for name in names:
            told.MergeFrom(self.stale[name])
        return told

    def hang(self, *, appends: bool = False) -> None:
        """Say nothing more; with ``appends``, what comes in is appended all the same."""
        self.flow.clear()
        if not appends:
            self.intake.clear()

    def wake(self) -> None:
        """Go on."""
        self.flow.set()
        self.intake.set()

    def cut_off(self) -> None:
        """Hear of no change of the metadata any more."""
        self.stale = {name: self.cluster.describe([name]) for name in self.cluster.topics}


class FakeLogService(log_pb2_grpc.LogServicer):
    """Produce, fetch, and what belongs to them."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.cluster = broker.cluster

    # --- Produce ------------------------------------------------------------------------

    async def ProduceStream(
        self, request_iterator: AsyncIterator[log_pb2.ProduceRequest], context: Any
    ) -> AsyncIterator[log_pb2.ProduceResponse]:
        self.cluster.calls["ProduceStream"] += 1
        if self.cluster.closed_with is not None:
            await context.abort(self.cluster.closed_with, "closed by the fake")
        answers: asyncio.Queue[Answered | AnyFault] = asyncio.Queue()
        reader = asyncio.ensure_future(self._append_all(request_iterator, answers))
        try:
            while True:
                answer = await answers.get()
                if isinstance(answer, StreamRefusal):
                    await self._abort(context, answer)
                if isinstance(answer, Answered):
                    await self.cluster.acks_flow.wait()
                    await self.broker.flow.wait()
                    answer.commit()
                    self.cluster.tell_appended()
                    yield answer.response
                else:
                    await context.abort(grpc.StatusCode.UNAVAILABLE, "the fake broke the stream")
        finally:
            reader.cancel()

    async def _append_all(
        self,
        requests: AsyncIterator[log_pb2.ProduceRequest],
        answers: asyncio.Queue[Answered | AnyFault],
    ) -> None:
        async for request in requests:
            await self.broker.intake.wait()
            self.cluster.acks_asked.add(request.acks)
            response = log_pb2.ProduceResponse(correlation_id=request.correlation_id)
            answered = Answered(response)
            for entry in request.partitions:
                fault = next(self.cluster.plan, None)
                if self.cluster.poison is not None and self.cluster.poison in entry.batches:
                    fault = StreamRefusal(42)
                if fault is Fault.LOSE_REQUEST or isinstance(fault, StreamRefusal):
                    answers.put_nowait(fault)
                    return
                response.partitions.append(self._append(entry, fault))
                answered.note(self.cluster, response.partitions[-1])
                if fault is Fault.LOSE_ACK:
                    answers.put_nowait(fault)
                    return
            answers.put_nowait(answered)
            self.cluster.max_unanswered = max(self.cluster.max_unanswered, answers.qsize())

    def _append(
        self, entry: log_pb2.PartitionRecords, fault: AnyFault
    ) -> log_pb2.PartitionAppended:
        cluster = self.cluster
        cluster.batches_seen += 1
        answer = log_pb2.PartitionAppended(
            topic=entry.topic, partition=entry.partition, base_offset=-1, log_append_time_ms=-1
        )
        try:
            if isinstance(fault, Refusal):
                raise error_for(fault.code, "refused by the fake")
            partition = cluster.led_partition(entry.topic, entry.partition, self.broker.id)
            answer.base_offset = partition.append(entry.batches)
            answer.end_offset = partition.log_end_offset
            answer.log_append_time_ms = cluster.log_append_time_ms
            cluster.tell_appended()
            if isinstance(fault, LateError):
                raise error_for(fault.code, "failed late by the fake")
        except OttlaError as error:
            answer.error.CopyFrom(described(error))
            answer.base_offset = -1
        return answer

    async def _abort(self, context: Any, fault: StreamRefusal) -> None:
        error = error_for(fault.code, "the stream was refused by the fake")
        detail = any_pb2.Any()
        detail.Pack(described(error))
        await context.abort_with_status(
            rpc_status.to_status(
                status_pb2.Status(code=fault.status.value[0], message=str(error), details=[detail])
            )
        )

    async def InitProducerId(
        self, request: log_pb2.InitProducerIdRequest, context: Any
    ) -> log_pb2.InitProducerIdResponse:
        self.cluster.producer_ids += 1
        return log_pb2.InitProducerIdResponse(
            producer_id=self.cluster.producer_ids, producer_epoch=0
        )

    # --- Fetch --------------------------------------------------------------------------

    async def FetchStream(
        self, request_iterator: AsyncIterator[log_pb2.FetchStreamRequest], context: Any
    ) -> AsyncIterator[log_pb2.FetchResponse]:
        cluster = self.cluster
        cluster.calls["FetchStream"] += 1
        if cluster.closed_with is not None:
            await context.abort(cluster.closed_with, "closed by the fake")
        reading = Reading(self.broker.id)
        reader = asyncio.ensure_future(self._follow(request_iterator, reading))
        cluster.readings.append(reading)
        try:
            while not reading.is_broken:
                changed, appended = reading.changed, cluster.appended
                await cluster.fetches_flow.wait()
                await self.broker.flow.wait()
                response = self._read_next(reading)
                if response is None:
                    waits = [asyncio.ensure_future(each.wait()) for each in (changed, appended)]
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                    for wait in waits:
                        wait.cancel()
                    continue
                yield response
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the fake broke the stream")
        finally:
            cluster.readings.remove(reading)
            reader.cancel()

    async def _follow(
        self, requests: AsyncIterator[log_pb2.FetchStreamRequest], reading: Reading
    ) -> None:
        async for request in requests:
            self.cluster.fetch_requests.append(request)
            reading.credit_bytes += request.credit_bytes
            for place in request.partitions:
                reading.places[place.topic, place.partition] = place
                if request.rack and not place.from_follower:
                    reading.in_racks.add((place.topic, place.partition))
                else:
                    reading.in_racks.discard((place.topic, place.partition))
            for place in request.remove:
                reading.places.pop((place.topic, place.partition), None)
            reading.tell()

    def _read_next(self, reading: Reading) -> log_pb2.FetchResponse | None:
        if reading.credit_bytes <= 0:
            return None
        response = log_pb2.FetchResponse()
        for key, place in list(reading.places.items()):
            answer = log_pb2.PartitionFetched(topic=key[0], partition=key[1])
            try:
                fault = next(self.cluster.fetch_plan, None)
                if isinstance(fault, Refusal):
                    raise error_for(fault.code, "refused by the fake")
                partition, batches, next_offset = self._read(place)
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
                del reading.places[key]
                response.partitions.append(answer)
                continue
            if not batches:
                continue
            if isinstance(fault, Damage):
                batches = batches[:-1] + bytes([batches[-1] ^ 0xFF])
            answer.batches = batches
            answer.next_offset = place.offset = next_offset
            answer.high_watermark = partition.high_watermark_of(self.broker.id)
            if key in reading.in_racks and partition.preferred is not None:
                answer.preferred_read_replica = partition.preferred
            reading.credit_bytes -= len(batches)
            response.partitions.append(answer)
            self.cluster.bytes_sent += len(batches)
            self.broker.batches_sent += 1
            break
        return response if response.partitions else None

    def _read(self, place: log_pb2.FetchPartition) -> tuple[FakePartition, bytes, int]:
        """Read where a stream is: as the leader, or as a follower if that is asked for."""
        size = place.max_bytes or 1 << 20
        partition = self.cluster.partition(place.topic, place.partition)
        has_epoch = place.HasField("current_leader_epoch")
        if has_epoch and place.current_leader_epoch < partition.leader_epoch:
            raise FencedLeaderEpochError(f"{partition.leader_epoch} is the epoch")
        follows = partition.leader != self.broker.id and self.broker.id in partition.followers
        if follows and place.from_follower:
            return partition, *partition.read_follower(self.broker.id, place.offset, size)
        partition = self.cluster.led_partition(place.topic, place.partition, self.broker.id)
        return partition, *partition.read(place.offset, size)

    async def ListOffsets(
        self, request: log_pb2.ListOffsetsRequest, context: Any
    ) -> log_pb2.ListOffsetsResponse:
        self.cluster.calls["ListOffsets"] += 1
        await self.broker.flow.wait()
        response = log_pb2.ListOffsetsResponse()
        for asked in request.partitions:
            answer = response.partitions.add(topic=asked.topic, partition=asked.partition)
            answer.offset, answer.timestamp_ms = -1, -1
            try:
                if self.cluster.lookup_error is not None:
                    raise self.cluster.lookup_error
                partition = self.cluster.led_partition(asked.topic, asked.partition, self.broker.id)
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
                continue
            if asked.earliest:
                answer.offset = partition.log_start_offset
            elif asked.latest:
                answer.offset = partition.high_watermark
            else:
                records = partition.records()
                if asked.max_timestamp:
                    records = sorted(records, key=lambda each: -each.timestamp_ms)[:1]
                for record in records:
                    if asked.max_timestamp or record.timestamp_ms >= asked.timestamp_ms:
                        answer.offset, answer.timestamp_ms = record.offset, record.timestamp_ms
                        break
        return response

    async def DeleteRecords(
        self, request: log_pb2.DeleteRecordsRequest, context: Any
    ) -> log_pb2.DeleteRecordsResponse:
        response = log_pb2.DeleteRecordsResponse()
        for asked in request.partitions:
            answer = response.partitions.add(topic=asked.topic, partition=asked.partition)
            try:
                partition = self.cluster.led_partition(asked.topic, asked.partition, self.broker.id)
                answer.log_start_offset = partition.delete_before(asked.before_offset)
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
                answer.log_start_offset = -1
        return response

    async def Produce(self, request: Any, context: Any) -> Any:
        raise NotImplementedError

    async def Fetch(self, request: Any, context: Any) -> Any:
        raise NotImplementedError
