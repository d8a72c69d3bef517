"""The batches of one partition, from the first record to the last acknowledgement, in order.

A state machine without clock or network: the sender asks what to send next and tells what came
of it. A batch moves through

    open -> closed -> in flight -> settled
                       |     ^
                       v     |
                       retry

Order and exactly-once come from four rules (KIP-98 and KIP-360 are the models):

1. A batch gets its sequence number when it is first sent, and its bytes never change while a
   broker may have it. So a broker that has seen it before answers with its first offset.
2. At most five batches are in flight, because a broker remembers five. Only one is, until the
   first of an epoch, or on a new connection, or by a new leader, is acknowledged: a broker that
   knows nothing of this producer accepts any sequence number, so a second batch could overtake a
   first one that was turned away.
3. Once a batch has to be sent again, nothing is sent until all that is in flight has been
   answered; then the ones to repeat go one at a time, oldest first, and nothing new follows
   until the last is answered: behind a batch that fails again and again, new ones would
   push it out of the broker's memory. Batches that were behind the failed one come back as
   "out of order", which here only means: repeat.
4. A batch that failed for good leaves a *hole* in the sequence: brokers refuse what follows it.
   Those in flight or of unknown fate are first settled, as in rule 3, with their old
   numbers; "out of order" now proves that the batch is not in the log. When none is left, the
   refused ones and all later ones get a new producer epoch and sequence numbers from 0.
   Whatever is still under way from the old epoch is fenced by the new one.

A batch at the head of the line that is out of order without a hole before it means that the
broker lost records it had acknowledged. Its records fail with that error, to be seen, and the
partition goes on under a new epoch.

A batch of several records that is too large for the topic is *split*: its halves are repeated in
its place, under its sequence numbers, as in rule 3, and nothing is missing behind them. Of parts in
doubt (:mod:`ottla.client.batch_splitting`) "out of order" proves nothing, so they fail.

Without idempotence (``producer_id`` < 0) one batch at a time is in flight, which keeps order; a
repeated batch may be in the log twice.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Callable
from typing import Final

from ottla.client.batch_splitting import part_settled, split
from ottla.client.cluster_picture import PartitionLeader
from ottla.client.delivery import Appended, Outcome, ProducerBatch
from ottla.client.errors import DeliveryTimeoutError
from ottla.model.errors import MessageTooLargeError, OttlaError, OutOfOrderSequenceError
from ottla.model.ids import TopicPartition
from ottla.model.limits import BATCHES_REMEMBERED_PER_PRODUCER, SEQUENCE_MAX

PRODUCER_EPOCH_MAX: Final = 2**15 - 1
"""The field in a batch has 16 bits."""

Settled = Callable[[ProducerBatch, Outcome], None]
"""Called once for each batch that was handed in."""


class PartitionQueue:
    """See above. Every method is immediate; ``settled`` is called from within them."""

    def __init__(
        self,
        topic_partition: TopicPartition,
        *,
        producer_id: int,
        producer_epoch: int,
        settled: Settled,
    ) -> None:
        self.topic_partition = topic_partition
        self.open_batch: ProducerBatch | None = None
        """Being filled."""
        self.is_offered = False
        """Whether a stream has the queue on its list; kept by the sender."""
        self.retry_at_ms = 0.0
        """Not to be sent from before, unless a new leader is known; kept by the sender."""
        self.leader: PartitionLeader | None = None
        """Who it was last sent to; kept by the sender."""
        self.stream: object = None
        """Where the batches in flight are."""
        self.hindrance: OttlaError | None = None
        """What has kept the partition from taking a batch since it last took one."""
        self._settled = settled
        self._producer_id = producer_id
        self._producer_epoch = producer_epoch
        self._next_sequence = 0
        self._closed: deque[ProducerBatch] = deque()
        self._in_flight: deque[ProducerBatch] = deque()
        # The next two in the order in which records came.
        self._retry: list[ProducerBatch] = []
        self._refused_behind_hole: list[ProducerBatch] = []
        self._has_hole = False
        self._is_confirmed = False
        self._confirming_leader: PartitionLeader | None = None

    # --- Filling ------------------------------------------------------------------

    def close_open_batch(self) -> None:
        """Add nothing more to the open batch: it goes out next."""
        batch = self.open_batch
        assert batch is not None
        assert batch.builder is not None
        batch.record_count = batch.builder.record_count
        self._closed.append(batch)
        self.open_batch = None

    # --- Sending ------------------------------------------------------------------

    def can_send(self) -> bool:
        """Whether :meth:`next_to_send` would return a batch now."""
        return len(self._in_flight) < self._window() and bool(
            self._retry
            or self._refused_behind_hole
            or self._closed
            or (self.open_batch is not None and self.open_batch.is_due)
        )

    def next_to_send(self) -> ProducerBatch | None:
        """Take the batch to send now, if any; it is in flight from here on."""
        if not self.can_send():
            return None
        if self._retry:
            batch = self._retry.pop(0)
        else:
            if self._has_hole:
                self._begin_new_epoch()
            if not self._closed:
                self.close_open_batch()
            batch = self._closed.popleft()
            self._number(batch)
        batch.was_sent = True
        self._in_flight.append(batch)
        return batch

    def move_to(self, stream: object) -> None:
        """Send over ``stream`` from now on; nothing may be in flight on another.

        Its broker may have forgotten this producer, or never known it: rule 2 applies anew.
        """
        if stream is not self.stream:
            assert not self._in_flight, "what is under way is settled first"
        if stream is not self.stream or self.leader != self._confirming_leader:
            self.stream = stream
            self._confirming_leader = self.leader
            self._is_confirmed = False

    @property
    def in_flight_count(self) -> int:
        """Batches that a broker was sent and has not answered."""
        return len(self._in_flight)

    @property
    def failures(self) -> int:
        """How often the batch that has to be repeated next has failed already."""
        return self._retry[0].failures if self._retry else 0

    def _window(self) -> int:
        repeats = self._retry or (self._in_flight and self._in_flight[0].failures)
        cautious = self._producer_id < 0 or repeats or self._has_hole
        return 1 if cautious or not self._is_confirmed else BATCHES_REMEMBERED_PER_PRODUCER

    def _number(self, batch: ProducerBatch) -> None:
        if self._producer_id >= 0:
            batch.number(
                producer_id=self._producer_id,
                producer_epoch=self._producer_epoch,
                base_sequence=self._next_sequence,
            )
            self._next_sequence = (self._next_sequence + batch.record_count) & SEQUENCE_MAX

    def _begin_new_epoch(self) -> None:
        assert not self._in_flight, "what is under way is settled first"
        assert not self._retry, "what is of unknown fate is settled first"
        if self._producer_epoch == PRODUCER_EPOCH_MAX:
            raise OttlaError(
                f"the producer's epochs for {self.topic_partition} are used up after "
                f"{PRODUCER_EPOCH_MAX} failed batches; start a new producer"
            )
        self._producer_epoch += 1
        self._next_sequence = 0
        self._is_confirmed = False
        self._has_hole = False
        self._closed.extendleft(reversed(self._refused_behind_hole))
        for batch in self._refused_behind_hole:
            batch.was_sent = False
            batch.may_be_appended = False
            batch.failures = 0
        self._refused_behind_hole.clear()

    # --- Outcomes -------------------------------------------------------------------

    def acknowledged(self, batch: ProducerBatch, appended: Appended) -> None:
        """The batch is in the log."""
        self._leave_flight(batch)
        self._is_confirmed = True
        self.hindrance = None
        if batch.parts is not None:
            batch.parts.in_doubt = False
        if not batch.is_abandoned:
            self._settle(batch, appended)

    def refused(self, batch: ProducerBatch, error: OttlaError) -> bool:
        """The broker answered ``error``; return whether to send the batch again after a pause.

        What a pause would not change goes on at once: halves of what is too large, and what is only
        out of order because of something before it.
        """
        self._leave_flight(batch)
        if batch.is_abandoned:
            self._leave_hole()
            return False
        out_of_order = isinstance(error, OutOfOrderSequenceError)
        if out_of_order and self._retry and _place(self._retry[0]) < _place(batch):
            self._repeat(batch)
            return False
        if error.retriable:
            self.hindrance = error
            batch.may_be_appended = True
            self._repeat(batch)
            return True
        if isinstance(error, MessageTooLargeError) and batch.record_count > 1:
            for half in split(batch):
                insort(self._retry, half, key=_place)
            return False
        if out_of_order and self._has_hole and not (batch.parts and batch.parts.in_doubt):
            insort(self._refused_behind_hole, batch, key=_place)
            return False
        self._leave_hole()
        self._settle(batch, error)
        return False

    def lost(self, batch: ProducerBatch, reason: OttlaError) -> None:
        """Nobody will answer, for ``reason``: the batch may be in the log, or may not."""
        self._leave_flight(batch)
        self.hindrance = reason
        if batch.is_abandoned:
            self._leave_hole()
        else:
            batch.may_be_appended = True
            self._repeat(batch)

    def expire(self, batch: ProducerBatch, error: DeliveryTimeoutError) -> None:
        """The batch took too long, wherever it is: its records fail with ``error``."""
        parts = [batch] if batch.parts is None else list(batch.parts.unsettled)
        for part in parts:
            self._abandon(part)
            self._settle(part, error)

    def _abandon(self, batch: ProducerBatch) -> None:
        """Wait for the batch no more, wherever it is."""
        if batch in self._in_flight:
            batch.is_abandoned = True
        elif batch in self._retry:
            self._retry.remove(batch)
            self._leave_hole()
        elif batch in self._refused_behind_hole:
            self._refused_behind_hole.remove(batch)
        else:
            if batch is self.open_batch:
                self.close_open_batch()
            # The oldest is the first to expire, so this looks at one.
            self._closed.remove(batch)

    def fail_all(self, error: OttlaError) -> None:
        """The producer ends: whatever is not settled fails with ``error``."""
        if self.open_batch is not None:
            self.close_open_batch()
        unsettled = [*self._in_flight, *self._retry, *self._refused_behind_hole, *self._closed]
        for batches in (self._in_flight, self._retry, self._refused_behind_hole, self._closed):
            batches.clear()
        for batch in sorted(unsettled, key=_place):
            if not batch.is_abandoned:
                self._settle(batch, error)

    def _settle(self, batch: ProducerBatch, outcome: Appended | OttlaError) -> None:
        """Tell the outcome of a batch; of a part, once there is nothing left of the whole."""
        if batch.parts is None:
            self._settled(batch, outcome)
        elif (settled := part_settled(batch, outcome)) is not None:
            self._settled(*settled)

    def _leave_flight(self, batch: ProducerBatch) -> None:
        # Streams answer in order, so this looks at one.
        self._in_flight.remove(batch)

    def _repeat(self, batch: ProducerBatch) -> None:
        batch.failures += 1
        insort(self._retry, batch, key=_place)

    def _leave_hole(self) -> None:
        if self._producer_id >= 0:
            self._has_hole = True

    def __repr__(self) -> str:
        return (
            f"<PartitionQueue {self.topic_partition} epoch {self._producer_epoch} next "
            f"{self._next_sequence} | closed {len(self._closed)} in flight "
            f"{len(self._in_flight)} retry {len(self._retry)} hole {self._has_hole}>"
        )


def _place(batch: ProducerBatch) -> tuple[int, int]:
    """Where the records of a batch, or of a part, are in the order in which they came."""
    return batch.serial, batch.first_index
