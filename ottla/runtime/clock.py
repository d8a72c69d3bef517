"""What time it is: one port, because two kinds of time are easily confused.

*Monotonic* time measures how long something took and never goes back; deadlines are
in it. *Wall* time is what people and records carry; it jumps when somebody sets the
clock, so nothing waits for it.
"""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Both kinds of time, in whole milliseconds."""

    def now_ms(self) -> int:
        """Return monotonic milliseconds since an arbitrary start."""

    def wall_ms(self) -> int:
        """Return milliseconds since 1970-01-01 UTC."""
