"""What a producer has between ``start`` and ``stop``, and the waiting that it does.

Shared by the asyncio producer and the blocking one. Everything here but ``accumulator.append``
belongs to the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Generic

from ottla.client.accumulator import Accumulator, Handle, ProducerIdentity, TopicQueues
from ottla.client.any_broker import call_any_broker
from ottla.client.connections import Connections
from ottla.client.delivery import RecordHandle
from ottla.client.errors import BufferFullError, ClientClosedError
from ottla.client.metadata import MetadataCache
from ottla.client.sender import Sender
from ottla.client.settings import ProducerSettings
from ottla.model.errors import OttlaError
from ottla.model.topic_names import check_topic_name
from ottla.record.builder import Headers, size_upper_bound
from ottla.v1 import log_pb2


@dataclass(frozen=True, slots=True)
class _Waiter:
    """Somebody who waits for memory."""

    needed_bytes: int
    woken: asyncio.Future[None]


class ProducerSession(Generic[Handle]):
    """Connected, and able to send. Made by :meth:`start`."""

    def __init__(self, settings: ProducerSettings, handle_type: type[Handle]) -> None:
        self._settings = settings
        self._handle_type = handle_type
        self._connections = Connections(settings)
        self._metadata = MetadataCache(
            self._connections,
            settings,
            create_topics=settings.allow_auto_create_topics,
            on_update=self._metadata_updated,
        )
        self._space_waiters: deque[_Waiter] = deque()
        self._flush_waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.accumulator = Accumulator(
            settings, wake=self._wake, settled=self._settled, handle_type=handle_type
        )
        self._sender = Sender(self.accumulator, self._connections, self._metadata, settings)

    @classmethod
    async def start(
        cls, settings: ProducerSettings, handle_type: type[Handle]
    ) -> ProducerSession[Handle]:
        """Connect, and get a producer id; raises as :meth:`ottla.client.Producer.start`."""
        session = cls(settings, handle_type)
        try:
            await session._metadata.connect()
            if settings.is_idempotent:
                session.accumulator.identity = await session._init_producer_id()
        except BaseException:
            await session._connections.close()
            raise
        session._sender.spawn(session._metadata.run(), name="ottla-producer-metadata")
        return session

    @property
    def failure(self) -> OttlaError | None:
        """Why nothing can be sent any more; ``None`` as long as something can."""
        return self._sender.failure

    async def stop(self) -> None:
        """Settle everything, then disconnect."""
        try:
            await self.flush()
        finally:
            self._sender.fail(ClientClosedError("the producer was stopped before this was sent"))
            await self._sender.stop()
            await self._connections.close()

    async def load_topic(self, name: str) -> TopicQueues:
        """Return the queues of a topic once its partitions are known."""
        check_topic_name(name)
        leaders = await self._metadata.topic(name, timeout_ms=self._settings.max_block_ms)
        available = self._metadata.picture.available_partitions(name)
        with self.accumulator.lock:
            return self.accumulator.update_topic(
                name, partition_count=len(leaders.partitions), available=available
            )

    async def append_when_there_is_space(
        self,
        topic: TopicQueues,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: Headers,
        partition: int | None,
        timestamp_ms: int,
    ) -> Handle:
        """Append as soon as there is memory, within ``max_block_ms``."""
        deadline_ms = _now_ms() + self._settings.max_block_ms
        needed_bytes = size_upper_bound(key, value, headers)
        while True:
            await self.wait_for_space(needed_bytes, timeout_ms=deadline_ms - _now_ms())
            try:
                with self.accumulator.lock:
                    return self.accumulator.append(
                        topic,
                        key,
                        value,
                        headers=headers,
                        partition=partition,
                        timestamp_ms=timestamp_ms,
                    )
            except BufferFullError:
                # Somebody was faster.
                if _now_ms() >= deadline_ms:
                    raise

    async def wait_for_space(
        self, needed_bytes: int = 0, *, timeout_ms: float | None = None
    ) -> None:
        """Let the event loop run, then wait until a batch fits the buffer.

        Raises :exc:`BufferFullError` after ``timeout_ms`` (``None``: ``max_block_ms``), and what
        ended the producer if it has ended.
        """
        # The sender must get a turn even if there is plenty of space: this is where hot loops
        # come to rest.
        await asyncio.sleep(0)
        if timeout_ms is None:
            timeout_ms = self._settings.max_block_ms
        needed_bytes = max(needed_bytes, self._settings.batch_size)
        if self.failure is None and self.accumulator.available_bytes < needed_bytes:
            waiter = _Waiter(needed_bytes, asyncio.get_running_loop().create_future())
            self._space_waiters.append(waiter)
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    await waiter.woken
            except BaseException as error:
                # The space that was meant for us is the next one's.
                waiter.woken.cancel()
                self._wake_space_waiters()
                if not isinstance(error, TimeoutError):
                    raise
                raise BufferFullError(
                    f"all {self._settings.buffer_memory} bytes of buffer_memory have waited for "
                    f"acknowledgements for max_block_ms ({self._settings.max_block_ms}); send "
                    "less at a time, raise buffer_memory, or look after the brokers"
                ) from None
        if self.failure is not None:
            raise self.failure.with_traceback(None)

    def send_soon(self, handle: RecordHandle) -> None:
        """Do not let the batch of a record linger."""
        with self.accumulator.lock:
            self.accumulator.make_due_now(handle.batch)
        self._sender.wake()

    async def flush(self) -> None:
        """Wait until everything appended so far is settled."""
        accumulator = self.accumulator
        with accumulator.lock:
            last_serial = accumulator.last_serial
            accumulator.make_everything_due()
            oldest = accumulator.oldest_unsettled()
            if oldest is None or oldest > last_serial:
                return
            settled = asyncio.get_running_loop().create_future()
            self._flush_waiters.append((last_serial, settled))
        self._sender.wake()
        await settled

    # --- Called from below ----------------------------------------------------------------

    def _wake(self) -> None:
        self._sender.wake()

    def _metadata_updated(self) -> None:
        self._sender.metadata_updated()

    def _settled(self) -> None:
        """A batch was settled: its memory is free, and somebody may have waited for it."""
        if self._space_waiters:
            self._wake_space_waiters()
        if self._flush_waiters:
            oldest = self.accumulator.oldest_unsettled()
            while self._flush_waiters and (oldest is None or oldest > self._flush_waiters[0][0]):
                _, settled = self._flush_waiters.popleft()
                if not settled.done():
                    settled.set_result(None)

    def _wake_space_waiters(self) -> None:
        """Wake those in front for whom there is space, first come, first served."""
        space_bytes = self.accumulator.available_bytes
        while self._space_waiters:
            waiter = self._space_waiters[0]
            if not waiter.woken.done():
                if waiter.needed_bytes > space_bytes and self.failure is None:
                    return
                space_bytes -= waiter.needed_bytes
                waiter.woken.set_result(None)
            self._space_waiters.popleft()

    async def _init_producer_id(self) -> ProducerIdentity:
        answer = await call_any_broker(
            self._connections,
            self._metadata,
            self._settings,
            lambda broker: broker.log.InitProducerId,
            log_pb2.InitProducerIdRequest(),
        )
        return ProducerIdentity(
            producer_id=answer.producer_id, producer_epoch=answer.producer_epoch
        )


def _now_ms() -> float:
    return time.monotonic() * 1000
