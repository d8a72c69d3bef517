"""``DescribeProducers``: whom a partition remembers, so that retries are not second records."""

from __future__ import annotations

from ottla.cluster.services import ProduceService
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition
from ottla.storage.producer_state import ProducerEntry
from ottla.wire.messages.describe_producers import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    PartitionResponse,
    ProducerState,
    TopicResponse,
)


class DescribeProducersHandler:
    """Version 0."""

    def __init__(self, produce: ProduceService) -> None:
        self._produce = produce

    async def __call__(
        self, context: RequestContext, request: DescribeProducersRequest
    ) -> DescribeProducersResponse:
        """Answer each partition by itself."""
        del context
        asked = [
            TopicPartition(topic.name, partition)
            for topic in request.topics
            for partition in topic.partition_indexes
        ]
        try:
            results = self._produce.describe_producers(asked)
        except OttlaError as error:
            results = [error] * len(asked)
        remaining = iter(results)
        topics = []
        for topic in request.topics:
            answer = TopicResponse(name=topic.name)
            for partition in topic.partition_indexes:
                result = next(remaining)
                described = PartitionResponse(partition_index=partition)
                if isinstance(result, OttlaError):
                    described.error_code, described.error_message = result.code, str(result)
                else:
                    described.active_producers = [_state(entry) for entry in result]
                answer.partitions.append(described)
            topics.append(answer)
        return DescribeProducersResponse(topics=topics)


def _state(entry: ProducerEntry) -> ProducerState:
    return ProducerState(
        producer_id=entry.producer_id,
        producer_epoch=entry.epoch,
        last_sequence=entry.last_sequence,
        last_timestamp=entry.timestamp_ms,
        coordinator_epoch=entry.coordinator_epoch,
        current_txn_start_offset=entry.transaction_first_offset,
    )
