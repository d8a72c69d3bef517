"""A member of a consumer group has what its target says, no sooner than it may."""

from __future__ import annotations

from uuid import UUID

from ottla.coordinator.assignment import Assigned, Partitions
from ottla.coordinator.current_assignment import (
    CurrentAssignment,
    Goal,
    MemberState,
    reconcile,
)
from ottla.model.ids import TopicId

A, B = (TopicId(UUID(int=number)) for number in (1, 2))


def _current(
    assigned: Assigned,
    *,
    state: MemberState = MemberState.STABLE,
    pending_revocation: Assigned | None = None,
) -> CurrentAssignment:
    return CurrentAssignment(
        member_epoch=5,
        previous_member_epoch=4,
        state=state,
        assigned=assigned,
        pending_revocation=pending_revocation or {},
    )


def _goal(
    target: Partitions, *, epoch: int = 6, taken: tuple[int, ...] = (), only: TopicId | None = None
) -> Goal:
    return Goal(
        epoch=epoch,
        target=target,
        subscribed={A, B} if only is None else {only},
        is_free=lambda _, partition: partition not in taken,
    )


def test_member_that_is_where_it_shall_be_stays_as_it_is() -> None:
    current = _current({A: {0: 5}})

    assert reconcile(current, _goal({A: {0}}, epoch=5), owned=None) is current


def test_member_that_has_all_of_it_enters_the_epoch_at_once() -> None:
    after = reconcile(_current({A: {0: 5}}), _goal({A: {0}}), owned=None)

    assert (after.member_epoch, after.previous_member_epoch, after.assigned) == (6, 5, {A: {0: 5}})


def test_member_stays_in_its_epoch_while_it_gives_back() -> None:
    after = reconcile(_current({A: {0: 5, 1: 3}}), _goal({A: {0}}), owned=None)

    assert (after.member_epoch, after.state) == (5, MemberState.UNREVOKED_PARTITIONS)
    assert (after.assigned, after.pending_revocation) == ({A: {0: 5}}, {A: {1: 3}})


def test_member_is_given_nothing_while_it_gives_back() -> None:
    after = reconcile(_current({A: {0: 5, 1: 3}}), _goal({A: {0, 2}}), owned=None)

    assert after.assigned == {A: {0: 5}}


def test_member_that_says_at_once_that_it_owns_it_no_more_moves_on() -> None:
    after = reconcile(_current({A: {0: 5, 1: 5}}), _goal({A: {0}}), owned={A: {0}})

    assert (after.member_epoch, after.state) == (6, MemberState.STABLE)


def test_what_a_member_gives_back_may_be_its_own_again() -> None:
    current = _current(
        {A: {0: 5}},
        state=MemberState.UNREVOKED_PARTITIONS,
        pending_revocation={A: {1: 3}},
    )
    after = reconcile(current, _goal({A: {0, 1}}, taken=(0, 1)), owned={A: {0}})

    assert (after.assigned, after.state) == ({A: {0: 5, 1: 6}}, MemberState.STABLE)


def test_member_is_given_what_is_free_and_waits_for_the_rest() -> None:
    after = reconcile(_current({}), _goal({A: {0, 1}}, taken=(1,)), owned=None)

    assert (after.assigned, after.state) == ({A: {0: 6}}, MemberState.UNRELEASED_PARTITIONS)


def test_member_that_waits_in_vain_stays_as_it_is() -> None:
    current = _current({A: {0: 5}}, state=MemberState.UNRELEASED_PARTITIONS)
    goal = _goal({A: {0, 1}}, epoch=5, taken=(1,))

    assert reconcile(current, goal, owned=None) is current


def test_member_that_waits_may_have_to_give_back() -> None:
    current = _current({A: {0: 5}}, state=MemberState.UNRELEASED_PARTITIONS)
    after = reconcile(current, _goal({A: {1}}, taken=(1,)), owned=None)

    assert (after.member_epoch, after.pending_revocation) == (5, {A: {0: 5}})


def test_target_that_is_older_than_a_subscription_gives_nothing_else() -> None:
    after = reconcile(_current({A: {0: 5}}), _goal({A: {0}, B: {0}}, only=B), owned={})

    assert after.assigned == {B: {0: 6}}


def test_subscription_that_ends_takes_partitions_without_a_new_target() -> None:
    after = reconcile(
        _current({A: {0: 5}, B: {0: 5}}),
        _goal({A: {0}, B: {0}}, epoch=5, only=B),
        owned=None,
        subscription_changed=True,
    )

    assert (after.assigned, after.pending_revocation) == ({B: {0: 5}}, {A: {0: 5}})


def test_subscription_that_ends_adds_to_what_is_being_given_back() -> None:
    current = _current(
        {A: {0: 5}, B: {0: 5}},
        state=MemberState.UNREVOKED_PARTITIONS,
        pending_revocation={A: {1: 3}},
    )
    after = reconcile(
        current, _goal({A: {0}, B: {0}}, only=B), owned=None, subscription_changed=True
    )

    assert after.pending_revocation == {A: {0: 5, 1: 3}}


def test_partitions_of_an_ended_subscription_may_be_given_back_already() -> None:
    after = reconcile(
        _current({A: {0: 5}, B: {0: 5}}),
        _goal({A: {0}, B: {0}}, epoch=5, only=B),
        owned={B: {0}},
        subscription_changed=True,
    )

    assert (after.assigned, after.state) == ({B: {0: 5}}, MemberState.STABLE)


def test_partition_is_held_until_it_was_given_back() -> None:
    current = _current({A: {0: 5}}, pending_revocation={A: {1: 3}})

    assert [current.holds(A, one) for one in (0, 1, 2)] == [5, 3, None]
