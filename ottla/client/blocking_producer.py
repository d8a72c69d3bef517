"""The producer for programs without an event loop.

``send`` does its part on the calling thread -- it puts the record into a batch, under a lock -- and
leaves the rest to the event loop's thread. So it costs little more than the asyncio producer's.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Iterable
from typing import Any, Self, Unpack

from ottla.client.accumulator import ProducerStatistics
from ottla.client.blocking_client import BlockingClient
from ottla.client.delivery import RecordHandle, RecordMetadata, wait_for_outcome
from ottla.client.errors import BufferFullError
from ottla.client.loop_thread import LoopThread
from ottla.client.producer_session import ProducerSession
from ottla.client.serialization import check_timestamp, checked_headers, to_bytes
from ottla.client.settings import ProducerOptions, ProducerSettings, read_settings
from ottla.model.errors import OttlaError
from ottla.record.builder import Headers


class DeliveryHandle(RecordHandle):
    """One record that was sent: ask it for its place in the log."""

    __slots__ = ()

    def result(self, timeout_s: float | None = None) -> RecordMetadata:
        """Wait for the record's place in the log, or raise what its delivery failed with.

        Raises :exc:`TimeoutError` after ``timeout_s``; the record is still on its way then.
        """
        self._wait(timeout_s)
        return super().result()

    def get(self, timeout_s: float | None = None) -> RecordMetadata:
        """Do what :meth:`result` does, under the name that kafka-python gives it."""
        return self.result(timeout_s)

    def exception(self, timeout_s: float | None = None) -> OttlaError | None:
        """Wait until the record is settled; return what its delivery failed with, if it did.

        Raises :exc:`TimeoutError` after ``timeout_s``.
        """
        self._wait(timeout_s)
        return super().exception()

    def add_done_callback(self, callback: Callable[[Self], object]) -> None:
        """Have ``callback(handle)`` called on the event loop's thread once the record is settled.

        It must not wait for anything, least of all for a blocking client.
        """
        add = super().add_done_callback
        thread = LoopThread.acquire()
        try:
            thread.call_soon(add, callback)
        finally:
            thread.release()

    def _wait(self, timeout_s: float | None) -> None:
        if self.batch.outcome is None:
            thread = LoopThread.acquire()
            try:
                thread.call(wait_for_outcome(self.batch), timeout_s=timeout_s)
            finally:
                thread.release()


class Producer(BlockingClient):
    """Sends records; see :class:`ottla.client.Producer` for what it promises.

    Args:
        bootstrap_servers: ``host:port`` of one broker or several, by their gRPC ports.
        **options: the settings of :class:`~ottla.client.settings.ProducerSettings`.

    May be used by several threads at the same time. One that is not stopped is stopped when the
    interpreter exits, so that what was sent is not lost.
    """

    def __init__(
        self,
        bootstrap_servers: str | Iterable[str] = "127.0.0.1:7092",
        **options: Unpack[ProducerOptions],
    ) -> None:
        super().__init__(start=self._open, stop=self._close)
        self._settings = read_settings(ProducerSettings, bootstrap_servers, options)
        self._key_serializer = self._settings.key_serializer
        self._value_serializer = self._settings.value_serializer
        self._session: ProducerSession[DeliveryHandle] | None = None

    def send(
        self,
        topic: str,
        value: Any = None,  # noqa: ANN401  # whatever value_serializer takes
        *,
        key: Any = None,  # noqa: ANN401  # whatever key_serializer takes
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> DeliveryHandle:
        """Put a record on its way; ask the handle that is returned whether it arrived.

        Waits only while the buffer is full, or until the partitions of a new topic are known, at
        most ``max_block_ms``. Arguments and errors are those of :meth:`ottla.client.Producer.send`.
        """
        session = self._usable()
        accumulator = session.accumulator
        queues = accumulator.topic(topic)
        if queues is None:
            queues = self._call(session.load_topic, topic)
        if key is not None or self._key_serializer is not None:
            key = to_bytes("key", key, self._key_serializer)
        if type(value) is not bytes or self._value_serializer is not None:
            value = to_bytes("value", value, self._value_serializer)
        if headers:
            headers = checked_headers(headers)
        if timestamp_ms is None:
            timestamp_ms = time.time_ns() // 1_000_000
        else:
            check_timestamp(timestamp_ms)
        try:
            with accumulator.lock:
                handle = accumulator.append(
                    queues,
                    key,
                    value,
                    headers=headers,
                    partition=partition,
                    timestamp_ms=timestamp_ms,
                )
        except BufferFullError:
            handle = self._call(
                session.append_when_there_is_space,
                queues,
                key,
                value,
                headers=headers,
                partition=partition,
                timestamp_ms=timestamp_ms,
            )
        return handle

    def send_and_wait(
        self,
        topic: str,
        value: Any = None,  # noqa: ANN401  # whatever value_serializer takes
        *,
        key: Any = None,  # noqa: ANN401  # whatever key_serializer takes
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> RecordMetadata:
        """Send a record, without letting it linger, and wait for its place in the log.

        Raises what :meth:`send` raises and what the delivery failed with.
        """
        handle = self.send(
            topic,
            value,
            key=key,
            headers=headers,
            partition=partition,
            timestamp_ms=timestamp_ms,
        )
        self._call_nowait(self._usable().send_soon, handle)
        return handle.result()

    def flush(self, timeout_s: float | None = None) -> None:
        """Send what is buffered and wait until all of it is settled.

        Raises nothing for records that failed: their handles do, and :meth:`statistics` counts
        them.

        Raises:
            TimeoutError: not all was settled after ``timeout_s``.
            OttlaError: the producer has failed.
        """
        self._running().call(self._usable().flush(), timeout_s=timeout_s)
        self._usable()

    def partitions_for(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions; raises as :meth:`send`."""
        session = self._usable()
        queues = session.accumulator.topic(topic) or self._call(session.load_topic, topic)
        return set(queues.partitions)

    def statistics(self) -> ProducerStatistics:
        """Return what was done so far."""
        return self._usable().accumulator.statistics()

    def _usable(self) -> ProducerSession[DeliveryHandle]:
        session = self._session
        if session is None:
            self.start()
            session = self._session
            assert session is not None
        if session.failure is not None:
            raise session.failure.with_traceback(None)
        return session

    async def _open(self) -> None:
        self._session = await ProducerSession.start(self._settings, DeliveryHandle)
        atexit.register(self.stop)

    async def _close(self) -> None:
        atexit.unregister(self.stop)
        session, self._session = self._session, None
        if session is not None:
            await session.stop()
