"""Send records to topics.

    async with Producer("127.0.0.1:7092") as producer:
        metadata = await producer.send_and_wait("web", b"hello", key=b"greeting")

        for line in lines:
            await producer.send("web", line)      # waits only if the buffer is full
        await producer.flush()                    # waits until all are acknowledged

What is promised, with the defaults: a record whose handle returned its place is on every
in-sync replica and synced to disk there; it is in the log once; and records of one partition are
in the log in the order in which they were sent -- through lost connections, broker restarts
and changes of leader. A record whose handle raised is not promised either way.

``send`` and its kind cost about a microsecond because they only put the record into a batch; see
:mod:`ottla.client.accumulator` and :mod:`ottla.client.sender` for the rest of its way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, Unpack

from ottla.client.accumulator import ProducerStatistics
from ottla.client.delivery import RecordHandle, RecordMetadata
from ottla.client.errors import BufferFullError, ClientClosedError, TopicNotLoadedError
from ottla.client.producer_session import ProducerSession
from ottla.client.serialization import check_timestamp, checked_headers, to_bytes
from ottla.client.settings import ProducerOptions, ProducerSettings, read_settings
from ottla.model.errors import OttlaError
from ottla.record.builder import Headers


class Producer:
    """Sends records; see the module for what it promises.

    Args:
        bootstrap_servers: ``host:port`` of one broker or several, by their gRPC ports.
        **options: the settings of :class:`~ottla.client.settings.ProducerSettings`.

    Raises:
        InvalidConfigError: a setting has a value that makes no sense.
        TypeError: there is no such setting.

    A producer belongs to the event loop that runs when it is started. All its methods may be
    called by any number of tasks of that loop at the same time.
    """

    def __init__(
        self,
        bootstrap_servers: str | Iterable[str] = "127.0.0.1:7092",
        **options: Unpack[ProducerOptions],
    ) -> None:
        self._settings = read_settings(ProducerSettings, bootstrap_servers, options)
        self._key_serializer = self._settings.key_serializer
        self._value_serializer = self._settings.value_serializer
        self._session: ProducerSession[RecordHandle] | None = None
        self._is_stopped = False

    async def start(self) -> None:
        """Connect, and get a producer id from the cluster unless idempotence is off.

        No error if started before.

        Raises:
            NoBrokersAvailableError: no broker answered within ``connect_timeout_ms``.
            AccessDeniedError: a broker does not let this client in.
            InvalidConfigError: a TLS file cannot be read.
            ClientClosedError: the producer was stopped; make a new one.
        """
        if self._session is not None:
            return
        if self._is_stopped:
            raise self._why_not()
        self._session = await ProducerSession.start(self._settings, RecordHandle)

    async def stop(self) -> None:
        """Send what is buffered, wait for the acknowledgements, and disconnect.

        Takes ``delivery_timeout_ms`` at most. Nothing can be sent afterwards. No error if
        stopped before.
        """
        session, self._session = self._session, None
        self._is_stopped = True
        if session is not None:
            await session.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    # --- Sending ----------------------------------------------------------------------

    async def send(
        self,
        topic: str,
        value: Any = None,  # noqa: ANN401  # whatever value_serializer takes
        *,
        key: Any = None,  # noqa: ANN401  # whatever key_serializer takes
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> RecordHandle:
        """Put a record on its way; await the handle that is returned to know that it arrived.

        Waits only while the buffer is full, or until the partitions of a new topic are known, at
        most ``max_block_ms``.

        Args:
            topic: where to.
            value: what; ``None`` is a tombstone on compacted topics.
            key: records of equal keys go to one partition.
            headers: pairs of a name and bytes or ``None``; names may repeat.
            partition: where to, instead of what the partitioner chooses.
            timestamp_ms: milliseconds since 1970, instead of now.

        Raises:
            BufferFullError: the buffer was full for ``max_block_ms``.
            MessageTooLargeError: the record is larger than ``max_request_size``.
            UnknownTopicOrPartitionError: there is no such topic or partition.
            ClientClosedError: the producer was not started, or was stopped.
            OttlaError: the producer has failed for good; every call raises why.
        """
        session = self._usable()
        accumulator = session.accumulator
        queues = accumulator.topic(topic) or await session.load_topic(topic)
        key = to_bytes("key", key, self._key_serializer)
        value = to_bytes("value", value, self._value_serializer)
        if headers:
            headers = checked_headers(headers)
        if timestamp_ms is None:
            timestamp_ms = time.time_ns() // 1_000_000
        else:
            check_timestamp(timestamp_ms)
        try:
            handle = accumulator.append(
                queues,
                key,
                value,
                headers=headers,
                partition=partition,
                timestamp_ms=timestamp_ms,
            )
        except BufferFullError:
            return await session.append_when_there_is_space(
                queues,
                key,
                value,
                headers=headers,
                partition=partition,
                timestamp_ms=timestamp_ms,
            )
        if accumulator.touched:
            # A batch is ready: let the sender run, or a loop over this would starve it.
            await asyncio.sleep(0)
        return handle

    def send_nowait(
        self,
        topic: str,
        value: Any = None,  # noqa: ANN401  # whatever value_serializer takes
        *,
        key: Any = None,  # noqa: ANN401  # whatever key_serializer takes
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> RecordHandle:
        """Like :meth:`send`, but never waits: for hot loops.

        Let the event loop run now and then (``await producer.wait_for_space()`` does), or nothing
        is ever sent.

        Raises:
            BufferFullError: the buffer is full now; ``await producer.wait_for_space()``.
            TopicNotLoadedError: the topic was not used before; ``await
                producer.partitions_for(topic)`` first.
            OttlaError: as :meth:`send`.
        """
        session = self._session
        if session is None or session.failure is not None:
            raise self._why_not()
        accumulator = session.accumulator
        queues = accumulator.topic(topic)
        if queues is None:
            raise TopicNotLoadedError(
                f"the partitions of topic {topic!r} are not known yet; "
                f"'await producer.partitions_for({topic!r})' before send_nowait"
            )
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
        return accumulator.append(
            queues,
            key,
            value,
            headers=headers,
            partition=partition,
            timestamp_ms=timestamp_ms,
        )

    async def send_and_wait(
        self,
        topic: str,
        value: Any = None,  # noqa: ANN401  # whatever value_serializer takes
        *,
        key: Any = None,  # noqa: ANN401  # whatever key_serializer takes
        headers: Headers = (),
        partition: int | None = None,
        timestamp_ms: int | None = None,
    ) -> RecordMetadata:
        """Send a record and wait until it is acknowledged; return its place in the log.

        Its batch does not linger: it goes as soon as the tasks that are ready have run, so that
        what they send goes with it.

        Raises what :meth:`send` raises, and what awaiting the handle raises:
            DeliveryTimeoutError: not acknowledged within ``delivery_timeout_ms``.
            OttlaError: a broker refused the record.
        """
        handle = await self.send(
            topic,
            value,
            key=key,
            headers=headers,
            partition=partition,
            timestamp_ms=timestamp_ms,
        )
        if self._session is not None:
            self._session.send_soon(handle)
        return await handle

    async def wait_for_space(self) -> None:
        """Let the event loop run, and wait until another batch fits the buffer.

        Raises:
            BufferFullError: none did for ``max_block_ms``.
            OttlaError: the producer has failed, or was stopped.
        """
        await self._usable().wait_for_space()

    async def flush(self) -> None:
        """Send what is buffered, lingering or not, and wait until all of it is settled.

        Records sent meanwhile are not waited for. Raises nothing for records that failed: their
        handles do, and :meth:`statistics` counts them.

        Raises:
            OttlaError: the producer has failed, or was not started.
        """
        await self._usable().flush()
        self._usable()

    # --- Knowing ----------------------------------------------------------------------

    async def partitions_for(self, topic: str) -> set[int]:
        """Return the numbers of a topic's partitions; ``send_nowait`` may be used from then on.

        Raises:
            UnknownTopicOrPartitionError: there is no such topic.
            OttlaError: the producer has failed, or was stopped, or nobody answered.
        """
        session = self._usable()
        queues = session.accumulator.topic(topic) or await session.load_topic(topic)
        return set(queues.partitions)

    def statistics(self) -> ProducerStatistics:
        """Return what was done so far; raises :exc:`ClientClosedError` when not running."""
        if self._session is None:
            raise self._why_not()
        return self._session.accumulator.statistics()

    def __repr__(self) -> str:
        state = "running" if self._session else "closed"
        return f"<Producer of {self._settings.bootstrap_servers!r} {state}>"

    # --- Inside -----------------------------------------------------------------------

    def _usable(self) -> ProducerSession[RecordHandle]:
        session = self._session
        if session is None or session.failure is not None:
            raise self._why_not()
        return session

    def _why_not(self) -> OttlaError:
        if self._session is not None and self._session.failure is not None:
            return self._session.failure.with_traceback(None)
        if self._is_stopped:
            return ClientClosedError("the producer was stopped; make a new one")
        return ClientClosedError(
            "the producer is not running; call 'await producer.start()' first, or use 'async with'"
        )
