"""The leader's half of replication for one partition, as a state machine.

Inputs go in through :meth:`PartitionLeader.step`; what must happen because of them comes out as
a list of effects. Nothing here waits, opens a file, sends a message or reads a clock.

What is committed
-----------------
A record is committed when it cannot be lost while one replica that may be elected survives. The
*high watermark* is the end of what is committed. It is the lowest *end* among those who count,
where the end of a replica is what a crash cannot take from it: its durable end or, for a topic
that allows write caching, the end of its log. Who counts:

* the members of the in-sync set that the controller committed, for any of them may be elected;
* those that we have *asked* the controller to add, for it may already have agreed: together
  with the former the *maximal* in-sync set (KIP-497);
* for a moment, a serving follower about to be asked for. To join it must hold everything below
  the high watermark, and under steady load that moves on while the follower's acknowledgement is
  under way. So we wait for a follower that has just caught up, but never longer than
  ``JOIN_HOLD_MAX_MS`` without hearing from it.

And it moves only while the committed in-sync set has ``min.insync.replicas`` members (KIP-966):
what one replica alone has committed, it alone can lose. A topic of fewer replicas than that needs
all of them, those not counted that a reassignment is only bringing.

A new leader does not know how far its predecessor's high watermark was, only that it was not
beyond the log end that it starts with, the *epoch start*. Until its own gets there it has none to
show (:attr:`PartitionLeader.served_high_watermark`): a reader who saw the predecessor's would see
it go back. If the leader is the whole in-sync set, that takes one sync of its log.

Who is in sync
--------------
A follower acknowledges by fetching: a fetch *at* offset ``n`` proves that it holds every record
below ``n``. (What is pushed to it as it is appended it acknowledges the same way; see
:mod:`ottla.cluster.follower_streams`.)
It *was caught up at* time ``t`` if it now holds every record that we held at ``t``.
(Comparing with our present end instead would evict a healthy follower of a busy partition, which
is always a little behind.) Who has not been caught up for ``replica.lag.time.max.ms`` is to leave
the set; who serves, and holds all that is or may prove to be committed, is to join it. The
controller decides (it alone can order changes of the set and elections); until it has, the larger
set counts. Who left the set, or ceased to serve, is unknown to us until it fetches again.

A reassignment brings and removes followers while we lead. One that is brought joins as any other
does. One that is removed counts for as long as the in-sync set that we know to be committed has it.

Rules for the driver
--------------------
1. Step a :class:`Tick` once after construction, and whenever :attr:`~PartitionLeader.deadline_ms`
   has passed. Effects are performed in order.
2. A ``ProposeIsr`` is answered by ``IsrCommitted``, which is any news of the partition from the
   metadata log, or by ``IsrRefused`` with its number. While the outcome is unknown the driver asks
   again, with the same content; it says "refused" only when no copy of it can be applied any more.
3. A follower's log was compared with ours, by leader epochs, before its fetch gets here.
4. A follower fetches again after a second or so, also when there is nothing new: it is how we know
   that it lives. Nobody fetches in its place: whoever pushes to it steps ``FollowerFetched`` when
   it has heard from it, and not because it has sent something.
5. News of the partition are stepped as ``ReplicasChanged``, ``ServingChanged``, ``IsrCommitted``,
   in this order: the last one has the epoch on which the leader proposes again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple, assert_never

from ottla.model.errors import (
    FencedLeaderEpochError,
    NotEnoughReplicasError,
    NotLeaderOrFollowerError,
    OffsetOutOfRangeError,
    StaleBrokerEpochError,
    UnknownLeaderEpochError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch
from ottla.model.limits import ISR_RETRY_BACKOFF_MS, JOIN_HOLD_MAX_MS
from ottla.replication.follower_progress import FollowerProgress

ACKS_ALL: Final = -1
# --- Inputs ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LocalAppended:
    """Records reached our own log."""

    log_end_offset: Offset


@dataclass(frozen=True, slots=True)
class LocalDurable:
    """Our own log is safe on disk up to ``durable_end_offset``."""

    durable_end_offset: Offset


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowerFetched:
    """A follower asked for the records from ``fetch_offset`` on."""

    replica: BrokerId
    broker_epoch: BrokerEpoch
    leader_epoch: LeaderEpoch
    fetch_offset: Offset
    """Its durable end; for a topic with write caching, its log end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IsrCommitted:
    """The metadata log says that ``isr`` is the in-sync set."""

    isr: frozenset[BrokerId]
    partition_epoch: PartitionEpoch


@dataclass(frozen=True, slots=True)
class IsrRefused:
    """The controller refused proposal ``number``, and no copy of it is under way any more."""

    number: int


@dataclass(frozen=True, slots=True)
class ReplicasChanged:
    """The metadata log says who replicates the partition now; we still do."""

    replicas: frozenset[BrokerId]
    adding: frozenset[BrokerId] = frozenset()
    """Those of them that a reassignment under way brings."""


@dataclass(frozen=True, slots=True)
class ServingChanged:
    """The metadata log says which replicas are on brokers that are not fenced."""

    serving: frozenset[BrokerId]


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChanged:
    """Somebody altered the topic's configuration."""

    min_insync_replicas: int
    write_caching: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed."""


Input = (
    LocalAppended
    | LocalDurable
    | FollowerFetched
    | IsrCommitted
    | IsrRefused
    | ReplicasChanged
    | ServingChanged
    | SettingsChanged
    | Tick
)

# --- Effects --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AdvanceHighWatermark:
    """Records below ``high_watermark`` are committed: answer producers, wake consumers."""

    high_watermark: Offset


class IsrMember(NamedTuple):
    """A replica in the life in which we know it to be in sync."""

    broker_id: BrokerId
    broker_epoch: BrokerEpoch


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposeIsr:
    """Ask the controller to make ``members`` the in-sync set.

    It refuses if the partition has another epoch by now, or a member another life (KIP-903).
    """

    number: int
    members: tuple[IsrMember, ...]
    """In order of broker id."""
    leader_epoch: LeaderEpoch
    partition_epoch: PartitionEpoch


Effect = AdvanceHighWatermark | ProposeIsr

# --- State ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderStatistics:
    """What a leader knows, for metrics and for people."""

    leader_epoch: LeaderEpoch
    partition_epoch: PartitionEpoch
    log_end_offset: Offset
    durable_end_offset: Offset
    high_watermark: Offset
    isr: frozenset[BrokerId]
    proposed_isr: frozenset[BrokerId] | None
    follower_end_offsets: dict[BrokerId, Offset | None]
    """``None``: it has not fetched from this leader yet."""


class PartitionLeader:
    """In-sync set and high watermark of one partition, while this broker leads it."""

    def __init__(
        self,
        *,
        broker: IsrMember,
        replicas: frozenset[BrokerId],
        adding: frozenset[BrokerId] = frozenset(),
        isr: frozenset[BrokerId],
        serving: frozenset[BrokerId],
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        log_end_offset: Offset,
        durable_end_offset: Offset,
        high_watermark: Offset,
        min_insync_replicas: int,
        write_caching: bool,
        replica_lag_time_max_ms: int,
        now_ms: int,
    ) -> None:
        """Begin a reign.

        ``high_watermark`` is the last that this broker knew as a follower, or that its checkpoint
        has. ``now_ms`` is any clock's, the same in every call, that never goes back.
        """
        assert broker.broker_id in isr, "a leader is always in sync with itself"
        assert isr <= replicas, (isr, replicas)
        assert 0 <= high_watermark <= log_end_offset, (high_watermark, log_end_offset)
        assert durable_end_offset <= log_end_offset, (durable_end_offset, log_end_offset)
        self._broker = broker
        self._isr = isr
        self._serving = serving
        self._leader_epoch = leader_epoch
        self._partition_epoch = partition_epoch
        self._epoch_start_offset = log_end_offset
        self._log_end_offset = log_end_offset
        self._durable_end_offset = durable_end_offset
        self._high_watermark = high_watermark
        self._replicas = replicas
        self._adding = adding
        self._min_insync_replicas = min_insync_replicas
        self._write_caching = write_caching
        self._lag_time_max_ms = replica_lag_time_max_ms
        self._join_hold_max_ms = min(JOIN_HOLD_MAX_MS, replica_lag_time_max_ms)
        self._proposed_isr: frozenset[BrokerId] | None = None
        self._proposals = 0
        self._retry_at_ms: int | None = None
        # A new leader gives every member one full lag time to appear.
        self._followers = {
            replica: FollowerProgress(caught_up_at_ms=now_ms if replica in isr else None)
            for replica in sorted(replicas - {broker.broker_id})
        }

    def __repr__(self) -> str:
        followers = " ".join(
            f"{replica}@{'?' if follower.end_offset is None else follower.end_offset}"
            for replica, follower in self._followers.items()
        )
        proposed = self._proposed_isr
        return (
            f"<PartitionLeader {self._broker.broker_id} epoch {self._leader_epoch}: "
            f"high watermark {self._high_watermark}, durable {self._durable_end_offset}, "
            f"end {self._log_end_offset}, in sync {_listed(self._isr)}"
            + (f", asked for {_listed(proposed)}" if proposed is not None else "")
            + (f", followers {followers}" if followers else "")
            + ">"
        )

    # --- What others may ask ---

    @property
    def leader_epoch(self) -> LeaderEpoch:
        """The epoch in which this broker leads."""
        return self._leader_epoch

    @property
    def partition_epoch(self) -> PartitionEpoch:
        """Of the latest news of the partition; a proposal made in an earlier one is settled."""
        return self._partition_epoch

    @property
    def isr(self) -> frozenset[BrokerId]:
        """The in-sync set that the controller last committed."""
        return self._isr

    @property
    def high_watermark(self) -> Offset:
        """An end of what is certain to be committed; never goes back."""
        return self._high_watermark

    @property
    def served_high_watermark(self) -> Offset | None:
        """The high watermark to show; ``None`` while a predecessor may have shown a higher one.

        Answer ``OFFSET_NOT_AVAILABLE`` then.
        """
        known = self._high_watermark >= self._epoch_start_offset
        return self._high_watermark if known else None

    @property
    def is_under_min_insync(self) -> bool:
        """Whether too few replicas are in sync to commit anything."""
        return len(self._isr) < self._min_insync_needed

    def check_can_append(self, acks: int) -> None:
        """Raise :exc:`NotEnoughReplicasError` if a write with ``acks`` must not begin."""
        if acks == ACKS_ALL and self.is_under_min_insync:
            raise NotEnoughReplicasError(
                f"{len(self._isr)} of {len(self._replicas)} replicas are in sync "
                f"({_listed(self._isr)}), and min.insync.replicas asks for "
                f"{self._min_insync_needed}; try again when more are"
            )

    def statistics(self) -> LeaderStatistics:
        """Return what the leader knows at this moment."""
        return LeaderStatistics(
            leader_epoch=self._leader_epoch,
            partition_epoch=self._partition_epoch,
            log_end_offset=self._log_end_offset,
            durable_end_offset=self._durable_end_offset,
            high_watermark=self._high_watermark,
            isr=self._isr,
            proposed_isr=self._proposed_isr,
            follower_end_offsets={
                replica: follower.end_offset for replica, follower in self._followers.items()
            },
        )

    def deadline_ms(self) -> int | None:
        """When to step a :class:`Tick` if nothing else happens; ``None``: no need to."""
        deadlines = []
        may_propose = self._proposed_isr is None
        if may_propose and self._retry_at_ms is not None:
            deadlines.append(self._retry_at_ms)
            may_propose = False
        for replica, follower in self._followers.items():
            if follower.caught_up_at_ms is None:
                continue
            if replica not in self._isr:
                deadlines.append(follower.caught_up_at_ms + self._join_hold_max_ms + 1)
            elif may_propose:
                deadlines.append(follower.caught_up_at_ms + self._lag_time_max_ms + 1)
        return min(deadlines, default=None)

    # --- Steps ---

    def step(self, event: Input, *, now_ms: int) -> list[Effect]:
        """Apply one input and return what must be done because of it.

        Of the inputs only :class:`FollowerFetched` may be refused; nothing has changed then.

        Raises:
            FencedLeaderEpochError: the follower follows an earlier leader.
            UnknownLeaderEpochError: it knows of a later one.
            NotLeaderOrFollowerError: it is no replica of this partition.
            StaleBrokerEpochError: it has been restarted, and this is of its earlier life.
            OffsetOutOfRangeError: it has more than we do, so its log is not a part of ours.
        """
        match event:
            case LocalAppended():
                self._on_local_appended(event)
            case LocalDurable():
                self._on_local_durable(event)
            case FollowerFetched():
                self._on_follower_fetched(event, now_ms)
            case IsrCommitted():
                self._on_isr_committed(event, now_ms)
            case IsrRefused():
                self._on_isr_refused(event, now_ms)
            case ReplicasChanged():
                self._on_replicas_changed(event)
            case ServingChanged():
                self._on_serving_changed(event)
            case SettingsChanged():
                self._min_insync_replicas = event.min_insync_replicas
                self._write_caching = event.write_caching
            case Tick():
                pass
            case _:
                assert_never(event)
        self._end_holds(now_ms)
        return [*self._advance_high_watermark(), *self._propose_isr(now_ms)]

    def _on_local_appended(self, event: LocalAppended) -> None:
        assert event.log_end_offset >= self._log_end_offset, "a leader never truncates"
        self._log_end_offset = event.log_end_offset

    def _on_local_durable(self, event: LocalDurable) -> None:
        durable_end_offset = event.durable_end_offset
        assert self._durable_end_offset <= durable_end_offset <= self._log_end_offset, (event, self)
        self._durable_end_offset = durable_end_offset

    def _on_follower_fetched(self, event: FollowerFetched, now_ms: int) -> None:
        if event.leader_epoch < self._leader_epoch:
            raise FencedLeaderEpochError(
                f"{event} while broker {self._broker.broker_id} leads at epoch "
                f"{self._leader_epoch}; follow that"
            )
        if event.leader_epoch > self._leader_epoch:
            raise UnknownLeaderEpochError(
                f"{event} while broker {self._broker.broker_id} leads at epoch "
                f"{self._leader_epoch}; ask again"
            )
        follower = self._followers.get(event.replica)
        if follower is None or event.replica not in self._replicas:
            followers = self._replicas - {self._broker.broker_id}
            raise NotLeaderOrFollowerError(
                f"{event}, but the followers of this partition are {_listed(followers)}"
            )
        if event.broker_epoch < follower.broker_epoch:
            raise StaleBrokerEpochError(
                f"{event}, but that broker has fetched with broker epoch {follower.broker_epoch}"
            )
        if event.fetch_offset > self._log_end_offset:
            raise OffsetOutOfRangeError(
                f"{event}, but the leader's log ends at {self._log_end_offset}; truncate first"
            )
        follower.fetched(
            event.fetch_offset,
            broker_epoch=event.broker_epoch,
            leader_end=self._log_end_offset,
            now_ms=now_ms,
        )

    def _on_isr_committed(self, event: IsrCommitted, now_ms: int) -> None:
        if event.partition_epoch <= self._partition_epoch:
            return  # Metadata that we have seen already.
        assert self._broker.broker_id in event.isr, "a leader is always in sync with itself"
        assert event.isr <= {self._broker.broker_id, *self._followers}, (event, self)
        for replica in self._isr - event.isr:
            self._followers[replica].forget()
        for replica in event.isr - self._isr:
            # A full lag time from here: what it had to hold to join may be far behind our end.
            self._followers[replica].caught_up_at_ms = now_ms
        self._isr = event.isr
        self._partition_epoch = event.partition_epoch
        # Ours bears an earlier epoch: it has been committed just now, or it never will be.
        self._proposed_isr = None
        self._retry_at_ms = None
        self._forget_removed()

    def _on_isr_refused(self, event: IsrRefused, now_ms: int) -> None:
        if self._proposed_isr is None or event.number != self._proposals:
            return  # The metadata log has overtaken the answer.
        self._proposed_isr = None
        self._retry_at_ms = now_ms + ISR_RETRY_BACKOFF_MS
        self._forget_removed()

    def _on_replicas_changed(self, event: ReplicasChanged) -> None:
        assert self._broker.broker_id in event.replicas, "a leader replicates what it leads"
        self._replicas = event.replicas
        self._adding = event.adding
        for replica in sorted(event.replicas - self._followers.keys() - {self._broker.broker_id}):
            self._followers[replica] = FollowerProgress(caught_up_at_ms=None)
        self._forget_removed()

    def _forget_removed(self) -> None:
        """Let go of the followers that were removed, and that no in-sync set has any more."""
        known = self._replicas | self._isr | (self._proposed_isr or frozenset())
        for replica in [replica for replica in self._followers if replica not in known]:
            del self._followers[replica]

    def _on_serving_changed(self, event: ServingChanged) -> None:
        self._serving = event.serving
        for replica, follower in self._followers.items():
            if replica not in self._serving and replica not in self._isr:
                follower.forget()

    # --- Consequences, recomputed after every input ---

    @property
    def _min_insync_needed(self) -> int:
        # As the controller counts: who is only being brought makes no write wait, or fail.
        return min(self._min_insync_replicas, len(self._replicas - self._adding))

    def _end_holds(self, now_ms: int) -> None:
        """Wait no more for those that caught up, and then were not heard of."""
        for replica, follower in self._followers.items():
            if replica not in self._isr and not follower.was_caught_up_within(
                self._join_hold_max_ms, now_ms
            ):
                follower.caught_up_at_ms = None

    def _advance_high_watermark(self) -> list[Effect]:
        if self.is_under_min_insync:
            return []
        end = self._log_end_offset if self._write_caching else self._durable_end_offset
        for replica, follower in self._followers.items():
            if not self._counts(replica, follower):
                continue
            if follower.end_offset is None:
                return []  # It may hold less than we believe.
            end = min(end, follower.end_offset)
        if end <= self._high_watermark:
            return []
        self._high_watermark = end
        return [AdvanceHighWatermark(end)]

    def _counts(self, replica: BrokerId, follower: FollowerProgress) -> bool:
        """Whether the high watermark waits for this follower."""
        if replica in self._isr:
            return True
        if self._proposed_isr is not None and replica in self._proposed_isr:
            return True
        return replica in self._serving and follower.caught_up_at_ms is not None

    def _propose_isr(self, now_ms: int) -> list[Effect]:
        if self._proposed_isr is not None:
            return []  # One proposal at a time...
        if self._retry_at_ms is not None and now_ms < self._retry_at_ms:
            return []  # ... and not the same one all the time.
        self._retry_at_ms = None
        changes = {
            replica
            for replica, follower in self._followers.items()
            if self._belongs_in_isr(replica, follower, now_ms) != (replica in self._isr)
        }
        if not changes:
            return []
        self._proposed_isr = self._isr ^ changes
        self._proposals += 1
        members = [self._broker] + [
            IsrMember(replica, follower.broker_epoch)
            for replica, follower in self._followers.items()
            if replica in self._proposed_isr
        ]
        return [
            ProposeIsr(
                number=self._proposals,
                members=tuple(sorted(members)),
                leader_epoch=self._leader_epoch,
                partition_epoch=self._partition_epoch,
            )
        ]

    def _belongs_in_isr(self, replica: BrokerId, follower: FollowerProgress, now_ms: int) -> bool:
        if replica in self._isr:
            return follower.was_caught_up_within(self._lag_time_max_ms, now_ms)
        # To join it must hold every record that is committed, or that a predecessor may have
        # committed: otherwise electing it would lose some.
        end = follower.end_offset
        return (
            replica in self._serving
            and end is not None
            and end >= max(self._high_watermark, self._epoch_start_offset)
        )


def _listed(brokers: Iterable[BrokerId]) -> str:
    return " ".join(str(broker) for broker in sorted(brokers))
