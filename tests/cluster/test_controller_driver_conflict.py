"""An entry that nobody waits for any more makes no later decision wrong, and stops no broker."""

from __future__ import annotations

import pytest

from ottla.controller.raft.consensus import Outcome
from ottla.controller.requests import CreateTopics, DeleteTopics, NewTopic
from ottla.model.errors import (
    NotControllerError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
)
from ottla.model.limits import CONTROLLER_DECISIONS_MAX
from tests.cluster.control_plane import TIMEOUT_MS, ControlPlane, control_plane, create, grow

LARGE = CreateTopics(
    topics=tuple(
        NewTopic(
            name=f"{'x' * 200}-{number}",
            partitions=5,
            configs={"message.timestamp.before.max.ms": "1", "message.timestamp.after.max.ms": "1"}
            | {"segment.index.bytes": "100", "index.interval.bytes": "100", "segment.ms": "1"}
            | {"file.delete.delay.ms": "1", "min.insync.replicas": "1", "flush.messages": "1"}
            | {"retention.bytes": "1", "retention.ms": "1", "segment.bytes": "1048576"}
            | {"compression.type": "producer", "write.caching": "true", "flush.ms": "1"},
        )
        for number in range(1000)
    )
)
"""More than an entry of the metadata log holds."""
ENTRIES_OF_LARGE = 2


async def time_out(plane: ControlPlane, name: str) -> None:
    """Have the creation of a topic applied only after its time is up."""
    plane.quorum.delayed = 1
    with pytest.raises(RequestTimedOutError):
        await plane.driver.submit(create(name), timeout_ms=TIMEOUT_MS)
    assert name not in plane.image.topics


async def test_decision_after_one_without_outcome_is_made_on_what_came_of_it() -> None:
    async with control_plane() as plane:
        await time_out(plane, "late")

        (created,) = await plane.driver.submit(create("late"), timeout_ms=TIMEOUT_MS)

        assert created.error is not None
        assert created.error.name == "TOPIC_ALREADY_EXISTS"


async def test_decision_after_one_without_outcome_is_applied_at_the_first_attempt() -> None:
    async with control_plane() as plane:
        await time_out(plane, "late")
        before = plane.quorum.proposals

        await plane.driver.submit(create("next"), timeout_ms=TIMEOUT_MS)

        assert plane.quorum.proposals - before == 1
        assert set(plane.image.topics) == {"late", "next"}


async def test_decision_waits_for_no_barrier_once_the_doubt_is_over() -> None:
    async with control_plane() as plane:
        await time_out(plane, "late")
        await plane.driver.submit(create("late"), timeout_ms=TIMEOUT_MS)  # changes nothing
        before = plane.quorum.barriers

        await plane.driver.submit(create("after"), timeout_ms=TIMEOUT_MS)

        assert plane.quorum.barriers == before


async def test_conflicting_decision_is_made_again_on_the_new_state() -> None:
    async with control_plane() as plane:
        intruders = [create("web")]
        plane.quorum.before_each = lambda: plane.intrude(intruders.pop()) if intruders else None

        (created,) = await plane.driver.submit(create("web"), timeout_ms=TIMEOUT_MS)

        assert created.error is not None
        assert created.error.name == "TOPIC_ALREADY_EXISTS"


async def test_decision_that_conflicts_every_time_is_given_up_with_nothing_changed() -> None:
    async with control_plane() as plane:
        await plane.create("other")
        plane.quorum.before_each = lambda: plane.intrude(
            grow("other", len(plane.topic("other").partitions) + 1)
        )

        with pytest.raises(ThrottlingQuotaExceededError):
            await plane.driver.submit(create("web"), timeout_ms=TIMEOUT_MS)

        assert "web" not in plane.image.topics
        assert len(plane.topic("other").partitions) == 1 + CONTROLLER_DECISIONS_MAX


async def test_driver_serves_on_after_giving_up() -> None:
    async with control_plane() as plane:
        await plane.create("other")
        plane.quorum.before_each = lambda: plane.intrude(
            grow("other", len(plane.topic("other").partitions) + 1)
        )
        with pytest.raises(ThrottlingQuotaExceededError):
            await plane.driver.submit(create("web"), timeout_ms=TIMEOUT_MS)
        plane.quorum.before_each = lambda: None

        await plane.driver.submit(create("web"), timeout_ms=TIMEOUT_MS)

        assert "web" in plane.image.topics


async def test_large_decision_stops_at_the_entry_that_is_refused() -> None:
    async with control_plane() as plane:
        before = plane.quorum.proposals
        plane.quorum.failures = [Outcome.REFUSED]

        with pytest.raises(NotControllerError):
            await plane.driver.submit(LARGE, timeout_ms=TIMEOUT_MS)

        assert plane.quorum.proposals - before == 1


async def test_large_decision_whose_first_entry_conflicts_is_made_again_as_a_whole() -> None:
    async with control_plane() as plane:
        await plane.create("gone")
        before = plane.quorum.proposals
        intruders = [DeleteTopics(names=("gone",))]
        plane.quorum.before_each = lambda: plane.intrude(intruders.pop()) if intruders else None

        created = await plane.driver.submit(LARGE, timeout_ms=TIMEOUT_MS)

        assert [topic.error for topic in created] == [None] * len(LARGE.topics)
        assert len(plane.image.topics) == len(LARGE.topics)
        assert plane.quorum.proposals - before == 1 + ENTRIES_OF_LARGE
