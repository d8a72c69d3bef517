"""Watching and administering the cluster: each call is translated, and ends as it should."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from ottla.v1 import cluster_pb2, cluster_pb2_grpc, topics_pb2, types_pb2
from tests.grpc.fakes import Door
from tests.grpc.running_broker import RunningBroker, refusal

Error = types_pb2.Error
WEB_9 = cluster_pb2.TopicPartitionName(topic="web", partition=9)


@pytest.fixture
def cluster(channel: grpc.aio.Channel) -> cluster_pb2_grpc.ClusterAsyncStub:
    return cluster_pb2_grpc.ClusterStub(channel)


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    running = await RunningBroker().start()
    yield running
    await running.end()


async def answer_of(watch: Any) -> cluster_pb2.WatchMetadataResponse:
    answer = await watch.read()
    assert isinstance(answer, cluster_pb2.WatchMetadataResponse), "the watch has ended"
    return answer


async def test_watch_brings_the_whole_and_then_what_changed(broker: RunningBroker) -> None:
    watch = broker.cluster.WatchMetadata(cluster_pb2.WatchMetadataRequest())
    async with asyncio.timeout(10):
        first = await answer_of(watch)
        assert ([each.id for each in first.metadata.brokers], list(first.metadata.topics)) == (
            [0],
            [],
        )

        await broker.topics.CreateTopics(
            topics_pb2.CreateTopicsRequest(topics=[topics_pb2.NewTopic(name="web", partitions=2)])
        )
        second = await answer_of(watch)
        assert [each.name for each in second.metadata.topics] == ["web"]
        assert second.metadata.metadata_offset > first.metadata.metadata_offset

        await broker.topics.DeleteTopics(topics_pb2.DeleteTopicsRequest(names=["web"]))
        while "web" not in (third := await answer_of(watch)).deleted_topics:
            assert third.metadata.topics
    watch.cancel()


async def test_watch_ends_when_the_broker_stops(
    door: Door, cluster: cluster_pb2_grpc.ClusterAsyncStub
) -> None:
    watch = cluster.WatchMetadata(cluster_pb2.WatchMetadataRequest(topics=["web"]))
    first = await answer_of(watch)
    assert first.metadata.topics[0].error.code == Error.UNKNOWN_TOPIC_OR_PARTITION

    door.gate.close()

    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await watch.read()
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_quorum_of_one_is_described(broker: RunningBroker) -> None:
    quorum = await broker.cluster.DescribeQuorum(cluster_pb2.DescribeQuorumRequest())

    assert (quorum.leader_id, quorum.term >= 1, quorum.applied_index >= 1) == (0, True, True)
    assert [(node.id, node.voter, node.connected, node.wiped) for node in quorum.nodes] == [
        (0, True, True, False)
    ]


async def test_broker_that_is_alone_has_nothing_to_plan(broker: RunningBroker) -> None:
    await broker.create_topic("web", partitions=3)

    plan = await broker.cluster.PlanRebalancing(cluster_pb2.PlanRebalancingRequest())

    assert not plan.moves


async def test_errors_of_partitions_are_their_own(
    cluster: cluster_pb2_grpc.ClusterAsyncStub,
) -> None:
    moved = await cluster.Reassign(
        cluster_pb2.ReassignRequest(
            partitions=[cluster_pb2.ReassignRequest.Partition(topic="web", partition=9)]
        )
    )
    elected = await cluster.ElectLeaders(cluster_pb2.ElectLeadersRequest(partitions=[WEB_9]))

    for response in (moved, elected):
        (result,) = response.results
        assert (result.topic, result.partition, result.error.code) == (
            "web",
            9,
            Error.UNKNOWN_TOPIC_OR_PARTITION,
        )


async def test_refusals_are_statuses(cluster: cluster_pb2_grpc.ClusterAsyncStub) -> None:
    not_there = (grpc.StatusCode.NOT_FOUND, Error.BROKER_ID_NOT_REGISTERED)

    assert (
        await refusal(cluster.PlanRebalancing(cluster_pb2.PlanRebalancingRequest(draining=[9])))
        == not_there
    )
    assert await refusal(cluster.SetDraining(cluster_pb2.SetDrainingRequest())) == not_there
    assert (
        await refusal(cluster.UnregisterBroker(cluster_pb2.UnregisterBrokerRequest())) == not_there
    )
    assert await refusal(cluster.ReadmitVoter(cluster_pb2.ReadmitVoterRequest())) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        Error.INVALID_REQUEST,
    )
