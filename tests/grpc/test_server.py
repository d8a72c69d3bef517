"""The port tells callers what went wrong in a form that programs can read, and stops in order."""

from __future__ import annotations

import errno
import logging
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from ottla.cluster.gate import Gate
from ottla.model.limits import REQUEST_BYTES_MAX
from ottla.v1 import (
    cluster_pb2,
    cluster_pb2_grpc,
    configs_pb2,
    configs_pb2_grpc,
    log_pb2,
    log_pb2_grpc,
    topics_pb2,
    topics_pb2_grpc,
    types_pb2,
)
from tests.grpc.fakes import Door, ListedLogs, new_server


async def status_of(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value


async def test_status_of_a_failed_request_carries_the_error(channel: grpc.aio.Channel) -> None:
    request = log_pb2.ProduceRequest(acks=5)
    error = await status_of(log_pb2_grpc.LogStub(channel).Produce(request))

    trailers: dict[str, Any] = dict(error.trailing_metadata() or ())  # type: ignore[arg-type]
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    detail = types_pb2.Error()
    assert status.details[0].Unpack(detail)
    assert detail.code == types_pb2.Error.INVALID_REQUIRED_ACKS
    assert detail.message == error.details() == "acks is 5; use 0, 1 or -1 (all)"


async def test_bug_is_an_incident_that_tells_the_caller_nothing_but_its_number(
    channel: grpc.aio.Channel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        request = log_pb2.ProduceRequest(acks=1)  # the fake service has a bug there
        error = await status_of(log_pb2_grpc.LogStub(channel).Produce(request))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "a bug of the service" not in str(error.details())
    incident = str(error.details()).rpartition(" ")[2]
    assert incident in caplog.text
    assert "a bug of the service" in caplog.text


async def test_message_over_the_limit_is_resource_exhausted(channel: grpc.aio.Channel) -> None:
    part = log_pb2.PartitionRecords(topic="web", batches=bytes(REQUEST_BYTES_MAX))
    request = log_pb2.ProduceRequest(acks=-1, partitions=[part])

    error = await status_of(log_pb2_grpc.LogStub(channel).Produce(request))

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_health_service_says_serving(channel: grpc.aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)

    answer = await health.Check(health_pb2.HealthCheckRequest(service="ottla.v1.Log"))

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_reflection_lists_every_service(channel: grpc.aio.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    stream = stub.ServerReflectionInfo(iter([request]))
    answer = await stream.read()

    names = {service.name for service in answer.list_services_response.service}
    assert {"ottla.v1.Log", "ottla.v1.Topics", "ottla.v1.Configs", "ottla.v1.Cluster"} <= names


async def test_closed_gate_refuses_with_a_retriable_status(
    door: Door, channel: grpc.aio.Channel
) -> None:
    door.gate.close()

    error = await status_of(
        cluster_pb2_grpc.ClusterStub(channel).DescribeCluster(cluster_pb2.DescribeClusterRequest())
    )

    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_taken_port_is_an_address_in_use(door: Door) -> None:
    with pytest.raises(OSError) as refused:  # noqa: PT011 -- the number is asserted
        await new_server(ListedLogs(), Gate()).start("127.0.0.1", door.port)

    assert refused.value.errno == errno.EADDRINUSE


async def test_topics_are_created_and_deleted_one_by_one(channel: grpc.aio.Channel) -> None:
    topics = topics_pb2_grpc.TopicsStub(channel)
    created = await topics.CreateTopics(
        topics_pb2.CreateTopicsRequest(
            topics=[topics_pb2.NewTopic(name="a", partitions=3), topics_pb2.NewTopic(name="a")]
        )
    )
    deleted = await topics.DeleteTopics(topics_pb2.DeleteTopicsRequest(names=["a", "b"]))

    assert [topic.error.code for topic in created.topics] == [0, 36]
    assert created.topics[0].partitions == 3
    assert [topic.error.code for topic in deleted.topics] == [0, 3]


async def test_unknown_topic_is_described_as_unknown(channel: grpc.aio.Channel) -> None:
    topics = topics_pb2_grpc.TopicsStub(channel)

    described = await topics.DescribeTopics(topics_pb2.DescribeTopicsRequest(names=["x"]))
    grown = await topics.CreatePartitions(
        topics_pb2.CreatePartitionsRequest(
            topics=[topics_pb2.CreatePartitionsRequest.Topic(name="x", partitions=2)]
        )
    )

    assert [described.topics[0].error.code, grown.topics[0].error.code] == [3, 3]


async def test_resource_without_a_type_is_an_invalid_request(channel: grpc.aio.Channel) -> None:
    request = configs_pb2.DescribeConfigsRequest(
        resources=[
            configs_pb2.DescribeConfigsRequest.Resource(
                resource=configs_pb2.ConfigResource(name="web")
            )
        ]
    )

    error = await status_of(configs_pb2_grpc.ConfigsStub(channel).DescribeConfigs(request))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_unknown_setting_fails_its_resource(channel: grpc.aio.Channel) -> None:
    change = configs_pb2.AlterConfigsRequest.Change(key="retention.mss", value="1")
    resource = configs_pb2.ConfigResource(type=configs_pb2.ConfigResource.TOPIC, name="web")
    request = configs_pb2.AlterConfigsRequest(
        resources=[configs_pb2.AlterConfigsRequest.Resource(resource=resource, changes=[change])]
    )

    response = await configs_pb2_grpc.ConfigsStub(channel).AlterConfigs(request)

    assert response.resources[0].error.code == types_pb2.Error.INVALID_CONFIG


async def test_cluster_and_broker_are_described(channel: grpc.aio.Channel) -> None:
    cluster = cluster_pb2_grpc.ClusterStub(channel)

    described = await cluster.DescribeCluster(cluster_pb2.DescribeClusterRequest())
    metadata = await cluster.GetMetadata(cluster_pb2.GetMetadataRequest(topics=["x"]))
    broker = await cluster.DescribeBroker(cluster_pb2.DescribeBrokerRequest())

    assert described.cluster_id == metadata.cluster_id == "test-cluster"
    assert metadata.topics[0].error.code == types_pb2.Error.UNKNOWN_TOPIC_OR_PARTITION
    assert broker.version == "test"
