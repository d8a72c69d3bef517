"""One ProduceStream to one broker: requests out, answers in, until it breaks.

The broker appends requests in the order sent and answers in that order, so the oldest
unanswered request is always the one that an answer belongs to. A stream lives until the first
thing that goes wrong with it as a whole; what was not answered then is of unknown fate, and the
sender opens another stream. A partition that has another leader by then can be taken back before:
whatever this broker still answers for it does not count any more.

Nothing is written ahead: a request is put together from what is ready at the moment when the
stream can take one. So batches keep filling while the broker, or the network, is busy.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Final

from ottla.client.connections import BrokerConnection
from ottla.client.delivery import Appended, ProducerBatch
from ottla.client.errors import BrokerUnavailableError
from ottla.client.partition_queue import PartitionQueue
from ottla.client.rpc import error_from_message
from ottla.client.settings import ProducerSettings
from ottla.client.stream_life import StreamLife, write
from ottla.model.errors import OttlaError, RequestTimedOutError
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX
from ottla.v1 import log_pb2

if TYPE_CHECKING:
    import grpc

    ProduceCall = grpc.aio.StreamStreamCall[log_pb2.ProduceRequest, log_pb2.ProduceResponse]

BROKER_PATIENCE: Final = 0.8
"""Of the request time-out: what the broker is given to answer, so that its answer, which says more
than silence, still arrives in time."""


SLOW_ANSWER_MS: Final = 500
"""An answer that takes longer may never come: time to ask another broker who leads now. Disks that
take so long to sync are rare, and asking is cheap."""

_ENTRY_BYTES: Final = 32
"""Tags and lengths of one partition in a request, at most; its name comes on top."""


@dataclass(frozen=True, slots=True)
class SentRequest:
    """A request that has no answer yet."""

    correlation_id: int
    sent_ms: float
    batches: tuple[tuple[PartitionQueue, ProducerBatch], ...]
    taken_back: set[PartitionQueue] = field(default_factory=set)
    """Partitions whose answer does not count."""

    def open_batches(self) -> Iterator[tuple[PartitionQueue, ProducerBatch]]:
        """Return the batches whose answers count."""
        return (pair for pair in self.batches if pair[0] not in self.taken_back)


class ProduceStream:
    """See above. Run :meth:`run` as a task.

    Args:
        connection: to the broker.
        settings: sizes and times.
        lock: guards the queues.
        answered: called, with the lock held, for each partition answered:
            ``(queue, error or None)``; the queue knows already.
        doubted: called every now and then while an answer is overdue.
        cautious_requests: send so many requests one at a time, with one batch each: the last
            stream was refused as a whole, and this way it becomes clear because of which batch.
    """

    def __init__(
        self,
        connection: BrokerConnection,
        settings: ProducerSettings,
        *,
        lock: Lock,
        answered: Callable[[PartitionQueue, OttlaError | None], None],
        doubted: Callable[[], None],
        cautious_requests: int,
    ) -> None:
        self.offered: deque[PartitionQueue] = deque()
        """Queues with something to send."""
        self.unanswered: deque[SentRequest] = deque()
        self.answered_count = 0
        self.cautious_requests = cautious_requests
        self.address = connection.address
        self._connection = connection
        self._settings = settings
        self._lock = lock
        self._answered = answered
        self._doubted = doubted
        self._wake = asyncio.Event()
        self._correlation_id = 0
        self._life = StreamLife(connection.address)

    def offer(self, queue: PartitionQueue) -> None:
        """Send what the queue has, as soon as possible."""
        assert not queue.is_offered
        queue.is_offered = True
        self.offered.append(queue)
        self._wake.set()

    def withdraw(self, queue: PartitionQueue) -> None:
        """Send nothing more of a queue; what is in flight stays."""
        if queue in self.offered:
            self.offered.remove(queue)
            queue.is_offered = False

    def take_back(self, queue: PartitionQueue) -> list[ProducerBatch]:
        """Return the batches of a queue that are in flight; their answers count no more."""
        taken = []
        for sent in self.unanswered:
            taken += [batch for other, batch in sent.open_batches() if other is queue]
            sent.taken_back.add(queue)
        return taken

    def queues(self) -> set[PartitionQueue]:
        """Return those that are offered, or have something in flight."""
        queues = set(self.offered)
        for sent in self.unanswered:
            queues.update(queue for queue, _ in sent.open_batches())
        return queues

    async def run(self) -> OttlaError:
        """Send and receive until the stream breaks; return why it did."""
        call = self._connection.log.ProduceStream(request_iterator=None)

        async def write_requests() -> None:
            await self._write(call)

        return await self._life.run(call, self._receive, (write_requests, self._watch))

    # --- Out ------------------------------------------------------------------------

    async def _write(self, call: ProduceCall) -> None:
        while True:
            request = self._next_request()
            if request is None:
                self._wake.clear()
                await self._wake.wait()
                continue
            if not await write(call, request):
                return

    def _next_request(self) -> log_pb2.ProduceRequest | None:
        if self.cautious_requests and self.unanswered:
            return None
        with self._lock:
            batches = self._collect()
        if not batches:
            return None
        self._correlation_id += 1
        request = log_pb2.ProduceRequest(
            acks=self._settings.required_acks,
            timeout_ms=max(1, int(self._settings.request_timeout_ms * BROKER_PATIENCE)),
            correlation_id=self._correlation_id,
        )
        for queue, batch in batches:
            topic, partition = queue.topic_partition
            request.partitions.add(topic=topic, partition=partition, batches=batch.seal())
        self.unanswered.append(
            SentRequest(
                self._correlation_id, asyncio.get_running_loop().time() * 1000, tuple(batches)
            )
        )
        return request

    def _collect(self) -> list[tuple[PartitionQueue, ProducerBatch]]:
        """Take one batch from each queue, in turn, until the request is full."""
        batches: list[tuple[PartitionQueue, ProducerBatch]] = []
        again: list[PartitionQueue] = []
        room_bytes = self._settings.max_request_size
        batches_max = 1 if self.cautious_requests else PARTITIONS_PER_REQUEST_MAX
        while self.offered and len(batches) < batches_max:
            if batches and room_bytes < self._settings.batch_size:
                break
            queue = self.offered.popleft()
            queue.is_offered = False
            queue.move_to(self)
            batch = queue.next_to_send()
            if batch is not None:
                batches.append((queue, batch))
                room_bytes -= batch.reserved_bytes + _ENTRY_BYTES + len(queue.topic_partition.topic)
                # A request names a partition once.
                again.append(queue)
        for queue in again:
            if queue.can_send():
                queue.is_offered = True
                self.offered.append(queue)
        return batches

    # --- In -------------------------------------------------------------------------

    def _receive(self, response: log_pb2.ProduceResponse) -> None:
        if not self.unanswered or not _answers(response, self.unanswered[0]):
            self._life.end(self._unavailable("answered a request that was not the next one"))
            return
        sent = self.unanswered.popleft()
        self.answered_count += 1
        with self._lock:
            for (queue, batch), result in zip(sent.batches, response.partitions, strict=True):
                if queue in sent.taken_back:
                    continue
                if result.error.code:
                    error = error_from_message(result.error)
                    will_repeat = queue.refused(batch, error)
                    self._answered(queue, error if will_repeat else None)
                else:
                    queue.acknowledged(
                        batch, Appended(result.base_offset, result.log_append_time_ms)
                    )
                    self._answered(queue, None)
        if self.cautious_requests:
            self.cautious_requests -= 1
            self._wake.set()

    # --- Time -----------------------------------------------------------------------

    async def _watch(self) -> None:
        """End the stream if the oldest request waits for longer than the request time-out."""
        loop = asyncio.get_running_loop()
        timeout_ms = self._settings.request_timeout_ms
        while True:
            now_ms = loop.time() * 1000
            oldest_ms = self.unanswered[0].sent_ms if self.unanswered else now_ms
            if oldest_ms + timeout_ms <= now_ms:
                self._life.end(
                    RequestTimedOutError(
                        f"{self._connection.address} did not answer within {timeout_ms / 1000:g} s"
                    )
                )
                return
            pause_ms = oldest_ms + SLOW_ANSWER_MS - now_ms
            if pause_ms <= 0:
                self._doubted()
                pause_ms = SLOW_ANSWER_MS
            await asyncio.sleep(min(pause_ms, oldest_ms + timeout_ms - now_ms) / 1000)

    def _unavailable(self, what: str) -> BrokerUnavailableError:
        return BrokerUnavailableError(f"the broker at {self._connection.address} {what}")


def _answers(response: log_pb2.ProduceResponse, sent: SentRequest) -> bool:
    """Whether this is the answer to that: the same number, the same partitions in order."""
    if response.correlation_id != sent.correlation_id:
        return False
    return [(each.topic, each.partition) for each in response.partitions] == [
        queue.topic_partition for queue, _ in sent.batches
    ]
