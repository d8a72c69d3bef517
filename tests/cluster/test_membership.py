"""A broker hands over what it leads before it goes, and goes in time when nobody takes it."""

from __future__ import annotations

import asyncio

from ottla.cluster.membership import FAREWELL_TIMEOUT_MS, Membership
from ottla.cluster.metadata_cache import MetadataCache
from ottla.controller.requests import CreateTopics, NewTopic
from ottla.model.ids import BrokerId, TopicPartition
from tests.cluster.controllers import (
    LONG_MS,
    Cluster,
    eventually,
    propose_isr,
    registration,
    with_cluster,
)
from tests.cluster.virtual_time import let_pass, now_ms


async def create(cluster: Cluster, name: str, *, partitions: int = 3, replicas: int = 3) -> None:
    topic = NewTopic(name=name, partitions=partitions, replication_factor=replicas)
    await cluster[0].client.submit(CreateTopics(topics=(topic,)), timeout_ms=LONG_MS)


def leaders(cluster: Cluster, name: str = "web", *, seen_by: int = 0) -> list[int]:
    topic = cluster[seen_by].image.topics[name]
    return [partition.leader for partition in topic.partitions]


def test_registration_and_unfencing_are_known_here_when_they_are_done() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.elect(0, term=1)

        await cluster[1].join()

        assert cluster[1].image.brokers[BrokerId(1)].fenced is False

    with_cluster(scenario)


def test_broker_registers_before_it_carries_anything_out_and_serves_after() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.elect(0, term=1)
        node = cluster[1]
        carried_out = MetadataCache(node.image)
        membership = Membership(
            broker_id=node.broker_id,
            controller=node.client,
            applied=node.metadata,
            metadata=carried_out,
            clock=node.clock,
        )
        await membership.register(registration(1), timeout_ms=LONG_MS)
        unfencing = asyncio.create_task(membership.unfence(timeout_ms=LONG_MS))
        await let_pass(500)
        waited = cluster[0].fenced == {1}

        carried_out.publish(node.image)
        await unfencing

        assert waited
        assert cluster[0].fenced == set()

    with_cluster(scenario)


def test_leaving_broker_leads_nothing() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        await create(cluster, "web")

        left = await cluster[1].membership.leave(timeout_ms=5_000)

        assert left
        assert set(leaders(cluster, seen_by=1)) == {0, 2}

    with_cluster(scenario)


def test_leaving_broker_is_not_unfenced_again() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        await cluster[1].membership.leave(timeout_ms=5_000)
        thaw = cluster[1].freeze()
        await eventually(lambda: cluster[0].fenced == {1})

        thaw.set()
        await let_pass(5_000)

        assert cluster[0].fenced == {1}

    with_cluster(scenario)


def test_broker_does_not_wait_for_partitions_that_nobody_else_has() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await create(cluster, "web", replicas=1)
        begun_ms = now_ms()

        left = await cluster[1].membership.leave(timeout_ms=5_000)

        assert not left
        return now_ms() - begun_ms

    assert with_cluster(scenario) < 100


def test_broker_waits_for_a_follower_that_is_about_to_be_in_sync() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        await create(cluster, "web", partitions=1, replicas=2)
        web = TopicPartition("web", 0)
        first, second = cluster[0].image.topics["web"].partitions[0].replicas
        await propose_isr(cluster, web, first)
        leaving = asyncio.create_task(cluster[first].membership.leave(timeout_ms=5_000))
        await let_pass(500)
        waited = not leaving.done()

        await propose_isr(cluster, web, first, second)

        assert await leaving
        assert waited
        assert leaders(cluster) == [second]

    with_cluster(scenario)


def test_leaving_without_a_controller_ends_in_time() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await create(cluster, "web")
        cluster.kill(0)
        cluster.kill(2)
        cluster.lose_leader(term=1)
        begun_ms = now_ms()

        left = await cluster[1].membership.leave(timeout_ms=3_000)

        assert not left
        return now_ms() - begun_ms

    assert with_cluster(scenario) == 3_000


def test_broker_with_nothing_to_hand_over_does_not_wait_for_a_controller() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await create(cluster, "web")
        for broker in (2, 0):
            await cluster[broker].membership.leave(timeout_ms=5_000)
            cluster.kill(broker)
        cluster.lose_leader(term=1)
        begun_ms = now_ms()

        await cluster[1].membership.leave(timeout_ms=5_000)

        return now_ms() - begun_ms

    assert with_cluster(scenario) == FAREWELL_TIMEOUT_MS


def test_all_brokers_may_leave_at_once() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await create(cluster, "web")
        begun_ms = now_ms()

        await asyncio.gather(*(cluster[n].membership.leave(timeout_ms=5_000) for n in range(3)))

        return now_ms() - begun_ms

    assert with_cluster(scenario) < 500
