"""Whatever order things happen in, whoever the controller may elect holds what is committed.

A leader, three brokers of which some are replicas, and a controller, each with its own truth; what
one learns of another comes late. The checks look at the truth, not at what the leader believes.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from random import Random

import pytest

from ottla.model.errors import NotLeaderOrFollowerError
from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch
from ottla.replication.leader import (
    AdvanceHighWatermark,
    FollowerFetched,
    Input,
    IsrCommitted,
    IsrMember,
    IsrRefused,
    LocalAppended,
    LocalDurable,
    PartitionLeader,
    ProposeIsr,
    ReplicasChanged,
    ServingChanged,
    Tick,
)

LEADER = BrokerId(1)
REPLICAS = frozenset(BrokerId(i) for i in (1, 2, 3))
BROKERS = REPLICAS | {BrokerId(4)}
FOLLOWERS = BROKERS - {LEADER}
LAG_TIME_MAX_MS = 1_000


class World:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_ms = 0
        self.log_end = self.random.randrange(10)
        self.durable = dict.fromkeys(sorted(BROKERS), 0)
        # The controller's truth, and its news on the way to the leader, in order.
        self.replicas = REPLICAS
        self.isr = frozenset({LEADER, self.random.choice((BrokerId(2), BrokerId(3)))})
        self.partition_epoch = 0
        self.serving = BROKERS
        self.news: deque[Input] = deque()
        self.proposals: deque[ProposeIsr] = deque()
        self.fetches: deque[FollowerFetched] = deque()
        self.min_insync_replicas = self.random.choice((1, 2))
        for member in sorted(self.isr):
            self.durable[member] = self.log_end
        self.high_watermark = self.random.randint(0, self.log_end)
        # What the leader before has committed and shown; the new one does not know.
        self.shown = self.random.randint(self.high_watermark, self.log_end)
        self.leader = PartitionLeader(
            broker=IsrMember(LEADER, BrokerEpoch(1)),
            replicas=REPLICAS,
            isr=self.isr,
            serving=BROKERS,
            leader_epoch=LeaderEpoch(1),
            partition_epoch=PartitionEpoch(0),
            log_end_offset=Offset(self.log_end),
            durable_end_offset=Offset(self.log_end),
            high_watermark=Offset(self.high_watermark),
            min_insync_replicas=self.min_insync_replicas,
            write_caching=False,
            replica_lag_time_max_ms=LAG_TIME_MAX_MS,
            now_ms=0,
        )
        self.step(Tick())

    def step(self, event: Input) -> None:
        for effect in self.leader.step(event, now_ms=self.now_ms):
            match effect:
                case AdvanceHighWatermark():
                    assert effect.high_watermark > self.high_watermark
                    assert len(self.leader.isr) >= self.min_insync_replicas
                    self.high_watermark = effect.high_watermark
                case ProposeIsr():
                    self.proposals.append(effect)
        self.check()

    def check(self) -> None:
        assert self.leader.high_watermark == self.high_watermark
        for member in sorted(self.isr):
            assert self.durable[member] >= max(self.high_watermark, self.shown), (
                member,
                self.leader,
            )
        served = self.leader.served_high_watermark
        if served is not None:
            assert served >= self.shown
            self.shown = served

    # --- What may happen ---

    def append(self) -> None:
        self.log_end += self.random.randint(1, 5)
        self.step(LocalAppended(Offset(self.log_end)))

    def sync(self) -> None:
        self.durable[LEADER] = self.random.randint(self.durable[LEADER], self.log_end)
        self.step(LocalDurable(Offset(self.durable[LEADER])))

    def replicate(self) -> None:
        follower = self.random.choice(sorted(FOLLOWERS))
        self.durable[follower] = self.random.randint(self.durable[follower], self.log_end)

    def acknowledge(self) -> None:
        self.acknowledge_from(self.random.choice(sorted(FOLLOWERS & self.serving) or [2]))

    def acknowledge_from(self, follower: int) -> None:
        self.fetches.append(
            FollowerFetched(
                replica=BrokerId(follower),
                broker_epoch=BrokerEpoch(1),
                leader_epoch=LeaderEpoch(1),
                fetch_offset=Offset(self.durable[BrokerId(follower)]),
            )
        )

    def deliver_fetch(self) -> None:
        if self.fetches:
            with suppress(NotLeaderOrFollowerError):  # it was removed, or not brought yet
                self.step(self.fetches.popleft())

    def control(self) -> None:
        """Let the controller answer a proposal; the leader hears of it later."""
        if not self.proposals:
            return
        proposal = self.proposals.popleft()
        isr = frozenset(member.broker_id for member in proposal.members)
        stale = proposal.partition_epoch != self.partition_epoch
        assert stale or isr <= self.replicas
        if stale or (isr - self.isr) - self.serving or self.random.random() < 0.2:
            self.news.append(IsrRefused(proposal.number))
        else:
            self.change_isr(isr)

    def fence(self) -> None:
        follower = self.random.choice(sorted(FOLLOWERS))
        self.serving -= {follower}
        if follower in self.isr:
            self.change_isr(self.isr - {follower})
        self.news.append(ServingChanged(self.serving))

    def unfence(self) -> None:
        self.serving = BROKERS
        self.news.append(ServingChanged(self.serving))

    def add_replica(self) -> None:
        """Let a reassignment bring a broker, whose disk may be empty or may hold an old copy."""
        new = self.random.choice(sorted(FOLLOWERS))
        if new in self.replicas:
            return
        self.durable[new] = self.random.randint(0, self.durable[new])
        # If it was here before, it has heard since that it was removed.
        self.fetches = deque(fetch for fetch in self.fetches if fetch.replica != new)
        self.change_replicas(self.replicas | {new}, self.isr)

    def remove_replica(self) -> None:
        """Let a reassignment remove a broker, if others are in sync."""
        old = self.random.choice(sorted(FOLLOWERS))
        if old in self.replicas and len(self.replicas) > 2 and self.isr - {LEADER, old}:
            self.change_replicas(self.replicas - {old}, self.isr - {old})

    def change_replicas(self, replicas: frozenset[BrokerId], isr: frozenset[BrokerId]) -> None:
        self.replicas = replicas
        self.news.append(ReplicasChanged(replicas))
        self.change_isr(isr)

    def change_isr(self, isr: frozenset[BrokerId]) -> None:
        self.partition_epoch += 1
        self.isr = isr
        self.news.append(
            IsrCommitted(isr=isr, partition_epoch=PartitionEpoch(self.partition_epoch))
        )
        self.check()

    def deliver_news(self) -> None:
        if self.news:
            self.step(self.news.popleft())

    def wait(self) -> None:
        self.now_ms += self.random.choice((1, 50, LAG_TIME_MAX_MS // 2))
        self.step(Tick())

    def act(self) -> None:
        actions = (
            *(self.append, self.sync, self.replicate, self.acknowledge) * 2,
            *(self.deliver_fetch, self.deliver_news, self.control, self.wait) * 2,
            self.fence,
            self.unfence,
            self.add_replica,
            self.remove_replica,
        )
        self.random.choice(actions)()

    def heal(self) -> None:
        """Let everybody catch up and hear everything, without new records."""
        self.unfence()
        self.durable = dict.fromkeys(self.durable, self.log_end)
        self.step(LocalDurable(Offset(self.log_end)))
        for _ in range(50):
            self.now_ms += 50
            for follower in sorted(self.replicas - {LEADER}):
                self.acknowledge_from(follower)
            while self.fetches or self.news or self.proposals:
                self.deliver_fetch()
                self.control()
                self.deliver_news()
            self.step(Tick())


@pytest.mark.parametrize("seed", range(300))
def test_every_electable_replica_holds_what_is_committed(seed: int) -> None:
    world = World(seed)
    for _ in range(200):
        world.act()


@pytest.mark.parametrize("seed", range(50))
def test_everything_is_committed_and_everybody_in_sync_after_healing(seed: int) -> None:
    world = World(seed)
    for _ in range(200):
        world.act()

    world.heal()

    assert world.high_watermark == world.log_end
    assert world.isr == world.leader.isr == world.replicas
    assert world.leader.served_high_watermark == world.log_end
