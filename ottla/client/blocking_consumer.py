"""The consumer for programs without an event loop.

Records come over from the event loop's thread in pieces and are handed out one by one from
there, because each crossing costs as much as dozens of records. Positions, seeking and pausing
behave as if they came one by one; so does a group that takes partitions away, or commits
(:class:`~ottla.client.handed_over.HandedToThread`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Unpack

from ottla.client.blocking_client import BlockingClient
from ottla.client.consumer import Consumer as AsyncioConsumer
from ottla.client.consumer_record import ConsumerRecord, OffsetAndTimestamp
from ottla.client.group_offsets import OffsetAndMetadata
from ottla.client.handed_over import HandedToThread
from ottla.client.settings import ConsumerOptions
from ottla.model.ids import TopicPartition

_FOR_EVER_MS = 86_400_000


class RebalanceListener(Protocol):
    """Told when partitions come and go; see :class:`ottla.client.RebalanceListener`.

    Called in a thread of its own, while the application's waits for records or works on some.
    """

    def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Reading of these begins."""
        del partitions  # a body, so that type checkers let it be left as it is

    def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        """These go to others."""
        del partitions  # a body, so that type checkers let it be left as it is

    def on_partitions_lost(self, partitions: Sequence[TopicPartition]) -> None:
        """These are others' already."""
        del partitions  # a body, so that type checkers let it be left as it is


class Consumer(BlockingClient):
    """Reads records; see :class:`ottla.client.Consumer` for what it promises.

    Args:
        *topics: to read; without any, name partitions with :meth:`assign`.
        bootstrap_servers: ``host:port`` of one broker or several, by their gRPC ports.
        **options: the settings of :class:`~ottla.client.settings.ConsumerSettings`.

    May be used by one thread at a time. Ctrl-C interrupts any wait; no record is lost by it.
    """

    def __init__(
        self,
        *topics: str,
        bootstrap_servers: str | Iterable[str] = "127.0.0.1:7092",
        **options: Unpack[ConsumerOptions],
    ) -> None:
        self._consumer = AsyncioConsumer(*topics, bootstrap_servers=bootstrap_servers, **options)
        super().__init__(start=self._consumer.start, stop=self._consumer.stop)
        self._handed = self._consumer.handed_over = HandedToThread()

    def stop(self) -> None:
        """Disconnect; a member leaves its group. See :meth:`ottla.client.Consumer.stop`."""
        self._handed.settled()
        super().stop()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Whatever the application was doing when it failed, it was not done with it.
        if error is None:
            self.stop()
        else:
            super().stop()

    # --- Reading ------------------------------------------------------------------------------

    def getone(self) -> ConsumerRecord:
        """Return the next record, waiting for it as long as it takes; raises as getmany."""
        while (record := self._handed.take_one()) is None:
            self._call(self._fetch, timeout_ms=_FOR_EVER_MS, max_records=None)
        return record

    def getmany(
        self, *, timeout_ms: float = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return what has been fetched, by partition, in order; never an empty list in it.

        Waits up to ``timeout_ms`` for the first records; then, an empty dictionary. Raises as
        :meth:`ottla.client.Consumer.getmany`.
        """
        taken = self._handed.take(max_records)
        if not taken:
            self._call(self._fetch, timeout_ms=timeout_ms, max_records=max_records)
            taken = self._handed.take(max_records)
        return taken

    def __iter__(self) -> Iterator[ConsumerRecord]:
        return self

    def __next__(self) -> ConsumerRecord:
        """Return the next record; the iteration ends when the consumer is stopped."""
        if self._is_stopped:
            raise StopIteration
        return self.getone()

    def batches(self) -> Iterator[list[ConsumerRecord]]:
        """Iterate over records in pieces: each of one partition, in order, not empty."""
        while not self._is_stopped:
            # Of one partition at a time: what is not handed out must not count as processed.
            taken = self._handed.take(None, partitions_max=1)
            if taken:
                yield from taken.values()
            else:
                self._call(self._fetch, timeout_ms=_FOR_EVER_MS, max_records=None)

    async def _fetch(self, *, timeout_ms: float, max_records: int | None) -> None:
        """Hand records over; if whoever asked was interrupted, they wait for the next call."""
        # Nothing of the group's comes between these two: neither waits once there are records.
        fetched = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        self._handed.put(fetched)

    # --- In a group ---------------------------------------------------------------------------

    def subscribe(
        self, *topics: str, pattern: str = "", listener: RebalanceListener | None = None
    ) -> None:
        """Read these topics and those that match; see :meth:`ottla.client.Consumer.subscribe`."""
        told = None if listener is None else _InThread(listener)
        if self._thread is None and not self._is_stopped:
            self._consumer.subscribe(*topics, pattern=pattern, listener=told)
        else:
            self._call_nowait(self._consumer.subscribe, *topics, pattern=pattern, listener=told)

    def commit(
        self, offsets: Mapping[TopicPartition, int | OffsetAndMetadata] | None = None
    ) -> None:
        """Commit for the group: by default, that everything handed out so far is processed.

        Raises as :meth:`ottla.client.Consumer.commit`.
        """
        self._call(self._consumer.commit, offsets)

    def committed(
        self, partitions: Iterable[TopicPartition] | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """Return what the group has committed; of all its partitions if none are named."""
        return self._call(self._consumer.committed, partitions)

    def lag(self) -> dict[TopicPartition, int]:
        """Return how many offsets each assigned partition is behind what is committed to it."""
        return self._call(self._consumer.lag)

    # --- Where to read ------------------------------------------------------------------------

    def assign(self, partitions: Iterable[TopicPartition]) -> None:
        """Read these partitions and no others; raises as :meth:`ottla.client.Consumer.assign`."""
        self._call_nowait(self._consumer.assign, partitions)

    def assignment(self) -> set[TopicPartition]:
        """Return the partitions that are read."""
        return self._call_nowait(self._consumer.assignment)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on at ``offset``; raises as :meth:`ottla.client.Consumer.seek`."""
        self._call_nowait(self._consumer.seek, partition, offset)

    def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Read on at the first record; of all assigned partitions if none are named."""
        self._call(self._consumer.seek_to_beginning, *partitions)

    def seek_to_end(self, *partitions: TopicPartition) -> None:
        """Read on behind the last committed record; of all partitions if none are named."""
        self._call(self._consumer.seek_to_end, *partitions)

    def position(self, partition: TopicPartition) -> int:
        """Return the offset of the next record to be handed out, waiting until it is known."""
        return self._call(self._consumer.position, partition)

    def positions(self) -> dict[TopicPartition, int]:
        """Return the next offset of every assigned partition whose position is known."""
        return self._call_nowait(self._consumer.positions)

    def pause(self, *partitions: TopicPartition) -> None:
        """Hand out nothing of these partitions until :meth:`resume`; positions stay."""
        self._call_nowait(self._consumer.pause, *partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        """Go on with partitions that were paused; no error if they were not."""
        self._call_nowait(self._consumer.resume, *partitions)

    def paused(self) -> set[TopicPartition]:
        """Return the partitions that are paused."""
        return self._call_nowait(self._consumer.paused)

    # --- What is there ------------------------------------------------------------------------

    def highwater(self, partition: TopicPartition) -> int | None:
        """Return the end of what is committed, exclusive, as last heard; ``None`` before that."""
        return self._call_nowait(self._consumer.highwater, partition)

    def beginning_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset of the first record of each partition, or where it will be."""
        return self._call(self._consumer.beginning_offsets, partitions)

    def end_offsets(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where the next committed record of each partition will be."""
        return self._call(self._consumer.end_offsets, partitions)

    def offsets_for_times(
        self, timestamps_ms: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        """Return the first record at or after a time; ``None`` where all are earlier."""
        return self._call(self._consumer.offsets_for_times, timestamps_ms)

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions."""
        return self._call(self._consumer.partitions_for_topic, topic)


class _InThread:
    """A listener whose methods block, for an event loop that must not."""

    def __init__(self, listener: RebalanceListener) -> None:
        self._listener = listener

    async def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        await asyncio.to_thread(self._listener.on_partitions_assigned, partitions)

    async def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        await asyncio.to_thread(self._listener.on_partitions_revoked, partitions)

    async def on_partitions_lost(self, partitions: Sequence[TopicPartition]) -> None:
        await asyncio.to_thread(self._listener.on_partitions_lost, partitions)
