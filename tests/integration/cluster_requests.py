"""What tests of clusters ask: single requests to a single broker, and who shall lead."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import grpc

from ottla.client import Admin
from ottla.model.ids import TopicPartition
from ottla.record.builder import BatchBuilder
from ottla.v1 import log_pb2, log_pb2_grpc, types_pb2

DEADLINE_S: Final = 30.0
"""For what should take moments: a busy machine is not a broken cluster."""

QUICK: Final = {"broker.session.timeout.ms": "1500"}
"""A broker that hangs is given up sooner than by default."""

RETRIABLE: Final = {
    types_pb2.Error.NOT_LEADER_OR_FOLLOWER,
    types_pb2.Error.LEADER_NOT_AVAILABLE,
    types_pb2.Error.NOT_ENOUGH_REPLICAS,
    types_pb2.Error.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    types_pb2.Error.REQUEST_TIMED_OUT,
    types_pb2.Error.NOT_CONTROLLER,
    types_pb2.Error.FENCED_LEADER_EPOCH,
}


async def produce(
    address: str, topic: str, value: bytes, *, partition: int = 0, acks: int = -1, timeout_ms: int
) -> log_pb2.PartitionAppended:
    """Send one record to one broker, once; what it said."""
    builder = BatchBuilder()
    builder.append(key=None, value=value, timestamp_ms=1_700_000_000_000)
    records = log_pb2.PartitionRecords(topic=topic, partition=partition, batches=builder.build())
    request = log_pb2.ProduceRequest(acks=acks, timeout_ms=timeout_ms, partitions=[records])
    async with grpc.aio.insecure_channel(address) as channel:
        response = await log_pb2_grpc.LogStub(channel).Produce(request, timeout=DEADLINE_S)
    answer: log_pb2.PartitionAppended = response.partitions[0]
    return answer


async def fetch(
    address: str, topic: str, offset: int, *, partition: int = 0
) -> log_pb2.PartitionFetched:
    """Read from one broker, once; what it said."""
    wanted = log_pb2.FetchPartition(topic=topic, partition=partition, offset=offset)
    request = log_pb2.FetchRequest(partitions=[wanted], structured=True)
    async with grpc.aio.insecure_channel(address) as channel:
        response = await log_pb2_grpc.LogStub(channel).Fetch(request, timeout=DEADLINE_S)
    answer: log_pb2.PartitionFetched = response.partitions[0]
    return answer


async def have_lead(admin: Admin, topic: str, leader: int, *, partition: int = 0) -> None:
    """Make a broker the preferred leader of a partition, and wait until it leads."""
    place = TopicPartition(topic, partition)
    async with asyncio.timeout(DEADLINE_S):
        while True:
            replicas = await _replicas_led_by(admin, place)
            if replicas[0] == leader:
                return
            await admin.reassign({place: (leader, *(r for r in replicas if r != leader))})
            await admin.elect_leaders([place])
            await asyncio.sleep(0.05)


async def _replicas_led_by(admin: Admin, place: TopicPartition) -> Sequence[int]:
    (topic,) = await admin.describe_topics([place.topic])
    part = topic.partitions[place.partition]
    return (part.leader, *(r for r in part.replicas if r != part.leader))
