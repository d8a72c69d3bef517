"""The machine's clocks."""

from __future__ import annotations

import time

_NANOSECONDS_PER_MILLISECOND = 1_000_000


class SystemClock:
    """Both kinds of time; see :class:`ottla.runtime.clock.Clock`."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.monotonic_ns() // _NANOSECONDS_PER_MILLISECOND

    def wall_ms(self) -> int:
        return time.time_ns() // _NANOSECONDS_PER_MILLISECOND
