"""``OffsetCommit``: how far a group has come.

Versions before 5 say how long an offset is to be kept. Nobody has listened since Kafka 2.1: the
setting ``offsets.retention.minutes`` counts.
"""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.current_leaders import Cluster
from ottla.kafka.group_requests import code_of
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError, UnknownTopicIdError
from ottla.model.ids import LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
)

_STALE_EPOCHS_FROM: Final = 9
_TOPIC_IDS_FROM: Final = 10


class OffsetCommitHandler:
    """Versions 2 to 10. From version 10 on topics are named by their ids."""

    def __init__(self, service: GroupsService, cluster: Cluster) -> None:
        self._groups = service
        self._cluster = cluster

    async def __call__(
        self, context: RequestContext, request: OffsetCommitRequest
    ) -> OffsetCommitResponse:
        """Answer for each partition by itself, once what is committed is replicated."""
        names = self._names(context, request)
        commit = groups.CommitOffsets(
            group_id=request.group_id,
            member_id=request.member_id,
            generation_or_member_epoch=request.generation_id_or_member_epoch,
            group_instance_id=request.group_instance_id,
            offsets=[
                one
                for topic, name in zip(request.topics, names, strict=True)
                if name is not None
                for one in _offsets(topic, name, with_id=context.api_version >= _TOPIC_IDS_FROM)
            ],
            understands_stale_epochs=context.api_version >= _STALE_EPOCHS_FROM,
        )
        try:
            codes = iter([code_of(outcome) for outcome in await self._groups.submit(commit)])
        except OttlaError as error:
            codes = iter([error.code] * len(commit.offsets))
        answered = []
        for topic, name in zip(request.topics, names, strict=True):
            answer = OffsetCommitResponseTopic(topic_id=topic.topic_id, name=topic.name)
            answer.partitions = [
                OffsetCommitResponsePartition(
                    partition_index=partition.partition_index,
                    error_code=UnknownTopicIdError.code if name is None else next(codes),
                )
                for partition in topic.partitions
            ]
            answered.append(answer)
        return OffsetCommitResponse(topics=answered)

    def _names(self, context: RequestContext, request: OffsetCommitRequest) -> list[str | None]:
        """Return the name of each topic; ``None`` where nothing has the id."""
        if context.api_version < _TOPIC_IDS_FROM:
            return [topic.name for topic in request.topics]
        names = self._cluster.image.topic_names
        return [names.get(TopicId(topic.topic_id)) for topic in request.topics]


def _offsets(
    topic: OffsetCommitRequestTopic, name: str, *, with_id: bool
) -> list[groups.OffsetToCommit]:
    return [
        groups.OffsetToCommit(
            topic_partition=TopicPartition(name, partition.partition_index),
            topic_id=TopicId(topic.topic_id) if with_id else None,
            offset=Offset(partition.committed_offset),
            leader_epoch=LeaderEpoch(partition.committed_leader_epoch),
            metadata=partition.committed_metadata or "",
        )
        for partition in topic.partitions
    ]
