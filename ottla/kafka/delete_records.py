"""``DeleteRecords``: let partitions begin later."""

from __future__ import annotations

from ottla.cluster.services import OffsetsService
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.model.ids import NO_OFFSET, Offset, TopicPartition
from ottla.wire.messages.delete_records import (
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
)


class DeleteRecordsHandler:
    """Versions 0 to 2. The request's timeout has no meaning: nothing is waited for."""

    def __init__(self, offsets: OffsetsService) -> None:
        self._offsets = offsets

    async def __call__(
        self, context: RequestContext, request: DeleteRecordsRequest
    ) -> DeleteRecordsResponse:
        """Answer each partition by itself, with the log start that it has now."""
        del context
        before = [
            (TopicPartition(topic.name, asked.partition_index), Offset(asked.offset))
            for topic in request.topics
            for asked in topic.partitions
        ]
        try:
            results = await self._offsets.delete_records(before)
        except OttlaError as error:
            results = [error] * len(before)
        remaining = iter(results)
        topics = []
        for topic in request.topics:
            answer = DeleteRecordsTopicResult(name=topic.name)
            for asked in topic.partitions:
                result = next(remaining)
                answer.partitions.append(
                    DeleteRecordsPartitionResult(
                        partition_index=asked.partition_index,
                        low_watermark=NO_OFFSET if isinstance(result, OttlaError) else result,
                        error_code=result.code if isinstance(result, OttlaError) else 0,
                    )
                )
            topics.append(answer)
        return DeleteRecordsResponse(topics=topics)
