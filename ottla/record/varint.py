"""Zig-zag variable-length integers, as records use them (Protocol Buffers' ``sint32``/``sint64``).

A signed number is folded so that small magnitudes stay small (0, -1, 1, -2... become 0, 1, 2,
3...), then cut into groups of seven bits, the lowest first; the top bit of a byte says that
another follows. Lengths and offset deltas are at most five bytes (*varint*, 32 bits), timestamp
deltas at most ten (*varlong*, 64 bits).

The builder and the iterator meet millions of small non-negative numbers a second, so both look
them up: :data:`SMALL_ENCODED` and :data:`ONE_BYTE_DECODED`. The functions here are for the rest.
"""

from __future__ import annotations

from typing import Final

from ottla.model.errors import InvalidRecordError

SMALL_ENCODED: Final = (
    *(bytes((number * 2,)) for number in range(64)),
    *(bytes((low | 0x80, high)) for high in range(1, 128) for low in range(0, 128, 2)),
)
"""The encodings of 0 to 8191, which is what two bytes hold."""

_SMALL_END: Final = len(SMALL_ENCODED)

ONE_BYTE_DECODED: Final = (*((byte >> 1) ^ -(byte & 1) for byte in range(128)), *[None] * 128)
"""What each first byte means by itself; ``None`` if the number goes on."""

VARINT_BYTES_MAX: Final = 5
VARLONG_BYTES_MAX: Final = 10

_SEVEN_BITS: Final = 0x7F
_INT64_MIN: Final = -(2**63)
_INT64_END: Final = 2**63


def encode(number: int) -> bytes:
    """Return the encoding of a number that fits 64 bits, in as few bytes as possible."""
    if 0 <= number < _SMALL_END:
        return SMALL_ENCODED[number]
    assert _INT64_MIN <= number < _INT64_END, number
    folded = (number << 1) ^ (number >> 63)
    encoded = bytearray()
    while folded > _SEVEN_BITS:
        encoded.append(folded & _SEVEN_BITS | 0x80)
        folded >>= 7
    encoded.append(folded)
    return bytes(encoded)


def encoded_bytes(number: int) -> int:
    """Return how many bytes :func:`encode` makes of a number that fits 64 bits."""
    folded = (number << 1) ^ (number >> 63)
    return max(1, (folded.bit_length() + 6) // 7)


def read_varint(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a number of 32 bits at ``position``; return it with the position after it.

    Raises:
        InvalidRecordError: it does not end within five bytes, or needs more than 32 bits.
        IndexError: the buffer ends first.
    """
    byte = buffer[position]
    if not byte & 1:
        # The common case by far, not negative and below 8192, is worth its own few lines.
        if byte <= _SEVEN_BITS:
            return byte >> 1, position + 1
        second = buffer[position + 1]
        if second <= _SEVEN_BITS:
            return (second << 6) + (byte >> 1) - 64, position + 2
    return _read(buffer, position, VARINT_BYTES_MAX, 32)


def read_varlong(buffer: bytes, position: int) -> tuple[int, int]:
    """Read a number of 64 bits at ``position``; return it with the position after it.

    Raises:
        InvalidRecordError: it does not end within ten bytes, or needs more than 64 bits.
        IndexError: the buffer ends first.
    """
    return _read(buffer, position, VARLONG_BYTES_MAX, 64)


def _read(buffer: bytes, position: int, bytes_max: int, bits: int) -> tuple[int, int]:
    folded = 0
    for index in range(bytes_max):
        byte = buffer[position + index]
        folded |= (byte & _SEVEN_BITS) << (7 * index)
        if byte <= _SEVEN_BITS:
            if folded >> bits:
                raise InvalidRecordError(
                    f"the variable-length number at byte {position} needs more than {bits} bits"
                )
            return (folded >> 1) ^ -(folded & 1), position + index + 1
    raise InvalidRecordError(
        f"the variable-length number at byte {position} does not end within {bytes_max} bytes"
    )
