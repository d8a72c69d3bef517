"""How many records a second does ``ottla.client`` take and give, from and to plain bytes?"""

from __future__ import annotations

import time
from pathlib import Path

import uvloop

from benchmarks.report import Figure
from ottla.client import Admin, Consumer, NewTopic, Producer
from ottla.model.ids import TopicPartition
from ottla.testing.broker_process import BrokerProcess

RECORDS = 1_000_000
PARTITIONS = 4
VALUE = b"v" * 100


def measure(directory: Path) -> list[Figure]:
    """One producer, then one consumer; every record accounted for."""
    produced: list[float] = []
    consumed: list[float] = []
    latencies_ms: list[float] = []
    with BrokerProcess(data_directory=directory / "client") as broker:
        for number in range(4):
            topic = f"round-{number}"
            rates = uvloop.run(_one_round(broker.grpc_address, topic))
            if number == 0:
                continue  # warm-up
            produced.append(rates[0])
            consumed.append(rates[1])
        latencies_ms = uvloop.run(_latencies_ms(broker.grpc_address))
    latencies_ms.sort()
    return [
        Figure(
            name="Producer, 100-byte values, acks=all, synced, idempotent",
            unit="records/s",
            rounds=produced,
            goal=250_000,
        ),
        Figure(name="Consumer of the same", unit="records/s", rounds=consumed),
        Figure(
            name="one record, send to acknowledgement, p50",
            unit="ms",
            rounds=[latencies_ms[len(latencies_ms) // 2]],
            lower_is_better=True,
        ),
        Figure(
            name="... p99",
            unit="ms",
            rounds=[latencies_ms[len(latencies_ms) * 99 // 100]],
            lower_is_better=True,
        ),
    ]


async def _one_round(address: str, topic: str) -> tuple[float, float]:
    async with Admin(bootstrap_servers=address) as admin:
        await admin.create_topics([NewTopic(topic, partitions=PARTITIONS)])
    async with Producer(bootstrap_servers=address) as producer:
        started = time.perf_counter()
        for _ in range(RECORDS):
            await producer.send(topic, VALUE)
        await producer.flush()
        produce_seconds = time.perf_counter() - started
    async with Consumer(topic, bootstrap_servers=address, auto_offset_reset="earliest") as consumer:
        started = time.perf_counter()
        received = 0
        while received < RECORDS:
            batches = await consumer.getmany(timeout_ms=1_000)
            received += sum(len(records) for records in batches.values())
        consume_seconds = time.perf_counter() - started
    assert received == RECORDS, received
    return RECORDS / produce_seconds, RECORDS / consume_seconds


async def _latencies_ms(address: str) -> list[float]:
    taken: list[float] = []
    async with Admin(bootstrap_servers=address) as admin:
        await admin.create_topics([NewTopic("latency", partitions=1)])
    async with Producer(bootstrap_servers=address, linger_ms=0) as producer:
        for _ in range(1_000):
            started = time.perf_counter()
            await producer.send_and_wait("latency", VALUE, partition=0)
            taken.append((time.perf_counter() - started) * 1e3)
    assert TopicPartition("latency", 0)
    return taken
