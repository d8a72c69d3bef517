"""A leader commits what every replica that counts holds, and shows no less than was shown."""

from __future__ import annotations

import pytest

from ottla.model.errors import NotEnoughReplicasError
from ottla.model.limits import JOIN_HOLD_MAX_MS
from ottla.replication.leader import SettingsChanged, Tick
from tests.replication.partition import ALL, Partition, committed, never_heard_of, propose

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
