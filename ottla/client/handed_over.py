"""Which records are in the application's hands, and may not be processed yet.

A record counts as processed when the application comes back for the next one: committing what was
handed out before that would lose it if the process died meanwhile. So a commit that nobody asked
for, and a partition that is to be given up, wait for the application to come back.

An application in another thread is given records in pieces; what of them it has not seen yet
*waits* there. :class:`HandedToThread` is both the queue of what waits and the account of it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Final

from ottla.client.consumer_record import ConsumerRecord
from ottla.model.ids import TopicPartition

LOOK_INTERVAL_S: Final = 0.02
"""Between two looks at what another thread is doing, while a partition is to be given up."""


class HandedOver:
    """What the application has, and since when."""

    def __init__(self) -> None:
        self._handed_at_s = time.monotonic()
        self._record: ConsumerRecord | None = None
        self._records: Mapping[TopicPartition, list[ConsumerRecord]] = {}
        self._has_lost = False
        self._asked = asyncio.Event()
        self._is_awaited = False

    # --- What the consumer tells ----------------------------------------------------------------

    def asked(self) -> None:
        """The application comes for records: it is done with those it has."""
        self._record = None
        self._records = {}
        self._has_lost = False
        if self._is_awaited:
            self._asked.set()

    def one(self, record: ConsumerRecord) -> None:
        """Hand out one record."""
        self._handed_at_s = time.monotonic()
        self._record = record

    def next(self, record: ConsumerRecord) -> None:
        """Hand out one record to an application that is done with those it has."""
        self._handed_at_s = time.monotonic()
        self._record = record
        if self._records or self._has_lost:
            self._records = {}
            self._has_lost = False
        if self._is_awaited:
            self._asked.set()

    def many(self, records: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        """Hand out several."""
        self._handed_at_s = time.monotonic()
        self._records = records

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """Hand out nothing that waits of these partitions."""

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """Go on with these partitions."""

    def drop(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Forget what waits of these partitions; return where that began."""
        del partitions  # here, nothing waits
        return {}

    def gone(self, partitions: Iterable[TopicPartition]) -> None:
        """Forget these partitions: they are not read any more."""

    def lost(self) -> None:
        """Others may process by now what the application has in hand."""
        self._has_lost = bool(self.unsettled())

    # --- What the group asks --------------------------------------------------------------------

    @property
    def has_lost(self) -> bool:
        """Whether others may process what the application has in hand."""
        return self._has_lost

    @property
    def busy_since_s(self) -> float | None:
        """When the application was given what it has; ``None``: it has nothing, or waits."""
        return self._handed_at_s if self._record or self._records else None

    def unsettled(self) -> dict[TopicPartition, int]:
        """Return the offset of the first record, by partition, that may not be processed."""
        unsettled = {partition: records[0].offset for partition, records in self._records.items()}
        if self._record is not None:
            unsettled[self._record.topic_partition] = self._record.offset
        return unsettled

    def waiting(self) -> dict[TopicPartition, int]:
        """Return the offset of the first record, by partition, that waits to be handed out."""
        return {}

    async def wait_asked(self) -> None:
        """Wait until the application comes for records."""
        self._is_awaited = True
        self._asked.clear()
        await self._asked.wait()

    async def settle(self, partitions: Iterable[TopicPartition]) -> None:
        """Wait until the application is done with all it has of these partitions."""
        waited_for = frozenset(partitions)
        while not waited_for.isdisjoint(self.unsettled()):
            await self.wait_asked()

    async def settle_all(self) -> None:
        """Wait until the application is done with all it has."""
        while self.unsettled():
            await self.wait_asked()


class HandedToThread(HandedOver):
    """The same for an application in another thread, which is given records in pieces.

    The lock is held for moments only, by either thread.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._waiting: dict[TopicPartition, deque[ConsumerRecord]] = {}
        self._in_hand: dict[TopicPartition, int] = {}
        """What was handed out last, by first offset."""
        self._paused: set[TopicPartition] = set()

    # --- In the application's thread ------------------------------------------------------------

    def take_one(self) -> ConsumerRecord | None:
        """The application comes for a record; ``None`` if none waits."""
        with self._lock:
            self._in_hand = {}
            self._has_lost = False
            for partition, records in self._waiting.items():
                if partition not in self._paused:
                    record = records.popleft()
                    if not records:
                        del self._waiting[partition]
                    self._in_hand = {partition: record.offset}
                    self._handed_at_s = time.monotonic()
                    return record
        return None

    def take(
        self, records_max: int | None, *, partitions_max: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """The application comes for records; ``None``: for all that wait."""
        with self._lock:
            taken = self._take(records_max, partitions_max)
            self._in_hand = {partition: records[0].offset for partition, records in taken.items()}
            self._has_lost = False
            self._handed_at_s = time.monotonic()
        return taken

    def settled(self) -> None:
        """The application is done with all it has."""
        with self._lock:
            self._in_hand = {}

    def _take(
        self, records_max: int | None, partitions_max: int | None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        taken: dict[TopicPartition, list[ConsumerRecord]] = {}
        left = records_max
        for partition in [each for each in self._waiting if each not in self._paused]:
            if left == 0 or len(taken) == partitions_max:
                break
            waiting = self._waiting[partition]
            count = len(waiting) if left is None else min(left, len(waiting))
            taken[partition] = [waiting.popleft() for _ in range(count)]
            left = None if left is None else left - count
            if not waiting:
                del self._waiting[partition]
        return taken

    # --- In the event loop's thread -------------------------------------------------------------

    def put(self, fetched: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        """Let these records wait."""
        with self._lock:
            for partition, records in fetched.items():
                self._waiting.setdefault(partition, deque()).extend(records)

    def asked(self) -> None:
        """Nothing: that is what :meth:`take` and :meth:`take_one` say."""

    def many(self, records: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        """Nothing: they are not in the application's hands yet."""

    def pause(self, partitions: Iterable[TopicPartition]) -> None:
        """See :meth:`HandedOver.pause`."""
        with self._lock:
            self._paused.update(partitions)

    def resume(self, partitions: Iterable[TopicPartition]) -> None:
        """See :meth:`HandedOver.resume`."""
        with self._lock:
            self._paused.difference_update(partitions)

    def drop(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """See :meth:`HandedOver.drop`."""
        with self._lock:
            dropped = ((each, self._waiting.pop(each, None)) for each in partitions)
            return {partition: records[0].offset for partition, records in dropped if records}

    def gone(self, partitions: Iterable[TopicPartition]) -> None:
        """See :meth:`HandedOver.gone`."""
        with self._lock:
            for partition in partitions:
                self._waiting.pop(partition, None)
                self._paused.discard(partition)

    def lost(self) -> None:
        """See :meth:`HandedOver.lost`."""
        with self._lock:
            self._has_lost = bool(self._in_hand)

    @property
    def busy_since_s(self) -> float | None:
        """See :attr:`HandedOver.busy_since_s`."""
        with self._lock:
            return self._handed_at_s if self._in_hand else None

    def unsettled(self) -> dict[TopicPartition, int]:
        """See :meth:`HandedOver.unsettled`."""
        with self._lock:
            return {**self._first_waiting(), **self._in_hand}

    def waiting(self) -> dict[TopicPartition, int]:
        """See :meth:`HandedOver.waiting`."""
        with self._lock:
            return self._first_waiting()

    def _first_waiting(self) -> dict[TopicPartition, int]:
        return {partition: records[0].offset for partition, records in self._waiting.items()}

    async def wait_asked(self) -> None:
        """Wait a moment: a thread takes records without saying so here."""
        await asyncio.sleep(LOOK_INTERVAL_S)
