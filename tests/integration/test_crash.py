"""A broker that is killed under load loses, repeats and reorders nothing that it acknowledged."""

from __future__ import annotations

import asyncio
import random

import pytest

from ottla.client import Admin, Consumer, NewTopic, Producer
from ottla.model.ids import TopicPartition
from ottla.testing.broker_process import BrokerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

PARTITIONS = 3
TOPIC = "load"


class Load:
    """Numbered records, sent until told to stop; what was acknowledged, and where."""

    def __init__(self, producer: Producer) -> None:
        self.producer = producer
        self.sent = 0
        self.acknowledged: dict[int, tuple[int, int]] = {}
        self._milestones: list[tuple[int, asyncio.Event]] = []

    async def wait_sent(self, count: int) -> None:
        """Wait until ``count`` records were handed to the producer."""
        reached = asyncio.Event()
        self._milestones.append((count, reached))
        await reached.wait()

    async def send(self, count: int) -> None:
        """Send ``count`` more records, a thousand under way at a time."""
        for _ in range(0, count, 1_000):
            handles = []
            for _ in range(1_000):
                number = self.sent
                self.sent += 1
                for milestone, reached in self._milestones:
                    if self.sent >= milestone:
                        reached.set()
                handle = await self.producer.send(
                    TOPIC, b"%d" % number, partition=number % PARTITIONS
                )
                handles.append((number, handle))
            for number, handle in handles:
                metadata = await handle
                self.acknowledged[number] = (metadata.partition, metadata.offset)


async def read_everything(address: str) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    async with Consumer(TOPIC, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        ends = await consumer.end_offsets(consumer.assignment())
        while len(found) < sum(ends.values()):
            batches = await consumer.getmany(timeout_ms=10_000)
            assert batches, f"only {len(found)} of {sum(ends.values())} records came"
            for partition, records in batches.items():
                for record in records:
                    assert (partition.partition, record.offset) not in found
                    assert record.value is not None
                    found[partition.partition, record.offset] = int(record.value)
    return found


async def create_topic(address: str, **configs: str) -> None:
    async with Admin(bootstrap_servers=address) as admin:
        await admin.create_topics([NewTopic(TOPIC, partitions=PARTITIONS, configs=configs)])


async def run_load_with_crashes(broker: BrokerProcess, *, crashes: int, seed: int) -> Load:
    """Kill the broker at random moments while records are under way, and start it again."""
    rng = random.Random(seed)
    async with Producer(bootstrap_servers=broker.grpc_address) as producer:
        load = Load(producer)
        for _ in range(crashes):
            sending = asyncio.create_task(load.send(20_000))
            await load.wait_sent(load.sent + rng.randrange(1_000, 15_000))
            broker.kill()
            await asyncio.to_thread(broker.start)
            await sending
    return load


async def test_acknowledged_records_survive_kill_9_once_and_in_order(broker: BrokerProcess) -> None:
    await create_topic(broker.grpc_address, **{"segment.bytes": "1048576"})

    load = await run_load_with_crashes(broker, crashes=4, seed=7)

    found = await read_everything(broker.grpc_address)
    assert {place: number for number, place in load.acknowledged.items()} == found
    for partition in range(PARTITIONS):
        numbers = [found[key] for key in sorted(found) if key[0] == partition]
        assert numbers == sorted(numbers)


async def test_consumer_reads_on_where_it_was_when_the_broker_comes_back(
    broker: BrokerProcess,
) -> None:
    await create_topic(broker.grpc_address)
    partition = TopicPartition(TOPIC, 0)
    async with (
        Producer(bootstrap_servers=broker.grpc_address) as producer,
        Consumer(bootstrap_servers=broker.grpc_address, auto_offset_reset="earliest") as consumer,
    ):
        consumer.assign([partition])
        await producer.send_and_wait(TOPIC, b"before", partition=0)
        first = await consumer.getone()
        broker.kill()
        await asyncio.to_thread(broker.start)
        await producer.send_and_wait(TOPIC, b"after", partition=0)
        second = await consumer.getone()

    assert [(r.offset, r.value) for r in (first, second)] == [(0, b"before"), (1, b"after")]


async def test_cleanly_stopped_broker_has_everything_when_it_starts_again(
    broker: BrokerProcess,
) -> None:
    await create_topic(broker.grpc_address)
    async with Producer(bootstrap_servers=broker.grpc_address) as producer:
        load = Load(producer)
        await load.send(5_000)

    assert broker.stop() == 0
    broker.start()

    found = await read_everything(broker.grpc_address)
    assert sorted(found.values()) == list(range(5_000))
