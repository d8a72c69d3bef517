"""Two independent implementations build the bytes that we build, and we read each other's batches.

aiokafka brings all codecs along. kafka-python needs a package for each of snappy, lz4 and zstd;
where one is not installed, only that codec's exchange with kafka-python is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import aiokafka.codec
import kafka.codec
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder as AiokafkaBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy as AiokafkaPythonBuilder
from aiokafka.record.memory_records import MemoryRecords as AiokafkaMemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.record.default_records import DefaultRecordBatchBuilder as KafkaPythonBuilder
from kafka.record.memory_records import MemoryRecords as KafkaPythonMemoryRecords

from ottla.record.batch import (
    RecordBatch,
    crc_matches,
    restamp_in_place,
    restamped,
    split_batches,
    with_log_append_time,
)
from ottla.record.builder import BatchBuilder, Headers
from ottla.record.compression import Codec
from ottla.record.records import Record, iterate_records

Content = tuple[bytes | None, bytes | None, Headers, int]
Build = Callable[[Codec, Sequence[Content], int], bytes]
Read = Callable[[bytes], list[Record]]

BYTES = st.binary(max_size=20) | st.sampled_from([63, 64, 8100, 8170, 8191, 8192]).map(bytes)
RECORDS = st.lists(
    st.tuples(
        st.none() | BYTES,
        st.none() | BYTES,
        st.lists(st.tuples(st.text(max_size=5), st.none() | BYTES), max_size=3),
        st.integers(0, 2**62) | st.integers(1_700_000_000_000, 1_700_000_000_100),
    ),
    min_size=1,
    max_size=8,
)
SAMPLE: list[Content] = [
    (b"key-%d" % (index % 7), b"value %d " % index * 9, [("h", b"1"), ("é", None)], 1000 + index)
    for index in range(300)
] + [(None, None, (), 5), (b"", b"", (), 2**40)]


def ours(codec: Codec, records: Sequence[Content], producer_id: int) -> bytes:
    builder = BatchBuilder(
        codec,
        producer_id=producer_id,
        producer_epoch=3 if producer_id >= 0 else -1,
        base_sequence=2**31 - 1 if producer_id >= 0 else -1,
        is_transactional=producer_id >= 0,
    )
    for key, value, headers, timestamp_ms in records:
        builder.append(key=key, value=value, headers=headers, timestamp_ms=timestamp_ms)
    return builder.build()


def built_by(builder_type: Any) -> Build:
    """Wrap a builder class; aiokafka's two and kafka-python's are called in the same way."""

    def build(codec: Codec, records: Sequence[Content], producer_id: int) -> bytes:
        has_producer = producer_id >= 0
        builder = builder_type(
            magic=2,
            compression_type=int(codec),
            is_transactional=1 if has_producer else 0,
            producer_id=producer_id,
            producer_epoch=3 if has_producer else -1,
            base_sequence=2**31 - 1 if has_producer else -1,
            batch_size=2**24,
        )
        for offset, (key, value, headers, timestamp_ms) in enumerate(records):
            builder.append(offset, timestamp_ms, key, value, list(headers))
        return bytes(builder.build())

    return build


def read_by(memory_records_type: Any) -> Read:
    def read(batches: bytes) -> list[Record]:
        memory_records = memory_records_type(batches)
        records = []
        while memory_records.has_next():
            batch = memory_records.next_batch()
            assert batch.validate_crc()
            records += [
                Record(each.offset, each.timestamp, each.key, each.value, tuple(each.headers))
                for each in batch
            ]
        return records

    return read


class Implementation(NamedTuple):
    name: str
    build: Build
    read: Read
    codecs: Iterable[Codec]


def available(codec_module: Any) -> list[Codec]:
    has = {
        Codec.NONE: True,
        Codec.GZIP: codec_module.has_gzip(),
        Codec.SNAPPY: codec_module.has_snappy(),
        Codec.LZ4: codec_module.has_lz4(),
        Codec.ZSTD: codec_module.has_zstd(),
    }
    return [codec for codec in Codec if has[codec]]


OTHERS = [
    Implementation(
        "aiokafka",
        built_by(AiokafkaBuilder),
        read_by(AiokafkaMemoryRecords),
        available(aiokafka.codec),
    ),
    Implementation(
        "aiokafka-python",
        built_by(AiokafkaPythonBuilder),
        read_by(AiokafkaMemoryRecords),
        [Codec.NONE],
    ),
    Implementation(
        "kafka-python",
        built_by(KafkaPythonBuilder),
        read_by(KafkaPythonMemoryRecords),
        available(kafka.codec),
    ),
]
EACH = pytest.mark.parametrize("other", OTHERS, ids=lambda other: other.name)
EACH_CODEC = pytest.mark.parametrize(
    ("other", "codec"),
    [
        pytest.param(other, codec, id=f"{other.name}-{codec.name.lower()}")
        for other in OTHERS
        for codec in other.codecs
    ],
)


def read_by_us(batches: bytes) -> list[Record]:
    return [record for batch in split_batches(batches) for record in iterate_records(batch)]


def without_epoch(batch: bytes) -> bytes:
    """Set what clients fill in as they like and the leader overwrites."""
    unified = bytearray(batch)
    restamp_in_place(unified, 0, base_offset=0, leader_epoch=0)
    return bytes(unified)


@EACH
@given(records=RECORDS, producer_id=st.integers(-1, 2**63 - 1))
def test_we_build_the_very_same_bytes(
    other: Implementation, records: list[Content], producer_id: int
) -> None:
    theirs = other.build(Codec.NONE, records, producer_id)

    assert without_epoch(ours(Codec.NONE, records, producer_id)) == without_epoch(theirs)


@EACH
def test_we_build_the_very_same_bytes_for_thousands_of_records(other: Implementation) -> None:
    many: list[Content] = [(None, b"v%d" % index, (), 1000 + index // 50) for index in range(9000)]

    theirs = other.build(Codec.NONE, many, -1)

    assert without_epoch(ours(Codec.NONE, many, -1)) == without_epoch(theirs)


@EACH_CODEC
@settings(max_examples=30)
@given(records=RECORDS)
def test_they_read_what_we_build(
    other: Implementation, codec: Codec, records: list[Content]
) -> None:
    batch = ours(codec, records, -1)

    assert other.read(batch) == read_by_us(batch)


@EACH_CODEC
@settings(max_examples=30)
@given(records=RECORDS)
def test_we_read_what_they_build(
    other: Implementation, codec: Codec, records: list[Content]
) -> None:
    batch = other.build(codec, records, -1)

    assert crc_matches(RecordBatch.at(batch))
    assert read_by_us(batch) == other.read(batch)


@EACH_CODEC
def test_batches_that_really_are_compressed_go_both_ways(
    other: Implementation, codec: Codec
) -> None:
    from_us, from_them = ours(codec, SAMPLE, -1), other.build(codec, SAMPLE, -1)

    assert RecordBatch.at(from_us).header.codec is RecordBatch.at(from_them).header.codec is codec
    assert other.read(from_us) == read_by_us(from_us) == read_by_us(from_them)


@EACH_CODEC
def test_they_read_what_a_leader_has_stamped(other: Implementation, codec: Codec) -> None:
    stamped = with_log_append_time(RecordBatch.at(ours(codec, SAMPLE, -1)), now_ms=77)
    placed = b"".join(restamped(stamped, base_offset=1000, leader_epoch=4))

    records = other.read(placed)

    assert records == read_by_us(placed)
    assert {record.timestamp_ms for record in records} == {77}
    assert records[0].offset == 1000
