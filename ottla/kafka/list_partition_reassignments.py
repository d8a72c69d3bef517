"""``ListPartitionReassignments``: the partitions that are being moved."""

from __future__ import annotations

from collections.abc import Iterable

from ottla.cluster.services import ClusterService
from ottla.kafka.handling import RequestContext
from ottla.model.image import PartitionImage, TopicImage
from ottla.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
)


class ListPartitionReassignmentsHandler:
    """Version 0."""

    def __init__(self, cluster: ClusterService) -> None:
        self._cluster = cluster

    async def __call__(
        self, _context: RequestContext, request: ListPartitionReassignmentsRequest
    ) -> ListPartitionReassignmentsResponse:
        """Answer from this broker's metadata; null asks for every topic."""
        topics = self._cluster.image.topics
        if request.topics is None:
            found = [_moving(topic, range(len(topic.partitions))) for topic in topics.values()]
        else:
            found = [
                _moving(topics[asked.name], asked.partition_indexes)
                for asked in request.topics
                if asked.name in topics
            ]
        return ListPartitionReassignmentsResponse(
            topics=[topic for topic in found if topic.partitions]
        )


def _moving(topic: TopicImage, numbers: Iterable[int]) -> OngoingTopicReassignment:
    return OngoingTopicReassignment(
        name=topic.name,
        partitions=[
            _described(number, topic.partitions[number])
            for number in numbers
            if 0 <= number < len(topic.partitions) and _is_moving(topic.partitions[number])
        ],
    )


def _is_moving(partition: PartitionImage) -> bool:
    return bool(partition.adding_replicas or partition.removing_replicas)


def _described(number: int, partition: PartitionImage) -> OngoingPartitionReassignment:
    return OngoingPartitionReassignment(
        partition_index=number,
        replicas=list(partition.replicas),
        adding_replicas=list(partition.adding_replicas),
        removing_replicas=list(partition.removing_replicas),
    )
