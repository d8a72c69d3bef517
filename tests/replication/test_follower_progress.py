"""A follower was caught up at the latest time whose records it holds today."""

from __future__ import annotations

from ottla.model.ids import BrokerEpoch, Offset
from ottla.replication.follower_progress import FollowerProgress


def fetch(follower: FollowerProgress, *, at: int, leader_end: int, now_ms: int) -> None:
    follower.fetched(
        Offset(at), broker_epoch=BrokerEpoch(1), leader_end=Offset(leader_end), now_ms=now_ms
    )


def test_fetch_at_the_leaders_end_means_caught_up_now() -> None:
    follower = FollowerProgress(caught_up_at_ms=None)

    fetch(follower, at=5, leader_end=5, now_ms=100)

    assert follower.caught_up_at_ms == 100


def test_fetch_at_the_leaders_end_of_the_last_fetch_means_caught_up_then() -> None:
    follower = FollowerProgress(caught_up_at_ms=None)
    fetch(follower, at=0, leader_end=5, now_ms=100)

    fetch(follower, at=5, leader_end=9, now_ms=200)

    assert follower.caught_up_at_ms == 100


def test_fetch_below_that_tells_nothing_new() -> None:
    follower = FollowerProgress(caught_up_at_ms=50)
    fetch(follower, at=0, leader_end=5, now_ms=100)

    fetch(follower, at=4, leader_end=9, now_ms=200)

    assert follower.caught_up_at_ms == 50
    assert follower.end_offset == 4


def test_first_fetch_is_compared_with_the_present_alone() -> None:
    follower = FollowerProgress(caught_up_at_ms=None)

    fetch(follower, at=4, leader_end=5, now_ms=100)

    assert follower.caught_up_at_ms is None


def test_follower_a_little_behind_under_load_was_caught_up_a_little_ago() -> None:
    """Ten acknowledgements under way at once: each is far below the end at the one before it."""
    follower = FollowerProgress(caught_up_at_ms=0)

    for now_ms in range(1, 1_000):
        fetch(follower, at=10 * max(0, now_ms - 10), leader_end=10 * now_ms, now_ms=now_ms)

    assert follower.caught_up_at_ms is not None
    assert 999 - follower.caught_up_at_ms <= 20


def test_follower_that_falls_further_and_further_behind_was_caught_up_long_ago() -> None:
    follower = FollowerProgress(caught_up_at_ms=0)

    for now_ms in range(1, 1_000):
        fetch(follower, at=5 * now_ms, leader_end=10 * now_ms, now_ms=now_ms)

    assert follower.caught_up_at_ms is not None
    assert follower.caught_up_at_ms <= 500


def test_sign_of_life_of_a_follower_that_gets_no_further_tells_nothing_new() -> None:
    follower = FollowerProgress(caught_up_at_ms=50)
    fetch(follower, at=4, leader_end=9, now_ms=100)

    for now_ms in range(200, 1_000, 100):
        fetch(follower, at=4, leader_end=9, now_ms=now_ms)

    assert follower.caught_up_at_ms == 50


def test_forgotten_follower_begins_anew_in_the_same_life() -> None:
    follower = FollowerProgress(caught_up_at_ms=None)
    fetch(follower, at=0, leader_end=5, now_ms=100)

    follower.forget()

    assert follower.end_offset is None
    assert follower.broker_epoch == 1
    fetch(follower, at=5, leader_end=9, now_ms=200)
    assert follower.caught_up_at_ms is None


def test_time_since_it_was_caught_up_is_compared_inclusively() -> None:
    follower = FollowerProgress(caught_up_at_ms=100)

    assert follower.was_caught_up_within(10, now_ms=110)
    assert not follower.was_caught_up_within(10, now_ms=111)
    assert not FollowerProgress(caught_up_at_ms=None).was_caught_up_within(10, now_ms=0)
