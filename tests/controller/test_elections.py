"""Only a replica that has everything committed is elected, and a good leader is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ottla.controller.elections import (
    Available,
    after_begin_shutdown,
    after_fencing,
    after_loss,
    after_unclean_restart,
    after_unfencing,
    settled,
)
from ottla.controller.topic_rules import TopicRules
from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, PartitionEpoch
from ottla.model.image import PartitionImage
from tests.controller.metadata import brokers

ONE = TopicRules(min_insync_replicas=1)
TWO = TopicRules(min_insync_replicas=2)
CACHING = TopicRules(min_insync_replicas=2, write_caching=True)
UNCLEAN = TopicRules(min_insync_replicas=2, unclean_elections=True)


def partition(
    *, leader: int, in_sync: tuple[int, ...], eligible: tuple[int, ...] = ()
) -> PartitionImage:
    return PartitionImage(
        replicas=brokers(1, 2, 3),
        in_sync_replicas=brokers(*in_sync),
        eligible_leader_replicas=brokers(*eligible),
        leader=BrokerId(leader),
        leader_epoch=LeaderEpoch(5),
        partition_epoch=PartitionEpoch(9),
    )


def alive(*ids: int, stopping: tuple[int, ...] = ()) -> Available:
    return Available(frozenset(brokers(*ids)), frozenset(brokers(*stopping)))


def elected(before: PartitionImage, available: Available, rules: TopicRules = TWO) -> int:
    return after_unfencing(before, available=available, rules=rules).leader


def sets(partition: PartitionImage) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Leader, in-sync set, eligible replicas."""
    return partition.leader, partition.in_sync_replicas, partition.eligible_leader_replicas


# --- Who leads ---


def test_leader_that_is_in_sync_and_serves_stays() -> None:
    before = partition(leader=3, in_sync=(1, 2, 3))

    assert settled(before, before, available=alive(1, 2, 3), rules=TWO) is before


@pytest.mark.parametrize(
    ("in_sync", "serving", "leader"),
    [
        ((1, 2, 3), (1, 2, 3), 1),
        ((3, 2), (1, 2, 3), 2),  # by order of preference, not of the set
        ((1, 2, 3), (3,), 3),
        ((3,), (1, 2, 3), 3),
        ((1,), (2, 3), NO_BROKER),
    ],
)
def test_first_replica_that_is_in_sync_and_serves_is_elected(
    in_sync: tuple[int, ...], serving: tuple[int, ...], leader: int
) -> None:
    assert elected(partition(leader=NO_BROKER, in_sync=in_sync), alive(*serving)) == leader


def test_eligible_replica_leads_if_nobody_in_sync_serves_and_is_then_the_whole_set() -> None:
    before = partition(leader=NO_BROKER, in_sync=(1,), eligible=(2, 3))

    after = after_unfencing(before, available=alive(2, 3), rules=TWO)

    assert sets(after) == (2, (2,), (1, 3))


def test_eligible_replica_is_not_elected_while_somebody_in_sync_serves() -> None:
    assert elected(partition(leader=NO_BROKER, in_sync=(3,), eligible=(2,)), alive(2, 3)) == 3


def test_nobody_is_elected_where_nobody_has_everything() -> None:
    assert elected(partition(leader=NO_BROKER, in_sync=()), alive(1, 2, 3)) == NO_BROKER


def test_broker_that_is_stopping_is_not_elected() -> None:
    before = partition(leader=NO_BROKER, in_sync=(1, 2))

    assert elected(before, alive(2, 3, stopping=(1,))) == 2
    assert elected(before, alive(3, stopping=(1, 2))) == NO_BROKER


def test_any_replica_is_elected_where_the_topic_allows_it_and_the_others_hold_nothing() -> None:
    before = partition(leader=NO_BROKER, in_sync=(1,), eligible=(2,))

    after = after_unfencing(before, available=alive(3), rules=UNCLEAN)

    assert sets(after) == (3, (3,), ())


def test_clean_election_comes_before_an_unclean_one() -> None:
    before = partition(leader=NO_BROKER, in_sync=(1,), eligible=(3,))

    assert elected(before, alive(2, 3), UNCLEAN) == 3


def test_unclean_election_prefers_a_replica_that_is_not_only_being_added() -> None:
    before = replace(partition(leader=NO_BROKER, in_sync=()), adding_replicas=brokers(1))

    assert elected(before, alive(1, 3), UNCLEAN) == 3
    assert elected(before, alive(1), UNCLEAN) == 1


# --- Epochs ---


def test_change_of_leader_raises_both_epochs() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    after = after_fencing(before, BrokerId(1), available=alive(2), rules=ONE)

    assert after.leader == 2
    assert (after.leader_epoch, after.partition_epoch) == (6, 10)


def test_change_of_the_set_alone_raises_the_partition_epoch() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    after = after_fencing(before, BrokerId(2), available=alive(1), rules=ONE)

    assert after.in_sync_replicas == brokers(1)
    assert (after.leader_epoch, after.partition_epoch) == (5, 10)


def test_removal_of_a_replica_raises_both_epochs() -> None:
    before = partition(leader=1, in_sync=(1, 2, 3))
    wanted = replace(before, removing_replicas=brokers(3))

    after = settled(before, wanted, available=alive(1, 2, 3), rules=ONE)

    assert (after.leader, after.replicas) == (1, brokers(1, 2))
    assert (after.leader_epoch, after.partition_epoch) == (6, 10)


def test_removal_waits_until_one_that_stays_can_lead() -> None:
    before = partition(leader=1, in_sync=(1, 2))
    wanted = replace(before, removing_replicas=brokers(1, 3))

    after = settled(before, wanted, available=alive(1, stopping=(2,)), rules=ONE)
    assert (after.leader, after.replicas) == (1, brokers(1, 2, 3))

    after = settled(after, after, available=alive(1, 2), rules=ONE)
    assert (after.leader, after.replicas) == (2, brokers(2))


# --- Fencing ---


def test_fencing_a_broker_that_matters_not_changes_nothing() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    assert after_fencing(before, BrokerId(3), available=alive(1, 2), rules=ONE) is before


def test_last_member_stays_in_sync_without_leading() -> None:
    before = partition(leader=2, in_sync=(2,))

    after = after_fencing(before, BrokerId(2), available=alive(1, 3), rules=ONE)

    assert sets(after) == (NO_BROKER, (2,), ())
    assert after_fencing(after, BrokerId(2), available=alive(1), rules=ONE) is after


def test_last_member_becomes_eligible_if_an_eligible_replica_can_lead() -> None:
    before = partition(leader=2, in_sync=(2,), eligible=(3,))

    after = after_fencing(before, BrokerId(2), available=alive(1, 3), rules=TWO)

    assert sets(after) == (3, (3,), (2,))


def test_who_leaves_a_set_that_falls_below_the_minimum_becomes_eligible() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    after = after_fencing(before, BrokerId(2), available=alive(1), rules=TWO)

    assert sets(after) == (1, (1,), (2,))


def test_who_leaves_a_set_that_stays_large_enough_does_not_become_eligible() -> None:
    before = partition(leader=1, in_sync=(1, 2, 3))

    after = after_fencing(before, BrokerId(3), available=alive(1, 2), rules=TWO)

    assert sets(after) == (1, (1, 2), ())


def test_minimum_is_not_more_than_the_replicas() -> None:
    before = partition(leader=1, in_sync=(1, 2, 3))
    rules = TopicRules(min_insync_replicas=9)

    after = after_fencing(before, BrokerId(3), available=alive(1, 2), rules=rules)

    assert sets(after) == (1, (1, 2), (3,))


def test_fenced_broker_cannot_be_among_those_that_serve() -> None:
    with pytest.raises(AssertionError):
        after_fencing(partition(leader=1, in_sync=(1,)), BrokerId(1), available=alive(1), rules=ONE)


# --- In-sync sets grow ---


def test_eligible_replica_that_joins_is_eligible_no_more() -> None:
    before = partition(leader=1, in_sync=(1,), eligible=(2, 3))
    rules = TopicRules(min_insync_replicas=3)
    wanted = replace(before, in_sync_replicas=brokers(1, 2))

    after = settled(before, wanted, available=alive(1, 2), rules=rules)

    assert sets(after) == (1, (1, 2), (3,))


def test_nobody_is_eligible_once_enough_are_in_sync() -> None:
    before = partition(leader=1, in_sync=(1,), eligible=(3,))
    wanted = replace(before, in_sync_replicas=brokers(1, 2))

    after = settled(before, wanted, available=alive(1, 2), rules=TWO)

    assert sets(after) == (1, (1, 2), ())


# --- Unfencing ---


def test_unfencing_elects_where_there_is_no_leader() -> None:
    before = partition(leader=NO_BROKER, in_sync=(2,))

    after = after_unfencing(before, available=alive(2), rules=ONE)

    assert after.leader == 2
    assert (after.leader_epoch, after.partition_epoch) == (6, 10)


def test_unfencing_replaces_a_leader_that_is_stopping() -> None:
    before = partition(leader=1, in_sync=(1,), eligible=(2,))

    after = after_unfencing(before, available=alive(2, stopping=(1,)), rules=TWO)

    assert sets(after) == (2, (2,), (1,))


def test_unfencing_changes_nothing_where_nobody_can_lead() -> None:
    before = partition(leader=NO_BROKER, in_sync=(1,))

    assert after_unfencing(before, available=alive(2, 3), rules=ONE) is before


# --- Loss ---


def test_broker_that_lost_its_replica_leaves_both_sets_even_as_the_last() -> None:
    last = partition(leader=1, in_sync=(1,))
    eligible = partition(leader=1, in_sync=(1,), eligible=(2,))

    assert sets(after_loss(last, BrokerId(1), available=alive(2, 3), rules=ONE)) == (
        NO_BROKER,
        (),
        (),
    )
    assert sets(after_loss(eligible, BrokerId(2), available=alive(1), rules=TWO)) == (1, (1,), ())


def test_loss_of_the_last_member_leaves_those_who_are_eligible() -> None:
    before = partition(leader=1, in_sync=(1,), eligible=(2,))

    assert sets(after_loss(before, BrokerId(1), available=alive(2, 3), rules=TWO)) == (2, (2,), ())
    assert sets(after_loss(before, BrokerId(1), available=alive(3), rules=TWO)) == (
        NO_BROKER,
        (),
        (2,),
    )


def test_loss_of_what_was_not_needed_changes_nothing() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    assert after_loss(before, BrokerId(3), available=alive(1, 2), rules=TWO) is before


def test_unclean_restart_costs_nothing_where_acknowledged_means_synced() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    after = after_unclean_restart(before, BrokerId(2), available=alive(1), rules=TWO)

    assert sets(after) == (1, (1,), (2,))


def test_unclean_restart_costs_the_place_where_acknowledged_means_in_memory() -> None:
    before = partition(leader=1, in_sync=(1,), eligible=(2,))

    after = after_unclean_restart(before, BrokerId(2), available=alive(1), rules=CACHING)

    assert sets(after) == (1, (1,), ())


def test_unclean_restart_of_the_last_holder_leaves_it_the_best_there_is() -> None:
    before = partition(leader=NO_BROKER, in_sync=(2,))

    after = after_unclean_restart(before, BrokerId(2), available=alive(1, 3), rules=CACHING)

    assert sets(after) == (NO_BROKER, (2,), ())
    assert elected(after, alive(1, 2, 3), CACHING) == 2


# --- Stopping in good order ---


def test_stopping_leader_is_followed_by_another_and_leaves_the_set() -> None:
    before = partition(leader=1, in_sync=(1, 2, 3))

    after = after_begin_shutdown(
        before, BrokerId(1), available=alive(2, 3, stopping=(1,)), rules=TWO
    )

    assert sets(after) == (2, (2, 3), ())
    assert (after.leader_epoch, after.partition_epoch) == (6, 10)


def test_stopping_broker_stays_in_sync_where_too_few_would_be_left() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    after = after_begin_shutdown(before, BrokerId(1), available=alive(2, stopping=(1,)), rules=TWO)

    assert sets(after) == (2, (1, 2), ())


def test_stopping_follower_leaves_the_set() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    after = after_begin_shutdown(before, BrokerId(2), available=alive(1, stopping=(2,)), rules=ONE)

    assert sets(after) == (1, (1,), ())


def test_stopping_leader_leads_on_where_nobody_else_can() -> None:
    before = partition(leader=1, in_sync=(1,))

    after = after_begin_shutdown(
        before, BrokerId(1), available=alive(2, 3, stopping=(1,)), rules=UNCLEAN
    )

    assert after is before


def test_eligible_replica_takes_over_from_a_stopping_leader() -> None:
    before = partition(leader=1, in_sync=(1,), eligible=(3,))

    after = after_begin_shutdown(
        before, BrokerId(1), available=alive(2, 3, stopping=(1,)), rules=TWO
    )

    assert sets(after) == (3, (3,), (1,))
