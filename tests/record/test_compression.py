"""What is compressed comes back, others can read it, and nothing expands past the bound."""

from __future__ import annotations

import gzip
import random
import zlib

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.errors import CorruptMessageError
from ottla.model.limits import MIB
from ottla.record.compression import Codec, compress, decompress

COMPRESSING = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]
TEXT = b"".join(b"user=%d action=view page=/a/%d\n" % (i % 97, i % 13) for i in range(5000))


@pytest.mark.parametrize("codec", Codec)
@given(content=st.binary(max_size=500))
def test_content_comes_back(codec: Codec, content: bytes) -> None:
    assert decompress(codec, compress(codec, content)) == content


@pytest.mark.parametrize("codec", COMPRESSING)
def test_text_of_many_blocks_becomes_smaller_and_comes_back(codec: Codec) -> None:
    compressed = compress(codec, TEXT)

    assert len(compressed) < len(TEXT) / 3
    assert decompress(codec, compressed) == TEXT


@pytest.mark.parametrize("codec", COMPRESSING)
def test_content_larger_than_the_first_buffer_comes_back(codec: Codec) -> None:
    content = bytes(3 * MIB)

    assert decompress(codec, compress(codec, content)) == content


@pytest.mark.parametrize("codec", Codec)
def test_content_of_exactly_the_bound_is_allowed(codec: Codec) -> None:
    assert decompress(codec, compress(codec, bytes(1000)), size_bytes_max=1000) == bytes(1000)


@pytest.mark.parametrize("codec", Codec)
def test_content_one_byte_over_the_bound_is_refused(codec: Codec) -> None:
    with pytest.raises(CorruptMessageError, match="1000"):
        decompress(codec, compress(codec, bytes(1001)), size_bytes_max=1000)


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_small_bomb_is_refused(codec: Codec) -> None:
    bomb = compress(codec, bytes(32 * MIB))

    with pytest.raises(CorruptMessageError):
        decompress(codec, bomb, size_bytes_max=MIB)


@pytest.mark.parametrize("codec", COMPRESSING)
@pytest.mark.parametrize("keep", [0, 1, 8, 17, 0.5, -1])
def test_content_cut_short_is_refused(codec: Codec, keep: float) -> None:
    compressed = compress(codec, TEXT)
    cut = compressed[: int(keep * len(compressed)) if keep == 0.5 else int(keep)]

    with pytest.raises(CorruptMessageError):
        decompress(codec, cut)


@pytest.mark.parametrize("codec", COMPRESSING)
def test_damage_gives_one_kind_of_error_if_any(codec: Codec) -> None:
    chooser = random.Random(codec)
    compressed = compress(codec, TEXT[:5000])
    for _ in range(300):
        damaged = bytearray(compressed)
        reach = chooser.choice((24, len(damaged)))
        damaged[chooser.randrange(reach)] = chooser.randrange(256)
        try:
            assert len(decompress(codec, damaged, size_bytes_max=MIB)) <= MIB
        except CorruptMessageError:
            continue


@pytest.mark.parametrize("codec", Codec)
def test_a_memoryview_is_as_good_as_bytes(codec: Codec) -> None:
    compressed = compress(codec, memoryview(TEXT))

    assert decompress(codec, memoryview(compressed)) == TEXT


def test_gzip_is_what_zlib_reads() -> None:
    assert zlib.decompress(compress(Codec.GZIP, TEXT), wbits=31) == TEXT


def test_gzip_of_several_members_is_read() -> None:
    assert decompress(Codec.GZIP, gzip.compress(b"one, ") + gzip.compress(b"two")) == b"one, two"


def test_lz4_frames_have_independent_blocks() -> None:
    frame = compress(Codec.LZ4, TEXT)

    assert frame[:4] == bytes.fromhex("04224d18")
    # Of the flags byte, the version is 01 and bit 5 says that no block needs the one before it.
    assert frame[4] >> 6 == 1
    assert frame[4] & 0x20


def test_lz4_frames_with_linked_blocks_are_read() -> None:
    compressor = cramjam.lz4.Compressor(block_linked=True)
    compressor.compress(TEXT)

    assert decompress(Codec.LZ4, bytes(compressor.finish())) == TEXT


def test_snappy_is_framed_as_java_frames_it() -> None:
    compressed = compress(Codec.SNAPPY, TEXT)

    assert compressed[:16] == b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
    first_block_bytes = int.from_bytes(compressed[16:20], "big")
    assert cramjam.snappy.decompress_raw_len(compressed[20 : 20 + first_block_bytes]) == 32 * 1024


def test_a_raw_snappy_block_is_read() -> None:
    assert decompress(Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(TEXT))) == TEXT


@pytest.mark.parametrize("length", [-1, 0, 2**31 - 1])
def test_a_snappy_block_of_impossible_length_is_refused(length: int) -> None:
    framed = compress(Codec.SNAPPY, b"")

    with pytest.raises(CorruptMessageError, match="claims to end"):
        decompress(Codec.SNAPPY, framed + length.to_bytes(4, "big", signed=True) + b"xyz")


def test_snappy_blocks_share_one_bound() -> None:
    framed = compress(Codec.SNAPPY, bytes(64 * 1024))

    with pytest.raises(CorruptMessageError, match="32767 are allowed"):
        decompress(Codec.SNAPPY, framed, size_bytes_max=64 * 1024 - 1)
