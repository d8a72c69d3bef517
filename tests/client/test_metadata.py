"""The picture of the cluster is fetched when needed, shared, and replaced when it is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.client.cluster_picture import PartitionLeader
from ottla.client.connections import Connections
from ottla.client.metadata import MetadataCache
from ottla.client.settings import ConnectionSettings
from ottla.model.errors import OttlaError, UnknownTopicOrPartitionError
from ottla.model.ids import TopicPartition
from tests.client.fake_broker import FakeCluster
from tests.client.waiting import until


def settings(cluster: FakeCluster, **options: object) -> ConnectionSettings:
    return ConnectionSettings(
        **{  # type: ignore[arg-type]
            "bootstrap_servers": cluster.bootstrap,
            "retry_backoff_ms": 2,
            "retry_backoff_max_ms": 10,
            **options,
        }
    )


class Known:
    """A metadata cache with its task, and a count of its pictures."""

    def __init__(self, settings: ConnectionSettings) -> None:
        self.updates = 0
        self.connections = Connections(settings)
        self.cache = MetadataCache(
            self.connections, settings, create_topics=False, on_update=self.count
        )

    def count(self) -> None:
        self.updates += 1


@pytest.fixture
async def known(trio: FakeCluster) -> AsyncIterator[Known]:
    """Connected to three brokers."""
    known = Known(settings(trio))
    await known.cache.connect()
    task = asyncio.ensure_future(known.cache.run())
    yield known
    task.cancel()
    await asyncio.wait([task])
    await known.connections.close()


async def test_first_picture_names_the_brokers_and_no_topics(known: Known) -> None:
    picture = known.cache.picture

    assert (picture.cluster_id, sorted(picture.brokers), dict(picture.topics)) == (
        "fake",
        [1, 2, 3],
        {},
    )


async def test_topic_is_looked_up_when_it_is_first_asked_for(known: Known) -> None:
    topic = await known.cache.topic("web", timeout_ms=1_000)

    assert topic.partitions == tuple(PartitionLeader(number, 0) for number in (1, 2, 3))


async def test_topic_that_is_known_costs_no_call(trio: FakeCluster, known: Known) -> None:
    await known.cache.topic("web", timeout_ms=1_000)
    await known.cache.topic("web", timeout_ms=1_000)

    assert trio.calls["GetMetadata"] == 1


async def test_those_who_ask_at_the_same_time_share_an_answer(
    trio: FakeCluster, known: Known
) -> None:
    await asyncio.gather(*(known.cache.topic("web", timeout_ms=1_000) for _ in range(20)))

    assert trio.calls["GetMetadata"] == 1


async def test_new_picture_shows_a_leader_that_moved(trio: FakeCluster, known: Known) -> None:
    await known.cache.topic("web", timeout_ms=1_000)
    trio.move_leader("web", 0, to=3)
    known.cache.request_refresh()

    partition = TopicPartition("web", 0)
    await until(lambda: known.cache.picture.leader_of(partition) == PartitionLeader(3, 1))


async def test_brokers_are_asked_in_turn_so_that_none_misleads_for_long(
    trio: FakeCluster, known: Known
) -> None:
    for _ in range(3):
        updates = known.updates
        known.cache.request_refresh()
        await until(lambda updates=updates: known.updates > updates)  # type: ignore[misc]

    assert all(trio.calls[f"DescribeCluster of {number}"] >= 1 for number in (1, 2, 3))


async def test_refreshing_survives_brokers_that_are_down(trio: FakeCluster, known: Known) -> None:
    await known.cache.topic("web", timeout_ms=1_000)
    await trio.stop()
    known.cache.request_refresh()
    updates = known.updates
    await asyncio.sleep(0.02)
    await trio.start()

    await until(lambda: known.updates > updates)


async def test_broker_that_keeps_misleading_is_not_asked_without_pause(trio: FakeCluster) -> None:
    known = Known(settings(trio, retry_backoff_ms=20, retry_backoff_max_ms=20))
    await known.cache.connect()
    task = asyncio.ensure_future(known.cache.run())
    started_s = asyncio.get_running_loop().time()

    def asked_again() -> bool:
        known.cache.request_refresh()
        return known.updates >= 6

    await until(asked_again)

    assert asyncio.get_running_loop().time() - started_s >= 4 * 0.8 * 0.02
    task.cancel()
    await asyncio.wait([task])
    await known.connections.close()


async def test_topic_that_does_not_exist_is_forgotten_again(known: Known) -> None:
    with pytest.raises(UnknownTopicOrPartitionError, match="'nowhere' does not exist"):
        await known.cache.topic("nowhere", timeout_ms=200)
    known.cache.request_refresh()
    updates = known.updates
    await until(lambda: known.updates > updates)

    assert "nowhere" not in known.cache.picture.topics


async def test_topic_that_appears_in_time_is_found(trio: FakeCluster, known: Known) -> None:
    waiting = asyncio.ensure_future(known.cache.topic("late", timeout_ms=5_000))
    await until(lambda: trio.calls["GetMetadata"] >= 2)
    trio.create("late")

    assert len((await waiting).partitions) == 1


async def test_reason_why_a_partition_has_no_leader_is_told(
    trio: FakeCluster, known: Known
) -> None:
    await known.cache.topic("web", timeout_ms=1_000)
    trio.topics["web"][1].leader = -1
    known.cache.request_refresh()
    await until(lambda: known.cache.picture.leader_of(TopicPartition("web", 1)) is None)

    picture = known.cache.picture
    assert picture.available_partitions("web") == [0, 2]
    assert "no leader" in str(picture.why_no_leader(TopicPartition("web", 1)))
    assert "no partition 3" in str(picture.why_no_leader(TopicPartition("web", 3)))


async def test_hanging_broker_leaves_time_for_the_others(trio: FakeCluster) -> None:
    trio.speaks.clear()
    known = Known(settings(trio, connect_timeout_ms=300))

    with pytest.raises(OttlaError, match=r"within 0\.3 s"):
        await known.cache.connect()

    assert trio.calls["DescribeCluster"] >= 3
    trio.speaks.set()
    await known.connections.close()


# --- Watching -----------------------------------------------------------------------------


async def watching(trio: FakeCluster, known: Known) -> int:
    """Have the topic watched; return by which broker its changes are told."""
    await known.cache.topic("web", timeout_ms=1_000)
    await until(lambda: known.cache._watch.is_live)
    (watched,) = trio.watched_at
    return watched


def leader(known: Known) -> PartitionLeader | None:
    return known.cache.picture.leader_of(TopicPartition("web", 0))


async def test_leader_that_moves_is_known_without_asking(trio: FakeCluster, known: Known) -> None:
    await watching(trio, known)
    calls = trio.calls["GetMetadata"]

    for epoch, to in enumerate((3, 1, 2), 1):
        trio.move_leader("web", 0, to=to)
        await until(lambda to=to, epoch=epoch: leader(known) == PartitionLeader(to, epoch))  # type: ignore[misc]

    assert trio.calls["GetMetadata"] == calls


async def test_nothing_is_watched_without_a_topic(trio: FakeCluster, known: Known) -> None:
    known.cache.request_refresh()
    updates = known.updates
    await until(lambda: known.updates > updates)

    assert trio.calls["WatchMetadata"] == 0


async def test_another_broker_is_watched_when_one_dies(trio: FakeCluster, known: Known) -> None:
    watched = await watching(trio, known)
    await trio.brokers[watched - 1].stop()
    survivor = watched % 3 + 1

    trio.move_leader("web", 0, to=survivor)

    await until(lambda: leader(known) == PartitionLeader(survivor, 1))
    assert watched not in trio.watched_at


async def test_another_broker_is_watched_when_one_does_not_hear_what_happens(
    trio: FakeCluster, known: Known
) -> None:
    watched = await watching(trio, known)
    trio.brokers[watched - 1].cut_off()
    trio.move_leader("web", 0, to=3)

    known.cache.request_refresh()

    await until(lambda: leader(known) == PartitionLeader(3, 1))
    await until(lambda: trio.watched_at and trio.watched_at != [watched])


async def test_what_an_older_answer_says_does_not_replace_a_newer_one(
    trio: FakeCluster, known: Known
) -> None:
    watched = await watching(trio, known)
    for broker in trio.brokers:
        if broker.id != watched:
            broker.cut_off()
    trio.move_leader("web", 0, to=3)
    await until(lambda: leader(known) == PartitionLeader(3, 1))
    calls, updates = trio.calls["GetMetadata"], known.updates

    known.cache.request_refresh()
    await until(lambda: known.updates > updates)

    assert trio.calls["GetMetadata"] > calls
    assert leader(known) == PartitionLeader(3, 1)


async def test_new_topic_joins_the_watch(trio: FakeCluster, known: Known) -> None:
    await watching(trio, known)
    trio.create("app")
    await known.cache.topic("app", timeout_ms=1_000)
    await until(lambda: trio.calls["WatchMetadata"] == 2 and known.cache._watch.is_live)

    trio.move_leader("app", 0, to=3)

    moved = PartitionLeader(3, 1)
    await until(lambda: known.cache.picture.leader_of(TopicPartition("app", 0)) == moved)


async def test_brokers_that_cannot_be_watched_are_asked(trio: FakeCluster, known: Known) -> None:
    trio.can_watch = False
    await known.cache.topic("web", timeout_ms=1_000)
    await until(lambda: trio.calls["WatchMetadata"])
    trio.move_leader("web", 0, to=3)

    known.cache.request_refresh()

    await until(lambda: leader(known) == PartitionLeader(3, 1))
    assert trio.calls["WatchMetadata"] == 1
