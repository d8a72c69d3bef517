"""Nothing is committed that the application is not done with, and nothing goes back by accident."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from ottla.client.consumer import Consumer
from ottla.client.consumer_record import ConsumerRecord
from ottla.client.errors import ClientClosedError
from ottla.client.group_offsets import OffsetAndMetadata
from ottla.coordinator.requests import CommitOffsets, ConsumerHeartbeat
from ottla.model.errors import (
    FencedMemberEpochError,
    OttlaError,
    StaleMemberEpochError,
    UnknownMemberIdError,
)
from ottla.model.ids import TopicPartition
from tests.client.fake_broker import FakeCluster
from tests.client.test_consumer import WEB_0, WEB_1, fill, offsets, take
from tests.client.test_groups import ALL, Listener, committed, member, reads
from tests.client.waiting import until


def commits(cluster: FakeCluster) -> list[CommitOffsets]:
    return [each for each in cluster.groups.asked if isinstance(each, CommitOffsets)]


async def fail(consumer: Consumer, use: Callable[[Consumer], Awaitable[None]]) -> None:
    """Use a consumer until that fails."""

    async def run() -> None:
        async with consumer:
            await use(consumer)

    with pytest.raises(ZeroDivisionError):
        await run()


async def fill_all(cluster: FakeCluster, count: int) -> None:
    for number in range(3):
        await fill(cluster, count, partition=number)


# --- Where the application is ---------------------------------------------------------------------


@pytest.mark.parametrize("by_hand", [True, False])
async def test_piece_that_was_not_handed_out_is_not_committed(
    trio: FakeCluster, *, by_hand: bool
) -> None:
    await fill_all(trio, 5)
    async with member(trio, "web", enable_auto_commit=not by_hand) as consumer:
        await reads(consumer, ALL)
        await asyncio.sleep(0.02)
        records = await anext(consumer.batches())
        if by_hand:
            await consumer.commit()

    behind = {partition: offset for partition, offset in (await committed(trio)).items() if offset}
    assert behind == {records[0].topic_partition: 5}


async def test_pieces_before_the_one_in_hand_are_committed(trio: FakeCluster) -> None:
    await fill_all(trio, 5)
    pieces: list[list[ConsumerRecord]] = []

    async def use(consumer: Consumer) -> None:
        async for piece in consumer.batches():
            pieces.append(piece)
            if len(pieces) == 2:
                raise ZeroDivisionError

    await fail(member(trio, "web"), use)

    done, in_hand = (piece[0].topic_partition for piece in pieces)
    found = await committed(trio)
    assert (found[done], found.get(in_hand, 0)) == (5, 0)


async def test_iteration_is_done_with_a_record_when_it_comes_for_the_next(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", auto_commit_interval_ms=1) as consumer:
        async for record in consumer:
            if record.offset == 6:
                await until(lambda: commits(cluster)[-1:] and last_offset(cluster) == 6)
                break
        assert await committed(cluster) == {WEB_0: 6}


def last_offset(cluster: FakeCluster) -> int:
    return commits(cluster)[-1].offsets[0].offset


async def test_seeking_back_commits_no_more_than_that(cluster: FakeCluster) -> None:
    await fill(cluster, 10)

    async def use(consumer: Consumer) -> None:
        await take(consumer, 8)
        await consumer.getone()
        consumer.seek(WEB_0, 3)
        raise ZeroDivisionError

    await fail(member(cluster, "web"), use)

    assert await committed(cluster) == {WEB_0: 3}


async def test_seeking_forward_does_not_skip_the_record_in_hand(cluster: FakeCluster) -> None:
    await fill(cluster, 10)

    async def use(consumer: Consumer) -> None:
        await consumer.getone()
        consumer.seek(WEB_0, 7)
        raise ZeroDivisionError

    await fail(member(cluster, "web"), use)

    assert await committed(cluster) == {WEB_0: 0}


async def test_seeking_while_a_commit_is_under_way_is_committed_by_the_next(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await take(consumer, 8)
        committing = asyncio.create_task(consumer.commit())
        await asyncio.sleep(0)
        consumer.seek(WEB_0, 2)
        await committing
        assert await committed(cluster) == {WEB_0: 8}
        await consumer.commit()

    assert await committed(cluster) == {WEB_0: 2}


async def test_paused_partition_is_committed_where_it_stands(trio: FakeCluster) -> None:
    await fill_all(trio, 5)
    async with member(trio, "web") as consumer:
        await take(consumer, 15)
        consumer.pause(WEB_1)
        await fill(trio, 5, partition=1, start=5)
        await consumer.getmany()

    assert await committed(trio) == dict.fromkeys(ALL, 5)


async def test_partition_without_a_position_is_not_committed(cluster: FakeCluster) -> None:
    async with member(cluster, "web", auto_offset_reset="none") as consumer:
        await reads(consumer, {WEB_0})
        await consumer.commit()

    assert await committed(cluster) == {}


# --- By hand --------------------------------------------------------------------------------------


async def test_commit_by_hand_of_what_is_in_hand_is_not_taken_back(cluster: FakeCluster) -> None:
    await fill(cluster, 10)

    async def use(consumer: Consumer) -> None:
        await take(consumer, 4)
        await consumer.commit()
        raise ZeroDivisionError

    await fail(member(cluster, "web"), use)

    assert [each.offsets[0].offset for each in commits(cluster)] == [4]


async def test_partition_of_others_may_be_committed_by_hand(trio: FakeCluster) -> None:
    async with member(trio, "web") as one, member(trio, "web") as other:
        await until(lambda: one.assignment() | other.assignment() == ALL and other.assignment())
        (theirs, *_) = other.assignment()
        await one.commit({theirs: 7})
        assert (await committed(trio))[theirs] == 7


async def test_member_that_was_lost_learns_it_when_it_commits(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await take(consumer, 5)
        cluster.groups.expire_members()
        await until(lambda: not consumer.assignment())
        with pytest.raises(FencedMemberEpochError, match="will be read again"):
            await consumer.commit()
        assert offsets(await take(consumer, 3)) == [0, 1, 2]
        await consumer.commit()

    assert await committed(cluster) == {WEB_0: 3}


async def test_commit_of_an_earlier_membership_is_not_made_in_the_next(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with member(
        cluster, "web", enable_auto_commit=False, retry_backoff_ms=30, retry_backoff_max_ms=30
    ) as consumer:
        await take(consumer, 5)
        stale = StaleMemberEpochError("the fake says so")
        fenced = FencedMemberEpochError("the fake says so")

        def refuse() -> OttlaError | None:
            last = cluster.groups.asked[-1]
            if isinstance(last, CommitOffsets):
                return stale
            return fenced if isinstance(last, ConsumerHeartbeat) and last.member_epoch else None

        cluster.groups.plan = iter(refuse, 0)
        with pytest.raises((FencedMemberEpochError, UnknownMemberIdError)):
            await consumer.commit()
        cluster.groups.plan = iter(())

    assert await committed(cluster) == {}


async def test_commit_that_is_cancelled_lets_the_next_one_through(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False, request_timeout_ms=300) as consumer:
        await take(consumer, 5)
        cluster.groups.loses_answers = 1
        committing = asyncio.create_task(consumer.commit())
        await until(lambda: commits(cluster))
        committing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await committing
        await take(consumer, 2)
        await consumer.commit()

    assert await committed(cluster) == {WEB_0: 7}


async def test_commits_at_the_same_time_leave_the_later_one(cluster: FakeCluster) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await take(consumer, 3)
        first = asyncio.create_task(consumer.commit())
        await asyncio.sleep(0)
        await take(consumer, 3)
        await asyncio.gather(first, consumer.commit())

    assert [each.offsets[0].offset for each in commits(cluster)] == [3, 6]


async def test_record_that_came_after_the_commit_was_asked_for_is_not_in_it(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", enable_auto_commit=False) as consumer:
        await take(consumer, 3)
        asked = [asyncio.create_task(consumer.commit({WEB_0: 1}))]
        await asyncio.sleep(0)
        asked.append(asyncio.create_task(consumer.commit()))
        await asyncio.sleep(0)
        await take(consumer, 3)
        await asyncio.gather(*asked)

        assert await consumer.committed() == {WEB_0: OffsetAndMetadata(3)}


# --- While partitions go --------------------------------------------------------------------------


async def test_partition_goes_only_when_commits_of_it_are_answered(trio: FakeCluster) -> None:
    await fill_all(trio, 5)
    async with member(trio, "web", enable_auto_commit=False, request_timeout_ms=900) as one:
        await take(one, 15)
        trio.groups.loses_answers = 1
        committing = asyncio.create_task(one.commit())
        await until(lambda: commits(trio))
        await one.getmany()
        async with member(trio, "web", enable_auto_commit=False) as other:
            joins = sum(isinstance(each, ConsumerHeartbeat) for each in trio.groups.asked)
            await until(
                lambda: (
                    sum(isinstance(each, ConsumerHeartbeat) for each in trio.groups.asked) > joins
                )
            )
            await asyncio.sleep(0.02)
            assert other.assignment() == set()
            assert not committing.done()

            await committing
            await until(lambda: len(other.assignment()) == 1)


# --- When it ends ---------------------------------------------------------------------------------


async def test_listener_is_told_at_the_end_and_may_commit(cluster: FakeCluster) -> None:
    await fill(cluster, 10)

    class Committing(Listener):
        async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
            await super().on_partitions_revoked(partitions)
            await consumer.commit()

    listener = Committing()
    consumer = member(cluster, enable_auto_commit=False)
    consumer.subscribe("web", listener=listener)
    async with consumer:
        await take(consumer, 4)

    assert listener.told[-1] == ("revoked", {WEB_0})
    assert await committed(cluster) == {WEB_0: 4}
    with pytest.raises(ClientClosedError):
        await consumer.commit()


async def test_listener_does_not_commit_what_the_application_has_in_hand(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)

    class Committing(Listener):
        async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
            await super().on_partitions_revoked(partitions)
            await consumer.commit()

    async def use(consumer: Consumer) -> None:
        await take(consumer, 3)
        await consumer.getone()
        raise ZeroDivisionError

    consumer = member(cluster, enable_auto_commit=False)
    consumer.subscribe("web", listener=Committing())
    await fail(consumer, use)

    assert await committed(cluster) == {WEB_0: 3}


async def test_listener_that_does_not_come_back_does_not_keep_the_consumer(
    cluster: FakeCluster,
) -> None:
    class Sleeping(Listener):
        async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
            await super().on_partitions_revoked(partitions)
            await asyncio.Event().wait()

    consumer = member(cluster, request_timeout_ms=50)
    consumer.subscribe("web", listener=Sleeping())
    await consumer.start()
    await reads(consumer, {WEB_0})

    await asyncio.wait_for(consumer.stop(), 5)
    assert cluster.groups.members("mine") == []


@pytest.mark.parametrize("is_reading", [True, False])
async def test_consumer_stops_soon_while_the_coordinator_hangs(
    cluster: FakeCluster, *, is_reading: bool
) -> None:
    await fill(cluster, 4)
    consumer = member(cluster, "web", request_timeout_ms=100)
    await consumer.start()
    if is_reading:
        await take(consumer, 4)
    cluster.groups.loses_answers = 1_000_000

    await asyncio.wait_for(consumer.stop(), 10)


async def test_reader_in_another_task_ends_when_the_consumer_is_stopped(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 4)
    consumer = member(cluster, "web")
    await consumer.start()

    async def read() -> int:
        return len([record async for record in consumer])

    reading = asyncio.create_task(read())
    await until(lambda: consumer.positions() == {WEB_0: 4})
    await asyncio.gather(consumer.stop(), consumer.stop())

    assert await reading == 4
    assert await committed(cluster) == {WEB_0: 4}


async def test_consumer_that_was_stopped_does_not_start_again(cluster: FakeCluster) -> None:
    consumer: Consumer = member(cluster, "web")
    await consumer.start()
    await consumer.stop()
    with pytest.raises(ClientClosedError, match="make a new one"):
        await consumer.start()


# --- Without coming back --------------------------------------------------------------------------


async def test_application_that_came_back_while_the_member_left_joins_again(
    cluster: FakeCluster,
) -> None:
    await fill(cluster, 10)
    async with member(cluster, "web", max_poll_interval_ms=20, request_timeout_ms=300) as consumer:
        await consumer.getone()
        leaving = [False]

        def hold() -> OttlaError | None:
            last = cluster.groups.asked[-1]
            if isinstance(last, ConsumerHeartbeat) and last.member_epoch < 0 and not leaving[0]:
                leaving[0] = True
                cluster.groups.loses_answers = 1
            return None

        cluster.groups.plan = iter(hold, 0)
        await until(lambda: leaving[0])
        async with asyncio.timeout(5):
            assert (await consumer.getone()).offset in (0, 1)


async def test_application_that_is_patient_is_not_overdue(cluster: FakeCluster) -> None:
    listener = Listener()
    consumer = member(cluster, max_poll_interval_ms=20)
    consumer.subscribe("web", listener=listener)
    async with consumer:
        await until(lambda: listener.told)
        assert await consumer.getmany(timeout_ms=100) == {}

        assert [kind for kind, _ in listener.told] == ["assigned"]
