"""A builder knows its size to the byte, fills up to its bound, and builds what was put in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import InvalidTimestampError, MessageTooLargeError
from ottla.model.limits import BATCH_BYTES_MAX, RECORDS_PER_BATCH_MAX
from ottla.record.batch import HEADER_BYTES, RecordBatch, crc_matches
from ottla.record.builder import BatchBuilder, Headers, size_upper_bound
from ottla.record.compression import Codec
from ottla.record.records import Record, iterate_records

Content = tuple[bytes | None, bytes | None, Headers, int]

# Sizes around which an encoded length grows by a byte, and small ones with any content.
BYTES = st.binary(max_size=20) | st.sampled_from([63, 64, 8100, 8170, 8191, 8192]).map(bytes)
HEADERS = st.lists(st.tuples(st.text(max_size=5), st.none() | BYTES), max_size=3)
TIMESTAMPS_MS = st.integers(-1, 2**62) | st.integers(1_700_000_000_000, 1_700_000_000_100)
RECORD = st.tuples(st.none() | BYTES, st.none() | BYTES, HEADERS, TIMESTAMPS_MS)
RECORDS = st.lists(RECORD, min_size=1, max_size=12)


def fill(builder: BatchBuilder, records: list[Content]) -> list[Content]:
    """Put in what fits, and return it."""
    taken = []
    for key, value, headers, timestamp_ms in records:
        count = builder.record_count
        offset_delta = builder.try_append(
            key=key, value=value, headers=headers, timestamp_ms=timestamp_ms
        )
        if offset_delta is not None:
            assert offset_delta == count
            taken.append((key, value, headers, timestamp_ms))
    return taken


def built(builder: BatchBuilder) -> RecordBatch:
    return RecordBatch.at(builder.build())


def expected(records: list[Content]) -> list[Record]:
    return [
        Record(offset, timestamp_ms, key, value, tuple(headers))
        for offset, (key, value, headers, timestamp_ms) in enumerate(records)
    ]


# --- What comes out -----------------------------------------------------------------


@pytest.mark.parametrize("codec", Codec)
@given(records=RECORDS)
def test_what_was_put_in_comes_out(codec: Codec, records: list[Content]) -> None:
    builder = BatchBuilder(codec)
    fill(builder, records)

    assert list(iterate_records(built(builder))) == expected(records)


@given(records=RECORDS)
def test_the_header_describes_the_records(records: list[Content]) -> None:
    builder = BatchBuilder()
    fill(builder, records)

    batch = built(builder)

    assert crc_matches(batch)
    assert batch.header.record_count == len(records) == batch.header.next_offset
    assert batch.header.base_timestamp == records[0][3]
    assert batch.header.max_timestamp == max(timestamp_ms for *_, timestamp_ms in records)


def test_a_batch_is_without_place_and_producer_by_default() -> None:
    builder = BatchBuilder()
    builder.append(key=None, value=b"value", timestamp_ms=5)

    header = built(builder).header

    assert (header.base_offset, header.partition_leader_epoch) == (0, -1)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (-1, -1, -1)
    assert header.attributes == 0


def test_producer_fields_are_written() -> None:
    builder = BatchBuilder(
        producer_id=7, producer_epoch=3, base_sequence=100, is_transactional=True
    )
    builder.append(key=None, value=b"value", timestamp_ms=5)

    header = built(builder).header

    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (7, 3, 100)
    assert header.is_transactional


def test_producer_fields_may_be_set_until_the_batch_is_built() -> None:
    builder = BatchBuilder()
    builder.append(key=None, value=b"value", timestamp_ms=5)
    builder.producer_id, builder.producer_epoch, builder.base_sequence = 7, 3, 100

    assert built(builder).header.last_sequence == 100


def test_building_twice_gives_the_same_bytes_and_more_may_follow() -> None:
    builder = BatchBuilder(Codec.ZSTD)
    builder.append(key=None, value=b"value" * 50, timestamp_ms=5)
    first = builder.build()

    assert builder.build() == first
    builder.append(key=None, value=b"more", timestamp_ms=6)
    assert built(builder).header.record_count == 2


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_a_batch_that_compression_would_enlarge_is_sent_plain(codec: Codec) -> None:
    builder = BatchBuilder(codec)
    builder.append(key=None, value=b"short", timestamp_ms=5)

    batch = built(builder)

    assert batch.header.codec is Codec.NONE
    assert len(batch.view) == builder.size_bytes


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_a_batch_that_compresses_says_how(codec: Codec) -> None:
    builder = BatchBuilder(codec)
    builder.append(key=None, value=bytes(1000), timestamp_ms=5)

    assert built(builder).header.codec is codec


# --- Sizes --------------------------------------------------------------------------


@given(records=RECORDS)
def test_the_size_is_exact_after_every_record(records: list[Content]) -> None:
    builder = BatchBuilder()
    for record in records:
        fill(builder, [record])
        assert builder.size_bytes == len(builder.build())


@given(records=RECORDS, size_bytes_max=st.integers(0, 9000))
def test_a_batch_never_passes_its_bound_unless_one_record_does(
    records: list[Content], size_bytes_max: int
) -> None:
    builder = BatchBuilder(size_bytes_max=size_bytes_max)
    taken = fill(builder, records)

    assert len(taken) == 1 or len(builder.build()) <= size_bytes_max


@given(records=RECORDS)
def test_a_record_is_refused_only_if_it_would_pass_the_bound(records: list[Content]) -> None:
    roomy = BatchBuilder()
    fill(roomy, records)

    assert fill(BatchBuilder(size_bytes_max=roomy.size_bytes), records) == records
    assert (
        len(records) == 1
        or fill(BatchBuilder(size_bytes_max=roomy.size_bytes - 1), records) != records
    )


@given(first=RECORD, refused=RECORD, later=RECORD)
def test_a_refused_record_leaves_no_trace(first: Content, refused: Content, later: Content) -> None:
    with_refusal, without = BatchBuilder(), BatchBuilder()
    fill(with_refusal, [first])
    fill(without, [first])

    with_refusal.size_bytes_max = 0
    assert fill(with_refusal, [refused]) == []
    with_refusal.size_bytes_max = BATCH_BYTES_MAX

    fill(with_refusal, [later])
    fill(without, [later])
    assert with_refusal.build() == without.build()


@pytest.mark.parametrize("key", [None, b"key"])
@pytest.mark.parametrize("count", [1, 2, 64, 65])
def test_alike_records_fill_a_batch_to_the_last_byte(key: bytes | None, count: int) -> None:
    alike: list[Content] = [(key, b"value" * 20, (), 5)] * count
    roomy = BatchBuilder()
    fill(roomy, alike)

    assert len(fill(BatchBuilder(size_bytes_max=roomy.size_bytes), alike)) == count
    assert len(fill(BatchBuilder(size_bytes_max=roomy.size_bytes - 1), alike)) == max(1, count - 1)


@pytest.mark.parametrize("key", [None, b"", b"k" * 64], ids=["null", "empty", "long"])
def test_a_record_about_as_large_as_the_table_reaches_is_encoded_like_any_other(
    key: bytes | None,
) -> None:
    # What surrounds the last record is as long as it gets: a timestamp delta of ten bytes, and
    # offset delta, key length and value length of two.
    before: list[Content] = [(None, b"", (), 0) for _ in range(64)]
    before.append((None, b"", (), 2**63 - 1))
    for value_bytes in range(8090, 8195):
        builder = BatchBuilder()
        fill(builder, [*before, (key, bytes(value_bytes), (), 2**63 - 1)])

        assert builder.size_bytes == len(builder.build())
        assert list(iterate_records(built(builder)))[-1][2:] == (key, bytes(value_bytes), ())


@given(record=RECORD)
def test_the_upper_bound_holds_for_any_single_record(record: Content) -> None:
    builder = BatchBuilder()
    fill(builder, [record])
    key, value, headers, _ = record

    assert builder.size_bytes <= size_upper_bound(key, value, headers) <= builder.size_bytes + 100


def test_an_empty_builder_counts_the_header() -> None:
    assert BatchBuilder().size_bytes == HEADER_BYTES


def test_a_record_that_must_fit_and_does_not_is_an_error() -> None:
    builder = BatchBuilder(size_bytes_max=200)
    builder.append(key=None, value=bytes(100), timestamp_ms=5)

    with pytest.raises(MessageTooLargeError, match="1 records and 170 bytes has no room"):
        builder.append(key=None, value=bytes(100), timestamp_ms=5)
    assert builder.record_count == 1


def test_a_record_larger_than_any_batch_is_an_error_even_if_it_is_the_first() -> None:
    with pytest.raises(MessageTooLargeError, match=f"{BATCH_BYTES_MAX} are allowed"):
        BatchBuilder().try_append(key=None, value=bytes(BATCH_BYTES_MAX), timestamp_ms=5)


def test_a_bound_above_the_largest_batch_means_the_largest_batch() -> None:
    assert BatchBuilder(size_bytes_max=2**40).size_bytes_max == BATCH_BYTES_MAX


def test_a_batch_is_full_after_the_largest_number_of_records() -> None:
    builder = BatchBuilder()
    builder.append(key=None, value=None, timestamp_ms=5)
    # Filling it for real takes a second, and no more than this number is looked at.
    builder.record_count = RECORDS_PER_BATCH_MAX

    assert builder.try_append(key=None, value=b"", timestamp_ms=5) is None


def test_records_past_the_number_that_the_table_holds_are_numbered_on() -> None:
    builder = BatchBuilder()
    for index in range(8200):
        assert builder.append(key=None, value=b"v", timestamp_ms=5) == index

    assert [record.offset for record in iterate_records(built(builder))] == list(range(8200))
    assert builder.size_bytes == len(builder.build())


# --- Timestamps ---------------------------------------------------------------------


@pytest.mark.parametrize("timestamp_ms", [-2, -(2**63), 2**63])
def test_a_timestamp_that_no_record_can_have_is_refused(timestamp_ms: int) -> None:
    with pytest.raises(InvalidTimestampError, match=f"timestamp {timestamp_ms} "):
        BatchBuilder().try_append(key=None, value=b"value", timestamp_ms=timestamp_ms)


def test_a_timestamp_too_far_from_the_first_is_refused() -> None:
    builder = BatchBuilder()
    builder.append(key=None, value=b"value", timestamp_ms=-1)

    with pytest.raises(InvalidTimestampError, match="beside -1"):
        builder.append(key=None, value=b"value", timestamp_ms=2**63 - 1)
    assert builder.record_count == 1


def test_the_extreme_timestamps_are_possible() -> None:
    builder = BatchBuilder()
    for timestamp_ms in (2**63 - 1, -1, 0):
        builder.append(key=None, value=b"value", timestamp_ms=timestamp_ms)

    timestamps_ms = [record.timestamp_ms for record in iterate_records(built(builder))]
    assert timestamps_ms == [2**63 - 1, -1, 0]
    assert built(builder).header.max_timestamp == 2**63 - 1


# --- Our own mistakes -----------------------------------------------------------------


def test_an_empty_batch_cannot_be_built() -> None:
    with pytest.raises(AssertionError):
        BatchBuilder().build()


def test_a_transaction_needs_a_producer() -> None:
    with pytest.raises(AssertionError):
        BatchBuilder(is_transactional=True)
