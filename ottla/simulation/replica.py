"""One partition on one simulated broker: its log, its role, and when it is flushed.

What :mod:`ottla.cluster.partition` is in a broker, in a few lines: inputs go into the machine of
the role, effects are performed. A flush takes a while, and telling of it takes another moment: in
between the broker may die, or the role change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from ottla.model.errors import NotLeaderOrFollowerError, OttlaError, RequestTimedOutError
from ottla.model.ids import BrokerId, LeaderEpoch, Offset, TopicPartition
from ottla.model.image import PartitionImage
from ottla.record.batch import RecordBatch
from ottla.replication import follower as following
from ottla.replication import leader as leading
from ottla.replication.follower import PartitionFollower
from ottla.replication.leader import ACKS_ALL, IsrMember, PartitionLeader
from ottla.simulation.process import Process
from ottla.simulation.watcher import Watcher
from ottla.simulation.world import Violation
from ottla.storage.appending import Appended
from ottla.storage.log import PartitionLog

FLUSH_MAX_MS: Final = 2_000
"""``flush.ms`` of topics with write caching."""

Acknowledge = Callable[[OttlaError | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaSettings:
    """What a topic says, and what the scenario says of all."""

    min_insync_replicas: int
    write_caching: bool
    replica_lag_time_max_ms: int


class ReplicaHost(Protocol):
    """What a replica needs of its broker."""

    process: Process
    watcher: Watcher
    leader_class: type[PartitionLeader]
    follower_class: type[PartitionFollower]

    def flush_delay_ms(self) -> int:
        """Draw how long a sync takes."""

    def propose_isr(self, replica: Replica, effect: leading.ProposeIsr) -> None:
        """Ask the controller."""

    def records_changed(self, replica: Replica) -> None:
        """Tell the followers' calls that there is something new."""

    def begin_copying(self, replica: Replica, effect: following.Begin) -> None:
        """Ask the leader."""

    def acknowledge_copy(self, replica: Replica, effect: following.Acknowledge) -> None:
        """Tell the leader."""


@dataclass(slots=True)
class _WaitingProducer:
    end_offset: Offset
    done: Acknowledge


class Replica:
    """One hosted partition."""

    def __init__(
        self,
        host: ReplicaHost,
        topic_partition: TopicPartition,
        log: PartitionLog,
        settings: ReplicaSettings,
        *,
        known_high_watermark: Offset,
    ) -> None:
        """Host it, without a role."""
        self.topic_partition: Final = topic_partition
        self.log: Final = log
        self.settings: Final = settings
        self.image: PartitionImage | None = None
        """As carried out last."""
        self._host = host
        self._broker = BrokerId(host.process.number)
        self._known_high_watermark = known_high_watermark
        self._leader: PartitionLeader | None = None
        self._follower: PartitionFollower | None = None
        self._follower_epoch = LeaderEpoch(-1)
        self._generation = 1
        self._waiting: list[_WaitingProducer] = []
        self._flush_requested = False
        self._is_gone = False
        self._tick_at_ms: int | None = None
        host.watcher.log_opened(self._broker, topic_partition, log)

    def __repr__(self) -> str:
        return (
            f"<Replica {self.topic_partition} on {self._broker} {self._leader or self._follower}>"
        )

    # --- What others may ask ---

    @property
    def leader(self) -> PartitionLeader | None:
        """The machine, while this broker leads."""
        return self._leader

    @property
    def follower(self) -> PartitionFollower | None:
        """The machine, while this broker follows."""
        return self._follower

    @property
    def followed(self) -> BrokerId | None:
        """Whom it follows, if anybody."""
        return self.image.leader if self.image and self._follower else None

    @property
    def high_watermark(self) -> Offset:
        """The end of what is committed, as far as this broker knows."""
        if self._leader is not None:
            return self._leader.high_watermark
        known = self._known_high_watermark
        if self._follower is not None:
            known = max(known, self._follower.high_watermark)
        return min(max(known, self.log.log_start_offset), self.log.log_end_offset)

    # --- Roles ---

    def lead(
        self, image: PartitionImage, *, member: IsrMember, serving: frozenset[BrokerId]
    ) -> None:
        """Begin to lead, or lead on."""
        self.image = image
        if self._leader is not None and self._leader.leader_epoch == image.leader_epoch:
            self.step_leader(
                leading.ReplicasChanged(
                    frozenset(image.replicas), adding=frozenset(image.adding_replicas)
                )
            )
            self.step_leader(leading.ServingChanged(serving.intersection(image.replicas)))
            self.step_leader(
                leading.IsrCommitted(
                    isr=frozenset(image.in_sync_replicas), partition_epoch=image.partition_epoch
                )
            )
            return
        self.resign()
        self.image = image
        log = self.log
        self._leader = self._host.leader_class(
            broker=member,
            replicas=frozenset(image.replicas),
            adding=frozenset(image.adding_replicas),
            isr=frozenset(image.in_sync_replicas),
            serving=serving.intersection(image.replicas),
            leader_epoch=image.leader_epoch,
            partition_epoch=image.partition_epoch,
            log_end_offset=log.log_end_offset,
            durable_end_offset=log.recovery_point,
            high_watermark=self.high_watermark,
            min_insync_replicas=self.settings.min_insync_replicas,
            write_caching=self.settings.write_caching,
            replica_lag_time_max_ms=self.settings.replica_lag_time_max_ms,
            now_ms=self._host.process.clock.now_ms(),
        )
        self._host.process.note(f"leads {self.topic_partition} in epoch {image.leader_epoch}")
        self._host.watcher.leads(self._broker, self.topic_partition, self._leader, log)
        self.step_leader(leading.Tick())
        if log.recovery_point < log.log_end_offset:
            self.request_flush()

    def follow(self, image: PartitionImage, *, link_is_open: bool) -> bool:
        """Follow the leader that ``image`` says; return whether that is news."""
        if self._follower is not None and self._follower_epoch == image.leader_epoch:
            self.image = image
            return False
        self.resign()
        self.image = image
        log = self.log
        self._follower_epoch = image.leader_epoch
        self._follower = self._host.follower_class(
            leader_epoch=image.leader_epoch,
            log_start_offset=log.log_start_offset,
            log_end_offset=log.log_end_offset,
            durable_end_offset=log.recovery_point,
            high_watermark=self.high_watermark,
            epochs=log.leader_epochs,
            write_caching=self.settings.write_caching,
            first_generation=self._generation,
        )
        if link_is_open:
            self.step_follower(following.LinkOpened())
        if log.recovery_point < log.log_end_offset:
            self.request_flush()
        return True

    def resign(self) -> None:
        """Lead and follow no more."""
        self._known_high_watermark = self.high_watermark
        if self._follower is not None:
            self._generation = self._follower.next_generation
        led = self._leader is not None
        self._leader = self._follower = self.image = None
        self._tick_at_ms = None
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.done(NotLeaderOrFollowerError(f"{self.topic_partition} is led elsewhere"))
        if led:
            self._host.records_changed(self)

    def give_up(self) -> None:
        """Leave the log alone: its directory is about to go."""
        self.resign()
        self._is_gone = True

    # --- Producing ---

    def append(
        self, batches: Sequence[RecordBatch], *, acks: int, timeout_ms: int, done: Acknowledge
    ) -> Appended:
        """Append as the leader; ``done`` is called when it is committed, for ``acks`` all."""
        leader = self._leader
        if leader is None:
            raise NotLeaderOrFollowerError(f"{self.topic_partition} is not led here")
        leader.check_can_append(acks)
        process = self._host.process
        log = self.log
        appended = log.append(
            batches, leader_epoch=leader.leader_epoch, now_ms=process.clock.wall_ms()
        )
        if not appended.duplicate:
            (batch,) = batches
            self._host.watcher.produced(
                self._broker,
                self.topic_partition,
                leader.leader_epoch,
                appended.base_offset,
                batch,
            )
        if acks == ACKS_ALL and leader.high_watermark < appended.end_offset:
            waiting = _WaitingProducer(appended.end_offset, done)
            self._waiting.append(waiting)
            process.after(timeout_ms, "append timeout", lambda: self._give_up(waiting))
        else:
            self._settle(appended.end_offset, acks, done)
        if not appended.duplicate:
            self.step_leader(leading.LocalAppended(log.log_end_offset))
            self.request_flush()
        return appended

    def delete_before(self, offset: Offset) -> None:
        """Delete committed records, as a client may ask the leader to."""
        if self._leader is not None:
            self.log.delete_records_before(offset).remove()
            self._host.records_changed(self)

    def _settle(self, end_offset: Offset, acks: int, done: Acknowledge) -> None:
        if acks == ACKS_ALL:
            self._host.watcher.acknowledging(
                self._broker,
                self.topic_partition,
                end_offset,
            )
        done(None)

    def _give_up(self, waiting: _WaitingProducer) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)
            waiting.done(RequestTimedOutError("not committed in time; it may still be"))

    # --- Flushing ---

    def request_flush(self) -> None:
        """Sync the log soon; with write caching, some time later."""
        if not self._flush_requested:
            self._flush_requested = True
            delay_ms = self._host.flush_delay_ms()
            if self.settings.write_caching:
                delay_ms += self._host.process.world.between(0, FLUSH_MAX_MS)
            self._host.process.after(delay_ms, "flush", self._flush)

    def _flush(self) -> None:
        self._flush_requested = False
        if self._is_gone:
            return
        self.log.flush()
        self._host.watcher.durable(self._broker, self.topic_partition, self.log.recovery_point)
        process = self._host.process
        process.after(process.world.between(0, 1), "flushed", self._flushed)

    def _flushed(self) -> None:
        durable_end = self.log.recovery_point
        if self._leader is not None:
            self.step_leader(leading.LocalDurable(durable_end))
        elif self._follower is not None:
            self.step_follower(following.LogDurable(durable_end))

    # --- The leader's machine ---

    def step_leader(self, event: leading.Input) -> None:
        """Hand an input to the machine; raises what it refuses it with."""
        leader = self._leader
        if leader is None:
            raise NotLeaderOrFollowerError(f"{self.topic_partition} is not led here")
        effects = leader.step(event, now_ms=self._host.process.clock.now_ms())
        self._host.watcher.leader_stepped(self._broker, self.topic_partition, leader, self.log)
        for effect in effects:
            match effect:
                case leading.AdvanceHighWatermark():
                    self._answer(effect.high_watermark)
                case leading.ProposeIsr():
                    self._host.propose_isr(self, effect)
        if effects or isinstance(event, leading.LocalAppended):
            self._host.records_changed(self)
        self._tick_by(leader.deadline_ms())

    def _answer(self, high_watermark: Offset) -> None:
        ready = [each for each in self._waiting if each.end_offset <= high_watermark]
        if ready:
            self._waiting = [each for each in self._waiting if each.end_offset > high_watermark]
            for each in ready:
                self._settle(each.end_offset, ACKS_ALL, each.done)

    # --- The follower's machine ---

    def step_follower(self, event: following.Input, batches: Sequence[RecordBatch] = ()) -> None:
        """Hand an input, with the batches that it is about, to the machine."""
        events: deque[following.Input] = deque([event])
        while events:
            follower = self._follower
            if follower is None:
                return
            now_ms = self._host.process.clock.now_ms()
            for effect in follower.step(events.popleft(), now_ms=now_ms):
                more = self._perform(effect, batches)
                if more is not None:
                    events.append(more)
        if self._follower is not None:
            self._tick_by(self._follower.deadline_ms())

    def _perform(
        self, effect: following.Effect, batches: Sequence[RecordBatch]
    ) -> following.Input | None:
        match effect:
            case following.Begin():
                self._host.begin_copying(self, effect)
            case following.Acknowledge():
                self._host.acknowledge_copy(self, effect)
            case following.AppendBatches():
                return self._append_copied(batches)
            case following.TruncateTo():
                return self._truncate(effect.offset)
            case following.StartAt():
                return self._start_at(effect.offset)
            case following.DeleteBefore():
                self.log.delete_records_before(effect.offset).remove()
            case following.AdvanceHighWatermark():
                self._known_high_watermark = max(self._known_high_watermark, effect.high_watermark)
        return None

    def _append_copied(self, batches: Sequence[RecordBatch]) -> following.LogAppended:
        if not batches:
            raise Violation("FollowerAppendsWhatItGot", f"{self} appends what did not come")
        end_offset = self.log.append_replicated(batches, now_ms=self._wall_ms())
        self._host.watcher.appended(
            self._broker, self.topic_partition, self._follower_epoch, batches
        )
        self.request_flush()
        return following.LogAppended(end_offset)

    def _truncate(self, offset: Offset) -> following.LogTruncated:
        self._host.process.note(f"truncates {self.topic_partition} to {offset}")
        self._host.watcher.truncating(self._broker, self.topic_partition, self.log, offset)
        self.log.truncate_to(offset, now_ms=self._wall_ms()).remove()
        return self._was_truncated()

    def _start_at(self, offset: Offset) -> following.LogTruncated:
        self._host.process.note(f"begins {self.topic_partition} at {offset}")
        self._host.watcher.truncating(
            self._broker, self.topic_partition, self.log, self.log.log_start_offset
        )
        self.log.start_at(offset, now_ms=self._wall_ms()).remove()
        return self._was_truncated()

    def _was_truncated(self) -> following.LogTruncated:
        log = self.log
        self._host.watcher.truncated(self._broker, self.topic_partition, log)
        if log.recovery_point < log.log_end_offset:
            self.request_flush()
        return following.LogTruncated(
            log_start_offset=log.log_start_offset,
            log_end_offset=log.log_end_offset,
            durable_end_offset=log.recovery_point,
        )

    # --- Time ---

    def _wall_ms(self) -> int:
        return self._host.process.clock.wall_ms()

    def _tick_by(self, deadline_ms: int | None) -> None:
        if deadline_ms is None or (
            self._tick_at_ms is not None and self._tick_at_ms <= deadline_ms
        ):
            return
        self._tick_at_ms = deadline_ms
        process = self._host.process
        delay_ms = max(1, deadline_ms - process.clock.now_ms())
        process.after(delay_ms, "deadline", lambda: self._deadline(deadline_ms))

    def _deadline(self, deadline_ms: int) -> None:
        if self._tick_at_ms != deadline_ms:
            return
        self._tick_at_ms = None
        if self._leader is not None:
            self.step_leader(leading.Tick())
        elif self._follower is not None:
            self.step_follower(following.Tick())
