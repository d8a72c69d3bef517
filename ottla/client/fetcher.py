"""Keeps every assigned partition being read from the right broker, and hands records out.

One task a broker (a :class:`~ottla.client.fetch_stream.FetchStream`), one that looks up positions,
one for metadata. :meth:`Fetcher.route` is the one place that decides where a partition belongs; it
is called whenever something about the partition changed, and comes to one of these:

    * on the stream of its leader, or of a follower in the consumer's rack
      (:mod:`ottla.client.read_replicas`);
    * waiting for a leader (new metadata brings it back), or backing off (a timer does, or a leader
      newer than the one that failed, whichever comes first);
    * being looked up: it has no position yet, or the one it had is out of range;
    * paused, or blocked by an error until the application seeks elsewhere.

A follower that fails a partition is left, and what that means is for the leader to say: that an
offset is out of range, that the disk failed. Leader and follower go on where the other ended, so
nothing is read twice or left out.

Credit: ``prefetch_bytes`` is shared evenly between the streams; see
:meth:`~ottla.client.fetch_stream.FetchStream.replenish`. A stream that opens while others are
idle gets its share at once, although theirs, granted when they were fewer, may be larger for a
while: to wait for it could take for ever.

Nothing dies in silence: if a task ends in a way that is not foreseen, the next call to the
consumer raises.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final

from ottla.client.backoff import backoff_delay_ms
from ottla.client.connections import Connections
from ottla.client.consumer_record import ConsumerRecord
from ottla.client.errors import LogTruncatedError
from ottla.client.fetch_stream import FetchStream
from ottla.client.metadata import MetadataCache, patience_ms
from ottla.client.offset_lookup import OffsetLookup
from ottla.client.partition_reader import PartitionReader
from ottla.client.positions import PositionFinder
from ottla.client.read_replicas import ReadReplicas
from ottla.client.rpc import error_from_message
from ottla.client.settings import ConsumerSettings
from ottla.model.errors import (
    CorruptMessageError,
    FencedLeaderEpochError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    OttlaError,
    StorageError,
    UnknownLeaderEpochError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import TopicPartition
from ottla.v1 import log_pb2

_log = logging.getLogger(__name__)

FETCH_STREAM_ENDED: Final = "fetch_stream_ended"
"""Log event, with the broker's id and the reason. Its partitions are read on elsewhere or later."""

CORRUPT_FETCHES_MAX: Final = 3
"""How often in a row a batch may arrive damaged. The damage may be on the wire, so it is fetched
again; if it stays, it is on the broker's disk, and the application is told."""

LEADER_BACKOFF_MS: Final = 10
"""Before the first retry after a broker said that it does not lead, or not yet: brokers hear of an
election within a few milliseconds of each other."""

DISK_FAILURES_GAP_MS: Final = 1_000
"""Two failures that lie further apart than this and the back-off are two stories."""

FOLLOWER_BEHIND_MAX: Final = 4
"""How often in a row a follower may say that it does not have an offset yet. The leader, which sent
us there, believed that it did; with the back-off in between this takes less than 100 ms."""

FOLLOWER_LEFT: Final = "read_replica_left"
"""Log event, with partition, broker and reason: a follower did not serve; the leader is asked."""

_MOVED_BACK: Final = OttlaError("a partition is to be read again from an earlier offset")


class Fetcher:
    """See above. Belongs to the event loop that runs when it is made."""

    def __init__(
        self,
        connections: Connections,
        metadata: MetadataCache,
        settings: ConsumerSettings,
        lookup: OffsetLookup,
    ) -> None:
        self.failure: OttlaError | None = None
        """Why the consumer can do nothing more."""
        self.readers: dict[TopicPartition, PartitionReader] = {}
        self.positions = PositionFinder(lookup, metadata, settings, found=self._position_found)
        self._connections = connections
        self._metadata = metadata
        self._settings = settings
        self._streams: dict[int, FetchStream] = {}
        self._stream_of: dict[PartitionReader, FetchStream] = {}
        self._turns: deque[PartitionReader] = deque()
        self._blocked: set[PartitionReader] = set()
        self._failures: dict[PartitionReader, int] = {}
        self._damaged: dict[PartitionReader, int] = {}
        self._disk_failures: dict[PartitionReader, tuple[float, float]] = {}
        # When the leader first said so, and last, monotonic.
        self._broker_failures: dict[int, int] = {}
        self._timers: dict[PartitionReader, asyncio.TimerHandle] = {}
        self._replicas = ReadReplicas(lease_ms=settings.metadata_max_age_ms)
        self._leases: dict[PartitionReader, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._has_freed = False
        self._random = random.SystemRandom()
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def start(self) -> None:
        """Begin to look up positions and to fetch."""
        self.spawn(self.positions.run(), name="ottla-consumer-positions")

    def spawn(self, work: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[object]:
        """Run ``work`` as a task whose crash is the consumer's."""
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    async def stop(self) -> None:
        """End all tasks."""
        for timer in (*self._timers.values(), *self._leases.values()):
            timer.cancel()
        tasks = list(self._tasks)
        self._tasks.clear()
        for task in tasks:
            task.remove_done_callback(self._task_ended)
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # --- What is read -----------------------------------------------------------------------

    def add(self, partition: TopicPartition, *, begin: int | None = None) -> PartitionReader:
        """Read a partition, from ``begin`` (earliest or latest) or else by the policy."""
        reader = self.readers[partition] = PartitionReader(partition, self._settings)
        self._turns.append(reader)
        self.positions.find(reader, begin=begin)
        return reader

    def withhold(self, reader: PartitionReader) -> None:
        """Hand out nothing of a partition, whatever the application says, and fetch no more."""
        if not reader.is_withheld:
            reader.is_withheld = True
            self._turns.remove(reader)
        reader.drop_buffer()
        self.route(reader)

    def release(self, reader: PartitionReader) -> None:
        """Hand out a partition that was withheld, if it is still read."""
        if self.readers.get(reader.topic_partition) is reader:
            reader.is_withheld = False
            self._turns.append(reader)
            self.route(reader)
            self._tell()

    def remove(self, partition: TopicPartition) -> None:
        """Read a partition no more."""
        reader = self.readers.pop(partition)
        if not reader.is_withheld:
            self._turns.remove(reader)
        self.positions.forget(reader)
        self._blocked.discard(reader)
        self._failures.pop(reader, None)
        self._damaged.pop(reader, None)
        self._disk_failures.pop(reader, None)
        self._replicas.forget(partition)
        for timers in (self._timers, self._leases):
            timer = timers.pop(reader, None)
            if timer is not None:
                timer.cancel()
        self._detach(reader)

    def seek(
        self, reader: PartitionReader, offset: int | None, *, begin: int | None = None
    ) -> None:
        """Read on at ``offset``, or wherever a look-up finds (``None``)."""
        self.positions.forget(reader)
        self._blocked.discard(reader)
        self._disk_failures.pop(reader, None)
        self._detach(reader)
        reader.seek(offset)
        if offset is None:
            self.positions.find(reader, begin=begin)
        else:
            self.route(reader)

    def pause(self, reader: PartitionReader) -> None:
        """Hand out nothing of a partition, and fetch no more of it."""
        reader.is_paused = True
        paused_bytes = sum(each.buffered_bytes for each in self._turns if each.is_paused)
        if paused_bytes > self._settings.prefetch_bytes // 2:
            reader.drop_buffer()
        self.route(reader)

    def resume(self, reader: PartitionReader) -> None:
        """Go on where the pause began."""
        reader.is_paused = False
        self.route(reader)
        self._tell()

    # --- What comes out -----------------------------------------------------------------------

    def take(
        self, records_max: int, *, partitions_max: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return up to ``records_max`` records that are in memory, partitions taking turns."""
        taken: dict[TopicPartition, list[ConsumerRecord]] = {}
        left = records_max
        for _ in range(len(self._turns)):
            reader = self._turns[0]
            self._turns.rotate(-1)
            records = self._take_from(reader, left)
            if records:
                taken[reader.topic_partition] = records
                left -= len(records)
                if not left or len(taken) == partitions_max:
                    break
        self._replenish_if_freed()
        return taken

    def take_one(self) -> ConsumerRecord | None:
        """Return one record that is in memory; a partition keeps its turn for a whole batch."""
        for _ in range(len(self._turns)):
            reader = self._turns[0]
            if not reader.is_paused and (record := reader.take_next()) is not None:
                return record
            records = self._take_from(reader, 1)
            if self._has_freed or not records:
                self._turns.rotate(-1)
            self._replenish_if_freed()
            if records:
                return records[0]
        return None

    def raise_errors(self) -> None:
        """Raise what the application does not know yet; if nothing else can come, what it knows.

        An error of a partition comes after the records before it.
        """
        if self.failure is not None:
            raise self.failure.with_traceback(None)
        if not self._blocked:
            return
        stuck = [each for each in self._blocked if not each.has_buffered and not each.is_silent]
        is_all = len(stuck) == sum(not each.is_paused for each in self._turns)
        for reader in stuck:
            if is_all or not reader.is_error_told:
                reader.is_error_told = True
                assert reader.blocked_by is not None
                raise reader.blocked_by.with_traceback(None)

    async def wait_for_news(self) -> None:
        """Wait until there may be records, positions or errors that were not there before."""
        await self._news.wait()

    def _take_from(self, reader: PartitionReader, records_max: int) -> list[ConsumerRecord]:
        if reader.is_paused:
            return []
        buffered_bytes = reader.buffered_bytes
        records = reader.take(records_max)
        self._has_freed |= reader.buffered_bytes != buffered_bytes
        if reader.blocked_by is not None and reader not in self._blocked:
            # It could not be decoded: fetching on would only bring what must not be handed out.
            self.route(reader)
        return records

    # --- Where a partition belongs --------------------------------------------------------------

    def route(self, reader: PartitionReader) -> None:
        """Put a partition where it belongs now."""
        if reader.blocked_by is not None:
            self._blocked.add(reader)
        if (
            self.failure is not None
            or reader.is_silent
            or reader.blocked_by is not None
            or reader.fetch_offset is None
            or self.positions.is_finding(reader)
            or reader in self._timers
        ):
            self._detach(reader)
            return
        leader = self._metadata.picture.leader_of(reader.topic_partition)
        if leader is None:
            self._detach(reader)
            self._wait_for_leader(reader)
            return
        follower = self._replicas.follower(
            reader.topic_partition, self._metadata.picture, self._now_ms()
        )
        broker_id = leader.broker_id if follower is None else follower
        stream = self._streams.get(broker_id) or self._open_stream(broker_id)
        if self._stream_of.get(reader) is stream and reader.follower == follower:
            return
        self._detach(reader)
        if stream.can_serve(reader):
            reader.move_to(leader, follower=follower)
            if follower is not None:
                self._begin_lease(reader)
            self._stream_of[reader] = stream
            stream.add(reader)
            stream.replenish(self._share_bytes())
        else:
            stream.end(_MOVED_BACK)

    def metadata_updated(self) -> None:
        """Leaders may have moved."""
        for reader in list(self._turns):
            if reader in self._timers and self._has_newer_leader(reader):
                self._timers.pop(reader).cancel()
            self.route(reader)

    def _has_newer_leader(self, reader: PartitionReader) -> bool:
        """Whether another leader was elected since the partition was last read."""
        picture = self._metadata.picture
        return picture.newer_leader(reader.topic_partition, reader.leader) is not None

    def _detach(self, reader: PartitionReader) -> None:
        stream = self._stream_of.pop(reader, None)
        if stream is not None:
            stream.remove(reader.topic_partition)
            # What it holds, and what was granted for it, is the others' from now on.
            stream.replenish(self._share_bytes())

    def _wait_for_leader(self, reader: PartitionReader) -> None:
        """New metadata will route it again; whether its topic is gone, a look-up tells."""
        error = self._metadata.picture.why_no_leader(reader.topic_partition)
        if isinstance(error, UnknownTopicOrPartitionError) or not error.retriable:
            self.positions.find(reader)
        else:
            self._metadata.request_refresh()

    def _position_found(self, reader: PartitionReader) -> None:
        failures = self._failures.get(reader, 0)
        if failures > 1:
            # Found before, and still the broker refused to read there.
            self._back_off(reader, failures - 1)
        else:
            self.route(reader)
        self._tell()

    def _block(self, reader: PartitionReader, error: OttlaError) -> None:
        reader.block(error)
        self.route(reader)
        self._tell()

    def _back_off(
        self, reader: PartitionReader, failures: int, initial_ms: int | None = None
    ) -> None:
        """Route the partition again after a delay, or now if a newer leader is known."""
        if self._has_newer_leader(reader):
            self._detach(reader)
            self.route(reader)
            return
        delay_ms = backoff_delay_ms(
            failures,
            initial_ms or self._settings.retry_backoff_ms,
            self._settings.retry_backoff_max_ms,
            self._random,
        )
        timer = self._timers.get(reader)
        if timer is not None:
            timer.cancel()
        self._timers[reader] = self._loop.call_later(delay_ms / 1000, self._end_back_off, reader)
        self._detach(reader)

    def _end_back_off(self, reader: PartitionReader) -> None:
        del self._timers[reader]
        self.route(reader)

    # --- Streams ------------------------------------------------------------------------------

    def _open_stream(self, broker_id: int) -> FetchStream:
        stream = FetchStream(
            self._connections.to(self._metadata.picture.brokers[broker_id]),
            self._settings,
            received=self._received,
            leader_epoch_of=self._leader_epoch_of,
            doubted=self._metadata.request_refresh,
        )
        self._streams[broker_id] = stream
        self.spawn(self._run_stream(broker_id, stream), name=f"ottla-fetch-{broker_id}")
        return stream

    async def _run_stream(self, broker_id: int, stream: FetchStream) -> None:
        reason = await stream.run()
        del self._streams[broker_id]
        readers = [reader for reader, its in self._stream_of.items() if its is stream]
        for reader in readers:
            del self._stream_of[reader]
        if reason is _MOVED_BACK:
            self.metadata_updated()
            return
        _log.info(FETCH_STREAM_ENDED, extra={"broker_id": broker_id, "reason": str(reason)})
        if not reason.retriable:
            # The broker refuses to serve us at all: that is for the application to know.
            self.fail(reason)
            return
        failures = 0 if stream.has_received else self._broker_failures.get(broker_id, 0)
        self._broker_failures[broker_id] = failures + 1
        self._metadata.request_refresh()
        for reader in readers:
            if reader.follower is None:
                self._back_off(reader, failures)
            else:
                self._leave_follower(reader, reason)

    def _received(self, stream: FetchStream, fetched: log_pb2.PartitionFetched) -> None:
        partition = TopicPartition(fetched.topic, fetched.partition)
        reader = stream.readers.get(partition)
        if reader is None:
            stream.replenish(self._share_bytes())
            return
        if fetched.error.code:
            self._fetch_failed(reader, error_from_message(fetched.error))
            return
        reader.high_watermark = fetched.high_watermark
        if not fetched.batches:
            self._take_name(reader, fetched)
            return
        before = reader.fetch_offset
        try:
            reader.receive(fetched.batches)
        except LogTruncatedError as error:
            self.positions.find(reader, lost=error)
            self.route(reader)
        except CorruptMessageError as error:
            self._received_damaged(reader, error, is_new=reader.fetch_offset != before)
        else:
            if reader.fetch_offset != before:
                self._failures.pop(reader, None)
                self._damaged.pop(reader, None)
                self._disk_failures.pop(reader, None)
            else:
                stream.replenish(self._share_bytes())
            self._take_name(reader, fetched)
        self._tell()

    def _received_damaged(
        self, reader: PartitionReader, error: CorruptMessageError, *, is_new: bool
    ) -> None:
        failures = 0 if is_new else self._damaged.get(reader, 0)
        self._damaged[reader] = failures + 1
        if failures + 1 < CORRUPT_FETCHES_MAX:
            self._back_off(reader, failures)
        elif reader.follower is not None:
            self._leave_follower(reader, error)
        else:
            self._block(reader, error)

    def _fetch_failed(self, reader: PartitionReader, error: OttlaError) -> None:
        """The broker dropped the partition from the stream because of ``error``."""
        failures = self._failures.get(reader, 0)
        self._failures[reader] = failures + 1
        if reader.follower is not None:
            if isinstance(error, OffsetNotAvailableError) and failures + 1 < FOLLOWER_BEHIND_MAX:
                initial_ms = min(LEADER_BACKOFF_MS, self._settings.retry_backoff_ms)
                self._back_off(reader, failures, initial_ms)
            else:
                self._leave_follower(reader, error)
            return
        if isinstance(error, OffsetOutOfRangeError):
            self.positions.find(reader, is_unproven=reader.give_up_proof())
            self.route(reader)
        elif error.retriable and not self._disk_stays_failed(reader, error):
            if error.refreshes_metadata:
                self._metadata.request_refresh()
            # A leader that was just elected, or is just to be, is soon ready.
            initial_ms = min(LEADER_BACKOFF_MS, self._settings.retry_backoff_ms)
            self._back_off(reader, failures, initial_ms)
        else:
            self._block(reader, error)

    def _disk_stays_failed(self, reader: PartitionReader, error: OttlaError) -> bool:
        """Whether the leader has said for so long that its disk failed that nobody takes over."""
        if not isinstance(error, StorageError):
            self._disk_failures.pop(reader, None)
            return False
        now_ms = self._now_ms()
        first_ms, last_ms = self._disk_failures.get(reader, (now_ms, now_ms))
        if now_ms - last_ms > self._settings.retry_backoff_max_ms + DISK_FAILURES_GAP_MS:
            first_ms = now_ms  # it was read in between, although nothing new was there
        self._disk_failures[reader] = (first_ms, now_ms)
        return now_ms - first_ms >= min(patience_ms(error), self._settings.request_timeout_ms)

    # --- Followers ----------------------------------------------------------------------------

    def _take_name(self, reader: PartitionReader, fetched: log_pb2.PartitionFetched) -> None:
        """Read on from the follower that the leader names, if it does."""
        if not self._settings.client_rack or reader.follower is not None:
            return
        assert reader.leader is not None, "it was read from"
        named = fetched.HasField("preferred_read_replica")
        partition, now_ms = reader.topic_partition, self._now_ms()
        self._replicas.named(
            partition, fetched.preferred_read_replica if named else None, reader.leader, now_ms
        )
        self.route(reader)

    def _begin_lease(self, reader: PartitionReader) -> None:
        """Read from a follower until it is time to ask the leader again."""
        lease = self._leases.pop(reader, None)
        if lease is not None:
            lease.cancel()
        left_ms = self._replicas.left_ms(reader.topic_partition, self._now_ms())
        self._leases[reader] = self._loop.call_later(left_ms / 1000, self._end_lease, reader)

    def _end_lease(self, reader: PartitionReader) -> None:
        """Read from the leader, which may name another follower, or none."""
        del self._leases[reader]
        self._replicas.dropped(reader.topic_partition)
        self.route(reader)

    def _leave_follower(self, reader: PartitionReader, error: OttlaError) -> None:
        """Read on from the leader, because the follower failed."""
        partition = reader.topic_partition
        assert reader.follower is not None, "a follower failed"
        _log.info(
            FOLLOWER_LEFT,
            extra={
                "partition": str(partition),
                "broker_id": reader.follower,
                "reason": str(error),
            },
        )
        if isinstance(error, FencedLeaderEpochError | UnknownLeaderEpochError):
            # Nothing is wrong with it: a leader was elected, and one of us does not know yet.
            self._replicas.dropped(partition)
        else:
            self._replicas.failed(partition, reader.follower, self._now_ms())
        if error.refreshes_metadata:
            self._metadata.request_refresh()
        self._failures.pop(reader, None)
        self._damaged.pop(reader, None)
        self._detach(reader)
        self.route(reader)

    def _replenish_if_freed(self) -> None:
        if not self._has_freed:
            return
        self._has_freed = False
        share_bytes = self._share_bytes()
        for stream in self._streams.values():
            stream.replenish(share_bytes)

    def _share_bytes(self) -> int:
        return max(1, self._settings.prefetch_bytes // max(1, len(self._streams)))

    def _now_ms(self) -> float:
        return self._loop.time() * 1000

    def _leader_epoch_of(self, partition: TopicPartition) -> int | None:
        leader = self._metadata.picture.leader_of(partition)
        return None if leader is None else leader.leader_epoch

    # --- Ends ---------------------------------------------------------------------------------

    def fail(self, error: OttlaError) -> None:
        """End the consumer because of ``error``; the next call to it raises."""
        if self.failure is None:
            self.failure = error
            for task in self._tasks:
                task.cancel()
            self._tell()

    def _tell(self) -> None:
        """Wake whoever waits for news."""
        self._news.set()
        self._news = asyncio.Event()

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
            f"the consumer's task {task.get_name()!r} crashed ({crash!r}); this is a bug in the "
            "client, please report it"
        )
        error.__cause__ = crash
        self.fail(error)
