"""``ListOffsets``: positions by name or by time.

Kafka writes names as negative timestamps, more of them with every few versions. Three of them tell
apart what is on a broker's disk from what was moved to slower storage; nothing is ever moved here.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from ottla.cluster.services import (
    OffsetFound,
    OffsetsService,
    OffsetToFind,
    Result,
    SpecialPosition,
)
from ottla.kafka.handling import RequestContext
from ottla.model.errors import (
    InvalidRequestError,
    LeaderNotAvailableError,
    OffsetNotAvailableError,
    OttlaError,
    UnsupportedVersionError,
)
from ottla.model.ids import NO_OFFSET, NO_TIMESTAMP_MS, LeaderEpoch, TopicPartition
from ottla.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
)

_POSITIONS: Final = {
    -1: (1, SpecialPosition.LATEST),
    -2: (1, SpecialPosition.EARLIEST),
    -3: (7, SpecialPosition.MAX_TIMESTAMP),
    -4: (8, SpecialPosition.EARLIEST),  # on the broker's own disk
    -5: (9, SpecialPosition.EARLIEST),  # the latest in slower storage
    -6: (11, SpecialPosition.EARLIEST),  # the earliest that is still to go there
}
"""What each negative timestamp means, and since which version."""
_NOWHERE: Final = (-5, -6)
"""There is no such position in any partition; it must be one that is led here all the same."""
_NOTHING: Final = OffsetFound(NO_OFFSET, NO_TIMESTAMP_MS, LeaderEpoch(-1))

_OFFSET_NOT_AVAILABLE_FROM: Final = 5
_READ_COMMITTED: Final = 1


class ListOffsetsHandler:
    """Versions 1 to 11."""

    def __init__(self, offsets: OffsetsService) -> None:
        self._offsets = offsets

    async def __call__(
        self, context: RequestContext, request: ListOffsetsRequest
    ) -> ListOffsetsResponse:
        """Answer each partition by itself."""
        version = context.api_version
        named = Counter(
            (topic.name, partition.partition_index)
            for topic in request.topics
            for partition in topic.partitions
        )
        read_committed = request.isolation_level == _READ_COMMITTED
        topics: list[ListOffsetsTopicResponse] = []
        queries: list[OffsetToFind] = []
        expected: list[tuple[ListOffsetsPartitionResponse, int]] = []
        for topic in request.topics:
            topics.append(ListOffsetsTopicResponse(name=topic.name))
            for asked in topic.partitions:
                response = ListOffsetsPartitionResponse(partition_index=asked.partition_index)
                topics[-1].partitions.append(response)
                partition = TopicPartition(topic.name, asked.partition_index)
                query = _query(partition, asked, version, read_committed=read_committed)
                if named[partition] > 1:
                    _fill(response, _named_twice(partition), version)
                elif isinstance(query, OffsetToFind):
                    queries.append(query)
                    expected.append((response, asked.timestamp))
                else:
                    _fill(response, query, version)
        try:
            results = await self._offsets.list_offsets(queries)
        except OttlaError as error:
            results = [error] * len(queries)
        for (response, timestamp), result in zip(expected, results, strict=True):
            found = timestamp in _NOWHERE and isinstance(result, OffsetFound)
            _fill(response, _NOTHING if found else result, version)
        return ListOffsetsResponse(topics=topics)


def _query(
    partition: TopicPartition, asked: ListOffsetsPartition, version: int, *, read_committed: bool
) -> OffsetToFind | OttlaError:
    """Say it in the service's words, or why that is not possible."""
    position: SpecialPosition | int = asked.timestamp
    if asked.timestamp < 0:
        since, position = _POSITIONS.get(asked.timestamp, (version + 1, SpecialPosition.EARLIEST))
        if version < since:
            return UnsupportedVersionError(
                f"{partition}: version {version} of ListOffsets has no timestamp {asked.timestamp}"
            )
    epoch = asked.current_leader_epoch
    return OffsetToFind(
        partition, position, None if epoch < 0 else LeaderEpoch(epoch), read_committed
    )


def _fill(
    response: ListOffsetsPartitionResponse, result: Result[OffsetFound], version: int
) -> None:
    if isinstance(result, OttlaError):
        response.error_code = _code(result, version)
        return
    response.offset = result.offset
    response.timestamp = result.timestamp_ms
    response.leader_epoch = -1 if result.offset == NO_OFFSET else result.leader_epoch


def _code(error: OttlaError, version: int) -> int:
    if isinstance(error, OffsetNotAvailableError) and version < _OFFSET_NOT_AVAILABLE_FROM:
        return LeaderNotAvailableError.code
    return error.code


def _named_twice(partition: TopicPartition) -> InvalidRequestError:
    return InvalidRequestError(f"the request names {partition} more than once; name it once")
