"""A controller takes over whole, tells so, and what it leaves behind is reported for what it is."""

from __future__ import annotations

import asyncio

import pytest

from ottla.cluster.raft_driver import Proposed
from ottla.controller.raft.consensus import Outcome
from ottla.controller.requests import CreateTopics, DeleteTopics, FenceBroker, NewTopic
from ottla.model.errors import NotControllerError, RequestTimedOutError
from ottla.model.ids import BrokerId
from tests.cluster.control_plane import TIMEOUT_MS, control_plane, create
from tests.cluster.controllers import CLUSTER, Cluster, eventually, with_cluster
from tests.cluster.virtual_time import let_pass
from tests.cluster.world import until

# --- Taking over ------------------------------------------------------------------------


def test_first_controller_gives_the_cluster_its_identity() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.elect(0, term=1)
        await eventually(lambda: cluster[2].image.cluster_id)

        assert cluster[2].image.cluster_id == CLUSTER

    with_cluster(scenario, cluster_id="")


def test_identity_that_could_not_be_given_is_given_later() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster[0].proposals_fail.append(Proposed(Outcome.REFUSED, b"THROTTLING_QUOTA_EXCEEDED"))
        cluster[0].proposals_fail.append(Proposed(Outcome.REFUSED, b"THROTTLING_QUOTA_EXCEEDED"))
        cluster.elect(0, term=1)

        await eventually(lambda: cluster[2].image.cluster_id == CLUSTER)

    with_cluster(scenario, cluster_id="")


def test_next_controller_keeps_the_identity() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.elect(0, term=1)
        await eventually(lambda: cluster[0].driver.is_active)
        entries = len(cluster.log.entries)

        cluster.elect(1, term=2)
        await eventually(lambda: cluster[1].driver.is_active)
        await let_pass(1_000)

        assert len(cluster.log.entries) == entries + 1  # that it was elected

    with_cluster(scenario, cluster_id="")


def test_who_listens_hears_when_a_reign_begins_and_ends() -> None:
    async def scenario(cluster: Cluster) -> list[int | None]:
        heard: list[int | None] = []
        cluster[0].driver.subscribe(heard.append)
        cluster.elect(0, term=3)
        await eventually(lambda: cluster[0].driver.is_active)
        cluster.elect(1, term=4)
        await eventually(lambda: cluster[1].driver.is_active)
        cluster.elect(0, term=5)
        await eventually(lambda: cluster[0].driver.is_active)
        return heard

    assert with_cluster(scenario) == [3, None, 5]


def test_request_that_waits_for_the_takeover_is_served() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster[0].proposing.clear()
        cluster.elect(0, term=1)
        joining = asyncio.create_task(cluster[1].join())
        await let_pass(500)

        cluster[0].proposing.set()
        await joining

        assert cluster[1].image.brokers[BrokerId(1)].fenced is False

    with_cluster(scenario)


# --- What is left behind ----------------------------------------------------------------


async def test_request_whose_turn_never_came_was_certainly_not_served() -> None:
    async with control_plane() as plane:
        plane.quorum.delayed = 1
        stuck = asyncio.Event()
        plane.quorum.before_each = stuck.set
        first = asyncio.create_task(plane.driver.serve(create("first"), timeout_ms=TIMEOUT_MS))

        with pytest.raises(RequestTimedOutError, match="nothing was changed"):
            await plane.driver.serve(create("second"), timeout_ms=0)

        await asyncio.wait([first])


async def test_request_that_was_begun_may_still_be_served() -> None:
    async with control_plane() as plane:
        proposals = plane.quorum.proposals
        serving = asyncio.create_task(plane.driver.serve(create("first"), timeout_ms=1))
        await until(lambda: plane.quorum.proposals > proposals or serving.done())

        (outcome,) = await asyncio.gather(serving, return_exceptions=True)

        assert not isinstance(outcome, RequestTimedOutError) or "may still be" in str(outcome)


async def test_refusal_after_the_first_part_does_not_say_that_nothing_was_done() -> None:
    async with control_plane() as plane:
        for name in ("t0", "t1"):
            topic = NewTopic(name=name, partitions=9_000)
            await plane.driver.submit(CreateTopics(topics=(topic,)), timeout_ms=TIMEOUT_MS)
        epoch = plane.image.brokers[BrokerId(1)].broker_epoch
        refused = [Outcome.REFUSED]
        plane.quorum.after_each = lambda: plane.quorum.failures.extend(refused) or refused.clear()  # type: ignore[func-returns-value]

        # Every partition loses its leader: far more than fits in one entry.
        with pytest.raises(RequestTimedOutError, match=r"1 of \d+ parts of the change were made"):
            await plane.driver.submit(
                FenceBroker(broker_id=BrokerId(1), broker_epoch=epoch), timeout_ms=TIMEOUT_MS
            )


async def test_refusal_of_the_first_part_says_that_nothing_was_done() -> None:
    async with control_plane() as plane:
        plane.quorum.failures = [Outcome.REFUSED]

        with pytest.raises(NotControllerError, match="nothing was changed"):
            await plane.driver.submit(create("web"), timeout_ms=TIMEOUT_MS)


async def test_urgent_request_waits_for_one_other_alone() -> None:
    async with control_plane(brokers=2) as plane:
        order: list[str] = []

        async def serve(name: str, *, urgent: bool = False) -> None:
            await plane.driver.serve(
                DeleteTopics(names=(name,)), timeout_ms=TIMEOUT_MS, urgent=urgent
            )
            order.append(name)

        waiting = [asyncio.create_task(serve(name)) for name in ("a", "b", "c")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the first is being served
        await asyncio.gather(serve("urgent", urgent=True), *waiting)

        assert order == ["a", "urgent", "b", "c"]
