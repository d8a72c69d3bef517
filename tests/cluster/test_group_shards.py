"""A shard lives while its broker leads its partition, and answers when its log is committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace

import pytest

from ottla.coordinator.requests import CommitOffsets, FetchOffsets, Heartbeat, ListGroups
from ottla.model.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    InvalidGroupIdError,
    InvalidRequestError,
    NotCoordinatorError,
    OttlaError,
    StorageError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import BrokerId, LeaderEpoch, Offset, TopicPartition
from ottla.model.topic_names import CONSUMER_OFFSETS
from tests.cluster.group_world import GroupWorld, commit, join
from tests.cluster.world import ME, OTHER, BusyReaders, broker, until

OTHER_PLACE = TopicPartition("logs", 0)


@pytest.fixture
async def groups() -> AsyncIterator[GroupWorld]:
    """A broker with a topic for groups of one partition, whose shard has been read."""
    world = GroupWorld()
    await world.start()
    await world.create_offsets_topic()
    await world.led()
    yield world
    await world.stop()


async def error_of(work: Awaitable[object]) -> type[OttlaError]:
    try:
        await work
    except OttlaError as error:
        return type(error)
    raise AssertionError("no error")


async def test_an_offset_that_was_committed_is_there(groups: GroupWorld) -> None:
    await groups.commit(7)
    assert await groups.committed() == 7


async def test_a_commit_is_answered_when_its_record_is_committed(groups: GroupWorld) -> None:
    groups.disk.hold()
    commit_ = asyncio.ensure_future(groups.commit(7))
    await until(lambda: groups.disk.waiting)
    assert not commit_.done()
    groups.disk.let_go()
    await commit_


async def test_nobody_is_told_of_an_offset_that_may_be_lost(groups: GroupWorld) -> None:
    groups.disk.hold()
    commit_ = asyncio.ensure_future(groups.commit(7))
    await until(lambda: groups.disk.waiting)
    fetch = asyncio.ensure_future(groups.committed())
    await asyncio.sleep(0)
    assert not fetch.done()
    groups.disk.let_go()
    assert await fetch == 7
    await commit_


async def test_an_answer_that_says_nothing_of_the_log_does_not_wait(groups: GroupWorld) -> None:
    groups.disk.hold()
    commit_ = asyncio.ensure_future(groups.commit(7))
    await until(lambda: groups.disk.waiting)
    beat = Heartbeat(group_id="group", generation_id=1, member_id="nobody")
    with pytest.raises(UnknownMemberIdError):
        await groups.groups.submit(beat)
    groups.disk.let_go()
    await commit_


async def test_what_is_not_committed_in_time_is_an_error(groups: GroupWorld) -> None:
    groups.disk.hold()
    commit_ = asyncio.ensure_future(groups.commit(7))
    await until(lambda: groups.disk.waiting)
    groups.clock.passed_ms += 5_000
    groups.waiters.commits.expire_due()
    assert await error_of(commit_) is CoordinatorNotAvailableError


async def test_a_new_leader_knows_what_was_committed_before(groups: GroupWorld) -> None:
    await groups.commit(7)
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=ME)
    await groups.led()
    assert await groups.committed() == 7


async def test_the_next_epoch_has_a_machine_of_its_own(groups: GroupWorld) -> None:
    first = groups.machine
    # In one image: the partition never was without a leader here.
    topic = groups.image.topics[CONSUMER_OFFSETS]
    (part,) = topic.partitions
    again = replace(part, leader_epoch=LeaderEpoch(part.leader_epoch + 2))
    await groups.put_topic(replace(topic, partitions=(again,)))
    await groups.led()
    assert groups.machine is not first


async def test_a_topic_that_was_made_again_has_a_machine_of_its_own(groups: GroupWorld) -> None:
    await groups.commit(7)
    await groups.delete_topic(CONSUMER_OFFSETS)
    await groups.create_offsets_topic()
    await groups.led()
    assert await groups.committed() == -1


async def test_who_waits_when_leadership_ends_is_sent_elsewhere(groups: GroupWorld) -> None:
    joining = asyncio.ensure_future(groups.groups.submit(join()))
    await until(lambda: groups.machine.joining)
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    assert await error_of(joining) is NotCoordinatorError
    assert await error_of(groups.commit(8)) is NotCoordinatorError


async def test_a_commit_under_way_when_leadership_ends_fails(groups: GroupWorld) -> None:
    groups.disk.hold()
    commit_ = asyncio.ensure_future(groups.commit(7))
    await until(lambda: groups.disk.waiting)
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    assert await error_of(commit_) is NotCoordinatorError


async def test_while_the_log_is_read_groups_have_to_wait(groups: GroupWorld) -> None:
    await groups.commit(7)
    busy = BusyReaders(groups.readers)
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=ME)
    try:
        for asked in (groups.committed(), groups.groups.list_groups(ListGroups())):
            error = await error_of(asked)
            assert error is CoordinatorLoadInProgressError
        beat = Heartbeat(group_id="group", generation_id=1, member_id="one")
        await groups.groups.submit(beat)  # as in Kafka: there is nothing to be told
    finally:
        busy.end()
    await groups.led()
    assert await groups.committed() == 7


async def test_a_topic_that_comes_while_the_log_is_read_is_heard_of(groups: GroupWorld) -> None:
    await groups.commit(7)
    busy = BusyReaders(groups.readers)
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=ME)
    await groups.create_topic("new")
    busy.end()
    await groups.led()
    assert "new" in groups.machine.images[-1].topics


async def test_what_lies_before_the_log_start_is_not_read(groups: GroupWorld) -> None:
    both = [commit(7).offsets[0], replace(commit(8).offsets[0], topic_partition=OTHER_PLACE)]
    await groups.create_topic(OTHER_PLACE.topic)
    await groups.groups.submit(CommitOffsets(group_id="group", offsets=both))
    await groups.flushed()
    groups.shards.shards[0].log.delete_before(Offset(1))
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=ME)
    await groups.led()
    assert await groups.committed() == -1
    assert list(groups.machine.offsets.values()) == [b"8"]


async def test_a_log_that_takes_no_records_lets_no_request_change_anything(
    groups: GroupWorld,
) -> None:
    await groups.commit(7)
    await groups.alter_topic(CONSUMER_OFFSETS, min_insync_replicas="2")
    await groups.change_partition(CONSUMER_OFFSETS, 0, replicas=(ME, OTHER))
    assert await error_of(groups.commit(8)) is CoordinatorNotAvailableError
    assert groups.machine.calls.count("CommitOffsets") == 1
    assert len(groups.machines) == 1
    assert await groups.committed() == 7


async def test_a_machine_whose_records_were_not_taken_is_thrown_away(groups: GroupWorld) -> None:
    await groups.commit(7)
    # A single record beyond what any batch may hold: it can be seen only when it is appended.
    machine = groups.machine
    machine.offsets[b"x" * 9_000_000] = b""
    machine.expires_at_ms = 0
    joining = asyncio.ensure_future(groups.groups.submit(join()))
    assert await error_of(joining) is CoordinatorNotAvailableError
    await until(lambda: len(groups.machines) == 2)
    await groups.led()
    assert await groups.committed() == 7


async def test_a_disk_that_fails_is_told_and_not_asked_again(groups: GroupWorld) -> None:
    groups.directory.fail(StorageError("broken"))
    assert await error_of(groups.commit(7)) is CoordinatorNotAvailableError
    assert len(groups.machines) == 1


async def test_what_is_due_is_done(groups: GroupWorld) -> None:
    await groups.commit(7)
    groups.machine.expires_at_ms = groups.clock.wall_ms() + 1
    groups.clock.passed_ms += 1
    await groups.committed()  # the shell looks at the deadline after every call
    await until(lambda: not groups.machine.offsets)
    assert await groups.committed() == -1


async def test_sessions_do_not_end_while_nobody_could_be_heard(groups: GroupWorld) -> None:
    await groups.commit(7)
    first = groups.machine
    first.expires_at_ms = groups.clock.wall_ms()
    await groups.alter_topic(CONSUMER_OFFSETS, min_insync_replicas="2")
    await groups.change_partition(CONSUMER_OFFSETS, 0, replicas=(ME, OTHER))
    await groups.committed()
    await asyncio.sleep(0.01)  # the deadline passes
    assert "tick" not in first.calls
    await groups.alter_topic(CONSUMER_OFFSETS)
    await until(lambda: len(groups.machines) == 2)
    await groups.led()
    assert await groups.committed() == 7


async def test_a_shard_hears_of_topics_before_its_log_is_read(groups: GroupWorld) -> None:
    assert groups.machine.calls[:2] == ["image_changed", "loaded"]


async def test_a_shard_hears_of_topics_that_come_later(groups: GroupWorld) -> None:
    await groups.create_topic("new")
    assert "new" in groups.machine.images[-1].topics


async def test_a_shard_does_not_hear_of_what_is_no_topic(groups: GroupWorld) -> None:
    heard = len(groups.machine.images)
    await groups.publish(brokers={ME: broker(ME), OTHER: broker(OTHER, fenced=True)})
    assert len(groups.machine.images) == heard


async def test_a_client_that_goes_while_it_joins_is_forgotten(groups: GroupWorld) -> None:
    joining = asyncio.ensure_future(groups.groups.submit(join()))
    await until(lambda: groups.machine.joining)
    joining.cancel()
    await asyncio.wait([joining])
    assert groups.machine.joining == {"group": []}
    assert len(groups.waiting) == 0


async def test_two_members_meet(groups: GroupWorld) -> None:
    one = asyncio.ensure_future(groups.groups.submit(join()))
    await until(lambda: groups.machine.joining)
    other = await groups.groups.submit(join())
    assert await one == other


async def test_a_request_for_another_shard_is_sent_elsewhere(groups: GroupWorld) -> None:
    # The partition is led by nobody here.
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    with pytest.raises(NotCoordinatorError):
        await groups.groups.submit(FetchOffsets(group_id="group", partitions=[]))


async def test_a_request_that_is_too_large_is_refused(groups: GroupWorld) -> None:
    with pytest.raises(InvalidRequestError):
        await groups.groups.submit(commit(1, metadata="x" * 5_000_000))


async def test_only_so_many_requests_wait() -> None:
    world = GroupWorld(requests_max=1)
    await world.start()
    await world.create_offsets_topic()
    await world.led()
    joining = asyncio.ensure_future(world.groups.submit(join()))
    await until(lambda: world.machine.joining)
    assert await error_of(world.commit(1)) is CoordinatorNotAvailableError
    joining.cancel()
    await world.stop()


async def test_who_waits_when_the_broker_stops_is_told() -> None:
    world = GroupWorld()
    await world.start()
    await world.create_offsets_topic()
    await world.led()
    joining = asyncio.ensure_future(world.groups.submit(join()))
    await until(lambda: world.machine.joining)
    await world.stop()
    assert await error_of(joining) is NotCoordinatorError


async def test_groups_of_all_shards_are_listed() -> None:
    world = GroupWorld()
    await world.start()
    await world.create_offsets_topic(partitions=3)
    for number in range(3):
        await world.led(number)
    for group_id in ("a", "b", "c"):
        await world.commit(1, group_id=group_id)
    listed = await world.groups.list_groups(ListGroups())
    assert sorted(one.group_id for one in listed) == ["a", "b", "c"]
    await world.stop()


# --- News -------------------------------------------------------------------------------


async def test_news_are_told(groups: GroupWorld) -> None:
    news = asyncio.ensure_future(groups.groups.wait_for_news("group", "one", timeout_ms=10_000))
    await asyncio.sleep(0)
    groups.machine.news.add(("group", "one"))
    await groups.commit(1)
    assert await news


async def test_news_of_another_member_are_not_told(groups: GroupWorld) -> None:
    news = asyncio.ensure_future(groups.groups.wait_for_news("group", "one", timeout_ms=20))
    await asyncio.sleep(0)
    groups.machine.news.add(("group", "two"))
    await groups.commit(1)
    assert not await news


async def test_who_waits_twice_for_the_same_member_waits_once(groups: GroupWorld) -> None:
    first = asyncio.ensure_future(groups.groups.wait_for_news("group", "one", timeout_ms=10_000))
    await asyncio.sleep(0)
    second = asyncio.ensure_future(groups.groups.wait_for_news("group", "one", timeout_ms=10_000))
    assert not await first
    second.cancel()


# --- The topic ----------------------------------------------------------------------------


async def test_the_first_group_makes_the_topic() -> None:
    world = GroupWorld()
    await world.start()
    assert await world.groups.coordinator_of("group") == ME
    (asked,) = world.topics.asked
    assert (asked.partitions, asked.replication_factor) == (4, 2)
    await world.stop()


async def test_a_cluster_that_is_starting_is_waited_for() -> None:
    world = GroupWorld(voters=3)
    await world.start()
    asked = asyncio.ensure_future(world.groups.coordinator_of("group"))
    await asyncio.sleep(0)
    assert world.topics.asked == []
    third = BrokerId(3)
    await world.publish(brokers={**world.image.brokers, third: broker(third)})
    await asked
    assert world.topics.asked[0].replication_factor == 3
    await world.stop()


async def test_many_that_come_at_once_make_it_once() -> None:
    world = GroupWorld()
    await world.start()
    await asyncio.gather(*(world.groups.coordinator_of(f"group-{n}") for n in range(10)))
    assert len(world.topics.asked) == 1
    await world.stop()


async def test_a_topic_that_cannot_be_made_leaves_no_coordinator() -> None:
    world = GroupWorld()
    await world.start()
    world.topics.fails_with = CoordinatorNotAvailableError("no controller")
    with pytest.raises(CoordinatorNotAvailableError):
        await world.groups.coordinator_of("group")
    await world.stop()


async def test_a_group_without_a_name_has_no_coordinator(groups: GroupWorld) -> None:
    with pytest.raises(InvalidGroupIdError):
        await groups.groups.coordinator_of("")


async def test_another_broker_may_coordinate(groups: GroupWorld) -> None:
    await groups.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
    assert await groups.groups.coordinator_of("group") == OTHER


# --- Partitions that do not exist ----------------------------------------------------------


async def test_an_offset_of_a_partition_that_does_not_exist_is_not_committed(
    groups: GroupWorld,
) -> None:
    unknown = replace(
        commit(1).offsets[0], topic_partition=TopicPartition("web", 1), offset=Offset(9)
    )
    outcomes = await groups.groups.submit(
        CommitOffsets(group_id="group", offsets=[unknown, *commit(1).offsets])
    )
    assert [None if one is None else type(one) for one in outcomes] == [
        UnknownTopicOrPartitionError,
        None,
    ]
