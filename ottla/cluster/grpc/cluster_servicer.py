"""``ottla.v1.Cluster``: who is in the cluster and who leads what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.errors import to_message
from ottla.cluster.grpc.topics_servicer import describe
from ottla.cluster.services import LogDirectoryDescription, Services
from ottla.model.image import BrokerImage
from ottla.v1 import cluster_pb2, cluster_pb2_grpc

if TYPE_CHECKING:
    from ottla.cluster.grpc.errors import Context


class ClusterServicer(cluster_pb2_grpc.ClusterServicer):
    """Translates; see ``proto/ottla/v1/cluster.proto`` for what each method means."""

    def __init__(self, services: Services, calls: Calls) -> None:
        self._cluster = services.cluster
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

    async def _get_metadata(
        self, request: cluster_pb2.GetMetadataRequest
    ) -> cluster_pb2.GetMetadataResponse:
        topics = await self._cluster.metadata(
            list(request.topics), allow_auto_creation=request.allow_auto_creation
        )
        image = self._cluster.image
        return cluster_pb2.GetMetadataResponse(
            cluster_id=image.cluster_id,
            controller_id=image.controller_id,
            brokers=map(_broker, image.brokers.values()),
            topics=[describe(name, result) for name, result in topics],
            metadata_offset=image.metadata_offset,
        )

    async def _describe_cluster(self) -> cluster_pb2.DescribeClusterResponse:
        image = self._cluster.image
        partitions = [part for topic in image.topics.values() for part in topic.partitions]
        return cluster_pb2.DescribeClusterResponse(
            cluster_id=image.cluster_id,
            controller_id=image.controller_id,
            brokers=map(_broker, image.brokers.values()),
            topics=len(image.topics),
            partitions=len(partitions),
            under_replicated_partitions=sum(
                len(part.in_sync_replicas) < len(part.replicas) for part in partitions
            ),
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


def _broker(broker: BrokerImage) -> cluster_pb2.Broker:
    return cluster_pb2.Broker(
        id=broker.broker_id,
        host=broker.host,
        port=broker.grpc_port,
        rack=broker.rack,
        fenced=broker.fenced,
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
