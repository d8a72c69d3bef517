"""Who watches the metadata hears of every change that concerns it, soon, once and not too often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from uuid import UUID

import pytest

from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.metadata_watch import MetadataWatches
from ottla.cluster.services import MetadataChange
from ottla.model.errors import UnknownTopicOrPartitionError
from ottla.model.ids import (
    BrokerEpoch,
    BrokerId,
    LeaderEpoch,
    MetadataOffset,
    PartitionEpoch,
    TopicId,
)
from ottla.model.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from ottla.model.limits import METADATA_WATCH_INTERVAL_MS
from tests.cluster.virtual_time import let_pass, now_ms, run_in_virtual_time


def partition(leader: int = 1, epoch: int = 0) -> PartitionImage:
    return PartitionImage(
        replicas=(BrokerId(1), BrokerId(2)),
        in_sync_replicas=(BrokerId(1), BrokerId(2)),
        eligible_leader_replicas=(),
        leader=BrokerId(leader),
        leader_epoch=LeaderEpoch(epoch),
        partition_epoch=PartitionEpoch(epoch),
    )


def topic(name: str, *, leader: int = 1, epoch: int = 0) -> TopicImage:
    return TopicImage(
        topic_id=TopicId(UUID(int=len(name))),
        name=name,
        partitions=(partition(leader, epoch),),
        configs={},
    )


class World:
    """A metadata cache that is published to, and its watches."""

    def __init__(self, *names: str) -> None:
        topics = {name: topic(name) for name in names}
        self.cache = MetadataCache(ClusterImage(cluster_id="c", topics=topics))
        self.watches = MetadataWatches(self.cache)

    def publish(self, *topics: TopicImage, gone: str = "", **fields: object) -> None:
        image = self.cache.image
        known = {**image.topics, **{each.name: each for each in topics}}
        known.pop(gone, None)
        self.cache.publish(
            replace(
                image,
                topics=known,
                metadata_offset=MetadataOffset(image.metadata_offset + 1),
                **fields,  # type: ignore[arg-type]
            )
        )

    async def watch(self, *names: str) -> tuple[MetadataChange, AsyncGenerator[MetadataChange]]:
        """Open a watch; return what it says first, and the watch."""
        changes = self.watches.watch(names)
        return await anext(changes), changes


def names(change: MetadataChange) -> list[str]:
    return [name for name, _ in change.topics]


def test_first_answer_is_whole() -> None:
    async def scenario() -> None:
        first, _ = await World("a", "b", "__consumer_offsets").watch()

        assert names(first) == ["a", "b"]

    run_in_virtual_time(scenario())


def test_topic_that_does_not_exist_is_said_to_be_unknown_and_told_when_it_comes() -> None:
    async def scenario() -> None:
        world = World("a")
        first, changes = await world.watch("b", "a")
        assert names(first) == ["b", "a"]
        assert isinstance(first.topics[0][1], UnknownTopicOrPartitionError)

        world.publish(topic("b"))

        assert names(await anext(changes)) == ["b"]

    run_in_virtual_time(scenario())


def test_new_leader_is_told_at_once_and_alone() -> None:
    async def scenario() -> None:
        world = World("a", "b")
        _, changes = await world.watch()
        await let_pass(1_000)

        world.publish(topic("a", leader=2, epoch=1))
        change = await anext(changes)

        assert (names(change), now_ms()) == (["a"], 1_000)
        assert change.image is world.cache.image

    run_in_virtual_time(scenario())


def test_changes_that_follow_closely_are_told_together() -> None:
    async def scenario() -> None:
        world = World("a", "b", "c")
        _, changes = await world.watch()
        world.publish(topic("a", epoch=1))
        await anext(changes)

        started_ms = now_ms()
        for epoch in range(2, 8):
            world.publish(topic("b" if epoch % 2 else "c", epoch=epoch))
            await let_pass(1)
        change = await anext(changes)

        assert (names(change), now_ms() - started_ms) == (["b", "c"], METADATA_WATCH_INTERVAL_MS)

    run_in_virtual_time(scenario())


def test_what_does_not_concern_a_watch_does_not_wake_it() -> None:
    async def scenario() -> None:
        world = World("a", "b")
        _, changes = await world.watch("a")
        waiting = asyncio.ensure_future(anext(changes))

        world.publish(topic("b", epoch=1))
        world.publish(replace(topic("a"), configs={"retention.ms": "1"}))
        world.publish(topic("__consumer_offsets"))
        await let_pass(1_000)

        assert not waiting.done()
        waiting.cancel()

    run_in_virtual_time(scenario())


def test_deleted_topic_is_named() -> None:
    async def scenario() -> None:
        world = World("a", "b")
        _, changes = await world.watch()

        world.publish(gone="b")

        change = await anext(changes)
        assert (names(change), tuple(change.deleted_topics)) == ([], ("b",))

    run_in_virtual_time(scenario())


def test_change_of_a_broker_or_the_controller_is_told_to_all() -> None:
    async def scenario() -> None:
        world = World("a")
        _, changes = await world.watch("a")
        broker = BrokerImage(
            broker_id=BrokerId(7),
            broker_epoch=BrokerEpoch(1),
            host="h",
            grpc_port=1,
            rack="",
            incarnation_id=b"",
            fenced=False,
        )
        world.publish(brokers={broker.broker_id: broker})
        assert list((await anext(changes)).image.brokers) == [7]

        world.publish(controller_id=BrokerId(7))

        change = await anext(changes)
        assert (names(change), change.image.controller_id) == ([], 7)

    run_in_virtual_time(scenario())


def test_slow_client_is_told_of_the_last_state_only() -> None:
    async def scenario() -> None:
        world = World("a", "b")
        _, changes = await world.watch()
        for epoch in range(1, 5):
            world.publish(topic("a", epoch=epoch))
            await let_pass(100)
        world.publish(gone="b")
        await let_pass(100)

        change = await anext(changes)

        assert (names(change), tuple(change.deleted_topics)) == (["a"], ("b",))
        assert change.image.topics["a"].partitions[0].leader_epoch == 4
        waiting = asyncio.ensure_future(anext(changes))
        await let_pass(1_000)
        assert not waiting.done()
        waiting.cancel()

    run_in_virtual_time(scenario())


def test_watch_that_ended_costs_nothing_more() -> None:
    async def scenario() -> None:
        world = World("a")
        _, changes = await world.watch()
        await changes.aclose()

        world.publish(topic("a", epoch=1))

        assert repr(world.watches) == "<MetadataWatches 0 open>"
        _, changes = await world.watch()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await anext(changes)

    run_in_virtual_time(scenario())
