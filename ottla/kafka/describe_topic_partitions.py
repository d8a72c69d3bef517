"""``DescribeTopicPartitions``: topics in the order of their names, a page at a time (KIP-966).

A page has a bounded number of partitions; if there are more, its cursor says with which partition
of which topic the next page begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ottla.cluster.services import ClusterService, Result
from ottla.kafka.authorized_operations import ALL_OF_TOPIC
from ottla.kafka.current_leaders import AddressOf
from ottla.kafka.handling import RequestContext
from ottla.kafka.reachable_brokers import ReachableBrokers
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.ids import NO_BROKER
from ottla.model.image import PartitionImage, TopicImage
from ottla.model.limits import DESCRIBED_PARTITIONS_MAX
from ottla.model.topic_names import INTERNAL_TOPICS
from ottla.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    RequestCursor,
    ResponseCursor,
)

_NO_CURSOR: Final = RequestCursor(topic_name="", partition_index=0)


class DescribeTopicPartitionsHandler:
    """Version 0."""

    def __init__(self, cluster: ClusterService, address_of: AddressOf) -> None:
        self._cluster = cluster
        self._address_of = address_of

    async def __call__(
        self, context: RequestContext, request: DescribeTopicPartitionsRequest
    ) -> DescribeTopicPartitionsResponse:
        """Answer with one page."""
        cursor = request.cursor or _NO_CURSOR
        try:
            topics = await self._topics(request, cursor)
        except OttlaError as error:
            return _refused(request, error)
        reachable = ReachableBrokers(self._cluster.image, context.connection, self._address_of)
        room = max(1, min(request.response_partition_limit, DESCRIBED_PARTITIONS_MAX))
        response = DescribeTopicPartitionsResponse()
        for name, topic in topics:
            first = cursor.partition_index if name == cursor.topic_name else 0
            if not room:
                response.next_cursor = ResponseCursor(topic_name=name, partition_index=first)
                break
            if isinstance(topic, OttlaError):
                response.topics.append(
                    DescribeTopicPartitionsResponseTopic(error_code=topic.code, name=name)
                )
                continue
            partitions = list(_partitions(topic, first, room, reachable))
            response.topics.append(_described(topic, partitions))
            room -= len(partitions)
            if first + len(partitions) < len(topic.partitions):
                response.next_cursor = ResponseCursor(
                    topic_name=name, partition_index=first + len(partitions)
                )
                break
        return response

    async def _topics(
        self, request: DescribeTopicPartitionsRequest, cursor: RequestCursor
    ) -> list[tuple[str, Result[TopicImage]]]:
        """Return the topics asked for that are not on an earlier page."""
        if cursor.partition_index < 0:
            raise InvalidRequestError(
                f"the cursor is at partition {cursor.partition_index}; pass the one that the page "
                "before gave"
            )
        if not request.topics:
            everything = sorted(self._cluster.image.topics.items())
            return [(name, topic) for name, topic in everything if name >= cursor.topic_name]
        names = {topic.name for topic in request.topics}
        if request.cursor is not None and cursor.topic_name not in names:
            raise InvalidRequestError(
                f"the cursor is at topic {cursor.topic_name[:100]!r}, which is none of those asked "
                "for; ask for the same topics for every page"
            )
        return await self._cluster.find_topics(
            sorted(name for name in names if name >= cursor.topic_name), allow_auto_creation=False
        )


def _described(
    topic: TopicImage, partitions: list[DescribeTopicPartitionsResponsePartition]
) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.topic_id,
        is_internal=topic.name in INTERNAL_TOPICS,
        partitions=partitions,
        topic_authorized_operations=ALL_OF_TOPIC,
    )


def _partitions(
    topic: TopicImage, first: int, count: int, reachable: ReachableBrokers
) -> Iterator[DescribeTopicPartitionsResponsePartition]:
    for number, partition in enumerate(topic.partitions[first : first + count], first):
        yield _partition(number, partition, reachable)


def _partition(
    number: int, partition: PartitionImage, reachable: ReachableBrokers
) -> DescribeTopicPartitionsResponsePartition:
    led = partition.leader in reachable
    return DescribeTopicPartitionsResponsePartition(
        error_code=0 if led else reachable.why_leaderless(partition.leader),
        partition_index=number,
        leader_id=partition.leader if led else NO_BROKER,
        leader_epoch=partition.leader_epoch,
        replica_nodes=list(partition.replicas),
        isr_nodes=list(partition.in_sync_replicas),
        eligible_leader_replicas=list(partition.eligible_leader_replicas),
        # Kafka keeps here who was eligible last; with us they stay eligible.
        last_known_elr=[],
        offline_replicas=reachable.offline(partition.replicas),
    )


def _refused(
    request: DescribeTopicPartitionsRequest, error: OttlaError
) -> DescribeTopicPartitionsResponse:
    return DescribeTopicPartitionsResponse(
        topics=[
            DescribeTopicPartitionsResponseTopic(error_code=error.code, name=topic.name)
            for topic in request.topics
        ]
    )
