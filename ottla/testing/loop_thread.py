"""An event loop in a thread, for proxies that serve while a test blocks."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

CALL_TIMEOUT_S: Final = 30.0
"""Nothing that is called here takes a second."""

T = TypeVar("T")


class LoopThread:
    """Runs from :meth:`start` to :meth:`stop`; its other methods are for other threads."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._loop = _new_loop()
        # A daemon, so that a cluster that nobody stopped does not keep the process from ending.
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="ottla-faults", daemon=True
        )
        self._thread.start()

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` there, and return what it returns when it has."""
        assert self._loop is not None, "not started"
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    def call(self, function: Callable[[], T]) -> T:
        """Call ``function`` there, between two events, and return what it returns."""

        async def work() -> T:
            return function()

        return self.wait_for(work())

    def run(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run what ``function`` makes, so that nothing is made that is never run."""
        return self.wait_for(function())

    def stop(self) -> None:
        """End the thread."""
        assert self._loop is not None, "not started"
        assert self._thread is not None, "not started"
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 -- where there is one, it copies faster

    return uvloop.new_event_loop()
