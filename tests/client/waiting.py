"""How tests wait: for a condition, not for a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], *, timeout_s: float = 10) -> None:
    """Let the event loop run until the condition holds; fail if it never does."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # not everything that is waited for tells
            await asyncio.sleep(0.001)
