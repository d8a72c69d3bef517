"""How much goes through three brokers that replicate everything, on one machine?

Replication factor 3, ``acks=all``, synced on every in-sync replica before it is acknowledged: every
byte is written, synced and sent over loopback three times, and the load generator shares the cores.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import uvloop

from benchmarks.batches import ready_made_batch
from benchmarks.grpc_streams import CHANNEL_OPTIONS
from benchmarks.report import Figure
from ottla.client import Admin, NewTopic, Producer
from ottla.testing.cluster_processes import ClusterProcesses
from ottla.v1 import log_pb2, log_pb2_grpc

PARTITIONS = 12
REQUESTS = 750
UNANSWERED_MAX = 16
LATENCY_RECORDS = 2_000


def measure(directory: Path) -> list[Figure]:
    """Throughput of ready-made batches, then the latency of single records."""
    rates: list[float] = []
    with ClusterProcesses(data_directory=directory / "replicated") as cluster:
        for number in range(4):
            rate = uvloop.run(_produce(cluster.bootstrap, f"round-{number}"))
            if number:  # the first is to warm up
                rates.append(rate)
        latencies_ms = sorted(uvloop.run(_latencies_ms(cluster.bootstrap)))
    return [
        Figure(
            name="ProduceStream, 1 KB records in 64 KiB batches, RF 3, acks=all, synced",
            unit="MB/s",
            rounds=rates,
            goal=60,
        ),
        Figure(
            name="one record, RF 3, send to acknowledgement, p50",
            unit="ms",
            rounds=[latencies_ms[len(latencies_ms) // 2]],
            goal=4,
            lower_is_better=True,
        ),
        Figure(
            name="... p99",
            unit="ms",
            rounds=[latencies_ms[len(latencies_ms) * 99 // 100]],
            lower_is_better=True,
        ),
    ]


async def _produce(bootstrap: str, topic: str) -> float:
    async with Admin(bootstrap_servers=bootstrap) as admin:
        await admin.create_topics([NewTopic(topic, partitions=PARTITIONS, replication_factor=3)])
        (description,) = await admin.describe_topics([topic])
        brokers = {
            broker.broker_id: str(broker.address)
            for broker in (await admin.describe_cluster()).brokers
        }
    batch, _ = ready_made_batch(batch_bytes=64 << 10, record_bytes=1_000)
    for address in brokers.values():
        await _wait_known(address, topic)
    led: dict[str, list[int]] = defaultdict(list)
    for partition in description.partitions:
        led[brokers[partition.leader]].append(partition.partition)
    started = time.perf_counter()
    await asyncio.gather(
        *(_produce_to(address, topic, partitions, batch) for address, partitions in led.items())
    )
    return PARTITIONS * REQUESTS * len(batch) / (time.perf_counter() - started) / 1e6


async def _wait_known(address: str, topic: str) -> None:
    """Wait until one broker has heard of the topic: here, nobody asks again as clients do."""
    async with asyncio.timeout(10), Admin(bootstrap_servers=address) as admin:
        while True:
            if topic in [description.name for description in await admin.describe_topics()]:
                return
            await asyncio.sleep(0.01)


async def _produce_to(address: str, topic: str, partitions: list[int], batch: bytes) -> None:
    """Send a broker, in each request, one batch for every partition that it leads."""
    window = asyncio.Semaphore(UNANSWERED_MAX)

    async def requests() -> AsyncIterator[log_pb2.ProduceRequest]:
        for number in range(REQUESTS):
            await window.acquire()
            yield log_pb2.ProduceRequest(
                acks=-1,
                correlation_id=number,
                partitions=[
                    log_pb2.PartitionRecords(topic=topic, partition=partition, batches=batch)
                    for partition in partitions
                ],
            )

    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        async for response in log_pb2_grpc.LogStub(channel).ProduceStream(requests()):
            assert not any(result.error.code for result in response.partitions), response
            window.release()


async def _latencies_ms(bootstrap: str) -> list[float]:
    found = []
    async with Admin(bootstrap_servers=bootstrap) as admin:
        await admin.create_topics([NewTopic("latency", partitions=1, replication_factor=3)])
    async with Producer(bootstrap_servers=bootstrap, linger_ms=0) as producer:
        for number in range(LATENCY_RECORDS + 200):
            started = time.perf_counter()
            await producer.send_and_wait("latency", b"v" * 1_000)
            if number >= 200:
                found.append((time.perf_counter() - started) * 1e3)
    return found
