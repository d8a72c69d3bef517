"""Batches made from batches, on the rare paths that read records or compress them anew.

Offsets, epochs, sequence numbers and everything else that the header says are kept; only length
and checksum follow from the change. A batch that is right already is returned as it is, so that
``rewritten is batch`` tells whether anything had to be done.
"""

from __future__ import annotations

from ottla.record.batch import CODEC_MASK, RecordBatch, TimestampType, with_header
from ottla.record.compression import Codec, compress
from ottla.record.records import iterate_records, record_bytes


def with_true_max_timestamp(batch: RecordBatch) -> RecordBatch:
    """Return the batch with the largest of its records' timestamps in its header.

    Lookup by time relies on it. Batches without records, or stamped by the broker, are right.

    Raises:
        CorruptMessageError: the records do not decompress.
        InvalidRecordError: a record is malformed.
    """
    header = batch.header
    if header.timestamp_type is TimestampType.LOG_APPEND_TIME:
        return batch
    largest = max((record.timestamp_ms for record in iterate_records(batch)), default=None)
    if largest is None or largest == header.max_timestamp:
        return batch
    return with_header(header._replace(max_timestamp=largest), batch.records)


def recompressed(batch: RecordBatch, codec: Codec) -> RecordBatch:
    """Return the batch with its records compressed by ``codec``, even where that makes it larger.

    Raises:
        CorruptMessageError: the records do not decompress.
        InvalidRecordError: the codec that the batch names does not exist.
    """
    records = record_bytes(batch)
    header = batch.header
    if header.codec is codec:
        return batch
    attributes = header.attributes & ~CODEC_MASK | codec
    return with_header(header._replace(attributes=attributes), compress(codec, records))
