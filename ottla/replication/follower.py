"""The follower's half of replication for one partition, as a state machine.

Interface agreed; see the class.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla.model.ids import LeaderEpoch, Offset

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
    """The leader's log has nothing of ``epoch``, or of a later one up to ours, from there on."""

    generation: int
    epoch: LeaderEpoch
    end_offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderOutOfRange:
    """What we asked for is below the leader's log start."""

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


@dataclass(frozen=True, slots=True)
class LogTruncated:
    """``TruncateTo`` or ``StartAt`` was performed."""

    log_end_offset: Offset
    last_epoch: LeaderEpoch | None


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


@dataclass(frozen=True, slots=True)
class AppendBatches:
    """Append the batches that came with this input (``PartitionLog.append_replicated``)."""


@dataclass(frozen=True, slots=True)
class TruncateTo:
    """Cut our log; step :class:`LogTruncated` when that is durable."""

    offset: Offset


@dataclass(frozen=True, slots=True)
class StartAt:
    """Drop all of our log and begin at the leader's log start; then :class:`LogTruncated`."""

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
    | Tick
)
Effect = (
    Begin | AppendBatches | TruncateTo | StartAt | DeleteBefore | Acknowledge | AdvanceHighWatermark
)


class PartitionFollower:
    """Copies one partition from its leader of one epoch; a new epoch takes a new follower."""

    def __init__(
        self,
        *,
        leader_epoch: LeaderEpoch,
        log_start_offset: Offset,
        log_end_offset: Offset,
        last_epoch: LeaderEpoch | None,
        durable_end_offset: Offset,
        high_watermark: Offset,
        write_caching: bool,
        first_generation: int,
        now_ms: int,
    ) -> None:
        """Begin to follow; generations rise from ``first_generation`` on."""
        raise NotImplementedError

    @property
    def high_watermark(self) -> Offset:
        """The end of what is known to be committed and is in our log; never goes back."""
        raise NotImplementedError

    @property
    def next_generation(self) -> int:
        """What a successor in a later epoch is to begin with."""
        raise NotImplementedError

    def step(self, event: Input, *, now_ms: int) -> list[Effect]:
        """Apply one input and return what must be done, in order.

        Inputs of an earlier generation are ignored.
        """
        raise NotImplementedError

    def deadline_ms(self) -> int | None:
        """When to step a :class:`Tick` if nothing else happens: to begin again after a refusal."""
        raise NotImplementedError
