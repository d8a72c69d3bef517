"""Who is slow leaves the in-sync set, who has everything joins it, if the controller agrees."""

from __future__ import annotations

import pytest

from ottla.model.ids import BrokerEpoch, BrokerId, PartitionEpoch
from ottla.model.limits import ISR_RETRY_BACKOFF_MS, JOIN_HOLD_MAX_MS
from ottla.replication.leader import IsrCommitted, IsrMember
from tests.replication.partition import (
    LAG_TIME_MAX_MS,
    Partition,
    brokers,
    committed,
    never_heard_of,
    propose,
)

# --- Leaving the in-sync set ---


def test_slow_follower_is_proposed_out_after_the_lag_time() -> None:
    partition = Partition()
    partition.write(5)
    partition.now_ms = 500
    partition.fetch(2, at=5)

    assert partition.wait_ms(LAG_TIME_MAX_MS - 500) == []
    assert partition.wait_ms(1) == [propose(1, 1, 2)]


def test_shrink_commits_nothing_until_the_controller_agrees() -> None:
    partition = Partition()
    partition.write(5)
    partition.now_ms = 500
    partition.fetch(2, at=5)
    assert partition.wait_ms(LAG_TIME_MAX_MS) == [propose(1, 1, 2)]

    assert partition.fetch(2, at=5) == []
    assert partition.commit_isr(1, 2) == [committed(5)]


def test_follower_one_fetch_behind_a_busy_leader_stays_in_sync() -> None:
    partition = Partition()
    for end in range(10, 200, 10):
        partition.append(end)
        partition.fetch(2, at=end - 10)
        partition.fetch(3, at=end - 10)

        assert partition.wait_ms(LAG_TIME_MAX_MS // 2) == []


def test_follower_that_fetches_without_ever_catching_up_is_proposed_out() -> None:
    partition = Partition(replicas={1, 2})
    effects = []
    for turn in range(1, 23):
        partition.append(turn * 10)
        partition.fetch(2, at=turn)
        effects += partition.wait_ms(LAG_TIME_MAX_MS // 20)

    assert effects == [propose(1, 1)]


def test_one_change_is_proposed_at_a_time() -> None:
    partition = Partition()
    partition.write(5)
    partition.now_ms = 500
    partition.fetch(2, at=5)
    assert partition.wait_ms(LAG_TIME_MAX_MS) == [propose(1, 1, 2)]

    assert partition.wait_ms(LAG_TIME_MAX_MS) == []
    assert partition.commit_isr(1, 2) == [committed(5), propose(2, 1, epoch=1)]


def test_two_slow_followers_are_proposed_out_together() -> None:
    partition = Partition()
    partition.append(5)

    assert partition.wait_ms(LAG_TIME_MAX_MS + 1) == [propose(1, 1)]


def test_follower_that_was_taken_out_is_waited_for_no_more() -> None:
    partition = Partition()
    partition.write(5)
    partition.fetch(2, at=5)
    partition.fetch(3, at=5)
    partition.commit_isr(1, 2)

    partition.write(9)

    assert partition.fetch(2, at=9) == [committed(9)]


def test_follower_that_was_taken_out_is_not_proposed_again_until_it_fetches() -> None:
    partition = Partition()
    partition.fetch(3, at=0)

    assert partition.commit_isr(1, 2) == []
    assert partition.fetch(3, at=0) == [propose(1, 1, never_heard_of(2), 3, epoch=1)]


# --- Joining it ---


def test_follower_joins_only_when_it_holds_every_committed_record() -> None:
    partition = Partition(isr={1, 2})
    partition.write(5)
    partition.fetch(2, at=5)

    assert partition.fetch(3, at=4) == []
    assert partition.fetch(3, at=5) == [propose(1, 1, 2, 3)]


def test_follower_that_cannot_be_ahead_of_a_moving_high_watermark_can_still_join() -> None:
    partition = Partition(isr={1}, replicas={1, 3})
    partition.write(10)
    assert partition.fetch(3, at=2) == []
    # Each acknowledgement is one append behind, which the leader alone would have committed.
    partition.write(20)
    partition.wait_ms(20)
    assert partition.fetch(3, at=10) == []
    partition.write(30)
    partition.wait_ms(20)

    assert partition.fetch(3, at=20) == [propose(1, 1, 3)]


def test_leader_waits_for_a_follower_that_just_caught_up_for_a_moment_only() -> None:
    partition = Partition(isr={1}, replicas={1, 3})
    partition.write(10)
    partition.fetch(3, at=2)
    partition.write(20)
    partition.fetch(3, at=10)
    assert partition.write(30) == []
    assert partition.leader.high_watermark == 20

    assert partition.wait_ms(JOIN_HOLD_MAX_MS) == []
    assert partition.leader.deadline_ms() == JOIN_HOLD_MAX_MS + 1
    assert partition.wait_ms(1) == [committed(30)]
    assert partition.leader.deadline_ms() is None


def test_fenced_follower_is_neither_waited_for_nor_proposed() -> None:
    partition = Partition(isr={1}, replicas={1, 3})
    partition.serving(1)
    partition.write(5)
    assert partition.fetch(3, at=5) == []

    assert partition.write(9) == [committed(9)]


def test_follower_that_is_fenced_is_waited_for_no_more() -> None:
    partition = Partition(isr={1}, replicas={1, 3})
    partition.write(10)
    partition.fetch(3, at=2)
    partition.write(20)
    partition.fetch(3, at=10)
    assert partition.write(30) == []

    assert partition.serving(1) == [committed(30)]


def test_follower_that_is_unfenced_joins_with_its_next_fetch() -> None:
    partition = Partition(isr={1}, replicas={1, 3})
    partition.serving(1)
    partition.fetch(3, at=0)
    partition.serving(1)

    assert partition.serving(1, 3) == []
    assert partition.fetch(3, at=0) == [propose(1, 1, 3)]


def test_member_that_is_fenced_counts_until_the_controller_has_taken_it_out() -> None:
    partition = Partition(replicas={1, 2})
    partition.fetch(2, at=0)
    partition.serving(1)

    assert partition.write(5) == []
    assert partition.commit_isr(1) == [committed(5)]


def test_new_member_has_a_full_lag_time_to_catch_up() -> None:
    partition = Partition(isr={1}, replicas={1, 2}, min_insync_replicas=2)
    partition.write(100)
    assert partition.fetch(2, at=1) == [propose(1, 1, 2)]
    partition.now_ms = 50_000

    assert partition.commit_isr(1, 2) == [committed(1)]
    assert partition.wait_ms(LAG_TIME_MAX_MS) == []
    assert partition.wait_ms(1) == [propose(2, 1, epoch=1)]


def test_proposal_names_the_life_in_which_each_member_is_in_sync() -> None:
    partition = Partition(isr={1}, replicas={1, 2})

    assert partition.fetch(2, at=0, broker_epoch=99) == [
        propose(1, 1, IsrMember(BrokerId(2), BrokerEpoch(99)))
    ]


# --- What the controller answers ---


def test_refused_change_is_proposed_again_after_a_pause() -> None:
    partition = Partition(isr={1}, replicas={1, 2})
    partition.fetch(2, at=0)

    assert partition.refuse(1) == []
    assert partition.leader.deadline_ms() == ISR_RETRY_BACKOFF_MS
    assert partition.wait_ms(ISR_RETRY_BACKOFF_MS - 1) == []
    assert partition.wait_ms(1) == [propose(2, 1, 2)]


def test_pause_after_a_refusal_ends_when_the_set_changes() -> None:
    partition = Partition(isr={1}, replicas={1, 2, 3})
    partition.fetch(2, at=0)
    partition.refuse(1)
    assert partition.fetch(3, at=0) == []

    assert partition.commit_isr(1, 2) == [propose(2, 1, 2, 3, epoch=1)]


def test_refused_joiner_counts_no_more_once_it_is_silent() -> None:
    partition = Partition(isr={1}, replicas={1, 2})
    partition.fetch(2, at=0)
    partition.write(5)
    partition.refuse(1)
    partition.serving(1)

    assert partition.leader.high_watermark == 5


def test_refusal_that_comes_late_changes_nothing() -> None:
    partition = Partition(isr={1}, replicas={1, 2})
    partition.fetch(2, at=0)
    partition.refuse(1)
    assert partition.wait_ms(ISR_RETRY_BACKOFF_MS) == [propose(2, 1, 2)]

    partition.refuse(1)

    assert partition.leader.statistics().proposed_isr == brokers(1, 2)


def test_refusal_that_the_metadata_log_has_overtaken_changes_nothing() -> None:
    partition = Partition(isr={1}, replicas={1, 2})
    partition.fetch(2, at=0)
    partition.commit_isr(1, 2)

    assert partition.refuse(1) == []
    assert partition.leader.isr == brokers(1, 2)
    assert partition.leader.deadline_ms() == LAG_TIME_MAX_MS + 1


def test_metadata_that_is_not_news_changes_nothing() -> None:
    partition = Partition()
    stale = IsrCommitted(isr=brokers(1), partition_epoch=PartitionEpoch(0))

    partition.step(stale)

    assert partition.leader.isr == brokers(1, 2, 3)


def test_metadata_may_differ_from_what_was_proposed() -> None:
    partition = Partition()
    partition.write(5)
    partition.now_ms = 500
    partition.fetch(2, at=5)
    partition.wait_ms(LAG_TIME_MAX_MS)

    assert partition.commit_isr(1) == [committed(5)]
    assert partition.leader.isr == brokers(1)


def test_set_without_the_leader_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Partition().commit_isr(2, 3)


def test_set_with_a_stranger_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Partition().commit_isr(1, 9)
