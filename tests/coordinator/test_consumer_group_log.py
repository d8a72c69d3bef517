"""A coordinator that reads the log of a consumer group goes on where the last one was."""

from __future__ import annotations

from random import Random

import pytest

from ottla.coordinator import consumer_group_records as records
from ottla.coordinator.consumer_group_records import ReplayedGroup
from ottla.coordinator.consumer_member import MemberProfile
from ottla.coordinator.effects import GroupRecord
from ottla.coordinator.requests import CommitOffsets, OffsetToCommit
from ottla.model.ids import Offset, TopicPartition
from ottla.wire.group_records import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupPartitionMetadataKey,
    ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionKey,
    CurrentTopicPartitions,
    read_record_key,
)
from tests.coordinator.consumer_walk import shuffled
from tests.coordinator.consumer_world import Client, ConsumerWorld, settle


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld(orders=4)


def _settled(world: ConsumerWorld) -> tuple[Client, Client]:
    first = Client(world, "a", "orders", rack_id="r", server_assignor="uniform").join()
    second = Client(world, "b", subscribed_topic_regex="ord.*", group_instance_id="i").join()
    settle(world, first, second)
    return first, second


def test_group_is_the_same_after_its_log_was_read(world: ConsumerWorld) -> None:
    _settled(world)
    before = world.describe()

    world.read_log_anew()

    assert world.describe() == before


def test_order_of_records_of_different_keys_does_not_matter(world: ConsumerWorld) -> None:
    _settled(world)
    before = world.describe()

    world.log = shuffled(world.log, Random(1))
    world.read_log_anew()

    assert world.describe() == before


def test_log_that_was_written_anew_says_the_same(world: ConsumerWorld) -> None:
    _settled(world)
    before = world.describe()

    world.log = list(world.group.records())
    world.read_log_anew()

    assert world.describe() == before


def test_log_that_was_written_anew_has_each_key_once(world: ConsumerWorld) -> None:
    _settled(world)
    keys = [record.key for record in world.group.records()]

    assert len(keys) == len(set(keys)) == 2 + 1 + 2 * 3


def test_members_go_on_with_their_epochs(world: ConsumerWorld) -> None:
    first, second = _settled(world)
    epochs = first.epoch, second.epoch

    world.read_log_anew()
    settle(world, first, second)

    assert (first.epoch, second.epoch) == epochs


def test_nothing_is_written_for_members_that_go_on(world: ConsumerWorld) -> None:
    first, second = _settled(world)
    before = len(world.log)

    world.read_log_anew()
    settle(world, first, second)

    assert len(world.log) == before


def test_sessions_begin_anew(world: ConsumerWorld) -> None:
    first, _ = _settled(world)
    world.now_ms += 3_600_000

    world.read_log_anew()
    world.wait(44_999)
    first.beat()

    assert len(world.describe().members) == 2


def test_member_that_stays_silent_is_out_at_the_next_coordinator_too(world: ConsumerWorld) -> None:
    _settled(world)

    world.read_log_anew()
    world.wait(45_000)

    assert world.group.state == "Empty"


def test_member_that_gives_back_has_its_rebalance_timeout_at_the_next_coordinator(
    world: ConsumerWorld,
) -> None:
    first, second = Client(world, "a", "orders").join(), Client(world, "b", "orders").join()
    world.wait(1_000)
    first.beat()
    first.tells = False
    world.read_log_anew()
    for _ in range(12):
        settle(world, second, rounds=1)
        if world.now_ms < 1_060_000:
            first.beat()

    assert [one.member_id for one in world.describe().members] == ["b"]


def test_topics_that_changed_meanwhile_are_looked_at(world: ConsumerWorld) -> None:
    first, second = _settled(world)
    world.topics(orders=6)

    world.read_log_anew()
    settle(world, first, second)

    assert len(first.has | second.has) == 6


def test_division_that_was_planned_is_made(world: ConsumerWorld) -> None:
    first, second = Client(world, "a", "orders").join(), Client(world, "b", "orders").join()

    world.read_log_anew()
    settle(world, first, second)

    assert (len(first.has), len(second.has)) == (2, 2)


def test_member_that_lost_an_answer_is_accepted_by_the_next_coordinator(
    world: ConsumerWorld,
) -> None:
    first, second = _settled(world)
    first.leave()
    world.wait(1_000)
    lost = world.beat(world.request("b", second.epoch, group_instance_id="i"))
    world.read_log_anew()

    answer = world.beat(world.request("b", second.epoch, group_instance_id="i", owned=second.owned))

    assert (answer.member_epoch, answer.assignment) == (lost.member_epoch, lost.assignment)


def test_who_joins_an_emptied_group_of_another_coordinator_gets_everything_at_once(
    world: ConsumerWorld,
) -> None:
    Client(world, "a", "orders").join().leave()
    world.read_log_anew()

    assert len(Client(world, "b", "orders").join().has) == 4


def test_next_coordinator_knows_since_when_a_member_has_its_partitions(
    world: ConsumerWorld,
) -> None:
    first, second = Client(world, "a", "orders").join(), Client(world, "b", "orders").join()
    settle(world, first, second)
    mine = OffsetToCommit(
        topic_partition=TopicPartition("orders", min(first.owned[world.topic_id("orders")])),
        offset=Offset(5),
    )
    world.read_log_anew()

    late = CommitOffsets(
        group_id="group", member_id="a", generation_or_member_epoch=1, offsets=[mine]
    )
    assert (first.epoch, world.group.check_commit(late)) == (2, [None])


def test_group_that_was_forgotten_is_unknown(world: ConsumerWorld) -> None:
    first, second = _settled(world)
    first.leave()
    second.leave()
    world.log += world.group.tombstones()

    world.read_log_anew()

    assert world.group.is_unknown


def test_group_without_members_is_known_until_it_is_forgotten(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join().leave()

    world.read_log_anew()

    assert (world.group.is_unknown, world.group.state) == (False, "Empty")


def test_nothing_is_left_of_members_that_have_left(world: ConsumerWorld) -> None:
    first, second = _settled(world)
    first.leave()
    second.leave()
    last = {record.key: record.value for record in world.log}

    assert sorted(key[:2] for key, value in last.items() if value is not None) == [b"\0\3", b"\0\6"]


def test_group_that_nobody_has_joined_is_unknown(world: ConsumerWorld) -> None:
    assert (world.group.is_unknown, list(world.group.records())) == (True, [])


def test_expression_is_in_the_log_with_what_it_means(world: ConsumerWorld) -> None:
    _settled(world)
    keys = [read_record_key(record.key) for record in world.group.records()]

    assert ConsumerGroupRegularExpressionKey(group_id="group", regular_expression="ord.*") in keys


def test_log_that_is_written_anew_leaves_out_who_has_left_meanwhile(world: ConsumerWorld) -> None:
    first, _ = _settled(world)
    rest = world.group.records()
    written: list[GroupRecord] = [next(rest)]
    first.leave()
    world.log = [*written, *rest]
    world.read_log_anew()

    assert [one.member_id for one in world.describe().members] == ["b"]


def test_expression_that_only_another_broker_could_read_means_no_topic(
    world: ConsumerWorld,
) -> None:
    profile = MemberProfile(topic_expression="(?!parts).*")
    world.log = [
        records.epoch_record("group", epoch=1, metadata_hash=0),
        records.profile_record("group", "a", profile),
    ]

    world.read_log_anew()
    world.wait(0)

    assert not world.group.is_subscribed_to("orders")


def test_what_a_group_takes_in_memory_is_nothing_once_all_have_left(world: ConsumerWorld) -> None:
    first, second = _settled(world)
    before = world.group.bytes_held
    first.leave()
    second.leave()

    assert (before > 5_000, world.group.bytes_held) == (True, 0)


def test_record_of_an_older_kafka_is_passed_over() -> None:
    replayed = ReplayedGroup()
    replayed.replay(
        ConsumerGroupPartitionMetadataKey(group_id="group"), ConsumerGroupPartitionMetadataValue()
    )

    assert replayed.is_unknown


def test_partitions_without_epochs_have_been_had_since_the_members_epoch() -> None:
    replayed = ReplayedGroup()
    topic = CurrentTopicPartitions(partitions=[3])
    replayed.replay(
        ConsumerGroupCurrentMemberAssignmentKey(group_id="group", member_id="a"),
        ConsumerGroupCurrentMemberAssignmentValue(member_epoch=7, assigned_partitions=[topic]),
    )

    assert replayed.currents["a"].assigned == {topic.topic_id: {3: 7}}


def test_member_in_a_state_of_a_later_kafka_has_nothing() -> None:
    replayed = ReplayedGroup()
    replayed.replay(
        ConsumerGroupCurrentMemberAssignmentKey(group_id="group", member_id="a"),
        ConsumerGroupCurrentMemberAssignmentValue(member_epoch=7, state=127),
    )

    assert replayed.currents == {}
