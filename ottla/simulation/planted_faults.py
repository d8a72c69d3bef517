"""Known mistakes, made on purpose, to see that the simulation finds them.

Each is a variant of a part, put in the part's place by :class:`~ottla.simulation.node.Machinery`;
the part itself is not touched. All six have been made by somebody, some by several.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ottla.controller.raft.engine import RaftEngine
from ottla.model.ids import BrokerId, LeaderEpoch
from ottla.replication import follower as following
from ottla.replication import leader as leading
from ottla.replication.follower import PartitionFollower
from ottla.replication.follower_progress import FollowerProgress
from ottla.replication.leader import PartitionLeader
from ottla.simulation.leader_calls import LeaderCalls
from ottla.simulation.node import Machinery
from ottla.simulation.replica import Replica
from ottla.simulation.scenario import Profile

# ruff: noqa: SLF001 -- a mistake is made inside


class CountsCommittedIsrOnly(PartitionLeader):
    """Does not count those that the controller was asked to add, and may have added already."""

    def _counts(self, replica: BrokerId, follower: FollowerProgress) -> bool:
        del follower
        return replica in self.isr


class DoesNotWaitForShrink(PartitionLeader):
    """Goes on without a follower as soon as it has asked for a smaller in-sync set."""

    def _counts(self, replica: BrokerId, follower: FollowerProgress) -> bool:
        if self._proposed_isr is not None and replica not in self._proposed_isr:
            return False
        return super()._counts(replica, follower)


class AcceptsStaleEpochs(PartitionLeader):
    """Counts what followers of an earlier leader say, as if they followed this one."""

    def step(self, event: leading.Input, *, now_ms: int) -> list[leading.Effect]:
        if isinstance(event, leading.FollowerFetched):
            event = replace(event, leader_epoch=self.leader_epoch)
        return super().step(event, now_ms=now_ms)


class ServesStaleEpochs(LeaderCalls):
    """Sends to followers of an earlier leader, as if they followed this one."""

    def records_changed(self, replica: Replica) -> None:
        if replica.leader is not None:
            super().records_changed(replica)

    def epochs_agree(self, ours: LeaderEpoch, theirs: LeaderEpoch) -> bool:
        return theirs <= ours


class TruncatesToHighWatermark(PartitionFollower):
    """Cuts its log where it believes that everything is committed, and does not compare epochs."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 -- passed through
        super().__init__(**arguments)
        self._was_cut = False

    def step(self, event: following.Input, *, now_ms: int) -> list[following.Effect]:
        if isinstance(event, following.LinkOpened) and not self._was_cut:
            self._was_cut = True
            if self.high_watermark < self._log_end_offset:
                self._linked = True
                self._state = following._State.CUTTING
                return [following.TruncateTo(self.high_watermark)]
        return [
            replace(effect, last_fetched_epoch=None)
            if isinstance(effect, following.Begin)
            else effect
            for effect in super().step(event, now_ms=now_ms)
        ]


class AcknowledgesBeforeSync(PartitionFollower):
    """Tells the leader of records when they are in the page cache."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 -- passed through
        super().__init__(**arguments | {"write_caching": True})


class ForgetsItsVote(RaftEngine):
    """Remembers in which term it was, and not for whom it voted in it."""

    def __init__(self, **arguments: Any) -> None:  # noqa: ANN401 -- passed through
        super().__init__(**arguments)
        self._journal._voted_for = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedFault:
    """A mistake, and the worlds in which it shows."""

    what: str
    profile: Profile
    found_by: frozenset[str]
    """The invariants one of which it breaks first."""
    seeds_max: int = 10
    """How many seeds are enough to find it, with a margin."""


_SMALL: Final = Profile(
    five_brokers=0.0,
    write_caching=0.0,
    topics_max=1,
    replication_factors=(3,),
    poll_max_ms=(500, 1_000),
)
_ELECTIONS: Final = {"contested election": 1}
_CHANGING_LEADERS: Final = {"reassignment": 4, "preferred leaders": 1, "slow network": 3}
_LATE_NEWS: Final = {"kill": 1, "lost answers": 4, "pause": 2}

PLANTED_FAULTS: Final[Mapping[str, PlantedFault]] = {
    "committed-isr": PlantedFault(
        what="the high watermark waits for the committed in-sync set only",
        profile=replace(
            _SMALL,
            machinery=Machinery(leader=CountsCommittedIsrOnly),
            weights=_LATE_NEWS,
            interval_ms=(300, 500),
            pause_max_ms=(20, 60),
        ),
        found_by=frozenset({"AcknowledgedIsDurable", "LeaderCompleteness"}),
        seeds_max=60,
    ),
    "forgotten-vote": PlantedFault(
        what="a vote is not persisted",
        profile=replace(
            _SMALL,
            machinery=Machinery(engine=ForgetsItsVote),
            weights=_ELECTIONS,
            interval_ms=(700, 1_000),
            pause_max_ms=(1_000, 2_000),
            duration_ms=(16_000, 16_000),
        ),
        found_by=frozenset({"ElectionSafety"}),
        seeds_max=80,
    ),
    "truncate-to-high-watermark": PlantedFault(
        what="a follower cuts its log to the high watermark that it knows",
        profile=replace(_SMALL, machinery=Machinery(follower=TruncatesToHighWatermark)),
        found_by=frozenset({"CommittedIsKept"}),
    ),
    "early-acknowledgement": PlantedFault(
        what="a follower acknowledges before its sync",
        profile=replace(_SMALL, machinery=Machinery(follower=AcknowledgesBeforeSync)),
        found_by=frozenset({"AcknowledgedIsDurable"}),
    ),
    "stale-epoch": PlantedFault(
        what="a leader takes followers of an earlier epoch for its own",
        profile=replace(
            _SMALL,
            machinery=Machinery(leader=AcceptsStaleEpochs, leader_calls=ServesStaleEpochs),
            weights=_CHANGING_LEADERS,
            replication_factors=(2,),
            interval_ms=(300, 500),
            duration_ms=(16_000, 16_000),
        ),
        found_by=frozenset({"EpochsOfTheFollowed", "AcknowledgedIsDurable", "CommittedIsKept"}),
        seeds_max=60,
    ),
    "shrink-not-awaited": PlantedFault(
        what="a leader goes on without a follower before the controller has agreed",
        profile=replace(_SMALL, machinery=Machinery(leader=DoesNotWaitForShrink)),
        found_by=frozenset({"AcknowledgedIsDurable", "LeaderCompleteness"}),
        seeds_max=30,
    ),
}
"""By the names that ``ottla simulate --fault`` takes."""
