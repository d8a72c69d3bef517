"""The group coordinator of one broker, put together."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final
from uuid import uuid4

from ottla.cluster.group_log import GroupLogContext
from ottla.cluster.group_shard import ShardContext
from ottla.cluster.group_shards import GroupShards, HostedPartitions
from ottla.cluster.group_waiting import WaitingRequests
from ottla.cluster.groups import BrokerGroupsService
from ottla.cluster.lease import Lease
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.offsets_topic import OffsetsTopic, OffsetsTopicConfig
from ottla.cluster.services import TopicsService
from ottla.config.broker_config import BrokerConfig
from ottla.config.group_settings import GroupsConfig
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.shard import GroupShard
from ottla.model.limits import GROUP_LOGS_READ_AT_ONCE_MAX

SHORTENED_AT_ONCE_MAX: Final = 1
"""Group logs that are written anew at the same time: it is never urgent."""


def wire_groups(
    config: BrokerConfig,
    *,
    metadata: MetadataCache,
    partitions: HostedPartitions,
    log_context: GroupLogContext,
    lease: Lease,
) -> GroupShards:
    """Make what coordinates groups while it runs."""
    settings = group_settings(config.groups)
    return GroupShards(
        broker_id=config.node.node_id,
        metadata=metadata,
        partitions=partitions,
        log_context=log_context,
        shard_context=ShardContext(
            new_machine=partial(GroupShard, settings, new_member_id=new_member_id),
            waiting=WaitingRequests(),
            clock=log_context.clock,
            image=lambda: metadata.image,
            lease=lease,
            may_read=asyncio.Semaphore(GROUP_LOGS_READ_AT_ONCE_MAX),
            may_shorten=asyncio.Semaphore(SHORTENED_AT_ONCE_MAX),
            commit_timeout_ms=config.groups.offsets_commit_timeout_ms,
        ),
    )


def groups_service(
    config: BrokerConfig,
    shards: GroupShards,
    *,
    metadata: MetadataCache,
    topics: TopicsService,
    lease: Lease,
) -> BrokerGroupsService:
    """Put in front of it what a door calls."""
    topic = OffsetsTopicConfig(
        partitions=config.groups.topic_partitions,
        replication_factor=config.groups.topic_replication_factor,
        segment_bytes=config.groups.topic_segment_bytes,
        voters=len(config.quorum.ids(config.node.node_id)),
    )
    return BrokerGroupsService(shards, metadata, OffsetsTopic(topics, metadata, topic), lease)


def group_settings(config: GroupsConfig) -> GroupSettings:
    """Return what the coordinator is told of the configuration."""
    return GroupSettings(
        session_timeout_min_ms=config.session_timeout_min_ms,
        session_timeout_max_ms=config.session_timeout_max_ms,
        initial_rebalance_delay_ms=config.initial_rebalance_delay_ms,
        group_size_max=config.size_max,
        offset_metadata_characters_max=config.offset_metadata_characters_max,
        offsets_retention_ms=config.offsets_retention_ms,
        offsets_retention_check_interval_ms=config.offsets_retention_check_interval_ms,
        consumer_session_timeout_ms=config.consumer_session_timeout_ms,
        consumer_heartbeat_interval_ms=config.consumer_heartbeat_interval_ms,
        consumer_group_size_max=config.consumer_size_max,
        consumer_assignment_interval_ms=config.consumer_assignment_interval_ms,
    )


def new_member_id(prefix: str) -> str:
    """Return an id that nobody else has, beginning as Kafka's do."""
    return f"{prefix}-{uuid4()}" if prefix else str(uuid4())
