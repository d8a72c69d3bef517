"""A client goes to a new leader as soon as one is known, wherever the old one is and whatever of it
still comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.client.consumer import Consumer
from ottla.client.delivery import RecordHandle
from ottla.client.errors import LogTruncatedError
from ottla.client.producer import Producer
from ottla.model.errors import OutOfOrderSequenceError
from tests.client.fake_broker import FakeCluster, LateError, Refusal
from tests.client.test_consumer import WEB_0, fill, offsets, reading, take
from tests.client.test_producer_failures import eager, numbered
from tests.client.waiting import until

FOR_EVER_MS = 600_000
LATE_ERRORS = [7, 19, 20, 56, 74, 75]
"""REQUEST_TIMED_OUT, NOT_ENOUGH_REPLICAS, ..._AFTER_APPEND, KAFKA_STORAGE_ERROR,
FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH"""


def patient(cluster: FakeCluster, **options: object) -> Producer:
    """A producer that does nothing again by itself for as long as a test lasts."""
    return eager(
        cluster,
        linger_ms=0,
        **{
            "retry_backoff_ms": FOR_EVER_MS,
            "retry_backoff_max_ms": FOR_EVER_MS,
            "request_timeout_ms": 5_000,
            "delivery_timeout_ms": 8_000,
            **options,
        },
    )


@pytest.fixture
async def producer(trio: FakeCluster) -> AsyncIterator[Producer]:
    """Has written to partition 0, which broker 1 leads, and watches another broker."""
    async with patient(trio) as producer:
        await producer.send_and_wait("web", b"first", partition=0)
        await watch_elsewhere(trio, producer)
        yield producer


async def watch_elsewhere(cluster: FakeCluster, producer: Producer) -> None:
    """Have the producer watch any broker but the first."""
    assert producer._session is not None
    while True:
        await until(lambda: cluster.watched_at)
        if cluster.watched_at != [1]:
            return
        producer._session._metadata._watch.move()
        await until(lambda: cluster.watched_at != [1])


async def acknowledged(handle: RecordHandle) -> int:
    async with asyncio.timeout(10):
        return (await handle).offset


# --- Producing ----------------------------------------------------------------------------


async def test_producer_whose_leader_dies_waits_for_the_next_one_and_no_longer(
    trio: FakeCluster, producer: Producer
) -> None:
    await trio.brokers[0].stop()
    handle = await producer.send("web", b"x", partition=0)
    await until(lambda: producer.statistics().hindrance is not None)

    trio.move_leader("web", 0, to=2)

    assert await acknowledged(handle) == 1


async def test_producer_that_is_sent_away_goes_where_the_leader_is(
    trio: FakeCluster, producer: Producer
) -> None:
    trio.plan = iter([Refusal(6)])
    handle = await producer.send("web", b"x", partition=0)
    await until(lambda: producer.statistics().hindrance is not None)

    trio.move_leader("web", 0, to=3)

    assert await acknowledged(handle) == 1


async def test_producer_leaves_a_leader_that_hangs_once_there_is_another(
    trio: FakeCluster, producer: Producer
) -> None:
    trio.brokers[0].hang()
    handles = [await producer.send("web", value, partition=0) for value in numbered(5)]
    await until(lambda: producer.statistics().batches_unsettled)

    trio.move_leader("web", 0, to=2)

    assert [await acknowledged(handle) for handle in handles] == [1, 2, 3, 4, 5]
    trio.brokers[0].wake()


async def test_what_an_old_leader_appended_before_it_hung_is_recognised_by_the_new_one(
    trio: FakeCluster, producer: Producer
) -> None:
    trio.brokers[0].hang(appends=True)
    handle = await producer.send("web", b"x", partition=0)
    await until(lambda: trio.topics["web"][0].log_end_offset == 2)

    trio.move_leader("web", 0, to=2)

    assert await acknowledged(handle) == 1
    trio.brokers[0].wake()
    assert await acknowledged(await producer.send("web", b"y", partition=0)) == 2
    assert trio.topics["web"][0].values() == [b"first", b"x", b"y"]


async def test_late_answers_of_an_old_leader_do_not_count(
    trio: FakeCluster, producer: Producer
) -> None:
    trio.brokers[0].hang(appends=True)
    handle = await producer.send("web", b"x", partition=0)
    await until(lambda: trio.topics["web"][0].log_end_offset == 2)
    trio.topics["web"][0].truncate(1)
    # Not the one that tells the producer who leads.
    new = trio.brokers[4 - trio.watched_at[0]]
    new.hang()
    trio.move_leader("web", 0, to=new.id)
    await until(lambda: trio.calls["ProduceStream"] == 2)

    # It says that it has appended what is not in the log any more.
    trio.brokers[0].wake()
    other = await producer.send("web", b"other", partition=0)
    await asyncio.sleep(0.01)

    assert not handle.done()
    new.wake()
    assert (await acknowledged(handle), await acknowledged(other)) == (1, 2)


async def test_partitions_that_stay_are_not_disturbed_by_one_that_leaves(
    trio: FakeCluster, producer: Producer
) -> None:
    trio.topics["web"][1].leader = 1
    trio.tell_metadata()
    trio.acks_flow.clear()
    stays = await producer.send("web", b"stays", partition=1)
    leaves = await producer.send("web", b"leaves", partition=0)
    await until(lambda: trio.topics["web"][0].log_end_offset == 2)
    trio.move_leader("web", 0, to=2)
    await until(lambda: trio.topics["web"][0].duplicates == 1)

    trio.acks_flow.set()

    assert (await acknowledged(stays), await acknowledged(leaves)) == (0, 1)
    assert trio.topics["web"][1].duplicates == 0


async def test_hung_leader_is_left_even_if_it_is_the_one_that_is_watched(
    trio: FakeCluster,
) -> None:
    async with eager(trio, linger_ms=0) as producer:
        await producer.send_and_wait("web", b"x", partition=0)
        await until(lambda: trio.watched_at)
        (watched,) = trio.watched_at
        trio.move_leader("web", 0, to=watched)
        await producer.send_and_wait("web", b"y", partition=0)
        trio.brokers[watched - 1].hang()
        handle = await producer.send("web", b"z", partition=0)
        trio.move_leader("web", 0, to=watched % 3 + 1)

        assert await acknowledged(handle) == 2
        trio.brokers[watched - 1].wake()


@pytest.mark.parametrize("code", LATE_ERRORS)
@pytest.mark.parametrize("fault", [Refusal, LateError])
async def test_error_that_passes_is_tried_again_until_it_has(
    cluster: FakeCluster, code: int, fault: type[Refusal | LateError]
) -> None:
    values = numbered(100)
    cluster.plan = iter([None, fault(code), fault(code), None, fault(code)])
    async with eager(cluster, batch_size=150, linger_ms=0) as producer:
        for value in values:
            await producer.send("web", value)
        await producer.flush()
        assert producer.statistics().records_failed == 0

    assert cluster.topics["web"][0].values() == values


async def test_loss_of_acknowledged_records_is_told_once_and_then_sending_goes_on(
    trio: FakeCluster, producer: Producer
) -> None:
    for value in numbered(4):
        await producer.send_and_wait("web", value, partition=0)
    trio.topics["web"][0].truncate(2)
    trio.move_leader("web", 0, to=2)

    with pytest.raises(OutOfOrderSequenceError):
        await producer.send_and_wait("web", b"told", partition=0)
    await producer.send_and_wait("web", b"goes on", partition=0)

    assert trio.topics["web"][0].values() == [b"first", b"0", b"goes on"]


# --- Consuming ----------------------------------------------------------------------------


async def test_consumer_leaves_a_leader_that_hangs_once_there_is_another(
    trio: FakeCluster,
) -> None:
    async with eager(trio) as producer, reading(trio, "web") as consumer:
        await producer.send_and_wait("web", b"x", partition=0)
        await take(consumer, 1)
        await until(lambda: len(trio.watched_at) == 2)
        hung = next(each for each in (1, 2, 3) if each not in trio.watched_at)
        trio.move_leader("web", 0, to=hung)
        await until(lambda: any(("web", 0) in each.places for each in trio.readings_at(hung)))
        trio.brokers[hung - 1].hang()
        trio.move_leader("web", 0, to=trio.watched_at[0])
        await producer.send_and_wait("web", b"y", partition=0)

        assert offsets(await take(consumer, 1)) == [1]
        trio.brokers[hung - 1].wake()


async def test_consumer_whose_leader_dies_waits_for_the_next_one_and_no_longer(
    trio: FakeCluster,
) -> None:
    await fill(trio, 20)
    backoff = {"retry_backoff_ms": FOR_EVER_MS, "retry_backoff_max_ms": FOR_EVER_MS}
    async with reading(trio, "web", **backoff) as consumer:
        assert consumer._session is not None
        await take(consumer, 10)
        await until(lambda: trio.watched_at)
        while trio.watched_at == [1]:
            consumer._session.metadata._watch.move()
            await until(lambda: trio.watched_at != [1] and trio.watched_at)
        await trio.brokers[0].stop()
        fetcher = consumer._session.fetcher
        await until(lambda: any(each.topic_partition == WEB_0 for each in fetcher._timers))

        trio.move_leader("web", 0, to=2)
        async with eager(trio) as producer:
            await producer.send_and_wait("web", b"x", partition=0)

        assert len(await take(consumer, 11)) == 11


async def lose_and_replace(cluster: FakeCluster, *, keep: int, replace: int) -> None:
    """Elect a leader that has only ``keep`` records, and write others."""
    cluster.fetches_flow.clear()
    cluster.topics["web"][0].truncate(keep)
    cluster.move_leader("web", 0, to=2)
    if replace:
        await fill(cluster, replace, start=1_000, batch_size=1)
    cluster.fetches_flow.set()


async def at_ten(cluster: FakeCluster, consumer: Consumer) -> None:
    """Have the consumer read ten records, each a batch."""
    await fill(cluster, 10, batch_size=1)
    consumer.assign([WEB_0])
    consumer.seek(WEB_0, 0)
    assert len(await take(consumer, 10)) == 10


@pytest.mark.parametrize("replace", [0, 2, 4, 9], ids=lambda count: f"{count} others")
async def test_loss_of_records_that_were_read_is_a_typed_error(
    trio: FakeCluster, replace: int
) -> None:
    async with reading(trio, auto_offset_reset="none") as consumer:
        await at_ten(trio, consumer)
        await lose_and_replace(trio, keep=6, replace=replace)

        with pytest.raises(LogTruncatedError, match="web-0 has lost records") as raised:
            await take(consumer, 1)

    assert raised.value.offset == 10


async def test_reset_policy_decides_where_to_go_on_after_a_loss(trio: FakeCluster) -> None:
    async with reading(trio) as consumer:
        await at_ten(trio, consumer)
        await lose_and_replace(trio, keep=6, replace=9)

        assert [record.value for record in await take(consumer, 8)] == [
            *numbered(6),
            b"1000",
            b"1001",
        ]


async def test_new_leader_that_has_everything_is_read_on_without_a_gap(
    trio: FakeCluster,
) -> None:
    async with reading(trio, auto_offset_reset="none") as consumer:
        await at_ten(trio, consumer)
        for to in (2, 3, 1):
            trio.move_leader("web", 0, to=to)
            await fill(trio, 3, start=10)
            await take(consumer, 3)

        assert await consumer.position(WEB_0) == 19


async def test_records_deleted_behind_the_reader_are_no_loss(trio: FakeCluster) -> None:
    async with reading(trio, auto_offset_reset="none") as consumer:
        await at_ten(trio, consumer)
        trio.topics["web"][0].delete_before(10)
        trio.move_leader("web", 0, to=2)
        await fill(trio, 3, start=10)

        assert offsets(await take(consumer, 3)) == [10, 11, 12]
