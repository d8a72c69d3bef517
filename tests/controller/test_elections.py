"""Only a replica that has everything committed is elected, and a good leader is kept."""

from __future__ import annotations

import pytest

from ottla.controller.elections import Election, after_fencing, after_unfencing, elect
from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, PartitionEpoch
from ottla.model.image import PartitionImage
from tests.controller.metadata import brokers


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


def serving(*ids: int) -> frozenset[BrokerId]:
    return frozenset(brokers(*ids))


def election(leader: int, in_sync: tuple[int, ...], eligible: tuple[int, ...] = ()) -> Election:
    return Election(BrokerId(leader), brokers(*in_sync), brokers(*eligible))


def test_leader_that_is_in_sync_and_serves_stays() -> None:
    before = partition(leader=3, in_sync=(1, 2, 3))

    assert elect(before, serving=serving(1, 2, 3)) == election(3, (1, 2, 3))


@pytest.mark.parametrize(
    ("in_sync", "alive", "leader"),
    [
        ((1, 2, 3), (1, 2, 3), 1),
        ((3, 2), (1, 2, 3), 2),  # by order of preference, not of the set
        ((1, 2, 3), (3,), 3),
        ((3,), (1, 2, 3), 3),
        ((1,), (2, 3), NO_BROKER),
    ],
)
def test_first_replica_that_is_in_sync_and_serves_is_elected(
    in_sync: tuple[int, ...], alive: tuple[int, ...], leader: int
) -> None:
    before = partition(leader=NO_BROKER, in_sync=in_sync)

    assert elect(before, serving=serving(*alive)) == election(leader, in_sync)


def test_leader_that_is_not_in_sync_does_not_stay() -> None:
    before = partition(leader=NO_BROKER, in_sync=(), eligible=(2,))

    assert elect(before, serving=serving(1)).leader == NO_BROKER


def test_eligible_replica_is_elected_if_nobody_is_in_sync_and_is_then_the_whole_set() -> None:
    before = partition(leader=NO_BROKER, in_sync=(), eligible=(3, 2))

    assert elect(before, serving=serving(1, 2, 3)) == election(2, (2,), (3,))


def test_eligible_replica_is_not_elected_while_somebody_is_in_sync() -> None:
    before = partition(leader=NO_BROKER, in_sync=(1,), eligible=(2,))

    assert elect(before, serving=serving(2, 3)) == election(NO_BROKER, (1,), (2,))


def test_nobody_is_elected_where_nobody_has_everything() -> None:
    before = partition(leader=NO_BROKER, in_sync=())

    assert elect(before, serving=serving(1, 2, 3)) == election(NO_BROKER, ())


def test_change_of_leader_raises_both_epochs() -> None:
    after = after_fencing(partition(leader=1, in_sync=(1, 2)), BrokerId(1), serving=serving(2))

    assert after.leader == 2
    assert (after.leader_epoch, after.partition_epoch) == (6, 10)


def test_change_of_the_set_alone_raises_the_partition_epoch() -> None:
    after = after_fencing(partition(leader=1, in_sync=(1, 2)), BrokerId(2), serving=serving(1))

    assert after.in_sync_replicas == brokers(1)
    assert (after.leader_epoch, after.partition_epoch) == (5, 10)


def test_fencing_a_broker_that_matters_not_changes_nothing() -> None:
    before = partition(leader=1, in_sync=(1, 2))

    assert after_fencing(before, BrokerId(3), serving=serving(1, 2)) is before


def test_fencing_a_last_member_that_did_not_lead_changes_nothing() -> None:
    before = partition(leader=NO_BROKER, in_sync=(2,))

    assert after_fencing(before, BrokerId(2), serving=serving(1)) is before


def test_fenced_broker_cannot_be_among_those_that_serve() -> None:
    with pytest.raises(AssertionError):
        after_fencing(partition(leader=1, in_sync=(1,)), BrokerId(1), serving=serving(1))


def test_unfencing_elects_where_there_is_no_leader() -> None:
    after = after_unfencing(partition(leader=NO_BROKER, in_sync=(2,)), serving=serving(2))

    assert after.leader == 2
    assert (after.leader_epoch, after.partition_epoch) == (6, 10)


def test_unfencing_replaces_a_leader_that_does_not_serve() -> None:
    after = after_unfencing(partition(leader=1, in_sync=(1, 2)), serving=serving(2))

    assert after.leader == 2


def test_unfencing_changes_nothing_where_nobody_can_lead() -> None:
    before = partition(leader=NO_BROKER, in_sync=(1,))

    assert after_unfencing(before, serving=serving(2, 3)) is before


def test_eligible_replicas_survive_changes_of_the_set() -> None:
    before = partition(leader=1, in_sync=(1, 2), eligible=(3,))

    after = after_fencing(before, BrokerId(2), serving=serving(1, 3))

    assert after.eligible_leader_replicas == brokers(3)
