"""The fake broker's view of the cluster: metadata, asked for or watched, and its administration."""

# ruff: noqa: N802, ARG002 -- gRPC gives these methods their names and arguments

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import grpc

from ottla.model.errors import ElectionNotNeededError, OttlaError, StorageError
from ottla.v1 import cluster_pb2, cluster_pb2_grpc
from tests.client.fake_admin import described

if TYPE_CHECKING:
    from tests.client.fake_broker import FakeBroker


class FakeClusterService(cluster_pb2_grpc.ClusterServicer):
    """Metadata."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker
        self.cluster = broker.cluster

    async def GetMetadata(
        self, request: cluster_pb2.GetMetadataRequest, context: Any
    ) -> cluster_pb2.GetMetadataResponse:
        self.cluster.calls["GetMetadata"] += 1
        self.cluster.calls[f"GetMetadata of {self.broker.id}"] += 1
        await self.broker.flow.wait()
        return self.broker.describe(request.topics)

    async def WatchMetadata(
        self, request: cluster_pb2.WatchMetadataRequest, context: Any
    ) -> AsyncIterator[cluster_pb2.WatchMetadataResponse]:
        self.cluster.calls["WatchMetadata"] += 1
        if not self.cluster.can_watch:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "never heard of it")
        names = list(request.topics) or sorted(self.cluster.topics)
        told: dict[str, bytes] = {}
        self.cluster.watched_at.append(self.broker.id)
        try:
            while True:
                await self.broker.flow.wait()
                changed = self.cluster.metadata_changed
                answer = cluster_pb2.WatchMetadataResponse(metadata=self.broker.describe(names))
                topics = list(answer.metadata.topics)
                del answer.metadata.topics[:]
                for topic in topics:
                    content = topic.SerializeToString(deterministic=True)
                    if told.get(topic.name) != content:
                        told[topic.name] = content
                        answer.metadata.topics.append(topic)
                if answer.metadata.topics:
                    self.cluster.changes_told += 1
                    yield answer
                await changed.wait()
        finally:
            self.cluster.watched_at.remove(self.broker.id)

    async def DescribeCluster(
        self, request: cluster_pb2.DescribeClusterRequest, context: Any
    ) -> cluster_pb2.DescribeClusterResponse:
        self.cluster.calls["DescribeCluster"] += 1
        self.cluster.calls[f"DescribeCluster of {self.broker.id}"] += 1
        await self.cluster.speaks.wait()
        await self.broker.flow.wait()
        return cluster_pb2.DescribeClusterResponse(
            cluster_id="fake",
            controller_id=1,
            brokers=self.cluster.describe_brokers(),
            topics=len(self.cluster.topics),
            metadata_offset=self.cluster.metadata_offset,
        )

    async def DescribeQuorum(
        self, request: cluster_pb2.DescribeQuorumRequest, context: Any
    ) -> cluster_pb2.DescribeQuorumResponse:
        quorum = cluster_pb2.DescribeQuorumResponse(leader_id=1, term=7, applied_index=42)
        quorum.nodes.add(id=2, voter=True, wiped=True, offered_directory_id=b"new")
        quorum.nodes.add(id=self.broker.id, voter=True, connected=True)
        return quorum

    async def Reassign(
        self, request: cluster_pb2.ReassignRequest, context: Any
    ) -> cluster_pb2.PartitionResultsResponse:
        response = cluster_pb2.PartitionResultsResponse()
        for asked in request.partitions:
            answer = response.results.add(topic=asked.topic, partition=asked.partition)
            try:
                moved = self.cluster.partition(asked.topic, asked.partition)
                moved.replicas = list(asked.replicas)
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
        return response

    async def PlanRebalancing(
        self, request: cluster_pb2.PlanRebalancingRequest, context: Any
    ) -> cluster_pb2.PlanRebalancingResponse:
        response = cluster_pb2.PlanRebalancingResponse()
        response.moves.add(
            topic="web", partition=1, replicas_before=request.draining, replicas=[3, 2]
        )
        return response

    async def ElectLeaders(
        self, request: cluster_pb2.ElectLeadersRequest, context: Any
    ) -> cluster_pb2.PartitionResultsResponse:
        response = cluster_pb2.PartitionResultsResponse()
        asked = [(each.topic, each.partition) for each in request.partitions]
        for topic, number in asked or [("web", 0)]:
            answer = response.results.add(topic=topic, partition=number)
            try:
                self.cluster.partition(topic, number)
                if not request.unclean and number:
                    raise ElectionNotNeededError(f"{topic}-{number} is led as it should be")
            except OttlaError as error:
                answer.error.CopyFrom(described(error))
        return response

    async def SetDraining(
        self, request: cluster_pb2.SetDrainingRequest, context: Any
    ) -> cluster_pb2.SetDrainingResponse:
        self.cluster.changes.append(("draining", request.broker_id, request.draining))
        return cluster_pb2.SetDrainingResponse()

    async def UnregisterBroker(
        self, request: cluster_pb2.UnregisterBrokerRequest, context: Any
    ) -> cluster_pb2.UnregisterBrokerResponse:
        self.cluster.changes.append(("unregistered", request.broker_id))
        return cluster_pb2.UnregisterBrokerResponse()

    async def ReadmitVoter(
        self, request: cluster_pb2.ReadmitVoterRequest, context: Any
    ) -> cluster_pb2.ReadmitVoterResponse:
        self.cluster.changes.append(("readmitted", request.broker_id, request.directory_id))
        return cluster_pb2.ReadmitVoterResponse()

    async def DescribeBroker(
        self, request: cluster_pb2.DescribeBrokerRequest, context: Any
    ) -> cluster_pb2.DescribeBrokerResponse:
        response = cluster_pb2.DescribeBrokerResponse(
            id=self.broker.id, version="9.9", started_at_ms=5
        )
        directory = response.log_directories.add(path="/data", total_bytes=10, usable_bytes=3)
        directory.error.CopyFrom(described(StorageError("the disk is full")))
        for topic, partitions in self.cluster.topics.items():
            for number, partition in enumerate(partitions):
                directory.partitions.add(
                    topic=topic, partition=number, log_end_offset=partition.log_end_offset
                )
        return response
