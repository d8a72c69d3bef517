"""A whole broker in this process, asked frame by frame through a real port."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple
from uuid import UUID

from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from ottla.wire.messages.delete_topics import DeleteTopicsRequest, DeleteTopicState
from ottla.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, PartitionData
from ottla.wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from ottla.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    TopicProduceData,
)
from ottla.wire.schema import Message
from tests.grpc.running_broker import RunningBroker
from tests.kafka.doors import Client

PARTITIONS = 2
TIMEOUT_MS = 10_000
TIMESTAMP_MS = 1_700_000_000_000
SETTINGS = {
    "num__partitions": str(PARTITIONS),
    "offsets__topic__num__partitions": "1",
    "group__initial__rebalance__delay__ms": "0",
}


class WholeBroker:
    """Whatever is asked goes through one connection, unless the test makes others."""

    def __init__(self, **settings: str) -> None:
        self.running = RunningBroker(**{**SETTINGS, **settings})
        self.clients: list[Client] = []

    async def open(self) -> WholeBroker:
        await self.running.start()
        await self.connect()
        return self

    async def close(self) -> None:
        for client in self.clients:
            client.writer.close()
        await self.running.end()

    async def crash_and_start(self) -> None:
        """Cut the power, start again on what the disk kept, and connect."""
        await self.running.crash_and_start()
        await self.connect()

    async def connect(self, listener: str = "PLAINTEXT", host: str = "127.0.0.1") -> Client:
        """Return a new connection, of which the first thing asked is up to the caller."""
        reader, writer = await asyncio.open_connection(host, self.port(listener))
        self.clients.append(Client(reader, writer))
        return self.clients[-1]

    def port(self, listener: str = "PLAINTEXT") -> int:
        assert self.running.broker is not None
        return self.running.broker.addresses.kafka[listener].port

    async def ask(self, version: int, request: Message, *, client: Client | None = None) -> Any:
        """Send a request and return its answer."""
        asked = client or self.clients[-1]
        number = asked.send(request, version)
        correlation_id, response = await asked.receive(request.API_KEY, version)
        assert correlation_id == number
        return response

    # --- What most tests ask ---

    async def create(self, name: str, **configs: str) -> UUID:
        """Create a topic of two partitions and return its id; ``_`` stands for ``.``."""
        topic = CreatableTopic(
            name=name,
            num_partitions=-1,
            replication_factor=-1,
            configs=[
                CreatableTopicConfig(name=key.replace("_", "."), value=value)
                for key, value in configs.items()
            ],
        )
        response = await self.ask(7, CreateTopicsRequest(topics=[topic], timeout_ms=TIMEOUT_MS))
        assert [one.error_code for one in response.topics] == [0], response
        topic_id: UUID = response.topics[0].topic_id
        return topic_id

    async def delete(self, name: str) -> None:
        request = DeleteTopicsRequest(topics=[DeleteTopicState(name=name)], timeout_ms=TIMEOUT_MS)
        response = await self.ask(6, request)
        assert [one.error_code for one in response.responses] == [0]

    async def metadata(self, *names: str, create: bool = False, version: int = 12) -> Any:
        topics = [MetadataRequestTopic(name=name) for name in names]
        return await self.ask(
            version, MetadataRequest(topics=topics, allow_auto_topic_creation=create)
        )

    async def produce(
        self, records: bytes, *, name: str, partition: int = 0, version: int = 9, acks: int = -1
    ) -> PartitionProduceResponse:
        request = produce(records, name=name, partition=partition, acks=acks)
        response = await self.ask(version, request)
        answer: PartitionProduceResponse = response.responses[0].partition_responses[0]
        return answer

    async def fetch(
        self, offset: int = 0, *, name: str = "", topic_id: UUID | None = None, version: int = 12
    ) -> PartitionData:
        asked = FetchPartition(fetch_offset=offset, partition_max_bytes=1 << 20)
        topic = FetchTopic(topic=name, partitions=[asked])
        if topic_id is not None:
            topic.topic_id = topic_id
        response = await self.ask(version, FetchRequest(topics=[topic]))
        assert response.error_code == 0
        answer: PartitionData = response.responses[0].partitions[0]
        return answer


def produce(records: bytes, *, name: str, partition: int = 0, acks: int = -1) -> ProduceRequest:
    data = PartitionProduceData(index=partition, records=records)
    return ProduceRequest(
        acks=acks,
        timeout_ms=TIMEOUT_MS,
        topic_data=[TopicProduceData(name=name, partition_data=[data])],
    )


class Identity(NamedTuple):
    """Of an idempotent producer."""

    producer_id: int
    epoch: int


NOBODY = Identity(-1, -1)


def batch(
    *values: bytes, codec: Codec = Codec.NONE, producer: Identity = NOBODY, sequence: int = -1
) -> bytes:
    builder = BatchBuilder(
        codec,
        producer_id=producer.producer_id,
        producer_epoch=producer.epoch,
        base_sequence=sequence,
    )
    for value in values or (b"value",):
        builder.append(key=None, value=value, timestamp_ms=TIMESTAMP_MS)
    return builder.build()
