"""A leader refuses what does not fit, without a change, and says when and what it is."""

from __future__ import annotations

import pytest

from ottla.model.errors import (
    FencedLeaderEpochError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    StaleBrokerEpochError,
    UnknownLeaderEpochError,
)
from ottla.model.ids import BrokerId, LeaderEpoch, Offset, PartitionEpoch
from ottla.replication.leader import LeaderStatistics, Tick
from tests.replication.partition import LAG_TIME_MAX_MS, Partition, brokers

# --- Fetches that are refused ---


def test_fetch_from_a_deposed_epoch_is_fenced() -> None:
    with pytest.raises(FencedLeaderEpochError, match="while broker 1 leads at epoch 7"):
        Partition().fetch(2, at=0, epoch=6)


def test_fetch_from_a_later_epoch_is_to_be_tried_again() -> None:
    with pytest.raises(UnknownLeaderEpochError, match="while broker 1 leads at epoch 7"):
        Partition().fetch(2, at=0, epoch=8)


def test_fetch_of_a_stranger_is_refused() -> None:
    with pytest.raises(NotLeaderOrFollowerError, match="the followers of this partition are 2 3"):
        Partition().fetch(4, at=0)


def test_fetch_of_an_earlier_life_is_refused() -> None:
    partition = Partition()
    partition.fetch(2, at=0, broker_epoch=21)

    with pytest.raises(StaleBrokerEpochError, match="has fetched with broker epoch 21"):
        partition.fetch(2, at=0, broker_epoch=20)


def test_life_is_remembered_while_the_follower_is_out_of_the_set() -> None:
    partition = Partition()
    partition.fetch(2, at=0, broker_epoch=21)
    partition.commit_isr(1, 3)

    with pytest.raises(StaleBrokerEpochError):
        partition.fetch(2, at=0, broker_epoch=20)


def test_fetch_past_the_leaders_end_is_refused() -> None:
    partition = Partition()
    partition.write(5)

    with pytest.raises(OffsetOutOfRangeError, match="the leader's log ends at 5; truncate first"):
        partition.fetch(2, at=6)


def test_refused_fetch_changes_nothing() -> None:
    partition = Partition()
    partition.write(5)
    partition.fetch(2, at=3)
    before = partition.leader.statistics()

    for at, epoch, broker_epoch in ((5, 6, 21), (5, 8, 21), (5, 7, 20), (6, 7, 21)):
        with pytest.raises(Exception, match="FollowerFetched"):
            partition.fetch(2, at=at, epoch=epoch, broker_epoch=broker_epoch)

    assert partition.leader.statistics() == before


# --- Bugs of the caller ---


def test_leader_never_truncates() -> None:
    partition = Partition(log_end=5)

    with pytest.raises(AssertionError, match="a leader never truncates"):
        partition.append(4)


@pytest.mark.parametrize("end", [2, 6])
def test_durable_end_lies_between_the_last_one_and_the_log_end(end: int) -> None:
    partition = Partition(log_end=5, durable_end=3)

    with pytest.raises(AssertionError):
        partition.sync(end)


def test_unknown_input_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        Partition().step("tick")  # type: ignore[arg-type]


# --- Timers, and what people see ---


def test_leader_sleeps_until_the_first_follower_can_fall_behind() -> None:
    partition = Partition()
    partition.append(5)
    partition.now_ms = 800
    partition.fetch(2, at=5)

    assert partition.leader.deadline_ms() == LAG_TIME_MAX_MS + 1


def test_leader_with_a_proposal_under_way_waits_for_the_answer() -> None:
    partition = Partition()
    partition.append(5)
    partition.wait_ms(LAG_TIME_MAX_MS + 1)

    assert partition.leader.deadline_ms() is None


def test_leader_alone_has_nothing_to_wait_for() -> None:
    assert Partition(replicas={1}).leader.deadline_ms() is None


def test_ticking_at_every_deadline_comes_to_rest() -> None:
    partition = Partition()
    partition.fetch(2, at=0)
    for _ in range(5):
        deadline_ms = partition.leader.deadline_ms()
        if deadline_ms is None:
            break
        assert deadline_ms > partition.now_ms
        partition.now_ms = deadline_ms
        partition.step(Tick())

    assert partition.leader.deadline_ms() is None


def test_repr_tells_the_state_in_one_line() -> None:
    partition = Partition(isr={1, 2})
    partition.append(9)
    partition.sync(5)
    partition.fetch(3, at=5)

    assert repr(partition.leader) == (
        "<PartitionLeader 1 epoch 7: high watermark 0, durable 5, end 9, in sync 1 2, "
        "asked for 1 2 3, followers 2@? 3@5>"
    )
    assert repr(Partition(replicas={1}).leader) == (
        "<PartitionLeader 1 epoch 7: high watermark 0, durable 0, end 0, in sync 1>"
    )


def test_statistics_are_a_value() -> None:
    partition = Partition(isr={1, 2})
    partition.append(9)
    partition.fetch(3, at=5)

    assert partition.leader.statistics() == LeaderStatistics(
        leader_epoch=LeaderEpoch(7),
        partition_epoch=PartitionEpoch(0),
        log_end_offset=Offset(9),
        durable_end_offset=Offset(0),
        high_watermark=Offset(0),
        isr=brokers(1, 2),
        proposed_isr=brokers(1, 2, 3),
        follower_end_offsets={BrokerId(2): None, BrokerId(3): Offset(5)},
    )
    assert partition.leader.leader_epoch == 7
