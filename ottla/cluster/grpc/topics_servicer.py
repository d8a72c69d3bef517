"""``ottla.v1.Topics``: create, delete, grow, describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.errors import to_message
from ottla.cluster.services import (
    PartitionsToCreate,
    Result,
    Services,
    TopicDescription,
    TopicToCreate,
)
from ottla.model.errors import OttlaError
from ottla.v1 import topics_pb2, topics_pb2_grpc

if TYPE_CHECKING:
    from ottla.cluster.grpc.errors import Context


def describe(
    name: str, result: Result[TopicDescription]
) -> topics_pb2.DescribeTopicsResponse.Topic:
    """Answer for one topic of a description, or of metadata."""
    if isinstance(result, OttlaError):
        return topics_pb2.DescribeTopicsResponse.Topic(name=name, error=to_message(result))
    return topics_pb2.DescribeTopicsResponse.Topic(
        name=name,
        topic_id=result.topic.topic_id.bytes,
        internal=result.internal,
        partitions=[
            topics_pb2.PartitionDescription(
                partition=part.partition,
                leader=part.image.leader,
                leader_epoch=part.image.leader_epoch,
                replicas=part.image.replicas,
                in_sync_replicas=part.image.in_sync_replicas,
                eligible_leader_replicas=part.image.eligible_leader_replicas,
                log_start_offset=part.log_start_offset,
                high_watermark=part.high_watermark,
                size_bytes=part.size_bytes,
                adding_replicas=part.image.adding_replicas,
                removing_replicas=part.image.removing_replicas,
            )
            for part in result.partitions
        ],
    )


class TopicsServicer(topics_pb2_grpc.TopicsServicer):
    """Translates; see ``proto/ottla/v1/topics.proto`` for what each method means."""

    def __init__(self, services: Services, calls: Calls) -> None:
        self._topics = services.topics
        self._calls = calls

    async def CreateTopics(
        self, request: topics_pb2.CreateTopicsRequest, context: Context
    ) -> topics_pb2.CreateTopicsResponse:
        async with self._calls.call("CreateTopics", context):
            return await self._create_topics(request)

    async def DeleteTopics(
        self, request: topics_pb2.DeleteTopicsRequest, context: Context
    ) -> topics_pb2.DeleteTopicsResponse:
        async with self._calls.call("DeleteTopics", context):
            return await self._delete_topics(request)

    async def CreatePartitions(
        self, request: topics_pb2.CreatePartitionsRequest, context: Context
    ) -> topics_pb2.CreatePartitionsResponse:
        async with self._calls.call("CreatePartitions", context):
            return await self._create_partitions(request)

    async def DescribeTopics(
        self, request: topics_pb2.DescribeTopicsRequest, context: Context
    ) -> topics_pb2.DescribeTopicsResponse:
        async with self._calls.call("DescribeTopics", context):
            return await self._describe_topics(request)

    async def _create_topics(
        self, request: topics_pb2.CreateTopicsRequest
    ) -> topics_pb2.CreateTopicsResponse:
        results = await self._topics.create_topics(
            [
                TopicToCreate(
                    topic.name,
                    topic.partitions or None,
                    topic.replication_factor or None,
                    dict(topic.configs),
                )
                for topic in request.topics
            ],
            validate_only=request.validate_only,
            timeout_ms=request.timeout_ms,
        )
        response = topics_pb2.CreateTopicsResponse()
        for topic, result in zip(request.topics, results, strict=True):
            answer = response.topics.add(name=topic.name)
            if isinstance(result, OttlaError):
                answer.error.CopyFrom(to_message(result))
            else:
                answer.topic_id = result.topic_id
                answer.partitions = result.partitions
                answer.replication_factor = result.replication_factor
        return response

    async def _delete_topics(
        self, request: topics_pb2.DeleteTopicsRequest
    ) -> topics_pb2.DeleteTopicsResponse:
        results = await self._topics.delete_topics(list(request.names))
        response = topics_pb2.DeleteTopicsResponse()
        for name, result in zip(request.names, results, strict=True):
            answer = response.topics.add(name=name)
            if result is not None:
                answer.error.CopyFrom(to_message(result))
        return response

    async def _create_partitions(
        self, request: topics_pb2.CreatePartitionsRequest
    ) -> topics_pb2.CreatePartitionsResponse:
        results = await self._topics.create_partitions(
            [PartitionsToCreate(topic.name, topic.partitions) for topic in request.topics],
            validate_only=request.validate_only,
        )
        response = topics_pb2.CreatePartitionsResponse()
        for topic, result in zip(request.topics, results, strict=True):
            answer = response.topics.add(name=topic.name)
            if result is not None:
                answer.error.CopyFrom(to_message(result))
        return response

    async def _describe_topics(
        self, request: topics_pb2.DescribeTopicsRequest
    ) -> topics_pb2.DescribeTopicsResponse:
        found = self._topics.describe_topics(
            list(request.names), include_internal=request.include_internal
        )
        return topics_pb2.DescribeTopicsResponse(
            topics=[describe(name, result) for name, result in found]
        )
