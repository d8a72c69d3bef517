"""What has to be done to logs from time to time, whether or not anybody writes to them.

============  ===========================================  =====================================
what          how often                                    why
============  ===========================================  =====================================
retention     ``log.retention.check.interval.ms``          old segments go; before that, segments
                                                           that are due are closed
checkpoints   ``log.flush.offset.checkpoint.interval.ms``  recovery reads less
expiry        ``PRODUCER_EXPIRY_INTERVAL_MS``              silent producers are forgotten
removal       when due (``file.delete.delay.ms``)          files of what was deleted go
============  ===========================================  =====================================

What changes a log happens on the event loop and waits for nothing; what waits for the disk -- to
look for old segments, to write checkpoints, to remove files -- happens on the log thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.replica_manager import ReplicaManager
from ottla.model.errors import StorageError
from ottla.runtime.clock import Clock
from ottla.runtime.logging import Event, Severity, emit
from ottla.storage.log_manager import LogManager
from ottla.storage.log_removals import Removal
from ottla.storage.removal import RemovedSegments

SEGMENTS_RETIRED = Event("retention.segments_retired")
REMOVAL_FAILED = Event("storage.removal_failed", Severity.WARNING)

PRODUCER_EXPIRY_INTERVAL_MS: Final = 600_000
"""Kafka's ``producer.id.expiration.check.interval.ms``."""

ROUND_INTERVAL_MS: Final = 1_000
"""How exact all other intervals are."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How often what is done."""

    retention_check_ms: int
    checkpoint_ms: int
    producer_expiry_ms: int = PRODUCER_EXPIRY_INTERVAL_MS


class Maintenance:
    """Looks after the logs of one data directory."""

    def __init__(
        self,
        *,
        replicas: ReplicaManager,
        logs: LogManager,
        directory: DataDirectory,
        clock: Clock,
        log_thread: Executor,
        intervals: Intervals,
    ) -> None:
        self._replicas = replicas
        self._logs = logs
        self._directory = directory
        self._clock = clock
        self._log_thread = log_thread
        now_ms = clock.now_ms()
        self._duties = [
            _Duty(self._retain, intervals.retention_check_ms, now_ms),
            _Duty(self._checkpoint, intervals.checkpoint_ms, now_ms),
            _Duty(self._expire_producers, intervals.producer_expiry_ms, now_ms),
        ]

    async def run(self) -> None:
        """Do what is due, until cancelled."""
        while True:
            await self.run_due()
            await asyncio.sleep(ROUND_INTERVAL_MS / 1000)

    async def run_due(self) -> None:
        """Do what is due now. A failing disk is told to the directory, and ends nothing."""
        for duty in self._duties:
            if duty.is_due(self._clock.now_ms()):
                try:
                    await duty.work()
                except StorageError as error:
                    self._directory.fail(error)
        await self._remove_due()

    def remove_later(self, removed: RemovedSegments, delay_ms: int) -> None:
        """Give back the files of removed segments after ``delay_ms``."""
        self._logs.remove_later(removed, due_ms=self._clock.now_ms() + delay_ms)

    # --- Duties ---

    async def _retain(self) -> None:
        if self._directory.failure is not None:
            return
        for partition in list(self._replicas.partitions.values()):
            if partition.log.failure is None and not partition.is_cutting:
                partition.log.roll_if_due(now_ms=self._clock.wall_ms())
        wall_ms = self._clock.wall_ms()
        plans = await self._on_log_thread(
            partial(self._logs.plan_retention, self._replicas.high_watermarks(), wall_ms=wall_ms)
        )
        for plan in plans:
            hosted = self._replicas.partitions.get(plan.log.topic_partition)
            if hosted is not None and hosted.is_cutting:
                continue
            removed = self._logs.retain(plan, wall_ms=wall_ms)
            if removed:
                self.remove_later(removed, plan.log.config.file_delete_delay_ms)
                emit(
                    SEGMENTS_RETIRED,
                    partition=plan.log.topic_partition,
                    segments=len(removed.segments),
                    size_bytes=removed.size_bytes,
                    log_start_offset=plan.log.log_start_offset,
                )

    async def _checkpoint(self) -> None:
        await self._on_log_thread(partial(self._logs.checkpoint, self._replicas.high_watermarks()))

    async def _expire_producers(self) -> None:
        wall_ms = self._clock.wall_ms()
        for partition in list(self._replicas.partitions.values()):
            if not partition.is_cutting:
                partition.log.producer_states.expire(wall_ms)

    async def _remove_due(self) -> None:
        for removal in self._logs.take_due_removals(now_ms=self._clock.now_ms()):
            await self._on_log_thread(partial(_remove, removal))

    async def _on_log_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._log_thread, work)


class _Duty:
    """Something that is done again and again."""

    __slots__ = ("_due_ms", "_interval_ms", "work")

    def __init__(
        self, work: Callable[[], Coroutine[object, object, None]], interval_ms: int, now_ms: int
    ) -> None:
        self.work = work
        self._interval_ms = interval_ms
        self._due_ms = now_ms + interval_ms

    def is_due(self, now_ms: int) -> bool:
        """Whether it is time; if so, count the interval from now."""
        if now_ms < self._due_ms:
            return False
        self._due_ms = now_ms + self._interval_ms
        return True


def _remove(removal: Removal) -> None:
    """Remove files; on the log thread. What cannot be removed goes at the next start."""
    try:
        removal.run()
    except OSError as error:
        removal.close()
        emit(REMOVAL_FAILED, what=removal.what, reason=str(error))
