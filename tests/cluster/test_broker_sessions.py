"""Who dies or hangs is fenced, who lives is not, and who comes back serves again by itself."""

from __future__ import annotations

import asyncio

import pytest

from ottla.controller.requests import CreateTopics, NewTopic, UnregisterBroker
from ottla.model.errors import BrokerIdNotRegisteredError, OttlaError, StaleBrokerEpochError
from ottla.model.ids import NO_BROKER, BrokerId
from tests.cluster.controllers import (
    LONG_MS,
    SESSION_TIMEOUT_MS,
    Cluster,
    eventually,
    registration,
    with_cluster,
)
from tests.cluster.virtual_time import let_pass

HEARTBEAT_MS = SESSION_TIMEOUT_MS // 6


def hang(cluster: Cluster, broker: int) -> None:
    """Let nothing come from a broker any more, with all its connections open."""
    for task in cluster[broker].tasks[2:]:
        task.cancel()


# --- Living -----------------------------------------------------------------------------


def test_brokers_that_live_are_never_fenced() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        epoch = len(cluster.log.entries)

        await let_pass(20 * SESSION_TIMEOUT_MS)

        assert cluster[0].fenced == set()
        assert len(cluster.log.entries) == epoch

    with_cluster(scenario)


def test_controller_keeps_a_session_with_itself() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)

        await let_pass(5 * SESSION_TIMEOUT_MS)

        assert cluster[0].fenced == set()

    with_cluster(scenario, brokers=1)


# --- Dying and hanging ------------------------------------------------------------------


def test_broken_session_is_fenced_within_moments() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await let_pass(1_000)
        hang(cluster, 1)  # its session closes, and no other one comes
        return await eventually(lambda: cluster[0].fenced == {1})

    assert 150 <= with_cluster(scenario) <= 200


def test_broken_connection_of_a_broker_that_lives_does_not_fence_it() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        await let_pass(1_000)

        cluster.network.cut(0).set()
        cluster.network._cut.clear()  # connections made from now on hold
        await let_pass(2 * SESSION_TIMEOUT_MS)

        assert cluster[0].fenced == set()

    with_cluster(scenario)


def test_silent_broker_is_fenced_after_the_session_timeout() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await let_pass(1_000)
        cluster[1].freeze()
        return await eventually(lambda: cluster[0].fenced == {1})

    took_ms = with_cluster(scenario)
    assert SESSION_TIMEOUT_MS - HEARTBEAT_MS <= took_ms <= SESSION_TIMEOUT_MS + 50


def test_broker_that_is_heard_and_hears_nothing_is_fenced_and_stays_so() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await let_pass(1_000)
        cluster.network.mute.add(BrokerId(0))
        took_ms = await eventually(lambda: 1 in cluster[0].fenced)
        await let_pass(5 * SESSION_TIMEOUT_MS)
        assert 1 in cluster[0].fenced
        return took_ms

    # However often it opens another session.
    assert with_cluster(scenario) <= SESSION_TIMEOUT_MS + HEARTBEAT_MS


def test_several_brokers_are_fenced_in_one_go() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await let_pass(1_000)
        for broker in (1, 2, 3, 4):
            hang(cluster, broker)
        return await eventually(lambda: cluster[0].fenced == {1, 2, 3, 4})

    assert with_cluster(scenario, brokers=5) <= 250


def test_fencing_goes_before_other_requests() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster[0].proposing.clear()
        many = [
            asyncio.create_task(
                cluster[0].client.submit(
                    CreateTopics(topics=(NewTopic(name=f"t{n}", partitions=1),)),
                    timeout_ms=LONG_MS,
                )
            )
            for n in range(20)
        ]
        hang(cluster, 1)
        await let_pass(200)

        cluster[0].proposing.set()
        await eventually(lambda: cluster[0].fenced == {1})

        assert len(cluster[0].image.topics) <= 2
        await asyncio.gather(*many)

    with_cluster(scenario)


def test_fencing_that_failed_is_tried_again() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster[0].proposing.clear()
        hang(cluster, 1)
        await let_pass(2 * SESSION_TIMEOUT_MS)

        cluster[0].proposing.set()

        await eventually(lambda: cluster[0].fenced == {1})

    with_cluster(scenario)


# --- Another controller -----------------------------------------------------------------


def test_sessions_follow_the_controller_and_nobody_is_fenced() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        await let_pass(1_000)

        cluster.elect(2, term=2)
        await let_pass(5 * SESSION_TIMEOUT_MS)

        assert cluster[2].driver.is_active
        assert cluster[2].fenced == set()

    with_cluster(scenario)


def test_new_controller_fences_the_dead_one_within_moments() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await let_pass(1_000)
        cluster.kill(0)
        cluster.elect(2, term=2)
        return await eventually(lambda: cluster[2].fenced == {0})

    assert with_cluster(scenario) <= 350


def test_new_controller_does_not_wait_long_for_one_that_hangs_with_its_connections_open() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await let_pass(1_000)
        hang(cluster, 0)
        cluster.elect(2, term=2)
        return await eventually(lambda: cluster[2].fenced == {0})

    assert with_cluster(scenario) <= 350


def test_deposed_controller_fences_nobody() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.elect(2, term=2)
        await eventually(lambda: cluster[2].driver.is_active)
        before = len(cluster.log.entries)

        await let_pass(3 * SESSION_TIMEOUT_MS)

        assert len(cluster.log.entries) == before
        assert repr(cluster[0].shell).endswith("not the controller>")

    with_cluster(scenario)


def test_controller_that_was_paused_gives_everybody_time() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        await let_pass(1_000)

        cluster[0].clock.ahead_ms += 10 * SESSION_TIMEOUT_MS
        await let_pass(5 * SESSION_TIMEOUT_MS)

        assert cluster[0].fenced == set()

    with_cluster(scenario)


# --- Coming back ------------------------------------------------------------------------


def test_broker_that_was_stopped_and_goes_on_serves_again() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        await let_pass(1_000)
        thaw = cluster[1].freeze()
        await eventually(lambda: cluster[0].fenced == {1})
        await let_pass(1_000)

        thaw.set()
        return await eventually(lambda: cluster[0].fenced == set())

    assert with_cluster(scenario) <= HEARTBEAT_MS + 100


def test_fenced_broker_catches_up_before_it_serves_again() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        await let_pass(1_000)
        cluster[1].lags = True
        thaw = cluster[1].freeze()
        await eventually(lambda: cluster[0].fenced == {1})
        thaw.set()
        await let_pass(2_000)
        waited = cluster[0].fenced == {1}

        cluster[1].catch_up()

        assert waited
        await eventually(lambda: cluster[0].fenced == set())

    with_cluster(scenario)


def test_broker_that_hangs_again_and_again_comes_back_less_and_less_often() -> None:
    async def scenario(cluster: Cluster) -> list[int]:
        await cluster.start(leader=0)
        took_ms = []
        for _ in range(5):
            thaw = cluster[1].freeze()
            await eventually(lambda: cluster[0].fenced == {1})
            thaw.set()
            took_ms.append(await eventually(lambda: cluster[0].fenced == set(), within_ms=60_000))
        return took_ms

    took_ms = with_cluster(scenario)
    assert took_ms[0] <= HEARTBEAT_MS + 100
    assert took_ms[-1] >= 4_000


def test_leaders_move_when_a_broker_hangs_and_it_leads_nothing_until_it_is_back() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        topic = NewTopic(name="web", partitions=3, replication_factor=3)
        await cluster[0].client.submit(CreateTopics(topics=(topic,)), timeout_ms=LONG_MS)
        hang(cluster, 1)
        await eventually(lambda: cluster[0].fenced == {1})

        leaders = {partition.leader for partition in cluster[0].image.topics["web"].partitions}

        assert leaders == {0, 2}
        assert NO_BROKER not in leaders

    with_cluster(scenario)


# --- Not a broker any more --------------------------------------------------------------


def fails_with(cluster: Cluster, kind: type[OttlaError]) -> None:
    cluster.may_fail_with = (kind,)


def test_broker_whose_id_was_taken_fails_with_a_sentence() -> None:
    async def scenario(cluster: Cluster) -> None:
        fails_with(cluster, StaleBrokerEpochError)
        await cluster.start(leader=0)
        session = cluster[1].tasks[2]

        await cluster[0].client.submit(registration(1, incarnation=99), timeout_ms=LONG_MS)

        with pytest.raises(StaleBrokerEpochError, match=r"must not have one node\.id"):
            await session

    with_cluster(scenario)


def test_broker_that_was_unregistered_fails_with_a_sentence() -> None:
    async def scenario(cluster: Cluster) -> None:
        fails_with(cluster, BrokerIdNotRegisteredError)
        await cluster.start(leader=0)
        thaw = cluster[1].freeze()
        await eventually(lambda: cluster[0].fenced == {1})
        await cluster[0].client.submit(UnregisterBroker(broker_id=BrokerId(1)), timeout_ms=LONG_MS)
        session = cluster[1].tasks[2]

        thaw.set()

        with pytest.raises(BrokerIdNotRegisteredError, match="unregistered it"):
            await session

    with_cluster(scenario)
