"""Fetch: read once, and wait until there is enough to answer with.

A long poll reads what there is. If that is less than ``min_bytes``, it waits until one of its
partitions commits something past what was already read, reads that, and looks again. What was read
is kept, so a poll for many bytes reads each batch once. It answers when there is enough, when the
time is up, when a partition failed (its error is worth knowing now), when no partition may give
more, and when the broker stops.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from ottla.cluster.fetch_limits import FetchLimits, partition_max_bytes
from ottla.cluster.fetch_stream import BrokerFetchStream
from ottla.cluster.gate import Gate
from ottla.cluster.produce import check_partitions
from ottla.cluster.read_replicas import ReadReplicas
from ottla.cluster.reading import ConsumerReader, ReadablePartitions, ReadLimits
from ottla.cluster.services import FetchFailed, PartitionFetched, PartitionToFetch
from ottla.model.errors import OttlaError, ThrottlingQuotaExceededError
from ottla.model.ids import TopicPartition
from ottla.model.limits import (
    FETCH_RESPONSE_BYTES_MAX,
    FETCH_TURN_BYTES,
    FETCH_TURN_PARTITIONS,
)
from ottla.runtime.clock import Clock
from ottla.runtime.files import Buffer
from ottla.runtime.purgatory import Purgatory


class BrokerFetchService:
    """Reads from the partitions that this broker hosts; a ``FetchService``."""

    def __init__(
        self,
        partitions: ReadablePartitions,
        *,
        reads: Purgatory[TopicPartition],
        readers: Executor,
        clock: Clock,
        gate: Gate,
        replicas: ReadReplicas | None = None,
    ) -> None:
        """Wait in ``reads``; ``readers`` are the threads for reads that wait for the disk.

        ``replicas`` says where else a reader might read; ``None``: nowhere.
        """
        self._reader = ConsumerReader(partitions, readers=readers, replicas=replicas)
        self._reads = reads
        self._clock = clock
        self._gate = gate

    async def fetch(
        self,
        partitions: Sequence[PartitionToFetch],
        *,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        response_bytes_max: int = FETCH_RESPONSE_BYTES_MAX,
        waited: Callable[[float], None] = lambda _seconds: None,
    ) -> list[PartitionFetched | FetchFailed]:
        """Read once; see :class:`ottla.cluster.services.FetchService`.

        Raises:
            InvalidRequestError: too many partitions, one named twice, a number out of range.
            ThrottlingQuotaExceededError: too many requests are waiting.
        """
        check_partitions([asked.topic_partition for asked in partitions])
        limits = FetchLimits.checked(
            max_wait_ms=max_wait_ms,
            min_bytes=min_bytes,
            max_bytes=max_bytes,
            response_bytes_max=response_bytes_max,
        )
        poll = _LongPoll(self._reader, partitions, limits)
        deadline_ms = self._clock.now_ms() + max_wait_ms
        await poll.read()
        while not poll.is_satisfied and not self._gate.is_closing:
            if self._clock.now_ms() >= deadline_ms:
                break
            # From here to the wait nothing is awaited, so that no commit is missed.
            if not poll.can_read_on():
                began = time.perf_counter()
                try:
                    await self._reads.wait(poll.conditions(), deadline_ms=deadline_ms)
                except ThrottlingQuotaExceededError:
                    raise
                except OttlaError:
                    # One of the partitions has gone; reading it says so, and to that one alone.
                    pass
                finally:
                    waited(time.perf_counter() - began)
            await poll.read()
        return poll.results()

    def open_stream(self, *, max_wait_ms: int, min_bytes: int, max_bytes: int) -> BrokerFetchStream:
        """Open a continuous read; :exc:`InvalidRequestError` for a number out of range."""
        return BrokerFetchStream(
            self._reader,
            FetchLimits.checked(max_wait_ms=max_wait_ms, min_bytes=min_bytes, max_bytes=max_bytes),
            reads=self._reads,
            clock=self._clock,
            gate=self._gate,
        )


class _Part:
    """One partition of a poll, and what was read of it so far."""

    __slots__ = ("asked", "chunks", "error", "is_full", "latest", "next_offset", "room_bytes")

    def __init__(self, asked: PartitionToFetch) -> None:
        self.asked = asked
        self.room_bytes = partition_max_bytes(asked.max_bytes)
        self.next_offset = asked.offset
        self.chunks: list[Buffer] = []
        self.latest: PartitionFetched | None = None
        self.error: OttlaError | None = None
        self.is_full = False
        """Whether the next batch does not fit."""

    @property
    def is_decided(self) -> bool:
        """Whether the reader should hear of this partition now, however little there is."""
        latest = self.latest
        return self.error is not None or (
            latest is not None
            and (
                latest.diverging is not None
                or (self.asked.goes_to_preferred and latest.preferred_read_replica is not None)
            )
        )

    def take(self, read: PartitionFetched, *, room_bytes: int) -> None:
        """Add what was read with so much room."""
        self.latest = read
        if read.records:
            self.chunks.append(read.records)
            self.next_offset = read.next_offset
            self.room_bytes -= len(read.records)
            self.is_full = self.room_bytes <= 0
        else:
            # More is committed, and yet nothing came: it is larger than the room there was.
            end = read.last_stable_offset if self.asked.read_committed else read.high_watermark
            self.is_full = room_bytes <= 0 or end > self.next_offset

    def result(self) -> PartitionFetched | FetchFailed:
        if self.error is not None:
            return FetchFailed(self.asked.topic_partition, self.error)
        latest = self.latest
        assert latest is not None, "every partition is read at least once"
        return PartitionFetched(
            self.asked.topic_partition,
            self.asked.offset,
            self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks),
            self.next_offset,
            latest.high_watermark,
            latest.last_stable_offset,
            latest.log_start_offset,
            latest.timestamp_type,
            latest.preferred_read_replica,
            latest.diverging,
        )


class _LongPoll:
    """One fetch request on its way to an answer."""

    def __init__(
        self, reader: ConsumerReader, partitions: Sequence[PartitionToFetch], limits: FetchLimits
    ) -> None:
        self._reader = reader
        self._limits = limits
        self._parts = [_Part(asked) for asked in partitions]
        self._size_bytes = 0

    @property
    def is_satisfied(self) -> bool:
        """Whether it is time to answer, whatever may come."""
        return (
            self._size_bytes >= self._limits.min_bytes
            or any(part.is_decided for part in self._parts)
            or all(part.is_full for part in self._parts)
        )

    def can_read_on(self) -> bool:
        """Whether something is committed that was not read yet and may be."""
        return any(self._is_behind(part) for part in self._open())

    def conditions(self) -> list[tuple[TopicPartition, int]]:
        """What to wait for: one record past where each partition is."""
        return [(part.asked.topic_partition, part.next_offset + 1) for part in self._open()]

    def results(self) -> list[PartitionFetched | FetchFailed]:
        """Return the answer, in the order of the request."""
        return [part.result() for part in self._parts]

    async def read(self) -> None:
        """Read what there is, in the order of the request, until there is no room."""
        turn_began_at = self._size_bytes
        for number, part in enumerate(self._open(), 1):
            # The first time each is read, even without room: its high watermark is asked for.
            if part.latest is None or self._is_behind(part):
                await self._read(part)
            read_bytes = self._size_bytes - turn_began_at
            if read_bytes >= FETCH_TURN_BYTES or number % FETCH_TURN_PARTITIONS == 0:
                turn_began_at = self._size_bytes
                await asyncio.sleep(0)

    def _open(self) -> list[_Part]:
        return [part for part in self._parts if not (part.is_decided or part.is_full)]

    def _is_behind(self, part: _Part) -> bool:
        try:
            return self._reader.committed_end(part.asked) > part.next_offset
        except OttlaError:
            return True  # reading it gives the error its place

    async def _read(self, part: _Part) -> None:
        room_bytes = max(0, min(part.room_bytes, self._limits.max_bytes - self._size_bytes))
        limits = ReadLimits(room_bytes, minimum_one=self._size_bytes == 0)
        try:
            read = await self._reader.read(part.asked, part.next_offset, limits)
        except OttlaError as error:
            part.error = error
            return
        self._size_bytes += len(read.records)
        part.take(read, room_bytes=room_bytes)
