"""Unsigned varints are read as they are written, and no others are read."""

from __future__ import annotations

import pytest

from ottla.wire.malformed import MalformedError
from ottla.wire.varint import put_uvarint, read_uvarint

EDGES = [0, 1, 127, 128, 16_383, 16_384, 2**21 - 1, 2**21, 2**28 - 1, 2**28, 2**32 - 1]


@pytest.mark.parametrize("number", EDGES)
def test_number_is_read_as_it_was_written(number: int) -> None:
    output = bytearray(b"x")
    put_uvarint(output, number)
    output.append(0x7F)

    assert read_uvarint(memoryview(output), 1) == (number, len(output) - 1)


def test_bytes_are_those_of_protocol_buffers() -> None:
    output = bytearray()
    put_uvarint(output, 300)

    assert output == b"\xac\x02"


def test_number_that_could_be_shorter_is_read() -> None:
    assert read_uvarint(memoryview(b"\x85\x80\x00"), 0) == (5, 3)


@pytest.mark.parametrize("content", [b"\xff\xff\xff\xff\x10", b"\xff\xff\xff\xff\xff\x00"])
def test_number_of_more_than_32_bits_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedError):
        read_uvarint(memoryview(content), 0)


@pytest.mark.parametrize("size", range(5))
def test_number_without_an_end_runs_out_of_buffer(size: int) -> None:
    with pytest.raises(IndexError):
        read_uvarint(memoryview(b"\xff" * size), 0)
