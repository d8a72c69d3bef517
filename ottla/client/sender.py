"""Gets what the accumulator holds to the brokers that lead the partitions.

One task a broker (a :class:`~ottla.client.produce_stream.ProduceStream`), opened when first
needed. Everything between is done by :meth:`Sender.step`, an ordinary function that runs on the
event loop whenever something happened or a time has come: mark what is due, fail what is too
late, and offer each queue that can send to the stream of its leader.

A queue is not offered
    * while its partition has no known leader: new metadata brings it back;
    * while it backs off after a failure: a timer brings it back, or a leader that is newer than
      the one that failed, whichever comes first;
    * while its batches are in flight on another stream, whose broker led before: the answers, or
      the end of that stream, bring it back. A broker that hangs gives neither, so they are waited
      for ``ANSWER_GRACE_MS`` only: then the batches are taken back, and sent again under the
      same numbers to the leader there is now. It has them already, or the old one's do not count.

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
from ottla.model.errors import NotLeaderOrFollowerError, OttlaError

_log = logging.getLogger(__name__)

ANSWER_GRACE_MS: Final = 50
"""How long a broker that leads no more may take to say so. One that lives does when it hears of it,
and all that it has not answered by then it never will as a leader. No longer than the settings'
``retry_backoff_ms``."""

LEADER_BACKOFF_MS: Final = 10
"""Before the first retry after "not the leader": two brokers hear of an election within a few
milliseconds of each other, and the client may hear of it in between."""

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
        self._backing_off: set[PartitionQueue] = set()
        self._leaving: set[PartitionQueue] = set()
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
            for queue in [*waiting, *filter(self._has_newer_leader, self._backing_off)]:
                self._route_now(queue)
            self._leave_old_leaders()

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
        queue.leader = leader
        stream.offer(queue)

    def _route_now(self, queue: PartitionQueue) -> None:
        """Route a queue that may be backing off."""
        queue.retry_at_ms = 0
        self._backing_off.discard(queue)
        self._route(queue)

    def _has_newer_leader(self, queue: PartitionQueue) -> bool:
        """Whether another leader was elected since the queue was last sent from."""
        picture = self._metadata.picture
        return picture.newer_leader(queue.topic_partition, queue.leader) is not None

    def _leave_old_leaders(self) -> None:
        """Take queues from the streams to brokers that lead their partitions no more."""
        for broker_id, stream in self._streams.items():
            for queue in stream.queues() - self._leaving:
                leader = self._metadata.picture.newer_leader(queue.topic_partition, queue.leader)
                if leader is None or leader.broker_id == broker_id:
                    continue
                stream.withdraw(queue)
                if queue.in_flight_count:
                    self._leaving.add(queue)
                    grace_ms = min(ANSWER_GRACE_MS, self._settings.retry_backoff_ms)
                    self._loop.call_later(grace_ms / 1000, self._leave, queue, stream)
                else:
                    self._accumulator.touched.append(queue)
        if self._accumulator.touched:
            self.wake()

    def _leave(self, queue: PartitionQueue, stream: ProduceStream) -> None:
        """Wait no longer for answers of a broker that leads a partition no more."""
        self._leaving.discard(queue)
        if self.failure is not None or queue.stream is not stream or not queue.in_flight_count:
            return
        with self._accumulator.lock:
            stream.withdraw(queue)
            for batch in stream.take_back(queue):
                queue.lost(
                    batch,
                    NotLeaderOrFollowerError(
                        f"{stream.address} leads {queue.topic_partition} no more, and does not "
                        "say what became of its batches"
                    ),
                )
            self._route_now(queue)

    def _open_stream(self, broker_id: int) -> ProduceStream:
        stream = ProduceStream(
            self._connections.to(self._metadata.picture.brokers[broker_id]),
            self._settings,
            lock=self._accumulator.lock,
            answered=self._answered,
            doubted=self._metadata.request_refresh,
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
        unanswered = [pair for sent in stream.unanswered for pair in sent.open_batches()]
        suspects = sum(len(sent.batches) for sent in stream.unanswered)
        left = stream.cautious_requests
        if not reason.retriable and suspects > 1:
            # One of them was refused; send them one by one to see which.
            left = suspects
        self._cautious_requests[broker_id] = left
        for queue, batch in unanswered:
            queues.add(queue)
            if suspects == 1 and not reason.retriable:
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
        initial_ms = self._settings.retry_backoff_ms
        if error.refreshes_metadata:
            self._metadata.request_refresh()
            initial_ms = min(initial_ms, LEADER_BACKOFF_MS)
        self._back_off(queue, queue.failures - 1, initial_ms)

    def _back_off(
        self, queue: PartitionQueue, failures: int, initial_ms: int | None = None
    ) -> None:
        """Route the queue again after a delay, or now if a newer leader is known."""
        if self._has_newer_leader(queue):
            self._route_now(queue)
            return
        delay_ms = backoff_delay_ms(
            max(0, failures),
            initial_ms or self._settings.retry_backoff_ms,
            self._settings.retry_backoff_max_ms,
            self._random,
        )
        self._backing_off.add(queue)
        queue.retry_at_ms = self._loop.time() * 1000 + delay_ms
        self._loop.call_later(delay_ms / 1000, self._end_back_off, queue)

    def _end_back_off(self, queue: PartitionQueue) -> None:
        # A millisecond of tolerance: timers may ring a little early. A later failure has set a
        # later time, and a timer of its own.
        if self.failure is None and queue.retry_at_ms <= self._loop.time() * 1000 + 1:
            with self._accumulator.lock:
                self._route_now(queue)

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
