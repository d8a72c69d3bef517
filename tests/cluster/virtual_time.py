"""An event loop whose clock jumps: a test of a thirty-second deadline takes no time at all."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of waiting for a timer, lets the time pass."""

    now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits, and nothing will ever happen"
        self.now_s += max(0.0, timeout)
        return super().select(0)


class _VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        return self._clock.now_s


def run_in_virtual_time(scenario: Coroutine[Any, Any, T]) -> T:
    """Run ``scenario``, which uses no threads, on a loop that starts at time 0."""
    with asyncio.Runner(loop_factory=_VirtualTimeLoop) as runner:
        return runner.run(scenario)


def now_ms() -> int:
    """Return the virtual time."""
    return round(asyncio.get_running_loop().time() * 1000)


async def let_pass(time_ms: int) -> None:
    """Let so much virtual time pass."""
    await asyncio.sleep(time_ms / 1000)
