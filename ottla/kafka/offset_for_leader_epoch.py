"""``OffsetForLeaderEpoch``: where an epoch of a partition ended (KIP-320).

A reader that has records of that epoch beyond its end has read what was never committed.
"""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import EpochToFind, OffsetsService
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.model.ids import NO_OFFSET, LeaderEpoch, TopicPartition
from ottla.wire.messages.offset_for_leader_epoch import (
    EpochEndOffset,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
)

_NO_EPOCH: Final = -1


class OffsetForLeaderEpochHandler:
    """Versions 2 to 4."""

    def __init__(self, offsets: OffsetsService) -> None:
        self._offsets = offsets

    async def __call__(
        self, context: RequestContext, request: OffsetForLeaderEpochRequest
    ) -> OffsetForLeaderEpochResponse:
        """Answer each partition by itself; -1 for both where there was no such epoch."""
        del context
        queries = [
            EpochToFind(
                TopicPartition(topic.topic, asked.partition),
                LeaderEpoch(asked.leader_epoch),
                None if asked.current_leader_epoch < 0 else LeaderEpoch(asked.current_leader_epoch),
            )
            for topic in request.topics
            for asked in topic.partitions
        ]
        try:
            results = self._offsets.end_offsets_of_epochs(queries)
        except OttlaError as error:
            results = [error] * len(queries)
        remaining = iter(results)
        topics = []
        for topic in request.topics:
            answer = OffsetForLeaderTopicResult(topic=topic.topic)
            for asked in topic.partitions:
                result = next(remaining)
                end = EpochEndOffset(
                    partition=asked.partition, leader_epoch=_NO_EPOCH, end_offset=NO_OFFSET
                )
                if isinstance(result, OttlaError):
                    end.error_code = result.code
                elif result is not None:
                    end.leader_epoch, end.end_offset = result
                answer.partitions.append(end)
            topics.append(answer)
        return OffsetForLeaderEpochResponse(topics=topics)
