"""A broker reads, checks and re-stamps a batch by its header alone."""

from __future__ import annotations

from struct import pack_into

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import CorruptMessageError, UnsupportedCompressionError
from ottla.record.batch import (
    HEADER_BYTES,
    BatchHeader,
    RecordBatch,
    TimestampType,
    computed_crc,
    crc_matches,
    read_header,
    restamp_in_place,
    restamped,
    split_batches,
    with_header,
    with_log_append_time,
)
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.record.records import iterate_records

# One record, null key, value "x", timestamp 5; as aiokafka 0.14 builds it.
KNOWN = bytes.fromhex(
    "0000000000000000 00000039 ffffffff 02 ef6e0246 0000 00000000 0000000000000005"
    "0000000000000005 ffffffffffffffff ffff ffffffff 00000001 0e00000001027800"
)

OFFSETS = st.integers(0, 2**63 - 1)
EPOCHS = st.integers(-1, 2**31 - 1)


def batch(*values: bytes, timestamp_ms: int = 1000) -> RecordBatch:
    builder = BatchBuilder()
    for value in values or (b"value",):
        builder.append(key=None, value=value, timestamp_ms=timestamp_ms)
    return RecordBatch.at(builder.build())


def changed(original: RecordBatch, **fields: int) -> RecordBatch:
    return with_header(original.header._replace(**fields), original.records)


# --- Reading ----------------------------------------------------------------------


def test_a_known_batch_has_the_fields_that_another_implementation_wrote() -> None:
    assert read_header(KNOWN) == BatchHeader(
        base_offset=0,
        batch_length=57,
        partition_leader_epoch=-1,
        magic=2,
        crc=0xEF6E0246,
        attributes=0,
        last_offset_delta=0,
        base_timestamp=5,
        max_timestamp=5,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        record_count=1,
    )


def test_the_checksum_of_a_known_batch_is_the_one_that_another_implementation_wrote() -> None:
    assert computed_crc(RecordBatch.at(KNOWN)) == 0xEF6E0246


def test_every_field_is_read_from_its_own_place() -> None:
    header = BatchHeader(1, 0, 2, 0, 0, 0x10, 6, 7, 8, 9, 10, 11, 7)

    written = with_header(header, b"records")

    assert read_header(written.view) == written.header
    assert written.header == header._replace(
        batch_length=49 + len(b"records"), magic=2, crc=written.header.crc
    )


@pytest.mark.parametrize("size", [0, 1, 60])
def test_a_header_cut_short_is_refused(size: int) -> None:
    with pytest.raises(CorruptMessageError, match=f"^{size} bytes"):
        read_header(KNOWN[:size])


def test_a_position_past_the_end_is_refused() -> None:
    with pytest.raises(CorruptMessageError, match="0 bytes at byte 1000"):
        read_header(KNOWN, 1000)


@pytest.mark.parametrize("magic", [0, 1, 3, -1])
def test_another_magic_is_refused(magic: int) -> None:
    old = bytearray(KNOWN)
    pack_into(">b", old, 16, magic)

    with pytest.raises(CorruptMessageError, match=f"magic {magic}"):
        read_header(old)


@pytest.mark.parametrize("length", [48, 0, -1, -(2**31)])
def test_a_length_without_room_for_a_header_is_refused(length: int) -> None:
    short = bytearray(KNOWN)
    pack_into(">i", short, 8, length)

    with pytest.raises(CorruptMessageError, match=f"length of {length}"):
        read_header(short)


def test_a_buffer_of_batches_is_split_without_copying() -> None:
    first, second = batch(b"a"), batch(b"b", b"c")
    buffer = bytearray(bytes(first.view) + bytes(second.view))

    split = split_batches(buffer)

    assert [part.header for part in split] == [first.header, second.header]
    assert all(part.view.obj is buffer for part in split)
    assert b"".join(part.view for part in split) == buffer


def test_an_empty_buffer_holds_no_batches() -> None:
    assert split_batches(b"") == []


@pytest.mark.parametrize("rest", [1, 60, 61, len(KNOWN) - 1])
def test_a_torn_last_batch_is_refused_with_its_position(rest: int) -> None:
    with pytest.raises(CorruptMessageError, match=f"at byte {len(KNOWN)}"):
        split_batches(KNOWN + KNOWN[:rest])


@given(damage=st.integers(21, len(KNOWN) - 1), bit=st.integers(0, 7))
def test_the_checksum_notices_every_flipped_bit_from_the_attributes_on(
    damage: int, bit: int
) -> None:
    damaged = bytearray(KNOWN)
    damaged[damage] ^= 1 << bit

    assert crc_matches(RecordBatch.at(KNOWN))
    assert not crc_matches(RecordBatch.at(damaged))


# --- What the header says -----------------------------------------------------------


def test_offsets_end_exclusively() -> None:
    header = changed(batch(b"a", b"b", b"c"), base_offset=100).header

    assert (header.last_offset, header.next_offset) == (102, 103)


def test_size_counts_the_whole_batch() -> None:
    assert read_header(KNOWN).size_bytes == len(KNOWN)


@pytest.mark.parametrize("codec", Codec)
def test_codec_is_in_the_lowest_bits(codec: Codec) -> None:
    assert changed(batch(), attributes=0x70 | codec).header.codec is codec


@pytest.mark.parametrize("number", [5, 6, 7])
def test_a_codec_that_does_not_exist_is_named(number: int) -> None:
    with pytest.raises(UnsupportedCompressionError, match=f"codec {number}"):
        _ = changed(batch(), attributes=number).header.codec


def test_each_attribute_has_its_own_bit() -> None:
    def says(attributes: int) -> tuple[object, ...]:
        header = changed(batch(), attributes=attributes).header
        return (
            header.timestamp_type,
            header.is_transactional,
            header.is_control,
            header.has_delete_horizon,
        )

    create, append = TimestampType.CREATE_TIME, TimestampType.LOG_APPEND_TIME
    assert says(0x00) == (create, False, False, False)
    assert says(0x08) == (append, False, False, False)
    assert says(0x10) == (create, True, False, False)
    assert says(0x20) == (create, False, True, False)
    assert says(0x40) == (create, False, False, True)


@pytest.mark.parametrize(
    ("base_sequence", "last_offset_delta", "last_sequence"),
    [
        (-1, 5, -1),
        (0, 0, 0),
        (10, 5, 15),
        (2**31 - 1, 0, 2**31 - 1),
        (2**31 - 1, 1, 0),
        (2**31 - 3, 5, 2),
    ],
)
def test_sequence_numbers_wrap_to_zero(
    base_sequence: int, last_offset_delta: int, last_sequence: int
) -> None:
    header = read_header(KNOWN)._replace(
        base_sequence=base_sequence, last_offset_delta=last_offset_delta
    )

    assert header.last_sequence == last_sequence


def test_producer_id_zero_is_a_producer() -> None:
    assert read_header(KNOWN)._replace(producer_id=0).has_producer
    assert not read_header(KNOWN).has_producer


def test_a_batch_shows_itself_in_one_line() -> None:
    stamped = changed(batch(b"a", b"b"), base_offset=7, partition_leader_epoch=3)

    assert repr(stamped) == "<RecordBatch [7,8] epoch 3 attributes 0x0 2 records 77 bytes>"


# --- Writing into the header --------------------------------------------------------


@given(base_offset=OFFSETS, leader_epoch=EPOCHS)
def test_restamping_leaves_the_checksum_valid_and_the_records_uncopied(
    base_offset: int, leader_epoch: int
) -> None:
    original = batch(b"a", b"b")

    head, rest = restamped(original, base_offset=base_offset, leader_epoch=leader_epoch)

    assert rest.obj is original.view.obj
    stamped = RecordBatch.at(head + rest)
    assert stamped.header == original.header._replace(
        base_offset=base_offset, partition_leader_epoch=leader_epoch
    )
    assert crc_matches(stamped)


@given(base_offset=OFFSETS, leader_epoch=EPOCHS)
def test_restamping_in_place_gives_the_same_bytes(base_offset: int, leader_epoch: int) -> None:
    first, second = batch(b"a"), batch(b"b")
    buffer = bytearray(bytes(first.view) + bytes(second.view))

    restamp_in_place(buffer, len(first.view), base_offset=base_offset, leader_epoch=leader_epoch)

    stamped = restamped(second, base_offset=base_offset, leader_epoch=leader_epoch)
    assert buffer == bytes(first.view) + b"".join(stamped)


def test_log_append_time_replaces_every_timestamp_and_gets_a_checksum() -> None:
    original = batch(b"a", b"b", timestamp_ms=1000)

    stamped = with_log_append_time(original, now_ms=9999)

    assert crc_matches(stamped)
    assert stamped.header.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert [record.timestamp_ms for record in iterate_records(stamped)] == [9999, 9999]


def test_log_append_time_leaves_the_original_and_all_other_fields_alone() -> None:
    original = changed(batch(b"a"), base_offset=5, producer_id=6, producer_epoch=1, base_sequence=0)
    before = bytes(original.view)

    stamped = with_log_append_time(original, now_ms=9999)

    assert original.view == before
    assert stamped.records == original.records
    assert stamped.header == original.header._replace(
        attributes=0x08, max_timestamp=9999, crc=stamped.header.crc
    )


def test_a_batch_is_exactly_its_bytes() -> None:
    with pytest.raises(AssertionError):
        RecordBatch(read_header(KNOWN), memoryview(KNOWN)[:-1])
    assert len(RecordBatch.at(KNOWN + b"more").records) == len(KNOWN) - HEADER_BYTES
