"""Gets what the accumulator holds to the brokers that lead the partitions.

One task a broker (a :class:`~ottla.client.produce_stream.ProduceStream`), opened when first
needed. Everything between is done by :meth:`Sender.step`, an ordinary function that runs on the
event loop whenever something happened or a time has come: mark what is due, fail what is too
late, and offer each queue that can send to the stream of its leader.

A queue is not offered
    * while its partition has no known leader: new metadata brings it back;
    * while it backs off after a failure: a timer brings it back;
    * while its batches are in flight on another stream, whose broker led before: the answers, or
      the end of that stream, bring it back.

Nothing dies in silence: if a task ends in a way that is not foreseen, the producer fails, every
record on its way with it, and the next call to it raises.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any, Final

from ottla.client.accumulator import Accumulator
from ottla.client.backoff import backoff_delay_ms
from ottla.client.connections import Connections
from ottla.client.errors import AccessDeniedError
from ottla.client.metadata import MetadataCache
from ottla.client.partition_queue import PartitionQueue
from ottla.client.produce_stream import ProduceStream
from ottla.client.settings import ProducerSettings
from ottla.model.errors import OttlaError

_log = logging.getLogger(__name__)

PRODUCE_STREAM_ENDED: Final = "produce_stream_ended"
"""Log event, with the broker's id and the reason. The batches in flight are sent again."""


class Sender:
    """See above. Belongs to the event loop that runs when :meth:`start` is called."""

    def __init__(
        self,
        accumulator: Accumulator[Any],
        connections: Connections,
        metadata: MetadataCache,
        settings: ProducerSettings,
    ) -> None:
        self.failure: OttlaError | None = None
        """Why the producer can do nothing more."""
        self._accumulator = accumulator
        self._connections = connections
        self._metadata = metadata
        self._settings = settings
        self._streams: dict[int, ProduceStream] = {}
        self._cautious_requests: dict[int, int] = {}
        self._broker_failures: dict[int, int] = {}
        self._leaderless: set[PartitionQueue] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._random = random.SystemRandom()
        self._loop = asyncio.get_running_loop()
        self._is_woken = False

    def spawn(self, work: Coroutine[Any, Any, object], *, name: str) -> None:
        """Run ``work`` as a task whose crash is the producer's."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def wake(self) -> None:
        """Have :meth:`step` run soon. May be called on any thread."""
        if not self._is_woken:
            self._is_woken = True
            self._loop.call_soon_threadsafe(self.step)

    def step(self) -> None:
        """Do what has become possible or necessary."""
        # Cleared first: what comes in from now on wakes us again.
        self._is_woken = False
        if self.failure is not None:
            return
        now_ms = self._loop.time() * 1000
        accumulator = self._accumulator
        with accumulator.lock:
            accumulator.expire(now_ms)
            accumulator.make_due(now_ms)
            touched, accumulator.touched = accumulator.touched, []
            for queue in touched:
                self._route(queue)
            next_ms = accumulator.next_due_ms()
        self._set_timer(next_ms)

    def metadata_updated(self) -> None:
        """There are new leaders, or new partitions."""
        accumulator = self._accumulator
        picture = self._metadata.picture
        with accumulator.lock:
            for name in accumulator.topic_names():
                topic = picture.topics.get(name)
                if topic is not None and topic.error is None:
                    accumulator.update_topic(
                        name,
                        partition_count=len(topic.partitions),
                        available=picture.available_partitions(name),
                    )
            waiting, self._leaderless = self._leaderless, set()
            for queue in waiting:
                self._route(queue)

    def fail(self, error: OttlaError) -> None:
        """End the producer because of ``error``: every record on its way fails with it."""
        if self.failure is not None:
            return
        self.failure = error
        # First, so that nobody answers for batches that have failed.
        for task in self._tasks:
            task.cancel()
        with self._accumulator.lock:
            self._accumulator.fail_everything(error)

    async def stop(self) -> None:
        """End all tasks; what is not settled by now never will be."""
        if self._timer is not None:
            self._timer.cancel()
        tasks = list(self._tasks)
        self._tasks.clear()
        for task in tasks:
            task.remove_done_callback(self._task_ended)
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- Routing ----------------------------------------------------------------------

    def _route(self, queue: PartitionQueue) -> None:
        """Offer a queue to the stream of its leader, unless something must happen before."""
        if queue.is_offered or not queue.can_send():
            return
        if queue.retry_at_ms > self._loop.time() * 1000:
            return
        leader = self._metadata.picture.leader_of(queue.topic_partition)
        if leader is None:
            queue.hindrance = queue.hindrance or self._metadata.picture.why_no_leader(
                queue.topic_partition
            )
            self._leaderless.add(queue)
            self._metadata.request_refresh()
            return
        stream = self._streams.get(leader.broker_id)
        if stream is None:
            stream = self._open_stream(leader.broker_id)
        if queue.in_flight_count and queue.stream is not stream:
            return
        stream.offer(queue)

    def _open_stream(self, broker_id: int) -> ProduceStream:
        stream = ProduceStream(
            self._connections.to(self._metadata.picture.brokers[broker_id]),
            self._settings,
            lock=self._accumulator.lock,
            answered=self._answered,
            cautious_requests=self._cautious_requests.pop(broker_id, 0),
        )
        self._streams[broker_id] = stream
        self.spawn(self._run_stream(broker_id, stream), name=f"ottla-produce-{broker_id}")
        return stream

    async def _run_stream(self, broker_id: int, stream: ProduceStream) -> None:
        reason = await stream.run()
        _log.info(PRODUCE_STREAM_ENDED, extra={"broker_id": broker_id, "reason": str(reason)})
        del self._streams[broker_id]
        if stream.answered_count:
            self._broker_failures[broker_id] = 0
        failures = self._broker_failures.get(broker_id, 0)
        self._broker_failures[broker_id] = failures + 1
        if isinstance(reason, AccessDeniedError):
            self.fail(reason)
            return
        self._metadata.request_refresh()
        with self._accumulator.lock:
            queues = self._take_back(broker_id, stream, reason)
            for queue in queues:
                self._back_off(queue, failures)

    def _take_back(
        self, broker_id: int, stream: ProduceStream, reason: OttlaError
    ) -> set[PartitionQueue]:
        """Tell the queues of a stream that ended what became of their batches."""
        queues = set(stream.offered)
        for queue in queues:
            queue.is_offered = False
        unanswered = [pair for sent in stream.unanswered for pair in sent.batches]
        left = stream.cautious_requests
        if not reason.retriable and len(unanswered) > 1:
            # One of them was refused; send them one by one to see which.
            left = len(unanswered)
        self._cautious_requests[broker_id] = left
        for queue, batch in unanswered:
            queues.add(queue)
            if len(unanswered) == 1 and not reason.retriable:
                # The broker refused the one request it had, so it is clear which it means.
                queue.refused(batch, reason)
            else:
                queue.lost(batch, reason)
        return queues

    # --- Outcomes ---------------------------------------------------------------------

    def _answered(self, queue: PartitionQueue, error: OttlaError | None) -> None:
        """A broker answered for a queue; with ``error``, its batch is to be sent again."""
        if error is None:
            self._route(queue)
            return
        if error.refreshes_metadata:
            self._metadata.request_refresh()
        self._back_off(queue, queue.failures - 1)

    def _back_off(self, queue: PartitionQueue, failures: int) -> None:
        """Route the queue again after a delay."""
        delay_ms = backoff_delay_ms(
            max(0, failures),
            self._settings.retry_backoff_ms,
            self._settings.retry_backoff_max_ms,
            self._random,
        )
        queue.retry_at_ms = self._loop.time() * 1000 + delay_ms
        self._loop.call_later(delay_ms / 1000, self._end_back_off, queue)

    def _end_back_off(self, queue: PartitionQueue) -> None:
        # A millisecond of tolerance: timers may ring a little early. A later failure has set a
        # later time, and a timer of its own.
        if self.failure is None and queue.retry_at_ms <= self._loop.time() * 1000 + 1:
            with self._accumulator.lock:
                queue.retry_at_ms = 0
                self._route(queue)

    def _set_timer(self, next_ms: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if next_ms is not None:
            self._timer = self._loop.call_at(next_ms / 1000, self.step)

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        crash = task.exception()
        if crash is None:
            return
        if isinstance(crash, OttlaError):
            self.fail(crash)
            return
        error = OttlaError(
            f"the producer's task {task.get_name()!r} crashed ({crash!r}); this is a bug in the "
            "client, please report it"
        )
        error.__cause__ = crash
        self.fail(error)
