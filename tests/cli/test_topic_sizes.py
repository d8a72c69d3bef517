"""Offsets and sizes that the asked broker does not know are asked of the partitions' leaders."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from ottla.cli.topic_sizes import with_sizes
from ottla.client.admin_values import (
    BrokerDescription,
    HostedPartition,
    LogDirectory,
    PartitionDescription,
    TopicDescription,
)
from ottla.model.errors import BrokerNotAvailableError
from ottla.model.ids import TopicPartition
from tests.cli.test_cluster_status import partition


class Brokers:
    """Answers for those that are up, each with partition 0 of ``web``."""

    def __init__(self, *up: int) -> None:
        self._up = up
        self.asked: list[int | None] = []

    async def describe_broker(self, broker_id: int | None = None) -> BrokerDescription:
        self.asked.append(broker_id)
        if broker_id not in self._up:
            raise BrokerNotAvailableError("down")
        hosted = HostedPartition(
            topic_partition=TopicPartition("web", 0),
            size_bytes=700,
            segments=1,
            log_start_offset=3,
            log_end_offset=9,
            durable_end_offset=9,
            high_watermark=8,
        )
        directory = LogDirectory("/data", None, 0, 0, (hosted,))
        return BrokerDescription(broker_id or 0, "1", 0, (directory,))


def web(*partitions: PartitionDescription) -> TopicDescription:
    return TopicDescription("web", UUID(int=1), is_internal=False, partitions=partitions)


def unknown(number: int, leader: int) -> PartitionDescription:
    known = partition(number, leader=leader)
    return replace(known, log_start_offset=-1, high_watermark=-1, size_bytes=-1)


async def test_leader_tells_what_the_asked_broker_does_not_know() -> None:
    (topic,) = await with_sizes(Brokers(1), [web(unknown(0, leader=1))])

    (found,) = topic.partitions
    assert (found.log_start_offset, found.high_watermark, found.size_bytes) == (3, 8, 700)


async def test_what_is_known_is_not_asked_again() -> None:
    brokers = Brokers(0)
    topic = web(partition(0, leader=0))

    assert await with_sizes(brokers, [topic]) == [topic]
    assert brokers.asked == []


async def test_each_leader_is_asked_once() -> None:
    brokers = Brokers(1, 2)

    await with_sizes(brokers, [web(*(unknown(n, leader=1 + n % 2) for n in range(6)))])

    assert brokers.asked == [1, 2]


async def test_what_a_leader_cannot_tell_stays_unknown() -> None:
    topic = web(unknown(0, leader=1), unknown(1, leader=2), unknown(2, leader=-1))

    assert await with_sizes(Brokers(2), [topic]) == [topic]
