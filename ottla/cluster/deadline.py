"""When something that takes several steps has to be over."""

from __future__ import annotations

import asyncio


class Deadline:
    """A point in the time of the running event loop."""

    def __init__(self, timeout_ms: int) -> None:
        """Set it ``timeout_ms`` from now."""
        self._loop = asyncio.get_running_loop()
        self._at_s = self._loop.time() + timeout_ms / 1000

    def __repr__(self) -> str:
        return f"<Deadline in {self.left_ms} ms>"

    @property
    def left_ms(self) -> int:
        """How long is left; 0 once it has passed."""
        return max(0, round((self._at_s - self._loop.time()) * 1000))
