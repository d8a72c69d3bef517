"""Old segments go by age, size and log start, in order, and never what may still be needed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.storage.retention import (
    UNLIMITED,
    Reason,
    RetentionRules,
    SegmentSummary,
    deletable_segments,
    is_expired,
)

NOW_MS = 1_000_000


def segments(*ages_ms: int | None, size: int = 100) -> list[SegmentSummary]:
    """Segments of 100 records each, oldest first, whose newest records have these ages."""
    return [
        SegmentSummary(100 * n, 100 * n + 100, size, -1 if age is None else NOW_MS - age)
        for n, age in enumerate(ages_ms)
    ]


def deleted(
    closed: list[SegmentSummary],
    *,
    retention_ms: int = UNLIMITED,
    retention_bytes: int = UNLIMITED,
    active_size: int = 0,
    log_start: int = 0,
    high_watermark: int = 1 << 60,
) -> list[tuple[int, Reason]]:
    """The base offsets of those that may go, and why."""
    found = deletable_segments(
        closed,
        RetentionRules(retention_ms, retention_bytes),
        active_size_bytes=active_size,
        log_start_offset=log_start,
        high_watermark=high_watermark,
        now_ms=NOW_MS,
    )
    return [(each.segment.base_offset, each.reason) for each in found]


def test_nothing_goes_without_limits() -> None:
    assert deleted(segments(900_000, 800_000)) == []


# --- Time -------------------------------------------------------------------------------------


def test_segment_whose_newest_record_is_too_old_goes() -> None:
    assert deleted(segments(500, 50), retention_ms=100) == [(0, Reason.TIME)]


@pytest.mark.parametrize(("age", "goes"), [(100, False), (101, True)])
def test_record_may_be_exactly_as_old_as_the_limit(age: int, *, goes: bool) -> None:
    assert bool(deleted(segments(age), retention_ms=100)) == goes


def test_retention_of_no_time_lets_everything_older_than_now_go() -> None:
    assert deleted(segments(1, 0), retention_ms=0) == [(0, Reason.TIME)]


def test_young_segment_keeps_the_old_ones_behind_it() -> None:
    assert deleted(segments(500, 50, 500), retention_ms=100) == [(0, Reason.TIME)]


def test_segment_of_the_future_stays() -> None:
    assert deleted(segments(-500), retention_ms=100) == []


def test_segment_without_timestamps_is_as_old_as_the_next_that_has_one() -> None:
    assert deleted(segments(None, None, 500), retention_ms=100) == [
        (0, Reason.TIME),
        (100, Reason.TIME),
        (200, Reason.TIME),
    ]


def test_segment_without_timestamps_stays_if_the_next_is_young() -> None:
    assert deleted(segments(None, 50), retention_ms=100) == []


def test_segments_without_any_timestamps_have_no_age() -> None:
    assert deleted(segments(None, None), retention_ms=0) == []


# --- Size -------------------------------------------------------------------------------------


def test_oldest_segments_beyond_the_size_go() -> None:
    assert deleted(segments(3, 2, 1), retention_bytes=100) == [
        (0, Reason.SIZE),
        (100, Reason.SIZE),
    ]


def test_log_is_never_made_smaller_than_the_size_kept() -> None:
    assert deleted(segments(3, 2, 1), retention_bytes=150) == [(0, Reason.SIZE)]


def test_active_segment_counts_towards_the_size() -> None:
    assert deleted(segments(3, 2), retention_bytes=150, active_size=50) == [(0, Reason.SIZE)]


def test_retention_of_no_bytes_lets_all_closed_segments_go() -> None:
    assert len(deleted(segments(3, 2, 1), retention_bytes=0)) == 3


# --- The log start, and the high watermark ------------------------------------------------------


def test_segment_before_the_log_start_goes() -> None:
    assert deleted(segments(3, 2, 1), log_start=250) == [(0, Reason.START), (100, Reason.START)]


def test_segment_that_ends_at_the_log_start_goes() -> None:
    assert deleted(segments(3, 2), log_start=100) == [(0, Reason.START)]


def test_segment_beyond_the_high_watermark_stays_whatever_its_age() -> None:
    assert deleted(segments(500, 500), retention_ms=100, high_watermark=199) == [(0, Reason.TIME)]


def test_segment_that_ends_at_the_high_watermark_may_go() -> None:
    assert len(deleted(segments(500, 500), retention_ms=100, high_watermark=200)) == 2


# --- Together -----------------------------------------------------------------------------------


def test_each_segment_goes_for_its_own_reason() -> None:
    found = deleted(
        segments(500, 500, 50, 50), retention_ms=100, retention_bytes=100, log_start=100
    )

    assert found == [(0, Reason.START), (100, Reason.TIME), (200, Reason.SIZE)]


def test_what_goes_by_time_counts_no_more_towards_the_size() -> None:
    found = deleted(segments(500, 50, 50), retention_ms=100, retention_bytes=200)

    assert found == [(0, Reason.TIME)]


@pytest.mark.parametrize(
    ("timestamp_ms", "expired"),
    [(NOW_MS - 101, True), (NOW_MS - 100, False), (-1, False), (NOW_MS + 5, False)],
)
def test_active_segment_is_expired_when_its_newest_record_is(
    timestamp_ms: int, *, expired: bool
) -> None:
    assert is_expired(timestamp_ms, RetentionRules(100, UNLIMITED), now_ms=NOW_MS) == expired


def test_nothing_expires_without_a_limit() -> None:
    assert not is_expired(0, RetentionRules(UNLIMITED, 0), now_ms=1 << 60)


@given(
    st.lists(st.tuples(st.integers(0, 500), st.one_of(st.none(), st.integers(-10, 1000)))),
    st.integers(-1, 1000),
    st.integers(-1, 2000),
    st.integers(0, 500),
)
def test_what_is_left_satisfies_every_limit_or_is_kept_by_a_segment_that_may_not_go(
    shapes: list[tuple[int, int | None]], retention_ms: int, retention_bytes: int, active: int
) -> None:
    closed = [
        SegmentSummary(n, n + 1, size, -1 if age is None else NOW_MS - age)
        for n, (size, age) in enumerate(shapes)
    ]
    found = deleted(
        closed, retention_ms=retention_ms, retention_bytes=retention_bytes, active_size=active
    )
    left = closed[len(found) :]

    assert [base_offset for base_offset, _ in found] == list(range(len(found)))
    if retention_bytes >= 0 and found and found[-1][1] is Reason.SIZE:
        assert active + sum(segment.size_bytes for segment in left) >= retention_bytes
    if left and retention_bytes >= 0:
        assert active + sum(segment.size_bytes for segment in left[1:]) < retention_bytes
