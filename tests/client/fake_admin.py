"""The administrative services of the fake broker: topics and settings, in memory."""

# ruff: noqa: N802, ARG002 -- gRPC gives these methods their names and arguments

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from ottla.model.errors import (
    InvalidConfigError,
    InvalidPartitionsError,
    OttlaError,
    ResourceNotFoundError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    error_for,
)
from ottla.model.topic_names import check_topic_name
from ottla.v1 import configs_pb2, configs_pb2_grpc, topics_pb2, topics_pb2_grpc, types_pb2

if TYPE_CHECKING:
    from tests.client.fake_broker import FakeCluster

TOPIC_ID = UUID(int=7)


def described(error: OttlaError) -> types_pb2.Error:
    return types_pb2.Error(
        code=error.code,  # type: ignore[arg-type]  # any number may be on the wire
        message=str(error),
        retriable=error.retriable,
    )


class FakeTopicsService(topics_pb2_grpc.TopicsServicer):
    """Topics; every part of a request first meets the cluster's ``admin_plan``."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster

    def _meet_plan(self) -> None:
        code = next(self.cluster.admin_plan, None)
        if code is not None:
            raise error_for(code, "refused by the fake")

    async def CreateTopics(
        self, request: topics_pb2.CreateTopicsRequest, context: Any
    ) -> topics_pb2.CreateTopicsResponse:
        response = topics_pb2.CreateTopicsResponse()
        for topic in request.topics:
            answer = response.topics.add(name=topic.name)
            try:
                self._meet_plan()
                check_topic_name(topic.name)
                if topic.name in self.cluster.topics:
                    raise TopicAlreadyExistsError(f"{topic.name} exists")
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
                continue
            answer.topic_id = TOPIC_ID.bytes
            answer.partitions = topic.partitions or 1
            answer.replication_factor = topic.replication_factor or 1
            if not request.validate_only:
                self.cluster.create(topic.name, answer.partitions)
                self.cluster.configs["TOPIC", topic.name] = dict(topic.configs)
        return response

    async def DeleteTopics(
        self, request: topics_pb2.DeleteTopicsRequest, context: Any
    ) -> topics_pb2.DeleteTopicsResponse:
        response = topics_pb2.DeleteTopicsResponse()
        for name in request.names:
            answer = response.topics.add(name=name)
            try:
                self._meet_plan()
                if self.cluster.topics.pop(name, None) is None:
                    raise UnknownTopicOrPartitionError(f"no topic {name}")
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
        return response

    async def CreatePartitions(
        self, request: topics_pb2.CreatePartitionsRequest, context: Any
    ) -> topics_pb2.CreatePartitionsResponse:
        response = topics_pb2.CreatePartitionsResponse()
        for topic in request.topics:
            answer = response.topics.add(name=topic.name)
            try:
                self._meet_plan()
                if topic.partitions <= len(self.cluster.topics[topic.name]):
                    raise InvalidPartitionsError(f"{topic.name} has as many")
                if not request.validate_only:
                    self.cluster.create(topic.name, topic.partitions)
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
        return response

    async def DescribeTopics(
        self, request: topics_pb2.DescribeTopicsRequest, context: Any
    ) -> topics_pb2.DescribeTopicsResponse:
        names = list(request.names) or list(self.cluster.topics)
        return topics_pb2.DescribeTopicsResponse(
            topics=[self.cluster.describe_topic(name) for name in names]
        )


class FakeConfigsService(configs_pb2_grpc.ConfigsServicer):
    """Settings of topics: whatever was set, and ``retention.ms``."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster

    def _of(self, resource: configs_pb2.ConfigResource) -> dict[str, str]:
        kind = configs_pb2.ConfigResource.Type.Name(resource.type)
        if kind == "TOPIC" and resource.name not in self.cluster.topics:
            raise ResourceNotFoundError(f"no topic {resource.name}")
        return self.cluster.configs.setdefault((kind, resource.name), {})

    async def DescribeConfigs(
        self, request: configs_pb2.DescribeConfigsRequest, context: Any
    ) -> configs_pb2.DescribeConfigsResponse:
        response = configs_pb2.DescribeConfigsResponse()
        for wanted in request.resources:
            answer = response.resources.add(resource=wanted.resource)
            try:
                values = self._of(wanted.resource)
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
                continue
            for key, value in {"retention.ms": "604800000", **values}.items():
                if not wanted.keys or key in wanted.keys:
                    answer.entries.add(
                        key=key,
                        value=value,
                        default_value="604800000",
                        source="DYNAMIC_TOPIC_CONFIG" if key in values else "DEFAULT_CONFIG",
                        documentation="How long.",
                    )
        return response

    async def AlterConfigs(
        self, request: configs_pb2.AlterConfigsRequest, context: Any
    ) -> configs_pb2.AlterConfigsResponse:
        response = configs_pb2.AlterConfigsResponse()
        for wanted in request.resources:
            answer = response.resources.add(resource=wanted.resource)
            try:
                values = dict(self._of(wanted.resource))
                for change in wanted.changes:
                    apply(change, values)
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
                continue
            if not request.validate_only:
                kind = configs_pb2.ConfigResource.Type.Name(wanted.resource.type)
                self.cluster.configs[kind, wanted.resource.name] = values
        return response


def apply(change: configs_pb2.AlterConfigsRequest.Change, values: dict[str, str]) -> None:
    operation = configs_pb2.AlterConfigsRequest.Change.Operation.Name(change.operation)
    if change.key not in {"retention.ms", "cleanup.policy"}:
        raise InvalidConfigError(f"there is no setting {change.key}")
    listed = [each for each in values.get(change.key, "").split(",") if each]
    if operation == "SET":
        values[change.key] = change.value
    elif operation == "DELETE":
        values.pop(change.key, None)
    elif operation == "APPEND":
        values[change.key] = ",".join([*listed, change.value])
    else:
        values[change.key] = ",".join(each for each in listed if each != change.value)
