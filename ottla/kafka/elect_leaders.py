"""``ElectLeaders``: let preferred leaders lead again, or, if need be, anybody (KIP-460)."""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import Services
from ottla.kafka.handling import RequestContext
from ottla.kafka.partition_results import by_topic
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.ids import TopicPartition
from ottla.wire.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    PartitionResult,
    ReplicaElectionResult,
)

_PREFERRED: Final = 0
_UNCLEAN: Final = 1


class ElectLeadersHandler:
    """Versions 0 to 2."""

    def __init__(self, services: Services) -> None:
        self._administration = services.administration

    async def __call__(
        self, _context: RequestContext, request: ElectLeadersRequest
    ) -> ElectLeadersResponse:
        """Elect a leader for each partition named; null: for all that need one."""
        named = request.topic_partitions
        partitions = [
            TopicPartition(topic.topic, partition)
            for topic in named or ()
            for partition in topic.partitions
        ]
        try:
            if request.election_type not in {_PREFERRED, _UNCLEAN}:
                raise InvalidRequestError(
                    f"there is no election of type {request.election_type}; use {_PREFERRED} "
                    f"(preferred) or {_UNCLEAN} (unclean)"
                )
            if named is not None and not partitions:
                return ElectLeadersResponse()
            results = await self._administration.elect_leaders(
                partitions, unclean=request.election_type == _UNCLEAN
            )
        except OttlaError as error:
            # There is no place for a message about all of them but with each.
            results = [(partition, error) for partition in partitions]
            if not partitions:
                return ElectLeadersResponse(error_code=error.code)
        return ElectLeadersResponse(
            replica_election_results=[
                ReplicaElectionResult(
                    topic=topic,
                    partition_result=[
                        PartitionResult(
                            partition_id=partition,
                            error_code=0 if error is None else error.code,
                            error_message=None if error is None else str(error),
                        )
                        for partition, error in of_topic
                    ],
                )
                for topic, of_topic in by_topic(results).items()
            ]
        )
