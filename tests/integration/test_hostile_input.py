"""Whatever arrives on its ports, a broker answers or hangs up, and goes on serving others."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from ottla.client import Admin, Consumer, NewTopic, Producer
from ottla.model.limits import REQUEST_BYTES_MAX
from ottla.record.builder import BatchBuilder
from ottla.testing.broker_process import BrokerProcess
from ottla.v1 import log_pb2, log_pb2_grpc, types_pb2

pytestmark = pytest.mark.integration

TOPIC = "hostile"


@pytest.fixture
async def admin(shared_broker: BrokerProcess) -> AsyncIterator[Admin]:
    async with Admin(bootstrap_servers=shared_broker.grpc_address) as client:
        if TOPIC not in await client.list_topics():
            await client.create_topics([NewTopic(TOPIC, partitions=2)])
        yield client


@pytest.fixture
async def log_service(shared_broker: BrokerProcess, admin: Admin) -> AsyncIterator[Any]:
    del admin  # it made the topic
    options = [("grpc.max_send_message_length", 64 << 20)]
    async with grpc.aio.insecure_channel(shared_broker.grpc_address, options=options) as channel:
        yield log_pb2_grpc.LogStub(channel)


def batch(value: bytes = b"value") -> bytes:
    builder = BatchBuilder()
    builder.append(key=None, value=value, timestamp_ms=1_700_000_000_000)
    return builder.build()


def produce(*partitions: tuple[int, bytes], acks: int = -1) -> log_pb2.ProduceRequest:
    return log_pb2.ProduceRequest(
        acks=acks,
        partitions=[
            log_pb2.PartitionRecords(topic=TOPIC, partition=partition, batches=batches)
            for partition, batches in partitions
        ],
    )


async def log_end(broker: BrokerProcess) -> int:
    async with Admin(bootstrap_servers=broker.grpc_address) as client:
        partitions = (await client.describe_broker()).log_directories[0].partitions
        return sum(part.log_end_offset for part in partitions if part.topic_partition[0] == TOPIC)


async def works(broker: BrokerProcess) -> bool:
    async with (
        Producer(bootstrap_servers=broker.grpc_address) as producer,
        Consumer(TOPIC, bootstrap_servers=broker.grpc_address) as consumer,
    ):
        await consumer.seek_to_end()
        metadata = await producer.send_and_wait(TOPIC, b"still here", partition=0)
        record = await consumer.getone()
        return (record.offset, record.value) == (metadata.offset, b"still here")


def talk(port: int, sent: bytes) -> bytes:
    """Send bytes to a port and return what comes back until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        received = b""
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65_536):
                received += chunk
        except OSError:
            pass  # it hung up while we were still talking, which is an answer
        return received


@pytest.mark.parametrize("seed", range(5))
async def test_garbage_on_the_grpc_port_costs_that_connection_only(
    shared_broker: BrokerProcess, admin: Admin, seed: int
) -> None:
    del admin
    garbage = random.Random(seed).randbytes(100_000)
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if seed % 2 else b""

    await asyncio.to_thread(talk, shared_broker.grpc_port, preface + garbage)

    assert await works(shared_broker)


async def test_garbage_on_the_http_port_is_refused(shared_broker: BrokerProcess) -> None:
    answer = await asyncio.to_thread(talk, shared_broker.http_port, os.urandom(10_000))

    assert answer == b"" or answer.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("position", [17, 30, 61, -1])
async def test_flipped_bit_is_answered_with_corrupt_message_and_nothing_is_appended(
    shared_broker: BrokerProcess, log_service: Any, position: int
) -> None:
    before = await log_end(shared_broker)
    damaged = bytearray(batch())
    damaged[position] ^= 0x10

    response = await log_service.Produce(produce((0, bytes(damaged))))

    assert response.partitions[0].error.code == types_pb2.Error.CORRUPT_MESSAGE
    assert await log_end(shared_broker) == before


async def test_bad_batch_leaves_the_other_partitions_of_its_request_alone(
    log_service: Any,
) -> None:
    response = await log_service.Produce(produce((0, b"no batch at all"), (1, batch())))

    codes = [result.error.code for result in response.partitions]
    assert codes == [types_pb2.Error.CORRUPT_MESSAGE, types_pb2.Error.NONE]


async def test_batch_over_the_topic_limit_is_too_large(
    log_service: Any,
) -> None:
    response = await log_service.Produce(produce((0, batch(bytes(2 << 20)))))

    assert response.partitions[0].error.code == types_pb2.Error.MESSAGE_TOO_LARGE


async def test_message_over_the_frame_limit_is_refused(
    shared_broker: BrokerProcess, log_service: Any
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await log_service.Produce(produce((0, bytes(REQUEST_BYTES_MAX + 1))))

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await works(shared_broker)


@pytest.mark.parametrize("partition", [-1, 2, 2**31 - 1])
async def test_partition_that_does_not_exist_is_unknown(log_service: Any, partition: int) -> None:
    response = await log_service.Produce(produce((partition, batch())))

    code = response.partitions[0].error.code
    assert code == types_pb2.Error.UNKNOWN_TOPIC_OR_PARTITION


@pytest.mark.parametrize("offset", [-1, 1_000_000])
async def test_fetch_outside_the_log_is_out_of_range(log_service: Any, offset: int) -> None:
    response = await log_service.Fetch(
        log_pb2.FetchRequest(
            partitions=[log_pb2.FetchPartition(topic=TOPIC, partition=0, offset=offset)]
        )
    )

    assert response.partitions[0].error.code == types_pb2.Error.OFFSET_OUT_OF_RANGE


async def test_idle_half_open_connections_do_not_keep_others_out(
    shared_broker: BrokerProcess, admin: Admin
) -> None:
    del admin
    address = ("127.0.0.1", shared_broker.grpc_port)
    idle = [socket.create_connection(address, timeout=5) for _ in range(200)]
    try:
        assert await works(shared_broker)
    finally:
        for connection in idle:
            connection.close()
