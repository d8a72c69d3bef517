"""``AlterPartitionReassignments``: move partitions to other brokers, or cancel that (KIP-455)."""

from __future__ import annotations

from ottla.cluster.services import Result, Services
from ottla.controller.requests import Reassignment
from ottla.kafka.handling import RequestContext
from ottla.kafka.partition_results import by_topic
from ottla.model.errors import InvalidReplicaAssignmentError, OttlaError
from ottla.model.ids import BrokerId, TopicPartition
from ottla.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
)


class AlterPartitionReassignmentsHandler:
    """Versions 0 and 1."""

    def __init__(self, services: Services) -> None:
        self._administration = services.administration

    async def __call__(
        self, _context: RequestContext, request: AlterPartitionReassignmentsRequest
    ) -> AlterPartitionReassignmentsResponse:
        """Begin each move; it goes on after the answer."""
        response = AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=request.allow_replication_factor_change
        )
        asked: list[Reassignment] = []
        results: list[tuple[TopicPartition, Result[None]]] = []
        for topic in request.topics:
            for partition in topic.partitions:
                name = TopicPartition(topic.name, partition.partition_index)
                replicas = partition.replicas
                if replicas is not None and not replicas:
                    results.append((name, _nowhere(name)))
                    continue
                # The absence of a list cancels, and so does its emptiness in the service.
                asked.append(
                    Reassignment(
                        topic_partition=name, replicas=tuple(map(BrokerId, replicas or ()))
                    )
                )
        try:
            results += await self._administration.reassign(
                asked, keeps_replication_factor=not request.allow_replication_factor_change
            )
        except OttlaError as error:
            response.error_code = error.code
            response.error_message = str(error)
            return response
        response.responses = [
            ReassignableTopicResponse(
                name=topic_name,
                partitions=[
                    ReassignablePartitionResponse(
                        partition_index=partition,
                        error_code=0 if error is None else error.code,
                        error_message=None if error is None else str(error),
                    )
                    for partition, error in of_topic
                ],
            )
            for topic_name, of_topic in by_topic(results).items()
        ]
        return response


def _nowhere(name: TopicPartition) -> InvalidReplicaAssignmentError:
    return InvalidReplicaAssignmentError(
        f"{name} would have no replicas; name some brokers, or send null to cancel a move"
    )
