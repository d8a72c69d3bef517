"""A partition changes hands only when its reader, and who listens, are done with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from ottla.client.consumer import Consumer
from ottla.client.errors import NoBrokersAvailableError, RebalanceListenerError
from ottla.coordinator.requests import ConsumerHeartbeat
from ottla.model.errors import (
    CoordinatorNotAvailableError,
    FencedMemberEpochError,
    GroupMaxSizeReachedError,
    InvalidRequestError,
    OttlaError,
    RequestTimedOutError,
)
from ottla.model.ids import TopicPartition
from tests.client.fake_broker import FakeCluster
from tests.client.test_consumer import WEB_0, fill, offsets, take
from tests.client.test_groups import ALL, Listener, committed, member, reads
from tests.client.waiting import until


class Acting(Listener):
    """Does something when partitions come or go."""

    def __init__(self) -> None:
        super().__init__()
        self.consumer: Consumer | None = None
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def act(self) -> None:
        """For subclasses."""

    async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        await super().on_partitions_assigned(partitions)
        await self.may_go_on.wait()

    async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        await super().on_partitions_revoked(partitions)
        await self.may_go_on.wait()
        await self.act()


@asynccontextmanager
async def listening(
    cluster: FakeCluster, listener: Listener, **options: object
) -> AsyncIterator[Consumer]:
    consumer = member(cluster, **options)
    consumer.subscribe("web", listener=listener)
    async with consumer:
        yield consumer


def heartbeats(cluster: FakeCluster) -> int:
    return sum(isinstance(each, ConsumerHeartbeat) for each in cluster.groups.asked)


# --- Who listens ----------------------------------------------------------------------------------


async def test_records_come_after_the_listener_knows_of_the_partition(cluster: FakeCluster) -> None:
    await fill(cluster, 3)
    listener = Acting()
    listener.may_go_on.clear()
    async with listening(cluster, listener) as consumer:
        await until(lambda: listener.told)
        assert await consumer.getmany(timeout_ms=20) == {}

        listener.may_go_on.set()
        assert offsets(await take(consumer, 3)) == [0, 1, 2]


async def test_listener_says_where_reading_begins(cluster: FakeCluster) -> None:
    await fill(cluster, 10)

    class Seeking(Listener):
        async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
            for partition in partitions:
                assert await consumer.position(partition) == 0
                consumer.seek(partition, 7)

    consumer = member(cluster)
    consumer.subscribe("web", listener=Seeking())
    async with consumer:
        assert offsets(await take(consumer, 3)) == [7, 8, 9]


async def test_listener_commits_what_it_gives_up(trio: FakeCluster) -> None:
    for number in range(3):
        await fill(trio, 5, partition=number)

    class Committing(Acting):
        async def act(self) -> None:
            assert self.consumer is not None
            await self.consumer.commit()

    listener = Committing()
    async with listening(trio, listener, enable_auto_commit=False) as consumer:
        listener.consumer = consumer
        await take(consumer, 15)
        await consumer.getmany()
        async with member(trio, "web", enable_auto_commit=False) as other:
            await until(lambda: len(other.assignment()) == 1)

            assert await other.getmany(timeout_ms=20) == {}
    assert await committed(trio) == dict.fromkeys(ALL, 5)


async def test_partition_stays_while_the_listener_is_busy(trio: FakeCluster) -> None:
    listener = Acting()
    async with listening(trio, listener) as consumer:
        await reads(consumer, ALL)
        await until(lambda: listener.told)
        listener.may_go_on.clear()
        async with member(trio, "web") as other:
            await until(lambda: len(listener.told) == 2)
            before = heartbeats(trio)
            consumer.subscribe("web", pattern="x", listener=listener)
            await until(lambda: heartbeats(trio) > before)
            assert other.assignment() == set()

            listener.may_go_on.set()
            await until(lambda: len(other.assignment()) == 1)


async def test_partition_that_goes_cannot_be_resumed(trio: FakeCluster) -> None:
    for number in range(3):
        await fill(trio, 5, partition=number)
    listener = Acting()
    async with listening(trio, listener) as consumer:
        await until(lambda: listener.told)
        listener.may_go_on.clear()
        async with member(trio, "web") as other:
            await until(lambda: len(listener.told) == 2)
            _, going = listener.told[1]
            consumer.resume(*going)

            taken = await take(consumer, 10)
            assert await consumer.getmany(timeout_ms=20) == {}
            assert going.isdisjoint(record.topic_partition for record in taken)
            listener.may_go_on.set()
            await reads(other, set(going))


async def test_membership_that_ends_while_the_listener_is_busy_is_told_afterwards(
    trio: FakeCluster,
) -> None:
    listener = Acting()
    async with listening(trio, listener) as consumer:
        await until(lambda: listener.told)
        listener.may_go_on.clear()
        async with member(trio, "web"):
            await until(lambda: len(listener.told) == 2)
            _, going = listener.told[1]
            trio.groups.expire_members()
            await until(lambda: not consumer.assignment())
            assert len(listener.told) == 2

            listener.may_go_on.set()
            await until(lambda: len(listener.told) >= 3)
            assert listener.told[2] == ("lost", ALL - going)


async def test_commit_that_finds_the_membership_lost_is_no_failure_of_the_listener(
    trio: FakeCluster,
) -> None:
    class Failing(Acting):
        async def act(self) -> None:
            raise FencedMemberEpochError("as a commit would")

    listener = Failing()
    consumer = member(trio)
    consumer.subscribe("web", listener=listener)
    await consumer.start()
    await until(lambda: listener.told)
    async with member(trio, "web"):
        await until(lambda: "lost" in [kind for kind, _ in listener.told])
        await until(consumer.assignment)
    with pytest.raises(FencedMemberEpochError):  # it does so again
        await consumer.stop()


@pytest.mark.parametrize("error", [RequestTimedOutError("slow"), KeyError("mistaken")])
async def test_listener_that_fails_while_partitions_go_ends_the_consumer(
    trio: FakeCluster, error: Exception
) -> None:
    class Failing(Acting):
        async def act(self) -> None:
            raise error

    listener = Failing()
    async with listening(trio, listener) as consumer:
        await until(lambda: listener.told)
        async with member(trio, "web"):
            with pytest.raises(RebalanceListenerError) as caught:
                await consumer.getone()

    assert caught.value.__cause__ is error


async def test_listener_that_is_no_coroutine_is_named_as_the_culprit(cluster: FakeCluster) -> None:
    class Blocking:
        def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
            """Belongs to the other client."""

    consumer = member(cluster)
    listener: object = Blocking()
    consumer.subscribe("web", listener=listener)  # type: ignore[arg-type]  # the mistake itself
    await consumer.start()
    with pytest.raises(RebalanceListenerError):
        await consumer.getone()
    await consumer.stop()


# --- What is assigned -----------------------------------------------------------------------------


async def test_topic_that_is_deleted_is_given_up(cluster: FakeCluster) -> None:
    cluster.create("news")
    async with member(cluster, "web", "news") as consumer:
        await reads(consumer, {WEB_0, TopicPartition("news", 0)})
        del cluster.topics["news"]
        cluster.tell_metadata()
        cluster.groups.topics_changed()

        await reads(consumer, {WEB_0})


async def test_consumer_of_assigned_partitions_cannot_subscribe(cluster: FakeCluster) -> None:
    async with member(cluster) as consumer:
        consumer.assign([WEB_0])
        with pytest.raises(InvalidRequestError, match="were assigned"):
            consumer.subscribe("web")


async def test_consumer_that_subscribes_late_joins_then(cluster: FakeCluster) -> None:
    await fill(cluster, 3)
    async with member(cluster) as consumer:
        consumer.subscribe("web")

        assert len(await take(consumer, 3)) == 3


async def test_target_that_changes_while_it_is_taken_is_followed(trio: FakeCluster) -> None:
    async with member(trio, "web") as one:
        await reads(one, ALL)
        others = [member(trio, "web") for _ in range(4)]
        for other in others:
            await other.start()
        await until(lambda: set().union(one.assignment(), *(o.assignment() for o in others)) == ALL)
        for other in others:
            await other.stop()
        await reads(one, ALL)


# --- Who cannot join ------------------------------------------------------------------------------


async def test_member_that_is_refused_at_the_start_says_why(cluster: FakeCluster) -> None:
    cluster.groups.plan = iter([GroupMaxSizeReachedError("full")])

    with pytest.raises(GroupMaxSizeReachedError):
        await member(cluster, "web").start()


async def test_start_does_not_wait_for_ever_for_a_coordinator(cluster: FakeCluster) -> None:
    def never() -> OttlaError:
        return CoordinatorNotAvailableError("not yet")

    cluster.groups.plan = iter(never, None)

    async with asyncio.timeout(5):
        with pytest.raises(CoordinatorNotAvailableError):
            await member(cluster, "web", request_timeout_ms=50).start()


async def test_start_that_is_cancelled_leaves_no_member_behind(cluster: FakeCluster) -> None:
    cluster.groups.loses_answers = 1
    starting = asyncio.create_task(member(cluster, "web").start())
    await until(lambda: heartbeats(cluster) == 1)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting

    assert cluster.groups.members("mine") == []


async def test_start_without_a_broker_is_refused_as_without_a_group(cluster: FakeCluster) -> None:
    await cluster.stop()
    with pytest.raises(NoBrokersAvailableError):
        await member(cluster, "web", connect_timeout_ms=50).start()


async def test_answer_that_is_lost_costs_no_partition(trio: FakeCluster) -> None:
    trio.groups.loses_answers = 1
    listener = Listener()
    async with listening(trio, listener, request_timeout_ms=900):
        await until(lambda: listener.told)

        assert listener.told == [("assigned", ALL)]


async def test_member_that_is_refused_again_and_again_does_not_hurry(cluster: FakeCluster) -> None:
    async with member(cluster, "web", retry_backoff_ms=20, retry_backoff_max_ms=20) as consumer:
        await reads(consumer, {WEB_0})

        def fenced() -> OttlaError:
            return FencedMemberEpochError("the fake says so")

        cluster.groups.plan = iter(fenced, None)
        cluster.groups.topics_changed()
        consumer.subscribe("web", pattern="x")
        before = heartbeats(cluster)
        await asyncio.sleep(0.1)
        assert heartbeats(cluster) - before < 10
        cluster.groups.plan = iter(())
        await reads(consumer, {WEB_0})


async def test_member_with_nothing_to_say_says_nothing(trio: FakeCluster) -> None:
    async with member(trio, "web") as one, member(trio, "web") as other:
        await until(lambda: one.assignment() | other.assignment() == ALL)
        await until(lambda: {len(one.assignment()), len(other.assignment())} == {1, 2})
        await asyncio.sleep(0.03)
        before = heartbeats(trio)
        await asyncio.sleep(0.1)

        assert heartbeats(trio) == before
