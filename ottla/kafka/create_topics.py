"""``CreateTopics``: each topic of a request is created, or refused, for itself.

-1 stands for a number that the client leaves to the broker. From version 5 on the answer has what
the topic is like: its numbers and all its settings, whether they were given or not.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from ottla.cluster.admin_services import ConfigsService
from ottla.cluster.services import Result, Services, TopicCreated, TopicsService, TopicToCreate
from ottla.controller.requests import Assignment
from ottla.kafka.config_entries import without_value
from ottla.kafka.handling import RequestContext
from ottla.kafka.timeouts import admin_timeout_ms
from ottla.model.errors import InvalidConfigError, InvalidRequestError, OttlaError
from ottla.model.ids import BrokerId
from ottla.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
)

_NOT_GIVEN: Final = -1
_DESCRIBED_FROM: Final = 5


class CreateTopicsHandler:
    """Versions 2 to 7."""

    def __init__(self, services: Services) -> None:
        self._topics: TopicsService = services.topics
        self._configs: ConfigsService = services.configs

    async def __call__(
        self, context: RequestContext, request: CreateTopicsRequest
    ) -> CreateTopicsResponse:
        """Create them; waits until they can be used, or the time given is over."""
        refused = {
            topic.name: refusal
            for topic in request.topics
            if (refusal := _refusal(topic)) is not None
        }
        wanted = [topic for topic in request.topics if topic.name not in refused]
        try:
            created = await self._topics.create_topics(
                [_to_create(topic) for topic in wanted],
                validate_only=request.validate_only,
                timeout_ms=admin_timeout_ms(request.timeout_ms),
            )
        except OttlaError as error:
            created = [error for _ in wanted]
        results: dict[str, Result[TopicCreated]] = dict(refused)
        for topic, result in zip(wanted, created, strict=True):
            results[topic.name] = result
        return CreateTopicsResponse(
            topics=[
                # A topic that was asked for twice is answered once, as in Kafka.
                self._answer(context, name, results[name])
                for name in dict.fromkeys(topic.name for topic in request.topics)
            ]
        )

    def _answer(
        self, context: RequestContext, name: str, result: Result[TopicCreated]
    ) -> CreatableTopicResult:
        if isinstance(result, OttlaError):
            return CreatableTopicResult(
                name=name, error_code=result.code, error_message=str(result), configs=[]
            )
        answer = CreatableTopicResult(
            name=name,
            topic_id=UUID(bytes=result.topic_id),
            num_partitions=result.partitions,
            replication_factor=result.replication_factor,
        )
        if context.api_version >= _DESCRIBED_FROM:
            answer.configs = [
                CreatableTopicConfigs(
                    name=entry.key,
                    value=entry.value,
                    read_only=entry.read_only,
                    config_source=entry.source.value,
                    is_sensitive=entry.sensitive,
                )
                for entry in self._configs.describe_new_topic(result.configs)
            ]
        return answer


def _refusal(topic: CreatableTopic) -> OttlaError | None:
    """Return why this topic cannot even be asked for."""
    values = {config.name: config.value for config in topic.configs}
    if len(values) != len(topic.configs):
        return InvalidRequestError(
            f"the request sets a setting of topic {topic.name[:100]!r} twice; set it once"
        )
    without = next((key for key, value in values.items() if value is None), None)
    return None if without is None else InvalidConfigError(without_value(without))


def _to_create(topic: CreatableTopic) -> TopicToCreate:
    return TopicToCreate(
        topic.name,
        partitions=_given(topic.num_partitions),
        replication_factor=_given(topic.replication_factor),
        configs={config.name: config.value or "" for config in topic.configs},
        assignments=[
            Assignment(assigned.partition_index, tuple(map(BrokerId, assigned.broker_ids)))
            for assigned in topic.assignments
        ],
    )


def _given(number: int) -> int | None:
    return None if number == _NOT_GIVEN else number
