"""The uniform assignor is fair and moves little; the range assignor keeps numbers together."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from uuid import UUID

import pytest

from ottla.coordinator.assignment import count
from ottla.coordinator.assignors.assignor import MemberToAssign
from ottla.coordinator.assignors.range import assign_ranges
from ottla.coordinator.assignors.uniform import assign_uniformly
from ottla.model.ids import TopicId

Targets = Mapping[str, Mapping[TopicId, frozenset[int]]]

A, B, C = (TopicId(UUID(int=number)) for number in (1, 2, 3))


def _members(
    subscriptions: Mapping[str, frozenset[TopicId]], targets: Targets | None = None
) -> dict[str, MemberToAssign]:
    return {
        name: MemberToAssign(
            group_instance_id=None, topics=topics, target=(targets or {}).get(name, {})
        )
        for name, topics in subscriptions.items()
    }


def _loads(targets: Targets) -> list[int]:
    return sorted(count(target) for target in targets.values())


def _everything(targets: Targets) -> list[tuple[int, int]]:
    return sorted(
        (topic_id.int, partition)
        for target in targets.values()
        for topic_id, partitions in target.items()
        for partition in partitions
    )


def _moved(before: Targets, after: Targets) -> int:
    """Return how many partitions a member has that it did not have."""
    return sum(
        len(partitions - before.get(name, {}).get(topic_id, frozenset()))
        for name, target in after.items()
        for topic_id, partitions in target.items()
    )


# --- Uniform ------------------------------------------------------------------------------


def test_partitions_are_divided_evenly() -> None:
    members = _members(dict.fromkeys("xyz", frozenset({A, B})))

    assert _loads(assign_uniformly(members, {A: 4, B: 4})) == [2, 3, 3]


def test_every_partition_is_given_once() -> None:
    members = _members(dict.fromkeys("xyz", frozenset({A, B})))
    targets = assign_uniformly(members, {A: 2, B: 3})

    assert _everything(targets) == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]


def test_nobody_gets_what_it_does_not_subscribe_to() -> None:
    members = _members({"x": frozenset({A}), "y": frozenset({A, B}), "z": frozenset()})
    targets = assign_uniformly(members, {A: 3, B: 3})

    assert targets == {"x": {A: {0, 1, 2}}, "y": {B: {0, 1, 2}}, "z": {}}


def test_no_members_get_nothing() -> None:
    assert assign_uniformly({}, {}) == {}


def test_more_members_than_partitions_leave_some_without() -> None:
    members = _members(dict.fromkeys("xyz", frozenset({A})))

    assert _loads(assign_uniformly(members, {A: 1})) == [0, 0, 1]


@pytest.mark.parametrize("members_before", range(1, 9))
def test_member_that_joins_is_given_its_share_and_nothing_else_moves(members_before: int) -> None:
    partitions = 23
    names = [f"m{number}" for number in range(members_before)]
    before = assign_uniformly(_members(dict.fromkeys(names, frozenset({A}))), {A: partitions})
    # Its name comes first: who is asked first must not matter.
    after = assign_uniformly(
        _members(dict.fromkeys([*names, "a"], frozenset({A})), before), {A: partitions}
    )

    assert _moved(before, after) == count(after["a"]) == partitions // (members_before + 1)


@pytest.mark.parametrize("members_before", range(2, 9))
def test_member_that_leaves_is_all_that_moves(members_before: int) -> None:
    names = [f"m{number}" for number in range(members_before)]
    before = assign_uniformly(_members(dict.fromkeys(names, frozenset({A, B}))), {A: 11, B: 12})
    after = assign_uniformly(
        _members(dict.fromkeys(names[1:], frozenset({A, B})), before), {A: 11, B: 12}
    )

    assert _moved(before, after) == count(before["m0"])


def test_partitions_that_are_gone_are_not_given() -> None:
    before = {"x": {A: frozenset({0, 1, 7}), C: frozenset({0})}}
    members = _members({"x": frozenset({A})}, before)

    assert assign_uniformly(members, {A: 2}) == {"x": {A: {0, 1}}}


def test_partition_that_two_were_to_have_goes_to_one() -> None:
    before = {name: {A: frozenset({0})} for name in "xy"}
    members = _members(dict.fromkeys("xy", frozenset({A})), before)

    assert _everything(assign_uniformly(members, {A: 1})) == [(1, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_division_is_fair_whatever_members_subscribe_to_and_had(seed: int) -> None:
    random = Random(seed)
    topics = {TopicId(UUID(int=number)): random.randrange(1, 9) for number in range(6)}
    kinds = [
        frozenset(random.sample(list(topics), random.randrange(1, len(topics)))) for _ in range(3)
    ]
    targets: Targets = {}
    for _ in range(4):
        names = [f"m{number}" for number in range(random.randrange(1, 12))]
        subscriptions = {name: random.choice(kinds) for name in names}
        targets = assign_uniformly(_members(subscriptions, targets), topics)
        for kind in kinds:
            alike = [count(targets[name]) for name in names if subscriptions[name] == kind]
            assert not alike or max(alike) - min(alike) <= 1
        wanted = frozenset().union(*subscriptions.values())
        assert _everything(targets) == sorted(
            (topic_id.int, partition)
            for topic_id in wanted
            for partition in range(topics[topic_id])
        )


@pytest.mark.parametrize("seed", range(10))
def test_division_that_is_fair_already_is_left_alone(seed: int) -> None:
    random = Random(seed)
    topics = {TopicId(UUID(int=number)): random.randrange(1, 9) for number in range(6)}
    subscriptions = {f"m{number}": frozenset(random.sample(list(topics), 3)) for number in range(7)}
    counts = {one: topics[one] for one in frozenset().union(*subscriptions.values())}
    once = assign_uniformly(_members(subscriptions), counts)

    assert assign_uniformly(_members(subscriptions, once), counts) == once


# --- Range --------------------------------------------------------------------------------


def test_partitions_of_one_number_go_to_one_member() -> None:
    members = _members(dict.fromkeys("xy", frozenset({A, B})))

    assert assign_ranges(members, {A: 3, B: 3}) == {
        "x": {A: {0, 1}, B: {0, 1}},
        "y": {A: {2}, B: {2}},
    }


def test_ranges_are_made_of_the_subscribers_of_each_topic() -> None:
    members = _members({"x": frozenset({A}), "y": frozenset({A, B})})

    assert assign_ranges(members, {A: 2, B: 2}) == {"x": {A: {0}}, "y": {A: {1}, B: {0, 1}}}


def test_static_members_come_first_by_their_instance_ids() -> None:
    members = {
        name: MemberToAssign(group_instance_id=instance_id, topics=frozenset({A}), target={})
        for name, instance_id in (("x", None), ("y", "2"), ("z", "1"))
    }

    assert assign_ranges(members, {A: 3}) == {"z": {A: {0}}, "y": {A: {1}}, "x": {A: {2}}}


def test_members_beyond_the_partitions_get_no_range() -> None:
    members = _members(dict.fromkeys("xy", frozenset({A})))

    assert assign_ranges(members, {A: 1}) == {"x": {A: {0}}, "y": {}}
