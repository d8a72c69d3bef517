"""Cuts logs that have diverged from their leaders', off the event loop.

Cutting waits for the disk at every step. A log that is being cut must be left alone: its follower
takes nothing meanwhile, and requests to flush it that were made before are done with before the
cut begins. After an election that is due for many partitions at once; so it is done for
those who wait in one go, behind one barrier of the flusher.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from ottla.cluster.flusher import Flusher
from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from ottla.model.limits import LOGS_CUT_AT_ONCE_MAX
from ottla.runtime.clock import Clock
from ottla.storage.log import PartitionLog


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What to do with one log."""

    log: PartitionLog
    offset: Offset
    anew: bool
    """Whether to drop everything and begin there, instead of cutting the log's end off."""
    done: Callable[[StorageError | None], None]
    """Called on the event loop when it is durable, or has failed."""


class LogCutter:
    """The cuts of one data directory. One for each log at a time."""

    def __init__(self, *, flusher: Flusher, clock: Clock, log_thread: Executor) -> None:
        """Cut on ``log_thread``, where logs are made and deleted too."""
        self._flusher = flusher
        self._clock = clock
        self._log_thread = log_thread
        self._waiting: deque[Cut] = deque()
        self._arrived = asyncio.Event()

    def cut(self, cut: Cut) -> None:
        """Have a log cut soon. Nobody may append to it until that is done."""
        self._waiting.append(cut)
        self._arrived.set()

    async def run(self) -> None:
        """Cut what waits, until cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            while self._waiting:
                count = min(len(self._waiting), LOGS_CUT_AT_ONCE_MAX)
                await self._cut([self._waiting.popleft() for _ in range(count)])

    async def _cut(self, cuts: Sequence[Cut]) -> None:
        await self._flusher.barrier()
        results = await asyncio.get_running_loop().run_in_executor(
            self._log_thread, self._cut_all, cuts
        )
        for cut, error in zip(cuts, results, strict=True):
            cut.done(error)

    def _cut_all(self, cuts: Sequence[Cut]) -> list[StorageError | None]:
        return [self._cut_one(cut) for cut in cuts]

    def _cut_one(self, cut: Cut) -> StorageError | None:
        """Cut a log and give the space back; on the log thread."""
        now_ms = self._clock.wall_ms()
        try:
            if cut.anew:
                removed = cut.log.start_at(cut.offset, now_ms=now_ms)
            else:
                removed = cut.log.truncate_to(cut.offset, now_ms=now_ms)
        except StorageError as error:
            return error
        try:
            removed.remove()
        except OSError as error:
            return StorageError(
                f"removing what was cut from {cut.log.directory} failed ({error}); check the disk, "
                "then restart the broker"
            )
        return None
