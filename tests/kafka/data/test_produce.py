"""Produce of Kafka appends what was sent, and answers each version as it expects."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ottla.kafka.handling import Begun, DisconnectError
from ottla.model.limits import PRODUCE_TIMEOUT_MAX_MS
from ottla.record.batch import RecordBatch, TimestampType, split_batches, with_header
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.wire.messages.produce import (
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
)
from tests.cluster.world import ME, OTHER, START_MS, batch, until
from tests.kafka.data.door import DataDoor, context

NONE, CORRUPT, UNKNOWN_TOPIC, NOT_LEADER, TIMED_OUT, TOO_LARGE = 0, 2, 3, 6, 7, 10
INVALID_ACKS, INVALID_TIMESTAMP, INVALID_REQUEST, OUT_OF_ORDER = 21, 32, 42, 45
INVALID_EPOCH, INVALID_TXN_STATE, STORAGE, UNSUPPORTED_COMPRESSION, INVALID_RECORD = (
    47, 48, 56, 76, 87,
)  # fmt: skip
NOT_ENOUGH_REPLICAS, NOT_ENOUGH_AFTER, UNKNOWN_TOPIC_ID = 19, 20, 100
VERSIONS = range(3, 14)


def numbered(sequence: int, *values: bytes, producer_id: int = 7, epoch: int = 0) -> bytes:
    return batch(
        *(values or (b"v",)), producer_id=producer_id, producer_epoch=epoch, sequence=sequence
    )


def altered(content: bytes, **fields: int) -> bytes:
    """Change fields of the header and give it the right checksum again."""
    (whole,) = split_batches(content)
    return bytes(with_header(whole.header._replace(**fields), whole.records).view)


# --- What is answered -------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_gets_the_offset_of_its_first_record(
    door: DataDoor, version: int
) -> None:
    await door.produced(batch(b"a", b"b"), version=version)

    answer = await door.produced(version=version)

    assert (answer.index, answer.error_code, answer.base_offset) == (0, NONE, 2)
    assert answer.log_append_time_ms == -1
    assert answer.log_start_offset == (0 if version >= 5 else -1)
    assert (answer.error_message, answer.record_errors, answer.current_leader) == (None, [], None)


async def test_what_is_stored_is_what_was_sent(door: DataDoor) -> None:
    sent = batch(b"a", b"b", codec=Codec.LZ4)

    await door.produced(sent)

    stored = (await door.fetched()).records
    assert stored is not None
    assert bytes(stored)[16:] == sent[16:]


async def test_a_topic_is_answered_as_it_was_named(door: DataDoor) -> None:
    by_name = await door.begin(("web", 1, batch()), version=12)
    by_id = await door.begin(("web", 1, batch()), version=13)

    assert by_name is not None
    assert by_id is not None
    assert by_name.responses[0].name == "web"
    assert by_id.responses[0].topic_id == door.topic_id("web")


async def test_requests_are_appended_when_they_are_handled_and_answered_when_committed(
    door: DataDoor,
) -> None:
    door.world.disk.hold()
    first, second = (door.begin(("web", 0, batch(value))) for value in (b"1", b"2"))
    assert door.world.log_end() == 2

    waiting = asyncio.ensure_future(asyncio.gather(first, second))
    await until(lambda: door.world.disk.waiting)
    assert not waiting.done()
    door.world.disk.let_go()

    offsets = [
        response.responses[0].partition_responses[0].base_offset
        for response in await waiting
        if response is not None
    ]
    assert offsets == [0, 1]


async def test_acks_of_the_leader_alone_does_not_wait_for_the_disk(door: DataDoor) -> None:
    door.world.disk.hold()

    assert (await door.produced(acks=1)).error_code == NONE


@pytest.mark.parametrize("acks", [-2, 2, 32_767])
async def test_other_acks_are_refused_in_every_partition(door: DataDoor, acks: int) -> None:
    response = await door.begin(("web", 0, batch()), ("web", 1, batch()), acks=acks)

    assert response is not None
    codes = [topic.partition_responses[0].error_code for topic in response.responses]
    assert codes == [INVALID_ACKS, INVALID_ACKS]
    assert door.world.log_end() == 0


async def test_partitions_fail_by_themselves(door: DataDoor) -> None:
    response = await door.begin(
        ("web", 0, b""), ("web", 1, batch()), ("web", 2, batch()), ("gone", 0, batch()), version=12
    )

    assert response is not None
    codes = [topic.partition_responses[0].error_code for topic in response.responses]
    assert codes == [INVALID_RECORD, NONE, UNKNOWN_TOPIC, UNKNOWN_TOPIC]


async def test_an_unknown_topic_id_is_said_to_be_one(door: DataDoor) -> None:
    answer = await door.produced(name="gone", version=13)

    assert answer.error_code == UNKNOWN_TOPIC_ID
    assert (answer.base_offset, answer.log_start_offset) == (-1, -1)


async def test_a_partition_named_twice_is_refused(door: DataDoor) -> None:
    response = await door.begin(("web", 0, batch()), ("web", 0, batch()))

    assert response is not None
    codes = [topic.partition_responses[0].error_code for topic in response.responses]
    assert codes == [INVALID_REQUEST, INVALID_REQUEST]


async def test_a_request_that_is_not_committed_in_time_is_timed_out(door: DataDoor) -> None:
    door.world.disk.hold()
    waiting = asyncio.ensure_future(door.produced(timeout_ms=500))
    await until(lambda: door.world.disk.waiting)
    door.world.clock.passed_ms += 501
    door.world.waiters.commits.expire_due()

    assert (await waiting).error_code == TIMED_OUT


@pytest.mark.parametrize("timeout_ms", [-1, 0, PRODUCE_TIMEOUT_MAX_MS + 1])
async def test_no_timeout_is_refused(door: DataDoor, timeout_ms: int) -> None:
    assert (await door.produced(timeout_ms=timeout_ms)).error_code == NONE


async def test_too_few_replicas_in_sync_are_an_error_before_anything_is_appended(
    door: DataDoor,
) -> None:
    await door.world.change_partition("web", 0, replicas=(ME, OTHER), in_sync_replicas=(ME,))
    await door.world.alter_topic("web", min_insync_replicas="2")

    assert (await door.produced()).error_code == NOT_ENOUGH_REPLICAS
    assert door.world.log_end() == 0


# --- What is no batch -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "code"),
    [
        (None, INVALID_RECORD),
        (b"", INVALID_RECORD),
        (b"short", CORRUPT),
        (batch() + batch(), INVALID_RECORD),
        (batch()[:16] + b"\x01" + batch()[17:], INVALID_RECORD),
        (batch()[:-1], CORRUPT),
        (batch()[:-1] + b"\xff", CORRUPT),
        (altered(batch(), attributes=0x20), INVALID_RECORD),
        (altered(batch(), attributes=0x08), INVALID_TIMESTAMP),
        (altered(batch(), base_offset=1), INVALID_RECORD),
        (altered(batch(), record_count=0), INVALID_RECORD),
        (altered(batch(), last_offset_delta=3), INVALID_RECORD),
        (altered(numbered(0), base_sequence=-1), INVALID_RECORD),
    ],
    ids=[
        "null", "empty", "too short", "two batches", "magic 1", "cut", "wrong checksum",
        "control batch", "log append time", "base offset", "no records", "wrong count",
        "no sequence",
    ],
)  # fmt: skip
async def test_what_is_no_batch_is_refused_with_the_reason(
    door: DataDoor, records: Any, code: int
) -> None:
    response = await door.begin(("web", 0, records))

    assert isinstance(response, ProduceResponse)
    answer = response.responses[0].partition_responses[0]
    assert answer.error_code == code
    assert answer.error_message
    assert door.world.log_end() == 0


async def test_a_timestamp_too_far_ahead_is_refused(door: DataDoor) -> None:
    answer = await door.produced(batch(timestamp_ms=START_MS + 2 * 3_600_000))

    assert answer.error_code == INVALID_TIMESTAMP


@pytest.mark.parametrize("version", VERSIONS)
async def test_zstd_is_taken_from_version_7_on(door: DataDoor, version: int) -> None:
    answer = await door.produced(batch(bytes(1_000), codec=Codec.ZSTD), version=version)

    assert answer.error_code == (UNSUPPORTED_COMPRESSION if version < 7 else NONE)


async def test_a_transaction_is_refused_whether_the_request_or_the_batch_says_so(
    door: DataDoor,
) -> None:
    by_request = await door.produced(transactional_id="payments")
    by_batch = await door.produced(altered(numbered(0), attributes=0x10))

    assert (by_request.error_code, by_batch.error_code) == (INVALID_TXN_STATE, INVALID_TXN_STATE)
    assert door.world.log_end() == 0


async def test_statement_14_the_largest_batch_is_the_topics_and_counts_compressed(
    door: DataDoor,
) -> None:
    await door.world.create_topic("small", max_message_bytes="200")
    zeros = bytes(10_000)

    plain = await door.produced(batch(zeros), name="small")
    compressed = await door.produced(batch(zeros, codec=Codec.GZIP), name="small")

    assert (plain.error_code, compressed.error_code) == (TOO_LARGE, NONE)


# --- Idempotent producers ---------------------------------------------------------------------


async def test_statement_16_any_of_the_last_five_batches_is_answered_as_the_first_time(
    door: DataDoor,
) -> None:
    offsets = [(await door.produced(numbered(n))).base_offset for n in range(6)]

    again = [(await door.produced(numbered(n))).base_offset for n in range(1, 6)]

    assert again == offsets[1:]
    assert door.world.log_end() == 6


async def test_statement_16_the_sixth_last_batch_is_out_of_order(door: DataDoor) -> None:
    for sequence in range(6):
        await door.produced(numbered(sequence))

    assert (await door.produced(numbered(0))).error_code == OUT_OF_ORDER


async def test_statement_17_sequences_go_on_at_zero_after_the_largest(door: DataDoor) -> None:
    await door.produced(numbered(2**31 - 2, b"a", b"b"))

    answer = await door.produced(numbered(0))

    assert (answer.error_code, answer.base_offset) == (NONE, 2)


async def test_statement_17_an_unknown_producer_begins_anywhere(door: DataDoor) -> None:
    assert (await door.produced(numbered(1_234))).error_code == NONE


async def test_statement_17_a_producer_with_a_new_epoch_begins_at_zero(door: DataDoor) -> None:
    await door.produced(numbered(0))

    not_at_zero = await door.produced(numbered(1, epoch=1))
    at_zero = await door.produced(numbered(0, epoch=1))
    earlier_epoch = await door.produced(numbered(1, epoch=0))

    codes = (not_at_zero.error_code, at_zero.error_code, earlier_epoch.error_code)
    assert codes == (OUT_OF_ORDER, NONE, INVALID_EPOCH)


async def test_statement_18_a_batch_of_many_numbered_records_is_followed_by_the_next_number(
    door: DataDoor,
) -> None:
    await door.produced(numbered(0, b"a", b"b", b"c"))

    assert (await door.produced(numbered(3, b"d", b"e"))).base_offset == 3


# --- Nobody who listens -----------------------------------------------------------------------


async def test_statement_19_without_acknowledgement_there_is_no_answer(door: DataDoor) -> None:
    assert await door.begin(("web", 0, batch()), acks=0) is None
    assert door.world.log_end() == 1


@pytest.mark.parametrize("version", [3, 12, 13])
async def test_statement_19_what_fails_without_acknowledgement_ends_the_connection(
    door: DataDoor, version: int
) -> None:
    with pytest.raises(DisconnectError, match="no acknowledgement"):
        await door.begin(("gone", 0, batch()), acks=0, version=version)


# --- Time -------------------------------------------------------------------------------------


async def test_statement_20_the_broker_says_when_it_stamped_records(door: DataDoor) -> None:
    await door.world.create_topic("stamped", message_timestamp_type="LogAppendTime")

    by_client = await door.produced()
    by_broker = await door.produced(name="stamped")

    assert by_client.log_append_time_ms == -1
    assert by_broker.log_append_time_ms == START_MS
    records = (await door.fetched(name="stamped")).records
    assert records is not None
    header = RecordBatch.at(records).header
    assert header.timestamp_type is TimestampType.LOG_APPEND_TIME


# --- Whom to ask instead ----------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_refusal_names_the_leader_from_version_10_on(door: DataDoor, version: int) -> None:
    await door.lose_leadership()

    response = await door.begin(("web", 0, batch()), version=version)

    assert isinstance(response, ProduceResponse)
    answer = response.responses[0].partition_responses[0]
    assert answer.error_code == NOT_LEADER
    if version < 10:
        assert (answer.current_leader, response.node_endpoints) == (None, [])
        return
    assert answer.current_leader is not None
    assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (OTHER, 1)
    (endpoint,) = response.node_endpoints
    assert (endpoint.node_id, endpoint.host, endpoint.port) == (OTHER, "localhost", 9092 + OTHER)


async def test_a_leader_that_the_client_cannot_reach_has_no_address(door: DataDoor) -> None:
    await door.world.publish(brokers=door.world.image.brokers)
    await door.lose_leadership(to=3)

    response = await door.begin(("web", 0, batch()))

    assert response is not None
    assert response.node_endpoints == []


# --- Recompression ----------------------------------------------------------------------------


async def test_a_topic_that_recompresses_is_prepared_first(door: DataDoor) -> None:
    await door.world.create_topic("packed", compression_type="gzip")
    request = ProduceRequest(
        acks=-1,
        topic_data=[
            TopicProduceData(
                name="packed", partition_data=[PartitionProduceData(records=batch(bytes(1_000)))]
            )
        ],
    )

    handled = door.produce_handler(context(12), request)
    assert not isinstance(handled, Begun)
    response = await handled

    assert isinstance(response, ProduceResponse)
    assert response.responses[0].partition_responses[0].error_code == NONE
    records = (await door.fetched(name="packed")).records
    assert records is not None
    assert RecordBatch.at(records).header.codec is Codec.GZIP


# --- Compacted topics ---------------------------------------------------------------------------


def keyed(*keys: bytes | None) -> bytes:
    builder = BatchBuilder(Codec.NONE)
    for key in keys:
        builder.append(key=key, value=b"value", timestamp_ms=START_MS)
    return builder.build()


async def produced_compacted(door: DataDoor, records: bytes) -> PartitionProduceResponse:
    await door.world.create_topic("table", cleanup_policy="compact")
    request = ProduceRequest(
        acks=-1,
        topic_data=[
            TopicProduceData(name="table", partition_data=[PartitionProduceData(records=records)])
        ],
    )
    handled = door.produce_handler(context(12), request)
    assert not isinstance(handled, Begun)
    response = await handled
    assert isinstance(response, ProduceResponse)
    answer = response.responses[0].partition_responses[0]
    assert isinstance(answer, PartitionProduceResponse)
    return answer


async def test_statement_15_records_without_keys_are_pointed_out_in_a_compacted_topic(
    door: DataDoor,
) -> None:
    answer = await produced_compacted(door, keyed(b"a", b"b", None, b"c", None))

    assert answer.error_code == INVALID_RECORD
    assert [error.batch_index for error in answer.record_errors] == [2, 4]


async def test_statement_15_of_a_batch_with_a_record_without_a_key_nothing_is_appended(
    door: DataDoor,
) -> None:
    await produced_compacted(door, keyed(b"a", None))

    assert door.world.partition("table").log.log_end_offset == 0


async def test_records_with_keys_are_appended_to_a_compacted_topic(door: DataDoor) -> None:
    answer = await produced_compacted(door, keyed(b"a", b"b"))

    assert answer.error_code == NONE
    assert door.world.partition("table").log.log_end_offset == 2
