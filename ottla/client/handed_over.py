"""Which records are in the application's hands, and may not be processed yet.

A record counts as processed when the application comes back for the next one: committing what was
handed out before that would lose it if the process died meanwhile. So a commit that nobody asked
for, and a partition that is to be given up, wait for the application to come back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ottla.client.consumer_record import ConsumerRecord
from ottla.model.ids import TopicPartition

LOOK_INTERVAL_S: Final = 0.02
"""Between two looks at what another thread is doing, while a partition is to be given up."""


class HandedOver:
    """What the application has, and since when."""

    def __init__(self) -> None:
        self.handed_at_s = time.monotonic()
        """When the application was last given records."""
        self._record: ConsumerRecord | None = None
        self._records: Mapping[TopicPartition, list[ConsumerRecord]] = {}
        self._asked = asyncio.Event()
        self._is_awaited = False

    def asked(self) -> None:
        """The application comes for records: it is done with those it has."""
        self._record = None
        self._records = {}
        if self._is_awaited:
            self._asked.set()

    def one(self, record: ConsumerRecord) -> None:
        """Hand out one record."""
        self.handed_at_s = time.monotonic()
        self._record = record

    def many(self, records: Mapping[TopicPartition, list[ConsumerRecord]]) -> None:
        """Hand out several."""
        self.handed_at_s = time.monotonic()
        self._records = records

    def unsettled(self) -> dict[TopicPartition, int]:
        """Return the offset of the first record, by partition, that may not be processed."""
        unsettled = {partition: records[0].offset for partition, records in self._records.items()}
        if self._record is not None:
            unsettled[self._record.topic_partition] = self._record.offset
        return unsettled

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """Hand out nothing more of these; here, nothing is kept that could be."""

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


class HandedToThread(HandedOver):
    """The same for an application in another thread, which is given records in pieces.

    Args:
        unsettled: what the application has, or has before it, as :meth:`HandedOver.unsettled`.
        drop: takes back what it has before it of some partitions.

    Both are called on the event loop's thread.
    """

    def __init__(
        self,
        unsettled: Callable[[], dict[TopicPartition, int]],
        drop: Callable[[Iterable[TopicPartition]], None],
    ) -> None:
        super().__init__()
        self._unsettled_there = unsettled
        self._drop_there = drop

    def unsettled(self) -> dict[TopicPartition, int]:
        """See :meth:`HandedOver.unsettled`."""
        return self._unsettled_there()

    def drop(self, partitions: Iterable[TopicPartition]) -> None:
        """See :meth:`HandedOver.drop`."""
        self._drop_there(partitions)

    async def wait_asked(self) -> None:
        """Wait a moment: a thread takes records without saying so here."""
        await asyncio.sleep(LOOK_INTERVAL_S)
