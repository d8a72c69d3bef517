"""The follower's role of a hosted partition: copies it from the leader of one epoch.

:class:`~ottla.replication.follower.PartitionFollower` decides, and this carries it out: says to the
leader's broker what there is to say, appends what comes from there, has the log cut where it must
be. A following lives for one leader epoch, on the event loop::

    link ──LeaderSent──► follower ──AppendBatches──► log (page cache) ──► flusher ──► disk
      ▲                                                                                │
      └────────────── Begin, Acknowledge ◄──────── follower ◄──────── LogDurable ◄─────┘

While the log is cut, :attr:`Following.is_cutting`, nobody may touch it: neither retention nor the
partition's next role; that waits (:meth:`Following.cut_finished`).

If the disk fails, the following ends: it says nothing more, and its leader gives it up in time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol, assert_never

from ottla.cluster.log_cutter import Cut
from ottla.model.errors import (
    CorruptMessageError,
    InvalidRecordError,
    OttlaError,
    StorageError,
)
from ottla.model.ids import BrokerId, LeaderEpoch, Offset
from ottla.record.batch import RecordBatch, crc_matches, split_batches
from ottla.replication.follower import (
    Acknowledge,
    AdvanceHighWatermark,
    AppendBatches,
    Begin,
    DeleteBefore,
    Effect,
    Input,
    LeaderRefused,
    LeaderSent,
    LogAppended,
    LogTruncated,
    PartitionFollower,
    StartAt,
    Tick,
    TruncateTo,
)
from ottla.runtime.logging import Event, Severity, emit
from ottla.storage.removal import RemovedSegments

if TYPE_CHECKING:
    from ottla.cluster.partition import Partition, PartitionContext

TRUNCATED: Final = Event("replica.truncated")
COMMITTED_TRUNCATED: Final = Event("replica.committed_truncated", Severity.ERROR)
COPY_REFUSED: Final = Event("replica.copy_refused", Severity.WARNING)


class LeaderCall(Protocol):
    """A call to the leader's broker, as one partition sees it. Nothing here waits."""

    def begin(self, following: Following, effect: Begin) -> None:
        """Ask for a partition; what was asked and sent for it before is void."""

    def acknowledge(self, following: Following, effect: Acknowledge) -> None:
        """Say what cannot be lost; the latest counts."""


class Copier(Protocol):
    """Whoever has calls to leaders, and cuts logs: the :class:`ReplicaFetcher`."""

    def assign(self, following: Following) -> None:
        """Copy a partition from its leader until :meth:`release`."""

    def release(self, following: Following) -> None:
        """Stop that. What comes for it from now on is dropped."""

    def cut(self, cut: Cut) -> None:
        """Cut a log; see :class:`LogCutter`."""

    def remove_later(self, removed: RemovedSegments, delay_ms: int) -> None:
        """Give back the files of removed segments after ``delay_ms``."""


class Following:
    """See the module."""

    __slots__ = (
        "_context",
        "_cutting",
        "_ended",
        "_follower",
        "_held",
        "_loop",
        "_timer",
        "call",
        "is_in_sync",
        "leader",
        "partition",
    )

    def __init__(
        self,
        partition: Partition,
        *,
        leader: BrokerId,
        leader_epoch: LeaderEpoch,
        is_in_sync: bool,
        high_watermark: Offset,
        first_generation: int,
        context: PartitionContext,
    ) -> None:
        """Prepare to copy ``partition``; :meth:`start` begins."""
        log = partition.log
        self.partition: Final = partition
        self.leader: Final = leader
        self.is_in_sync = is_in_sync
        """Whether the metadata log says that this replica is in sync."""
        self.call: LeaderCall | None = None
        """Set by the copier while there is one."""
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._follower = PartitionFollower(
            leader_epoch=leader_epoch,
            log_start_offset=log.log_start_offset,
            log_end_offset=log.log_end_offset,
            durable_end_offset=log.recovery_point,
            high_watermark=high_watermark,
            epochs=log.leader_epochs,
            write_caching=partition.settings.log.write_caching,
            first_generation=first_generation,
        )
        self._cutting: asyncio.Future[None] | None = None
        self._held: tuple[Sequence[RecordBatch], list[Effect]] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def __repr__(self) -> str:
        return f"<Following of {self.leader}: {self._follower!r}>"

    # --- What others may ask ---

    @property
    def leader_epoch(self) -> LeaderEpoch:
        """The epoch of the leader that is followed."""
        return self._follower.leader_epoch

    @property
    def high_watermark(self) -> Offset:
        """The end of what is known to be committed and is here."""
        return self._follower.high_watermark

    @property
    def next_generation(self) -> int:
        """What the following after this one is to begin with."""
        return self._follower.next_generation

    @property
    def is_cutting(self) -> bool:
        """Whether the log is being cut, and must be left alone."""
        return self._cutting is not None

    async def cut_finished(self) -> None:
        """Wait until the log is not being cut."""
        while self._cutting is not None:
            await self._cutting

    # --- Life ---

    def start(self) -> None:
        """Have the partition copied."""
        self._context.copier.assign(self)

    def end(self) -> None:
        """Copy no more. A cut under way is finished, and must be waited for."""
        if not self._ended:
            self._ended = True
            self._context.copier.release(self)
            if self._timer is not None:
                self._timer.cancel()

    def _fail(self, error: StorageError) -> None:
        self._context.directory.fail(error)
        self.end()

    # --- What the leader's broker says ---

    def received(
        self, records: bytes, *, generation: int, high_watermark: int, log_start_offset: int
    ) -> None:
        """Take batches, whole ones, or only the offsets."""
        first_offset = end_offset = None
        batches: Sequence[RecordBatch] = ()
        if records:
            try:
                batches = _checked(records)
            except CorruptMessageError as error:
                emit(COPY_REFUSED, partition=self.partition.topic_partition, reason=str(error))
                self.step(LeaderRefused(generation=generation))
                return
            first_offset = Offset(batches[0].header.base_offset)
            end_offset = Offset(batches[-1].header.next_offset)
        self.step(
            LeaderSent(
                generation=generation,
                first_offset=first_offset,
                end_offset=end_offset,
                high_watermark=Offset(high_watermark),
                log_start_offset=Offset(log_start_offset),
            ),
            batches,
        )

    def refused(self, error: OttlaError, *, generation: int) -> None:
        """Hear that the leader does not serve us, or not what can be used."""
        if not error.retriable:
            emit(COPY_REFUSED, partition=self.partition.topic_partition, reason=str(error))
        self.step(LeaderRefused(generation=generation))

    # --- The follower's state machine ---

    def step(self, event: Input, batches: Sequence[RecordBatch] = ()) -> None:
        """Hand an input, with the batches that it is about, to the state machine."""
        events: deque[Input] = deque([event])
        now_ms = self._context.clock.now_ms()
        while events and not self._ended:
            effects = self._follower.step(events.popleft(), now_ms=now_ms)
            for number, effect in enumerate(effects):
                if isinstance(effect, (TruncateTo, StartAt)):
                    self._cut(effect)
                    self._held = (batches, effects[number + 1 :])
                    break
                try:
                    self._perform(effect, batches, events)
                except StorageError as error:
                    self._fail(error)
                    return
        deadline_ms = self._follower.deadline_ms()
        if deadline_ms is not None and not self._ended:
            if self._timer is not None:
                self._timer.cancel()
            delay_ms = max(1, deadline_ms - now_ms)
            self._timer = self._loop.call_later(delay_ms / 1000, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.step(Tick())

    def _perform(
        self, effect: Effect, batches: Sequence[RecordBatch], events: deque[Input]
    ) -> None:
        match effect:
            case AppendBatches():
                events.extend(self._append(batches))
            case Acknowledge():
                if self.call is not None:
                    self.call.acknowledge(self, effect)
            case AdvanceHighWatermark():
                reads = self._context.waiters.reads
                reads.advance(self.partition.topic_partition, effect.high_watermark)
            case Begin():
                if self.call is not None:
                    self.call.begin(self, effect)
            case DeleteBefore():
                log = self.partition.log
                removed = log.delete_records_before(effect.offset)
                self._context.copier.remove_later(removed, log.config.file_delete_delay_ms)
            case TruncateTo() | StartAt():
                raise AssertionError(f"{effect} takes its time")
            case _:
                assert_never(effect)

    def _append(self, batches: Sequence[RecordBatch]) -> list[Input]:
        """Append what the leader sent; return what there is to step because of it.

        Raises :exc:`StorageError` if the disk failed, now or earlier.
        """
        context = self._context
        log = self.partition.log
        context.directory.check_writable()
        events: list[Input] = []
        try:
            log.append_replicated(batches, now_ms=context.clock.wall_ms())
        except InvalidRecordError as error:
            emit(COPY_REFUSED, partition=self.partition.topic_partition, reason=str(error))
            events.append(LeaderRefused(generation=self.next_generation - 1))
        self.partition.ask_for_flush()
        return [LogAppended(log.log_end_offset), *events]

    # --- Cutting ---

    def _cut(self, effect: TruncateTo | StartAt) -> None:
        partition = self.partition
        log = partition.log
        # An unclean leader alone asks for the latter.
        is_lost = isinstance(effect, TruncateTo) and effect.offset < self.high_watermark
        emit(
            COMMITTED_TRUNCATED if is_lost else TRUNCATED,
            partition=partition.topic_partition,
            log_end_offset=log.log_end_offset,
            offset=effect.offset,
            leader=self.leader,
            leader_epoch=self.leader_epoch,
        )
        partition.stop_flush_timer()
        self._cutting = self._loop.create_future()
        self._context.copier.cut(
            Cut(
                log=log,
                offset=effect.offset,
                anew=isinstance(effect, StartAt),
                done=self._was_cut,
            )
        )

    def _was_cut(self, error: StorageError | None) -> None:
        assert self._cutting is not None
        assert self._held is not None
        cutting, self._cutting = self._cutting, None
        (batches, effects), self._held = self._held, None
        cutting.set_result(None)
        if error is not None:
            self._fail(error)
        if self._ended:
            return
        log = self.partition.log
        self.step(
            LogTruncated(
                log_start_offset=log.log_start_offset,
                log_end_offset=log.log_end_offset,
                durable_end_offset=log.recovery_point,
            )
        )
        if log.recovery_point < log.log_end_offset:
            self.partition.ask_for_flush()
        for effect in effects:
            assert isinstance(effect, AppendBatches), effect
            try:
                events = self._append(batches)
            except StorageError as failure:
                self._fail(failure)
                return
            for event in events:
                self.step(event)


def _checked(records: bytes) -> list[RecordBatch]:
    """Take batches apart; raise :exc:`CorruptMessageError` unless they are as they were written."""
    batches = split_batches(records)
    for batch in batches:
        if not crc_matches(batch):
            raise CorruptMessageError(
                f"the batch at offset {batch.header.base_offset} does not have the checksum that "
                "its header says"
            )
    return batches
