"""A request reaches whoever is the controller, is done at most as often as is right, and ends."""

from __future__ import annotations

import asyncio

import pytest

from ottla.cluster.raft_driver import Proposed
from ottla.controller.raft.consensus import Outcome
from ottla.controller.requests import CreatedTopic, CreateTopics, DeleteTopics, NewTopic
from ottla.model.errors import (
    InconsistentClusterIdError,
    NotControllerError,
    RequestTimedOutError,
)
from ottla.model.ids import BrokerId
from tests.cluster.controllers import LONG_MS, Cluster, eventually, registration, with_cluster
from tests.cluster.virtual_time import let_pass, now_ms


def create(name: str) -> CreateTopics:
    return CreateTopics(topics=(NewTopic(name=name, partitions=1),))


async def submit_create(
    cluster: Cluster, broker: int, name: str = "web", *, timeout_ms: int = LONG_MS
) -> tuple[CreatedTopic, ...]:
    return await cluster[broker].client.submit(create(name), timeout_ms=timeout_ms)


# --- Where it goes ----------------------------------------------------------------------


def test_controller_asks_itself_without_the_network() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.network.submitted.clear()

        (created,) = await submit_create(cluster, 0)

        assert created.error is None
        assert cluster.network.submitted == []

    with_cluster(scenario)


def test_request_is_forwarded_to_the_controller() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.network.submitted.clear()

        (created,) = await submit_create(cluster, 1)

        assert created.error is None
        assert cluster.network.submitted == [(0, "create_topics")]

    with_cluster(scenario)


def test_answer_comes_when_this_broker_has_heard_of_the_change() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster[1].lags = True
        creating = asyncio.create_task(submit_create(cluster, 1))
        await eventually(lambda: "web" in cluster[0].image.topics)
        await let_pass(50)
        waited = not creating.done()

        cluster[1].catch_up()
        await creating

        assert waited
        assert "web" in cluster[1].image.topics

    with_cluster(scenario)


def test_change_that_is_not_heard_of_here_in_time_was_made_all_the_same() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster[1].lags = True

        with pytest.raises(RequestTimedOutError, match="the change was made"):
            await submit_create(cluster, 1, timeout_ms=500)

    with_cluster(scenario)


def test_refusal_of_a_far_controller_is_the_callers() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        foreign = registration(1)
        object.__setattr__(foreign, "cluster_id", "another")

        with pytest.raises(InconsistentClusterIdError, match="another"):
            await cluster[1].client.submit(foreign, timeout_ms=LONG_MS)

    with_cluster(scenario)


def test_answer_about_nothing_new_waits_for_what_it_is_about() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster[1].lags = True
        await submit_create(cluster, 0)
        creating = asyncio.create_task(submit_create(cluster, 1))
        await let_pass(50)
        waited = not creating.done()

        cluster[1].catch_up()

        assert waited
        assert (await creating)[0].error is not None  # there is a topic of this name

    with_cluster(scenario)


# --- The controller moves ---------------------------------------------------------------


def test_request_follows_the_hint_of_a_deposed_controller() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.elect(2, term=2, unknown_to=(1,))
        await eventually(lambda: cluster[2].driver.is_active)
        cluster.network.submitted.clear()

        await submit_create(cluster, 1)

        assert [broker for broker, _ in cluster.network.submitted] == [0, 2]

    with_cluster(scenario)


def test_request_waits_for_an_election_and_goes_there_at_once() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        cluster.network.kill(0)
        cluster.lose_leader(term=1)
        creating = asyncio.create_task(submit_create(cluster, 1))
        await let_pass(700)
        cluster.elect(2, term=2)
        elected_ms = now_ms()

        await creating

        return now_ms() - elected_ms

    assert with_cluster(scenario) < 50


def test_dead_controller_is_asked_again_until_another_is_known() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.network.kill(0)
        creating = asyncio.create_task(submit_create(cluster, 1))
        await let_pass(500)

        cluster.elect(1, term=2)

        (created,) = await creating
        assert created.error is None
        assert len(cluster[1].image.topics) == 1

    with_cluster(scenario)


def test_waiting_request_of_a_deposed_controller_is_served_by_the_next() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster[0].proposing.clear()
        first = asyncio.create_task(submit_create(cluster, 1, "first"))
        await let_pass(20)
        waiting = asyncio.create_task(submit_create(cluster, 1, "waiting"))
        await let_pass(20)
        cluster[0].proposals_fail.append(Proposed(Outcome.REFUSED, b"NOT_CONTROLLER"))

        cluster.elect(2, term=2)
        cluster[0].proposing.set()
        await asyncio.gather(first, waiting)

        assert set(cluster[1].image.topics) == {"first", "waiting"}

    with_cluster(scenario)


def test_request_goes_on_here_when_this_broker_is_elected_meanwhile() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.network.hung.add(BrokerId(0))
        registering = asyncio.create_task(
            cluster[1].client.submit(registration(1), timeout_ms=LONG_MS)
        )
        await let_pass(300)

        cluster.elect(1, term=2)
        begun_ms = now_ms()

        assert await registering == cluster[1].image.brokers[BrokerId(1)].broker_epoch
        assert now_ms() - begun_ms < 50

    with_cluster(scenario)


# --- Nobody knows -----------------------------------------------------------------------


def test_lost_answer_of_a_request_that_may_not_be_repeated_is_reported() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.network.mute.add(BrokerId(0))

        with pytest.raises(RequestTimedOutError, match="may still be made"):
            await cluster[1].client.submit(DeleteTopics(names=("web",)), timeout_ms=LONG_MS)

        assert cluster.network.submitted.count((BrokerId(0), "delete_topics")) == 1

    with_cluster(scenario)


def test_lost_answer_of_a_registration_is_asked_for_again() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.elect(0, term=1)
        cluster.network.mute.add(BrokerId(0))
        registering = asyncio.create_task(
            cluster[1].membership.register(registration(1), timeout_ms=5000)
        )
        await let_pass(500)

        cluster.network.mute.clear()

        assert await registering == cluster[0].image.brokers[BrokerId(1)].broker_epoch

    with_cluster(scenario)


def test_hung_controller_is_given_up_soon_after_another_is_known() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=0)
        cluster.network.hung.add(BrokerId(0))
        creating = asyncio.create_task(submit_create(cluster, 1))
        await let_pass(100)
        cluster.elect(2, term=2)
        begun_ms = now_ms()

        with pytest.raises(RequestTimedOutError, match="broker 2 leads since"):
            await creating

        return now_ms() - begun_ms

    assert with_cluster(scenario) <= 1_000


# --- No quorum ---------------------------------------------------------------------------


def test_without_a_quorum_the_error_names_the_missing_voters_in_time() -> None:
    async def scenario(cluster: Cluster) -> int:
        await cluster.start(leader=1)
        cluster.network.kill(1)
        cluster.network.kill(2)
        cluster.lose_leader(term=1)
        begun_ms = now_ms()

        with pytest.raises(
            NotControllerError,
            match=r"no controller: 2 of 3 voters \(1, 2\) are not reachable from broker 0",
        ):
            await submit_create(cluster, 0, timeout_ms=2_000)

        return now_ms() - begun_ms

    assert with_cluster(scenario) == 2_000


def test_controller_that_lost_its_quorum_says_who_is_missing() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.network.kill(1)
        cluster.network.kill(2)
        cluster[0].proposing.clear()

        with pytest.raises(RequestTimedOutError, match=r"2 of 3 voters \(1, 2\)"):
            await submit_create(cluster, 0, timeout_ms=1_000)

        cluster[0].proposing.set()

    with_cluster(scenario)


def test_dead_controller_with_no_successor_is_named() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster.network.kill(0)

        with pytest.raises(NotControllerError, match=r"broker 0, the controller: 1 of 3 voters"):
            await submit_create(cluster, 1, timeout_ms=1_000)

    with_cluster(scenario)


def test_election_under_way_is_said() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.lose_leader(term=1)

        with pytest.raises(NotControllerError, match="voters 0, 1, 2 are electing one"):
            await submit_create(cluster, 0, timeout_ms=100)

    with_cluster(scenario)
