"""A batch on its way, and the handle that stands for one record in it.

Records share their batch's fate, so a handle is no future of its own: it is a batch and a
number. A million handles cost a million small objects and nothing else; a future, a callback
and a place in the event loop's queue are only made for those that somebody waits for.

A batch too large for its topic is sent in parts (:mod:`ottla.client.batch_splitting`). It is
settled when all of them are, and then each record has the fate of its part.

Batches are filled on the application's thread and completed on the event loop's. In the asyncio
client these are the same; in the blocking one, the accumulator's lock stands between.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Generator
from typing import NamedTuple, Self

from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition
from ottla.record.batch import HEADER_BYTES, RecordBatch, with_header
from ottla.record.builder import BatchBuilder


class Appended(NamedTuple):
    """What a broker acknowledged: the place of a batch in the log."""

    base_offset: int
    """-1 if the broker does not say."""

    log_append_time_ms: int
    """When the broker stamped the records, -1 if it leaves them as they are."""


class SplitOutcome(NamedTuple):
    """What became of a batch that was sent in parts."""

    parts: tuple[tuple[int, Appended | OttlaError], ...]
    """In order: the number of the first record of each part, and what became of it."""

    def at(self, index: int) -> tuple[int, Appended | OttlaError]:
        """Return the part that has the record ``index``."""
        return self.parts[bisect_right(self.parts, index, key=_first_index) - 1]


def _first_index(part: tuple[int, Appended | OttlaError]) -> int:
    return part[0]


Outcome = Appended | OttlaError | SplitOutcome
"""What a batch ends with."""


class RecordMetadata(NamedTuple):
    """The place of a record in the log."""

    topic: str
    partition: int
    offset: int
    """-1 if the broker does not say (it appended the batch long ago and remembers no more)."""

    timestamp_ms: int
    """Milliseconds since 1970: the record's own, or the broker's on topics with LogAppendTime."""

    @property
    def topic_partition(self) -> TopicPartition:
        """Topic and partition as one value."""
        return TopicPartition(self.topic, self.partition)


class ProducerBatch:
    """Records of one partition that are sent together, and what became of them."""

    __slots__ = (
        "base_sequence",
        "builder",
        "created_ms",
        "failures",
        "first_index",
        "is_abandoned",
        "is_due",
        "listeners",
        "may_be_appended",
        "outcome",
        "parts",
        "payload",
        "producer_epoch",
        "producer_id",
        "record_count",
        "reserved_bytes",
        "serial",
        "topic_partition",
        "was_sent",
    )

    def __init__(
        self,
        topic_partition: TopicPartition,
        builder: BatchBuilder,
        *,
        serial: int,
        created_ms: float,
        reserved_bytes: int,
    ) -> None:
        self.topic_partition = topic_partition
        self.builder: BatchBuilder | None = builder
        """Until the batch is sealed."""
        self.serial = serial
        """Rises from one batch to the next, over all partitions."""
        self.created_ms = created_ms
        """Monotonic; the delivery time-out counts from here."""
        self.reserved_bytes = reserved_bytes
        """What it counts against ``buffer_memory``."""
        self.record_count = 0
        """Set when the batch is closed."""
        self.payload: bytes | None = None
        """From sealing on: what is sent, and sent again."""
        self.producer_id = -1
        self.producer_epoch = -1
        self.base_sequence = -1
        self.failures = 0
        """How often sending it did not end with an answer that settles it."""
        self.is_due = False
        """Whether it is to be sent although it is not full."""
        self.was_sent = False
        """Whether a broker may have it, under its present sequence number."""
        self.is_abandoned = False
        """Timed out while a broker had it: its records failed, but the answer still matters."""
        self.may_be_appended = False
        """Whether a broker may have appended it without having said so."""
        self.parts: Parts | None = None
        """Of a batch that was split, and of its parts: how far they are."""
        self.first_index = 0
        """Of a part: the number of its first record within the whole."""
        self.outcome: Outcome | None = None
        self.listeners: list[Callable[[], object]] = []
        """Called once when there is an outcome."""

    def number(self, *, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        """Give the batch the numbers by which a broker recognises it."""
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.base_sequence = base_sequence
        if self.payload is not None:
            self.payload = _renumbered(self)

    def seal(self) -> bytes:
        """Return the bytes to send: built the first time, the very same ones from then on."""
        if self.payload is None:
            builder = self.builder
            assert builder is not None
            builder.producer_id = self.producer_id
            builder.producer_epoch = self.producer_epoch
            builder.base_sequence = self.base_sequence
            self.payload = builder.build()
            self.builder = None
        return self.payload

    def complete(self, outcome: Outcome) -> None:
        """Settle the batch; whoever listens is told."""
        assert self.outcome is None, "a batch has one outcome"
        self.outcome = outcome
        # Who keeps the handles of a million records should not keep the records.
        self.builder = None
        self.payload = None
        listeners, self.listeners = self.listeners, []
        for listener in listeners:
            listener()

    def __repr__(self) -> str:
        state = "open" if self.builder and not self.record_count else "closed"
        if self.outcome is not None:
            state = repr(self.outcome)
        return (
            f"<ProducerBatch {self.serial} for {self.topic_partition} sequence "
            f"{self.producer_epoch}:{self.base_sequence} {state}>"
        )


class Parts:
    """What the parts of one batch have in common; see :mod:`ottla.client.batch_splitting`."""

    __slots__ = ("in_doubt", "outcomes", "unsettled", "whole")

    def __init__(self, whole: ProducerBatch) -> None:
        self.whole = whole
        self.unsettled: list[ProducerBatch] = []
        self.outcomes: dict[int, Appended | OttlaError] = {}
        """Of the settled ones, by the number of their first record."""
        self.in_doubt = False
        """Whether the whole may be in the log, so that its parts would be there twice."""


def _renumbered(batch: ProducerBatch) -> bytes:
    """Put other numbers on a batch that was built: it was refused and begins a new sequence."""
    assert batch.payload is not None
    built = RecordBatch.at(batch.payload)
    header = built.header._replace(
        producer_id=batch.producer_id,
        producer_epoch=batch.producer_epoch,
        base_sequence=batch.base_sequence,
    )
    return bytes(with_header(header, built.view[HEADER_BYTES:]).view)


class RecordHandle:
    """One record that was sent: await it for its place in the log.

    ``await handle`` returns :class:`RecordMetadata`, or raises what the delivery failed with. It
    may be awaited by any number of tasks, or by none. Cancelling who waits does not take the
    record back.
    """

    __slots__ = ("_index", "_timestamp_ms", "batch")

    def __init__(self, batch: ProducerBatch, index: int, timestamp_ms: int) -> None:
        self.batch = batch
        """What the record travels in; of interest to the client itself."""
        self._index = index
        self._timestamp_ms = timestamp_ms

    def __await__(self) -> Generator[object, None, RecordMetadata]:
        if self.batch.outcome is None:
            yield from wait_for_outcome(self.batch).__await__()
        return self.result()

    @property
    def topic_partition(self) -> TopicPartition:
        """Where the record goes; known from the start."""
        return self.batch.topic_partition

    def done(self) -> bool:
        """Whether the record was acknowledged or has failed."""
        return self.batch.outcome is not None

    def result(self) -> RecordMetadata:
        """Return the record's place in the log, or raise what its delivery failed with.

        Raises :exc:`asyncio.InvalidStateError` while neither has happened.
        """
        first_index, outcome = self._outcome()
        if isinstance(outcome, OttlaError):
            # Raised for every record of the batch: without this, each adds to one traceback.
            raise outcome.with_traceback(None)
        base_offset, log_append_time_ms = outcome
        topic, partition = self.batch.topic_partition
        return RecordMetadata(
            topic,
            partition,
            base_offset + self._index - first_index if base_offset >= 0 else -1,
            log_append_time_ms if log_append_time_ms >= 0 else self._timestamp_ms,
        )

    def exception(self) -> OttlaError | None:
        """Return what the delivery failed with, ``None`` if it succeeded.

        Raises :exc:`asyncio.InvalidStateError` while neither has happened.
        """
        _, outcome = self._outcome()
        return outcome if isinstance(outcome, OttlaError) else None

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Have the event loop call ``callback(handle)`` once the record is settled.

        At once, i.e. in the loop's next round, if it is settled already. What the callback raises
        goes to the loop's exception handler.
        """
        loop = asyncio.get_running_loop()
        if self.batch.outcome is not None:
            loop.call_soon(callback, self)
        else:
            self.batch.listeners.append(lambda: loop.call_soon(callback, self))

    def _outcome(self) -> tuple[int, Appended | OttlaError]:
        """Return what the record's batch, or part of it, ended with, and where that begins."""
        outcome = self.batch.outcome
        if outcome is None:
            raise asyncio.InvalidStateError("the record is still on its way; await the handle")
        if isinstance(outcome, SplitOutcome):
            return outcome.at(self._index)
        return 0, outcome

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._index} of {self.batch!r}>"


async def wait_for_outcome(batch: ProducerBatch) -> None:
    """Wait until the batch has an outcome."""
    waiter = asyncio.get_running_loop().create_future()

    def wake() -> None:
        if not waiter.done():
            waiter.set_result(None)

    batch.listeners.append(wake)
    try:
        await waiter
    finally:
        if batch.outcome is None:
            batch.listeners.remove(wake)
