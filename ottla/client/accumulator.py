"""Where records wait to be sent: one queue a partition, within a bounded memory.

``append`` is the producer's hot path: it puts a record into the open batch of its partition and
returns a handle, and does nothing else. All that costs more -- opening a batch, reserving memory,
waking the sender -- happens once a batch.

Memory is counted in whole batches, as in the Java client: an open batch reserves ``batch_size`` (a
larger record, its own size) and gives it back when it is settled. When all is reserved, ``append``
refuses, and every open batch becomes due, so that memory is freed as fast as brokers answer.

Threads: ``append`` runs on the application's thread, everything else on the event loop's. Where
these differ, the application holds ``lock`` around ``append``; the loop's side always does.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from ottla.client.delivery import (
    Appended,
    Outcome,
    ProducerBatch,
    RecordHandle,
    SplitOutcome,
)
from ottla.client.errors import BufferFullError, DeliveryTimeoutError
from ottla.client.partition_queue import PartitionQueue
from ottla.client.partitioners import Partitioner, next_sticky_partition, partition_for_key
from ottla.client.settings import ProducerSettings
from ottla.model.errors import MessageTooLargeError, OttlaError, UnknownTopicOrPartitionError
from ottla.model.ids import TopicPartition
from ottla.record.builder import BatchBuilder, Headers, size_upper_bound

Handle = TypeVar("Handle", bound=RecordHandle)

_log = logging.getLogger(__name__)

BATCH_FAILED: Final = "batch_failed"
"""Log event, with partition, number of records and error: records that are not delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerIdentity:
    """How brokers recognise this producer's batches; -1 and -1 without idempotence."""

    producer_id: int = -1
    producer_epoch: int = -1


@dataclass(frozen=True, slots=True)
class ProducerStatistics:
    """What a producer has done so far."""

    records_acknowledged: int
    records_failed: int
    batches_acknowledged: int
    batches_failed: int
    batches_unsettled: int
    """Open, waiting, or in flight."""
    buffer_available_bytes: int
    """Of ``buffer_memory``."""
    last_error: OttlaError | None
    """Of the latest batch that failed."""
    hindrance: OttlaError | None
    """Why the oldest unsettled batch has to be sent again; it may pass."""


class TopicQueues:
    """The queues of one topic, and where its next keyless record goes."""

    def __init__(self, topic: str, open_queue: Callable[[TopicPartition], PartitionQueue]) -> None:
        self.topic = topic
        self.available: Sequence[int] = ()
        """Partitions that have a leader."""
        self.queues: list[PartitionQueue] = []
        self.partitions: range = range(0)
        self.sticky_queue: PartitionQueue | None = None
        self.sticky_bytes = 0
        """Put into closed batches of the sticky partition since it was chosen."""
        self._open_queue = open_queue

    def update(self, *, partition_count: int, available: Sequence[int]) -> None:
        """Take over what new metadata says; partitions never become fewer."""
        while len(self.queues) < partition_count:
            self.queues.append(self._open_queue(TopicPartition(self.topic, len(self.queues))))
        self.partitions = range(len(self.queues))
        self.available = available

    def queue(self, partition: int) -> PartitionQueue:
        """Return the queue of a partition that was named; it must be one of the topic's."""
        if not 0 <= partition < len(self.queues):
            raise UnknownTopicOrPartitionError(
                f"topic {self.topic!r} has no partition {partition}: it has "
                f"{len(self.queues)}, from 0 on"
            )
        return self.queues[partition]


class Accumulator(Generic[Handle]):
    """See above.

    Args:
        settings: sizes and times.
        wake: called, on any thread, when the sender has something to look at.
        settled: called, with the lock held, after every batch that got its outcome.
        handle_type: what ``append`` returns.
    """

    def __init__(
        self,
        settings: ProducerSettings,
        *,
        wake: Callable[[], None],
        settled: Callable[[], None],
        handle_type: type[Handle],
    ) -> None:
        self.lock = threading.Lock()
        self.identity = ProducerIdentity()
        """To be set before the first topic comes."""
        self.available_bytes = settings.buffer_memory
        self.is_exhausted = False
        """Whether a record was refused since memory was last freed."""
        self.touched: list[PartitionQueue] = []
        """Queues that got something to send since the sender last looked."""
        self.lingering: deque[ProducerBatch] = deque()
        """Batches by the time when they are due, unless they fill up before."""
        self.unsettled: dict[int, ProducerBatch] = {}
        """Every batch that has no outcome, by serial, oldest first."""
        self._settings = settings
        self._codec = settings.codec
        self._partitioner: Partitioner | None = settings.partitioner
        self._wake = wake
        self._tell_settled = settled
        self._handle_type = handle_type
        self._topics: dict[str, TopicQueues] = {}
        self._random = random.SystemRandom()
        self._next_serial = 0
        self._records_acknowledged = 0
        self._records_failed = 0
        self._batches_acknowledged = 0
        self._batches_failed = 0
        self._last_error: OttlaError | None = None

    # --- The application's side ------------------------------------------------------

    def append(
        self,
        topic: TopicQueues,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers,
        partition: int | None,
        timestamp_ms: int,
    ) -> Handle:
        """Add a record to the batch that it will travel in.

        Raises:
            BufferFullError: ``buffer_memory`` is used up; nothing was added.
            MessageTooLargeError: the record is larger than ``max_request_size``.
            UnknownTopicOrPartitionError: the topic does not have the partition named.
        """
        if partition is not None:
            queue: PartitionQueue | None = topic.queue(partition)
        elif key is None and self._partitioner is None:
            queue = topic.sticky_queue
        else:
            queue = self._choose(topic, key)
        if queue is not None and queue.open_batch is not None:
            batch = queue.open_batch
            assert batch.builder is not None
            index = batch.builder.try_append(
                key=key, value=value, headers=headers, timestamp_ms=timestamp_ms
            )
            if index is not None:
                return self._handle_type(batch, index, timestamp_ms)
            self._close(topic, queue)
        if partition is None and key is None and self._partitioner is None:
            queue = self._move_sticky(topic)
        assert queue is not None
        return self._append_to_fresh(queue, key, value, headers, timestamp_ms)

    def topic(self, name: str) -> TopicQueues | None:
        """Return the queues of a topic whose partitions are known."""
        return self._topics.get(name)

    def _choose(self, topic: TopicQueues, key: bytes | None) -> PartitionQueue:
        if self._partitioner is not None:
            return topic.queue(self._partitioner(key, topic.partitions, topic.available))
        assert key is not None
        return topic.queues[partition_for_key(key, len(topic.queues))]

    def _close(self, topic: TopicQueues, queue: PartitionQueue) -> None:
        """Close a full batch."""
        queue.close_open_batch()
        self._touch(queue)
        if queue is topic.sticky_queue:
            topic.sticky_bytes = self._settings.batch_size

    def _move_sticky(self, topic: TopicQueues) -> PartitionQueue:
        """Return where keyless records go now that a batch must be opened for them.

        They stay until a batch's worth went there (KIP-794), unless the leader is gone.
        """
        queue = topic.sticky_queue
        if queue is not None and topic.sticky_bytes < self._settings.batch_size:
            partition = queue.topic_partition.partition
            if partition in topic.available or not topic.available:
                return queue
        previous = -1 if queue is None else queue.topic_partition.partition
        chosen = next_sticky_partition(previous, topic.available, topic.partitions, self._random)
        topic.sticky_queue = topic.queues[chosen]
        topic.sticky_bytes = 0
        return topic.sticky_queue

    def _append_to_fresh(
        self,
        queue: PartitionQueue,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
    ) -> Handle:
        """Append to a batch that is opened for it (or that keyed records opened meanwhile)."""
        batch = queue.open_batch
        if batch is not None:
            assert batch.builder is not None
            index = batch.builder.try_append(
                key=key, value=value, headers=headers, timestamp_ms=timestamp_ms
            )
            if index is not None:
                return self._handle_type(batch, index, timestamp_ms)
            queue.close_open_batch()
            self._touch(queue)
        batch = self._new_batch(queue.topic_partition, size_upper_bound(key, value, headers))
        assert batch.builder is not None
        index = batch.builder.append(
            key=key, value=value, headers=headers, timestamp_ms=timestamp_ms
        )
        self.available_bytes -= batch.reserved_bytes
        self._next_serial += 1
        self.unsettled[batch.serial] = batch
        queue.open_batch = batch
        self.lingering.append(batch)
        self._wake()
        return self._handle_type(batch, index, timestamp_ms)

    def _new_batch(self, topic_partition: TopicPartition, record_bytes: int) -> ProducerBatch:
        """Make a batch whose memory there is; it counts only once a record is in it."""
        if record_bytes > self._settings.max_request_size:
            raise MessageTooLargeError(
                f"a record for {topic_partition} may take {record_bytes} bytes, more than "
                f"max_request_size ({self._settings.max_request_size}); split it, or raise "
                "max_request_size and the topic's max.message.bytes"
            )
        reserved_bytes = max(self._settings.batch_size, record_bytes)
        if reserved_bytes > self._settings.buffer_memory:
            raise MessageTooLargeError(
                f"a record for {topic_partition} may take {record_bytes} bytes, more than all of "
                f"buffer_memory ({self._settings.buffer_memory}); raise it"
            )
        if reserved_bytes > self.available_bytes:
            self.is_exhausted = True
            self._wake()
            raise BufferFullError(
                f"{self._settings.buffer_memory - self.available_bytes} of the "
                f"{self._settings.buffer_memory} bytes of buffer_memory wait for "
                "acknowledgements; wait, or raise buffer_memory"
            )
        return ProducerBatch(
            topic_partition,
            BatchBuilder(self._codec, size_bytes_max=self._settings.batch_size),
            serial=self._next_serial,
            created_ms=time.monotonic() * 1000,
            reserved_bytes=reserved_bytes,
        )

    def _touch(self, queue: PartitionQueue) -> None:
        self.touched.append(queue)
        self._wake()

    # --- The event loop's side, holding the lock ----------------------------------------

    def update_topic(
        self, name: str, *, partition_count: int, available: Sequence[int]
    ) -> TopicQueues:
        """Take over what new metadata says about a topic."""
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = TopicQueues(name, self._open_queue)
        topic.update(partition_count=partition_count, available=available)
        return topic

    def topic_names(self) -> Sequence[str]:
        """Topics that were sent to, or are about to be."""
        return tuple(self._topics)

    @property
    def last_serial(self) -> int:
        """The serial of the batch that was opened last; -1 before the first."""
        return self._next_serial - 1

    def oldest_unsettled(self) -> int | None:
        """Return the serial of the oldest batch that has no outcome."""
        return next(iter(self.unsettled), None)

    def make_due(self, now_ms: float) -> None:
        """Mark open batches that have lingered long enough; with memory used up, every one."""
        linger_ms = self._settings.linger_ms
        while self.lingering:
            batch = self.lingering[0]
            if not self.is_exhausted and batch.created_ms + linger_ms > now_ms:
                break
            self.lingering.popleft()
            self._make_due(batch)

    def make_everything_due(self) -> None:
        """Mark every open batch: somebody waits for them."""
        for batch in self.lingering:
            self._make_due(batch)
        self.lingering.clear()

    def make_due_now(self, batch: ProducerBatch) -> None:
        """Mark one batch: somebody waits for it."""
        self._make_due(batch)

    def next_due_ms(self) -> float | None:
        """When :meth:`make_due` or :meth:`expire` has something to do; monotonic."""
        times = []
        if self.lingering:
            times.append(self.lingering[0].created_ms + self._settings.linger_ms)
        for batch in self.unsettled.values():
            times.append(batch.created_ms + self._settings.delivery_timeout_ms)
            break
        return min(times, default=None)

    def expire(self, now_ms: float) -> None:
        """Fail the batches whose delivery time is over."""
        timeout_ms = self._settings.delivery_timeout_ms
        # Created in order of serial, so the first that has time left ends the search.
        while self.unsettled:
            batch = next(iter(self.unsettled.values()))
            if batch.created_ms + timeout_ms > now_ms:
                return
            queue = self._queue_of(batch)
            queue.expire(batch, _not_delivered(batch, timeout_ms, queue.hindrance))

    def fail_everything(self, error: OttlaError) -> None:
        """The producer ends: every batch fails with ``error``."""
        for topic in self._topics.values():
            for queue in topic.queues:
                queue.fail_all(error)

    def statistics(self) -> ProducerStatistics:
        """Return what was done so far."""
        oldest = next(iter(self.unsettled.values()), None)
        return ProducerStatistics(
            records_acknowledged=self._records_acknowledged,
            records_failed=self._records_failed,
            batches_acknowledged=self._batches_acknowledged,
            batches_failed=self._batches_failed,
            batches_unsettled=len(self.unsettled),
            buffer_available_bytes=self.available_bytes,
            last_error=self._last_error,
            hindrance=None if oldest is None else self._queue_of(oldest).hindrance,
        )

    def _make_due(self, batch: ProducerBatch) -> None:
        queue = self._queue_of(batch)
        if queue.open_batch is batch:
            batch.is_due = True
            self.touched.append(queue)
            topic = self._topics[batch.topic_partition.topic]
            if queue is topic.sticky_queue:
                assert batch.builder is not None
                topic.sticky_bytes += batch.builder.size_bytes

    def _settle(self, batch: ProducerBatch, outcome: Outcome) -> None:
        del self.unsettled[batch.serial]
        self.available_bytes += batch.reserved_bytes
        self.is_exhausted = False
        if isinstance(outcome, SplitOutcome):
            ends = [first for first, _ in outcome.parts[1:]] + [batch.record_count]
            for (first, result), end in zip(outcome.parts, ends, strict=True):
                self._count(batch, result, end - first)
        else:
            self._count(batch, outcome, batch.record_count)
        batch.complete(outcome)
        self._tell_settled()

    def _count(
        self, batch: ProducerBatch, outcome: Appended | OttlaError, record_count: int
    ) -> None:
        """Count so many records of a batch that went the same way."""
        if not isinstance(outcome, OttlaError):
            self._batches_acknowledged += 1
            self._records_acknowledged += record_count
            return
        self._batches_failed += 1
        self._records_failed += record_count
        self._last_error = outcome
        _log.warning(
            BATCH_FAILED,
            extra={
                "partition": str(batch.topic_partition),
                "records": record_count,
                "error": str(outcome),
            },
        )

    def _open_queue(self, topic_partition: TopicPartition) -> PartitionQueue:
        return PartitionQueue(
            topic_partition,
            producer_id=self.identity.producer_id,
            producer_epoch=self.identity.producer_epoch,
            settled=self._settle,
        )

    def _queue_of(self, batch: ProducerBatch) -> PartitionQueue:
        topic, partition = batch.topic_partition
        return self._topics[topic].queues[partition]


def _not_delivered(
    batch: ProducerBatch, timeout_ms: float, hindrance: OttlaError | None
) -> DeliveryTimeoutError:
    """Return the error of a batch that took too long, which names what stood in its way."""
    fate = "it may be in the log" if batch.was_sent else "it was never sent"
    error = DeliveryTimeoutError(
        f"a batch for {batch.topic_partition} was not acknowledged within {timeout_ms / 1000:g} s "
        f"({fate}); "
        + (
            "check that its leader is reachable, or raise delivery_timeout_ms"
            if hindrance is None
            else f"the last error was {hindrance.name}: {hindrance}"
        )
    )
    error.__cause__ = hindrance
    return error
