"""Records and their producers survive what happens to a broker: statements 14 to 19, 37 and 45.

The numbers are those of docs/compatibility-statements.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.init_producer_id import InitProducerIdRequest
from ottla.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from ottla.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic
from ottla.wire.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)
from ottla.wire.messages.produce import ProduceRequest, TopicProduceData
from tests.kafka.whole.broker import NOBODY, TIMEOUT_MS, Identity, WholeBroker, batch, produce

pytestmark = pytest.mark.asyncio(loop_scope="module")

NONE, TOO_LARGE, OUT_OF_ORDER, INVALID_EPOCH = 0, 10, 45, 47
LATEST = -1


@pytest_asyncio.fixture(loop_scope="module")
async def alone() -> AsyncIterator[WholeBroker]:
    """A broker of its own for a test that ends it."""
    whole = await WholeBroker().open()
    yield whole
    await whole.close()


async def log_end(broker: WholeBroker, name: str, partition: int = 0) -> int:
    asked = ListOffsetsPartition(partition_index=partition, timestamp=LATEST)
    request = ListOffsetsRequest(topics=[ListOffsetsTopic(name=name, partitions=[asked])])
    response = await broker.ask(7, request)
    offset: int = response.topics[0].partitions[0].offset
    return offset


async def identity(broker: WholeBroker, version: int = 4, current: Identity = NOBODY) -> Identity:
    request = InitProducerIdRequest(producer_id=current.producer_id, producer_epoch=current.epoch)
    answer = await broker.ask(version, request)
    assert answer.error_code == NONE
    return Identity(answer.producer_id, answer.producer_epoch)


async def test_statement_14_a_batch_that_is_too_large_is_refused_by_its_size_on_the_wire(
    broker: WholeBroker,
) -> None:
    await broker.create("small", max_message_bytes="500")

    large = await broker.produce(batch(bytes(1_000)), name="small")
    small = await broker.produce(batch(bytes(100)), name="small")

    assert (large.error_code, small.error_code) == (TOO_LARGE, NONE)


async def test_statement_17_an_idempotent_producer_goes_on_in_the_next_epoch(
    broker: WholeBroker,
) -> None:
    await broker.create("bumped")
    first = await identity(broker)
    await broker.produce(batch(producer=first, sequence=0), name="bumped")

    second = await identity(broker, current=first)
    answer = await broker.produce(batch(producer=second, sequence=0), name="bumped")
    late = await broker.produce(batch(producer=first, sequence=1), name="bumped")

    assert second == first._replace(epoch=1)
    assert (answer.error_code, answer.base_offset) == (NONE, 1)
    assert late.error_code == INVALID_EPOCH


@pytest.mark.parametrize(("produce_version", "id_version"), [(3, 0), (7, 1), (9, 4)])
async def test_statement_18_several_numbered_records_for_several_partitions_at_once(
    broker: WholeBroker, produce_version: int, id_version: int
) -> None:
    """As Sarama sends them: with epoch 0 of the leader in the batch, whoever leads."""
    name = f"numbered-{produce_version}"
    await broker.create(name)
    producer = await identity(broker, id_version)
    for sequence in (0, 3):
        request = ProduceRequest(acks=-1, timeout_ms=TIMEOUT_MS, topic_data=[])
        topic = TopicProduceData(name=name)
        for partition in (0, 1):
            content = bytearray(batch(b"a", b"b", b"c", producer=producer, sequence=sequence))
            content[12:16] = bytes(4)
            (one,) = produce(bytes(content), name=name, partition=partition).topic_data
            topic.partition_data += one.partition_data
        request.topic_data.append(topic)
        response = await broker.ask(produce_version, request)
        answers = response.responses[0].partition_responses
        assert [(one.error_code, one.base_offset) for one in answers] == [(NONE, sequence)] * 2


async def test_statement_19_all_that_was_sent_before_hanging_up_is_appended(
    broker: WholeBroker,
) -> None:
    await broker.create("in-a-hurry")
    for _ in range(5):
        client = await broker.connect()
        for _ in range(20):
            client.send(produce(batch(), name="in-a-hurry", acks=0), 9)
        await client.writer.drain()
        client.writer.close()
        broker.clients.remove(client)

    while await log_end(broker, "in-a-hurry") < 100:
        pass


async def test_statement_16_a_retry_after_a_crash_is_no_second_append(alone: WholeBroker) -> None:
    await alone.create("kept")
    producer = await identity(alone)
    for sequence in range(6):
        await alone.produce(batch(producer=producer, sequence=sequence), name="kept")

    await alone.crash_and_start()

    retried = [
        await alone.produce(batch(producer=producer, sequence=sequence), name="kept")
        for sequence in range(6)
    ]
    assert [one.error_code for one in retried] == [OUT_OF_ORDER] + [NONE] * 5
    assert [one.base_offset for one in retried[1:]] == [1, 2, 3, 4, 5]
    assert await log_end(alone, "kept") == 6


async def test_statement_37_committed_offsets_are_there_after_a_crash(alone: WholeBroker) -> None:
    await alone.create("read")
    await alone.ask(3, FindCoordinatorRequest(key="group"))
    place = OffsetCommitRequestPartition(committed_offset=7, committed_metadata="so far")
    topics = [OffsetCommitRequestTopic(name="read", partitions=[place])]
    committed = await alone.ask(7, OffsetCommitRequest(group_id="group", topics=topics))
    assert committed.topics[0].partitions[0].error_code == NONE

    await alone.crash_and_start()

    asked = OffsetFetchRequest(
        group_id="group", topics=[OffsetFetchRequestTopic(name="read", partition_indexes=[0])]
    )
    while (found := await alone.ask(7, asked)).error_code:
        assert found.error_code in (14, 15, 16), "it is being read"
    partition = found.topics[0].partitions[0]
    assert (partition.committed_offset, partition.committed_leader_epoch) == (7, -1)
    assert partition.metadata == "so far"


async def test_statement_45_a_restart_begins_another_epoch(alone: WholeBroker) -> None:
    await alone.create("epochs")
    await alone.produce(batch(b"a", b"b"), name="epochs")
    (before,) = (await alone.metadata("epochs")).topics

    await alone.crash_and_start()
    (after,) = (await alone.metadata("epochs")).topics
    await alone.produce(batch(b"c"), name="epochs")

    epochs = [topic.partitions[0].leader_epoch for topic in (before, after)]
    assert epochs[0] < epochs[1]
    asked = [
        OffsetForLeaderPartition(partition=0, current_leader_epoch=epochs[1], leader_epoch=epoch)
        for epoch in epochs
    ]
    ends = []
    for one in asked:
        topics = [OffsetForLeaderTopic(topic="epochs", partitions=[one])]
        response = await alone.ask(3, OffsetForLeaderEpochRequest(topics=topics))
        answer = response.topics[0].partitions[0]
        ends.append((answer.error_code, answer.leader_epoch, answer.end_offset))
    assert ends == [(NONE, epochs[0], 2), (NONE, epochs[1], 3)]
