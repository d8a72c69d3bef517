"""A leader commits what every replica that counts holds, shows no less than before, and no more."""

from __future__ import annotations

import pytest

from ottla.model.errors import (
    FencedLeaderEpochError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    StaleBrokerEpochError,
    UnknownLeaderEpochError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch
from ottla.model.limits import ISR_RETRY_BACKOFF_MS, JOIN_HOLD_MAX_MS
from ottla.replication.leader import (
    AdvanceHighWatermark,
    Effect,
    FollowerFetched,
    Input,
    IsrCommitted,
    IsrMember,
    IsrRefused,
    LeaderStatistics,
    LocalAppended,
    LocalDurable,
    PartitionLeader,
    ProposeIsr,
    ServingChanged,
    SettingsChanged,
    Tick,
)

LAG_TIME_MAX_MS = 10_000
ALL = -1


class Partition:
    """A leader on broker 1, whose epoch is 11 (broker n has epoch n1), in plain numbers."""

    def __init__(
        self,
        *,
        isr: set[int] | None = None,
        replicas: set[int] | None = None,
        log_end: int = 0,
        durable_end: int | None = None,
        high_watermark: int = 0,
        min_insync_replicas: int = 1,
        write_caching: bool = False,
    ) -> None:
        self.now_ms = 0
        self.partition_epoch = 0
        replicas = replicas or {1, 2, 3}
        self.leader = PartitionLeader(
            broker=member(1),
            replicas=brokers(*replicas),
            isr=brokers(*(isr or replicas)),
            serving=brokers(*replicas),
            leader_epoch=LeaderEpoch(7),
            partition_epoch=PartitionEpoch(0),
            log_end_offset=Offset(log_end),
            durable_end_offset=Offset(log_end if durable_end is None else durable_end),
            high_watermark=Offset(high_watermark),
            min_insync_replicas=min_insync_replicas,
            write_caching=write_caching,
            replica_lag_time_max_ms=LAG_TIME_MAX_MS,
            now_ms=0,
        )

    def step(self, event: Input) -> list[Effect]:
        return self.leader.step(event, now_ms=self.now_ms)

    def append(self, end: int) -> list[Effect]:
        return self.step(LocalAppended(Offset(end)))

    def sync(self, end: int) -> list[Effect]:
        return self.step(LocalDurable(Offset(end)))

    def write(self, end: int) -> list[Effect]:
        """Append and sync."""
        return self.append(end) + self.sync(end)

    def fetch(
        self, replica: int, at: int, *, epoch: int = 7, broker_epoch: int | None = None
    ) -> list[Effect]:
        return self.step(
            FollowerFetched(
                replica=BrokerId(replica),
                broker_epoch=BrokerEpoch(broker_epoch or replica * 10 + 1),
                leader_epoch=LeaderEpoch(epoch),
                fetch_offset=Offset(at),
            )
        )

    def commit_isr(self, *isr: int) -> list[Effect]:
        self.partition_epoch += 1
        return self.step(
            IsrCommitted(isr=brokers(*isr), partition_epoch=PartitionEpoch(self.partition_epoch))
        )

    def refuse(self, number: int) -> list[Effect]:
        return self.step(IsrRefused(number))

    def serving(self, *serving: int) -> list[Effect]:
        return self.step(ServingChanged(brokers(*serving)))

    def wait_ms(self, duration_ms: int) -> list[Effect]:
        self.now_ms += duration_ms
        return self.step(Tick())


def member(broker: int) -> IsrMember:
    return IsrMember(BrokerId(broker), BrokerEpoch(broker * 10 + 1))


def brokers(*ids: int) -> frozenset[BrokerId]:
    return frozenset(BrokerId(i) for i in ids)


def committed(offset: int) -> AdvanceHighWatermark:
    return AdvanceHighWatermark(Offset(offset))


def propose(number: int, *members: int | IsrMember, epoch: int = 0) -> ProposeIsr:
    return ProposeIsr(
        number=number,
        members=tuple(m if isinstance(m, IsrMember) else member(m) for m in members),
        leader_epoch=LeaderEpoch(7),
        partition_epoch=PartitionEpoch(epoch),
    )


def never_heard_of(broker: int) -> IsrMember:
    return IsrMember(BrokerId(broker), BrokerEpoch(-1))


# --- What is committed ---


def test_record_is_committed_once_every_in_sync_replica_holds_it() -> None:
    partition = Partition()
    partition.write(5)

    assert partition.fetch(2, at=5) == []
    assert partition.fetch(3, at=5) == [committed(5)]


def test_record_is_not_committed_before_the_leader_has_it_on_disk() -> None:
    partition = Partition()
    partition.append(5)
    partition.fetch(2, at=5)

    assert partition.fetch(3, at=5) == []
    assert partition.sync(4) == [committed(4)]
    assert partition.sync(5) == [committed(5)]


def test_topic_with_write_caching_does_not_wait_for_the_disk() -> None:
    partition = Partition(write_caching=True)
    partition.append(5)
    partition.fetch(2, at=5)

    assert partition.fetch(3, at=5) == [committed(5)]


def test_leader_alone_commits_what_it_syncs() -> None:
    partition = Partition(replicas={1})

    assert partition.append(5) == []
    assert partition.sync(5) == [committed(5)]


def test_high_watermark_is_the_lowest_end() -> None:
    partition = Partition()
    partition.write(9)
    partition.fetch(2, at=7)

    assert partition.fetch(3, at=4) == [committed(4)]


def test_high_watermark_never_goes_back() -> None:
    partition = Partition()
    partition.write(5)
    partition.fetch(2, at=5)
    partition.fetch(3, at=5)

    assert partition.fetch(3, at=2) == []
    assert partition.leader.high_watermark == 5


def test_nothing_is_committed_before_a_member_was_heard_of() -> None:
    partition = Partition()
    partition.write(5)

    assert partition.fetch(2, at=5) == []
    assert partition.leader.high_watermark == 0


def test_follower_outside_the_in_sync_set_commits_nothing() -> None:
    partition = Partition(isr={1, 2})
    partition.write(5)
    partition.fetch(2, at=5)
    partition.append(9)
    partition.sync(9)

    assert partition.fetch(3, at=2) == []
    assert partition.leader.high_watermark == 5


def test_joining_follower_holds_back_the_high_watermark_before_the_controller_answers() -> None:
    partition = Partition(isr={1, 2})
    partition.write(5)
    partition.fetch(2, at=5)
    assert partition.fetch(3, at=5) == [propose(1, 1, 2, 3)]
    partition.now_ms += JOIN_HOLD_MAX_MS + 1

    partition.write(9)

    assert partition.fetch(2, at=9) == []
    assert partition.fetch(3, at=9) == [committed(9)]


def test_turning_write_caching_on_commits_what_is_in_memory_everywhere() -> None:
    partition = Partition(replicas={1})
    partition.append(5)

    changed = SettingsChanged(min_insync_replicas=1, write_caching=True)

    assert partition.step(changed) == [committed(5)]


# --- min.insync.replicas ---


def test_nothing_is_committed_while_too_few_replicas_are_in_sync() -> None:
    partition = Partition(isr={1}, min_insync_replicas=2)

    assert partition.write(5) == []
    assert partition.leader.is_under_min_insync


def test_commits_go_on_once_enough_replicas_are_in_sync() -> None:
    partition = Partition(isr={1}, min_insync_replicas=2)
    partition.write(5)
    assert partition.fetch(2, at=5) == [propose(1, 1, 2)]

    assert partition.commit_isr(1, 2) == [committed(5)]


def test_proposed_member_does_not_make_the_set_large_enough() -> None:
    partition = Partition(isr={1}, min_insync_replicas=2)
    partition.write(5)
    partition.fetch(2, at=5)

    with pytest.raises(NotEnoughReplicasError):
        partition.leader.check_can_append(ALL)


def test_write_with_acks_all_is_refused_while_too_few_replicas_are_in_sync() -> None:
    partition = Partition(isr={1, 3}, min_insync_replicas=3)

    with pytest.raises(NotEnoughReplicasError) as refused:
        partition.leader.check_can_append(ALL)

    assert str(refused.value) == (
        "2 of 3 replicas are in sync (1 3), and min.insync.replicas asks for 3; "
        "try again when more are"
    )


@pytest.mark.parametrize("acks", [0, 1])
def test_write_with_fewer_acks_may_begin_with_any_number_in_sync(acks: int) -> None:
    Partition(isr={1}, min_insync_replicas=3).leader.check_can_append(acks)


def test_write_with_acks_all_may_begin_with_just_enough_in_sync() -> None:
    Partition(isr={1, 2}, min_insync_replicas=2).leader.check_can_append(ALL)


def test_topic_of_fewer_replicas_than_it_needs_in_sync_needs_all_of_them() -> None:
    partition = Partition(replicas={1, 2}, min_insync_replicas=3)
    partition.leader.check_can_append(ALL)
    partition.write(5)

    assert partition.fetch(2, at=5) == [committed(5)]


def test_lowering_min_insync_replicas_commits_what_waited_for_it() -> None:
    partition = Partition(isr={1}, min_insync_replicas=2)
    partition.write(5)

    changed = SettingsChanged(min_insync_replicas=1, write_caching=False)

    assert partition.step(changed) == [committed(5)]


# --- A new leader ---


def test_new_leader_shows_no_high_watermark_below_its_epoch_start() -> None:
    partition = Partition(log_end=9, high_watermark=4)
    assert partition.leader.served_high_watermark is None

    partition.fetch(2, at=9)
    partition.fetch(3, at=8)
    assert partition.leader.served_high_watermark is None

    partition.fetch(3, at=9)
    assert partition.leader.served_high_watermark == 9


def test_new_leader_that_is_alone_shows_its_high_watermark_when_its_log_is_durable() -> None:
    partition = Partition(replicas={1}, log_end=9, durable_end=6, high_watermark=4)

    assert partition.step(Tick()) == [committed(6)]
    assert partition.leader.served_high_watermark is None

    assert partition.sync(9) == [committed(9)]
    assert partition.leader.served_high_watermark == 9


def test_first_tick_of_a_leader_alone_with_a_durable_log_commits_all_of_it() -> None:
    partition = Partition(replicas={1}, log_end=9, high_watermark=0)

    assert partition.step(Tick()) == [committed(9)]


def test_leader_of_an_empty_log_shows_its_high_watermark_at_once() -> None:
    assert Partition().leader.served_high_watermark == 0


def test_high_watermark_is_shown_from_then_on() -> None:
    partition = Partition(replicas={1}, log_end=9, high_watermark=9)
    partition.append(20)

    assert partition.leader.served_high_watermark == 9


def test_follower_of_a_new_leader_joins_only_with_all_that_may_have_been_committed() -> None:
    partition = Partition(isr={1, 2}, log_end=9, high_watermark=4)

    assert partition.fetch(3, at=8) == []
    assert partition.fetch(3, at=9) == [propose(1, 1, never_heard_of(2), 3)]


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
