"""Followers that a reassignment brings join as others do; those it removes count until then."""

from __future__ import annotations

import pytest

from ottla.model.errors import NotEnoughReplicasError, NotLeaderOrFollowerError
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.replication.leader import IsrMember
from tests.replication.partition import ALL, Partition, committed, propose


def test_new_replica_joins_when_it_has_what_is_committed() -> None:
    partition = Partition(replicas={1, 2})
    partition.write(5)
    partition.fetch(2, at=5)
    partition.replicas(1, 2, 4)
    partition.serving(1, 2, 4)

    assert partition.fetch(4, at=4) == []
    assert partition.fetch(4, at=5) == [propose(1, 1, 2, 4)]


def test_new_replica_is_not_waited_for_before_it_has_caught_up() -> None:
    partition = Partition(replicas={1, 2})
    partition.write(5)
    partition.fetch(2, at=5)
    partition.replicas(1, 2, 4)
    partition.serving(1, 2, 4)
    partition.fetch(4, at=0)
    partition.write(9)

    assert partition.fetch(2, at=9) == [committed(9)]


def test_replica_that_does_not_serve_yet_does_not_join() -> None:
    partition = Partition(replicas={1, 2})
    partition.fetch(2, at=0)
    partition.replicas(1, 2, 4)

    assert partition.fetch(4, at=0) == []
    assert partition.serving(1, 2, 4) == [propose(1, 1, 2, 4)]


def test_removed_replica_counts_while_the_committed_set_has_it() -> None:
    partition = Partition()
    partition.fetch(2, at=0)
    partition.fetch(3, at=0)
    partition.replicas(1, 2)
    partition.write(5)

    assert partition.fetch(2, at=5) == []
    assert partition.commit_isr(1, 2) == [committed(5)]


def test_removed_replica_is_forgotten_when_the_set_shrank_first() -> None:
    partition = Partition()
    partition.commit_isr(1, 2)
    partition.replicas(1, 2)

    assert BrokerId(3) not in partition.leader.statistics().follower_end_offsets


def test_removed_replica_is_refused_and_does_not_join_again() -> None:
    partition = Partition()
    partition.fetch(3, at=0)
    partition.replicas(1, 2)

    with pytest.raises(NotLeaderOrFollowerError, match="the followers of this partition are 2"):
        partition.fetch(3, at=0)
    assert partition.commit_isr(1, 2) == []
    assert partition.serving(1, 2, 3) == []


def test_replica_removed_while_it_was_asked_for_counts_until_that_is_refused() -> None:
    partition = Partition(isr={1, 2})
    partition.fetch(2, at=0)
    assert partition.fetch(3, at=0) == [propose(1, 1, 2, 3)]
    partition.replicas(1, 2)
    partition.write(5)

    assert partition.fetch(2, at=5) == []
    assert partition.refuse(1) == [committed(5)]
    assert BrokerId(3) not in partition.leader.statistics().follower_end_offsets


def test_replica_that_comes_back_begins_anew() -> None:
    partition = Partition()
    partition.fetch(2, at=0)
    partition.fetch(3, at=0, broker_epoch=31)
    partition.commit_isr(1, 2)
    partition.replicas(1, 2)
    partition.replicas(1, 2, 3)

    assert partition.leader.statistics().follower_end_offsets[BrokerId(3)] is None
    assert partition.fetch(3, at=0, broker_epoch=33)[-1] == propose(
        1, 1, 2, IsrMember(BrokerId(3), BrokerEpoch(33)), epoch=1
    )


def test_min_insync_is_of_the_replicas_that_are_not_only_being_brought() -> None:
    partition = Partition(replicas={1}, min_insync_replicas=2)
    partition.leader.check_can_append(ALL)

    partition.replicas(1, 2, adding=(2,))
    partition.leader.check_can_append(ALL)

    partition.replicas(1, 2)

    with pytest.raises(NotEnoughReplicasError, match="1 of 2 replicas are in sync"):
        partition.leader.check_can_append(ALL)
