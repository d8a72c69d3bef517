"""The coordinator as a whole, machine and shell: what a group was told holds whoever leads."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial

import pytest

from ottla.cluster.group_parts import new_member_id
from ottla.coordinator.requests import (
    JoinGroup,
    ListGroups,
    MemberProtocol,
    SyncGroup,
)
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.shard import GroupShard
from ottla.model.errors import OttlaError, UnknownMemberIdError
from ottla.model.topic_names import CONSUMER_OFFSETS
from tests.cluster.group_world import GroupWorld, commit
from tests.cluster.world import ME, OTHER

SETTINGS = GroupSettings(initial_rebalance_delay_ms=0)


@pytest.fixture
async def groups() -> AsyncIterator[GroupWorld]:
    """A broker that shortens logs of more than 50 records."""
    world = GroupWorld(
        log_records_min=50,
        new_machine=partial(GroupShard, SETTINGS, new_member_id=new_member_id),
    )
    await world.start()
    await world.create_offsets_topic()
    await world.led()
    yield world
    await world.stop()


async def lead_again(groups: GroupWorld) -> None:
    """Have another broker lead for a moment."""
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=ME)
    await groups.led()


async def joined(groups: GroupWorld) -> str:
    """Join as the only member, and return the member's id."""
    first = await groups.groups.submit(
        JoinGroup(
            group_id="group",
            member_id="",
            client_id="client",
            client_host="/127.0.0.1",
            protocol_type="consumer",
            protocols=[MemberProtocol(name="range", metadata=b"web")],
            session_timeout_ms=10_000,
            rebalance_timeout_ms=10_000,
        )
    )
    await groups.groups.submit(
        SyncGroup(
            group_id="group",
            generation_id=first.generation_id,
            member_id=first.member_id,
            assignments={first.member_id: b"web-0"},
        )
    )
    return first.member_id


async def test_statement_37_committed_offsets_are_known_to_the_next_leader(
    groups: GroupWorld,
) -> None:
    await groups.commit(7)
    await lead_again(groups)
    assert await groups.committed() == 7


async def test_a_member_is_known_to_the_next_leader(groups: GroupWorld) -> None:
    member_id = await joined(groups)
    await lead_again(groups)
    synced = await groups.groups.submit(
        SyncGroup(group_id="group", generation_id=1, member_id=member_id, assignments={})
    )
    assert synced.assignment == b"web-0"


async def test_a_session_that_has_ended_is_over_for_good(groups: GroupWorld) -> None:
    member_id = await joined(groups)
    groups.clock.passed_ms += 10_001
    groups.shards.shards[0].tick()
    await lead_again(groups)
    with pytest.raises(UnknownMemberIdError):
        await groups.groups.submit(
            SyncGroup(group_id="group", generation_id=1, member_id=member_id, assignments={})
        )


async def test_offsets_of_a_topic_that_was_deleted_are_gone(groups: GroupWorld) -> None:
    await groups.commit(7)
    await groups.delete_topic("web")
    assert await groups.committed() == -1
    await lead_again(groups)
    assert await groups.committed() == -1


@pytest.mark.parametrize("seed", range(3))
async def test_what_was_committed_never_goes_back(groups: GroupWorld, seed: int) -> None:
    choose = random.Random(seed)
    acknowledged = dict.fromkeys([f"group-{number}" for number in range(10)], -1)

    async def commit_some(group_id: str) -> None:
        for offset in range(60):
            try:
                await groups.groups.submit(commit(offset, group_id=group_id))
            except OttlaError:
                await asyncio.sleep(0)
                continue
            acknowledged[group_id] = offset
            found = await groups.committed(group_id=group_id)
            assert found >= offset

    committing = [asyncio.ensure_future(commit_some(group_id)) for group_id in acknowledged]
    for _ in range(5):
        await asyncio.sleep(choose.random() / 50)
        await lead_again(groups)
    for one in committing:
        try:
            await one
        except OttlaError:
            continue  # the read that checks was refused: another leader by then
    await lead_again(groups)
    for group_id, offset in acknowledged.items():
        assert await groups.committed(group_id=group_id) >= offset
    assert len(await groups.groups.list_groups(ListGroups())) == len(acknowledged)
