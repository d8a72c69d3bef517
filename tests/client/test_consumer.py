"""A consumer hands out every record once, in order, from where it was told to begin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.client.consumer import Consumer
from ottla.client.consumer_record import ConsumerRecord
from ottla.client.errors import ClientClosedError, NoOffsetError
from ottla.client.producer import Producer
from ottla.model.errors import (
    InvalidRequestError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import TopicPartition
from tests.client.fake_broker import FakeCluster
from tests.client.waiting import until

WEB_0, WEB_1, WEB_2 = (TopicPartition("web", number) for number in range(3))


def reading(cluster: FakeCluster, *topics: str, **options: object) -> Consumer:
    """A consumer that begins at the beginning and loses no time."""
    return Consumer(
        *topics,
        bootstrap_servers=cluster.bootstrap,
        **{  # type: ignore[arg-type]
            "auto_offset_reset": "earliest",
            "retry_backoff_ms": 2,
            "retry_backoff_max_ms": 10,
            **options,
        },
    )


async def fill(
    cluster: FakeCluster, count: int, *, partition: int = 0, start: int = 0, batch_size: int = 500
) -> None:
    """Put numbered records into a partition."""
    async with Producer(cluster.bootstrap, batch_size=batch_size) as producer:
        for number in range(start, start + count):
            await producer.send(
                "web", b"%d" % number, partition=partition, timestamp_ms=1_000 + number
            )


async def take(consumer: Consumer, count: int) -> list[ConsumerRecord]:
    """Take exactly so many records."""
    taken: list[ConsumerRecord] = []
    async with asyncio.timeout(10):
        while len(taken) < count:
            many = await consumer.getmany(timeout_ms=1_000, max_records=count - len(taken))
            for records in many.values():
                taken += records
    return taken


def offsets(records: list[ConsumerRecord]) -> list[int]:
    return [record.offset for record in records]


async def test_records_are_read_from_the_beginning_to_the_end(cluster: FakeCluster) -> None:
    await fill(cluster, 2_000)
    async with reading(cluster, "web") as consumer:
        records = await take(consumer, 2_000)

    assert [record.value for record in records] == [b"%d" % number for number in range(2_000)]


async def test_consumer_that_begins_at_the_end_sees_what_is_sent_from_then_on(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with reading(cluster, "web", auto_offset_reset="latest") as consumer:
        await fill(cluster, 5, start=10)

        assert offsets(await take(consumer, 5)) == [10, 11, 12, 13, 14]


async def test_iteration_yields_record_after_record(cluster: FakeCluster) -> None:
    await fill(cluster, 700)
    seen = []
    async with reading(cluster, "web") as consumer:
        async for record in consumer:
            seen.append(record.offset)
            if len(seen) == 700:
                break

    assert seen == list(range(700))


async def test_iteration_over_pieces_keeps_partitions_apart(trio: FakeCluster) -> None:
    for partition in range(3):
        await fill(trio, 300, partition=partition)
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    async with reading(trio, "web", max_poll_records=100) as consumer:
        async for records in consumer.batches():
            assert 0 < len(records) <= 100
            assert len({record.partition for record in records}) == 1
            seen[records[0].partition] += offsets(records)
            if sum(map(len, seen.values())) == 900:
                break

    assert list(seen.values()) == [list(range(300))] * 3


async def test_getone_waits_for_a_record(cluster: FakeCluster) -> None:
    async with reading(cluster, "web") as consumer:
        waiting = asyncio.ensure_future(consumer.getone())
        await fill(cluster, 1)

        assert (await waiting).offset == 0


async def test_getmany_returns_nothing_when_the_time_is_over(cluster: FakeCluster) -> None:
    async with reading(cluster, "web") as consumer:
        assert await consumer.getmany(timeout_ms=10) == {}
        assert await consumer.getmany() == {}


async def test_getmany_returns_no_more_than_asked_for(cluster: FakeCluster) -> None:
    await fill(cluster, 100)
    async with reading(cluster, "web", max_poll_records=30) as consumer:
        first = await consumer.getmany(timeout_ms=1_000)
        second = await consumer.getmany(timeout_ms=1_000, max_records=7)

    assert (len(first[WEB_0]), offsets(second[WEB_0])) == (30, list(range(30, 37)))


async def test_partitions_take_turns(cluster: FakeCluster) -> None:
    cluster.create("web", 2)
    await fill(cluster, 200, partition=0)
    await fill(cluster, 200, partition=1)
    async with reading(cluster, "web") as consumer:
        for partition in consumer.assignment():
            await until(lambda partition=partition: consumer.highwater(partition) == 200)  # type: ignore[misc]
        first = await consumer.getmany(max_records=50)
        second = await consumer.getmany(max_records=50)

    assert {*first} | {*second} == {WEB_0, WEB_1}


async def test_every_partition_of_the_topics_is_assigned(trio: FakeCluster) -> None:
    async with reading(trio, "web") as consumer:
        assert consumer.assignment() == {WEB_0, WEB_1, WEB_2}


async def test_partition_that_is_added_later_is_read_from_its_beginning(
    cluster: FakeCluster,
) -> None:
    async with reading(
        cluster, "web", auto_offset_reset="latest", metadata_max_age_ms=20
    ) as consumer:
        cluster.create("web", 2)
        await fill(cluster, 5, partition=1)

        records = await take(consumer, 5)

    assert [(record.partition, record.offset) for record in records] == [(1, n) for n in range(5)]


async def test_assigned_partitions_are_read_and_no_others(trio: FakeCluster) -> None:
    for partition in range(3):
        await fill(trio, 10, partition=partition)
    async with reading(trio) as consumer:
        consumer.assign([WEB_1])
        records = await take(consumer, 10)

    assert {record.partition for record in records} == {1}


async def test_partition_that_stays_assigned_keeps_its_place(trio: FakeCluster) -> None:
    await fill(trio, 20, partition=1)
    async with reading(trio) as consumer:
        consumer.assign([WEB_0, WEB_1])
        await take(consumer, 8)
        consumer.assign([WEB_1, WEB_2])

        assert offsets(await take(consumer, 12)) == list(range(8, 20))


async def test_consumer_of_topics_takes_no_assignment(cluster: FakeCluster) -> None:
    async with reading(cluster, "web") as consumer:
        with pytest.raises(InvalidRequestError, match="without topics"):
            consumer.assign([WEB_0])


async def test_position_is_the_next_record_to_be_handed_out(cluster: FakeCluster) -> None:
    await fill(cluster, 50)
    async with reading(cluster, "web") as consumer:
        assert await consumer.position(WEB_0) == 0
        await take(consumer, 7)
        assert await consumer.position(WEB_0) == 7


async def test_position_is_looked_up_for_a_partition_that_was_just_assigned(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 50)
    async with reading(cluster, auto_offset_reset="latest") as consumer:
        consumer.assign([WEB_0])

        assert await consumer.position(WEB_0) == 50


@pytest.mark.parametrize("target", [0, 17, 499, 500, 900])
async def test_seek_goes_to_exactly_that_record_however_much_was_fetched_ahead(
    cluster: FakeCluster, target: int
) -> None:
    await fill(cluster, 1_000)
    async with reading(cluster, "web") as consumer:
        await take(consumer, 500)
        consumer.seek(WEB_0, target)

        assert await consumer.position(WEB_0) == target
        assert offsets(await take(consumer, 100)) == list(range(target, target + 100))


async def test_seek_during_prefetch_drops_what_was_under_way(cluster: FakeCluster) -> None:
    await fill(cluster, 3_000)
    async with reading(cluster, "web", max_partition_fetch_bytes=500) as consumer:
        await take(consumer, 1_000)
        for target in (10, 2_000, 1_990, 5, 1_500, 0):
            consumer.seek(WEB_0, target)
            await asyncio.sleep(0)
            consumer.seek(WEB_0, target + 1)
            expected = list(range(target + 1, target + 51))
            assert offsets(await take(consumer, 50)) == expected


async def test_seek_of_one_partition_leaves_the_others_where_they_are(
    cluster: FakeCluster,
) -> None:
    cluster.create("web", 2)
    await fill(cluster, 500, partition=0)
    await fill(cluster, 500, partition=1)
    seen: dict[int, list[int]] = {0: [], 1: []}
    async with reading(cluster, "web", max_poll_records=50) as consumer:
        for turn in range(100):
            for records in (await consumer.getmany(timeout_ms=50)).values():
                seen[records[0].partition] += offsets(records)
            if turn < 5:
                consumer.seek(WEB_0, 0)
            if len(seen[1]) == 500 and seen[0][-500:] == list(range(500)):
                break

    assert seen[1] == list(range(500))


async def test_seek_to_beginning_and_end_return_with_the_new_position(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 100)
    cluster.topics["web"][0].delete_before(20)
    async with reading(cluster, "web") as consumer:
        await consumer.seek_to_end()
        assert await consumer.position(WEB_0) == 100
        await consumer.seek_to_beginning(WEB_0)
        assert await consumer.position(WEB_0) == 20
        assert offsets(await take(consumer, 3)) == [20, 21, 22]


async def test_pause_keeps_the_position_and_hands_out_nothing(cluster: FakeCluster) -> None:
    await fill(cluster, 300)
    async with reading(cluster, "web") as consumer:
        await take(consumer, 10)
        consumer.pause(WEB_0)
        await fill(cluster, 10, start=300)

        assert await consumer.getmany(timeout_ms=20) == {}
        assert (consumer.paused(), await consumer.position(WEB_0)) == ({WEB_0}, 10)
        consumer.resume(WEB_0)
        assert offsets(await take(consumer, 300)) == list(range(10, 310))


async def test_paused_partition_does_not_hold_the_others_up(cluster: FakeCluster) -> None:
    cluster.create("web", 2)
    await fill(cluster, 2_000, partition=0)
    await fill(cluster, 2_000, partition=1)
    async with reading(cluster, "web", prefetch_bytes=4_000) as consumer:
        await until(lambda: consumer.highwater(WEB_0))
        consumer.pause(WEB_0)

        records = await take(consumer, 2_000)

        assert {record.partition for record in records} == {1}
        consumer.resume(WEB_0)
        assert offsets(await take(consumer, 2_000)) == list(range(2_000))


@pytest.mark.parametrize(("budget", "keeps"), [(1_000_000, True), (4_000, False)])
async def test_paused_partition_keeps_no_more_than_half_of_the_budget(
    cluster: FakeCluster, budget: int, *, keeps: bool
) -> None:
    await fill(cluster, 300)
    async with reading(cluster, "web", prefetch_bytes=budget) as consumer:
        await until(lambda: consumer.highwater(WEB_0))
        assert consumer._session is not None
        reader = consumer._session.fetcher.readers[WEB_0]
        await until(lambda: reader.buffered_bytes > 2_000)
        consumer.pause(WEB_0)

        assert (reader.buffered_bytes > 0) is keeps
        consumer.resume(WEB_0)
        assert offsets(await take(consumer, 300)) == list(range(300))


async def test_seek_while_paused_holds_after_the_pause(cluster: FakeCluster) -> None:
    await fill(cluster, 1_000)
    async with reading(cluster, "web", max_partition_fetch_bytes=500) as consumer:
        await take(consumer, 500)
        consumer.pause(WEB_0)
        consumer.seek(WEB_0, 3)
        consumer.resume(WEB_0)

        assert offsets(await take(consumer, 20)) == list(range(3, 23))


async def test_no_more_is_fetched_than_the_budget(cluster: FakeCluster) -> None:
    await fill(cluster, 5_000)
    async with reading(
        cluster, "web", prefetch_bytes=5_000, max_partition_fetch_bytes=1_000
    ) as consumer:
        await until(lambda: cluster.bytes_sent >= 5_000)
        for _ in range(50):
            await asyncio.sleep(0)
        assert cluster.bytes_sent <= 5_000 + 1_000

        assert offsets(await take(consumer, 5_000)) == list(range(5_000))


async def test_batch_larger_than_the_whole_budget_is_read(cluster: FakeCluster) -> None:
    await fill(cluster, 300, batch_size=2_000)
    async with reading(cluster, "web", prefetch_bytes=100) as consumer:
        assert offsets(await take(consumer, 300)) == list(range(300))


async def test_deserializers_make_what_the_application_wants(cluster: FakeCluster) -> None:
    await fill(cluster, 3)
    async with reading(
        cluster, "web", value_deserializer=int, key_deserializer=bytes.decode
    ) as consumer:
        assert [(r.key, r.value) for r in await take(consumer, 3)] == [(None, n) for n in range(3)]


async def test_offsets_are_told_without_assignment(trio: FakeCluster) -> None:
    await fill(trio, 30, partition=1)
    trio.topics["web"][1].delete_before(12)
    async with reading(trio) as consumer:
        assert await consumer.beginning_offsets([WEB_0, WEB_1]) == {WEB_0: 0, WEB_1: 12}
        assert await consumer.end_offsets([WEB_0, WEB_1]) == {WEB_0: 0, WEB_1: 30}


async def test_offsets_are_found_by_time(cluster: FakeCluster) -> None:
    await fill(cluster, 30)
    async with reading(cluster) as consumer:
        found = await consumer.offsets_for_times({WEB_0: 1_012})
        nothing = await consumer.offsets_for_times({WEB_0: 9_999})

    assert (found, nothing) == ({WEB_0: (12, 1_012)}, {WEB_0: None})


async def test_partition_that_does_not_exist_is_an_error(cluster: FakeCluster) -> None:
    async with reading(cluster, request_timeout_ms=300) as consumer:
        with pytest.raises(UnknownTopicOrPartitionError, match="no partition 7"):
            await consumer.end_offsets([TopicPartition("web", 7)])


async def test_topic_that_does_not_exist_is_an_error_at_the_start(cluster: FakeCluster) -> None:
    with pytest.raises(UnknownTopicOrPartitionError, match="'nowhere'"):
        await reading(cluster, "nowhere", request_timeout_ms=300).start()


async def test_position_that_is_gone_is_reset_by_the_policy(cluster: FakeCluster) -> None:
    await fill(cluster, 100)
    cluster.topics["web"][0].delete_before(40)
    async with reading(cluster, "web") as consumer:
        consumer.seek(WEB_0, 5)

        assert offsets(await take(consumer, 5)) == [40, 41, 42, 43, 44]


async def test_what_was_fetched_before_a_reset_is_still_handed_out(cluster: FakeCluster) -> None:
    await fill(cluster, 100)
    async with reading(cluster, "web") as consumer:
        await take(consumer, 1)
        cluster.fetches_flow.clear()
        await fill(cluster, 100, start=100)
        cluster.topics["web"][0].delete_before(150)
        cluster.fetches_flow.set()
        await until(lambda: cluster.calls["ListOffsets"] >= 4)

        assert offsets(await take(consumer, 149)) == [*range(1, 100), *range(150, 200)]


async def test_offsets_are_found_where_the_leader_moved_to(trio: FakeCluster) -> None:
    await fill(trio, 10)
    async with reading(trio, request_timeout_ms=2_000) as consumer:
        assert await consumer.end_offsets([WEB_0]) == {WEB_0: 10}
        trio.move_leader("web", 0, to=3)

        assert await consumer.end_offsets([WEB_0]) == {WEB_0: 10}


async def test_position_beyond_the_end_is_reset_by_the_policy(cluster: FakeCluster) -> None:
    await fill(cluster, 100)
    async with reading(cluster, "web") as consumer:
        consumer.seek(WEB_0, 5_000)

        assert offsets(await take(consumer, 5)) == [0, 1, 2, 3, 4]


async def test_without_a_policy_a_position_that_is_gone_is_an_error(cluster: FakeCluster) -> None:
    await fill(cluster, 100)
    cluster.topics["web"][0].delete_before(40)
    async with reading(cluster, auto_offset_reset="none") as consumer:
        consumer.assign([WEB_0])
        consumer.seek(WEB_0, 5)
        with pytest.raises(OffsetOutOfRangeError, match="from 40 up to but not including 100"):
            await consumer.getone()
        with pytest.raises(OffsetOutOfRangeError):
            await consumer.getmany(timeout_ms=1_000)

        consumer.seek(WEB_0, 40)
        assert (await consumer.getone()).offset == 40


async def test_without_a_policy_a_partition_needs_a_position(cluster: FakeCluster) -> None:
    async with reading(cluster, auto_offset_reset="none") as consumer:
        consumer.assign([WEB_0])
        with pytest.raises(NoOffsetError, match="seek"):
            await consumer.position(WEB_0)


@pytest.mark.parametrize("offset", [-1, -2])
async def test_negative_offset_is_refused(cluster: FakeCluster, offset: int) -> None:
    async with reading(cluster, "web") as consumer:
        with pytest.raises(InvalidRequestError, match="seek_to_beginning"):
            consumer.seek(WEB_0, offset)


async def test_partition_that_is_not_assigned_is_refused(cluster: FakeCluster) -> None:
    async with reading(cluster, "web") as consumer:
        with pytest.raises(InvalidRequestError, match="not assigned"):
            consumer.seek(WEB_1, 0)


async def test_iteration_ends_when_the_consumer_is_stopped(cluster: FakeCluster) -> None:
    await fill(cluster, 3)
    consumer = reading(cluster, "web")
    await consumer.start()

    async def collect(source: AsyncIterator[object]) -> int:
        return len([None async for _ in source])

    records = asyncio.ensure_future(collect(consumer))
    await until(lambda: consumer.highwater(WEB_0))
    await asyncio.sleep(0)
    await consumer.stop()

    assert await records == 3


async def test_consumer_is_used_between_start_and_stop_only(cluster: FakeCluster) -> None:
    consumer = reading(cluster, "web")
    with pytest.raises(ClientClosedError, match="start"):
        await consumer.getone()
    await consumer.start()
    await consumer.stop()
    await consumer.stop()
    with pytest.raises(ClientClosedError, match="stopped"):
        consumer.assignment()


async def test_getmany_that_is_cancelled_loses_no_record(cluster: FakeCluster) -> None:
    async with reading(cluster, "web") as consumer:
        for _ in range(20):
            waiting = asyncio.ensure_future(consumer.getmany(timeout_ms=10_000))
            await asyncio.sleep(0)
            waiting.cancel()
        await fill(cluster, 10)

        assert offsets(await take(consumer, 10)) == list(range(10))
