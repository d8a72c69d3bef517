"""One shard of the group coordinator on this broker: a machine, its log, and who waits for it.

The life of a shard, in the leader epoch in which this broker leads the partition::

              ┌──────── the log takes no records, or cannot be read ────────┐
              ▼                                                             │
    read the log ──► wait until it takes records ──► lead: requests, ticks ─┘ ──► end

Records that follow from a request are appended at once, so that the log has them in the order in
which the machine decided. An answer that says something about the log goes when all that was
appended by then is committed; who is told of a committed offset will never hear of an older one.

A machine that has decided what its log did not take knows more than the truth. It is thrown away,
with everybody who waits for it, and the log is read anew. That must not happen again and again: no
request is let in while the log can be seen not to take records, but for those that need none.

Whoever only asks needs no record, so it could be answered by a broker that was cut off from the
others and replaced long ago. Therefore nobody is, without the lease (:mod:`ottla.cluster.lease`).
A commit says itself whether it was in time.

A session must not end because its member could not be heard. If something was due while the log
took no records, or without the lease, the log is read anew afterwards, so that all timers begin
anew. If the whole broker stood still, what is due waits a moment for what members said meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar, cast

from ottla.cluster.group_loading import LogShortener, replay_log
from ottla.cluster.group_log import GroupLog
from ottla.cluster.group_machine import ShardClock, ShardMachine
from ottla.cluster.group_waiting import Waiting, WaitingRequests, request_bytes
from ottla.coordinator.effects import Answer, Effects, GroupRecord, Token
from ottla.coordinator.requests import (
    CommitOffsets,
    ConsumerHeartbeat,
    DescribeClassicGroup,
    DescribeConsumerGroup,
    FetchOffsets,
    GroupListing,
    GroupRequest,
    Heartbeat,
    ListGroups,
)
from ottla.model.errors import (
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    NotCoordinatorError,
    NotLeaderOrFollowerError,
    OttlaError,
    UnknownTopicOrPartitionError,
)
from ottla.model.image import ClusterImage
from ottla.model.limits import (
    GROUP_LOG_RECORDS_MIN,
    GROUP_LOG_RETRY_MAX_MS,
    GROUP_LOG_RETRY_MIN_MS,
    GROUP_LOG_WRITABLE_INTERVAL_MS,
)
from ottla.runtime.clock import Clock
from ottla.runtime.logging import Event, Severity, emit
from ottla.runtime.purgatory import Outcome

T = TypeVar("T")

SHARD_LOADED = Event("groups.shard_loaded", Severity.DEBUG)
SHARD_NOT_LOADED = Event("groups.shard_not_loaded", Severity.ERROR)
SHARD_THROWN_AWAY = Event("groups.shard_thrown_away", Severity.WARNING)
SHARD_LOG_SHORTENED = Event("groups.shard_log_shortened")
SHARD_LOG_NOT_SHORTENED = Event("groups.shard_log_not_shortened", Severity.WARNING)

STOOD_STILL_MS: Final = 500
"""A tick that comes so late says that the whole process did not run for a while."""

HEARD_FIRST_MS: Final = 1_000
"""What members said meanwhile lies in sockets, and is read within this."""

_NEEDS_NO_RECORDS: Final = (FetchOffsets, DescribeClassicGroup, DescribeConsumerGroup, Heartbeat)
"""Answered whether or not the log takes records."""


class HeldLease(Protocol):
    """See :class:`~ottla.cluster.lease.Lease`."""

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have been given what this broker leads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardContext:
    """What the shards of one broker have in common."""

    new_machine: Callable[[], ShardMachine]
    waiting: WaitingRequests
    clock: Clock
    image: Callable[[], ClusterImage]
    lease: HeldLease
    may_read: asyncio.Semaphore
    """Bounds how many logs are read at once."""
    may_shorten: asyncio.Semaphore
    """And how many are written anew."""
    commit_timeout_ms: int
    """For answers that wait for records to be committed."""
    log_records_min: int = GROUP_LOG_RECORDS_MIN
    """A log of fewer records is not written anew."""


class HostedShard:
    """A shard, from the election of this broker to lead it until that ends."""

    def __init__(self, log: GroupLog, context: ShardContext) -> None:
        """Be ready for :meth:`run`."""
        self.log: Final = log
        self._context = context
        self._waiting = Waiting()
        self._machine: ShardMachine | None = None
        self._refusal: Callable[[], OttlaError] = self._still_reading
        self._clock = ShardClock(wall_ms=0, now_ms=0)
        self._shortener: LogShortener | None = None
        self._missed_tick = False
        self._heard_until_ms = 0
        """Nothing is due before."""
        self._woken = asyncio.Event()
        """Something is due, or the machine is gone."""
        self._grown = asyncio.Event()
        """The log has become long."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0

    def __repr__(self) -> str:
        state = "leading" if self._machine is not None else "reading"
        return f"<HostedShard {self.log} {state}>"

    @property
    def is_leading(self) -> bool:
        """Whether the log has been read."""
        return self._machine is not None

    # --- Life ---

    async def run(self) -> None:
        """Read the log and lead, again and again, until cancelled or no longer the leader."""
        backoff_ms = GROUP_LOG_RETRY_MIN_MS
        while self.log.is_ours:
            try:
                machine = await self._load()
            except OttlaError as error:
                if self.log.is_ours:
                    emit(SHARD_NOT_LOADED, partition=self.log.topic_partition, reason=str(error))
            else:
                began_ms = self._context.clock.now_ms()
                self._begin(machine)
                await self._lead(machine)
                if self._context.clock.now_ms() - began_ms > GROUP_LOG_RETRY_MAX_MS:
                    backoff_ms = GROUP_LOG_RETRY_MIN_MS
            await asyncio.sleep(backoff_ms / 1000)
            backoff_ms = min(2 * backoff_ms, GROUP_LOG_RETRY_MAX_MS)

    def end(self, error: OttlaError) -> None:
        """Lead no more; whoever waits is told ``error``. The task of :meth:`run` is not ended."""
        self._stop_machine(error)
        self._refusal = lambda: NotCoordinatorError(str(error))

    async def _load(self) -> ShardMachine:
        """Read the log into a new machine, and wait until the log takes records."""
        self._refusal = self._still_reading
        async with self._context.may_read:
            began_ms = self._context.clock.now_ms()
            machine = self._context.new_machine()
            self._begin_clock()
            machine.image_changed(self._context.image(), self._now_ms())
            records = await replay_log(self.log, machine)
        emit(
            SHARD_LOADED,
            partition=self.log.topic_partition,
            leader_epoch=self.log.leader_epoch,
            records=records,
            took_ms=self._context.clock.now_ms() - began_ms,
        )
        while not self.log.is_writable:
            self.log.check_ours()
            self._refusal = self._takes_no_records
            await asyncio.sleep(GROUP_LOG_WRITABLE_INTERVAL_MS / 1000)
        return machine

    def _begin_clock(self) -> None:
        clock = self._context.clock
        self._clock = ShardClock(wall_ms=clock.wall_ms(), now_ms=clock.now_ms())

    def _begin(self, machine: ShardMachine) -> None:
        context = self._context
        self._machine = machine
        self._missed_tick = False
        self._woken.clear()
        self._grown.clear()
        self._shortener = LogShortener(
            self.log,
            machine,
            append=partial(self._append_live, machine),
            records_min=context.log_records_min,
        )
        self._perform(machine.loaded(self._now_ms()))
        if self._machine is machine:
            self._perform(machine.image_changed(context.image(), self._now_ms()))

    async def _lead(self, machine: ShardMachine) -> None:
        """Do what is due, and keep the log short, until the machine is thrown away."""
        async with asyncio.TaskGroup() as duties:
            keeping_short = duties.create_task(self._keep_short(machine))
            while self._machine is machine:
                await self._woken.wait()
                self._woken.clear()
                if self._machine is machine:
                    self.tick()
            keeping_short.cancel()

    async def _keep_short(self, machine: ShardMachine) -> None:
        while self._machine is machine:
            await self._grown.wait()
            self._grown.clear()
            shortener = self._shortener
            if self._machine is machine and shortener is not None and shortener.is_due:
                await self._shorten(shortener)

    async def _shorten(self, shortener: LogShortener) -> None:
        async with self._context.may_shorten:
            try:
                deleted = await shortener.shorten()
            except OttlaError as error:
                partition = self.log.topic_partition
                emit(SHARD_LOG_NOT_SHORTENED, partition=partition, reason=str(error))
                shortener.postpone()
                return
        if deleted:
            emit(SHARD_LOG_SHORTENED, partition=self.log.topic_partition, records_deleted=deleted)

    def _stop_machine(self, error: OttlaError) -> None:
        machine, self._machine = self._machine, None
        self._shortener = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if machine is not None:
            for answer in machine.resign(error).answers:
                self._waiting.deliver(answer)
        self._waiting.refuse_all(error)
        self._waiting = Waiting()
        self._woken.set()

    def _throw_away(self, error: OttlaError) -> None:
        """Forget what the machine knows: the log did not take it."""
        if self.log.is_ours:
            emit(SHARD_THROWN_AWAY, partition=self.log.topic_partition, reason=str(error))
            refusal: OttlaError = CoordinatorNotAvailableError(
                f"{self.log.topic_partition}, the log of this group, took no record: {error}"
            )
        else:
            refusal = NotCoordinatorError(str(error))
        self._refusal = self._still_reading
        self._stop_machine(refusal)

    # --- What is asked ---

    async def submit(self, request: GroupRequest[T]) -> T:
        """Have the machine answer; see :class:`ottla.cluster.services.GroupsService`."""
        machine = self._usable(request)
        waiting, token = self._waiting, self._context.waiting.new_token()
        with self._context.waiting.admitted(request_bytes(request)):
            future = waiting.expect(token)
            try:
                self._ask(machine, request, token)
                answer = await future
            except asyncio.CancelledError:
                if self._machine is machine:
                    machine.cancel(token)
                    self._tick_by(machine.deadline_ms())
                raise
            finally:
                waiting.forget(token)
        if isinstance(answer, OttlaError):
            raise answer
        # The machine answers with what the request's type says.
        return cast("T", answer)

    def _ask(self, machine: ShardMachine, request: GroupRequest[Any], token: Token) -> None:
        if isinstance(request, ConsumerHeartbeat):
            self._waiting.end_news(request.group_id, request.member_id)
        effects = machine.request(token, request, self._now_ms())
        self._perform(effects, group_id=request.group_id)

    async def wait_for_news(self, group_id: str, member_id: str, *, timeout_ms: int) -> bool:
        """See :class:`ottla.cluster.services.GroupsService`."""
        machine = self._usable(None)
        if machine.has_news(group_id, member_id):
            return True
        with (
            self._context.waiting.admitted(0),
            self._waiting.news_of(group_id, member_id) as news,
        ):
            try:
                async with asyncio.timeout(timeout_ms / 1000):
                    return await news
            except TimeoutError:
                return False

    def list_groups(self, which: ListGroups) -> Sequence[GroupListing]:
        """List the groups; raises as :meth:`submit`."""
        return self._usable(None).list_groups(which)

    def image_changed(self, image: ClusterImage) -> None:
        """Hear of topics that came, went or grew."""
        if self._machine is None:
            return
        if not self._can_decide:
            self._missed_tick = True
            self._tick_by(self._now_ms() + GROUP_LOG_WRITABLE_INTERVAL_MS)
            return
        self._perform(self._machine.image_changed(image, self._now_ms()))

    def _usable(self, request: GroupRequest[Any] | None) -> ShardMachine:
        """Return the machine; raise unless it can take ``request``, or a question if ``None``."""
        if self._machine is None:
            raise self._refusal()
        self.log.check_ours()
        if not isinstance(request, CommitOffsets) and not self._context.lease.is_held:
            raise CoordinatorNotAvailableError(
                "this broker has not heard from the controller for a while; another may coordinate "
                "this group by now: find the coordinator again"
            )
        if request is not None and not isinstance(request, _NEEDS_NO_RECORDS):
            self.log.check_writable()
        return self._machine

    @property
    def _can_decide(self) -> bool:
        return self.log.is_writable and self._context.lease.is_held

    def _still_reading(self) -> OttlaError:
        return CoordinatorLoadInProgressError(
            f"{self.log.topic_partition}, the log of this group, is being read; try again"
        )

    def _takes_no_records(self) -> OttlaError:
        return CoordinatorNotAvailableError(
            f"{self.log.topic_partition}, the log of this group, takes no records; try again"
        )

    # --- What follows ---

    def _now_ms(self) -> int:
        return self._clock.at(self._context.clock.now_ms())

    def _perform(self, effects: Effects, *, group_id: str | None = None) -> None:
        """Append, then answer; ``group_id`` is the only group that can have changed."""
        machine = self._machine
        assert machine is not None, self
        if effects.records:
            try:
                self.log.append(effects.records)
            except OttlaError as error:
                self._throw_away(error)
                return
            if self._shortener is not None and self._shortener.is_due:
                self._grown.set()
        if effects.answers:
            self._answer(effects.answers)
        if self._waiting.awaits_news:
            self._waiting.tell_news(machine.has_news, group_id=group_id)
        self._tick_by(machine.deadline_ms())

    def _append_live(self, machine: ShardMachine, records: Sequence[GroupRecord]) -> None:
        if self._machine is not machine:
            raise NotCoordinatorError(f"{self.log.topic_partition} has another machine by now")
        self.log.check_writable()
        # What is written again was known before: a failure takes nothing back.
        self.log.append(records)

    def _answer(self, answers: Sequence[Answer]) -> None:
        end_offset, committed = self.log.end_offset, self.log.committed_offset
        later: list[Answer] = []
        for answer in answers:
            if answer.after_commit and committed < end_offset:
                later.append(answer)
            else:
                self._waiting.deliver(answer)
        if not later:
            return
        done = partial(self._committed, self._waiting, later)
        try:
            self.log.when_committed(
                end_offset=end_offset, timeout_ms=self._context.commit_timeout_ms, done=done
            )
        except OttlaError as error:
            done(error)

    def _committed(
        self, waiting: Waiting, answers: Sequence[Answer], outcome: Outcome | OttlaError
    ) -> None:
        for answer in answers:
            if outcome is Outcome.REACHED:
                waiting.deliver(answer)
            elif outcome is Outcome.EXPIRED:
                waiting.refuse(answer, self._not_committed_in_time())
            else:
                waiting.refuse(answer, _as_coordinator(outcome))

    def _not_committed_in_time(self) -> OttlaError:
        return CoordinatorNotAvailableError(
            f"what was written to {self.log.topic_partition} was not committed within "
            f"{self._context.commit_timeout_ms} ms; it may still be"
        )

    # --- Ticks ---

    def _tick_by(self, deadline_ms: int | None) -> None:
        """Tick at ``deadline_ms``, unless it is done earlier anyway, which then looks again."""
        if deadline_ms is None:
            return
        if self._timer is not None:
            if self._timer_at_ms <= deadline_ms:
                return
            self._timer.cancel()
        self._timer_at_ms = deadline_ms
        # Whole milliseconds may show the deadline up to one late.
        now_ms = self._now_ms()
        delay_ms = max(0, deadline_ms - now_ms) + 1
        self._timer = asyncio.get_running_loop().call_later(
            delay_ms / 1000, self._ring, now_ms + delay_ms
        )

    def _ring(self, due_ms: int) -> None:
        self._timer = None
        now_ms = self._now_ms()
        if now_ms - due_ms > STOOD_STILL_MS and self._heard_until_ms < due_ms:
            self._heard_until_ms = now_ms + HEARD_FIRST_MS
        self._woken.set()

    def tick(self) -> None:
        """Do what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        machine = self._machine
        if machine is None or not self.log.is_ours:
            return
        deadline_ms, now_ms = machine.deadline_ms(), self._now_ms()
        is_due = deadline_ms is not None and deadline_ms <= now_ms
        if now_ms < self._heard_until_ms:
            self._tick_by(self._heard_until_ms)
        elif not is_due and not self._missed_tick:
            self._tick_by(deadline_ms)
        elif not self._can_decide:
            self._missed_tick = True
            self._tick_by(self._now_ms() + GROUP_LOG_WRITABLE_INTERVAL_MS)
        elif self._missed_tick:
            self._throw_away(CoordinatorNotAvailableError("it took no records for a while"))
        else:
            self._perform(machine.tick(now_ms))


def _as_coordinator(error: OttlaError) -> OttlaError:
    """Say of a group what was said of its log."""
    if isinstance(error, NotLeaderOrFollowerError | UnknownTopicOrPartitionError):
        return NotCoordinatorError(str(error))
    return CoordinatorNotAvailableError(str(error))
