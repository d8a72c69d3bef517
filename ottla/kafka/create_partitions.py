"""``CreatePartitions``: raise the number of partitions of topics."""

from __future__ import annotations

from ottla.cluster.services import PartitionsToCreate, Result, Services
from ottla.kafka.handling import RequestContext
from ottla.kafka.timeouts import admin_timeout_ms
from ottla.model.errors import OttlaError
from ottla.model.ids import BrokerId
from ottla.wire.messages.create_partitions import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
)


class CreatePartitionsHandler:
    """Versions 0 to 3."""

    def __init__(self, services: Services) -> None:
        self._topics = services.topics

    async def __call__(
        self, _context: RequestContext, request: CreatePartitionsRequest
    ) -> CreatePartitionsResponse:
        """Add them; waits until they can be used, or the time given is over."""
        try:
            results: list[Result[None]] = await self._topics.create_partitions(
                [_to_create(topic) for topic in request.topics],
                validate_only=request.validate_only,
                timeout_ms=admin_timeout_ms(request.timeout_ms),
            )
        except OttlaError as error:
            results = [error for _ in request.topics]
        # A topic that was asked for twice is answered once, as in Kafka.
        by_name = dict(zip((topic.name for topic in request.topics), results, strict=True))
        return CreatePartitionsResponse(results=[_answer(*item) for item in by_name.items()])


def _to_create(topic: CreatePartitionsTopic) -> PartitionsToCreate:
    assignments = topic.assignments
    return PartitionsToCreate(
        topic.name,
        topic.count,
        assignments=(
            None
            if assignments is None
            else [tuple(map(BrokerId, assigned.broker_ids)) for assigned in assignments]
        ),
    )


def _answer(name: str, result: Result[None]) -> CreatePartitionsTopicResult:
    if result is None:
        return CreatePartitionsTopicResult(name=name)
    return CreatePartitionsTopicResult(name=name, error_code=result.code, error_message=str(result))
