"""Messages of the API to values of the service layer, and back. No rule lives here.

The structured form of records is translated here too: a door turns records into a batch on the
way in and a batch into records on the way out, so that the services only ever see batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, cast

from ottla.cluster.grpc.errors import to_message
from ottla.cluster.services import (
    FetchFailed,
    PartitionAppended,
    PartitionFetched,
    PartitionToAppend,
    PartitionToFetch,
    Result,
)
from ottla.model.errors import InvalidRecordError, MessageTooLargeError, OttlaError
from ottla.model.ids import NO_OFFSET, NO_TIMESTAMP_MS, LeaderEpoch, Offset, TopicPartition
from ottla.record.batch import split_batches
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.record.records import iterate_records
from ottla.runtime.files import Buffer
from ottla.v1 import log_pb2, types_pb2

_CODECS: Final = {
    types_pb2.COMPRESSION_NONE: Codec.NONE,
    types_pb2.COMPRESSION_GZIP: Codec.GZIP,
    types_pb2.COMPRESSION_SNAPPY: Codec.SNAPPY,
    types_pb2.COMPRESSION_LZ4: Codec.LZ4,
    types_pb2.COMPRESSION_ZSTD: Codec.ZSTD,
}

# --- Produce ------------------------------------------------------------------------


def to_append(
    records: log_pb2.PartitionRecords, batches: bytes, *, wall_ms: int
) -> Result[PartitionToAppend]:
    """Take one partition of a produce request; ``batches`` is its field, read once.

    Reading a bytes field copies it, so whoever needs its size as well has read it already.
    """
    structured = len(records.records) > 0
    if structured == bool(batches):
        return InvalidRecordError(
            f"{records.topic}-{records.partition}: give either batches or records, "
            f"not {'both' if structured else 'neither'}"
        )
    payload: Buffer = batches
    if structured:
        try:
            payload = _build(records, wall_ms=wall_ms)
        except OttlaError as error:
            return error
    return PartitionToAppend(TopicPartition(records.topic, records.partition), payload)


def _build(records: log_pb2.PartitionRecords, *, wall_ms: int) -> bytes:
    codec = _CODECS.get(records.compression)
    if codec is None:
        raise InvalidRecordError(f"there is no compression {records.compression}; use 0 to 4")
    builder = BatchBuilder(codec)
    for record in records.records:
        relative_offset = builder.try_append(
            key=record.key if record.HasField("key") else None,
            value=record.value if record.HasField("value") else None,
            headers=[
                (header.key, header.value if header.HasField("value") else None)
                for header in record.headers
            ],
            timestamp_ms=record.timestamp_ms if record.HasField("timestamp_ms") else wall_ms,
        )
        if relative_offset is None:
            raise MessageTooLargeError(
                f"{len(records.records)} records make a batch of more than "
                f"{builder.size_bytes_max} bytes; send fewer at a time"
            )
    return builder.build()


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


def to_fetch(partitions: Iterable[log_pb2.FetchPartition]) -> list[PartitionToFetch]:
    """Take the partitions of a fetch request."""
    return [
        PartitionToFetch(
            TopicPartition(asked.topic, asked.partition),
            Offset(asked.offset),
            asked.max_bytes,
            LeaderEpoch(asked.current_leader_epoch)
            if asked.HasField("current_leader_epoch")
            else None,
        )
        for asked in partitions
    ]


def fetched(
    results: Sequence[PartitionFetched | FetchFailed], *, structured: bool
) -> log_pb2.FetchResponse:
    """Answer a fetch request, or one round of a stream."""
    response = log_pb2.FetchResponse()
    for result in results:
        topic, partition = result.topic_partition
        answer = response.partitions.add(topic=topic, partition=partition)
        if isinstance(result, FetchFailed):
            _fill_failed(answer, result.error)
            continue
        answer.high_watermark = result.high_watermark
        answer.last_stable_offset = result.last_stable_offset
        answer.log_start_offset = result.log_start_offset
        answer.timestamp_type = cast("types_pb2.TimestampType", int(result.timestamp_type))
        answer.next_offset = result.next_offset
        if not structured:
            answer.batches = bytes(result.records)
            continue
        try:
            answer.records.extend(_records(result))
        except OttlaError as error:
            del answer.records[:]
            _fill_failed(answer, error)
    return response


def _fill_failed(answer: log_pb2.PartitionFetched, error: OttlaError) -> None:
    answer.error.CopyFrom(to_message(error))
    answer.high_watermark = answer.last_stable_offset = NO_OFFSET
    answer.log_start_offset = answer.next_offset = NO_OFFSET


def _records(result: PartitionFetched) -> Iterable[types_pb2.Record]:
    for batch in split_batches(result.records):
        if batch.header.is_control:
            continue  # markers of transactions are not records of an application
        for record in iterate_records(batch):
            if record.offset >= result.offset:
                yield types_pb2.Record(
                    key=record.key,
                    value=record.value,
                    headers=[
                        types_pb2.Header(key=key, value=value) for key, value in record.headers
                    ],
                    timestamp_ms=record.timestamp_ms,
                    offset=record.offset,
                )
