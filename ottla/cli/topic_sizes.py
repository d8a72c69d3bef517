"""How much is in partitions, asked of those who know it: their leaders.

Any broker tells who leads a partition, but sizes and offsets only of those that it leads itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from ottla.client.admin_values import (
    BrokerDescription,
    HostedPartition,
    PartitionDescription,
    TopicDescription,
)
from ottla.model.errors import OttlaError
from ottla.model.ids import NO_BROKER, TopicPartition

Hosted = dict[TopicPartition, HostedPartition]


class Asked(Protocol):
    """Who tells of single brokers: an :class:`~ottla.client.admin.Admin`."""

    async def describe_broker(self, broker_id: int | None = None) -> BrokerDescription:
        """Describe a broker, asking it."""


async def with_sizes(admin: Asked, topics: Sequence[TopicDescription]) -> list[TopicDescription]:
    """Complete what the broker that described ``topics`` does not know.

    What a leader does not tell, because it has just gone or has just become one, stays unknown.
    """
    leaders = sorted(
        {
            partition.leader
            for topic in topics
            for partition in topic.partitions
            if partition.high_watermark < 0 and partition.leader != NO_BROKER
        }
    )
    answers = await asyncio.gather(*(_hosted_by(admin, leader) for leader in leaders))
    hosted_by = dict(zip(leaders, answers, strict=True))
    return [
        replace(
            topic,
            partitions=tuple(
                _completed(topic.name, partition, hosted_by.get(partition.leader, {}))
                for partition in topic.partitions
            ),
        )
        for topic in topics
    ]


async def _hosted_by(admin: Asked, broker_id: int) -> Hosted:
    try:
        broker = await admin.describe_broker(broker_id)
    except OttlaError:
        return {}
    return {
        hosted.topic_partition: hosted
        for directory in broker.log_directories
        for hosted in directory.partitions
    }


def _completed(topic: str, partition: PartitionDescription, hosted: Hosted) -> PartitionDescription:
    found = hosted.get(TopicPartition(topic, partition.partition))
    if partition.high_watermark >= 0 or found is None:
        return partition
    return replace(
        partition,
        log_start_offset=found.log_start_offset,
        high_watermark=found.high_watermark,
        size_bytes=found.size_bytes,
    )
