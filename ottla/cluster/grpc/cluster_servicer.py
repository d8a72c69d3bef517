"""``ottla.v1.Cluster``: who is in the cluster and who leads what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.cluster.admin_services import QuorumNode
from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.errors import to_message
from ottla.cluster.grpc.metadata_watch import serve_watch
from ottla.cluster.grpc.topics_servicer import describe
from ottla.cluster.services import (
    LogDirectoryDescription,
    MetadataChange,
    Result,
    Services,
    TopicDescription,
)
from ottla.controller.requests import Reassignment
from ottla.model.errors import OttlaError
from ottla.model.ids import BrokerId, TopicPartition
from ottla.model.image import BrokerImage, ClusterImage, PartitionImage
from ottla.v1 import cluster_pb2, cluster_pb2_grpc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ottla.cluster.grpc.errors import Context
    from ottla.cluster.grpc.metadata_watch import WatchContext


class ClusterServicer(cluster_pb2_grpc.ClusterServicer):
    """Translates; see ``proto/ottla/v1/cluster.proto`` for what each method means."""

    def __init__(self, services: Services, calls: Calls) -> None:
        self._cluster = services.cluster
        self._administration = services.administration
        self._calls = calls

    async def GetMetadata(
        self, request: cluster_pb2.GetMetadataRequest, context: Context
    ) -> cluster_pb2.GetMetadataResponse:
        async with self._calls.call("GetMetadata", context):
            return await self._get_metadata(request)

    async def DescribeCluster(
        self, request: cluster_pb2.DescribeClusterRequest, context: Context
    ) -> cluster_pb2.DescribeClusterResponse:
        del request
        async with self._calls.call("DescribeCluster", context):
            return await self._describe_cluster()

    async def DescribeBroker(
        self, request: cluster_pb2.DescribeBrokerRequest, context: Context
    ) -> cluster_pb2.DescribeBrokerResponse:
        del request
        async with self._calls.call("DescribeBroker", context):
            return await self._describe_broker()

    async def WatchMetadata(  # type: ignore[override]  # writes through the context
        self, request: cluster_pb2.WatchMetadataRequest, context: WatchContext
    ) -> None:
        async with self._calls.stream("WatchMetadata", context):
            changes = self._cluster.watch(list(request.topics))
            await serve_watch(changes, _change, context, self._calls.gate)

    async def DescribeQuorum(
        self, request: cluster_pb2.DescribeQuorumRequest, context: Context
    ) -> cluster_pb2.DescribeQuorumResponse:
        del request
        async with self._calls.call("DescribeQuorum", context):
            return await self._describe_quorum()

    async def Reassign(
        self, request: cluster_pb2.ReassignRequest, context: Context
    ) -> cluster_pb2.PartitionResultsResponse:
        async with self._calls.call("Reassign", context):
            return await self._reassign(request)

    async def PlanRebalancing(
        self, request: cluster_pb2.PlanRebalancingRequest, context: Context
    ) -> cluster_pb2.PlanRebalancingResponse:
        async with self._calls.call("PlanRebalancing", context):
            return await self._plan_rebalancing(request)

    async def ElectLeaders(
        self, request: cluster_pb2.ElectLeadersRequest, context: Context
    ) -> cluster_pb2.PartitionResultsResponse:
        async with self._calls.call("ElectLeaders", context):
            return await self._elect_leaders(request)

    async def SetDraining(
        self, request: cluster_pb2.SetDrainingRequest, context: Context
    ) -> cluster_pb2.SetDrainingResponse:
        async with self._calls.call("SetDraining", context):
            return await self._set_draining(request)

    async def UnregisterBroker(
        self, request: cluster_pb2.UnregisterBrokerRequest, context: Context
    ) -> cluster_pb2.UnregisterBrokerResponse:
        async with self._calls.call("UnregisterBroker", context):
            return await self._unregister_broker(request)

    async def ReadmitVoter(
        self, request: cluster_pb2.ReadmitVoterRequest, context: Context
    ) -> cluster_pb2.ReadmitVoterResponse:
        async with self._calls.call("ReadmitVoter", context):
            return await self._readmit_voter(request)

    async def _get_metadata(
        self, request: cluster_pb2.GetMetadataRequest
    ) -> cluster_pb2.GetMetadataResponse:
        topics = await self._cluster.metadata(
            list(request.topics), allow_auto_creation=request.allow_auto_creation
        )
        return _metadata(self._cluster.image, topics)

    async def _describe_cluster(self) -> cluster_pb2.DescribeClusterResponse:
        image = self._cluster.image
        partitions = [part for topic in image.topics.values() for part in topic.partitions]
        return cluster_pb2.DescribeClusterResponse(
            cluster_id=image.cluster_id,
            controller_id=image.controller_id,
            brokers=map(_broker, image.brokers.values()),
            topics=len(image.topics),
            partitions=len(partitions),
            under_replicated_partitions=sum(map(_is_under_replicated, partitions)),
            offline_partitions=self._cluster.offline_partitions(),
            metadata_offset=image.metadata_offset,
        )

    async def _describe_broker(self) -> cluster_pb2.DescribeBrokerResponse:
        broker = self._cluster.describe_broker()
        return cluster_pb2.DescribeBrokerResponse(
            id=broker.broker_id,
            version=broker.version,
            started_at_ms=broker.started_at_ms,
            log_directories=map(_log_directory, broker.log_directories),
        )

    async def _describe_quorum(self) -> cluster_pb2.DescribeQuorumResponse:
        quorum = self._administration.describe_quorum()
        return cluster_pb2.DescribeQuorumResponse(
            leader_id=quorum.leader_id,
            term=quorum.term,
            applied_index=quorum.applied_index,
            nodes=map(_quorum_node, quorum.nodes),
        )

    async def _reassign(
        self, request: cluster_pb2.ReassignRequest
    ) -> cluster_pb2.PartitionResultsResponse:
        return _partition_results(
            await self._administration.reassign(
                [
                    Reassignment(
                        topic_partition=TopicPartition(part.topic, part.partition),
                        replicas=tuple(map(BrokerId, part.replicas)),
                    )
                    for part in request.partitions
                ]
            )
        )

    async def _plan_rebalancing(
        self, request: cluster_pb2.PlanRebalancingRequest
    ) -> cluster_pb2.PlanRebalancingResponse:
        moves = await self._administration.plan_rebalancing(list(map(BrokerId, request.draining)))
        return cluster_pb2.PlanRebalancingResponse(
            moves=[
                cluster_pb2.PlanRebalancingResponse.Move(
                    topic=move.topic_partition.topic,
                    partition=move.topic_partition.partition,
                    replicas_before=move.replicas_before,
                    replicas=move.replicas,
                )
                for move in moves
            ]
        )

    async def _elect_leaders(
        self, request: cluster_pb2.ElectLeadersRequest
    ) -> cluster_pb2.PartitionResultsResponse:
        return _partition_results(
            await self._administration.elect_leaders(
                [TopicPartition(part.topic, part.partition) for part in request.partitions],
                unclean=request.unclean,
            )
        )

    async def _set_draining(
        self, request: cluster_pb2.SetDrainingRequest
    ) -> cluster_pb2.SetDrainingResponse:
        await self._administration.set_draining(
            BrokerId(request.broker_id), draining=request.draining
        )
        return cluster_pb2.SetDrainingResponse()

    async def _unregister_broker(
        self, request: cluster_pb2.UnregisterBrokerRequest
    ) -> cluster_pb2.UnregisterBrokerResponse:
        await self._administration.unregister_broker(BrokerId(request.broker_id))
        return cluster_pb2.UnregisterBrokerResponse()

    async def _readmit_voter(
        self, request: cluster_pb2.ReadmitVoterRequest
    ) -> cluster_pb2.ReadmitVoterResponse:
        await self._administration.readmit_voter(BrokerId(request.broker_id), request.directory_id)
        return cluster_pb2.ReadmitVoterResponse()


def _metadata(
    image: ClusterImage, topics: Iterable[tuple[str, Result[TopicDescription]]]
) -> cluster_pb2.GetMetadataResponse:
    return cluster_pb2.GetMetadataResponse(
        cluster_id=image.cluster_id,
        controller_id=image.controller_id,
        brokers=map(_broker, image.brokers.values()),
        topics=[describe(name, result) for name, result in topics],
        metadata_offset=image.metadata_offset,
    )


def _is_under_replicated(part: PartitionImage) -> bool:
    # Those that a reassignment is only bringing are not missed yet.
    return not set(part.replicas) - set(part.adding_replicas) <= set(part.in_sync_replicas)


def _change(change: MetadataChange) -> cluster_pb2.WatchMetadataResponse:
    return cluster_pb2.WatchMetadataResponse(
        metadata=_metadata(change.image, change.topics), deleted_topics=change.deleted_topics
    )


def _quorum_node(node: QuorumNode) -> cluster_pb2.DescribeQuorumResponse.Node:
    return cluster_pb2.DescribeQuorumResponse.Node(
        id=node.broker_id,
        voter=True,
        connected=node.connected,
        wiped=bool(node.offered_directory_id),
        offered_directory_id=node.offered_directory_id,
    )


def _partition_results(
    results: Iterable[tuple[TopicPartition, Result[None]]],
) -> cluster_pb2.PartitionResultsResponse:
    response = cluster_pb2.PartitionResultsResponse()
    for topic_partition, result in results:
        answer = response.results.add(
            topic=topic_partition.topic, partition=topic_partition.partition
        )
        if isinstance(result, OttlaError):
            answer.error.CopyFrom(to_message(result))
    return response


def _broker(broker: BrokerImage) -> cluster_pb2.Broker:
    return cluster_pb2.Broker(
        id=broker.broker_id,
        host=broker.host,
        port=broker.grpc_port,
        rack=broker.rack,
        fenced=broker.fenced,
        shutting_down=broker.shutting_down,
        draining=broker.draining,
    )


def _log_directory(directory: LogDirectoryDescription) -> cluster_pb2.LogDirectory:
    return cluster_pb2.LogDirectory(
        path=directory.path,
        error=None if directory.error is None else to_message(directory.error),
        total_bytes=directory.total_bytes,
        usable_bytes=directory.usable_bytes,
        partitions=[
            cluster_pb2.HostedPartition(
                topic=part.topic_partition.topic,
                partition=part.topic_partition.partition,
                size_bytes=part.size_bytes,
                segments=part.segment_count,
                log_start_offset=part.log_start_offset,
                log_end_offset=part.log_end_offset,
                durable_end_offset=part.durable_end_offset,
                high_watermark=part.high_watermark,
            )
            for part in directory.partitions
        ],
    )
