"""A broker that the controller has not heard for its session does not answer for groups."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.cluster.broker_sessions import SessionAnswer
from ottla.cluster.group_shard import HEARD_FIRST_MS, STOOD_STILL_MS
from ottla.cluster.lease import ENDED_SESSION_MS, Lease
from ottla.cluster.metadata_cache import MetadataCache
from ottla.coordinator.requests import ConsumerHeartbeat
from ottla.model.errors import CoordinatorNotAvailableError
from ottla.model.ids import ControllerEpoch, MetadataOffset
from ottla.model.image import ClusterImage
from ottla.model.topic_names import CONSUMER_OFFSETS
from tests.cluster.group_world import GroupWorld
from tests.cluster.world import ME, ManualClock, until

SESSION_MS = 1_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def metadata() -> MetadataCache:
    return MetadataCache(ClusterImage(cluster_id=""))


@pytest.fixture
def lease(clock: ManualClock, metadata: MetadataCache) -> Lease:
    return Lease(clock, metadata, duration_ms=SESSION_MS)


def answer(*, fenced: bool = False, offset: int = 0) -> SessionAnswer:
    return SessionAnswer(ControllerEpoch(1), MetadataOffset(offset), fenced)


def test_it_is_not_held_before_an_answer(lease: Lease) -> None:
    assert not lease.is_held


def test_it_lasts_as_long_as_a_session_from_when_the_heartbeat_was_sent(
    lease: Lease, clock: ManualClock
) -> None:
    sent_ms = lease.now_ms()
    clock.passed_ms = 400
    lease.renew(sent_ms, answer())
    clock.passed_ms = 999
    assert lease.is_held
    clock.passed_ms = 1_000
    assert not lease.is_held


def test_an_answer_that_comes_late_does_not_shorten_it(lease: Lease, clock: ManualClock) -> None:
    lease.renew(500, answer())
    lease.renew(0, answer())
    clock.passed_ms = 1_499
    assert lease.is_held


def test_a_broker_that_was_fenced_first_hears_who_leads_now(
    lease: Lease, metadata: MetadataCache
) -> None:
    lease.renew(0, answer(fenced=True, offset=7))
    assert not lease.is_held
    metadata.publish(ClusterImage(cluster_id="", metadata_offset=MetadataOffset(7)))
    assert lease.is_held


def test_it_is_given_up_soon_after_the_session_has_ended(lease: Lease, clock: ManualClock) -> None:
    lease.renew(0, answer())
    lease.session_ended()
    clock.passed_ms = ENDED_SESSION_MS
    assert not lease.is_held
    lease.renew(clock.passed_ms, answer())
    assert lease.is_held


@pytest.fixture
async def groups() -> AsyncIterator[GroupWorld]:
    world = GroupWorld()
    await world.start()
    await world.create_offsets_topic()
    await world.led()
    yield world
    await world.stop()


async def test_nobody_is_told_an_offset_that_may_be_old(groups: GroupWorld) -> None:
    await groups.commit(7)
    groups.lease.is_held = False
    with pytest.raises(CoordinatorNotAvailableError):
        await groups.committed()
    groups.lease.is_held = True
    assert await groups.committed() == 7


async def test_a_commit_goes_on_for_it_says_itself_whether_it_was_in_time(
    groups: GroupWorld,
) -> None:
    groups.lease.is_held = False
    await groups.commit(7)
    groups.lease.is_held = True
    assert await groups.committed() == 7


async def test_no_member_is_told_that_it_still_is_one(groups: GroupWorld) -> None:
    groups.lease.is_held = False
    heartbeat = ConsumerHeartbeat(
        group_id="group", member_id="one", member_epoch=1, client_id="", client_host=""
    )
    with pytest.raises(CoordinatorNotAvailableError):
        await groups.groups.submit(heartbeat)


async def test_nobody_is_sent_to_a_coordinator_that_may_have_been_replaced(
    groups: GroupWorld,
) -> None:
    assert await groups.groups.coordinator_of("group") == ME
    groups.lease.is_held = False
    with pytest.raises(CoordinatorNotAvailableError):
        await groups.groups.coordinator_of("group")


async def test_sessions_do_not_end_while_nobody_was_answered(groups: GroupWorld) -> None:
    await groups.commit(7)
    first = groups.machine
    groups.lease.is_held = False
    first.expires_at_ms = groups.clock.wall_ms()
    (await groups.led()).tick()
    assert "tick" not in first.calls
    groups.lease.is_held = True
    await until(lambda: len(groups.machines) == 2)
    await groups.led()
    assert await groups.committed() == 7


async def test_a_broker_that_stood_still_hears_members_before_it_ends_sessions(
    groups: GroupWorld,
) -> None:
    await groups.commit(7)
    machine = groups.machine
    machine.expires_at_ms = groups.clock.wall_ms() + 1
    await groups.committed()
    # Before the timer rings, it is much later.
    groups.clock.passed_ms += STOOD_STILL_MS + 100
    rung = machine.calls.count("FetchOffsets")
    await asyncio.sleep(0.05)
    assert "tick" not in machine.calls
    await groups.committed()
    assert machine.calls.count("FetchOffsets") == rung + 1
    groups.clock.passed_ms += HEARD_FIRST_MS
    (await groups.led()).tick()
    assert machine.calls[-1] == "tick"


async def test_the_topic_of_groups_is_still_made_without_a_lease() -> None:
    world = GroupWorld()
    await world.start()
    world.lease.is_held = False
    with pytest.raises(CoordinatorNotAvailableError):
        await world.groups.coordinator_of("group")
    assert CONSUMER_OFFSETS in world.metadata.image.topics
    await world.stop()
