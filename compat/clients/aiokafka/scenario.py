"""What an application does with aiokafka, step by step.

Run it with ``python -m compat.clients.aiokafka.scenario 127.0.0.1:9092``.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

from compat.clients.steps import (
    CODECS,
    FIRST_TIMESTAMP_MS,
    PARTITIONS,
    PATIENCE_S,
    RECORDS,
    REPETITIVE,
    Steps,
    new_name,
)

_POLL_MS = 200


class Scenario:
    """The steps, in order; they share one topic."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.topic = new_name("aiokafka")
        self.admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
        self.replicas = 1
        """Of every topic; this client does not let the cluster choose."""

    async def run(self) -> int:
        steps = Steps()
        await self.admin.start()
        with steps("create a topic"):
            await self.create()
        with steps("describe cluster, topic and configuration"):
            await self.describe()
        with steps("produce with keys, headers and timestamps"):
            await self.produce()
        with steps("consume from the beginning, in order"):
            await self.consume()
        for codec in CODECS:
            with steps(f"compression {codec}"):
                await self.compress(codec)
        with steps("commit and resume"):
            await self.commit_and_resume()
        with steps("idempotent producer"):
            await self.produce_idempotently()
        with steps("two members share partitions, one leaves"):
            await self.share()
        with steps("offsets by timestamp"):
            await self.offsets_by_timestamp()
        with steps("groups are listed and described"):
            await self.groups()
        with steps("add partitions"):
            await self.alter()
        with steps("delete the topic"):
            await self.delete()
        await self.admin.close()
        return steps.status()

    def consumer(self, group: str | None, *topics: str) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self.bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=500,
        )

    async def create(self) -> None:
        self.replicas = min(3, len((await self.admin.describe_cluster())["brokers"]))
        forever = {"retention.ms": "-1"}
        wanted = NewTopic(self.topic, PARTITIONS, self.replicas, topic_configs=forever)
        await self.admin.create_topics([wanted])
        # Any broker may answer, and learns of the topic a moment later.
        async with asyncio.timeout(PATIENCE_S):
            while self.topic not in await self.admin.list_topics():
                await asyncio.sleep(_POLL_MS / 1000)

    async def describe(self) -> None:
        assert (await self.admin.describe_cluster())["brokers"]
        (topic,) = await self.admin.describe_topics([self.topic])
        assert len(topic["partitions"]) == PARTITIONS
        resource = ConfigResource(ConfigResourceType.TOPIC, self.topic)
        assert "retention.ms" in str(await self.admin.describe_configs([resource]))

    async def produce(self) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            sent = [
                await producer.send(
                    self.topic,
                    key=b"key-%d" % i,
                    value=b"value-%d" % i,
                    partition=i % PARTITIONS,
                    timestamp_ms=FIRST_TIMESTAMP_MS + i,
                    headers=[("number", b"%d" % i)],
                )
                for i in range(RECORDS)
            ]
            for i, told in enumerate(await asyncio.gather(*sent)):
                assert told.offset == i // PARTITIONS

    async def read(self, consumer: AIOKafkaConsumer, count: int) -> list[Any]:
        records: list[Any] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(records) < count:
                for some in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
                    records.extend(some)
        return records

    async def consume(self) -> None:
        async with self.consumer(f"{self.topic}-all", self.topic) as consumer:
            following = dict.fromkeys(range(PARTITIONS), 0)
            for record in await self.read(consumer, RECORDS):
                assert record.offset == following[record.partition], "out of order"
                following[record.partition] += 1
                i = record.offset * PARTITIONS + record.partition
                assert (record.key, record.value) == (b"key-%d" % i, b"value-%d" % i)
                assert record.timestamp == FIRST_TIMESTAMP_MS + i
                assert list(record.headers) == [("number", b"%d" % i)]

    async def write_and_read(self, topic: str, values: list[bytes], **settings: Any) -> None:  # noqa: ANN401 -- as the client's own
        await self.admin.create_topics([NewTopic(topic, 1, self.replicas)])
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, **settings) as producer:
            await asyncio.gather(*[await producer.send(topic, value) for value in values])
        async with self.consumer(None) as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            records = await self.read(consumer, len(values))
        assert [record.value for record in records] == values

    async def compress(self, codec: str) -> None:
        values = [f"{i}{REPETITIVE}".encode() for i in range(50)]
        topic = f"{self.topic}-{codec}"
        await self.write_and_read(topic, values, compression_type=codec, linger_ms=100)

    async def produce_idempotently(self) -> None:
        values = [b"%d" % i for i in range(RECORDS)]
        await self.write_and_read(f"{self.topic}-idempotent", values, enable_idempotence=True)

    async def commit_and_resume(self) -> None:
        group = f"{self.topic}-resume"
        async with self.consumer(group, self.topic) as consumer:
            before = {record.key for record in await self.read(consumer, 1)}
            await consumer.commit()
        async with self.consumer(group, self.topic) as consumer:
            after = {record.key for record in await self.read(consumer, RECORDS - len(before))}
            assert not before & after, f"read twice: {sorted(before & after)}"
            assert len(before | after) == RECORDS
            partition = TopicPartition(self.topic, 0)
            await consumer.commit({partition: OffsetAndMetadata(20, "back to 20")})
            assert await consumer.committed(partition) == 20

    async def share(self) -> None:
        group = f"{self.topic}-shared"
        members = [self.consumer(group, self.topic) for _ in range(2)]
        for member in members:
            await member.start()

        async def until(done: Callable[[list[int]], bool]) -> None:
            deadline_s = time.monotonic() + PATIENCE_S
            sizes: list[int] = []
            while not done(sizes):
                assert time.monotonic() < deadline_s, f"partitions of each: {sizes}"
                for member in members:
                    await member.getmany(timeout_ms=_POLL_MS)
                sizes = [len(member.assignment()) for member in members]

        await until(lambda sizes: sizes == [2, 2])
        await members.pop().stop()
        await until(lambda sizes: sizes == [PARTITIONS])
        await members.pop().stop()

    async def offsets_by_timestamp(self) -> None:
        first, second = (TopicPartition(self.topic, number) for number in (0, 1))
        async with self.consumer(None) as consumer:
            found = await consumer.offsets_for_times(
                {first: FIRST_TIMESTAMP_MS + 41, second: FIRST_TIMESTAMP_MS + 10_000}
            )
            assert found[first].offset == 11
            assert found[second] is None
            assert await consumer.beginning_offsets([first]) == {first: 0}
            assert await consumer.end_offsets([first]) == {first: 25}

    async def groups(self) -> None:
        group = f"{self.topic}-resume"
        assert group in str(await self.admin.list_consumer_groups())
        assert "Empty" in str(await self.admin.describe_consumer_groups([group]))
        offsets = await self.admin.list_consumer_group_offsets(group)
        assert offsets[TopicPartition(self.topic, 0)].offset == 20

    async def alter(self) -> None:
        await self.admin.create_partitions({self.topic: NewPartitions(PARTITIONS + 2)})
        async with asyncio.timeout(PATIENCE_S):
            while True:
                (topic,) = await self.admin.describe_topics([self.topic])
                if len(topic["partitions"]) == PARTITIONS + 2:
                    return
                await asyncio.sleep(_POLL_MS / 1000)

    async def delete(self) -> None:
        await self.admin.delete_topics([self.topic])
        async with asyncio.timeout(PATIENCE_S):
            while self.topic in await self.admin.list_topics():
                await asyncio.sleep(_POLL_MS / 1000)


async def main(bootstrap: str) -> int:
    return await Scenario(bootstrap).run()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1])))
