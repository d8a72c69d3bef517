"""How long to wait before trying again: twice as long each time, up to a bound, with jitter.

Jitter of a fifth either way keeps clients that failed together from coming back together
(KIP-580 uses the same).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

JITTER: Final = 0.2


@dataclass(slots=True)
class Backoff:
    """The delays of one thing that is being retried."""

    initial_ms: int
    """Before the first retry."""

    max_ms: int
    """Never longer than this, jitter included."""

    random_source: random.Random = field(default_factory=random.SystemRandom)

    failures: int = 0
    """Since the last success."""

    def next_delay_ms(self) -> float:
        """Count one more failure and return how long to wait because of it."""
        delay_ms = backoff_delay_ms(self.failures, self.initial_ms, self.max_ms, self.random_source)
        self.failures += 1
        return delay_ms

    def succeeded(self) -> None:
        """Start again from the first delay."""
        self.failures = 0


def backoff_delay_ms(
    failures: int, initial_ms: int, max_ms: int, random_source: random.Random
) -> float:
    """Return the delay after ``failures`` earlier failures in a row, in milliseconds."""
    # The exponent is bounded: 2 ** (number of failures in a week) is no number to compute with.
    exponential_ms = initial_ms * 2.0 ** min(failures, 30)
    jitter = 1 - JITTER + 2 * JITTER * random_source.random()
    return min(float(max_ms), exponential_ms * jitter)
