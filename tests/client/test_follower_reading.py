"""A reader that says where it is reads each record once, from the follower it is sent to."""

from __future__ import annotations

import asyncio
import random

import pytest

from ottla.client.consumer import Consumer
from ottla.client.errors import NoOffsetError
from ottla.model.errors import (
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    OttlaError,
    StorageError,
    UnknownLeaderEpochError,
    UnknownTopicOrPartitionError,
)
from tests.client.fake_broker import Damage, FakeBroker, FakeCluster, Refusal
from tests.client.fake_log import FakeFollower, FakePartition
from tests.client.test_consumer import WEB_0, fill, offsets, reading, take
from tests.client.waiting import until

LEADER, FOLLOWER = 1, 2


@pytest.fixture
def partition(trio: FakeCluster) -> FakePartition:
    """``web-0``, whose leader sends readers in racks to its follower."""
    partition = trio.topics["web"][0]
    partition.followers[FOLLOWER] = FakeFollower()
    partition.preferred = FOLLOWER
    return partition


@pytest.fixture
def leader(trio: FakeCluster) -> FakeBroker:
    """Of ``web-0``."""
    return trio.brokers[LEADER - 1]


@pytest.fixture
def follower(trio: FakeCluster) -> FakeBroker:
    """Of ``web-0``."""
    return trio.brokers[FOLLOWER - 1]


def nearby(trio: FakeCluster, **options: object) -> Consumer:
    """A consumer that is in the follower's rack, and is given little at a time."""
    return reading(trio, **{"client_rack": "hall", "max_partition_fetch_bytes": 500, **options})


async def begun(consumer: Consumer, follower: FakeBroker) -> list[int]:
    """Read ``web-0`` until the follower serves; what was read."""
    consumer.assign([WEB_0])
    seen: list[int] = []
    async with asyncio.timeout(10):
        while not follower.batches_sent:
            seen += offsets(await take(consumer, 1))
    return seen


async def rest(consumer: Consumer, seen: list[int], count: int) -> list[int]:
    """Read on until so many were read in all."""
    return seen + offsets(await take(consumer, count - len(seen)))


def asked_of_followers(trio: FakeCluster) -> int:
    """How often a follower was sent a place to read from."""
    places = [place for request in trio.fetch_requests for place in request.partitions]
    return sum(place.from_follower for place in places)


async def test_reader_goes_on_at_the_follower_that_is_named(
    trio: FakeCluster, partition: FakePartition, leader: FakeBroker, follower: FakeBroker
) -> None:
    await fill(trio, 500)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        served = leader.batches_sent
        await fill(trio, 500, start=500)

        assert await rest(consumer, seen, 1_000) == list(range(1_000))
        assert leader.batches_sent == served
        await until(lambda: partition.followers and not trio.readings_at(LEADER)[0].places)


async def test_reader_that_does_not_say_where_it_is_stays_with_the_leader(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    assert partition.preferred == FOLLOWER
    await fill(trio, 200)
    async with nearby(trio, client_rack=None) as consumer:
        consumer.assign([WEB_0])

        assert offsets(await take(consumer, 200)) == list(range(200))
    assert not follower.batches_sent
    assert not any(request.rack for request in trio.fetch_requests)


async def test_follower_gives_what_it_knows_to_be_committed_and_waits_there(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        seen = await rest(consumer, seen, 100)
        partition.followers[FOLLOWER].high_watermark = 100
        await fill(trio, 100, start=100)
        assert await consumer.getmany(timeout_ms=30) == {}

        partition.followers[FOLLOWER].high_watermark = None
        trio.tell_appended()

        assert await rest(consumer, seen, 200) == list(range(200))
        assert not trio.readings_at(LEADER)[0].places


async def test_reading_goes_on_while_the_leader_hangs(
    trio: FakeCluster, partition: FakePartition, leader: FakeBroker, follower: FakeBroker
) -> None:
    await fill(trio, 1_000)
    assert partition.preferred == FOLLOWER
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        leader.hang()

        assert await rest(consumer, seen, 1_000) == list(range(1_000))
        leader.wake()


@pytest.mark.parametrize(
    "error",
    [
        NotLeaderOrFollowerError("not here"),
        OffsetOutOfRangeError("out of range"),
        StorageError("disk"),
        UnknownLeaderEpochError("epoch"),
        UnknownTopicOrPartitionError("gone"),
    ],
    ids=lambda error: error.name,
)
async def test_error_of_the_follower_sends_the_reader_to_the_leader(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker, error: OttlaError
) -> None:
    await fill(trio, 100)
    async with nearby(trio, auto_offset_reset="none") as consumer:
        consumer.assign([WEB_0])
        with pytest.raises(NoOffsetError):
            await consumer.getone()
        consumer.seek(WEB_0, 0)
        seen = await begun(consumer, follower)
        seen = await rest(consumer, seen, 100)
        partition.preferred = None
        partition.followers[FOLLOWER].refuses = error
        trio.tell_appended()
        await fill(trio, 100, start=100)

        assert await rest(consumer, seen, 200) == list(range(200))


async def test_follower_that_failed_is_left_alone_although_it_is_named_again(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        partition.followers[FOLLOWER].refuses = StorageError("disk")
        served = follower.batches_sent
        trio.tell_appended()
        await fill(trio, 400, start=100)
        assert await rest(consumer, seen, 500) == list(range(500))

    assert (asked_of_followers(trio), follower.batches_sent) == (1, served)


async def test_follower_that_is_behind_for_a_moment_is_asked_again(
    trio: FakeCluster, partition: FakePartition, leader: FakeBroker
) -> None:
    await fill(trio, 100)
    partition.followers[FOLLOWER].end_offset = 1
    async with nearby(trio) as consumer:
        consumer.assign([WEB_0])
        await until(lambda: asked_of_followers(trio))
        partition.followers[FOLLOWER].end_offset = None

        assert offsets(await take(consumer, 100)) == list(range(100))
    assert leader.batches_sent < 10


async def test_follower_that_stays_behind_is_given_up(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    partition.followers[FOLLOWER].end_offset = 1
    async with nearby(trio) as consumer:
        consumer.assign([WEB_0])

        assert offsets(await take(consumer, 100)) == list(range(100))
    assert not follower.batches_sent


async def test_damage_that_stays_at_the_follower_is_not_there_at_the_leader(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        seen = await rest(consumer, seen, 100)
        partition.preferred = None
        trio.fetch_plan = iter([Damage()] * 3)
        await fill(trio, 100, start=100)

        assert await rest(consumer, seen, 200) == list(range(200))


async def test_follower_that_goes_away_is_replaced_by_the_leader(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        await follower.stop()
        await fill(trio, 100, start=100)

        assert await rest(consumer, seen, 200) == list(range(200))
    assert partition.preferred == FOLLOWER


async def test_follower_that_falls_out_of_sync_is_left_and_returned_to(
    trio: FakeCluster, partition: FakePartition, leader: FakeBroker, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        partition.followers[FOLLOWER].is_in_sync = False
        trio.tell_metadata()
        await until(lambda: not trio.readings_at(FOLLOWER)[0].places)
        served = leader.batches_sent
        await fill(trio, 100, start=100)
        seen = await rest(consumer, seen, 200)
        assert leader.batches_sent > served

        partition.followers[FOLLOWER].is_in_sync = True
        trio.tell_metadata()
        await until(lambda: trio.readings_at(FOLLOWER)[0].places)
        await fill(trio, 100, start=200)

        assert await rest(consumer, seen, 300) == list(range(300))


async def test_new_leader_is_asked_first_and_may_name_another(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        partition.followers = {LEADER: FakeFollower(), FOLLOWER: FakeFollower()}
        partition.preferred = LEADER
        trio.move_leader("web", 0, to=3)
        await fill(trio, 100, start=100)
        seen = await rest(consumer, seen, 200)
        await until(lambda: any(each.places for each in trio.readings_at(LEADER)))
        await fill(trio, 100, start=200)

        assert await rest(consumer, seen, 300) == list(range(300))
        assert not any(each.places for each in trio.readings_at(FOLLOWER))


async def test_follower_that_is_elected_is_read_from_as_the_leader(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        partition.preferred = None
        trio.move_leader("web", 0, to=FOLLOWER)
        await fill(trio, 100, start=100)
        seen = await rest(consumer, seen, 200)

        (place,) = [each for each in trio.readings_at(FOLLOWER) if each.places]
        assert not place.places["web", 0].from_follower
        assert seen == list(range(200))


async def test_leader_is_asked_again_after_the_age_of_metadata(
    trio: FakeCluster, partition: FakePartition, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio, metadata_max_age_ms=50) as consumer:
        seen = await begun(consumer, follower)
        seen = await rest(consumer, seen, 100)
        partition.preferred = None
        await until(lambda: trio.readings_at(LEADER)[0].places)
        served = follower.batches_sent
        await fill(trio, 100, start=100)

        assert await rest(consumer, seen, 200) == list(range(200))
        assert follower.batches_sent == served


async def test_paused_partition_is_read_from_nobody_and_goes_on_at_the_follower(
    trio: FakeCluster, partition: FakePartition, leader: FakeBroker, follower: FakeBroker
) -> None:
    await fill(trio, 100)
    async with nearby(trio) as consumer:
        seen = await begun(consumer, follower)
        consumer.pause(WEB_0)
        await until(lambda: not trio.readings_at(FOLLOWER)[0].places)
        served = leader.batches_sent
        await fill(trio, 100, start=100)
        consumer.resume(WEB_0)

        assert await rest(consumer, seen, 200) == list(range(200))
        assert leader.batches_sent == served
    assert partition.preferred == FOLLOWER


@pytest.mark.parametrize("seed", range(6))
async def test_random_changes_of_the_replica_neither_lose_nor_repeat(
    trio: FakeCluster, seed: int
) -> None:
    source = random.Random(seed)
    for number, part in enumerate(trio.topics["web"]):
        await fill(trio, 300, partition=number)
        part.followers = {broker.id: FakeFollower() for broker in trio.brokers}
    kinds = (Refusal(6), Refusal(1), Refusal(78), Refusal(56), Damage())
    trio.fetch_plan = iter(
        [source.choice(kinds) if source.random() < 0.1 else None for _ in range(300)]
    )
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    async with (
        nearby(trio, prefetch_bytes=5_000, metadata_max_age_ms=20) as consumer,
        asyncio.timeout(10),
    ):
        consumer.assign([WEB_0._replace(partition=number) for number in range(3)])
        while sum(map(len, seen.values())) < 900:
            for records in (await consumer.getmany(timeout_ms=100)).values():
                seen[records[0].partition] += offsets(records)
            part = source.choice(trio.topics["web"])
            part.preferred = source.choice((None, 1, 2, 3))
            if source.random() < 0.1:
                number = source.randrange(3)
                trio.move_leader("web", number, to=source.randint(1, 3))
            if source.random() < 0.1:
                each = part.followers[source.randint(1, 3)]
                each.is_in_sync = not each.is_in_sync
                trio.tell_metadata()
            if source.random() < 0.1:
                trio.break_fetch_streams()

    assert list(seen.values()) == [list(range(300))] * 3
