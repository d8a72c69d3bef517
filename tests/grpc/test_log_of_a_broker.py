"""Every method of ``ottla.v1.Log`` does what its page says, against a whole broker."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import grpc
import pytest

from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX, REQUEST_BYTES_MAX
from ottla.v1 import log_pb2, types_pb2
from tests.grpc.running_broker import (
    NOW_MS,
    RunningBroker,
    bases,
    batch,
    produce,
    refusal,
)

Error = types_pb2.Error
INVALID_ARGUMENT = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    running = await RunningBroker().start()
    await running.create_topic("web", partitions=2)
    yield running
    await running.end()


def damaged(position: int) -> bytes:
    content = bytearray(batch())
    content[position] ^= 0x10
    return bytes(content)


# --- Produce ------------------------------------------------------------------------------


async def test_produce_answers_with_the_offsets(broker: RunningBroker) -> None:
    response = await broker.log.Produce(
        produce((0, batch(b"a", b"b")), (1, batch()), correlation_id=9)
    )

    assert response.correlation_id == 9
    first, second = response.partitions
    assert (first.topic, first.partition, first.base_offset, first.end_offset) == ("web", 0, 0, 2)
    assert (second.partition, second.base_offset, second.log_append_time_ms) == (1, 0, -1)


async def test_structured_records_become_a_batch(broker: RunningBroker) -> None:
    records = [
        types_pb2.Record(
            key=b"k",
            value=b"v",
            timestamp_ms=NOW_MS,
            headers=[types_pb2.Header(key="h", value=b"1"), types_pb2.Header(key="null")],
        ),
        types_pb2.Record(value=b""),
        types_pb2.Record(key=b"tombstone"),
    ]
    part = log_pb2.PartitionRecords(
        topic="web", records=records, compression=types_pb2.COMPRESSION_ZSTD
    )

    appended = await broker.log.Produce(log_pb2.ProduceRequest(acks=-1, partitions=[part]))
    asked = log_pb2.FetchPartition(topic="web", offset=1)
    fetched = await broker.log.Fetch(log_pb2.FetchRequest(partitions=[asked], structured=True))

    assert appended.partitions[0].end_offset == 3
    found = fetched.partitions[0]
    assert (found.batches, found.next_offset) == (b"", 3)
    assert [record.offset for record in found.records] == [1, 2]
    assert found.records[0].HasField("value")
    assert not found.records[0].HasField("key")
    assert not found.records[1].HasField("value")
    assert found.records[0].timestamp_ms > NOW_MS  # when the broker read it


@pytest.mark.parametrize(
    ("batches", "code"),
    [
        (b"no batch at all", Error.CORRUPT_MESSAGE),
        (damaged(17), Error.CORRUPT_MESSAGE),
        (damaged(65), Error.CORRUPT_MESSAGE),
        (damaged(7), Error.INVALID_RECORD),
        (batch(bytes(2 << 20)), Error.MESSAGE_TOO_LARGE),
        (b"", Error.INVALID_RECORD),
    ],
)
async def test_bad_batch_fails_alone_and_nothing_of_it_is_appended(
    broker: RunningBroker, batches: bytes, code: int
) -> None:
    response = await broker.log.Produce(produce((0, batches), (1, batch())))

    bad, good = response.partitions
    assert (bad.error.code, bad.base_offset, bad.end_offset) == (code, -1, -1)
    assert good.error.code == Error.NONE
    assert await broker.log_ends() == {"web-0": 0, "web-1": 1}


async def test_both_forms_of_records_are_refused(broker: RunningBroker) -> None:
    part = log_pb2.PartitionRecords(
        topic="web", batches=batch(), records=[types_pb2.Record(value=b"v")]
    )

    response = await broker.log.Produce(log_pb2.ProduceRequest(acks=-1, partitions=[part]))

    assert response.partitions[0].error.code == Error.INVALID_RECORD
    assert await broker.log_ends() == {"web-0": 0, "web-1": 0}


@pytest.mark.parametrize(("topic", "partition"), [("web", -1), ("web", 2), ("no/topic", 0)])
async def test_partition_that_does_not_exist_is_unknown(
    broker: RunningBroker, topic: str, partition: int
) -> None:
    response = await broker.log.Produce(produce((partition, batch()), topic=topic))

    assert response.partitions[0].error.code == Error.UNKNOWN_TOPIC_OR_PARTITION
    assert response.partitions[0].error.retriable


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (produce((0, batch()), acks=5), Error.INVALID_REQUIRED_ACKS),
        (produce((0, batch()), (0, batch())), Error.INVALID_REQUEST),
        (
            produce(*((n, b"x") for n in range(PARTITIONS_PER_REQUEST_MAX + 1))),
            Error.INVALID_REQUEST,
        ),
        (log_pb2.ProduceRequest(acks=-1, timeout_ms=-1), Error.INVALID_REQUEST),
        (log_pb2.ProduceRequest(acks=-1, timeout_ms=600_001), Error.INVALID_REQUEST),
    ],
)
async def test_bad_request_is_refused_as_a_whole(
    broker: RunningBroker, request_: log_pb2.ProduceRequest, code: int
) -> None:
    assert await refusal(broker.log.Produce(request_)) == (INVALID_ARGUMENT, code)
    assert await broker.log_ends() == {"web-0": 0, "web-1": 0}


async def test_message_over_the_limit_is_refused(broker: RunningBroker) -> None:
    status, _ = await refusal(broker.log.Produce(produce((0, bytes(REQUEST_BYTES_MAX + 1)))))

    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await broker.append()).error.code == Error.NONE


async def test_largest_batch_there_may_be_goes_in_and_comes_out(broker: RunningBroker) -> None:
    await broker.create_topic("large", partitions=1, max_message_bytes=str(REQUEST_BYTES_MAX))
    large = batch(bytes(REQUEST_BYTES_MAX - (64 << 10) - 100))

    appended = await broker.log.Produce(produce((0, large), topic="large"))
    fetched = await broker.log.Fetch(
        log_pb2.FetchRequest(partitions=[log_pb2.FetchPartition(topic="large")])
    )

    assert appended.partitions[0].error.code == Error.NONE
    assert len(fetched.partitions[0].batches) == len(large)
    assert fetched.ByteSize() <= REQUEST_BYTES_MAX


# --- ProduceStream ------------------------------------------------------------------------


async def test_stream_answers_in_the_order_of_its_requests(broker: RunningBroker) -> None:
    requests = [produce((n % 2, batch()), correlation_id=n) for n in range(100)]

    responses = [response async for response in broker.produce_stream(*requests)]

    assert [response.correlation_id for response in responses] == list(range(100))
    assert [response.partitions[0].base_offset for response in responses] == [
        n // 2 for n in range(100)
    ]


async def test_stream_appends_before_it_is_answered(broker: RunningBroker) -> None:
    broker.disk.hold()
    stream = broker.produce_stream()
    for number in range(3):
        await stream.write(produce((0, batch()), correlation_id=number))
    await broker.wait_for_log_end("web-0", 3)

    broker.disk.let_go()
    await stream.done_writing()

    assert [response.correlation_id async for response in stream] == [0, 1, 2]


async def test_stream_without_acks_is_answered_all_the_same(broker: RunningBroker) -> None:
    responses = [r async for r in broker.produce_stream(produce((0, batch()), acks=0))]

    assert responses[0].partitions[0].end_offset == 1


async def test_bad_batch_does_not_end_the_stream(broker: RunningBroker) -> None:
    requests = [produce((0, damaged(17))), produce((0, batch()))]

    responses = [response async for response in broker.produce_stream(*requests)]

    assert [r.partitions[0].error.code for r in responses] == [Error.CORRUPT_MESSAGE, Error.NONE]


async def test_bad_request_ends_the_stream_after_the_answers_before_it(
    broker: RunningBroker,
) -> None:
    stream = broker.produce_stream(produce((0, batch())), produce((0, batch()), acks=5))

    first = await stream.read()

    assert first.partitions[0].base_offset == 0
    assert await refusal(stream.read()) == (INVALID_ARGUMENT, Error.INVALID_REQUIRED_ACKS)


# --- Fetch ----------------------------------------------------------------------------------


async def test_fetch_returns_the_batches_as_they_were_sent(broker: RunningBroker) -> None:
    sent = batch(b"a", b"b")
    await broker.append(sent)

    found = await broker.fetch()

    assert found.batches[16:] == sent[16:]
    assert (found.high_watermark, found.last_stable_offset, found.next_offset) == (2, 2, 2)


@pytest.mark.parametrize("offset", [-1, 2, 1_000_000])
async def test_fetch_outside_the_log_is_out_of_range(broker: RunningBroker, offset: int) -> None:
    await broker.append()

    found = await broker.fetch(offset)

    assert (found.error.code, found.next_offset) == (Error.OFFSET_OUT_OF_RANGE, -1)


async def test_fetch_of_an_unknown_partition_fails_alone(broker: RunningBroker) -> None:
    await broker.append()
    asked = [
        log_pb2.FetchPartition(topic="web", partition=7),
        log_pb2.FetchPartition(topic="web", partition=0),
    ]

    response = await broker.log.Fetch(log_pb2.FetchRequest(partitions=asked))

    assert [part.error.code for part in response.partitions] == [
        Error.UNKNOWN_TOPIC_OR_PARTITION,
        Error.NONE,
    ]


@pytest.mark.parametrize(
    ("epoch", "code"), [(99, Error.UNKNOWN_LEADER_EPOCH), (-1, Error.FENCED_LEADER_EPOCH)]
)
async def test_leader_epoch_that_is_not_the_brokers_is_told(
    broker: RunningBroker, epoch: int, code: int
) -> None:
    asked = log_pb2.FetchPartition(topic="web", current_leader_epoch=epoch)

    response = await broker.log.Fetch(log_pb2.FetchRequest(partitions=[asked]))

    assert response.partitions[0].error.code == code


async def test_long_poll_wakes_on_append(broker: RunningBroker) -> None:
    asked = log_pb2.FetchPartition(topic="web")
    poll = asyncio.ensure_future(
        broker.log.Fetch(log_pb2.FetchRequest(partitions=[asked], max_wait_ms=60_000))
    )
    await broker.fetch()  # a round trip, so that the poll has arrived

    await broker.append()

    assert bases((await poll).partitions[0]) == [0]


@pytest.mark.parametrize(
    "limits", [{"max_wait_ms": 60_001}, {"max_bytes": 7 * (1 << 20) + 1}, {"min_bytes": -1}]
)
async def test_impossible_fetch_is_refused_as_a_whole(
    broker: RunningBroker, limits: dict[str, int]
) -> None:
    request = log_pb2.FetchRequest(
        partitions=[log_pb2.FetchPartition(topic="web")],
        **limits,  # type: ignore[arg-type]
    )

    assert await refusal(broker.log.Fetch(request)) == (INVALID_ARGUMENT, Error.INVALID_REQUEST)


# --- FetchStream -----------------------------------------------------------------------------


async def test_stream_sends_what_is_there_and_what_comes(broker: RunningBroker) -> None:
    await broker.append()
    asked = log_pb2.FetchPartition(topic="web")
    stream = broker.fetch_stream()
    await stream.write(log_pb2.FetchStreamRequest(partitions=[asked], credit_bytes=1 << 20))
    there = await stream.read()

    await broker.append()
    came = await stream.read()

    assert (bases(there.partitions[0]), bases(came.partitions[0])) == ([0], [1])
    stream.cancel()


async def test_stream_keeps_to_its_credit(broker: RunningBroker) -> None:
    sent = batch(bytes(1_000))
    await broker.append(*(sent for _ in range(5)))
    stream = broker.fetch_stream()
    await stream.write(
        log_pb2.FetchStreamRequest(
            partitions=[log_pb2.FetchPartition(topic="web")], credit_bytes=2 * len(sent)
        )
    )

    first = await stream.read()
    await stream.write(log_pb2.FetchStreamRequest(credit_bytes=len(sent)))
    second = await stream.read()

    assert (bases(first.partitions[0]), bases(second.partitions[0])) == ([0, 1], [2])
    stream.cancel()


async def test_partition_that_fails_leaves_the_stream_and_the_others_stay(
    broker: RunningBroker,
) -> None:
    stream = broker.fetch_stream()
    await stream.write(
        log_pb2.FetchStreamRequest(
            partitions=[
                log_pb2.FetchPartition(topic="web", partition=9),
                log_pb2.FetchPartition(topic="web", partition=0),
            ],
            credit_bytes=1 << 20,
        )
    )
    failed = await stream.read()
    await broker.append()
    came = await stream.read()

    assert failed.partitions[0].error.code == Error.UNKNOWN_TOPIC_OR_PARTITION
    assert bases(came.partitions[0]) == [0]
    stream.cancel()


async def test_impossible_credit_ends_the_stream(broker: RunningBroker) -> None:
    stream = broker.fetch_stream()
    await stream.write(log_pb2.FetchStreamRequest(credit_bytes=-1))

    assert await refusal(stream.read()) == (INVALID_ARGUMENT, Error.INVALID_REQUEST)


async def test_structured_stream_sends_records(broker: RunningBroker) -> None:
    await broker.append(batch(b"a", b"b"))
    stream = broker.fetch_stream()
    await stream.write(
        log_pb2.FetchStreamRequest(
            partitions=[log_pb2.FetchPartition(topic="web", offset=1)],
            credit_bytes=1,
            structured=True,
        )
    )

    (part,) = (await stream.read()).partitions

    assert [(record.offset, record.value) for record in part.records] == [(1, b"b")]
    stream.cancel()


# --- Offsets -----------------------------------------------------------------------------------


async def test_positions_are_found(broker: RunningBroker) -> None:
    await broker.append(batch(b"a"), batch(b"b"))
    ask = log_pb2.ListOffsetsRequest.Partition

    for question, answer in (
        (ask(topic="web", earliest=True), (0, -1)),
        (ask(topic="web", latest=True), (2, -1)),
        (ask(topic="web", timestamp_ms=NOW_MS), (0, NOW_MS)),
        (ask(topic="web", timestamp_ms=NOW_MS + 1), (-1, -1)),
        (ask(topic="web", max_timestamp=True), (0, NOW_MS)),
        (ask(topic="web", partition=1, max_timestamp=True), (-1, -1)),
    ):
        response = await broker.log.ListOffsets(log_pb2.ListOffsetsRequest(partitions=[question]))
        found = response.partitions[0]
        assert (found.error.code, found.offset, found.timestamp_ms) == (0, *answer), question


async def test_position_of_an_unknown_partition_fails_alone(broker: RunningBroker) -> None:
    ask = log_pb2.ListOffsetsRequest.Partition
    response = await broker.log.ListOffsets(
        log_pb2.ListOffsetsRequest(
            partitions=[ask(topic="x", latest=True), ask(topic="web", latest=True)]
        )
    )

    assert [part.error.code for part in response.partitions] == [3, 0]
    assert response.partitions[0].offset == -1


async def test_deleted_records_are_gone(broker: RunningBroker) -> None:
    await broker.append(batch(b"a", b"b", b"c"))
    ask = log_pb2.DeleteRecordsRequest.Partition

    deleted = await broker.log.DeleteRecords(
        log_pb2.DeleteRecordsRequest(partitions=[ask(topic="web", before_offset=2)])
    )
    beyond = await broker.log.DeleteRecords(
        log_pb2.DeleteRecordsRequest(partitions=[ask(topic="web", before_offset=4)])
    )
    everything = await broker.log.DeleteRecords(
        log_pb2.DeleteRecordsRequest(partitions=[ask(topic="web", before_offset=-1)])
    )

    assert deleted.partitions[0].log_start_offset == 2
    assert beyond.partitions[0].error.code == Error.OFFSET_OUT_OF_RANGE
    assert everything.partitions[0].log_start_offset == 3
    assert (await broker.fetch(1)).error.code == Error.OFFSET_OUT_OF_RANGE


async def test_producer_ids_are_new_and_epochs_rise(broker: RunningBroker) -> None:
    first = await broker.log.InitProducerId(log_pb2.InitProducerIdRequest())
    second = await broker.log.InitProducerId(log_pb2.InitProducerIdRequest())
    raised = await broker.log.InitProducerId(
        log_pb2.InitProducerIdRequest(producer_id=first.producer_id, producer_epoch=0)
    )

    assert first.producer_id != second.producer_id
    assert (raised.producer_id, raised.producer_epoch) == (first.producer_id, 1)


async def test_half_a_producer_is_refused(broker: RunningBroker) -> None:
    call = broker.log.InitProducerId(log_pb2.InitProducerIdRequest(producer_id=5))

    assert await refusal(call) == (INVALID_ARGUMENT, Error.INVALID_REQUEST)


# --- The disk ------------------------------------------------------------------------------------


async def test_what_was_acknowledged_is_there_after_a_power_failure(broker: RunningBroker) -> None:
    for number in range(5):
        await broker.append(batch(b"%d" % number))

    await broker.crash_and_start()

    assert bases(await broker.fetch()) == [0, 1, 2, 3, 4]
    assert (await broker.append()).base_offset == 5


async def test_clean_restart_keeps_everything_even_without_acks(broker: RunningBroker) -> None:
    await broker.log.Produce(produce((0, batch()), acks=0))

    await broker.stop()
    await broker.start()

    assert bases(await broker.fetch()) == [0]


@pytest.mark.parametrize(
    ("operation", "number"), [("append", errno.ENOSPC), ("append", errno.EIO), ("sync", errno.EIO)]
)
async def test_failing_disk_is_told_and_stops_writes_until_a_restart(
    broker: RunningBroker, operation: str, number: int
) -> None:
    acknowledged = await broker.append()
    broker.disk.fail(operation, number, name_suffix="0.log")

    failed = await broker.append()
    other = await broker.append(partition=1)
    readable = await broker.fetch()
    await broker.crash_and_start()

    assert acknowledged.error.code == Error.NONE
    assert [failed.error.code, other.error.code] == [Error.KAFKA_STORAGE_ERROR] * 2
    assert bases(readable) == [0]
    assert 0 in bases(await broker.fetch())
    assert (await broker.append(partition=1)).error.code == Error.NONE
