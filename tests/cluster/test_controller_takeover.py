"""A controller takes over whole, tells so, and what it leaves behind is reported for what it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, TypeVar, cast

import pytest

from ottla.cluster.raft_driver import Proposed
from ottla.controller import records
from ottla.controller.decisions import STEP_BYTES_MAX, Decision, decided, step_bytes
from ottla.controller.raft.consensus import Outcome, Role, RoleChanged
from ottla.controller.requests import Asks
from ottla.controller.state_machine import MetadataStateMachine
from ottla.model.errors import (
    NotControllerError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import BrokerId, PartitionEpoch
from tests.cluster.control_plane import ME, TIMEOUT_MS, control_plane, create
from tests.cluster.controllers import CLUSTER, Cluster, eventually, with_cluster
from tests.cluster.virtual_time import let_pass

Answer = TypeVar("Answer")

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


async def test_quorum_with_too_much_to_do_is_asked_again() -> None:
    async with control_plane() as plane:
        plane.quorum.failures = [ThrottlingQuotaExceededError("too much is waiting")]

        plane.driver.role_changed(RoleChanged(Role.LEADER, 2, ME))
        await asyncio.wait_for(plane.driver.wait_active(), 10)

        assert plane.image.controller_epoch == 2


def test_next_controller_keeps_the_identity() -> None:
    async def scenario(cluster: Cluster) -> None:
        cluster.elect(0, term=1)
        await eventually(lambda: cluster[0].image.cluster_id)
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


def test_request_whose_turn_never_came_was_certainly_not_served() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster[0].proposing.clear()
        first = asyncio.create_task(cluster[0].driver.serve(create("first"), timeout_ms=TIMEOUT_MS))
        await let_pass(10)

        with pytest.raises(RequestTimedOutError, match="nothing was changed"):
            await cluster[0].driver.serve(create("second"), timeout_ms=100)

        cluster[0].proposing.set()
        await first
        await let_pass(1_000)
        assert set(cluster[0].image.topics) == {"first"}

    with_cluster(scenario)


def test_request_that_was_begun_may_still_be_served() -> None:
    async def scenario(cluster: Cluster) -> None:
        await cluster.start(leader=0)
        cluster[0].proposing.clear()

        with pytest.raises(RequestTimedOutError, match="it may still be"):
            await cluster[0].driver.serve(create("first"), timeout_ms=100)

        cluster[0].proposing.set()
        await eventually(lambda: set(cluster[0].image.topics) == {"first"})

    with_cluster(scenario)


def test_urgent_request_waits_for_one_other_alone() -> None:
    async def scenario(cluster: Cluster) -> list[str]:
        await cluster.start(leader=0)
        order: list[str] = []

        async def serve(name: str, *, urgent: bool = False) -> None:
            await cluster[0].driver.serve(create(name), timeout_ms=TIMEOUT_MS, urgent=urgent)
            order.append(name)

        waiting = [asyncio.create_task(serve(name)) for name in ("a", "b", "c")]
        await let_pass(1)  # the first is being served
        await asyncio.gather(serve("urgent", urgent=True), *waiting)
        return order

    assert with_cluster(scenario) == ["a", "urgent", "b", "c"]


class LargeDecisions:
    """A controller whose decisions take two entries of the log."""

    def __init__(self, machine: MetadataStateMachine) -> None:
        self._machine = machine

    def decide(self, request: Asks[Answer], now_ms: int) -> Decision[Answer]:
        del request, now_ms
        state = self._machine.state
        topic = state.image.topics["web"]
        wide = replace(
            topic.partitions[0], replicas=tuple(map(BrokerId, range(1, 5_001)))
        )  # some ten kilobytes
        changes = [
            records.partition_changed(
                topic.topic_id, 0, replace(wide, partition_epoch=PartitionEpoch(number))
            )
            for number in range(1, 151)
        ]
        half = STEP_BYTES_MAX // 2
        assert half < step_bytes(tuple(changes[:75])) <= STEP_BYTES_MAX
        return cast(
            "Decision[Answer]", decided(state, None, tuple(changes[:75]), tuple(changes[75:]))
        )


async def test_refusal_after_the_first_part_does_not_say_that_nothing_was_done() -> None:
    async with control_plane() as plane:
        await plane.create("web")
        plane.driver._controller = cast("Any", LargeDecisions(plane.machine))
        plane.quorum.after_each = lambda: plane.quorum.failures.append(Outcome.REFUSED)

        with pytest.raises(RequestTimedOutError, match="1 of 2 parts of the change were made"):
            await plane.driver.submit(create("any"), timeout_ms=TIMEOUT_MS)

        plane.quorum.failures.clear()


async def test_refusal_of_the_first_part_says_that_nothing_was_done() -> None:
    async with control_plane() as plane:
        plane.quorum.failures = [Outcome.REFUSED]

        with pytest.raises(NotControllerError, match="nothing was changed"):
            await plane.driver.submit(create("web"), timeout_ms=TIMEOUT_MS)
