"""A continuous read: batches flow as soon as they are committed, as far as credit allows.

Each partition of the stream has a *cursor*, which is in one of two places:

* *ready*, a queue: something may be readable at its offset, or its partition has failed;
* *idle*: everything committed was read. It waits in the purgatory for one record more and is
  put back into the queue when that is committed.

A response takes from cursors in turn until it is full or credit is used up; a cursor that was read
goes to the end of the queue, so that a busy partition cannot starve the others. Waking costs
nothing for partitions where nothing happens, however many the stream has.

Credit is counted in bytes of batches. A response begins while credit is positive, and its first
batch is sent even if it is larger than what is left; the debt is carried. So a reader that grants
little is slow, never stuck.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from ottla.cluster.fetch_limits import FetchLimits, partition_max_bytes
from ottla.cluster.gate import Gate
from ottla.cluster.produce import check_partitions
from ottla.cluster.reading import ConsumerReader, ReadLimits
from ottla.cluster.services import FetchFailed, PartitionFetched, PartitionToFetch
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.ids import TopicPartition
from ottla.model.limits import FETCH_CREDIT_BYTES_MAX, PARTITIONS_PER_REQUEST_MAX
from ottla.runtime.clock import Clock
from ottla.runtime.purgatory import Outcome, Purgatory, Waiter

IDLE_CHECK_MS: Final = 60_000
"""An idle cursor looks at its partition this often, in any case."""

Fetched = PartitionFetched | FetchFailed


class _Cursor:
    """Where the stream is in one partition."""

    __slots__ = ("asked", "is_ready", "is_removed", "max_bytes", "offset", "waiter")

    def __init__(self, asked: PartitionToFetch) -> None:
        self.asked = asked
        self.offset = asked.offset
        self.max_bytes = partition_max_bytes(asked.max_bytes)
        self.is_ready = False
        self.is_removed = False
        self.waiter: Waiter[TopicPartition] | None = None


class BrokerFetchStream:
    """One stream; see :class:`ottla.cluster.services.FetchStream`. Read by one task."""

    def __init__(
        self,
        reader: ConsumerReader,
        limits: FetchLimits,
        *,
        reads: Purgatory[TopicPartition],
        clock: Clock,
        gate: Gate,
    ) -> None:
        self._reader = reader
        self._limits = limits
        self._reads = reads
        self._clock = clock
        self._gate = gate
        self._cursors: dict[TopicPartition, _Cursor] = {}
        self._ready: deque[_Cursor] = deque()
        self._credit_bytes = 0
        self._credit_has_ended = False
        self._closed = False
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return (
            f"<BrokerFetchStream {len(self._ready)} of {len(self._cursors)} partitions ready, "
            f"credit {self._credit_bytes}{', closed' if self._closed else ''}>"
        )

    # --- Steering ---

    def add(self, partitions: Sequence[PartitionToFetch]) -> None:
        """Read these too, or from another offset.

        Raises:
            InvalidRequestError: too many in all, one named twice, a size below 0; nothing changed.
        """
        named = [asked.topic_partition for asked in partitions]
        check_partitions(named)
        if len(self._cursors.keys() | set(named)) > PARTITIONS_PER_REQUEST_MAX:
            raise InvalidRequestError(
                f"a stream reads at most {PARTITIONS_PER_REQUEST_MAX} partitions; open another"
            )
        cursors = [_Cursor(asked) for asked in partitions]
        self.remove(named)
        for cursor in cursors:
            self._cursors[cursor.asked.topic_partition] = cursor
            self._make_ready(cursor)

    def remove(self, partitions: Sequence[TopicPartition]) -> None:
        """Stop reading these; unknown ones are ignored."""
        for topic_partition in partitions:
            cursor = self._cursors.get(topic_partition)
            if cursor is not None:
                self._drop(cursor)

    def grant(self, credit_bytes: int) -> None:
        """Allow that many more bytes.

        Raises:
            InvalidRequestError: it is below 0, or more in all than a stream may have.
        """
        total = self._credit_bytes + credit_bytes
        if credit_bytes < 0 or total > FETCH_CREDIT_BYTES_MAX:
            raise InvalidRequestError(
                f"credit of {credit_bytes} bytes on top of {self._credit_bytes} is not possible; "
                f"grant 0 or more, and at most {FETCH_CREDIT_BYTES_MAX} in all"
            )
        self._credit_bytes = total
        self._changed.set()

    def end_of_credit(self) -> None:
        """No more is granted: :meth:`responses` ends when what there is has been used up."""
        self._credit_has_ended = True
        self._changed.set()

    def close(self) -> None:
        """Stop; :meth:`responses` ends."""
        self._closed = True
        self.remove(list(self._cursors))
        self._changed.set()

    # --- Reading ---

    @property
    def _is_used_up(self) -> bool:
        return self._credit_has_ended and self._credit_bytes <= 0

    async def responses(self) -> AsyncIterator[list[Fetched]]:
        """Yield what each response carries, until :meth:`close`.

        Raises:
            BrokerNotAvailableError: the broker stops.
            ThrottlingQuotaExceededError: too many requests are waiting in this broker.
        """
        stopping = asyncio.ensure_future(self._gate.wait_closing())
        stopping.add_done_callback(lambda _: self._changed.set())
        try:
            while not self._closed:
                collected = await self._collect()
                if self._gate.is_closing:
                    raise self._gate.refusal()
                if collected:
                    yield collected
                elif self._is_used_up:
                    break
        finally:
            stopping.cancel()
            self.close()

    async def _collect(self) -> list[Fetched]:
        """Fill one response: at once with what there is, or for a while if that was asked for."""
        collected: list[Fetched] = []
        size_bytes = 0
        deadline_ms: int | None = None
        while not (self._closed or self._gate.is_closing or self._is_used_up):
            self._changed.clear()
            size_bytes += await self._fill(collected, size_bytes)
            if collected:
                if deadline_ms is None:
                    deadline_ms = self._clock.now_ms() + self._limits.max_wait_ms
                if self._is_enough(collected, size_bytes, deadline_ms):
                    break
            await self._wait_change(deadline_ms)
        return collected

    def _is_enough(self, collected: list[Fetched], size_bytes: int, deadline_ms: int) -> bool:
        return (
            size_bytes >= self._limits.min_bytes
            or self._credit_bytes <= 0
            or self._clock.now_ms() >= deadline_ms
            # A failure is worth knowing now.
            or isinstance(collected[-1], FetchFailed)
        )

    async def _wait_change(self, deadline_ms: int | None) -> None:
        wait_s = None if deadline_ms is None else (deadline_ms - self._clock.now_ms()) / 1000
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._changed.wait()

    async def _fill(self, collected: list[Fetched], size_bytes: int) -> int:
        """Read once from each ready cursor, in turn; return how many bytes that gave."""
        before = size_bytes
        for _ in range(len(self._ready)):
            if self._credit_bytes <= 0 or size_bytes >= self._limits.max_bytes or not self._ready:
                break
            cursor = self._ready.popleft()
            cursor.is_ready = False
            if cursor.is_removed:
                continue
            room_bytes = min(
                cursor.max_bytes, self._limits.max_bytes - size_bytes, self._credit_bytes
            )
            fetched = await self._read(cursor, ReadLimits(room_bytes, minimum_one=size_bytes == 0))
            if fetched is None:
                continue
            if isinstance(fetched, FetchFailed) or fetched.records:
                collected.append(fetched)
                size_bytes += self._account(cursor, fetched)
            elif fetched.high_watermark > cursor.offset:
                # Its next batch is larger than the room left, so it comes first next time.
                cursor.is_ready = True
                self._ready.appendleft(cursor)
                break
            else:
                self._make_idle(cursor)
        return size_bytes - before

    def _account(self, cursor: _Cursor, fetched: Fetched) -> int:
        """Move the cursor past what was read, and pay for it with credit."""
        if isinstance(fetched, FetchFailed):
            return 0
        size_bytes = len(fetched.records)
        self._credit_bytes -= size_bytes
        cursor.offset = fetched.next_offset
        self._make_ready(cursor)
        return size_bytes

    async def _read(self, cursor: _Cursor, limits: ReadLimits) -> Fetched | None:
        """Read at the cursor; ``None`` if the client moved or removed it meanwhile."""
        try:
            fetched = await self._reader.read(cursor.asked, cursor.offset, limits)
        except OttlaError as error:
            if cursor.is_removed:
                return None
            self._drop(cursor)
            return FetchFailed(cursor.asked.topic_partition, error)
        return None if cursor.is_removed else fetched

    # --- Cursors ---

    def _make_ready(self, cursor: _Cursor) -> None:
        if not cursor.is_ready and not cursor.is_removed:
            cursor.is_ready = True
            self._ready.append(cursor)
            self._changed.set()

    def _make_idle(self, cursor: _Cursor) -> None:
        cursor.waiter = self._reads.watch(
            ((cursor.asked.topic_partition, cursor.offset + 1),),
            deadline_ms=self._clock.now_ms() + IDLE_CHECK_MS,
            done=partial(self._woken, cursor),
        )

    def _woken(self, cursor: _Cursor, outcome: Outcome | OttlaError) -> None:
        del outcome  # whatever it is, reading tells
        cursor.waiter = None
        self._make_ready(cursor)

    def _drop(self, cursor: _Cursor) -> None:
        cursor.is_removed = True
        del self._cursors[cursor.asked.topic_partition]
        if cursor.waiter is not None:
            self._reads.cancel(cursor.waiter)
            cursor.waiter = None
