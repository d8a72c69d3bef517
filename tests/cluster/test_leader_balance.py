"""Preferred leaders lead again soon after their brokers are back, and at the interval."""

from __future__ import annotations

import asyncio

from ottla.cluster.leader_balance import SETTLING_INTERVAL_MS, SETTLING_MAX_MS
from ottla.controller.requests import CreateTopics, NewTopic
from ottla.model.ids import BrokerId, TopicPartition
from tests.cluster.controllers import (
    BALANCE_INTERVAL_MS,
    LONG_MS,
    Cluster,
    eventually,
    propose_isr,
    with_cluster,
)
from tests.cluster.virtual_time import let_pass


async def balanced_cluster(cluster: Cluster) -> None:
    for node in cluster.nodes.values():
        node.tasks.append(asyncio.create_task(node.balance.run()))
    await cluster.start(leader=0)
    topic = NewTopic(name="web", partitions=3, replication_factor=3)
    await cluster[0].client.submit(CreateTopics(topics=(topic,)), timeout_ms=LONG_MS)


def imbalance(cluster: Cluster) -> int:
    partitions = cluster[2].image.topics["web"].partitions
    return sum(partition.leader != partition.replicas[0] for partition in partitions)


async def restart(cluster: Cluster, broker: int) -> None:
    """Let a broker be away for a while; what it led others lead then, and it is not in sync."""
    thaw = cluster[broker].freeze()
    await eventually(lambda: cluster[0].fenced == {broker})
    thaw.set()
    await eventually(lambda: cluster[0].fenced == set())


async def catch_up(cluster: Cluster) -> None:
    for number in range(3):
        await propose_isr(cluster, TopicPartition("web", number), 0, 1, 2)


def test_broker_that_caught_up_leads_again_within_seconds() -> None:
    async def scenario(cluster: Cluster) -> None:
        await balanced_cluster(cluster)
        await restart(cluster, 1)
        before = imbalance(cluster)

        await catch_up(cluster)
        took_ms = await eventually(lambda: imbalance(cluster) == 0)

        assert before == 1
        assert took_ms <= SETTLING_INTERVAL_MS + 50

    with_cluster(scenario)


def test_broker_that_has_not_caught_up_leads_nothing() -> None:
    async def scenario(cluster: Cluster) -> None:
        await balanced_cluster(cluster)
        await restart(cluster, 1)

        await let_pass(4 * SETTLING_INTERVAL_MS)

        assert imbalance(cluster) == 1

    with_cluster(scenario)


def test_replica_that_takes_very_long_is_balanced_at_the_interval() -> None:
    async def scenario(cluster: Cluster) -> None:
        await balanced_cluster(cluster)
        await restart(cluster, 1)
        await let_pass(SETTLING_MAX_MS + 10_000)
        await catch_up(cluster)
        await let_pass(10 * SETTLING_INTERVAL_MS)
        assert imbalance(cluster) == 1
        await eventually(
            lambda: imbalance(cluster) == 0, within_ms=BALANCE_INTERVAL_MS, step_ms=1_000
        )

    with_cluster(scenario)


def test_next_controller_balances_what_the_last_one_left() -> None:
    async def scenario(cluster: Cluster) -> None:
        await balanced_cluster(cluster)
        await restart(cluster, 1)
        cluster.elect(2, term=2)
        await eventually(lambda: cluster[2].driver.is_active)
        await catch_up(cluster)

        await eventually(lambda: imbalance(cluster) == 0)

        assert cluster[2].image.controller_id == BrokerId(2)

    with_cluster(scenario)


def test_balanced_cluster_is_left_alone() -> None:
    async def scenario(cluster: Cluster) -> None:
        await balanced_cluster(cluster)
        await let_pass(10_000)
        before = len(cluster.log.entries)

        await let_pass(BALANCE_INTERVAL_MS + 10_000)

        assert len(cluster.log.entries) == before

    with_cluster(scenario)
