"""``DeleteTopics``: by name, and from version 6 on by id as well."""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import Result, Services
from ottla.kafka.handling import RequestContext
from ottla.kafka.timeouts import admin_timeout_ms
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.ids import TopicId
from ottla.wire.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from ottla.wire.schema import NO_UUID

_TOPIC_IDS_FROM: Final = 6


class DeleteTopicsHandler:
    """Versions 1 to 6."""

    def __init__(self, services: Services) -> None:
        self._topics = services.topics
        self._cluster = services.cluster

    async def __call__(
        self, context: RequestContext, request: DeleteTopicsRequest
    ) -> DeleteTopicsResponse:
        """Delete them; waits until this broker knows that they are gone."""
        asked = request.topics
        if context.api_version < _TOPIC_IDS_FROM:
            asked = [DeleteTopicState(name=name) for name in request.topic_names]
        answers = [self._answer(topic) for topic in asked]
        wanted: list[tuple[DeletableTopicResult, str | TopicId]] = []
        for topic, answer in zip(asked, answers, strict=True):
            refusal = _refusal(topic)
            if refusal is not None:
                _fill(answer, refusal)
            else:
                wanted.append(
                    (answer, TopicId(topic.topic_id) if topic.name is None else topic.name)
                )
        try:
            results: list[Result[None]] = await self._topics.delete_topics(
                [topic for _, topic in wanted], timeout_ms=admin_timeout_ms(request.timeout_ms)
            )
        except OttlaError as error:
            results = [error for _ in wanted]
        for (answer, _), result in zip(wanted, results, strict=True):
            _fill(answer, result)
        return DeleteTopicsResponse(responses=answers)

    def _answer(self, topic: DeleteTopicState) -> DeletableTopicResult:
        """Begin an answer with both the name and the id, as far as there is such a topic."""
        image = self._cluster.image
        if topic.name is None:
            name = image.topic_names.get(TopicId(topic.topic_id))
            return DeletableTopicResult(name=name, topic_id=topic.topic_id)
        known = image.topics.get(topic.name)
        return DeletableTopicResult(
            name=topic.name, topic_id=topic.topic_id if known is None else known.topic_id
        )


def _refusal(topic: DeleteTopicState) -> InvalidRequestError | None:
    if topic.name is None and topic.topic_id == NO_UUID:
        return InvalidRequestError("a topic has neither name nor id; give it one")
    if topic.name is not None and topic.topic_id != NO_UUID:
        return InvalidRequestError(
            f"topic {topic.name[:100]!r} has an id besides its name; give either"
        )
    return None


def _fill(answer: DeletableTopicResult, result: Result[None]) -> None:
    if result is not None:
        answer.error_code = result.code
        answer.error_message = str(result)
