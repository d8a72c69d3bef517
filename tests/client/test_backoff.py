"""Delays double, keep below their bound, and start again after a success."""

from __future__ import annotations

import random

from ottla.client.backoff import Backoff


def test_delays_double_from_one_failure_to_the_next_give_or_take_a_fifth() -> None:
    backoff = Backoff(100, 10_000, random.Random(1))

    delays = [backoff.next_delay_ms() for _ in range(6)]

    assert all(0.8 <= delay / (100 * 2**number) <= 1.2 for number, delay in enumerate(delays)), (
        delays
    )


def test_no_delay_passes_the_bound_however_often_it_fails() -> None:
    backoff = Backoff(100, 1_000, random.Random(1))

    assert max(backoff.next_delay_ms() for _ in range(5_000)) == 1_000


def test_success_brings_the_first_delay_back() -> None:
    backoff = Backoff(100, 10_000, random.Random(1))
    for _ in range(5):
        backoff.next_delay_ms()

    backoff.succeeded()

    assert backoff.next_delay_ms() <= 120
