"""What a test does to a cluster, a real client survives or hears of."""

from __future__ import annotations

import asyncio

import pytest

from ottla.testing.sandbox import OttlaCluster
from tests.testing.confluent import consume, produce

pytestmark = [pytest.mark.integration, pytest.mark.faults]


def test_producer_survives_the_death_of_a_leader(ottla_shared_cluster: OttlaCluster) -> None:
    topic = ottla_shared_cluster.topic()
    produce(ottla_shared_cluster.kafka, topic, b"before", acks="all")
    leader = ottla_shared_cluster.leader_of(topic)
    leader.kill()

    assert produce(ottla_shared_cluster.kafka, topic, b"after", acks="all") == [None]
    assert ottla_shared_cluster.leader_of(topic) is not leader


def test_group_survives_the_death_of_its_coordinator(ottla_shared_cluster: OttlaCluster) -> None:
    topic = ottla_shared_cluster.topic()
    produce(ottla_shared_cluster.kafka, topic, b"order")
    ottla_shared_cluster.coordinator_of("shop").kill()

    assert consume(ottla_shared_cluster.kafka, topic, 1, "shop") == [b"order"]


def test_isolated_leader_is_replaced() -> None:
    with OttlaCluster(size=3, settings={"broker.session.timeout.ms": "500"}) as cluster:
        topic = cluster.topic()
        cluster.isolate(cluster.leader_of(topic).id)

        assert produce(cluster.kafka, topic, b"order", acks="all") == [None]


def test_link_that_is_none_cannot_be_cut(ottla_shared_cluster: OttlaCluster) -> None:
    with pytest.raises(ValueError, match="no link between 0 and 3"):
        ottla_shared_cluster.cut(0, 3)


async def test_cluster_is_started_and_stopped_from_a_coroutine() -> None:
    async with OttlaCluster(size=1, settings={"num.partitions": "2"}) as cluster:
        broker = cluster.brokers[0]
        topic = await asyncio.to_thread(broker.topic, partitions=2)
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)

        assert cluster.leader_of(topic, 1) is broker
    assert repr(cluster) == "<OttlaCluster of 1, not started>"


@pytest.mark.parametrize("settings", [{"node.id": "7"}, {"listeners": "PLAINTEXT://:1"}])
def test_settings_by_which_brokers_are_found_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="itself; leave it out"):
        OttlaCluster(settings=settings)
