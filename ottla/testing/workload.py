"""Applications that write and read while something is being done to the cluster.

Producers send small records, each with a value of its own, at a steady rate; consumers read along.
What was sent, acknowledged and read goes into a :class:`~ottla.testing.history.History`. At the end
one more consumer reads everything from the start, and the history can be checked.

The clients are the ordinary ones with their defaults but for timeouts: a record has
``delivery_timeout_ms`` to be acknowledged, after which its outcome is unknown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Final, Self

from ottla.client import Admin, Consumer, NewTopic, Producer
from ottla.client.delivery import RecordHandle
from ottla.client.errors import DeliveryTimeoutError
from ottla.model.errors import OttlaError, RefusedError
from ottla.model.ids import TopicPartition
from ottla.testing.history import Findings, History, Outcome, Polled, Sent, check

FINAL_READ_TIMEOUT_S: Final = 60.0
"""For a healed cluster to show everything that it acknowledged."""

POLL_MS: Final = 200


class Workload:
    """Producers and consumers of one topic; an asynchronous context manager."""

    def __init__(
        self,
        bootstrap: str,
        *,
        topic: str = "chaos",
        partitions: int = 4,
        replication_factor: int = 3,
        configs: Mapping[str, str] | None = None,
        producers: int = 2,
        consumers: int = 1,
        records_per_second: int = 500,
        delivery_timeout_ms: int = 60_000,
    ) -> None:
        """Prepare; ``records_per_second`` are each producer's."""
        self.history = History()
        self._bootstrap = bootstrap
        self._topic = NewTopic(
            topic,
            partitions=partitions,
            replication_factor=replication_factor,
            configs=dict(configs or {}),
        )
        self._producers = producers
        self._consumers = consumers
        self._interval_s = 1 / records_per_second
        self._delivery_timeout_ms = delivery_timeout_ms
        self._stop_sending = asyncio.Event()
        self._stop_reading = asyncio.Event()
        self._senders: list[asyncio.Task[None]] = []
        self._readers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        async with Admin(bootstrap_servers=self._bootstrap) as admin:
            await admin.create_topics([self._topic])
        self._senders = [
            asyncio.create_task(self._send(number)) for number in range(self._producers)
        ]
        self._readers = [
            asyncio.create_task(self._read(f"consumer {number}"))
            for number in range(self._consumers)
        ]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = [*self._senders, *self._readers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self) -> Findings:
        """Send no more, wait for every outcome, read everything, and check the history."""
        self._stop_sending.set()
        await asyncio.gather(*self._senders)
        self._stop_reading.set()
        await asyncio.gather(*self._readers)
        await self._read_all()
        return check(self.history)

    async def wait_acknowledged(self, *, after_s: float, timeout_s: float) -> float:
        """Wait for an acknowledgement later than ``after_s``, and return how much later.

        Raises :exc:`TimeoutError` if there is none.
        """
        async with asyncio.timeout(timeout_s):
            while not self.history.acknowledged_at_s or (
                self.history.acknowledged_at_s[-1] <= after_s
            ):
                self._check_senders()
                await asyncio.sleep(0.005)
        silence = self.history.silence_after_s(after_s)
        assert silence is not None
        return silence

    async def wait_acknowledged_everywhere(self, *, after_s: float, timeout_s: float) -> float:
        """Wait until every partition acknowledged a record sent after ``after_s``.

        Returns how long after that moment it was. Raises :exc:`TimeoutError` if it never is so, and
        names the partitions that are silent.
        """
        partitions = range(self._topic.partitions)
        latest_s = self.history.acknowledged_of_s
        deadline_s = time.monotonic() + timeout_s
        while silent := [tp for tp in partitions if latest_s.get(tp, 0.0) <= after_s]:
            self._check_senders()
            if time.monotonic() > deadline_s:
                raise TimeoutError(
                    f"partitions {silent} of {self._topic.name} acknowledged nothing sent in the "
                    f"last {time.monotonic() - after_s:.1f} s"
                )
            await asyncio.sleep(0.005)
        return time.monotonic() - after_s

    # --- Writing ---

    async def _send(self, producer_number: int) -> None:
        async with Producer(
            bootstrap_servers=self._bootstrap, delivery_timeout_ms=self._delivery_timeout_ms
        ) as producer:
            number = 0
            handles: list[tuple[int, bytes, RecordHandle]] = []
            due_s = time.monotonic()
            while not self._stop_sending.is_set():
                value = b"p%d-%d" % (producer_number, number)
                partition = number % (self._topic.partitions or 1)
                handle = await producer.send(self._topic.name, value, partition=partition)
                handle.add_done_callback(partial(self._note_time, time.monotonic()))
                handles.append((number, value, handle))
                number += 1
                due_s = max(due_s + self._interval_s, time.monotonic() - 1)
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await producer.flush()
            for sent in handles:
                self.history.sent.append(_sent(producer_number, *sent))

    def _note_time(self, sent_s: float, handle: RecordHandle) -> None:
        if handle.exception() is None:
            partition = handle.topic_partition.partition
            self.history.acknowledged(partition, sent_s=sent_s, at_s=time.monotonic())

    def _check_senders(self) -> None:
        for sender in self._senders:
            if sender.done():
                sender.result()

    # --- Reading ---

    async def _read(self, name: str) -> None:
        async with Consumer(
            self._topic.name, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest"
        ) as consumer:
            while not self._stop_reading.is_set():
                await self._poll(name, consumer)

    async def _read_all(self) -> None:
        async with (
            asyncio.timeout(FINAL_READ_TIMEOUT_S),
            Consumer(
                self._topic.name, bootstrap_servers=self._bootstrap, auto_offset_reset="earliest"
            ) as consumer,
        ):
            ends = dict(await consumer.end_offsets(consumer.assignment()))
            for partition in [tp for tp, end in ends.items() if end == 0]:
                del ends[partition]
            while ends:
                await self._poll("last reader", consumer, ends)

    async def _poll(
        self, name: str, consumer: Consumer, ends: dict[TopicPartition, int] | None = None
    ) -> None:
        for partition, records in (await consumer.getmany(timeout_ms=POLL_MS)).items():
            for record in records:
                assert isinstance(record.value, bytes), record
                self.history.polled.append(
                    Polled(name, partition.partition, record.offset, record.value)
                )
            if ends and records and records[-1].offset + 1 >= ends.get(partition, 0):
                ends.pop(partition, None)


def _sent(producer_number: int, number: int, value: bytes, handle: RecordHandle) -> Sent:
    error = handle.exception()
    offset = -1 if error is not None else handle.result().offset
    outcome = Outcome.ACKNOWLEDGED if error is None else _outcome(error)
    return Sent(producer_number, number, value, handle.topic_partition.partition, offset, outcome)


def _outcome(error: OttlaError) -> Outcome:
    if isinstance(error, RefusedError) and not isinstance(error, DeliveryTimeoutError):
        return Outcome.REFUSED
    return Outcome.UNKNOWN
