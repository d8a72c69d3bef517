"""A history of clients is clean if, and only if, a commit log can have produced it."""

from __future__ import annotations

import pytest

from ottla.testing.history import KINDS, History, Outcome, Polled, Sent, check


def sent(number: int, offset: int, outcome: Outcome = Outcome.ACKNOWLEDGED) -> Sent:
    return Sent(0, number, b"v%d" % number, 0, offset, outcome)


def polled(number: int, offset: int, consumer: str = "last") -> Polled:
    return Polled(consumer, 0, offset, b"v%d" % number)


def test_everything_acknowledged_and_read_once_in_order_is_clean() -> None:
    history = History(
        sent=[sent(0, 0), sent(1, 1), sent(2, 2)],
        polled=[polled(0, 0), polled(1, 1), polled(2, 2), polled(1, 1, "other")],
    )

    assert check(history).is_clean


def test_record_of_unknown_outcome_may_be_there_or_not() -> None:
    history = History(
        sent=[sent(0, -1, Outcome.UNKNOWN), sent(1, -1, Outcome.UNKNOWN), sent(2, 1)],
        polled=[polled(0, 0), polled(2, 1)],
    )

    assert check(history).is_clean


WRONG = {
    "lost": History(sent=[sent(0, 0), sent(1, 1)], polled=[polled(1, 1)]),
    "unseen": History(sent=[sent(0, 0), sent(1, 1)], polled=[polled(0, 0)]),
    "duplicated": History(sent=[sent(0, 0)], polled=[polled(0, 0), polled(0, 1)]),
    "reordered": History(
        sent=[sent(0, -1, Outcome.UNKNOWN), sent(1, 0)], polled=[polled(1, 0), polled(0, 1)]
    ),
    "inconsistent offset": History(
        sent=[sent(0, 0), sent(1, -1, Outcome.UNKNOWN)],
        polled=[polled(0, 0), polled(1, 0, "other")],
    ),
    "skipped": History(
        sent=[sent(0, 0), sent(1, 1), sent(2, 2)],
        polled=[polled(0, 0, "a"), polled(2, 2, "a"), polled(0, 0), polled(1, 1), polled(2, 2)],
    ),
    "went back": History(
        sent=[sent(0, 0), sent(1, 1)], polled=[polled(0, 0), polled(1, 1), polled(0, 0)]
    ),
    "aborted read": History(sent=[sent(0, -1, Outcome.REFUSED)], polled=[polled(0, 0)]),
    "never sent": History(sent=[], polled=[polled(0, 0)]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_must_not_happen_is_found_and_named(kind: str) -> None:
    findings = check(WRONG[kind])

    assert set(findings.wrong) == {kind}
    assert f"  {kind}: " in findings.table()


def test_acknowledged_at_another_offset_than_read_is_inconsistent() -> None:
    history = History(sent=[sent(0, 5)], polled=[polled(0, 0)])

    assert set(check(history).wrong) == {"inconsistent offset"}


def test_longest_silence_is_between_two_acknowledgements() -> None:
    history = History(acknowledged_at_s=[1.0, 1.5, 4.0, 4.25])

    assert history.longest_silence_s() == 2.5
    assert history.silence_after_s(1.6) == pytest.approx(2.4)
    assert history.silence_after_s(5.0) is None
