"""A batch made from another keeps everything but what had to change."""

from __future__ import annotations

import pytest

from ottla.model.errors import CorruptMessageError
from ottla.record.batch import BatchHeader, RecordBatch, crc_matches, with_header
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.record.records import iterate_records
from ottla.record.rewriting import recompressed, with_true_max_timestamp


def batch(codec: Codec = Codec.NONE, **fields: int) -> RecordBatch:
    builder = BatchBuilder(codec, producer_id=5, producer_epoch=1, base_sequence=9)
    for timestamp_ms in (1000, 3000, 2000):
        builder.append(key=b"key", value=b"value" * 20, timestamp_ms=timestamp_ms)
    built = RecordBatch.at(builder.build())
    return with_header(built.header._replace(base_offset=70, **fields), built.records)


def kept(header: BatchHeader) -> BatchHeader:
    """Leave out what follows from the bytes."""
    return header._replace(crc=0, batch_length=0)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("claimed", [0, 2000, 5000])
def test_a_wrong_max_timestamp_is_put_right(codec: Codec, claimed: int) -> None:
    wrong = batch(codec, max_timestamp=claimed)

    right = with_true_max_timestamp(wrong)

    assert crc_matches(right)
    assert kept(right.header) == kept(wrong.header)._replace(max_timestamp=3000)
    assert right.records == wrong.records


def test_a_right_max_timestamp_is_left_alone() -> None:
    right = batch()

    assert with_true_max_timestamp(right) is right


def test_the_broker_s_own_timestamp_is_left_alone() -> None:
    stamped = batch(attributes=0x08, max_timestamp=9999)

    assert with_true_max_timestamp(stamped) is stamped


def test_a_batch_without_records_is_left_alone() -> None:
    empty = with_header(batch().header._replace(record_count=0), b"")

    assert with_true_max_timestamp(empty) is empty


@pytest.mark.parametrize("before", Codec)
@pytest.mark.parametrize("after", Codec)
def test_records_survive_every_change_of_codec(before: Codec, after: Codec) -> None:
    original = batch(before)

    changed = recompressed(original, after)

    assert crc_matches(changed)
    assert changed.header.codec is after
    assert kept(changed.header)._replace(attributes=before) == kept(original.header)
    assert list(iterate_records(changed)) == list(iterate_records(original))


def test_the_same_codec_changes_nothing() -> None:
    original = batch(Codec.ZSTD)

    assert recompressed(original, Codec.ZSTD) is original


def test_other_attributes_survive_a_change_of_codec() -> None:
    changed = recompressed(batch(attributes=0x58), Codec.GZIP)

    assert changed.header.attributes == 0x59


def test_records_that_do_not_decompress_cannot_be_compressed_anew() -> None:
    with pytest.raises(CorruptMessageError):
        recompressed(batch(attributes=Codec.LZ4), Codec.ZSTD)
