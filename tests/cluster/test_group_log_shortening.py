"""A group log is written anew when most of it is out of date, and nothing that lives is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.coordinator.effects import GroupRecord
from ottla.model.topic_names import CONSUMER_OFFSETS
from tests.cluster.group_world import GroupWorld
from tests.cluster.world import ME, OTHER, until


@pytest.fixture
async def groups() -> AsyncIterator[GroupWorld]:
    """A broker that shortens logs of more than 20 records."""
    world = GroupWorld(log_records_min=20)
    await world.start()
    await world.create_offsets_topic()
    await world.led()
    yield world
    await world.stop()


def log_start(groups: GroupWorld) -> int:
    return groups.partition(CONSUMER_OFFSETS).log.log_start_offset


async def lead_again(groups: GroupWorld) -> None:
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=ME)
    await groups.led()


async def test_what_is_out_of_date_is_deleted(groups: GroupWorld) -> None:
    for offset in range(20):
        await groups.commit(offset)
    await until(lambda: log_start(groups) > 0)
    assert groups.log_end(CONSUMER_OFFSETS) - log_start(groups) == 1


async def test_what_lives_is_known_to_the_next_leader(groups: GroupWorld) -> None:
    await groups.commit(5, group_id="quiet")
    for offset in range(19):
        await groups.commit(offset)
    await until(lambda: log_start(groups) > 0)
    await lead_again(groups)
    assert await groups.committed(group_id="quiet") == 5
    assert await groups.committed() == 18


async def test_a_short_log_is_left_alone(groups: GroupWorld) -> None:
    for offset in range(19):
        await groups.commit(offset)
    await groups.flushed()
    assert log_start(groups) == 0


async def test_a_log_that_needs_its_records_is_left_alone(groups: GroupWorld) -> None:
    for number in range(30):
        await groups.commit(number, group_id=f"group-{number}")
    await groups.flushed()
    assert log_start(groups) == 0
    assert groups.log_end(CONSUMER_OFFSETS) == 30


async def test_commits_go_on_while_the_log_is_written_anew(groups: GroupWorld) -> None:
    many = {b"old-%d/web-0" % number: b"1" for number in range(1_200)}
    groups.machine.offsets.update(many)
    records = [GroupRecord(key, value) for key, value in many.items()]
    for _ in range(5):
        groups.shards.shards[0].log.append(records)

    async def commit_until_deleted() -> int:
        offset = 0
        while not log_start(groups):
            await groups.commit(offset)
            offset += 1
        return offset - 1

    last = await asyncio.wait_for(commit_until_deleted(), 10)
    await lead_again(groups)
    assert await groups.committed() == last
    assert len(groups.machine.offsets) == 1_201


async def test_a_leader_that_goes_half_way_leaves_everything(groups: GroupWorld) -> None:
    for offset in range(19):
        await groups.commit(offset)
    groups.disk.hold()
    last = asyncio.ensure_future(groups.commit(19))
    await until(lambda: groups.disk.waiting)
    # The machine writes anew what nobody commits any more.
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    await asyncio.wait([last])
    last.exception()
    groups.disk.let_go()
    assert log_start(groups) == 0
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=ME)
    await groups.led()
    assert await groups.committed() == 19
