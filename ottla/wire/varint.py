"""Unsigned variable-length integers and tagged fields, which flexible versions use (KIP-482).

Seven bits a byte, the lowest first; the top bit says that another byte follows. Lengths and counts
are written plus one, so that zero stands for null. Behind the fields of each structure stand the
tagged ones: how many, then for each its number, its length and its bytes, so that one that is
not known can be stepped over.
"""

from __future__ import annotations

from typing import Final

from ottla.wire.malformed import MalformedError, bad_count, bad_length, too_many

_SEVEN_BITS: Final = 0x7F
_UINT32_MAX: Final = 0xFFFFFFFF
_TAG_BYTES_MIN: Final = 2


def read_uvarint(buffer: memoryview, position: int) -> tuple[int, int]:
    """Read a number of 32 bits; return it with the position after it.

    Raises:
        MalformedError: it does not end within five bytes, or needs more than 32 bits.
        IndexError: the buffer ends first.
    """
    number = buffer[position]
    if number <= _SEVEN_BITS:
        return number, position + 1
    # The lengths of batches are two or three bytes long and are worth not looping.
    byte = buffer[position + 1]
    number = (number & _SEVEN_BITS) | byte << 7
    if byte <= _SEVEN_BITS:
        return number, position + 2
    byte = buffer[position + 2]
    number = (number & 0x3FFF) | byte << 14
    if byte <= _SEVEN_BITS:
        return number, position + 3
    byte = buffer[position + 3]
    number = (number & 0x1FFFFF) | byte << 21
    if byte <= _SEVEN_BITS:
        return number, position + 4
    byte = buffer[position + 4]
    number = (number & 0xFFFFFFF) | byte << 28
    if number > _UINT32_MAX:
        raise MalformedError("the sender's varint needs more than 32 bits, or five bytes")
    return number, position + 5


def put_uvarint(output: bytearray, number: int) -> None:
    """Append a number."""
    while number > _SEVEN_BITS:
        output.append((number & _SEVEN_BITS) | 0x80)
        number >>= 7
    output.append(number)


def skip_tags(buffer: memoryview, position: int, end: int, budget: int) -> tuple[int, int]:
    """Step over tagged fields, their count first; return the position after them and the budget.

    Raises:
        MalformedError: they do not fit into the buffer, or into the budget of elements.
        IndexError: the buffer ends first.
    """
    count, position = read_uvarint(buffer, position)
    if count * _TAG_BYTES_MIN > end - position:
        raise bad_count(count, end - position)
    budget -= count
    if budget < 0:
        raise too_many()
    for _ in range(count):
        _, position = read_uvarint(buffer, position)
        size, position = read_uvarint(buffer, position)
        if size > end - position:
            raise bad_length(size, end - position)
        position += size
    return position, budget


def put_tags(output: bytearray, tags: list[tuple[int, bytearray]]) -> None:
    """Append tagged fields, their count first; they are in the order of their numbers."""
    put_uvarint(output, len(tags))
    for number, content in tags:
        put_uvarint(output, number)
        put_uvarint(output, len(content))
        output += content
