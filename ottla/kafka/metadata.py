"""``Metadata``: the brokers, and the topics with their leaders, of which every client asks first.

A topic that does not exist is created before the answer if the client and the broker allow it, so
that the answer can name its leaders; Kafka lets the client ask again. What hinders that for a while
is answered as a leader that is not there yet, which every client takes for a reason to ask again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from ottla.cluster.services import ClusterService, Result
from ottla.kafka.authorized_operations import ALL_OF_CLUSTER, ALL_OF_TOPIC, NOT_ASKED
from ottla.kafka.current_leaders import AddressOf
from ottla.kafka.handling import RequestContext
from ottla.kafka.reachable_brokers import ReachableBrokers
from ottla.kafka.topic_partitions import TopicPartitions
from ottla.model.errors import (
    InvalidRequestError,
    LeaderNotAvailableError,
    OttlaError,
    UnknownTopicIdError,
)
from ottla.model.ids import TopicId
from ottla.model.image import ClusterImage, TopicImage
from ottla.model.topic_names import INTERNAL_TOPICS
from ottla.wire.messages.metadata import (
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponseTopic,
)
from ottla.wire.schema import NO_UUID

_FIRST_VERSION: Final = 0
"""Where no topics mean all of them; later null does."""
_TOPIC_IDS_FROM: Final = 12
_CLUSTER_OPERATIONS: Final = range(8, 11)
_TOPIC_OPERATIONS_FROM: Final = 8


class MetadataHandler:
    """Versions 0 to 13."""

    def __init__(self, cluster: ClusterService, address_of: AddressOf) -> None:
        self._cluster = cluster
        self._address_of = address_of
        self._partitions = TopicPartitions()

    async def __call__(self, context: RequestContext, request: MetadataRequest) -> MetadataResponse:
        """Answer; waits for topics that are created."""
        version = context.api_version
        try:
            # Whatever is waited for, the brokers and leaders are told as they are afterwards.
            described = await self._described(context, request)
        except OttlaError as error:
            described = None
            refusal = error
        image = self._cluster.image
        reachable = ReachableBrokers(image, context.connection, self._address_of)
        response = MetadataResponse(
            brokers=[
                MetadataResponseBroker(
                    node_id=broker.broker_id,
                    host=address.host,
                    port=address.port,
                    rack=broker.rack or None,
                )
                for broker, address in reachable
            ],
            cluster_id=image.cluster_id or None,
            controller_id=reachable.controller_id,
            cluster_authorized_operations=(
                ALL_OF_CLUSTER
                if request.include_cluster_authorized_operations and version in _CLUSTER_OPERATIONS
                else NOT_ASKED
            ),
        )
        if described is None:
            response.topics = list(_all_refused(request, refusal))
            response.error_code = refusal.code
            return response
        operations = (
            ALL_OF_TOPIC
            if request.include_topic_authorized_operations and version >= _TOPIC_OPERATIONS_FROM
            else NOT_ASKED
        )
        for topic in described:
            if isinstance(topic, TopicImage):
                response.topics.append(
                    MetadataResponseTopic(
                        name=topic.name,
                        topic_id=topic.topic_id,
                        is_internal=topic.name in INTERNAL_TOPICS,
                        partitions=self._partitions.of(image, topic, reachable, version=version),
                        topic_authorized_operations=operations,
                    )
                )
            else:
                response.topics.append(topic)
        return response

    async def _described(
        self, context: RequestContext, request: MetadataRequest
    ) -> list[TopicImage | MetadataResponseTopic]:
        """Return the topics asked for, those that cannot be described as their error."""
        topics = request.topics
        if topics is None or (not topics and context.api_version == _FIRST_VERSION):
            return list(self._cluster.image.topics.values())
        by_id = any(topic.topic_id != NO_UUID for topic in topics)
        _check_topics(topics, context.api_version, by_id=by_id)
        if by_id:
            ids = dict.fromkeys(topic.topic_id for topic in topics if topic.topic_id != NO_UUID)
            return [_named_by_id(self._cluster.image, topic_id) for topic_id in ids]
        names = list(dict.fromkeys(topic.name for topic in topics if topic.name is not None))
        found = await self._cluster.find_topics(
            names, allow_auto_creation=request.allow_auto_topic_creation
        )
        return [_named(name, result) for name, result in found]


def _check_topics(topics: Iterable[MetadataRequestTopic], version: int, *, by_id: bool) -> None:
    if version < _TOPIC_IDS_FROM and (by_id or any(topic.name is None for topic in topics)):
        raise InvalidRequestError(
            f"topics are asked for by id from version {_TOPIC_IDS_FROM} on, and this is version "
            f"{version}; give names"
        )
    if not by_id and any(topic.name is None for topic in topics):
        raise InvalidRequestError("a topic has neither name nor id; give it one")


def _named_by_id(image: ClusterImage, topic_id: UUID) -> TopicImage | MetadataResponseTopic:
    name = image.topic_names.get(TopicId(topic_id))
    if name is None:
        return MetadataResponseTopic(
            error_code=UnknownTopicIdError.code, name=None, topic_id=topic_id
        )
    return image.topics[name]


def _named(name: str, result: Result[TopicImage]) -> TopicImage | MetadataResponseTopic:
    if isinstance(result, TopicImage):
        return result
    code = result.code
    if result.retriable and not result.refreshes_metadata:
        code = LeaderNotAvailableError.code
    return MetadataResponseTopic(error_code=code, name=name, is_internal=name in INTERNAL_TOPICS)


def _all_refused(request: MetadataRequest, error: OttlaError) -> Iterable[MetadataResponseTopic]:
    for topic in request.topics or ():
        yield MetadataResponseTopic(
            error_code=error.code, name=topic.name or "", topic_id=topic.topic_id
        )
