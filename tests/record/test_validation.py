"""A broker appends what a client may send, and says exactly why it refuses anything else."""

from __future__ import annotations

import pytest

from ottla.model.errors import (
    CorruptMessageError,
    InvalidRecordError,
    InvalidTimestampError,
    MessageTooLargeError,
    RecordListTooLargeError,
    UnsupportedCompressionError,
)
from ottla.model.limits import RECORDS_PER_BATCH_MAX
from ottla.record.batch import RecordBatch, TimestampType, with_header
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.record.validation import AppendRules, check_client_batch, check_client_records

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


def rules(
    *,
    max_message_bytes: int = 1_048_588,
    segment_bytes: int = 2**30,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    timestamp_before_max_ms: int = 2**63 - 1,
) -> AppendRules:
    return AppendRules(
        max_message_bytes=max_message_bytes,
        segment_bytes=segment_bytes,
        timestamp_type=timestamp_type,
        timestamp_before_max_ms=timestamp_before_max_ms,
        timestamp_after_max_ms=HOUR_MS,
    )


def batch(*, codec: Codec = Codec.NONE, **fields: int) -> RecordBatch:
    """Three records stamped now, then whatever of the header the test wants to be different."""
    builder = BatchBuilder(codec)
    for value in (b"a" * 50, b"b" * 50, b"c" * 50):
        builder.append(key=b"key", value=value, timestamp_ms=NOW_MS)
    built = RecordBatch.at(builder.build())
    return with_header(built.header._replace(**fields), built.records)


def stamped(*timestamps_ms: int) -> RecordBatch:
    builder = BatchBuilder()
    for timestamp_ms in timestamps_ms:
        builder.append(key=None, value=b"value", timestamp_ms=timestamp_ms)
    return RecordBatch.at(builder.build())


def check(sent: RecordBatch, topic: AppendRules | None = None) -> None:
    check_client_batch(sent, topic or rules(), now_ms=NOW_MS)


# --- Taken --------------------------------------------------------------------------


@pytest.mark.parametrize("codec", Codec)
def test_a_plain_batch_is_taken(codec: Codec) -> None:
    check(batch(codec=codec))


def test_an_idempotent_batch_is_taken() -> None:
    check(batch(producer_id=0, producer_epoch=0, base_sequence=0))


def test_a_transactional_batch_is_taken() -> None:
    check(batch(producer_id=0, producer_epoch=0, base_sequence=0, attributes=0x10))


@pytest.mark.parametrize("epoch", [-1, 0, 7])
def test_the_leader_epoch_that_a_client_sends_does_not_matter(epoch: int) -> None:
    check(batch(partition_leader_epoch=epoch))


# --- Refused ------------------------------------------------------------------------


@pytest.mark.parametrize("base_offset", [1, -1])
def test_a_base_offset_is_refused(base_offset: int) -> None:
    with pytest.raises(InvalidRecordError, match=f"base offset {base_offset}"):
        check(batch(base_offset=base_offset))


def test_a_batch_of_max_message_bytes_is_taken_and_one_byte_more_refused() -> None:
    sent = batch()
    size = len(sent.view)

    check(sent, rules(max_message_bytes=size))
    with pytest.raises(
        MessageTooLargeError, match=rf"{size} bytes.*max.message.bytes of {size - 1}"
    ):
        check(sent, rules(max_message_bytes=size - 1))


def test_a_batch_of_segment_bytes_is_taken_and_one_byte_more_refused() -> None:
    sent = batch()
    size = len(sent.view)

    check(sent, rules(segment_bytes=size))
    with pytest.raises(
        RecordListTooLargeError, match=rf"{size} bytes.*segment.bytes of {size - 1}"
    ):
        check(sent, rules(segment_bytes=size - 1))


def test_a_wrong_checksum_is_refused_with_both_checksums() -> None:
    sent = batch()
    damaged = bytearray(sent.view)
    damaged[-1] ^= 1

    with pytest.raises(CorruptMessageError, match=rf"has checksum.*{sent.header.crc:#010x}"):
        check(RecordBatch.at(damaged))


@pytest.mark.parametrize("count", [0, -1, RECORDS_PER_BATCH_MAX + 1])
def test_an_impossible_record_count_is_refused(count: int) -> None:
    with pytest.raises(InvalidRecordError, match=f"claims {count} records"):
        check(batch(record_count=count, last_offset_delta=count - 1))


@pytest.mark.parametrize("delta", [1, 3, -1])
def test_a_last_offset_delta_that_contradicts_the_count_is_refused(delta: int) -> None:
    with pytest.raises(InvalidRecordError, match=f"3 records but a last offset delta of {delta}"):
        check(batch(last_offset_delta=delta))


def test_more_records_than_the_bytes_can_hold_are_refused() -> None:
    smallest = BatchBuilder()
    for _ in range(10):
        smallest.append(key=None, value=None, timestamp_ms=NOW_MS)
    sent = RecordBatch.at(smallest.build())
    claiming = sent.header._replace(record_count=11, last_offset_delta=10)

    check(sent)
    with pytest.raises(InvalidRecordError, match="11 records in 70 bytes"):
        check(with_header(claiming, sent.records))


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_a_codec_that_does_not_exist_is_refused(codec: int) -> None:
    with pytest.raises(UnsupportedCompressionError, match=f"codec {codec}"):
        check(batch(attributes=codec))


def test_a_control_batch_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="control"):
        check(batch(attributes=0x20))


def test_a_delete_horizon_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="delete horizon"):
        check(batch(attributes=0x40))


def test_a_producer_without_a_sequence_number_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match=r"producer 7.*base sequence -1"):
        check(batch(producer_id=7, producer_epoch=0))


def test_a_producer_without_an_epoch_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="producer 7 but has epoch -1"):
        check(batch(producer_id=7, base_sequence=0))


def test_a_transaction_without_a_producer_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match=r"transactional.*producer id is -1"):
        check(batch(attributes=0x10))


# --- Timestamps ---------------------------------------------------------------------


@pytest.mark.parametrize("timestamp_type", TimestampType)
def test_a_client_cannot_claim_that_the_broker_stamped_its_records(
    timestamp_type: TimestampType,
) -> None:
    with pytest.raises(InvalidTimestampError, match="LogAppendTime"):
        check(batch(attributes=0x08), rules(timestamp_type=timestamp_type))


def test_the_future_ends_at_the_allowed_difference() -> None:
    check(stamped(NOW_MS, NOW_MS + HOUR_MS))
    with pytest.raises(InvalidTimestampError, match=f"largest timestamp {NOW_MS + HOUR_MS + 1}"):
        check(stamped(NOW_MS, NOW_MS + HOUR_MS + 1))


def test_the_past_ends_at_the_allowed_difference() -> None:
    short = rules(timestamp_before_max_ms=1000)

    check(stamped(NOW_MS - 1000), short)
    with pytest.raises(InvalidTimestampError, match=f"first timestamp {NOW_MS - 1001}"):
        check(stamped(NOW_MS - 1001), short)


def test_any_past_is_allowed_by_default() -> None:
    check(stamped(0))


def test_a_record_without_timestamp_is_taken() -> None:
    check(stamped(-1), rules(timestamp_before_max_ms=1000))


def test_timestamps_do_not_matter_where_the_broker_stamps() -> None:
    check(stamped(2**62), rules(timestamp_type=TimestampType.LOG_APPEND_TIME))


# --- Record by record ---------------------------------------------------------------


@pytest.mark.parametrize("codec", Codec)
def test_records_that_are_what_the_header_says_are_taken(codec: Codec) -> None:
    check_client_records(batch(codec=codec), rules(), key_required=True, now_ms=NOW_MS)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("count", [2, 4])
def test_a_count_other_than_that_of_the_records_is_refused(codec: Codec, count: int) -> None:
    sent = batch(codec=codec, record_count=count, last_offset_delta=count - 1)

    with pytest.raises(InvalidRecordError, match=f"{count} records"):
        check_client_records(sent, rules(), key_required=False, now_ms=NOW_MS)


def test_a_record_without_key_is_refused_where_the_topic_is_compacted() -> None:
    builder = BatchBuilder()
    builder.append(key=b"key", value=b"value", timestamp_ms=NOW_MS)
    builder.append(key=None, value=b"value", timestamp_ms=NOW_MS)
    sent = RecordBatch.at(builder.build())

    check_client_records(sent, rules(), key_required=False, now_ms=NOW_MS)
    with pytest.raises(InvalidRecordError, match=r"record 1 .*no key"):
        check_client_records(sent, rules(), key_required=True, now_ms=NOW_MS)


def test_an_empty_key_is_a_key() -> None:
    builder = BatchBuilder()
    builder.append(key=b"", value=b"value", timestamp_ms=NOW_MS)

    check_client_records(RecordBatch.at(builder.build()), rules(), key_required=True, now_ms=NOW_MS)


def test_a_timestamp_in_the_middle_that_the_header_hides_is_refused() -> None:
    hiding = stamped(NOW_MS, NOW_MS + 2 * HOUR_MS, NOW_MS)
    hiding = with_header(hiding.header._replace(max_timestamp=NOW_MS), hiding.records)

    check(hiding)
    with pytest.raises(InvalidTimestampError, match="record 1's"):
        check_client_records(hiding, rules(), key_required=False, now_ms=NOW_MS)


def test_timestamps_in_the_middle_do_not_matter_where_the_broker_stamps() -> None:
    topic = rules(timestamp_type=TimestampType.LOG_APPEND_TIME)

    check_client_records(stamped(NOW_MS, 2**62), topic, key_required=False, now_ms=NOW_MS)
