"""A whole broker in this process, on a simulated disk, behind a real port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from ottla.broker import Broker
from ottla.config.broker_config import broker_config
from ottla.model.errors import StorageError
from ottla.record.batch import split_batches
from ottla.record.builder import BatchBuilder
from ottla.v1 import (
    cluster_pb2,
    cluster_pb2_grpc,
    configs_pb2_grpc,
    log_pb2,
    log_pb2_grpc,
    topics_pb2,
    topics_pb2_grpc,
    types_pb2,
)
from tests.cluster.world import SlowDisk

DIRECTORY = Path("/data/broker-0")
MESSAGE_BYTES_MAX = 64 << 20
NOW_MS = 1_700_000_000_000


class RunningBroker:
    """Starts, is called, is killed and starts again."""

    def __init__(self, **settings: str) -> None:
        self.disk = SlowDisk(seed=0)
        self.settings = {key.replace("__", "."): value for key, value in settings.items()}
        self.broker: Broker | None = None

    async def start(self) -> RunningBroker:
        values = {
            "grpc.listen": "127.0.0.1:0",
            "http.listen": "127.0.0.1:0",
            "listeners": "PLAINTEXT://127.0.0.1:0",
            "log.dir": str(DIRECTORY),
            **self.settings,
        }
        self.broker = Broker(broker_config(values), file_system=self.disk)
        await self.broker.start()
        # Larger messages than the broker takes can be sent, to see what it says.
        options = [
            ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
            ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ]
        self.channel = grpc.aio.insecure_channel(str(self.broker.grpc_address), options=options)
        self.log = log_pb2_grpc.LogStub(self.channel)
        self.topics = topics_pb2_grpc.TopicsStub(self.channel)
        self.configs = configs_pb2_grpc.ConfigsStub(self.channel)
        self.cluster = cluster_pb2_grpc.ClusterStub(self.channel)
        return self

    async def stop(self) -> None:
        self.disk.let_go()
        await self.channel.close(None)
        assert self.broker is not None
        await self.broker.stop()

    async def end(self) -> None:
        """Stop for good; a disk that the test broke is no surprise."""
        with suppress(StorageError):
            await self.stop()

    async def crash(self) -> None:
        """Cut the power under the broker."""
        await self.channel.close(None)
        assert self.broker is not None
        self.disk.let_go()
        self.disk.crash()
        # Whatever the old process still does, it does to a disk that is gone.
        await asyncio.gather(self.broker.stop(), return_exceptions=True)

    async def crash_and_start(self) -> None:
        """Cut the power under the broker, and start another one on what the disk kept."""
        await self.crash()
        await self.start()

    # --- Short ways ---

    async def create_topic(self, name: str = "web", partitions: int = 2, **configs: str) -> None:
        topic = topics_pb2.NewTopic(
            name=name,
            partitions=partitions,
            configs={key.replace("_", "."): value for key, value in configs.items()},
        )
        response = await self.topics.CreateTopics(topics_pb2.CreateTopicsRequest(topics=[topic]))
        assert not response.topics[0].error.code, response

    def produce_stream(self, *requests: log_pb2.ProduceRequest) -> Any:
        """Open a stream that sends ``requests`` and closes; without any, the test writes them."""
        open_stream: Any = self.log.ProduceStream
        return open_stream(iter(requests)) if requests else open_stream()

    def fetch_stream(self) -> Any:
        """Open a stream that the test steers."""
        open_stream: Any = self.log.FetchStream
        return open_stream()

    async def append(self, *batches: bytes, partition: int = 0) -> log_pb2.PartitionAppended:
        response = await self.log.Produce(produce((partition, b"".join(batches or (batch(),)))))
        return response.partitions[0]

    async def fetch(self, offset: int = 0, *, partition: int = 0) -> log_pb2.PartitionFetched:
        asked = log_pb2.FetchPartition(topic="web", partition=partition, offset=offset)
        response = await self.log.Fetch(log_pb2.FetchRequest(partitions=[asked]))
        return response.partitions[0]

    async def log_ends(self) -> dict[str, int]:
        """The ends of all logs, from the broker's own description."""
        described = await self.cluster.DescribeBroker(cluster_pb2.DescribeBrokerRequest())
        return {
            f"{part.topic}-{part.partition}": part.log_end_offset
            for part in described.log_directories[0].partitions
        }

    async def wait_for_log_end(self, partition: str, end_offset: int) -> None:
        """Ask until the log is that long."""
        while (await self.log_ends())[partition] < end_offset:
            pass


def batch(*values: bytes) -> bytes:
    builder = BatchBuilder()
    for value in values or (b"value",):
        builder.append(key=None, value=value, timestamp_ms=NOW_MS)
    return builder.build()


def produce(
    *parts: tuple[int, bytes], acks: int = -1, topic: str = "web", correlation_id: int = 0
) -> log_pb2.ProduceRequest:
    return log_pb2.ProduceRequest(
        acks=acks,
        correlation_id=correlation_id,
        partitions=[
            log_pb2.PartitionRecords(topic=topic, partition=partition, batches=batches)
            for partition, batches in parts
        ],
    )


def bases(part: log_pb2.PartitionFetched) -> list[int]:
    return [each.header.base_offset for each in split_batches(part.batches)]


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, int]:
    """The status and the code of the error that a call as a whole ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    trailers: dict[str, Any] = dict(refused.value.trailing_metadata() or ())  # type: ignore[arg-type]
    if "grpc-status-details-bin" not in trailers:
        return refused.value.code(), 0
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    detail = types_pb2.Error()
    assert status.details[0].Unpack(detail)
    assert detail.message == refused.value.details()
    return refused.value.code(), detail.code
