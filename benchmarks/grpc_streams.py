"""How many ready-made batches go through the streaming gRPC API of one broker?

One client process, this one: a request carries a 64 KiB batch for each of four partitions. The
broker is a process of its own with its data on a real disk, synced before every acknowledgement
(``acks=all``, the defaults of a new topic).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import uvloop

from benchmarks.batches import ready_made_batch
from benchmarks.report import Figure
from ottla.testing.broker_process import BrokerProcess
from ottla.v1 import log_pb2, log_pb2_grpc, topics_pb2, topics_pb2_grpc

PARTITIONS = 4
RECORDS = 3_000_000
REQUESTS_UNANSWERED_MAX = 64
CHANNEL_OPTIONS = [
    ("grpc.max_receive_message_length", 8 << 20),
    ("grpc.max_send_message_length", 8 << 20),
]


def measure(directory: Path) -> list[Figure]:
    """Produce, then read back, several rounds each on a topic of its own."""
    produced: list[float] = []
    produced_bytes: list[float] = []
    fetched: list[float] = []
    with BrokerProcess(data_directory=directory / "streams") as broker:
        for number in range(5):
            topic = f"round-{number}"
            rate, byte_rate = uvloop.run(_produce(broker.grpc_address, topic))
            read_rate = uvloop.run(_fetch(broker.grpc_address, topic))
            if number == 0:
                continue  # warm-up
            produced.append(rate)
            produced_bytes.append(byte_rate / 1e6)
            fetched.append(read_rate)
    return [
        Figure(
            name="ProduceStream, 100-byte records in 64 KiB batches, acks=all, synced",
            unit="records/s",
            rounds=produced,
            goal=1_000_000,
        ),
        Figure(name="... the same in bytes", unit="MB/s", rounds=produced_bytes),
        Figure(name="FetchStream of the same", unit="records/s", rounds=fetched),
    ]


async def _produce(address: str, topic: str) -> tuple[float, float]:
    batch, count = ready_made_batch(batch_bytes=64 << 10, record_bytes=100)
    requests_total = RECORDS // (count * PARTITIONS)
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        created = await topics_pb2_grpc.TopicsStub(channel).CreateTopics(
            topics_pb2.CreateTopicsRequest(
                topics=[topics_pb2.NewTopic(name=topic, partitions=PARTITIONS)]
            )
        )
        assert not created.topics[0].error.code, created.topics[0].error.message
        window = asyncio.Semaphore(REQUESTS_UNANSWERED_MAX)

        async def requests() -> AsyncIterator[log_pb2.ProduceRequest]:
            for number in range(requests_total):
                await window.acquire()
                yield log_pb2.ProduceRequest(
                    acks=-1,
                    correlation_id=number,
                    partitions=[
                        log_pb2.PartitionRecords(topic=topic, partition=partition, batches=batch)
                        for partition in range(PARTITIONS)
                    ],
                )

        started = time.perf_counter()
        answered = 0
        async for response in log_pb2_grpc.LogStub(channel).ProduceStream(requests()):
            assert not any(result.error.code for result in response.partitions), response
            assert response.correlation_id == answered
            answered += 1
            window.release()
        seconds = time.perf_counter() - started
    assert answered == requests_total
    batches = answered * PARTITIONS
    return batches * count / seconds, batches * len(batch) / seconds


async def _fetch(address: str, topic: str) -> float:
    _, count = ready_made_batch(batch_bytes=64 << 10, record_bytes=100)
    expected = RECORDS // (count * PARTITIONS) * count * PARTITIONS
    credit = 16 << 20
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        # The stubs do not know streams that are read and written without generators.
        stub: Any = log_pb2_grpc.LogStub(channel)
        call = stub.FetchStream()
        started = time.perf_counter()
        await call.write(
            log_pb2.FetchStreamRequest(
                credit_bytes=credit,
                partitions=[
                    log_pb2.FetchPartition(topic=topic, partition=number, offset=0)
                    for number in range(PARTITIONS)
                ],
            )
        )
        ends = [0] * PARTITIONS
        to_grant = 0
        while sum(ends) < expected:
            response = await call.read()
            for fetched in response.partitions:
                assert not fetched.error.code, fetched.error.message
                ends[fetched.partition] = fetched.next_offset
                to_grant += len(fetched.batches)
            if to_grant >= credit // 4:
                await call.write(log_pb2.FetchStreamRequest(credit_bytes=to_grant))
                to_grant = 0
        seconds = time.perf_counter() - started
        call.cancel()
    return expected / seconds
