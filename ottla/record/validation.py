"""What a batch must be for the broker to append it on a client's behalf.

:func:`check_client_batch` looks at the header and the checksum and at nothing else, so its cost is
that of one pass over the bytes at memory speed. What a header cannot show, whether the records are
as many as it claims and whether each has a key, is :func:`check_client_records`, which decodes
every record; it is for topics whose compaction depends on it.

The checks are Kafka's, in Kafka's order where a batch fails several of them: place and size first,
then the checksum, then what the header says about the records. We refuse four things that Kafka
lets pass, because each damages the log in a way that no reader can repair: more records claimed
than bytes can hold (offsets would be spent on nothing); a producer id without an epoch, and a
transaction without a producer id (their state could not be kept); and the delete horizon bit,
which is compaction's own. ``partition_leader_epoch`` is not looked at: clients send -1, 0 or what
they like, and the leader overwrites it.

These rules are for clients. What a follower fetches was checked by its leader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ottla.model.errors import (
    CorruptMessageError,
    InvalidRecordError,
    InvalidTimestampError,
    MessageTooLargeError,
    RecordListTooLargeError,
)
from ottla.model.ids import NO_TIMESTAMP_MS
from ottla.model.limits import RECORDS_BLAMED_MAX, RECORDS_PER_BATCH_MAX
from ottla.record.batch import (
    HEADER_BYTES,
    BatchHeader,
    RecordBatch,
    TimestampType,
    computed_crc,
)
from ottla.record.compression import Codec
from ottla.record.records import iterate_records

_RECORD_BYTES_MIN: Final = 7
"""Length, attributes, two deltas, two lengths of null and a header count of zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRules:
    """The settings of a topic that decide which batches it takes."""

    max_message_bytes: int
    """``max.message.bytes``: the largest batch, compressed as it is, header included."""
    segment_bytes: int
    """``segment.bytes``: a batch never spans two segments."""
    timestamp_type: TimestampType
    """``message.timestamp.type``: with log append time, clients' timestamps do not matter."""
    timestamp_before_max_ms: int
    """``message.timestamp.before.max.ms``: how far in the past a timestamp may lie."""
    timestamp_after_max_ms: int
    """``message.timestamp.after.max.ms``: how far in the future a timestamp may lie."""


def check_client_batch(batch: RecordBatch, rules: AppendRules, *, now_ms: int) -> None:
    """Return if the broker may append ``batch`` at ``now_ms``; raise and say why not otherwise.

    Raises:
        InvalidRecordError: base offset, counts, producer fields or attributes are not possible for
            a client's batch.
        MessageTooLargeError: the batch is larger than ``max.message.bytes``.
        RecordListTooLargeError: the batch is larger than a segment may be.
        CorruptMessageError: the checksum is not that of the bytes.
        UnsupportedCompressionError: the codec does not exist.
        InvalidTimestampError: the first or the largest timestamp is too far from ``now_ms``, or the
            client claims that the broker stamped the records.
    """
    header = batch.header
    if header.base_offset != 0:
        raise InvalidRecordError(
            f"the batch has base offset {header.base_offset}; send 0, the broker assigns offsets"
        )
    _check_size(header, rules)
    crc = computed_crc(batch)
    if crc != header.crc:
        raise CorruptMessageError(
            f"the batch has checksum {crc:#010x}, but its header says {header.crc:#010x}: it was "
            f"damaged on the way; send it again"
        )
    _check_counts(header)
    _check_attributes(header)
    _check_producer(header)
    if rules.timestamp_type is TimestampType.CREATE_TIME:
        _check_timestamp("first", header.base_timestamp, rules, now_ms)
        _check_timestamp("largest", header.max_timestamp, rules, now_ms)


def check_client_records(
    batch: RecordBatch, rules: AppendRules, *, key_required: bool, now_ms: int
) -> None:
    """Check every record of a batch that has passed :func:`check_client_batch`.

    Args:
        batch: what the client sent.
        rules: the settings of the topic.
        key_required: whether the topic is compacted, so that a record without key has no meaning.
        now_ms: the broker's wall clock.

    Raises:
        CorruptMessageError: the records do not decompress.
        InvalidRecordError: a record is malformed, their number is not what the header claims, or
            some have no key where they need one; the error has their indexes in the batch.
        InvalidTimestampError: a record's timestamp is too far from ``now_ms``.
    """
    ranged = rules.timestamp_type is TimestampType.CREATE_TIME
    keyless: list[int] = []
    for index, record in enumerate(iterate_records(batch)):
        if key_required and record.key is None and len(keyless) < RECORDS_BLAMED_MAX:
            keyless.append(index)
        if ranged:
            _check_timestamp(f"record {index}'s", record.timestamp_ms, rules, now_ms)
    if keyless:
        others = f" and {len(keyless) - 1} more" if len(keyless) > 1 else ""
        raise InvalidRecordError(
            f"record {keyless[0]}{others} of the batch: no key, but the topic is compacted by key; "
            "give every record one",
            record_indexes=keyless,
        )


def _check_size(header: BatchHeader, rules: AppendRules) -> None:
    if header.size_bytes > rules.max_message_bytes:
        raise MessageTooLargeError(
            f"a batch of {header.size_bytes} bytes is larger than the topic's max.message.bytes of "
            f"{rules.max_message_bytes}; send smaller batches, or raise that setting"
        )
    if header.size_bytes > rules.segment_bytes:
        raise RecordListTooLargeError(
            f"a batch of {header.size_bytes} bytes is larger than the topic's segment.bytes of "
            f"{rules.segment_bytes}; send smaller batches, or raise that setting"
        )


def _check_counts(header: BatchHeader) -> None:
    count = header.record_count
    if not 0 < count <= RECORDS_PER_BATCH_MAX:
        raise InvalidRecordError(
            f"the batch claims {count} records; send 1 to {RECORDS_PER_BATCH_MAX}"
        )
    if header.last_offset_delta != count - 1:
        raise InvalidRecordError(
            f"the batch claims {count} records but a last offset delta of "
            f"{header.last_offset_delta} instead of {count - 1}"
        )
    records_bytes = header.size_bytes - HEADER_BYTES
    if header.codec is Codec.NONE and count * _RECORD_BYTES_MIN > records_bytes:
        raise InvalidRecordError(
            f"the batch claims {count} records in {records_bytes} bytes; each takes at least "
            f"{_RECORD_BYTES_MIN}"
        )


def _check_attributes(header: BatchHeader) -> None:
    if header.is_control:
        raise InvalidRecordError(
            "the batch is marked as a control batch; only brokers write transaction markers"
        )
    if header.has_delete_horizon:
        raise InvalidRecordError(
            "the batch is marked with a delete horizon; only compaction sets one"
        )
    if header.timestamp_type is TimestampType.LOG_APPEND_TIME:
        raise InvalidTimestampError(
            "the batch is marked as stamped by the broker (LogAppendTime); clients send CreateTime"
        )


def _check_producer(header: BatchHeader) -> None:
    if header.has_producer:
        if header.base_sequence < 0 or header.producer_epoch < 0:
            raise InvalidRecordError(
                f"the batch is of producer {header.producer_id} but has epoch "
                f"{header.producer_epoch} and base sequence {header.base_sequence}; neither may be "
                f"negative"
            )
    elif header.is_transactional:
        raise InvalidRecordError(
            f"the batch is transactional but its producer id is {header.producer_id}; ask for one "
            f"first"
        )


def _check_timestamp(which: str, timestamp_ms: int, rules: AppendRules, now_ms: int) -> None:
    age_ms = now_ms - timestamp_ms
    if -rules.timestamp_after_max_ms <= age_ms <= rules.timestamp_before_max_ms:
        return
    if timestamp_ms == NO_TIMESTAMP_MS:
        return
    raise InvalidTimestampError(
        f"the {which} timestamp {timestamp_ms} is not within [{now_ms} - "
        f"{rules.timestamp_before_max_ms}, {now_ms} + {rules.timestamp_after_max_ms}], the "
        f"broker's clock and the topic's message.timestamp.before.max.ms and .after.max.ms"
    )
