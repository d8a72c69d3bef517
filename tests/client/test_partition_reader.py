"""A partition's records reach the application once, in order, from the position on."""

from __future__ import annotations

import pytest

from ottla.client.errors import DeserializationError
from ottla.client.partition_reader import PartitionReader
from ottla.client.settings import ConsumerSettings
from ottla.model.errors import CorruptMessageError, InvalidRecordError, RefusedError
from ottla.model.ids import TopicPartition
from ottla.record.batch import (
    CONTROL_BIT,
    HEADER_BYTES,
    LOG_APPEND_TIME_BIT,
    RecordBatch,
    TimestampType,
    with_header,
)
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec

WEB_0 = TopicPartition("web", 0)


def batch(base_offset: int, count: int = 10, *, codec: Codec = Codec.NONE, **changes: int) -> bytes:
    """Records whose values are their offsets."""
    builder = BatchBuilder(codec)
    for number in range(count):
        builder.append(key=b"k", value=b"%d" % (base_offset + number), timestamp_ms=number)
    built = RecordBatch.at(builder.build())
    header = built.header._replace(base_offset=base_offset, **changes)
    return bytes(with_header(header, built.view[HEADER_BYTES:]).view)


def reader_at(offset: int, **settings: object) -> PartitionReader:
    reader = PartitionReader(WEB_0, ConsumerSettings(**settings))  # type: ignore[arg-type]
    reader.seek(offset)
    return reader


def offsets(reader: PartitionReader, records_max: int = 1_000) -> list[int]:
    return [record.offset for record in reader.take(records_max)]


def test_records_are_taken_in_order_and_the_position_moves_behind_them() -> None:
    reader = reader_at(0)
    reader.receive(batch(0) + batch(10))

    assert offsets(reader, 12) == list(range(12))
    assert reader.position == 12
    assert offsets(reader) == list(range(12, 20))


def test_record_carries_what_was_sent() -> None:
    reader = reader_at(5)
    reader.receive(batch(0))

    (record,) = reader.take(1)
    assert tuple(record) == ("web", 0, 5, 5, TimestampType.CREATE_TIME, b"k", b"5", ())
    assert (record.topic_partition, record.timestamp) == (WEB_0, 5)


def test_records_below_the_position_are_skipped() -> None:
    reader = reader_at(7)
    reader.receive(batch(0))

    assert offsets(reader) == [7, 8, 9]


def test_batch_that_was_received_before_is_dropped() -> None:
    reader = reader_at(0)
    reader.receive(batch(0))
    reader.receive(batch(0) + batch(10))

    assert offsets(reader) == list(range(20))
    assert reader.buffered_bytes == 0


def test_batch_received_again_in_part_is_not_repeated() -> None:
    reader = reader_at(0)
    reader.receive(batch(0))
    reader.receive(batch(5, 10))

    assert offsets(reader) == list(range(15))


def test_gap_left_by_compaction_is_passed_over() -> None:
    reader = reader_at(0)
    reader.receive(batch(0) + batch(50))

    assert offsets(reader) == [*range(10), *range(50, 60)]


def test_range_of_a_compacted_batch_counts_though_its_last_records_are_gone() -> None:
    reader = reader_at(0)
    reader.receive(batch(0, last_offset_delta=99))
    assert offsets(reader) == list(range(10))

    assert reader.take(1) == []
    assert (reader.position, reader.fetch_offset) == (100, 100)


def test_control_batch_is_passed_over() -> None:
    reader = reader_at(0)
    reader.receive(batch(0) + batch(10, 1, attributes=CONTROL_BIT) + batch(11))

    assert offsets(reader) == [*range(10), *range(11, 21)]


def test_broker_timestamp_is_told_apart() -> None:
    reader = reader_at(0)
    reader.receive(batch(0, 1, attributes=LOG_APPEND_TIME_BIT, max_timestamp=99))

    (record,) = reader.take(1)
    assert (record.timestamp_ms, record.timestamp_type) == (99, TimestampType.LOG_APPEND_TIME)


@pytest.mark.parametrize("codec", list(Codec))
def test_compressed_records_are_read(codec: Codec) -> None:
    reader = reader_at(0)
    reader.receive(batch(0, 100, codec=codec))

    assert offsets(reader) == list(range(100))


def test_memory_counts_what_came_over_the_wire_until_it_is_taken() -> None:
    reader = reader_at(0)
    first, second = batch(0), batch(10)
    reader.receive(first + second)
    assert reader.buffered_bytes == len(first) + len(second)

    reader.take(11)
    assert reader.buffered_bytes == len(second)


def test_seeking_drops_what_was_fetched() -> None:
    reader = reader_at(0)
    reader.receive(batch(0) + batch(10))
    reader.take(3)

    reader.seek(100)

    assert (reader.take(10), reader.buffered_bytes, reader.fetch_offset) == ([], 0, 100)


def test_dropping_the_buffer_keeps_the_position() -> None:
    reader = reader_at(0)
    reader.receive(batch(0))
    reader.take(3)

    reader.drop_buffer()

    assert (reader.position, reader.fetch_offset) == (3, 3)
    reader.receive(batch(0))
    assert offsets(reader) == list(range(3, 10))


def test_jump_delivers_what_was_fetched_before_it() -> None:
    reader = reader_at(0)
    reader.receive(batch(0))
    reader.jump(500)
    reader.receive(batch(500))

    assert offsets(reader) == [*range(10), *range(500, 510)]


def test_records_before_the_place_jumped_to_are_skipped_though_their_batch_is_read() -> None:
    reader = reader_at(0)
    reader.receive(batch(0))
    reader.jump(505)
    reader.receive(batch(500))

    assert offsets(reader) == [*range(10), *range(505, 510)]


def test_wrong_checksum_is_an_error_and_what_came_before_is_kept() -> None:
    reader = reader_at(0)
    damaged = bytearray(batch(0) + batch(10))
    damaged[-1] ^= 1
    with pytest.raises(CorruptMessageError, match="web-0 at offset 10"):
        reader.receive(bytes(damaged))

    assert offsets(reader) == list(range(10))
    assert reader.fetch_offset == 10


def test_wrong_checksum_passes_if_nobody_checks() -> None:
    reader = reader_at(0, check_crcs=False)
    damaged = bytearray(batch(0))
    damaged[-2] ^= 1
    reader.receive(bytes(damaged))

    assert len(reader.take(20)) == 10


def test_half_a_batch_is_an_error() -> None:
    with pytest.raises(CorruptMessageError):
        reader_at(0).receive(batch(0)[:-1])


def test_records_that_contradict_their_header_are_an_error_after_the_good_ones() -> None:
    reader = reader_at(0)
    reader.receive(batch(0) + batch(10, record_count=11) + batch(20))

    assert offsets(reader) == list(range(20))
    assert isinstance(reader.blocked_by, InvalidRecordError)
    assert (reader.take(10), reader.position) == ([], 20)


def refuse_five(value: bytes) -> int:
    if value == b"5":
        raise ZeroDivisionError
    return int(value)


def test_failing_deserializer_names_the_record_after_those_before_it_are_delivered() -> None:
    reader = reader_at(0, value_deserializer=refuse_five)
    reader.receive(batch(0))

    assert [record.value for record in reader.take(100)] == [0, 1, 2, 3, 4]
    error = reader.blocked_by
    assert isinstance(error, DeserializationError)
    assert (error.topic_partition, error.offset) == (WEB_0, 5)
    assert isinstance(error.__cause__, ZeroDivisionError)


def test_record_that_cannot_be_deserialized_is_left_out_by_seeking_past_it() -> None:
    reader = reader_at(0, value_deserializer=refuse_five)
    reader.receive(batch(0))
    reader.take(100)
    reader.seek(6)
    reader.receive(batch(0))

    assert [record.value for record in reader.take(100)] == [6, 7, 8, 9]
    assert reader.blocked_by is None


def test_deserializer_that_fails_with_one_of_our_errors_keeps_it() -> None:
    def refuse(_: bytes) -> object:
        raise RefusedError("not today")

    reader = reader_at(0, key_deserializer=refuse)
    reader.receive(batch(0))
    reader.take(1)

    assert isinstance(reader.blocked_by, RefusedError)


# --- Offsets that cannot be ---------------------------------------------------------------


@pytest.mark.parametrize("altered", [3, 14, 1 << 20])
def test_altered_base_offset_within_an_answer_is_an_error_after_what_came_before(
    altered: int,
) -> None:
    reader = reader_at(0)
    with pytest.raises(CorruptMessageError, match="of web-0 with offsets"):
        reader.receive(batch(0) + batch(altered) + batch(20))

    assert offsets(reader) == list(range(10))
    assert reader.fetch_offset == 10


def test_batch_beyond_what_is_committed_is_an_error() -> None:
    reader = reader_at(0)
    reader.high_watermark = 20
    with pytest.raises(CorruptMessageError, match="20 is the end of what is committed"):
        reader.receive(batch(0) + batch(50))

    assert reader.fetch_offset == 10


def test_batches_before_one_that_is_not_whole_are_kept() -> None:
    reader = reader_at(0)
    with pytest.raises(CorruptMessageError, match="web-0 is not sound after offset 10"):
        reader.receive(batch(0) + batch(10)[:-1])

    assert offsets(reader) == list(range(10))
