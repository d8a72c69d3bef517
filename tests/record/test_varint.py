"""Zig-zag numbers come back as they went in, in the fewest bytes, and damaged ones are refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import InvalidRecordError
from ottla.record.varint import (
    ONE_BYTE_DECODED,
    SMALL_ENCODED,
    encode,
    encoded_bytes,
    read_varint,
    read_varlong,
)

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize(
    ("number", "encoded"),
    [
        (0, "00"),
        (-1, "01"),
        (1, "02"),
        (63, "7e"),
        (-64, "7f"),
        (64, "8001"),
        (8191, "fe7f"),
        (8192, "808001"),
        (2**31 - 1, "feffffff0f"),
        (-(2**31), "ffffffff0f"),
        (2**63 - 1, "feffffffffffffffff01"),
        (-(2**63), "ffffffffffffffffff01"),
    ],
)
def test_numbers_have_the_encoding_of_protocol_buffers(number: int, encoded: str) -> None:
    assert encode(number).hex() == encoded


@given(number=INT32)
def test_a_varint_reads_back(number: int) -> None:
    encoded = encode(number)

    assert read_varint(b"\xff" + encoded + b"\xff", 1) == (number, 1 + len(encoded))


@given(number=INT64)
def test_a_varlong_reads_back(number: int) -> None:
    encoded = encode(number)

    assert read_varlong(b"\xff" + encoded + b"\xff", 1) == (number, 1 + len(encoded))


@given(number=INT64)
def test_the_size_is_known_without_encoding(number: int) -> None:
    assert encoded_bytes(number) == len(encode(number))


def test_every_small_number_is_in_the_table_at_its_own_place() -> None:
    assert [read_varint(encoded, 0)[0] for encoded in SMALL_ENCODED] == list(range(8192))


def test_single_bytes_are_looked_up() -> None:
    assert [ONE_BYTE_DECODED[byte] for byte in (0, 1, 2, 0x7F, 0x80, 0xFF)] == [
        0,
        -1,
        1,
        -64,
        None,
        None,
    ]


def test_a_longer_encoding_than_necessary_is_read() -> None:
    assert read_varint(b"\x82\x80\x80\x80\x00", 0) == (1, 5)


def test_a_varint_of_six_bytes_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="does not end within 5 bytes"):
        read_varint(b"\x80" * 5 + b"\x00", 0)


def test_a_varlong_of_eleven_bytes_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="does not end within 10 bytes"):
        read_varlong(b"\x80" * 10 + b"\x00", 0)


def test_a_varint_of_33_bits_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="more than 32 bits"):
        read_varint(b"\x80\x80\x80\x80\x10", 0)


def test_a_varlong_of_65_bits_is_refused() -> None:
    with pytest.raises(InvalidRecordError, match="more than 64 bits"):
        read_varlong(b"\x80" * 9 + b"\x02", 0)


@pytest.mark.parametrize("cut", [b"", b"\x80", b"\x81", b"\x80\x80"])
def test_the_end_of_the_bytes_within_a_number_is_an_index_error(cut: bytes) -> None:
    with pytest.raises(IndexError):
        read_varint(cut, 0)
