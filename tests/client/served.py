"""The fake cluster on an event loop in a thread of its own, for clients that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from tests.client.fake_broker import FakeCluster

Result = TypeVar("Result")


class ServedCluster:
    """Use as a context manager; touch the cluster only through :meth:`do`."""

    def __init__(self) -> None:
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="fake")

    def __enter__(self) -> Self:
        self._thread.start()
        self._is_up.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def do(self, act: Callable[[FakeCluster], Result]) -> Result:
        """Call ``act(cluster)`` where the cluster lives."""

        async def run() -> Result:
            return act(self._cluster)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(10)

    def restart(self) -> None:
        asyncio.run_coroutine_threadsafe(self._cluster.brokers[0].restart(), self._loop).result(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._cluster = FakeCluster()
        self._cluster.create("web")
        await self._cluster.start()
        self.bootstrap = self._cluster.bootstrap
        self._is_up.set()
        await self._stopping.wait()
        await self._cluster.stop()
