"""One partition that this broker hosts: its log, its role, and who waits for it.

Life of an append with ``acks=all``::

    append ──► log (page cache) ──► PartitionLeader: LocalAppended
                 │
                 └► flusher ──► disk ──► PartitionLeader: LocalDurable ──► AdvanceHighWatermark
                                                                             │
                     producers that wait for their end, readers at the end ◄─┘

When a log is synced
--------------------
* Without ``write.caching``, every append asks for a sync, whatever its ``acks``: only what is
  durable is committed, and only what is committed is visible to consumers. The flusher turns many
  requests into few syncs.
* With ``write.caching``, an append is committed at once, and the log is synced when
  ``flush.messages`` records or ``flush.ms`` milliseconds have gathered, if ever: durability is the
  replicas' affair, as in Kafka.

A partition lives on the event loop, where every method is atomic. Two things happen elsewhere:
:meth:`Partition.flush` on the flusher's thread, and reads that have to wait for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from ottla.cluster.data_directory import DataDirectory
from ottla.cluster.flusher import Flusher
from ottla.cluster.following import Copier, Following
from ottla.cluster.instruments import TopicInstruments
from ottla.cluster.log_cutter import Cut
from ottla.cluster.partition_settings import PartitionSettings
from ottla.model.errors import (
    FencedLeaderEpochError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OttlaError,
    StorageError,
    UnknownLeaderEpochError,
)
from ottla.model.ids import BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.model.image import PartitionImage
from ottla.record.batch import RecordBatch
from ottla.replication import follower as copying
from ottla.replication.leader import (
    AdvanceHighWatermark,
    Effect,
    Input,
    IsrCommitted,
    IsrMember,
    LocalAppended,
    LocalDurable,
    PartitionLeader,
    ProposeIsr,
    ReplicasChanged,
    ServingChanged,
    SettingsChanged,
    Tick,
)
from ottla.runtime.clock import Clock
from ottla.runtime.purgatory import Purgatory
from ottla.storage.appending import Appended
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import INT64_MAX
from ottla.storage.removal import RemovedSegments


@dataclass(frozen=True, slots=True)
class Waiters:
    """Who waits for the high watermarks of this broker's partitions."""

    commits: Purgatory[TopicPartition]
    """Producers: woken when everything below their threshold is committed."""
    reads: Purgatory[TopicPartition]
    """Consumers: likewise, one record past where they are."""


class NoCopier:
    """For brokers that are alone: nobody is there to copy from."""

    def assign(self, following: Following) -> None:
        """See :class:`Copier`."""

    def release(self, following: Following) -> None:
        """See :class:`Copier`."""

    def cut(self, cut: Cut) -> None:
        """See :class:`Copier`."""
        raise AssertionError(f"nobody to differ from: {cut}")

    def remove_later(self, removed: RemovedSegments, delay_ms: int) -> None:
        """See :class:`Copier`."""
        raise AssertionError(f"nobody whose log start to follow: {removed}, {delay_ms}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionContext:
    """What the partitions of one directory have in common."""

    directory: DataDirectory
    flusher: Flusher
    waiters: Waiters
    clock: Clock
    replica_lag_time_max_ms: int = 30_000
    """Kafka's ``replica.lag.time.max.ms``, and its default."""
    propose_isr: Callable[[Partition, ProposeIsr], None] = lambda _partition, _effect: None
    """Asks the controller for another in-sync set; answered through :meth:`Partition.step_leader`.
    """
    records_changed: Callable[[Partition], None] = lambda _partition: None
    """Called when a leader has something to send: it appended, more is committed, less is kept; or
    when it leads no more."""
    copier: Copier = field(default_factory=NoCopier)
    """Copies what this broker follows."""


class Partition:
    """A hosted partition; without a role until :meth:`lead` or :meth:`follow`."""

    __slots__ = (
        "_context",
        "_flush_timer",
        "_following",
        "_generation",
        "_instruments",
        "_known_high_watermark",
        "_leader",
        "_loop",
        "_replica_count",
        "_settings",
        "_tick_at_ms",
        "_tick_timer",
        "flush_requested",
        "log",
        "topic_id",
        "topic_partition",
    )

    def __init__(
        self,
        *,
        topic_partition: TopicPartition,
        topic_id: TopicId,
        log: PartitionLog,
        settings: PartitionSettings,
        context: PartitionContext,
        instruments: TopicInstruments,
        known_high_watermark: Offset,
    ) -> None:
        """Host a partition.

        ``known_high_watermark`` is the last that this broker knew of, as a follower or from its
        checkpoint; it may lie outside the log.
        """
        self.topic_partition: Final = topic_partition
        self.topic_id: Final = topic_id
        self.log: Final = log
        self.flush_requested = False
        self._settings = settings
        self._context = context
        self._instruments = instruments
        self._known_high_watermark = known_high_watermark
        self._leader: PartitionLeader | None = None
        self._following: Following | None = None
        self._generation = 1
        self._replica_count = 0
        self._flush_timer: asyncio.TimerHandle | None = None
        self._tick_timer: asyncio.TimerHandle | None = None
        self._tick_at_ms = 0
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        role = self._leader or self._following or "without a role"
        return f"<Partition {self.topic_partition} {role}>"

    # --- What others may ask ---

    @property
    def settings(self) -> PartitionSettings:
        """The topic's settings."""
        return self._settings

    @property
    def instruments(self) -> TopicInstruments:
        """The topic's counters."""
        return self._instruments

    @property
    def is_leader(self) -> bool:
        """Whether this broker leads the partition."""
        return self._leader is not None

    @property
    def is_follower(self) -> bool:
        """Whether this broker copies the partition from another."""
        return self._following is not None

    @property
    def following(self) -> Following | None:
        """The follower's role, while this broker has it."""
        return self._following

    @property
    def is_cutting(self) -> bool:
        """Whether the log is being cut, and must be left alone."""
        return self._following is not None and self._following.is_cutting

    @property
    def leader(self) -> PartitionLeader:
        """The leader's state; raises :exc:`NotLeaderOrFollowerError` if another broker leads."""
        if self._leader is None:
            raise NotLeaderOrFollowerError(
                f"this broker does not lead {self.topic_partition}; ask for metadata again"
            )
        return self._leader

    @property
    def is_under_replicated(self) -> bool:
        """Whether this broker leads, and some replica is not in sync.

        Those do not count that a reassignment is only bringing.
        """
        leader = self._leader
        return leader is not None and len(leader.isr) < self._replica_count

    @property
    def high_watermark(self) -> Offset:
        """The end of what is committed, as far as this broker knows."""
        if self._leader is not None:
            return self._leader.high_watermark
        log = self.log
        known = self._known_high_watermark
        if self._following is not None:
            known = self._following.high_watermark
        return min(max(known, log.log_start_offset), log.log_end_offset)

    @property
    def served_high_watermark(self) -> Offset:
        """The high watermark to show to clients.

        Raises:
            NotLeaderOrFollowerError: another broker leads.
            OffsetNotAvailableError: a new leader does not know it yet.
        """
        high_watermark = self.leader.served_high_watermark
        if high_watermark is None:
            raise OffsetNotAvailableError(
                f"the new leader of {self.topic_partition} does not know yet how much is "
                "committed; try again"
            )
        return high_watermark

    def check_leader_epoch(self, known: LeaderEpoch | None) -> None:
        """Raise unless a client that knows of leader epoch ``known`` may be served here.

        Raises:
            NotLeaderOrFollowerError: another broker leads.
            FencedLeaderEpochError: the client's metadata is older.
            UnknownLeaderEpochError: the client's metadata is newer.
        """
        epoch = self.leader.leader_epoch
        if known is None or known == epoch:
            return
        if known < epoch:
            raise FencedLeaderEpochError(
                f"{self.topic_partition} is led in epoch {epoch} and the request is of epoch "
                f"{known}; ask for metadata again"
            )
        raise UnknownLeaderEpochError(
            f"{self.topic_partition} is led in epoch {epoch} as far as this broker knows, and the "
            f"request is of epoch {known}; try again"
        )

    # --- Role ---

    def lead(
        self, image: PartitionImage, *, broker: IsrMember, serving: frozenset[BrokerId]
    ) -> None:
        """Begin to lead in the epoch that ``image`` gives; ``serving`` are the unfenced brokers.

        Not while the log :attr:`is_cutting`.
        """
        self._stop_following()
        log = self.log
        self._replica_count = len(image.replicas) - len(image.adding_replicas)
        self._leader = PartitionLeader(
            broker=broker,
            replicas=frozenset(image.replicas),
            adding=frozenset(image.adding_replicas),
            isr=frozenset(image.in_sync_replicas),
            serving=serving.intersection(image.replicas),
            leader_epoch=image.leader_epoch,
            partition_epoch=image.partition_epoch,
            log_end_offset=log.log_end_offset,
            durable_end_offset=log.recovery_point,
            high_watermark=self.high_watermark,
            min_insync_replicas=self._settings.min_insync_replicas,
            write_caching=self._settings.log.write_caching,
            replica_lag_time_max_ms=self._context.replica_lag_time_max_ms,
            now_ms=self._context.clock.now_ms(),
        )
        self.step_leader(Tick())
        if log.recovery_point < log.log_end_offset:
            self._context.flusher.request(self)

    def lead_on(self, image: PartitionImage, *, serving: frozenset[BrokerId]) -> None:
        """Hear from the metadata log while leading on in the same epoch."""
        self._replica_count = len(image.replicas) - len(image.adding_replicas)
        self.step_leader(
            ReplicasChanged(frozenset(image.replicas), frozenset(image.adding_replicas))
        )
        self.step_leader(ServingChanged(serving.intersection(image.replicas)))
        self.step_leader(
            IsrCommitted(
                isr=frozenset(image.in_sync_replicas), partition_epoch=image.partition_epoch
            )
        )

    def follow(self, image: PartitionImage, *, broker_id: BrokerId) -> None:
        """Copy from the leader that ``image`` says, in its epoch; or go on doing so.

        This broker, ``broker_id``, does not lead. Not while the log :attr:`is_cutting`, unless to
        go on.
        """
        assert self._leader is None, self
        is_in_sync = broker_id in image.in_sync_replicas
        following = self._following
        if following is not None and following.leader_epoch == image.leader_epoch:
            following.is_in_sync = is_in_sync
            return
        self._stop_following()
        self._following = Following(
            self,
            leader=image.leader,
            leader_epoch=image.leader_epoch,
            is_in_sync=is_in_sync,
            high_watermark=self.high_watermark,
            first_generation=self._generation,
            context=self._context,
        )
        self._following.start()
        if self.log.recovery_point < self.log.log_end_offset:
            self.ask_for_flush()

    def resign(self, reason: OttlaError) -> None:
        """Lead or follow no more; whoever waits is told ``reason``."""
        context = self._context
        self._stop_following()
        self._known_high_watermark = self.high_watermark
        led, self._leader = self._leader is not None, None
        self._stop_timers()
        context.waiters.commits.fail(self.topic_partition, reason)
        context.waiters.reads.fail(self.topic_partition, reason)
        if led:
            context.records_changed(self)

    def rest(self) -> None:
        """Follow nobody: there is no leader. Not while the log :attr:`is_cutting`."""
        self._stop_following()

    def _stop_following(self) -> None:
        following = self._following
        if following is not None:
            assert not following.is_cutting, following
            following.end()
            self._known_high_watermark = self.high_watermark
            self._generation = following.next_generation
            self._following = None

    def reconfigure(self, settings: PartitionSettings) -> None:
        """Work with other settings from now on."""
        self._settings = settings
        self.log.reconfigure(settings.log)
        if self._following is not None:
            self._following.step(copying.SettingsChanged(settings.log.write_caching))
        if self._leader is None:
            return
        self.step_leader(
            SettingsChanged(
                min_insync_replicas=settings.min_insync_replicas,
                write_caching=settings.log.write_caching,
            )
        )
        self.ask_for_flush()

    # --- Appending ---

    def check_can_append(self, acks: int) -> None:
        """Raise what :meth:`append` would, as far as it does not depend on what is appended."""
        self.leader.check_can_append(acks)
        self._context.directory.check_writable()

    def append(self, batches: Sequence[RecordBatch], *, acks: int) -> Appended:
        """Append checked batches as the leader; all of them, or none.

        Raises:
            NotLeaderOrFollowerError: another broker leads.
            NotEnoughReplicasError: ``acks`` is all, and too few replicas are in sync.
            StorageError: the disk failed, now or earlier.
            OttlaError: the log refused them; see :meth:`PartitionLog.append`.
        """
        self.check_can_append(acks)
        leader, context = self.leader, self._context
        try:
            appended = self.log.append(
                batches, leader_epoch=leader.leader_epoch, now_ms=context.clock.wall_ms()
            )
        except StorageError as error:
            context.directory.fail(error)
            raise
        if not appended.duplicate:
            self.step_leader(LocalAppended(self.log.log_end_offset))
            self.ask_for_flush()
        return appended

    def ask_for_flush(self) -> None:
        """Have the log synced now, or later, as the settings say."""
        config = self._settings.log
        if not config.write_caching or self.log.unflushed_records >= config.flush_messages:
            self._context.flusher.request(self)
        elif config.flush_ms < INT64_MAX and self._flush_timer is None:
            self._flush_timer = self._loop.call_later(config.flush_ms / 1000, self._flush_due)

    def _flush_due(self) -> None:
        self._flush_timer = None
        self._context.flusher.request(self)

    def stop_flush_timer(self) -> None:
        """Have the log synced no more because of time that passed, unless asked for again."""
        if self._flush_timer is not None:
            self._flush_timer.cancel()
            self._flush_timer = None

    def _stop_timers(self) -> None:
        self.stop_flush_timer()
        if self._tick_timer is not None:
            self._tick_timer.cancel()
            self._tick_timer = None

    def delete_records_before(self, offset: Offset) -> RemovedSegments:
        """Raise the log start to ``offset``, which is committed; return what is left to remove.

        Raises:
            StorageError: the disk failed, now or earlier.
        """
        self._context.directory.check_writable()
        try:
            removed = self.log.delete_records_before(offset)
        except StorageError as error:
            self._context.directory.fail(error)
            raise
        if self._leader is not None:
            self._context.records_changed(self)
        return removed

    # --- The flusher's side ---

    def flush(self) -> Offset:
        """Sync the log; on the flusher's thread. See :class:`ottla.cluster.flusher.Flushable`."""
        return self.log.flush()

    def flushed(self, durable_end: Offset) -> None:
        """Take note of what is durable, and commit it if nobody else counts."""
        del durable_end  # the log may know of more by now
        if self.log.recovery_point == self.log.log_end_offset:
            self.stop_flush_timer()
        if self._leader is not None:
            self.step_leader(LocalDurable(self.log.recovery_point))
        elif self._following is not None:
            self._following.step(copying.LogDurable(self.log.recovery_point))

    def flush_failed(self, error: StorageError) -> None:
        """Stop writes, and tell those who wait for their records to be committed."""
        self._context.directory.fail(error)
        self._context.waiters.commits.fail(self.topic_partition, error)
        if self._following is not None:
            self._following.end()

    # --- The leader's state machine ---

    def step_leader(self, event: Input) -> None:
        """Hand an input to the leader's state machine, and perform what comes out.

        Raises:
            NotLeaderOrFollowerError: another broker leads.
            OttlaError: what :meth:`PartitionLeader.step` raises.
        """
        leader = self.leader
        changed = isinstance(event, LocalAppended)
        for effect in leader.step(event, now_ms=self._context.clock.now_ms()):
            changed |= isinstance(effect, AdvanceHighWatermark)
            self._perform(effect)
        if changed:
            self._context.records_changed(self)
        self._tick_by(leader.deadline_ms())

    def _perform(self, effect: Effect) -> None:
        match effect:
            case AdvanceHighWatermark():
                waiters = self._context.waiters
                waiters.commits.advance(self.topic_partition, effect.high_watermark)
                waiters.reads.advance(self.topic_partition, effect.high_watermark)
            case ProposeIsr():
                self._context.propose_isr(self, effect)
            case _:
                assert_never(effect)

    def _tick_by(self, deadline_ms: int | None) -> None:
        """Step a tick at ``deadline_ms``, unless one comes earlier, which then looks again.

        Deadlines mostly move on, with every acknowledgement, and a timer is rarely moved for it.
        """
        if deadline_ms is None:
            return
        if self._tick_timer is not None:
            if self._tick_at_ms <= deadline_ms:
                return
            self._tick_timer.cancel()
        self._tick_at_ms = deadline_ms
        delay_ms = max(1, deadline_ms - self._context.clock.now_ms())
        self._tick_timer = self._loop.call_later(delay_ms / 1000, self._tick)

    def _tick(self) -> None:
        self._tick_timer = None
        if self._leader is not None:
            self.step_leader(Tick())
