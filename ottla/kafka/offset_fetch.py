"""``OffsetFetch``: how far groups have come.

A group that nobody knows has committed nothing, and that is no error. Three generations of the
request are answered: of one group (versions 1 to 7), of several (8 and 9), and of several with
topics named by their ids (10).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.coordinator.requests import NO_LEADER_EPOCH, CommittedOffset
from ottla.kafka.current_leaders import Cluster
from ottla.kafka.group_requests import code_of, of_each
from ottla.kafka.handling import RequestContext
from ottla.model.errors import (
    CoordinatorNotAvailableError,
    NotCoordinatorError,
    OttlaError,
    UnknownTopicIdError,
)
from ottla.model.ids import NO_OFFSET, TopicId, TopicPartition
from ottla.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)

_GROUP_ERROR_FROM: Final = 2
"""Before, an error of the group is one of each partition."""
_SEVERAL_FROM: Final = 8
_TOPIC_IDS_FROM: Final = 10


class OffsetFetchHandler:
    """Versions 1 to 10."""

    def __init__(self, service: GroupsService, cluster: Cluster) -> None:
        self._groups = service
        self._cluster = cluster

    async def __call__(
        self, context: RequestContext, request: OffsetFetchRequest
    ) -> OffsetFetchResponse:
        """Answer each group by itself."""
        if context.api_version < _SEVERAL_FROM:
            return await self._one_group(context, request)

        async def answer(asked: OffsetFetchRequestGroup) -> OffsetFetchResponseGroup:
            if context.api_version >= _TOPIC_IDS_FROM:
                return await self._by_ids(asked, require_stable=request.require_stable)
            return await self._by_names(asked, require_stable=request.require_stable)

        return OffsetFetchResponse(
            groups=await of_each(
                request.groups, answer, _refused, group_of=lambda asked: asked.group_id
            )
        )

    # --- One group ---

    async def _one_group(
        self, context: RequestContext, request: OffsetFetchRequest
    ) -> OffsetFetchResponse:
        try:
            offsets = await self._groups.submit(
                groups.FetchOffsets(
                    group_id=request.group_id,
                    partitions=_partitions(request.topics),
                    require_stable=request.require_stable,
                )
            )
        except OttlaError as error:
            error = _as_known(error)
            if context.api_version >= _GROUP_ERROR_FROM:
                return OffsetFetchResponse(error_code=error.code)
            offsets = [
                CommittedOffset(topic_partition=partition, error=error)
                for partition in _partitions(request.topics) or ()
            ]
        return OffsetFetchResponse(
            topics=[
                OffsetFetchResponseTopic(
                    name=name,
                    partitions=[
                        OffsetFetchResponsePartition(
                            partition_index=one.topic_partition.partition,
                            committed_offset=one.offset,
                            committed_leader_epoch=one.leader_epoch,
                            metadata=one.metadata,
                            error_code=code_of(one.error),
                        )
                        for one in of_topic
                    ],
                )
                for name, of_topic in _by_topic(offsets)
            ]
        )

    # --- Several groups ---

    async def _by_names(
        self, asked: OffsetFetchRequestGroup, *, require_stable: bool
    ) -> OffsetFetchResponseGroup:
        offsets = await self._groups.submit(
            _fetch(asked, _partitions(asked.topics), require_stable=require_stable)
        )
        return OffsetFetchResponseGroup(
            group_id=asked.group_id,
            topics=[
                OffsetFetchResponseTopics(name=name, partitions=list(map(_answered, of_topic)))
                for name, of_topic in _by_topic(offsets)
            ],
        )

    async def _by_ids(
        self, asked: OffsetFetchRequestGroup, *, require_stable: bool
    ) -> OffsetFetchResponseGroup:
        image = self._cluster.image
        known: dict[TopicPartition, None] | None = None
        unknown: list[OffsetFetchResponseTopics] = []
        if asked.topics is not None:
            known = {}
            for topic in asked.topics:
                name = image.topic_names.get(TopicId(topic.topic_id))
                if name is None:
                    unknown.append(_unknown(topic))
                else:
                    known |= {
                        TopicPartition(name, number): None for number in topic.partition_indexes
                    }
        partitions = None if known is None else list(known)
        offsets = await self._groups.submit(
            _fetch(asked, partitions, require_stable=require_stable)
        )
        # Of topics that exist no more there is no id to tell.
        found = [
            OffsetFetchResponseTopics(
                topic_id=image.topics[name].topic_id, partitions=list(map(_answered, of_topic))
            )
            for name, of_topic in _by_topic(offsets)
            if name in image.topics
        ]
        return OffsetFetchResponseGroup(group_id=asked.group_id, topics=[*found, *unknown])


def _fetch(
    asked: OffsetFetchRequestGroup,
    partitions: Sequence[TopicPartition] | None,
    *,
    require_stable: bool,
) -> groups.FetchOffsets:
    return groups.FetchOffsets(
        group_id=asked.group_id,
        partitions=partitions,
        member_id=asked.member_id,
        member_epoch=asked.member_epoch,
        require_stable=require_stable,
    )


def _partitions(
    topics: Iterable[OffsetFetchRequestTopic | OffsetFetchRequestTopics] | None,
) -> list[TopicPartition] | None:
    """Return the partitions that are meant, each once; ``None``: all."""
    if topics is None:
        return None
    named = (TopicPartition(one.name, number) for one in topics for number in one.partition_indexes)
    return list(dict.fromkeys(named))


def _by_topic(
    offsets: Iterable[CommittedOffset],
) -> Iterator[tuple[str, Iterator[CommittedOffset]]]:
    """Return the offsets of each topic; a stable sort leaves partitions in the order asked."""

    def topic(one: CommittedOffset) -> str:
        return one.topic_partition.topic

    return groupby(sorted(offsets, key=topic), topic)


def _answered(one: CommittedOffset) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(
        partition_index=one.topic_partition.partition,
        committed_offset=one.offset,
        committed_leader_epoch=one.leader_epoch,
        metadata=one.metadata,
        error_code=code_of(one.error),
    )


def _unknown(topic: OffsetFetchRequestTopics) -> OffsetFetchResponseTopics:
    return OffsetFetchResponseTopics(
        topic_id=topic.topic_id,
        partitions=[
            OffsetFetchResponsePartitions(
                partition_index=number,
                committed_offset=NO_OFFSET,
                committed_leader_epoch=NO_LEADER_EPOCH,
                metadata="",
                error_code=UnknownTopicIdError.code,
            )
            for number in topic.partition_indexes
        ],
    )


def _refused(asked: OffsetFetchRequestGroup, error: OttlaError) -> OffsetFetchResponseGroup:
    return OffsetFetchResponseGroup(group_id=asked.group_id, error_code=_as_known(error).code)


def _as_known(error: OttlaError) -> OttlaError:
    """Return the error that Kafka gives: clients before 3.9 take the other here for the end."""
    if isinstance(error, CoordinatorNotAvailableError):
        return NotCoordinatorError(str(error))
    return error
