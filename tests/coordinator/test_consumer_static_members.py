"""A static member of a consumer group keeps its place while it is away, and nobody else has it."""

from __future__ import annotations

import pytest

from ottla.coordinator.effects import Effects
from ottla.coordinator.requests import LeavingMember
from ottla.model.errors import (
    FencedInstanceIdError,
    FencedMemberEpochError,
    InvalidRequestError,
    UnknownMemberIdError,
    UnreleasedInstanceIdError,
)
from tests.coordinator.consumer_world import Client, ConsumerWorld, settle


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld(orders=4)


def _static(world: ConsumerWorld, member_id: str) -> Client:
    return Client(world, member_id, "orders", group_instance_id="i")


def test_successor_takes_over_what_the_one_before_it_had(world: ConsumerWorld) -> None:
    other, first = Client(world, "b", "orders").join(), _static(world, "a").join()
    settle(world, other, first)
    had = first.has

    first.leave(-2)

    assert _static(world, "c").join().has == had


def test_nobody_moves_when_a_static_member_comes_back(world: ConsumerWorld) -> None:
    other, first = Client(world, "b", "orders").join(), _static(world, "a").join()
    settle(world, other, first)
    epoch = world.describe().group_epoch

    first.leave(-2)
    _static(world, "c").join()
    world.wait(5_000)

    assert (world.describe().group_epoch, other.beat().assignment) == (epoch, None)


def test_static_member_may_come_back_under_its_old_member_id(world: ConsumerWorld) -> None:
    first = _static(world, "a").join()
    first.leave(-2)

    assert _static(world, "a").join().has == {f"orders-{one}" for one in range(4)}


def test_successor_that_subscribes_to_something_else_makes_the_group_divide_anew(
    world: ConsumerWorld,
) -> None:
    world.topics(parts=1)
    _static(world, "a").join().leave(-2)
    successor = Client(world, "c", "parts", group_instance_id="i").join()

    settle(world, successor)

    assert successor.has == {"parts-0"}


def test_instance_id_of_a_member_that_is_there_is_not_given_away(world: ConsumerWorld) -> None:
    _static(world, "a").join()

    with pytest.raises(UnreleasedInstanceIdError, match="belongs to member 'a'"):
        _static(world, "c").join()


def test_member_that_was_replaced_is_fenced(world: ConsumerWorld) -> None:
    first = _static(world, "a").join()
    first.leave(-2)
    _static(world, "c").join()

    with pytest.raises(FencedInstanceIdError, match="belongs to member 'c'"):
        first.beat()


def test_member_that_was_replaced_cannot_leave_for_its_successor(world: ConsumerWorld) -> None:
    first = _static(world, "a").join()
    first.leave(-2)
    _static(world, "c").join()

    with pytest.raises(FencedInstanceIdError):
        first.leave()


def test_member_that_left_for_a_while_must_join_to_come_back(world: ConsumerWorld) -> None:
    first = _static(world, "a").join()
    first.leave(-2)

    with pytest.raises(FencedMemberEpochError):
        first.beat()


def test_static_member_that_does_not_come_back_is_replaced_after_its_session(
    world: ConsumerWorld,
) -> None:
    other, first = Client(world, "b", "orders").join(), _static(world, "a").join()
    settle(world, other, first)
    first.leave(-2)

    settle(world, other, rounds=10)

    assert len(other.has) == 4


def test_static_member_that_left_for_a_while_has_nothing_to_give_back_in_time(
    world: ConsumerWorld,
) -> None:
    first = Client(world, "a", "orders", group_instance_id="i", rebalance_timeout_ms=9_000).join()
    second = Client(world, "b", "orders").join()
    world.wait(1_000)
    first.beat()
    first.leave(-2)
    world.wait(10_000)
    second.beat()

    assert [one.member_id for one in world.describe().members] == ["a", "b"]
    assert len(second.has) == 2


def test_successor_is_in_the_log_with_what_it_shall_have(world: ConsumerWorld) -> None:
    other, first = Client(world, "b", "orders").join(), _static(world, "a").join()
    settle(world, other, first)
    first.leave(-2)
    _static(world, "c").join()
    before = world.describe()

    world.read_log_anew()

    assert world.describe() == before


def test_only_a_static_member_can_leave_for_a_while(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(InvalidRequestError, match="without a group instance id"):
        world.beat(world.request("a", -2))


def test_instance_id_that_nobody_has_is_unknown(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(UnknownMemberIdError, match="instance id 'x'"):
        world.beat(world.request("a", 1, group_instance_id="x"))


def test_static_member_that_leaves_for_good_frees_its_instance_id(world: ConsumerWorld) -> None:
    _static(world, "a").join().leave()

    assert len(_static(world, "c").join().has) == 4


def test_member_of_another_place_may_take_over_a_free_one(world: ConsumerWorld) -> None:
    Client(world, "b", "orders").join()
    _static(world, "a").join().leave(-2)

    successor = _static(world, "b").join()
    settle(world, successor)

    assert [one.member_id for one in world.describe().members] == ["b"]
    assert len(successor.has) == 4


def test_administrator_takes_a_static_member_out_by_its_instance_id(world: ConsumerWorld) -> None:
    _static(world, "a").join()

    outcomes = world.group.leave(
        [LeavingMember(member_id="", group_instance_id="i")], world.now_ms, Effects()
    )

    assert (outcomes, world.group.state) == ([None], "Empty")


def test_administrator_is_told_of_each_member_that_cannot_be_taken_out(
    world: ConsumerWorld,
) -> None:
    _static(world, "a").join()

    outcomes = world.group.leave(
        [
            LeavingMember(member_id="x"),
            LeavingMember(member_id="", group_instance_id="y"),
            LeavingMember(member_id="z", group_instance_id="i"),
        ],
        world.now_ms,
        Effects(),
    )

    assert [type(one) for one in outcomes] == [
        UnknownMemberIdError,
        UnknownMemberIdError,
        FencedInstanceIdError,
    ]
