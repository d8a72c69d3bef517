"""Messages of the API to values of the service layer, and back. No rule lives here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from ottla.cluster.grpc import structured
from ottla.cluster.grpc.errors import to_message
from ottla.cluster.grpc.structured import ANSWER_BYTES_MAX
from ottla.cluster.services import (
    FetchFailed,
    PartitionAppended,
    PartitionFetched,
    PartitionToAppend,
    PartitionToFetch,
    Result,
)
from ottla.model.errors import InvalidRecordError, OttlaError
from ottla.model.ids import NO_OFFSET, NO_TIMESTAMP_MS, LeaderEpoch, Offset, TopicPartition
from ottla.v1 import log_pb2, types_pb2

# --- Produce ------------------------------------------------------------------------


def to_append(
    records: log_pb2.PartitionRecords, batches: bytes, *, wall_ms: int
) -> PartitionToAppend:
    """Take one partition of a produce request; ``batches`` is its field, read once.

    Reading a bytes field copies it, so whoever needs its size as well has read it already.
    """
    topic_partition = TopicPartition(records.topic, records.partition)
    if not records.records:
        return PartitionToAppend(topic_partition, batches)
    try:
        if batches:
            raise InvalidRecordError(f"{topic_partition}: give either batches or records, not both")
        return PartitionToAppend(topic_partition, structured.build(records, wall_ms=wall_ms))
    except OttlaError as error:
        return PartitionToAppend(topic_partition, b"", error)


def appended(
    asked: log_pb2.PartitionRecords, result: Result[PartitionAppended]
) -> log_pb2.PartitionAppended:
    """Answer for one partition of a produce request."""
    if isinstance(result, OttlaError):
        return log_pb2.PartitionAppended(
            topic=asked.topic,
            partition=asked.partition,
            error=to_message(result),
            base_offset=NO_OFFSET,
            end_offset=NO_OFFSET,
            log_append_time_ms=NO_TIMESTAMP_MS,
            log_start_offset=NO_OFFSET,
        )
    return log_pb2.PartitionAppended(
        topic=asked.topic,
        partition=asked.partition,
        base_offset=result.base_offset,
        end_offset=result.end_offset,
        log_append_time_ms=result.log_append_time_ms,
        log_start_offset=result.log_start_offset,
    )


# --- Fetch --------------------------------------------------------------------------


def to_fetch(partitions: Iterable[log_pb2.FetchPartition], *, rack: str) -> list[PartitionToFetch]:
    """Take the partitions of a fetch request."""
    return [
        PartitionToFetch(
            TopicPartition(asked.topic, asked.partition),
            Offset(asked.offset),
            asked.max_bytes,
            LeaderEpoch(asked.current_leader_epoch)
            if asked.HasField("current_leader_epoch")
            else None,
            asked.from_follower,
            rack,
        )
        for asked in partitions
    ]


def fetched(results: Iterable[PartitionFetched | FetchFailed]) -> log_pb2.FetchResponse:
    """Answer a fetch request, or one round of a stream, with batches."""
    response = log_pb2.FetchResponse()
    for result in results:
        if isinstance(result, FetchFailed):
            _add_failed(response, result.topic_partition, result.error)
        else:
            answer = _add(response, result)
            answer.next_offset = result.next_offset
            answer.batches = bytes(result.records)
    return response


def fetched_records(
    results: Iterable[PartitionFetched | FetchFailed], *, max_bytes: int = ANSWER_BYTES_MAX
) -> log_pb2.FetchResponse:
    """Answer a fetch request with records; what does not fit is left to the next request."""
    response = log_pb2.FetchResponse()
    room_bytes = min(max_bytes or ANSWER_BYTES_MAX, ANSWER_BYTES_MAX)
    for result in results:
        if isinstance(result, FetchFailed):
            _add_failed(response, result.topic_partition, result.error)
        elif room_bytes <= 0:
            _add(response, result).next_offset = result.offset
        else:
            part = next(structured.parts_of(result, max_bytes=room_bytes))
            _add_part(response, result, part)
            room_bytes -= part.size_bytes
    return response


def streamed_records(
    results: Iterable[PartitionFetched | FetchFailed],
) -> tuple[list[log_pb2.FetchResponse], list[TopicPartition]]:
    """Answer one round of a stream with records, in as many messages as it takes.

    Also returns the partitions that failed on the way, which have to leave the stream.
    """
    responses = [log_pb2.FetchResponse()]
    failed: list[TopicPartition] = []
    size_bytes = 0
    for result in results:
        if isinstance(result, FetchFailed):
            _add_failed(responses[-1], result.topic_partition, result.error)
            continue
        for part in structured.parts_of(result):
            if size_bytes + part.size_bytes > ANSWER_BYTES_MAX and size_bytes:
                responses.append(log_pb2.FetchResponse())
                size_bytes = 0
            size_bytes += part.size_bytes
            _add_part(responses[-1], result, part)
            if part.error is not None:
                if part.records:
                    _add_failed(responses[-1], result.topic_partition, part.error)
                failed.append(result.topic_partition)
    return responses, failed


def _add(response: log_pb2.FetchResponse, result: PartitionFetched) -> log_pb2.PartitionFetched:
    topic, partition = result.topic_partition
    answer = response.partitions.add(
        topic=topic,
        partition=partition,
        high_watermark=result.high_watermark,
        last_stable_offset=result.last_stable_offset,
        log_start_offset=result.log_start_offset,
        timestamp_type=cast("types_pb2.TimestampType", int(result.timestamp_type)),
    )
    if result.preferred_read_replica is not None:
        answer.preferred_read_replica = result.preferred_read_replica
    return answer


def _add_part(
    response: log_pb2.FetchResponse, result: PartitionFetched, part: structured.StructuredPart
) -> None:
    """Add records; or, if the first of them cannot be sent, why."""
    if part.error is not None and not part.records:
        _add_failed(response, result.topic_partition, part.error)
        return
    answer = _add(response, result)
    answer.next_offset = part.next_offset
    answer.records.extend(part.records)


def _add_failed(
    response: log_pb2.FetchResponse, topic_partition: TopicPartition, error: OttlaError
) -> None:
    topic, partition = topic_partition
    response.partitions.add(
        topic=topic,
        partition=partition,
        error=to_message(error),
        high_watermark=NO_OFFSET,
        last_stable_offset=NO_OFFSET,
        log_start_offset=NO_OFFSET,
        next_offset=NO_OFFSET,
    )
