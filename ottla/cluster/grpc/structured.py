"""Records as messages: a batch is built from them on the way in, and taken apart on the way out.

The services only ever see batches. This costs the broker work for every record, so whatever is
more than a few runs on a thread (:func:`in_background`): callers of other methods do not wait for
it.

On the way out a batch may expand to far more than one message can hold. So answers are cut
where they are large enough, in the middle of a batch if need be: ``next_offset`` says where to
read on, and whoever reads on there gets the rest of the same batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from ottla.cluster.services import PartitionFetched
from ottla.model.errors import InvalidRecordError, MessageTooLargeError, OttlaError
from ottla.model.limits import REQUEST_BYTES_MAX
from ottla.record.batch import split_batches
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.record.records import Record, iterate_records
from ottla.v1 import log_pb2, types_pb2

T = TypeVar("T")

INLINE_BYTES_MAX: Final = 64 << 10
"""What takes a millisecond or two to translate is not worth a thread."""

ANSWER_BYTES_MAX: Final = REQUEST_BYTES_MAX // 2
"""Where an answer is cut. One record more may go in, and there are other fields."""

RECORD_BYTES_MAX: Final = REQUEST_BYTES_MAX // 4
"""A larger record is not sent in this form: the answer could be too large for a message."""

_RECORD_OVERHEAD_BYTES: Final = 32
"""Tags, lengths, offset and timestamp of one record."""

_CODECS: Final = {
    types_pb2.COMPRESSION_NONE: Codec.NONE,
    types_pb2.COMPRESSION_GZIP: Codec.GZIP,
    types_pb2.COMPRESSION_SNAPPY: Codec.SNAPPY,
    types_pb2.COMPRESSION_LZ4: Codec.LZ4,
    types_pb2.COMPRESSION_ZSTD: Codec.ZSTD,
}


async def in_background(size_bytes: int, work: Callable[[], T]) -> T:
    """Run ``work``, on a thread if it is about more than a few bytes."""
    return work() if size_bytes <= INLINE_BYTES_MAX else await asyncio.to_thread(work)


# --- In -------------------------------------------------------------------------------


def build(records: log_pb2.PartitionRecords, *, wall_ms: int) -> bytes:
    """Build one batch from the records of one partition.

    Raises:
        InvalidRecordError: there is no such compression.
        InvalidTimestampError: a record has a timestamp that none can have.
        MessageTooLargeError: they do not fit into one batch.
    """
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


# --- Out ------------------------------------------------------------------------------


class StructuredPart:
    """Some of the records that were read of one partition, and where to read on."""

    __slots__ = ("error", "next_offset", "records", "size_bytes")

    def __init__(self, next_offset: int) -> None:
        self.records: list[types_pb2.Record] = []
        self.next_offset = next_offset
        self.size_bytes = 0
        self.error: OttlaError | None = None
        """Why the record at ``next_offset`` cannot be sent; the records are those before it."""

    def add(self, record: Record, size_bytes: int) -> None:
        """Take one record more."""
        self.records.append(
            types_pb2.Record(
                key=record.key,
                value=record.value,
                headers=[types_pb2.Header(key=key, value=value) for key, value in record.headers],
                timestamp_ms=record.timestamp_ms,
                offset=record.offset,
            )
        )
        self.next_offset = record.offset + 1
        self.size_bytes += size_bytes


def parts_of(
    read: PartitionFetched, *, max_bytes: int = ANSWER_BYTES_MAX
) -> Iterator[StructuredPart]:
    """Take apart what was read; the last part has the error if it could not be read to the end.

    Each part has about ``max_bytes``, at most one record more. There is at least one part.
    """
    part = StructuredPart(read.offset)
    try:
        for record in _records(read):
            size_bytes = _size_of(record)
            if size_bytes > RECORD_BYTES_MAX:
                raise MessageTooLargeError(
                    f"the record at offset {record.offset} of {read.topic_partition} has "
                    f"{size_bytes} bytes, and at most {RECORD_BYTES_MAX} are sent in this form; "
                    "fetch it as a batch"
                )
            if part.size_bytes >= max_bytes:
                yield part
                part = StructuredPart(part.next_offset)
            part.add(record, size_bytes)
    except OttlaError as error:
        part.error = error
    else:
        # Past what has no records of an application: markers, and what compaction removed.
        part.next_offset = read.next_offset
    yield part


def _records(read: PartitionFetched) -> Iterator[Record]:
    for batch in split_batches(read.records):
        if batch.header.is_control:
            continue  # markers of transactions are not records of an application
        for record in iterate_records(batch):
            if record.offset >= read.offset:
                yield record


def _size_of(record: Record) -> int:
    size_bytes = _RECORD_OVERHEAD_BYTES + len(record.key or b"") + len(record.value or b"")
    for key, value in record.headers:
        size_bytes += _RECORD_OVERHEAD_BYTES + len(key.encode()) + len(value or b"")
    return size_bytes
