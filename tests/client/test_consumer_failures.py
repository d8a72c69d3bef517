"""Reading goes on at the exact offset, without loss or repetition, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import itertools
import random

import grpc
import pytest

from ottla.client.consumer import Consumer
from ottla.client.errors import AccessDeniedError, DeserializationError, NoOffsetError
from ottla.model.errors import (
    CorruptMessageError,
    InvalidRequestError,
    OttlaError,
    StorageError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import TopicPartition
from tests.client.fake_broker import Damage, FakeCluster, Refusal
from tests.client.test_consumer import WEB_0, fill, offsets, reading, take
from tests.client.waiting import until

NOT_LEADER = Refusal(6)
STORAGE_ERROR = Refusal(56)
OFFSET_NOT_AVAILABLE = Refusal(78)
OUT_OF_RANGE = Refusal(1)


async def test_reading_goes_on_at_the_exact_offset_after_a_dropped_stream(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 2_000)
    async with reading(cluster, "web", max_partition_fetch_bytes=500) as consumer:
        seen = []
        for _ in range(10):
            seen += offsets(await take(consumer, 173))
            cluster.break_fetch_streams()
        seen += offsets(await take(consumer, 270))

    assert seen == list(range(2_000))


async def test_reading_goes_on_after_a_restart_of_the_broker(cluster: FakeCluster) -> None:
    await fill(cluster, 1_000)
    async with reading(cluster, "web", prefetch_bytes=3_000) as consumer:
        seen = offsets(await take(consumer, 400))
        await cluster.brokers[0].restart()
        seen += offsets(await take(consumer, 600))
        await cluster.brokers[0].restart()
        await fill(cluster, 10, start=1_000)
        seen += offsets(await take(consumer, 10))

    assert seen == list(range(1_010))


async def test_reading_waits_for_a_broker_that_is_down(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with reading(cluster, "web") as consumer:
        await take(consumer, 10)
        await cluster.brokers[0].stop()
        assert await consumer.getmany(timeout_ms=30) == {}

        await cluster.brokers[0].start()
        await fill(cluster, 10, start=10)

        assert offsets(await take(consumer, 10)) == list(range(10, 20))


async def test_reading_follows_a_leader_that_moves(trio: FakeCluster) -> None:
    await fill(trio, 1_000)
    async with reading(trio, "web", max_partition_fetch_bytes=500) as consumer:
        seen = []
        for to in (2, 3, 1, 3, 2):
            seen += offsets(await take(consumer, 150))
            trio.move_leader("web", 0, to=to)
        seen += offsets(await take(consumer, 250))

    assert seen == list(range(1_000))


async def test_reading_goes_on_at_the_new_leader_when_the_old_one_dies(trio: FakeCluster) -> None:
    await fill(trio, 100)
    async with reading(trio, "web") as consumer:
        await take(consumer, 50)
        await trio.brokers[0].stop()
        trio.move_leader("web", 0, to=3)
        await fill(trio, 50, start=100)

        assert offsets(await take(consumer, 100)) == list(range(50, 150))


@pytest.mark.parametrize("fault", [NOT_LEADER, STORAGE_ERROR, OFFSET_NOT_AVAILABLE, OUT_OF_RANGE])
async def test_passing_error_of_a_partition_is_got_over(
    cluster: FakeCluster, fault: Refusal
) -> None:
    await fill(cluster, 1_000)
    cluster.fetch_plan = iter([None, fault, None, fault, fault, None, None, fault])
    async with reading(cluster, "web", max_partition_fetch_bytes=500) as consumer:
        assert offsets(await take(consumer, 1_000)) == list(range(1_000))


@pytest.mark.parametrize("seed", range(6))
async def test_random_faults_neither_lose_nor_repeat(trio: FakeCluster, seed: int) -> None:
    for partition in range(3):
        await fill(trio, 400, partition=partition)
    source = random.Random(seed)
    kinds = (NOT_LEADER, OUT_OF_RANGE, Damage(), OFFSET_NOT_AVAILABLE)
    trio.fetch_plan = iter(
        [source.choice(kinds) if source.random() < 0.2 else None for _ in range(200)]
    )
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    async with reading(trio, "web", prefetch_bytes=5_000) as consumer, asyncio.timeout(10):
        while sum(map(len, seen.values())) < 1_200:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                seen[records[0].partition] += offsets(records)
            if source.random() < 0.1:
                trio.move_leader("web", source.randrange(3), to=source.randint(1, 3))
            if source.random() < 0.1:
                trio.break_fetch_streams()

    assert list(seen.values()) == [list(range(400))] * 3


async def test_damage_on_the_wire_is_fetched_again(cluster: FakeCluster) -> None:
    await fill(cluster, 300)
    cluster.fetch_plan = iter([None, Damage(), Damage()])
    async with reading(cluster, "web", max_partition_fetch_bytes=500) as consumer:
        assert offsets(await take(consumer, 300)) == list(range(300))


async def test_damage_that_stays_is_told_after_all_records_before_it(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 300)
    cluster.fetch_plan = itertools.chain([None], itertools.repeat(Damage()))
    seen: list[int] = []

    async def read_on(consumer: Consumer) -> None:
        async for records in consumer.batches():
            seen.extend(offsets(records))

    async with reading(cluster, "web", max_partition_fetch_bytes=500) as consumer:
        with pytest.raises(CorruptMessageError, match="checksum"):
            await read_on(consumer)
        assert seen == list(range(len(seen)))
        assert seen
        assert await consumer.position(WEB_0) == len(seen)

        cluster.fetch_plan = iter(())
        consumer.seek(WEB_0, len(seen))
        assert offsets(await take(consumer, 300 - len(seen))) == list(range(len(seen), 300))


async def test_error_that_will_not_pass_is_told_and_told_again(cluster: FakeCluster) -> None:
    cluster.fetch_plan = itertools.repeat(Refusal(42))
    await fill(cluster, 3)
    async with reading(cluster, "web") as consumer:
        for _ in range(2):
            with pytest.raises(InvalidRequestError):
                await consumer.getmany(timeout_ms=1_000)


async def test_disk_that_stays_failed_is_told_and_may_be_tried_again(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 3)
    cluster.fetch_plan = itertools.repeat(STORAGE_ERROR)
    async with reading(cluster, "web", request_timeout_ms=100) as consumer:
        with pytest.raises(StorageError):
            await consumer.getmany(timeout_ms=10_000)
        cluster.fetch_plan = iter(())
        consumer.seek(WEB_0, 0)

        assert offsets(await take(consumer, 3)) == [0, 1, 2]


async def test_partition_that_nobody_can_read_has_no_end_to_wait_for(cluster: FakeCluster) -> None:
    cluster.lookup_error = StorageError("the disk failed")
    async with reading(cluster, request_timeout_ms=30_000) as consumer:
        async with asyncio.timeout(5):
            with pytest.raises(StorageError):
                await consumer.end_offsets([WEB_0])
            consumer.assign([WEB_0])
            with pytest.raises(StorageError):
                await consumer.getone()


async def test_offsets_of_a_partition_that_does_not_exist_are_refused_soon(
    cluster: FakeCluster,
) -> None:
    async with reading(cluster, request_timeout_ms=30_000) as consumer, asyncio.timeout(5):
        with pytest.raises(UnknownTopicOrPartitionError, match="no partition 9: it has 1"):
            await consumer.end_offsets([TopicPartition("web", 9)])


async def test_error_of_one_partition_does_not_keep_the_others_from_being_read(
    cluster: FakeCluster,
) -> None:
    cluster.create("web", 2)
    await fill(cluster, 5, partition=1)
    async with reading(cluster, auto_offset_reset="none") as consumer:
        consumer.assign([WEB_0])
        with pytest.raises(NoOffsetError):
            await consumer.getone()
        consumer.assign([WEB_0, TopicPartition("web", 1)])
        consumer.seek(TopicPartition("web", 1), 0)

        records = await take(consumer, 5)

    assert {record.partition for record in records} == {1}


async def test_deserializer_that_fails_stops_its_partition_at_the_record(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)

    def refuse_five(value: bytes) -> bytes:
        if value == b"5":
            raise ValueError(value)
        return value

    async with reading(cluster, "web", value_deserializer=refuse_five) as consumer:
        assert offsets(await take(consumer, 5)) == [0, 1, 2, 3, 4]
        for _ in range(2):
            with pytest.raises(DeserializationError) as raised:
                await consumer.getone()
        consumer.seek(raised.value.topic_partition, raised.value.offset + 1)

        assert offsets(await take(consumer, 4)) == [6, 7, 8, 9]


async def test_topic_that_is_deleted_is_told(cluster: FakeCluster) -> None:
    await fill(cluster, 3)
    async with reading(cluster, "web", request_timeout_ms=300) as consumer:
        await take(consumer, 3)
        del cluster.topics["web"]
        cluster.break_fetch_streams()

        with pytest.raises(UnknownTopicOrPartitionError):
            await consumer.getmany(timeout_ms=10_000)


async def test_assigned_partition_that_does_not_exist_is_told(cluster: FakeCluster) -> None:
    async with reading(cluster, request_timeout_ms=300) as consumer:
        consumer.assign([TopicPartition("web", 9)])
        with pytest.raises(UnknownTopicOrPartitionError, match="no partition 9"):
            await consumer.getmany(timeout_ms=10_000)


async def test_client_that_is_not_let_in_is_told_in_every_call(cluster: FakeCluster) -> None:
    cluster.closed_with = grpc.StatusCode.UNAUTHENTICATED
    async with reading(cluster, "web") as consumer:
        with pytest.raises(AccessDeniedError):
            await consumer.getone()
        with pytest.raises(AccessDeniedError):
            consumer.seek(WEB_0, 0)


async def test_crash_inside_fails_the_consumer_with_its_cause(cluster: FakeCluster) -> None:
    async with reading(cluster, "web") as consumer:
        waiting = asyncio.ensure_future(consumer.getone())
        await asyncio.sleep(0)

        async def crash() -> None:
            raise ZeroDivisionError

        assert consumer._session is not None
        consumer._session.fetcher.spawn(crash(), name="a task with a bug")

        with pytest.raises(OttlaError, match="'a task with a bug' crashed") as raised:
            await waiting
        assert isinstance(raised.value.__cause__, ZeroDivisionError)


async def test_broker_that_is_silent_and_gone_is_noticed(cluster: FakeCluster) -> None:
    await fill(cluster, 3)
    async with reading(cluster, "web", request_timeout_ms=150) as consumer:
        await take(consumer, 3)
        cluster.speaks.clear()
        await until(lambda: cluster.calls["FetchStream"] >= 2)
        cluster.speaks.set()
        await fill(cluster, 3, start=3)

        assert offsets(await take(consumer, 3)) == [3, 4, 5]


async def test_idle_stream_to_a_living_broker_is_left_alone(cluster: FakeCluster) -> None:
    async with reading(cluster, "web", request_timeout_ms=100) as consumer:
        calls = cluster.calls["DescribeCluster"]
        await until(lambda: cluster.calls["DescribeCluster"] >= calls + 3)

        assert cluster.calls["FetchStream"] == 1
        assert consumer.assignment() == {WEB_0}


async def test_position_of_a_partition_whose_leader_is_away_times_out(
    cluster: FakeCluster,
) -> None:
    async with reading(cluster, request_timeout_ms=200) as consumer:
        cluster.topics["web"][0].leader = 99
        consumer.assign([WEB_0])

        with pytest.raises(OttlaError, match="web-0"):
            await consumer.position(WEB_0)


def test_consumer_without_a_loop_is_made_but_not_started() -> None:
    assert repr(Consumer("web")) == "<Consumer of web closed>"
