"""The follower's half of replication for one partition, as a state machine.

Inputs go in through :meth:`PartitionFollower.step`; what must happen because of them comes out as
a list of effects. Nothing here waits, opens a file, sends a message or reads a clock.

How a log is copied
-------------------
The follower says where its log ends and in which epoch its last record was written. The leader
compares that with its own log, and either sends what follows, batch after batch as they are
appended, or says why not::

    link opened ──Begin──► streaming ──batches──► append, acknowledge when durable
                             ▲   │
          Begin again ───────┤   ├─ the logs have diverged ──► cut ours ────┐
                             │   ├─ ours ends before the leader's begins ──►│ begin anew there
                             │   └─ not served now ──► wait a little ──┐    │
                             └─────────────────────────────────────────┴────┘

Each ``Begin`` has a number of its own, the *generation*, which comes back in all answers to it.
What was on its way when the follower began again is of an earlier one, and is ignored.

Where a log is cut
------------------
Never at the high watermark, which a follower learns late: a committed record could go (KIP-101).
If the logs differ, the leader names the largest epoch of its own that is not above that of our last
record, and where it ended; what both have of that epoch is the same (KIP-279, KIP-320). We cut
at the lower of that end and of ours for the same epoch, or for the largest of ours below it, and
ask again::

    leader   [0 epoch 1][20 epoch 3           ][60 epoch 6
    we       [0 epoch 1][20 epoch 2][30 epoch 4][50 epoch 5 .. 70)
                                    the leader: epoch 3 ended at 60; ours: epoch 2 ended at 30
    we       [0 epoch 1][20 epoch 2 .. 30)              epoch 1 ended at 20; so did ours
    we       [0 epoch 1 .. 20)                          the same; go on from 20

Every answer that is not the last takes away at least one epoch of ours, so this ends.

What is acknowledged
--------------------
Only what a crash cannot take: what is durable, or for a topic that allows write caching the end of
the log. The leader counts with nothing else.

Rules for the driver
--------------------
1. Effects are performed in order. After ``TruncateTo`` or ``StartAt`` step :class:`LogTruncated`;
   after ``AppendBatches`` step :class:`LogAppended` before the next message of the leader is
   stepped. If ``AppendBatches`` comes together with ``StartAt``, it is performed when the
   log has been cut, with the batches of that message.
2. Step a :class:`Tick` when :attr:`~PartitionFollower.deadline_ms` has passed.
3. If the disk fails there is nothing more to step.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol, assert_never

from ottla.model.ids import LeaderEpoch, Offset
from ottla.model.limits import FOLLOWER_BACKOFF_MAX_MS, FOLLOWER_BACKOFF_MIN_MS

# --- Inputs ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """A call to the leader's broker is there; nothing has been asked on it."""


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """It ended; what was under way on it does not come any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderSent:
    """The leader sent batches, or only offsets.

    ``first_offset`` and ``end_offset`` are those of the batches, ``None`` without any.
    """

    generation: int
    first_offset: Offset | None
    end_offset: Offset | None
    high_watermark: Offset
    log_start_offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderDiverged:
    """Our log is no part of the leader's, where its largest epoch not above our last one ended."""

    generation: int
    epoch: LeaderEpoch
    end_offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderOutOfRange:
    """What we asked for is not in the leader's log, which begins at ``log_start_offset``."""

    generation: int
    log_start_offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderRefused:
    """The leader does not serve us now (not leader, fenced, unknown epoch, storage...)."""

    generation: int


@dataclass(frozen=True, slots=True)
class LogAppended:
    """``AppendBatches`` was performed: our log ends here."""

    log_end_offset: Offset


@dataclass(frozen=True, slots=True)
class LogDurable:
    """Our log is safe on disk up to here."""

    durable_end_offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTruncated:
    """``TruncateTo`` or ``StartAt`` was performed, durably; this is what our log is now."""

    log_start_offset: Offset
    log_end_offset: Offset
    durable_end_offset: Offset


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """Somebody altered the topic's configuration."""

    write_caching: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


# --- Effects --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """Ask the leader for what follows ``fetch_offset``: ``FollowPartition`` of the protocol."""

    generation: int
    leader_epoch: LeaderEpoch
    fetch_offset: Offset
    last_fetched_epoch: LeaderEpoch | None
    durable_end_offset: Offset
    """What may be counted with, as if it were acknowledged."""


@dataclass(frozen=True, slots=True)
class AppendBatches:
    """Append the batches that came with this input (``PartitionLog.append_replicated``)."""


@dataclass(frozen=True, slots=True)
class TruncateTo:
    """Cut our log; step :class:`LogTruncated` when that is durable."""

    offset: Offset


@dataclass(frozen=True, slots=True)
class StartAt:
    """Drop all of our log and begin anew there; then step :class:`LogTruncated`."""

    offset: Offset


@dataclass(frozen=True, slots=True)
class DeleteBefore:
    """The leader's log start has risen: ours follows (``PartitionLog.delete_records_before``)."""

    offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Tell the leader what we cannot lose any more."""

    generation: int
    end_offset: Offset


@dataclass(frozen=True, slots=True)
class AdvanceHighWatermark:
    """What is below is committed, and we have it."""

    high_watermark: Offset


Input = (
    LinkOpened
    | LinkClosed
    | LeaderSent
    | LeaderDiverged
    | LeaderOutOfRange
    | LeaderRefused
    | LogAppended
    | LogDurable
    | LogTruncated
    | SettingsChanged
    | Tick
)
Effect = (
    Begin | AppendBatches | TruncateTo | StartAt | DeleteBefore | Acknowledge | AdvanceHighWatermark
)

# --- State ----------------------------------------------------------------------


class EpochHistory(Protocol):
    """Which leader epochs wrote our log, at any moment: ``PartitionLog.leader_epochs``."""

    @property
    def latest(self) -> tuple[LeaderEpoch, Offset] | None:
        """The epoch of the last record, and where it began; ``None``: not known."""

    def end_offset_for(
        self, epoch: LeaderEpoch, log_end_offset: Offset
    ) -> tuple[LeaderEpoch, Offset] | None:
        """Return the largest epoch at or below ``epoch`` and where it ended.

        ``None`` if ``epoch`` is above all, or there are none.
        """


class _State(Enum):
    """What the follower is waiting for."""

    IDLE = "idle"
    """A link."""
    STREAMING = "streaming"
    """The leader's answers."""
    REFUSED = "refused"
    """Time to pass, before it asks again."""
    CUTTING = "cutting"
    """The disk."""


class PartitionFollower:
    """Copies one partition from its leader of one epoch; a new epoch takes a new follower."""

    def __init__(
        self,
        *,
        leader_epoch: LeaderEpoch,
        log_start_offset: Offset,
        log_end_offset: Offset,
        durable_end_offset: Offset,
        high_watermark: Offset,
        epochs: EpochHistory,
        write_caching: bool,
        first_generation: int,
    ) -> None:
        """Begin to follow; generations rise from ``first_generation`` on."""
        assert 0 <= log_start_offset <= log_end_offset, (log_start_offset, log_end_offset)
        self._leader_epoch = leader_epoch
        self._log_start_offset = log_start_offset
        self._log_end_offset = log_end_offset
        self._durable_end_offset = min(durable_end_offset, log_end_offset)
        self._high_watermark = min(high_watermark, log_end_offset)
        self._epochs = epochs
        self._write_caching = write_caching
        self._generation = first_generation - 1
        self._state = _State.IDLE
        self._linked = False
        self._acknowledged = Offset(0)
        self._append_pending = False
        self._leader_high_watermark = Offset(0)
        self._leader_log_start_offset = Offset(0)
        self._backoff_ms = FOLLOWER_BACKOFF_MIN_MS
        self._begin_at_ms = 0

    def __repr__(self) -> str:
        return (
            f"<PartitionFollower epoch {self._leader_epoch} generation {self._generation} "
            f"{self._state.value}: [{self._log_start_offset},{self._log_end_offset}) "
            f"durable {self._durable_end_offset}, high watermark {self._high_watermark}>"
        )

    # --- What others may ask ---

    @property
    def leader_epoch(self) -> LeaderEpoch:
        """The epoch of the leader that is followed."""
        return self._leader_epoch

    @property
    def high_watermark(self) -> Offset:
        """The end of what is known to be committed and is in our log.

        Goes back only if an unclean leader makes us cut what was committed.
        """
        return self._high_watermark

    @property
    def next_generation(self) -> int:
        """What a successor in a later epoch is to begin with."""
        return self._generation + 1

    def deadline_ms(self) -> int | None:
        """When to step a :class:`Tick` if nothing else happens: to begin again after a refusal."""
        return self._begin_at_ms if self._state is _State.REFUSED else None

    # --- Steps ---

    def step(self, event: Input, *, now_ms: int) -> list[Effect]:
        """Apply one input and return what must be done, in order.

        What the leader says to an earlier generation is ignored.
        """
        match event:
            case LeaderSent() | LeaderDiverged() | LeaderOutOfRange() | LeaderRefused():
                current = event.generation == self._generation
                if current and self._state is _State.STREAMING:
                    return self._on_answer(event, now_ms)
            case LinkOpened() | LinkClosed():
                return self._on_link(event)
            case LogAppended() | LogDurable() | LogTruncated():
                return self._on_log(event)
            case SettingsChanged():
                self._write_caching = event.write_caching
                return self._acknowledge()
            case Tick():
                if self._state is _State.REFUSED and now_ms >= self._begin_at_ms:
                    return self._begin()
            case _:
                assert_never(event)
        return []

    def _on_link(self, event: LinkOpened | LinkClosed) -> list[Effect]:
        self._linked = isinstance(event, LinkOpened)
        if self._state is _State.CUTTING:
            return []
        self._state = _State.IDLE
        return self._begin()

    # --- What the leader says ---

    def _on_answer(
        self,
        event: LeaderSent | LeaderDiverged | LeaderOutOfRange | LeaderRefused,
        now_ms: int,
    ) -> list[Effect]:
        match event:
            case LeaderSent():
                return self._on_sent(event, now_ms)
            case LeaderDiverged():
                return self._on_diverged(event, now_ms)
            case LeaderOutOfRange():
                return self._on_out_of_range(event, now_ms)
            case LeaderRefused():
                return self._refused(now_ms)
            case _:
                assert_never(event)

    def _on_sent(self, event: LeaderSent, now_ms: int) -> list[Effect]:
        self._backoff_ms = FOLLOWER_BACKOFF_MIN_MS
        self._leader_high_watermark = max(self._leader_high_watermark, event.high_watermark)
        self._leader_log_start_offset = max(self._leader_log_start_offset, event.log_start_offset)
        if event.first_offset is None or event.end_offset is None:
            return self._keep_up()
        if event.first_offset == self._log_end_offset:
            return [AppendBatches()]
        is_empty = self._log_start_offset == self._log_end_offset
        if is_empty and event.first_offset < self._log_end_offset < event.end_offset:
            # The leader's log starts in the midst of a batch, and batches are sent whole.
            self._state = _State.CUTTING
            self._append_pending = True
            return [StartAt(event.first_offset), AppendBatches()]
        # Not what was asked for. Whatever it is, what we have is right.
        return self._refused(now_ms)

    def _on_diverged(self, event: LeaderDiverged, now_ms: int) -> list[Effect]:
        ours = self._epochs.end_offset_for(event.epoch, self._log_end_offset)
        our_end_offset = self._log_end_offset if ours is None else ours[1]
        offset = min(event.end_offset, our_end_offset)
        if offset >= self._log_end_offset:
            # It says that the logs differ, and where they do, they do not.
            return self._refused(now_ms)
        self._backoff_ms = FOLLOWER_BACKOFF_MIN_MS
        self._state = _State.CUTTING
        return [TruncateTo(offset)]

    def _on_out_of_range(self, event: LeaderOutOfRange, now_ms: int) -> list[Effect]:
        offset = event.log_start_offset
        is_empty = self._log_start_offset == self._log_end_offset
        ahead = offset > self._log_end_offset
        incomparable = is_empty or self._epochs.latest is None
        if not ahead and (not incomparable or (is_empty and offset == self._log_end_offset)):
            # It has what we asked for, by its own account. Perhaps it had not a moment ago.
            return self._refused(now_ms)
        self._state = _State.CUTTING
        return [StartAt(offset)]

    def _refused(self, now_ms: int) -> list[Effect]:
        self._state = _State.REFUSED
        self._begin_at_ms = now_ms + self._backoff_ms
        self._backoff_ms = min(2 * self._backoff_ms, FOLLOWER_BACKOFF_MAX_MS)
        return []

    # --- What our log says ---

    def _on_log(self, event: LogAppended | LogDurable | LogTruncated) -> list[Effect]:
        match event:
            case LogAppended():
                return self._on_appended(event)
            case LogTruncated():
                return self._on_truncated(event)
            case LogDurable():
                durable_end_offset = min(event.durable_end_offset, self._log_end_offset)
                self._durable_end_offset = max(self._durable_end_offset, durable_end_offset)
                return self._acknowledge()
            case _:
                assert_never(event)

    def _on_appended(self, event: LogAppended) -> list[Effect]:
        assert event.log_end_offset >= self._log_end_offset, (event, self)
        self._log_end_offset = event.log_end_offset
        effects = self._keep_up()
        if self._append_pending:
            self._append_pending = False
            effects += self._after_cut()
        return effects

    def _on_truncated(self, event: LogTruncated) -> list[Effect]:
        assert self._state is _State.CUTTING, (event, self)
        self._log_start_offset = event.log_start_offset
        self._log_end_offset = event.log_end_offset
        self._durable_end_offset = min(event.durable_end_offset, event.log_end_offset)
        # The start is as far as anybody can tell committed: nobody has what lies below.
        self._high_watermark = max(
            event.log_start_offset, min(self._high_watermark, event.log_end_offset)
        )
        return [] if self._append_pending else self._after_cut()

    def _after_cut(self) -> list[Effect]:
        self._state = _State.IDLE
        return self._begin()

    # --- Consequences ---

    def _begin(self) -> list[Effect]:
        if not self._linked:
            return []
        self._state = _State.STREAMING
        self._generation += 1
        self._acknowledged = self._safe_end_offset()
        latest = self._epochs.latest
        return [
            Begin(
                generation=self._generation,
                leader_epoch=self._leader_epoch,
                fetch_offset=self._log_end_offset,
                last_fetched_epoch=None if latest is None else latest[0],
                durable_end_offset=self._acknowledged,
            )
        ]

    def _keep_up(self) -> list[Effect]:
        """Follow the leader's offsets as far as our log goes."""
        effects: list[Effect] = []
        high_watermark = min(self._leader_high_watermark, self._log_end_offset)
        if high_watermark > self._high_watermark:
            self._high_watermark = high_watermark
            effects.append(AdvanceHighWatermark(high_watermark))
        log_start_offset = min(self._leader_log_start_offset, self._log_end_offset)
        if log_start_offset > self._log_start_offset:
            self._log_start_offset = log_start_offset
            effects.append(DeleteBefore(log_start_offset))
        return effects + self._acknowledge()

    def _acknowledge(self) -> list[Effect]:
        end_offset = self._safe_end_offset()
        if self._state is not _State.STREAMING or end_offset <= self._acknowledged:
            return []
        self._acknowledged = end_offset
        return [Acknowledge(generation=self._generation, end_offset=end_offset)]

    def _safe_end_offset(self) -> Offset:
        return self._log_end_offset if self._write_caching else self._durable_end_offset
