"""One event loop in a thread of its own, for the blocking clients of this process.

The first client to start brings the thread up, the last to stop takes it down. Shared, because
gRPC wakes every event loop that uses it for every message.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

Result = TypeVar("Result")


class LoopThread:
    """A running event loop that other threads may use."""

    _guard: ClassVar[threading.Lock] = threading.Lock()
    _shared: ClassVar[LoopThread | None] = None
    _users: ClassVar[int] = 0

    def __init__(self) -> None:
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ottla-client", daemon=True)
        self._thread.start()
        self._is_up.wait()

    @classmethod
    def acquire(cls) -> LoopThread:
        """Return the shared thread, running; each call is to be followed by a :meth:`release`."""
        with cls._guard:
            if cls._shared is None:
                cls._shared = cls()
            cls._users += 1
            return cls._shared

    def release(self) -> None:
        """End the thread if nobody else uses it."""
        with self._guard:
            LoopThread._users -= 1
            if LoopThread._users:
                return
            LoopThread._shared = None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def call(self, work: Coroutine[Any, Any, Result], *, timeout_s: float | None = None) -> Result:
        """Run a coroutine on the loop and wait for its result.

        Raises what it raises, and :exc:`TimeoutError` after ``timeout_s``. If the wait ends early,
        by time-out or Ctrl-C, the coroutine is cancelled.
        """
        assert threading.current_thread() is not self._thread, (
            "a blocking client was called from a callback, which would wait for itself"
        )
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()

    def call_soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the loop call a function, without waiting for it."""
        self._loop.call_soon_threadsafe(function, *arguments)

    def _run(self) -> None:
        # The runner cancels what is left and closes the loop.
        with asyncio.Runner() as runner:
            runner.run(self._wait_for_stop())

    async def _wait_for_stop(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._is_up.set()
        await self._stopping.wait()
