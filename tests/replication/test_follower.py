"""A follower copies what its leader sends, cuts where the logs part, and acks what lasts."""

from __future__ import annotations

from ottla.model.ids import Offset
from ottla.replication.follower import (
    AdvanceHighWatermark,
    AppendBatches,
    LinkClosed,
    LogAppended,
    SettingsChanged,
)
from tests.replication.copying import (
    Copy,
    acknowledge,
    begin,
    delete_before,
    start_at,
    truncate_to,
)


def committed(offset: int) -> AdvanceHighWatermark:
    return AdvanceHighWatermark(Offset(offset))


# --- Beginning ---


def test_with_a_link_it_says_where_its_log_ends_and_in_which_epoch() -> None:
    assert Copy((3, 0), (5, 20), end=40).open() == [begin(1, at=40, epoch=5)]


def test_an_empty_log_has_no_last_epoch() -> None:
    assert Copy().open() == [begin(1, at=0)]


def test_it_tells_what_is_durable_and_not_more() -> None:
    assert Copy((3, 0), end=40, durable_end=30).open() == [begin(1, at=40, epoch=3, durable=30)]


def test_with_write_caching_all_it_has_counts() -> None:
    copy = Copy((3, 0), end=40, durable_end=30, write_caching=True)

    assert copy.open() == [begin(1, at=40, epoch=3, durable=40)]


def test_another_link_is_another_generation_from_where_it_is() -> None:
    copy = Copy()
    copy.open()
    copy.take(0, 10)
    copy.step(LinkClosed())

    assert copy.open() == [begin(2, at=10, epoch=7, durable=0)]


def test_a_successor_goes_on_with_the_next_generation() -> None:
    copy = Copy()
    copy.open()

    assert copy.follower.next_generation == 2


# --- Copying ---


def test_what_follows_its_log_is_appended() -> None:
    copy = Copy((3, 0), end=40)
    copy.open()

    assert copy.send(40, 50) == [AppendBatches()]


def test_what_is_appended_is_acknowledged_once_it_is_durable() -> None:
    copy = Copy()
    copy.open()

    assert copy.take(0, 10) == []
    assert copy.sync(10) == [acknowledge(10)]
    assert copy.sync(10) == []


def test_with_write_caching_it_acknowledges_at_once() -> None:
    copy = Copy(write_caching=True)
    copy.open()

    assert copy.take(0, 10) == [acknowledge(10)]


def test_write_caching_that_is_turned_on_acknowledges_what_is_there() -> None:
    copy = Copy()
    copy.open()
    copy.take(0, 10)

    assert copy.step(SettingsChanged(write_caching=True)) == [acknowledge(10)]


def test_write_caching_that_is_turned_off_takes_nothing_back() -> None:
    copy = Copy(write_caching=True)
    copy.open()
    copy.take(0, 10)

    assert copy.step(SettingsChanged(write_caching=False)) == []
    assert copy.take(10, 20) == []
    assert copy.sync(20) == [acknowledge(20)]


def test_what_becomes_durable_without_a_link_is_told_with_the_next() -> None:
    copy = Copy()
    copy.open()
    copy.take(0, 10)
    copy.step(LinkClosed())

    assert copy.sync(10) == []
    assert copy.open() == [begin(2, at=10, epoch=7)]


def test_what_was_sent_to_an_earlier_generation_is_ignored() -> None:
    copy = Copy((3, 0), end=40)
    copy.open()
    copy.step(LinkClosed())
    copy.open()

    assert copy.send(40, 50, generation=1) == []
    assert copy.diverge(1, 20, generation=1) == []
    assert copy.out_of_range(90, generation=1) == []
    assert copy.refuse(generation=1) == []
    assert copy.send(40, 50, generation=2) == [AppendBatches()]


def test_a_gap_or_a_repetition_is_not_appended_and_asked_for_again() -> None:
    for first, end in ((41, 50), (30, 50)):
        copy = Copy((3, 0), end=40)
        copy.open()

        assert copy.send(first, end) == []
        assert copy.send(40, 50) == []
        assert copy.wait_ms(50) == [begin(2, at=40, epoch=3)]


# --- High watermark and log start ---


def test_the_high_watermark_is_the_leaders_as_far_as_our_log_goes() -> None:
    copy = Copy()
    copy.open()

    assert copy.take(0, 10, high_watermark=25) == [committed(10)]
    assert copy.take(10, 20, high_watermark=25) == [committed(20)]
    assert copy.take(20, 30, high_watermark=25) == [committed(25)]
    assert copy.send(high_watermark=30) == [committed(30)]


def test_the_high_watermark_does_not_follow_a_leader_that_knows_less() -> None:
    copy = Copy((3, 0), end=40, high_watermark=30)
    copy.open()

    assert copy.send(high_watermark=20) == []
    assert copy.follower.high_watermark == 30


def test_a_high_watermark_beyond_the_log_it_begins_with_is_not_believed() -> None:
    assert Copy((3, 0), end=40, high_watermark=50).follower.high_watermark == 40


def test_the_log_start_follows_the_leaders_as_far_as_our_log_goes() -> None:
    copy = Copy((3, 0), end=40)
    copy.open()

    assert copy.send(high_watermark=35, log_start=30) == [committed(35), delete_before(30)]
    assert copy.send(log_start=30) == []
    assert copy.take(40, 50, high_watermark=35, log_start=30) == []


# --- Logs that part ---


def test_records_that_the_leader_does_not_have_are_cut_off() -> None:
    copy = Copy((3, 0), (5, 20), end=40)
    copy.open()

    assert copy.diverge(5, 30) == [truncate_to(30)]
    assert copy.cut_to(30) == [begin(2, at=30, epoch=5)]


def test_the_end_of_an_epoch_is_the_lower_of_both() -> None:
    copy = Copy((1, 0), (2, 20), (4, 30), (5, 50), end=70)
    copy.open()

    assert copy.diverge(3, 60) == [truncate_to(30)]


def test_several_quick_elections_are_walked_back_epoch_by_epoch() -> None:
    # The leader's: [0 epoch 1][20 epoch 3][60 epoch 6 ..
    copy = Copy((1, 0), (2, 20), (4, 30), (5, 50), end=70)
    copy.open()
    copy.diverge(3, 60)
    assert copy.cut_to(30) == [begin(2, at=30, epoch=2)]
    assert copy.diverge(1, 20, generation=2) == [truncate_to(20)]
    assert copy.cut_to(20) == [begin(3, at=20, epoch=1)]
    assert copy.send(20, 60, generation=3) == [AppendBatches()]


def test_a_log_all_of_whose_epochs_the_leader_never_had_is_emptied() -> None:
    copy = Copy((4, 10), (5, 20), end=40)
    copy.open()

    assert copy.diverge(3, 60) == [truncate_to(10)]
    assert copy.cut_to(10) == [begin(2, at=10)]


def test_nothing_is_taken_while_the_disk_cuts() -> None:
    copy = Copy((5, 0), end=40)
    copy.open()
    copy.diverge(5, 30)

    assert copy.send(40, 50) == []
    assert copy.diverge(5, 20) == []
    assert copy.sync(40) == []


def test_a_link_that_breaks_while_the_disk_cuts_is_begun_with_afterwards() -> None:
    copy = Copy((5, 0), end=40)
    copy.open()
    copy.diverge(5, 30)
    copy.step(LinkClosed())
    assert copy.open() == []
    assert copy.cut_to(30) == [begin(2, at=30, epoch=5)]


def test_after_a_cut_without_a_link_it_waits_for_one() -> None:
    copy = Copy((5, 0), end=40)
    copy.open()
    copy.diverge(5, 30)
    copy.step(LinkClosed())

    assert copy.cut_to(30) == []
    assert copy.open() == [begin(2, at=30, epoch=5)]


def test_what_is_durable_goes_back_with_a_cut() -> None:
    copy = Copy((5, 0), end=40)
    copy.open()
    copy.diverge(5, 30)
    copy.cut_to(30)
    copy.take(30, 50, generation=2)

    assert copy.sync(35) == [acknowledge(35, generation=2)]


def test_an_unclean_leader_takes_the_high_watermark_back_with_the_log() -> None:
    copy = Copy((5, 0), end=40, high_watermark=40)
    copy.open()
    copy.diverge(5, 30)
    copy.cut_to(30)

    assert copy.follower.high_watermark == 30


def test_a_difference_beyond_our_log_is_no_reason_to_cut() -> None:
    copy = Copy((5, 0), end=40)
    copy.open()

    assert copy.diverge(5, 40) == []
    assert copy.wait_ms(50) == [begin(2, at=40, epoch=5)]


# --- Logs that do not meet ---


def test_a_log_that_ends_before_the_leaders_begins_is_begun_anew_there() -> None:
    copy = Copy((3, 0), end=40, high_watermark=35)
    copy.open()

    assert copy.out_of_range(100) == [start_at(100)]
    assert copy.begin_anew_at(100) == [begin(2, at=100)]
    assert copy.follower.high_watermark == 100


def test_records_whose_epoch_nobody_knows_beyond_the_leaders_end_are_dropped() -> None:
    copy = Copy((3, 0), end=40, known_epochs=False)
    assert copy.open() == [begin(1, at=40)]

    assert copy.out_of_range(0) == [start_at(0)]


def test_an_empty_log_beyond_the_leaders_end_begins_where_the_leaders_does() -> None:
    copy = Copy(end=40)
    copy.open()

    assert copy.out_of_range(10) == [start_at(10)]


def test_records_that_can_be_compared_are_not_dropped_because_they_are_not_found() -> None:
    copy = Copy((3, 0), end=40)
    copy.open()

    assert copy.out_of_range(20) == []
    assert copy.wait_ms(50) == [begin(2, at=40, epoch=3)]


def test_an_empty_log_that_is_where_it_should_be_waits_before_it_asks_again() -> None:
    copy = Copy(end=40)
    copy.open()

    assert copy.out_of_range(40) == []
    assert copy.wait_ms(50) == [begin(2, at=40)]


def test_a_batch_in_whose_midst_the_leaders_log_begins_is_taken_whole() -> None:
    copy = Copy(end=45)
    copy.open()

    assert copy.send(40, 50, high_watermark=60, log_start=45) == [start_at(40), AppendBatches()]
    assert copy.begin_anew_at(40) == []
    copy.log.append([(7, offset) for offset in range(40, 50)])
    assert copy.step(LogAppended(Offset(50))) == [
        committed(50),
        delete_before(45),
        begin(2, at=50, epoch=7, durable=40),
    ]


# --- Leaders that do not serve ---


def test_after_a_refusal_it_waits_before_it_asks_again() -> None:
    copy = Copy()
    copy.open()

    assert copy.refuse() == []
    assert copy.follower.deadline_ms() == 50
    assert copy.wait_ms(49) == []
    assert copy.wait_ms(1) == [begin(2, at=0)]
    assert copy.follower.deadline_ms() is None


def test_each_refusal_in_a_row_takes_twice_as_long_up_to_a_second() -> None:
    copy = Copy()
    copy.open()
    waits = []
    for generation in range(1, 8):
        copy.refuse(generation=generation)
        deadline_ms = copy.follower.deadline_ms()
        assert deadline_ms is not None
        waits.append(deadline_ms - copy.now_ms)
        copy.wait_ms(waits[-1])

    assert waits == [50, 100, 200, 400, 800, 1_000, 1_000]


def test_a_leader_that_served_is_asked_again_soon() -> None:
    copy = Copy()
    copy.open()
    copy.refuse()
    copy.wait_ms(50)
    copy.send(generation=2)
    copy.refuse(generation=2)

    assert copy.follower.deadline_ms() == copy.now_ms + 50


def test_a_new_link_is_not_made_to_wait() -> None:
    copy = Copy()
    copy.open()
    copy.refuse()
    copy.step(LinkClosed())

    assert copy.follower.deadline_ms() is None
    assert copy.open() == [begin(2, at=0)]


def test_it_can_be_looked_at() -> None:
    copy = Copy((3, 0), end=40)
    copy.open()

    assert repr(copy.follower) == (
        "<PartitionFollower epoch 7 generation 1 streaming: [0,40) durable 40, high watermark 0>"
    )
