"""``DescribeQuorum``: who keeps the metadata of the cluster, as this broker sees it (KIP-595).

Kafka keeps its metadata in a partition of this name; ours is a log of another kind, and is
described as if it were that partition. Of other voters only who they are is known here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from ottla.cluster.services import Services
from ottla.kafka.handling import RequestContext
from ottla.model.errors import InvalidRequestError, UnknownTopicOrPartitionError
from ottla.model.ids import BrokerId
from ottla.model.image import ClusterImage
from ottla.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    Listener,
    Node,
    ReplicaState,
    RequestTopicData,
    ResponsePartitionData,
    ResponseTopicData,
)
from ottla.wire.schema import NO_UUID

METADATA_TOPIC: Final = "__cluster_metadata"
_DIRECTORY_ID_BYTES: Final = 16


class DescribeQuorumHandler:
    """Versions 0 to 2."""

    def __init__(self, services: Services) -> None:
        self._administration = services.administration
        self._cluster = services.cluster

    async def __call__(
        self, _context: RequestContext, request: DescribeQuorumRequest
    ) -> DescribeQuorumResponse:
        """Answer from this broker's place in the quorum."""
        image = self._cluster.image
        count = sum(len(topic.partitions) for topic in request.topics)
        if count > 1:
            return DescribeQuorumResponse(
                error_code=InvalidRequestError.code,
                error_message=f"the request names {count} partitions, and there is one",
            )
        return DescribeQuorumResponse(
            topics=[self._topic(topic, image) for topic in request.topics],
            nodes=list(_nodes(image)),
        )

    def _topic(self, asked: RequestTopicData, image: ClusterImage) -> ResponseTopicData:
        return ResponseTopicData(
            topic_name=asked.topic_name,
            partitions=[
                self._quorum(image)
                if asked.topic_name == METADATA_TOPIC and partition.partition_index == 0
                else ResponsePartitionData(
                    partition_index=partition.partition_index,
                    error_code=UnknownTopicOrPartitionError.code,
                    error_message=f"the metadata is in partition 0 of {METADATA_TOPIC}",
                )
                for partition in asked.partitions
            ],
        )

    def _quorum(self, image: ClusterImage) -> ResponsePartitionData:
        quorum = self._administration.describe_quorum()
        voters = {node.broker_id for node in quorum.nodes}
        return ResponsePartitionData(
            leader_id=quorum.leader_id,
            leader_epoch=quorum.term,
            # Positions are inclusive in the metadata log, and exclusive in Kafka's.
            high_watermark=quorum.applied_index + 1,
            current_voters=[
                _replica(node.broker_id, image, node.log_end_offset) for node in quorum.nodes
            ],
            observers=[
                _replica(broker_id, image, -1)
                for broker_id in sorted(image.brokers)
                if broker_id not in voters
            ],
        )


def _replica(broker_id: BrokerId, image: ClusterImage, log_end_offset: int) -> ReplicaState:
    directory_id = image.voters.get(broker_id, b"")
    if broker_id in image.brokers and not directory_id:
        directory_id = image.brokers[broker_id].directory_id
    return ReplicaState(
        replica_id=broker_id,
        replica_directory_id=(
            UUID(bytes=directory_id) if len(directory_id) == _DIRECTORY_ID_BYTES else NO_UUID
        ),
        log_end_offset=log_end_offset,
    )


def _nodes(image: ClusterImage) -> Iterator[Node]:
    for broker_id in sorted(image.voters):
        broker = image.brokers.get(broker_id)
        if broker is not None:
            yield Node(
                node_id=broker_id,
                listeners=[
                    Listener(name=listener.name, host=listener.host, port=listener.port)
                    for listener in broker.listeners
                ],
            )
