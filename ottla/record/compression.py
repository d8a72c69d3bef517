"""The five codecs of a record batch: what others can read is written, what others write is read.

Only the records of a batch are compressed, never its header, so a broker that passes batches on
needs no codec at all. Where one is needed, three rules apply.

**LZ4 frames have independent blocks.** The Java client refuses linked ones, which are what
``cramjam.lz4.compress`` writes; hence the compressor object and ``block_linked=False``.

**Snappy comes in two shapes.** Java, kafka-python and aiokafka wrap raw blocks in the framing of
the *xerial* library: sixteen bytes of header, then blocks of 32 KiB with their lengths. librdkafka
writes one raw block. Java's ``SnappyInputStream`` and librdkafka look for xerial's magic bytes and
take anything else for a raw block, and so do we. (The two cannot be confused: as a raw block, the
magic would go on with a reference to output that does not exist.) Written is xerial's framing:
Java and librdkafka read either, but what Java writes is the one form that no reader of Kafka's
records can do without.

**Expansion is bounded.** Two kilobytes of zstd can hold sixty-four megabytes. Output goes into a
buffer of fixed size, and what does not fit is refused. The buffer is first a guess, then an
anonymous memory map of the permitted size, of which only the pages written to become real.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from enum import IntEnum
from typing import Final

import cramjam

from ottla.model.errors import CorruptMessageError
from ottla.model.limits import DECOMPRESSED_BYTES_MAX, KIB, MIB

Buffer = bytes | bytearray | memoryview


class Codec(IntEnum):
    """How the records of a batch are compressed; the values are those of the attribute bits."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


GZIP_LEVEL: Final = 6
ZSTD_LEVEL: Final = 3
LZ4_LEVEL: Final = 1
"""Kafka's defaults. Below 3, LZ4 means its fast form, which is what Java uses by default too."""

_XERIAL_MAGIC: Final = b"\x82SNAPPY\x00"
_XERIAL_HEADER: Final = _XERIAL_MAGIC + bytes((0, 0, 0, 1)) + bytes((0, 0, 0, 1))
"""The magic, then the version and the oldest version that can read it."""
_XERIAL_LENGTH_BYTES: Final = 4
_XERIAL_BLOCK_BYTES: Final = 32 * KIB
"""Before compression; the default of Java's writer."""

_EXPANSION_GUESS: Final = 8
"""Logs and JSON compress five to eightfold: most batches fit the first buffer."""
_FIRST_BUFFER_BYTES_MIN: Final = 16 * KIB
_FIRST_BUFFER_BYTES_MAX: Final = 1 * MIB
"""Past this, filling the buffer with zeros costs more than mapping memory does."""


_DECOMPRESS_INTO: Final = {
    Codec.GZIP: cramjam.gzip.decompress_into,
    Codec.LZ4: cramjam.lz4.decompress_into,
    Codec.ZSTD: cramjam.zstd.decompress_into,
}


def compress(codec: Codec, content: Buffer) -> bytes:
    """Compress ``content`` as one unit of ``codec``; :attr:`Codec.NONE` copies it."""
    match codec:
        case Codec.NONE:
            return bytes(content)
        case Codec.GZIP:
            return bytes(cramjam.gzip.compress(content, level=GZIP_LEVEL))
        case Codec.SNAPPY:
            return _compress_snappy(content)
        case Codec.LZ4:
            compressor = cramjam.lz4.Compressor(
                level=LZ4_LEVEL, content_checksum=False, block_linked=False
            )
            # Unlike all the others it takes nothing but bytes (which bytes() does not copy).
            compressor.compress(bytes(content))
            return bytes(compressor.finish())
        case _:
            assert codec is Codec.ZSTD, codec
            return bytes(cramjam.zstd.compress(content, level=ZSTD_LEVEL))


def decompress(
    codec: Codec, content: Buffer, *, size_bytes_max: int = DECOMPRESSED_BYTES_MAX
) -> bytes:
    """Return what :func:`compress`, or another implementation, made ``content`` from.

    Raises:
        CorruptMessageError: ``content`` is not of ``codec``, is cut short, or expands to more than
            ``size_bytes_max`` bytes. Memory use is bounded by that size and by what the codec
            itself works with, which is most for zstd: a window of at most 128 MiB.
    """
    try:
        if codec is Codec.NONE:
            return _checked_copy(content, size_bytes_max)
        if codec is Codec.SNAPPY:
            return _decompress_snappy(content, size_bytes_max)
        return _decompress_stream(_DECOMPRESS_INTO[codec], content, size_bytes_max)
    except cramjam.DecompressionError as error:
        raise CorruptMessageError(
            f"{len(content)} bytes of records do not expand as {codec.name.lower()} to at most "
            f"{size_bytes_max} bytes: {error}"
        ) from error


def _compress_snappy(content: Buffer) -> bytes:
    view = memoryview(content)
    parts = [_XERIAL_HEADER]
    for start in range(0, len(view), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK_BYTES]))
        parts += (len(block).to_bytes(_XERIAL_LENGTH_BYTES, "big"), block)
    return b"".join(parts)


def _checked_copy(content: Buffer, size_bytes_max: int) -> bytes:
    if len(content) > size_bytes_max:
        raise CorruptMessageError(
            f"{len(content)} bytes of records are more than the {size_bytes_max} allowed"
        )
    return bytes(content)


def _decompress_stream(
    decompress_into: Callable[[Buffer, bytearray | mmap.mmap], int],
    content: Buffer,
    size_bytes_max: int,
) -> bytes:
    guess_bytes = max(_FIRST_BUFFER_BYTES_MIN, _EXPANSION_GUESS * len(content))
    if guess_bytes <= min(_FIRST_BUFFER_BYTES_MAX, size_bytes_max):
        first = bytearray(guess_bytes)
        try:
            return bytes(memoryview(first)[: decompress_into(content, first)])
        except cramjam.DecompressionError:
            # Too small or corrupt: the error does not say reliably which.
            pass
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    with mmap.mmap(-1, max(1, size_bytes_max), flags=flags) as largest:
        return largest[: decompress_into(content, largest)]


def _decompress_snappy(content: Buffer, size_bytes_max: int) -> bytes:
    if bytes(content[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        return _decompress_snappy_block(content, size_bytes_max)
    expanded = []
    room_bytes = size_bytes_max
    view = memoryview(content)
    if len(view) < len(_XERIAL_HEADER):
        raise CorruptMessageError(
            f"{len(view)} bytes of snappy records are too few for the header of "
            f"{len(_XERIAL_HEADER)} that they begin with"
        )
    position = len(_XERIAL_HEADER)
    while position < len(view):
        start = position + _XERIAL_LENGTH_BYTES
        end = start + int.from_bytes(view[position:start], "big", signed=True)
        if not start < end <= len(view):
            raise CorruptMessageError(
                f"the snappy block at byte {position} claims to end at byte {end}, "
                f"but the compressed records are {len(view)} bytes"
            )
        block = _decompress_snappy_block(view[start:end], room_bytes)
        room_bytes -= len(block)
        expanded.append(block)
        position = end
    return b"".join(expanded)


def _decompress_snappy_block(block: Buffer, size_bytes_max: int) -> bytes:
    # The length comes first in a block and is binding: the codec writes exactly that much.
    claimed_bytes = cramjam.snappy.decompress_raw_len(block)
    if claimed_bytes > size_bytes_max:
        raise CorruptMessageError(
            f"a snappy block claims to expand to {claimed_bytes} bytes; "
            f"{size_bytes_max} are allowed"
        )
    return bytes(cramjam.snappy.decompress_raw(block))
