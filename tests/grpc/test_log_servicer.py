"""The door translates the log's methods faithfully, both ways."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from ottla.record.batch import crc_matches, split_batches
from ottla.record.builder import BatchBuilder
from ottla.v1 import log_pb2, log_pb2_grpc, types_pb2

Error = types_pb2.Error


@pytest.fixture
def log(channel: grpc.aio.Channel) -> Any:  # the stubs do not know streams without generators
    return log_pb2_grpc.LogStub(channel)


def batch(*values: bytes) -> bytes:
    builder = BatchBuilder()
    for value in values:
        builder.append(key=None, value=value, timestamp_ms=5)
    return builder.build()


def records(partition: int = 0, topic: str = "web", **form: object) -> log_pb2.PartitionRecords:
    return log_pb2.PartitionRecords(topic=topic, partition=partition, **form)  # type: ignore[arg-type]


def produce(*partitions: log_pb2.PartitionRecords, acks: int = -1) -> log_pb2.ProduceRequest:
    return log_pb2.ProduceRequest(acks=acks, partitions=partitions, correlation_id=9)


def fetch(offset: int = 0, *, structured: bool = False) -> log_pb2.FetchRequest:
    wanted = log_pb2.FetchPartition(topic="web", partition=0, offset=offset)
    return log_pb2.FetchRequest(partitions=[wanted], structured=structured)


async def test_batches_come_back_as_they_were_sent(log: Any) -> None:
    sent = batch(b"a", b"b")

    produced = await log.Produce(produce(records(batches=sent)))
    fetched = await log.Fetch(fetch())

    assert (produced.partitions[0].base_offset, produced.partitions[0].end_offset) == (0, 2)
    assert fetched.partitions[0].batches[21:] == sent[21:]
    assert fetched.partitions[0].next_offset == 2


async def test_structured_records_come_back_field_by_field(log: Any) -> None:
    sent = [
        types_pb2.Record(key=b"k", value=b"v", timestamp_ms=7),
        types_pb2.Record(
            value=b"", headers=[types_pb2.Header(key="h"), types_pb2.Header(key="i", value=b"")]
        ),
        types_pb2.Record(key=b""),
    ]

    await log.Produce(produce(records(records=sent, compression=types_pb2.COMPRESSION_LZ4)))
    found = (await log.Fetch(fetch(structured=True))).partitions[0].records

    for number, record in enumerate(sent):
        record.offset = number
    sent[1].timestamp_ms = sent[2].timestamp_ms = 1_700_000_000_000  # the broker's clock
    assert list(found) == sent


async def test_structured_records_below_the_offset_are_left_out(log: Any) -> None:
    await log.Produce(produce(records(batches=batch(b"a", b"b", b"c"))))

    found = (await log.Fetch(fetch(2, structured=True))).partitions[0].records

    assert [(record.offset, record.value) for record in found] == [(2, b"c")]


async def test_structured_records_are_built_into_a_sound_batch(log: Any) -> None:
    await log.Produce(produce(records(records=[types_pb2.Record(value=b"v")])))

    fetched = await log.Fetch(fetch())

    assert all(crc_matches(found) for found in split_batches(fetched.partitions[0].batches))


async def test_both_forms_at_once_are_refused_for_that_partition_alone(
    log: Any,
) -> None:
    both = records(batches=batch(b"a"), records=[types_pb2.Record(value=b"v")])
    response = await log.Produce(produce(both, records(1, batches=batch(b"b"))))

    assert [part.error.code for part in response.partitions] == [Error.INVALID_RECORD, Error.NONE]
    assert [part.partition for part in response.partitions] == [0, 1]


async def test_neither_form_is_refused(log: Any) -> None:
    response = await log.Produce(produce(records()))

    assert response.partitions[0].error.code == Error.INVALID_RECORD
    assert response.partitions[0].base_offset == -1


async def test_failed_partition_says_why_and_whether_to_retry(log: Any) -> None:
    response = await log.Produce(produce(records(topic="nowhere", batches=batch(b"a"))))

    error = response.partitions[0].error
    assert error.code == Error.UNKNOWN_TOPIC_OR_PARTITION
    assert "nowhere-0" in error.message
    assert error.retriable


async def test_failed_fetch_says_why(log: Any) -> None:
    response = await log.Fetch(fetch(5))

    assert response.partitions[0].error.code == Error.OFFSET_OUT_OF_RANGE
    assert response.partitions[0].high_watermark == -1


async def test_offsets_are_found(log: Any) -> None:
    await log.Produce(produce(records(batches=batch(b"a"))))
    asked = log_pb2.ListOffsetsRequest.Partition(topic="web", partition=0, latest=True)

    response = await log.ListOffsets(log_pb2.ListOffsetsRequest(partitions=[asked]))

    found = response.partitions[0]
    assert (found.offset, found.timestamp_ms, found.leader_epoch) == (1, -1, 3)


async def test_offset_query_without_a_position_is_an_invalid_request(
    log: Any,
) -> None:
    asked = log_pb2.ListOffsetsRequest.Partition(topic="web", partition=0)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await log.ListOffsets(log_pb2.ListOffsetsRequest(partitions=[asked]))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_deleted_prefix_is_answered_with_the_new_start(log: Any) -> None:
    await log.Produce(produce(records(batches=batch(b"a", b"b"))))

    response = await log.DeleteRecords(
        log_pb2.DeleteRecordsRequest(
            partitions=[
                log_pb2.DeleteRecordsRequest.Partition(topic="web", partition=0, before_offset=1),
                log_pb2.DeleteRecordsRequest.Partition(topic="web", partition=1, before_offset=9),
            ]
        )
    )

    first, second = response.partitions
    assert (first.log_start_offset, first.HasField("error")) == (1, False)
    assert (second.log_start_offset, second.error.code) == (-1, Error.OFFSET_OUT_OF_RANGE)


async def test_epoch_of_a_producer_id_is_raised_on_request(log: Any) -> None:
    fresh = await log.InitProducerId(log_pb2.InitProducerIdRequest())
    raised = await log.InitProducerId(
        log_pb2.InitProducerIdRequest(producer_id=fresh.producer_id, producer_epoch=0)
    )

    assert (raised.producer_id, raised.producer_epoch) == (fresh.producer_id, 1)


async def test_half_of_a_producer_id_is_an_invalid_request(log: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await log.InitProducerId(log_pb2.InitProducerIdRequest(producer_id=4))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
