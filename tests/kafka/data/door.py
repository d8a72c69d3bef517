"""The data APIs in front of one broker's partitions on a simulated disk, asked without a socket.

What tests ask by methods goes through the codec of its version, there and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from uuid import UUID

from ottla.cluster.client_rates import QuotaWindows
from ottla.cluster.producer_ids import BrokerProducerIdsService
from ottla.cluster.quotas import BrokerQuotasService
from ottla.config.addresses import Address
from ottla.controller.requests import AllocateProducerIds, ProducerIdBlock
from ottla.kafka.current_leaders import CurrentLeaders
from ottla.kafka.delete_records import DeleteRecordsHandler
from ottla.kafka.describe_producers import DescribeProducersHandler
from ottla.kafka.fetch import FetchHandler
from ottla.kafka.fetch_sessions import FetchSessions
from ottla.kafka.fetch_shares import FetchShares
from ottla.kafka.handling import Begun, Connection, RequestContext
from ottla.kafka.init_producer_id import InitProducerIdHandler
from ottla.kafka.list_offsets import ListOffsetsHandler
from ottla.kafka.offset_for_leader_epoch import OffsetForLeaderEpochHandler
from ottla.kafka.produce import ProduceHandler
from ottla.model.errors import NotControllerError
from ottla.model.ids import BrokerEpoch, BrokerId, ProducerId
from ottla.model.image import BrokerImage
from ottla.wire.codec import read_message, read_request, write_message, write_request
from ottla.wire.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResponse,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
)
from ottla.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from ottla.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from ottla.wire.schema import Message
from tests.cluster.following import Leading
from tests.cluster.world import ME, OTHER, World, batch, broker

M = TypeVar("M", bound=Message)

PRODUCE_NEWEST, FETCH_NEWEST, LIST_OFFSETS_NEWEST = 13, 18, 11
FETCH_BYTES_MAX = 55 << 20


class Controller:
    """Gives out blocks of ten producer ids."""

    def __init__(self) -> None:
        self.next = 1_000
        self.is_there = True

    async def submit(self, request: AllocateProducerIds, *, timeout_ms: int) -> ProducerIdBlock:
        del request, timeout_ms
        if not self.is_there:
            raise NotControllerError("there is no controller at the moment")
        self.next += 10
        return ProducerIdBlock(first=ProducerId(self.next - 10), count=10)


def connection(number: int = 1, principal: str = "User:ANONYMOUS") -> Connection:
    return Connection(
        listener="PLAINTEXT",
        client=Address("127.0.0.1", 50_000),
        local=Address("127.0.0.1", 9092),
        principal=principal,
        number=number,
    )


def context(api_version: int, *, principal: str = "User:ANONYMOUS") -> RequestContext:
    return RequestContext(
        api_version=api_version, client_id="test", connection=connection(principal=principal)
    )


def address_of(broker: BrokerImage, connection: Connection) -> Address | None:
    """Every broker but 3 has a listener that the client can reach."""
    del connection
    return None if broker.broker_id == 3 else Address(broker.host, 9092 + broker.broker_id)


class DataDoor:
    """Handlers in front of a world; the topic ``web`` has two partitions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.sessions = FetchSessions(new_id=self._new_id)
        self.session_ids = 100
        leaders = CurrentLeaders(world.metadata, address_of)
        self.quotas = BrokerQuotasService(
            world.metadata, windows=QuotaWindows(samples=2, size_ms=1_000), clock=world.clock
        )
        self.produce_handler = ProduceHandler(world.produce, world.metadata, leaders, self.quotas)
        self.fetch_handler = FetchHandler(
            world.fetch,
            world.metadata,
            leaders,
            self.quotas,
            sessions=self.sessions,
            shares=FetchShares(answer_bytes_max=FETCH_BYTES_MAX),
            clock=world.clock,
        )
        self.list_offsets_handler = ListOffsetsHandler(world.offsets)
        self.offset_for_leader_epoch = OffsetForLeaderEpochHandler(world.offsets)
        self.delete_records = DeleteRecordsHandler(world.offsets)
        self.describe_producers = DescribeProducersHandler(world.produce)
        self.controller = Controller()
        self.init_producer_id = InitProducerIdHandler(
            BrokerProducerIdsService(
                self.controller, broker_id=ME, broker_epoch=lambda: BrokerEpoch(1)
            )
        )

    def _new_id(self) -> int:
        self.session_ids += 1
        return self.session_ids

    def topic_id(self, name: str) -> UUID:
        topic = self.world.image.topics.get(name)
        return UUID(int=0xDEAD) if topic is None else topic.topic_id

    # --- Produce ---

    def begin(
        self,
        *entries: tuple[str, int, Any],
        version: int = PRODUCE_NEWEST,
        acks: int = -1,
        timeout_ms: int = 30_000,
        transactional_id: str | None = None,
    ) -> Awaitable[Any]:
        """Have a request handled; what is returned gives the response."""
        request = ProduceRequest(
            transactional_id=transactional_id,
            acks=acks,
            timeout_ms=timeout_ms,
            topic_data=[
                TopicProduceData(
                    topic_id=self.topic_id(name),
                    name=name if version < 13 else "",
                    partition_data=[PartitionProduceData(index=index, records=records)],
                )
                for name, index, records in entries
            ],
        )
        handled = self.produce_handler(context(version), arrived(request, version))
        answer = handled.response if isinstance(handled, Begun) else handled
        return _answered(answer, version)

    async def produced(
        self,
        records: Any = None,
        *,
        name: str = "web",
        index: int = 0,
        **how: Any,
    ) -> PartitionProduceResponse:
        """Produce one entry; a batch of one record if nothing else is given."""
        entry = name, index, batch() if records is None else records
        response = await self.begin(entry, **how)
        assert isinstance(response, ProduceResponse), response
        return response.responses[0].partition_responses[0]

    # --- Fetch ---

    async def fetch(
        self,
        *partitions: tuple[str, FetchPartition],
        version: int = FETCH_NEWEST,
        forgotten: Sequence[tuple[str, int]] = (),
        principal: str = "User:ANONYMOUS",
        **request: Any,
    ) -> FetchResponse:
        """Fetch from partitions of topics; ``request`` are fields of the request."""
        by_id = version >= 13
        request_sent = arrived(
            FetchRequest(
                topics=[
                    FetchTopic(topic=name, topic_id=self.topic_id(name), partitions=[partition])
                    for name, partition in partitions
                ],
                forgotten_topics_data=[
                    ForgottenTopic(
                        topic="" if by_id else name,
                        topic_id=self.topic_id(name),
                        partitions=[number],
                    )
                    for name, number in forgotten
                ],
                **({"min_bytes": 1} | request),
            ),
            version,
        )
        response = await self.fetch_handler(context(version, principal=principal), request_sent)
        assert isinstance(response, FetchResponse), response
        return received(response, version)

    async def fetched(
        self,
        offset: int = 0,
        *,
        name: str = "web",
        index: int = 0,
        partition: dict[str, Any] | None = None,
        **request: Any,
    ) -> PartitionData:
        """Fetch from one partition; ``partition`` are further fields of it."""
        asked = FetchPartition(
            partition=index,
            fetch_offset=offset,
            **({"partition_max_bytes": 1 << 20} | (partition or {})),
        )
        response = await self.fetch((name, asked), **request)
        assert response.error_code == 0, response
        return response.responses[0].partitions[0]

    # --- ListOffsets ---

    async def listed(
        self,
        timestamp: int,
        *,
        name: str = "web",
        index: int = 0,
        epoch: int = -1,
        version: int = LIST_OFFSETS_NEWEST,
        isolation_level: int = 0,
    ) -> ListOffsetsPartitionResponse:
        request = arrived(
            ListOffsetsRequest(
                isolation_level=isolation_level,
                topics=[
                    ListOffsetsTopic(
                        name=name,
                        partitions=[
                            ListOffsetsPartition(
                                partition_index=index,
                                current_leader_epoch=epoch,
                                timestamp=timestamp,
                            )
                        ],
                    )
                ],
            ),
            version,
        )
        response = await self.list_offsets_handler(context(version), request)
        return received(response, version).topics[0].partitions[0]

    # --- The world ---

    async def lose_leadership(self, name: str = "web", index: int = 0, to: int = OTHER) -> None:
        """Let a partition be another broker's."""
        await self.world.change_partition(
            name, index, leader=BrokerId(to), replicas=(BrokerId(to),)
        )

    async def follow(self, name: str = "web", index: int = 0) -> None:
        """Let another broker lead a partition, and this one follow."""
        await self.world.change_partition(name, index, leader=OTHER, replicas=(ME, OTHER))

    async def lead_in_epoch(self, epoch: int, name: str = "web", index: int = 0) -> None:
        await self.world.change_partition(name, index, leader_epoch=epoch)


def arrived(request: M, version: int) -> M:
    """Return a request as it comes out of the bytes that a client sends."""
    sent = memoryview(b"".join(write_request(request.API_KEY, version, request)))
    read = read_request(request.API_KEY, version, sent, 0)
    assert isinstance(read, type(request))
    return read


def received(response: M, version: int) -> M:
    """Return a response as a client reads it."""
    return read_message(type(response), version, write_message(response, version))


async def _answered(answer: Awaitable[Any], version: int) -> Any:
    response = await answer
    return received(response, version) if isinstance(response, ProduceResponse) else response


class LeadingDoor(DataDoor):
    """The same where other brokers, in other racks, follow the topic ``orders``."""

    def __init__(self, world: Leading) -> None:
        super().__init__(world)


async def begun(task: asyncio.Task[Any]) -> None:
    """Let a task go on until it waits for something that only the test can bring about."""
    for _ in range(50):
        await asyncio.sleep(0)
    assert not task.done(), task


def in_rack(broker_id: BrokerId, rack: str) -> BrokerImage:
    return replace(broker(broker_id), rack=rack)
