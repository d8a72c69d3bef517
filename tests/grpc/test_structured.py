"""Records in messages: no answer is larger than a message, and none is lost or repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ottla.cluster.grpc import convert
from ottla.cluster.grpc.structured import ANSWER_BYTES_MAX, RECORD_BYTES_MAX, parts_of
from ottla.cluster.services import FetchFailed, PartitionFetched
from ottla.model.errors import InvalidRecordError, MessageTooLargeError, OffsetOutOfRangeError
from ottla.model.ids import Offset, TopicPartition
from ottla.model.limits import REQUEST_BYTES_MAX
from ottla.record.batch import split_batches, with_header
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec, compress
from ottla.record.varint import encode
from ottla.v1 import log_pb2, types_pb2
from tests.grpc.running_broker import NOW_MS, RunningBroker, produce

WEB = TopicPartition("web", 0)
Error = types_pb2.Error


def batch(*sizes: int, codec: Codec = Codec.ZSTD) -> bytes:
    builder = BatchBuilder(codec)
    for size in sizes:
        builder.append(key=None, value=bytes(size), timestamp_ms=NOW_MS)
    return builder.build()


def expanding(*sizes: int) -> bytes:
    """A batch whose records are larger together than a builder would make them."""
    (one,) = split_batches(batch(0))
    parts = []
    for number, size in enumerate(sizes):
        body = b"\0\0" + encode(number) + encode(-1) + encode(size) + bytes(size) + encode(0)
        parts.append(encode(len(body)) + body)
    header = one.header._replace(
        attributes=Codec.ZSTD, record_count=len(sizes), last_offset_delta=len(sizes) - 1
    )
    return bytes(with_header(header, compress(Codec.ZSTD, b"".join(parts))).view)


def read(records: bytes, *, offset: int = 0, next_offset: int = 0) -> PartitionFetched:
    end = Offset(next_offset)
    return PartitionFetched(WEB, Offset(offset), records, end, end, end, Offset(0))


def malformed() -> bytes:
    """A batch of three records, of which the last is not there."""
    (good,) = split_batches(batch(10, 10, codec=Codec.NONE))
    header = good.header._replace(record_count=3, last_offset_delta=2)
    return bytes(with_header(header, good.records).view)


def test_what_was_read_is_cut_where_an_answer_is_large_enough() -> None:
    parts = list(parts_of(read(batch(*[1000] * 10), next_offset=10), max_bytes=3000))

    assert [[record.offset for record in part.records] for part in parts] == [
        [0, 1, 2], [3, 4, 5], [6, 7, 8], [9],
    ]  # fmt: skip
    assert [part.next_offset for part in parts] == [3, 6, 9, 10]


def test_records_below_the_offset_are_left_out_of_every_part() -> None:
    (part,) = parts_of(read(batch(1, 2, 3), offset=2, next_offset=3))

    assert [record.offset for record in part.records] == [2]


def test_nothing_read_is_one_empty_part() -> None:
    (part,) = parts_of(read(b"", offset=5, next_offset=5))

    assert (part.records, part.next_offset, part.error) == ([], 5, None)


def test_record_that_is_too_large_is_an_error_after_those_before_it() -> None:
    (part,) = parts_of(read(batch(1, RECORD_BYTES_MAX, 1), next_offset=3))

    assert [record.offset for record in part.records] == [0]
    assert part.next_offset == 1
    assert isinstance(part.error, MessageTooLargeError)


def test_malformed_record_is_an_error_after_those_before_it() -> None:
    (part,) = parts_of(read(malformed(), next_offset=3))

    assert [record.offset for record in part.records] == [0, 1]
    assert isinstance(part.error, InvalidRecordError)


def test_answer_leaves_what_does_not_fit_to_the_next_request() -> None:
    reads = [read(batch(1000, 1000), next_offset=2), read(batch(1000), next_offset=1)]

    response = convert.fetched_records(reads, max_bytes=1000)

    first, second = response.partitions
    assert (len(first.records), first.next_offset) == (1, 1)
    assert (len(second.records), second.next_offset) == (0, 0)


def test_failed_partition_is_answered_beside_the_others() -> None:
    failed = FetchFailed(WEB, OffsetOutOfRangeError("no"))

    response = convert.fetched_records([failed, read(batch(1), next_offset=1)])

    assert [part.error.code for part in response.partitions] == [Error.OFFSET_OUT_OF_RANGE, 0]


def test_stream_sends_a_batch_that_expands_in_several_messages() -> None:
    half = RECORD_BYTES_MAX // 2
    large = read(expanding(*[half] * 20), next_offset=20)

    responses, failed = convert.streamed_records([large])

    offsets = [r.offset for response in responses for r in response.partitions[0].records]
    assert offsets == list(range(20))
    assert len(responses) > 1
    assert max(response.ByteSize() for response in responses) <= REQUEST_BYTES_MAX
    assert failed == []


def test_stream_is_told_which_partition_has_to_leave_it() -> None:
    responses, failed = convert.streamed_records([read(malformed(), next_offset=3)])

    records, error = responses[0].partitions
    assert (len(records.records), records.error.code) == (2, 0)
    assert error.error.code == Error.INVALID_RECORD
    assert failed == [WEB]


# --- Through a broker ------------------------------------------------------------------


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    running = await RunningBroker().start()
    await running.create_topic("web", partitions=1)
    yield running
    await running.end()


async def test_batch_that_expands_to_many_messages_can_be_read(broker: RunningBroker) -> None:
    await broker.append(expanding(*[1 << 20] * 30))
    offset, offsets = 0, []

    while offset < 30:
        asked = log_pb2.FetchPartition(topic="web", offset=offset)
        response = await broker.log.Fetch(log_pb2.FetchRequest(partitions=[asked], structured=True))
        assert response.ByteSize() <= REQUEST_BYTES_MAX
        offsets += [record.offset for record in response.partitions[0].records]
        offset = response.partitions[0].next_offset

    assert offsets == list(range(30))


async def test_many_structured_records_are_built_in_order(broker: RunningBroker) -> None:
    requests = [
        log_pb2.ProduceRequest(
            acks=-1,
            partitions=[
                log_pb2.PartitionRecords(
                    topic="web",
                    records=[types_pb2.Record(value=b"%d" % number) for _ in range(size)],
                )
            ],
        )
        # Large ones are built on a thread, small ones are not; neither overtakes the other.
        for number, size in enumerate((20_000, 1, 20_000, 1))
    ]

    answers = [answer async for answer in broker.produce_stream(*requests)]

    assert [answer.partitions[0].base_offset for answer in answers] == [0, 20_000, 20_001, 40_001]


async def test_record_too_large_for_a_message_says_how_to_get_it(broker: RunningBroker) -> None:
    await broker.append(batch(RECORD_BYTES_MAX + 1))
    asked = log_pb2.FetchPartition(topic="web")

    response = await broker.log.Fetch(log_pb2.FetchRequest(partitions=[asked], structured=True))
    plain = await broker.fetch()

    assert response.partitions[0].error.code == Error.MESSAGE_TOO_LARGE
    assert plain.next_offset == 1


async def test_stream_drops_a_partition_whose_records_cannot_be_sent(
    broker: RunningBroker,
) -> None:
    await broker.append(batch(1), batch(RECORD_BYTES_MAX + 1))
    stream = broker.fetch_stream()
    await stream.write(
        log_pb2.FetchStreamRequest(
            partitions=[log_pb2.FetchPartition(topic="web")],
            credit_bytes=1 << 20,
            structured=True,
        )
    )

    good, bad = (await stream.read()).partitions
    await broker.log.Produce(produce((0, batch(1))))
    await stream.write(
        log_pb2.FetchStreamRequest(partitions=[log_pb2.FetchPartition(topic="web", offset=2)])
    )
    again = await stream.read()

    assert [record.offset for record in good.records] == [0]
    assert bad.error.code == Error.MESSAGE_TOO_LARGE
    assert [record.offset for record in again.partitions[0].records] == [2]
    stream.cancel()


async def test_stream_whose_client_has_closed_ends_with_its_credit(broker: RunningBroker) -> None:
    await broker.append(batch(1))
    stream = broker.fetch_stream()
    await stream.write(
        log_pb2.FetchStreamRequest(partitions=[log_pb2.FetchPartition(topic="web")], credit_bytes=1)
    )
    await stream.done_writing()

    answers = [answer async for answer in stream]

    assert [answer.partitions[0].next_offset for answer in answers] == [1]


def test_answer_and_one_more_record_fit_into_a_message() -> None:
    assert ANSWER_BYTES_MAX + RECORD_BYTES_MAX < REQUEST_BYTES_MAX
