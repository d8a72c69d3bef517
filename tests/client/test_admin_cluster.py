"""An administrator moves partitions, elects leaders, looks after brokers, and watches it all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.client import MetadataChange, PlannedMove, QuorumNode
from ottla.client.admin import Admin
from ottla.client.blocking import Admin as BlockingAdmin
from ottla.client.errors import PartialFailureError
from ottla.model.errors import (
    ElectionNotNeededError,
    UnknownTopicOrPartitionError,
    UnsupportedVersionError,
)
from ottla.model.ids import TopicPartition
from tests.client.fake_broker import FakeCluster
from tests.client.served import ServedCluster
from tests.client.test_consumer import WEB_0, WEB_1
from tests.client.waiting import until

WEB_9 = TopicPartition("web", 9)


@pytest.fixture
async def admin(trio: FakeCluster) -> AsyncIterator[Admin]:
    async with Admin(trio.bootstrap, retry_backoff_ms=2) as client:
        yield client


async def test_quorum_is_described_by_the_broker_that_is_named(admin: Admin) -> None:
    quorum = await admin.describe_quorum(3)

    assert (quorum.leader_id, quorum.term, quorum.applied_index) == (1, 7, 42)
    assert quorum.nodes == (
        QuorumNode(2, is_voter=True, is_connected=False, offered_directory_id=b"new"),
        QuorumNode(3, is_voter=True, is_connected=True, offered_directory_id=None),
    )
    assert (await admin.describe_quorum()).leader_id == 1


async def test_partition_is_moved(trio: FakeCluster, admin: Admin) -> None:
    await admin.reassign({WEB_0: [2, 3]})

    assert trio.topics["web"][0].replicas == [2, 3]


async def test_partitions_that_cannot_be_moved_are_named(admin: Admin) -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        await admin.reassign({WEB_9: [1]})
    with pytest.raises(PartialFailureError) as raised:
        await admin.reassign({WEB_0: [1], WEB_9: [1]})

    assert (list(raised.value.errors), raised.value.results) == (["web-9"], [WEB_0])


async def test_moves_are_planned(admin: Admin) -> None:
    assert await admin.plan_rebalancing(draining=[1, 2]) == [
        PlannedMove(topic_partition=WEB_1, replicas_before=(1, 2), replicas=(3, 2))
    ]


async def test_election_returns_what_was_elected(admin: Admin) -> None:
    assert await admin.elect_leaders() == [WEB_0]
    assert await admin.elect_leaders([WEB_0, WEB_1], unclean=True) == [WEB_0, WEB_1]
    assert await admin.elect_leaders([]) == []


async def test_election_that_is_not_needed_is_an_error(admin: Admin) -> None:
    with pytest.raises(ElectionNotNeededError):
        await admin.elect_leaders([WEB_1])


async def test_brokers_and_voters_are_looked_after(trio: FakeCluster, admin: Admin) -> None:
    await admin.set_draining(2, draining=True)
    await admin.unregister_broker(3)
    await admin.readmit_voter(2, b"new")

    assert trio.changes == [("draining", 2, True), ("unregistered", 3), ("readmitted", 2, b"new")]


async def next_of(changes: AsyncIterator[MetadataChange]) -> MetadataChange:
    async with asyncio.timeout(10):
        return await anext(changes)


async def test_watch_yields_all_there_is_and_then_changes(trio: FakeCluster, admin: Admin) -> None:
    trio.create("app")
    changes = admin.watch_metadata()
    first = await next_of(changes)
    assert [topic.name for topic in first.topics] == ["app", "web"]
    assert [broker.broker_id for broker in first.brokers] == [1, 2, 3]

    trio.move_leader("web", 1, to=3)

    (topic,) = (await next_of(changes)).topics
    assert (topic.name, topic.partitions[1].leader) == ("web", 3)
    await changes.aclose()


async def test_watch_goes_on_at_another_broker(trio: FakeCluster, admin: Admin) -> None:
    changes = admin.watch_metadata(["web"])
    await next_of(changes)
    (watched,) = trio.watched_at

    await trio.brokers[watched - 1].stop()

    assert [topic.name for topic in (await next_of(changes)).topics] == ["web"]
    await changes.aclose()


async def test_watch_that_is_given_up_ends_at_the_broker(trio: FakeCluster, admin: Admin) -> None:
    changes = admin.watch_metadata()
    await next_of(changes)
    waiting = asyncio.ensure_future(anext(changes))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await until(lambda: not trio.watched_at)


async def test_broker_that_cannot_be_watched_is_an_error(trio: FakeCluster, admin: Admin) -> None:
    trio.can_watch = False
    with pytest.raises(UnsupportedVersionError):
        await next_of(admin.watch_metadata())


def test_blocking_client_administers_and_watches() -> None:
    with ServedCluster() as served, BlockingAdmin(served.bootstrap) as admin:
        admin.reassign({WEB_0: [1]})
        assert admin.elect_leaders() == [WEB_0]
        assert admin.describe_quorum().term == 7
        admin.set_draining(1, draining=False)
        admin.unregister_broker(1)
        admin.readmit_voter(1, b"d")
        assert served.do(lambda cluster: len(cluster.changes)) == 3

        changes = admin.watch_metadata()
        assert [topic.name for topic in next(iter(changes)).topics] == ["web"]
        served.do(lambda cluster: cluster.move_leader("web", 0, to=9))
        assert next(iter(changes)).topics[0].partitions[0].leader == 9
