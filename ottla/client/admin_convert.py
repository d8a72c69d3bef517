"""From the messages of the API to the values of :mod:`ottla.client.admin_values`."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from ottla.client.addresses import Address
from ottla.client.admin_values import (
    BrokerAddress,
    BrokerDescription,
    ClusterDescription,
    ConfigEntry,
    ConfigSource,
    CreatedTopic,
    HostedPartition,
    LogDirectory,
    MetadataChange,
    PartitionDescription,
    PlannedMove,
    QuorumDescription,
    QuorumNode,
    TopicDescription,
)
from ottla.client.rpc import error_from_message
from ottla.model.ids import TopicPartition
from ottla.v1 import cluster_pb2, configs_pb2, topics_pb2

_NO_ID = UUID(int=0)
_SOURCES = {source.value: source for source in ConfigSource}


def created_topic(answer: topics_pb2.CreateTopicsResponse.Topic) -> CreatedTopic:
    """Return a topic as it was created."""
    return CreatedTopic(
        answer.name, _uuid(answer.topic_id), answer.partitions, answer.replication_factor
    )


def topic_description(answer: topics_pb2.DescribeTopicsResponse.Topic) -> TopicDescription:
    """Return a topic, its partitions in order."""
    return TopicDescription(
        answer.name,
        _uuid(answer.topic_id),
        answer.internal,
        tuple(
            PartitionDescription(
                partition=each.partition,
                leader=each.leader,
                leader_epoch=each.leader_epoch,
                replicas=tuple(each.replicas),
                in_sync_replicas=tuple(each.in_sync_replicas),
                eligible_leader_replicas=tuple(each.eligible_leader_replicas),
                log_start_offset=each.log_start_offset,
                high_watermark=each.high_watermark,
                size_bytes=each.size_bytes,
                adding_replicas=tuple(each.adding_replicas),
                removing_replicas=tuple(each.removing_replicas),
            )
            for each in sorted(answer.partitions, key=lambda each: each.partition)
        ),
    )


def config_entry(answer: configs_pb2.ConfigEntry) -> ConfigEntry:
    """Return a setting; a source that this client does not know is ``UNKNOWN``."""
    return ConfigEntry(
        key=answer.key,
        value=answer.value,
        default_value=answer.default_value,
        source=_SOURCES.get(answer.source, ConfigSource.UNKNOWN),
        is_read_only=answer.read_only,
        is_sensitive=answer.sensitive,
        documentation=answer.documentation,
    )


def cluster_description(answer: cluster_pb2.DescribeClusterResponse) -> ClusterDescription:
    """Return the cluster, its brokers by id."""
    return ClusterDescription(
        cluster_id=answer.cluster_id,
        controller_id=answer.controller_id,
        brokers=_brokers(answer.brokers),
        topics=answer.topics,
        partitions=answer.partitions,
        under_replicated_partitions=answer.under_replicated_partitions,
        offline_partitions=answer.offline_partitions,
        metadata_offset=answer.metadata_offset,
    )


def metadata_change(answer: cluster_pb2.WatchMetadataResponse) -> MetadataChange:
    """Return what changed; topics that do not exist are left out."""
    metadata = answer.metadata
    return MetadataChange(
        cluster_id=metadata.cluster_id,
        controller_id=metadata.controller_id,
        brokers=_brokers(metadata.brokers),
        topics=tuple(topic_description(each) for each in metadata.topics if not each.error.code),
        deleted_topics=tuple(answer.deleted_topics),
        metadata_offset=metadata.metadata_offset,
    )


def quorum_description(answer: cluster_pb2.DescribeQuorumResponse) -> QuorumDescription:
    """Return the quorum, its nodes by id."""
    return QuorumDescription(
        leader_id=answer.leader_id,
        term=answer.term,
        applied_index=answer.applied_index,
        nodes=tuple(
            QuorumNode(
                broker_id=each.id,
                is_voter=each.voter,
                is_connected=each.connected,
                offered_directory_id=each.offered_directory_id if each.wiped else None,
            )
            for each in sorted(answer.nodes, key=lambda each: each.id)
        ),
    )


def planned_move(answer: cluster_pb2.PlanRebalancingResponse.Move) -> PlannedMove:
    """Return a move."""
    return PlannedMove(
        topic_partition=TopicPartition(answer.topic, answer.partition),
        replicas_before=tuple(answer.replicas_before),
        replicas=tuple(answer.replicas),
    )


def broker_description(answer: cluster_pb2.DescribeBrokerResponse) -> BrokerDescription:
    """Return a broker with its directories."""
    return BrokerDescription(
        broker_id=answer.id,
        version=answer.version,
        started_at_ms=answer.started_at_ms,
        log_directories=tuple(_log_directory(each) for each in answer.log_directories),
    )


def _brokers(answers: Iterable[cluster_pb2.Broker]) -> tuple[BrokerAddress, ...]:
    return tuple(
        BrokerAddress(
            broker_id=each.id,
            address=Address(each.host, each.port),
            rack=each.rack,
            is_fenced=each.fenced,
            is_shutting_down=each.shutting_down,
            is_draining=each.draining,
        )
        for each in sorted(answers, key=lambda each: each.id)
    )


def _log_directory(answer: cluster_pb2.LogDirectory) -> LogDirectory:
    return LogDirectory(
        path=answer.path,
        error=error_from_message(answer.error) if answer.error.code else None,
        total_bytes=answer.total_bytes,
        usable_bytes=answer.usable_bytes,
        partitions=tuple(
            HostedPartition(
                topic_partition=TopicPartition(each.topic, each.partition),
                size_bytes=each.size_bytes,
                segments=each.segments,
                log_start_offset=each.log_start_offset,
                log_end_offset=each.log_end_offset,
                durable_end_offset=each.durable_end_offset,
                high_watermark=each.high_watermark,
            )
            for each in answer.partitions
        ),
    )


def _uuid(topic_id: bytes) -> UUID:
    return UUID(bytes=topic_id) if len(topic_id) == len(_NO_ID.bytes) else _NO_ID
