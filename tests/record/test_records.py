"""Whatever a batch claims, reading it yields sound records or ends with one of two errors."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack_into

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import (
    CorruptMessageError,
    InvalidRecordError,
    InvalidTimestampError,
    UnsupportedCompressionError,
)
from ottla.model.limits import HEADERS_PER_RECORD_MAX, KIB, MIB, RECORDS_PER_BATCH_MAX
from ottla.record.batch import (
    BatchHeader,
    RecordBatch,
    TimestampType,
    computed_crc,
    split_batches,
    with_header,
)
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec, compress
from ottla.record.records import Record, iterate_records, record_bytes
from ottla.record.validation import AppendRules, check_client_batch, check_client_records
from ottla.record.varint import encode

DAMAGE = (CorruptMessageError, InvalidRecordError)
CRC_POSITION = 17
LENGTH_POSITION = 8


def header(**fields: int) -> BatchHeader:
    return BatchHeader(0, 0, -1, 2, 0, 0, 0, 1000, 1000, -1, -1, -1, 1)._replace(**fields)


def record(
    *,
    timestamp_delta: bytes = encode(0),
    offset_delta: int = 0,
    key: bytes = encode(-1),
    value: bytes = encode(1) + b"x",
    headers: bytes = encode(0),
    length: int | None = None,
) -> bytes:
    """Return the bytes of one record, made of parts that a test may get wrong."""
    body = b"\x00" + timestamp_delta + encode(offset_delta) + key + value + headers
    return encode(len(body) if length is None else length) + body


def read(payload: bytes, **fields: int) -> list[Record]:
    return list(iterate_records(with_header(header(**fields), payload)))


def refuses(payload: bytes, match: str, **fields: int) -> None:
    with pytest.raises(InvalidRecordError, match=match):
        read(payload, **fields)


# --- Sound batches ------------------------------------------------------------------


def test_a_record_made_by_hand_is_read() -> None:
    payload = record(
        timestamp_delta=encode(-5),
        offset_delta=3,
        key=encode(3) + b"key",
        value=encode(-1),
        headers=encode(2) + b"\x02a\x02b" + b"\x04\xc3\xa9\x01",
    )

    assert read(payload, base_offset=100, last_offset_delta=3) == [
        Record(103, 995, b"key", None, (("a", b"b"), ("é", None)))
    ]


def test_offsets_may_have_gaps_where_compaction_removed_records() -> None:
    payload = record(offset_delta=2) + record(offset_delta=70) + record(offset_delta=71)

    offsets = [each.offset for each in read(payload, record_count=3, last_offset_delta=100)]
    assert offsets == [2, 70, 71]


@pytest.mark.parametrize("codec", Codec)
def test_a_batch_that_compaction_emptied_has_no_records(codec: Codec) -> None:
    assert read(b"", record_count=0, last_offset_delta=9, attributes=codec) == []


def test_a_control_batch_is_read_like_any_other() -> None:
    marker = record(key=encode(4) + b"\x00\x00\x00\x01", value=encode(6) + bytes(6))

    assert read(marker, attributes=0x30, producer_id=1)[0].key == b"\x00\x00\x00\x01"


def test_records_stamped_by_the_broker_all_have_its_time() -> None:
    payload = record(timestamp_delta=encode(-7)) + record(offset_delta=1)
    stamped = read(
        payload, attributes=0x08, max_timestamp=5555, record_count=2, last_offset_delta=1
    )

    assert [each.timestamp_ms for each in stamped] == [5555, 5555]


def test_keys_and_values_are_bytes_of_their_own() -> None:
    buffer = bytearray(with_header(header(), record()).view)
    (each,) = iterate_records(RecordBatch.at(buffer))
    buffer[:] = bytes(len(buffer))

    assert each.value == b"x"


# --- Impossible claims --------------------------------------------------------------


@pytest.mark.parametrize("count", [-1, -(2**31), RECORDS_PER_BATCH_MAX + 1, 2**31 - 1])
def test_an_impossible_number_of_records_is_refused_before_anything_is_read(count: int) -> None:
    with pytest.raises(InvalidRecordError, match=f"claims {count} records"):
        iterate_records(with_header(header(record_count=count), record()))


def test_more_records_than_there_are_end_in_an_error() -> None:
    refuses(record(), "claims 2 records.*end within", record_count=2, last_offset_delta=1)


def test_bytes_left_over_are_refused() -> None:
    refuses(record() + b"\x00", "1 bytes left after the 1 records")


def test_records_in_an_empty_batch_are_refused() -> None:
    refuses(record(), "bytes left after the 0 records", record_count=0)


@pytest.mark.parametrize("off_by", [-1, 1, -100, 2**30])
def test_a_record_that_does_not_end_where_it_says_is_refused(off_by: int) -> None:
    sound = record()

    refuses(record(length=len(sound) - 1 + off_by), f"end {-off_by} bytes past")


@pytest.mark.parametrize("length", [-2, -(2**31)])
def test_a_negative_length_other_than_null_is_refused(length: int) -> None:
    refuses(record(key=encode(length)), f"length of {length}")
    refuses(record(value=encode(length)), f"length of {length}")


@pytest.mark.parametrize("length", [100, 2**31 - 1])
def test_a_key_or_value_past_the_end_is_refused(length: int) -> None:
    refuses(record(key=encode(length)), "end within")
    refuses(record(value=encode(length)), "end within")


def test_a_header_value_past_the_end_is_refused_even_if_the_record_length_agrees() -> None:
    # The last bytes of the batch: nothing behind them would give the short slice away.
    headers = encode(1) + b"\x02a" + encode(50) + b"short"

    refuses(record(headers=headers, length=7 + 1 + 2 + 1 + 50), "end within")


@pytest.mark.parametrize("count", [-1, HEADERS_PER_RECORD_MAX + 1, 2**31 - 1])
def test_an_impossible_number_of_headers_is_refused(count: int) -> None:
    refuses(record(headers=encode(count)), f"claims {count} headers")


def test_a_header_without_a_name_is_refused() -> None:
    refuses(record(headers=encode(1) + encode(-1) + encode(-1)), "no name")


def test_a_header_name_that_is_not_utf8_is_refused() -> None:
    refuses(record(headers=encode(1) + b"\x02\xff" + encode(-1)), "not UTF-8")


@pytest.mark.parametrize("second", [0, -1])
def test_offsets_that_do_not_rise_are_refused(second: int) -> None:
    payload = record(offset_delta=0) + record(offset_delta=second)

    refuses(payload, f"offset delta {second} follows 0", record_count=2, last_offset_delta=9)


def test_an_offset_beyond_the_last_one_of_the_batch_is_refused() -> None:
    refuses(record(offset_delta=1), "offset delta 1 .* last is 0")


@pytest.mark.parametrize(("base", "delta"), [(2**63 - 1, 1), (-(2**63), -1), (2**62, 2**62)])
def test_a_timestamp_of_more_than_64_bits_is_refused(base: int, delta: int) -> None:
    refuses(record(timestamp_delta=encode(delta)), "does not fit", base_timestamp=base)


def test_numbers_that_do_not_end_are_refused() -> None:
    refuses(b"\x81" * 50, "does not end within 5 bytes")
    refuses(record(timestamp_delta=b"\x81" * 11), "does not end within 10 bytes")


def test_a_codec_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="codec 5"):
        iterate_records(with_header(header(attributes=5), record()))


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_a_bomb_is_refused_before_a_record_is_read(codec: Codec) -> None:
    bomb = with_header(header(attributes=codec), compress(codec, bytes(4 * MIB)))

    with pytest.raises(CorruptMessageError):
        iterate_records(bomb, decompressed_bytes_max=MIB)


def test_records_before_a_damaged_one_come_out_first() -> None:
    damaged = with_header(
        header(record_count=2, last_offset_delta=1), record() + record(offset_delta=5)
    )
    records = iterate_records(damaged)

    assert next(records).offset == 0
    with pytest.raises(InvalidRecordError):
        next(records)


# --- Bytes from hell ----------------------------------------------------------------


def batches() -> Iterator[bytes]:
    for codec in Codec:
        builder = BatchBuilder(codec, producer_id=1, producer_epoch=0, base_sequence=0)
        for index in range(12):
            builder.append(
                key=None if index % 3 else b"key-%d" % index,
                value=None if index % 5 == 4 else b"value " * index * 3,
                headers=[("trace", b"0123456789"), ("é", None)] if index % 4 == 0 else (),
                timestamp_ms=1_700_000_000_000 + index * index * 97,
            )
        yield builder.build()


SOUND = list(batches())
FLIPS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=4)
RULES = AppendRules(
    max_message_bytes=MIB,
    segment_bytes=MIB,
    timestamp_type=TimestampType.CREATE_TIME,
    timestamp_before_max_ms=2**63 - 1,
    timestamp_after_max_ms=2**63 - 1,
)


def drain(batch: RecordBatch) -> None:
    """Read what can be read; what comes out must be what a record can be."""
    fields = batch.header
    try:
        for count, each in enumerate(iterate_records(batch, decompressed_bytes_max=64 * KIB)):
            assert count < fields.record_count
            assert fields.base_offset <= each.offset <= fields.last_offset
            assert -(2**63) <= each.timestamp_ms < 2**63
    except DAMAGE:
        pass


@pytest.mark.parametrize("codec", Codec)
@given(flips=FLIPS)
def test_flipped_bytes_are_noticed_or_harmless(codec: Codec, flips: list[tuple[int, int]]) -> None:
    damaged = bytearray(SOUND[codec])
    for position, bits in flips:
        damaged[position % len(damaged)] ^= bits

    try:
        split = split_batches(damaged)
    except CorruptMessageError:
        return
    for batch in split:
        drain(batch)


@pytest.mark.parametrize("codec", Codec)
@given(flips=FLIPS)
def test_flipped_bytes_under_a_valid_checksum_are_refused_or_harmless(
    codec: Codec, flips: list[tuple[int, int]]
) -> None:
    damaged = bytearray(SOUND[codec])
    for position, bits in flips:
        damaged[CRC_POSITION + position % (len(damaged) - CRC_POSITION)] ^= bits
    pack_into(">I", damaged, CRC_POSITION, computed_crc(RecordBatch.at(damaged)))
    batch = RecordBatch.at(damaged)

    drain(batch)
    try:
        check_client_batch(batch, RULES, now_ms=0)
        check_client_records(batch, RULES, key_required=False, now_ms=0)
    except (*DAMAGE, InvalidTimestampError, UnsupportedCompressionError):
        pass


@given(
    payload=st.binary(max_size=200),
    record_count=st.integers(-2, 40) | st.integers(-(2**31), 2**31 - 1),
    last_offset_delta=st.integers(-2, 40) | st.integers(-(2**31), 2**31 - 1),
    attributes=st.integers(0, 127),
    base_timestamp=st.integers(-(2**63), 2**63 - 1),
)
def test_arbitrary_bytes_are_refused_or_read(
    payload: bytes,
    record_count: int,
    last_offset_delta: int,
    attributes: int,
    base_timestamp: int,
) -> None:
    drain(
        with_header(
            header(
                record_count=record_count,
                last_offset_delta=last_offset_delta,
                attributes=attributes,
                base_timestamp=base_timestamp,
            ),
            payload,
        )
    )


@given(
    fields=st.lists(
        st.sampled_from([encode(0), encode(-1), encode(1), encode(2), encode(70), b"a", b"\x80"]),
        max_size=40,
    )
)
def test_bytes_that_look_like_records_are_refused_or_read(fields: list[bytes]) -> None:
    drain(with_header(header(record_count=5, last_offset_delta=4), b"".join(fields)))


@given(cut=st.integers(0, 2**16), codec=st.sampled_from(Codec))
def test_a_batch_cut_anywhere_is_refused(cut: int, codec: Codec) -> None:
    sound = SOUND[codec]

    with pytest.raises(CorruptMessageError):
        RecordBatch.at(sound[: cut % len(sound)])


@given(cut=st.integers(0, 2**16), codec=st.sampled_from(Codec))
def test_records_cut_anywhere_under_a_fitting_length_are_refused(cut: int, codec: Codec) -> None:
    sound = RecordBatch.at(SOUND[codec])
    cut_batch = with_header(sound.header, sound.records[: cut % len(sound.records)])

    with pytest.raises(DAMAGE):
        list(iterate_records(cut_batch))


def test_record_bytes_are_the_records_before_compression() -> None:
    assert len({record_bytes(RecordBatch.at(sound)) for sound in SOUND}) == 1
