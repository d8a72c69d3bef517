"""Whoever leads when, and whatever is lost on the way, nothing committed differs or disappears.

Two brokers with the state machines of both roles, a controller that elects who is in sync, and a
call between them that breaks. A broker hears of an election late, and may crash: then it has what
was durable. All is compared with what leaders have shown as committed.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import cast

import pytest

from ottla.cluster.log_comparison import divergence
from ottla.model.errors import OffsetOutOfRangeError
from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch
from ottla.replication import follower as following
from ottla.replication import leader as leading
from ottla.replication.follower import PartitionFollower
from ottla.replication.leader import IsrMember, PartitionLeader
from ottla.storage.log import PartitionLog
from tests.replication.copying import ModelLog, Record

LAG_TIME_MAX_MS = 500
REPLICAS = frozenset({BrokerId(1), BrokerId(2)})
BATCHES_UNDER_WAY_MAX = 3


class Image:
    """What the controller says."""

    def __init__(self, leader: int, leader_epoch: int, partition_epoch: int, isr: set[int]) -> None:
        self.leader = leader
        self.leader_epoch = leader_epoch
        self.partition_epoch = partition_epoch
        self.isr = frozenset(BrokerId(member) for member in isr)


class Host:
    """One broker."""

    def __init__(self, world: World, broker_id: int) -> None:
        self.world = world
        self.id = broker_id
        self.log = ModelLog()
        self.leader: PartitionLeader | None = None
        self.follower: PartitionFollower | None = None
        self.known_high_watermark = 0
        self.generation = 1
        self.news: deque[Image] = deque()
        self.epoch = -1
        self.partition_epoch = -1
        # As a leader, of the other's call to us.
        self.copy: tuple[int, int] | None = None
        """Generation, and how far it was sent."""
        self.linked = False

    # --- Roles ---

    def hear(self) -> None:
        image = self.news.popleft()
        if image.leader_epoch == self.epoch:
            if self.leader is not None:
                self.step_leader(
                    leading.IsrCommitted(
                        isr=image.isr, partition_epoch=PartitionEpoch(image.partition_epoch)
                    )
                )
            return
        self.give_up()
        self.epoch = image.leader_epoch
        log = self.log
        if image.leader == self.id:
            self.world.check_holds_committed(self)
            self.leader = PartitionLeader(
                broker=IsrMember(BrokerId(self.id), BrokerEpoch(1)),
                replicas=REPLICAS,
                isr=image.isr,
                serving=REPLICAS,
                leader_epoch=LeaderEpoch(image.leader_epoch),
                partition_epoch=PartitionEpoch(image.partition_epoch),
                log_end_offset=log.log_end_offset,
                durable_end_offset=Offset(log.durable),
                high_watermark=Offset(min(self.known_high_watermark, log.end)),
                min_insync_replicas=1,
                write_caching=False,
                replica_lag_time_max_ms=LAG_TIME_MAX_MS,
                now_ms=self.world.now_ms,
            )
            self.step_leader(leading.Tick())
        else:
            self.follower = PartitionFollower(
                leader_epoch=LeaderEpoch(image.leader_epoch),
                log_start_offset=log.log_start_offset,
                log_end_offset=log.log_end_offset,
                durable_end_offset=Offset(log.durable),
                high_watermark=Offset(min(self.known_high_watermark, log.end)),
                epochs=log.leader_epochs,
                write_caching=False,
                first_generation=self.generation,
            )
            self.linked = False

    def give_up(self) -> None:
        if self.leader is not None:
            self.known_high_watermark = self.leader.high_watermark
        if self.follower is not None:
            self.known_high_watermark = self.follower.high_watermark
            self.generation = self.follower.next_generation
        self.leader = self.follower = self.copy = None

    def crash(self) -> None:
        self.give_up()
        self.log.truncate_to(self.log.durable)
        self.known_high_watermark = 0
        self.news.clear()

    # --- Leading ---

    def step_leader(self, event: leading.Input) -> None:
        assert self.leader is not None
        for effect in self.leader.step(event, now_ms=self.world.now_ms):
            match effect:
                case leading.AdvanceHighWatermark():
                    self.world.committed(self, effect.high_watermark)
                case leading.ProposeIsr():
                    self.world.proposals.append((self, effect))

    def append(self) -> None:
        if self.leader is not None:
            self.world.written += 1
            self.log.append([(self.leader.leader_epoch, self.world.written)])
            self.step_leader(leading.LocalAppended(self.log.log_end_offset))

    def sync(self) -> None:
        self.log.durable = self.world.random.randint(self.log.durable, self.log.end)
        if self.leader is not None:
            self.step_leader(leading.LocalDurable(Offset(self.log.durable)))
        elif self.follower is not None:
            self.step_follower(following.LogDurable(Offset(self.log.durable)))

    def asked(self, effect: following.Begin) -> None:
        """Answer a begin, as the leader."""
        self.copy = None
        if self.leader is None or effect.leader_epoch != self.leader.leader_epoch:
            refusal = following.LeaderRefused(generation=effect.generation)
            self.world.answers.append((refusal, []))
            return
        try:
            parts_at = divergence(
                cast("PartitionLog", self.log),
                fetch_offset=effect.fetch_offset,
                last_fetched_epoch=effect.last_fetched_epoch,
            )
        except OffsetOutOfRangeError:
            answer: following.Input = following.LeaderOutOfRange(
                generation=effect.generation, log_start_offset=self.log.log_start_offset
            )
        else:
            if parts_at is None:
                self.copy = (effect.generation, effect.fetch_offset)
                self.fetched(effect.durable_end_offset)
                return
            answer = following.LeaderDiverged(
                generation=effect.generation, epoch=parts_at.epoch, end_offset=parts_at.end_offset
            )
        self.world.answers.append((answer, []))

    def acknowledged(self, effect: following.Acknowledge) -> None:
        if self.copy is not None and self.copy[0] == effect.generation:
            self.fetched(effect.end_offset)

    def fetched(self, end_offset: Offset) -> None:
        assert self.leader is not None
        self.step_leader(
            leading.FollowerFetched(
                replica=BrokerId(3 - self.id),
                broker_epoch=BrokerEpoch(1),
                leader_epoch=self.leader.leader_epoch,
                fetch_offset=end_offset,
            )
        )

    def send(self) -> None:
        if self.copy is None or self.leader is None:
            return
        generation, sent_to = self.copy
        end = min(self.log.end, sent_to + self.world.random.randrange(4))
        records = [self.log.records[offset] for offset in range(sent_to, end)]
        self.copy = (generation, end)
        message = following.LeaderSent(
            generation=generation,
            first_offset=Offset(sent_to) if records else None,
            end_offset=Offset(end) if records else None,
            high_watermark=self.leader.high_watermark,
            log_start_offset=self.log.log_start_offset,
        )
        self.world.answers.append((message, records))

    # --- Following ---

    def step_follower(self, event: following.Input, records: list[Record] | None = None) -> None:
        events = deque([event])
        while events:
            assert self.follower is not None
            for effect in self.follower.step(events.popleft(), now_ms=self.world.now_ms):
                match effect:
                    case following.Begin() | following.Acknowledge():
                        self.world.requests.append(effect)
                    case following.AppendBatches():
                        assert records
                        self.log.append(records)
                        events.append(following.LogAppended(self.log.log_end_offset))
                    case following.TruncateTo():
                        self.log.truncate_to(effect.offset)
                        events.append(self.truncated())
                    case following.StartAt():
                        self.log.start_at(effect.offset)
                        events.append(self.truncated())
                    case following.DeleteBefore():
                        self.log.delete_before(effect.offset)

    def truncated(self) -> following.LogTruncated:
        return following.LogTruncated(
            log_start_offset=self.log.log_start_offset,
            log_end_offset=self.log.log_end_offset,
            durable_end_offset=Offset(self.log.durable),
        )


class World:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_ms = 0
        self.written = 0
        self.shown: dict[int, Record] = {}
        self.proposals: deque[tuple[Host, leading.ProposeIsr]] = deque()
        # On the one call between them.
        self.requests: deque[following.Begin | following.Acknowledge] = deque()
        self.answers: deque[tuple[following.Input, list[Record]]] = deque()
        self.hosts = {1: Host(self, 1), 2: Host(self, 2)}
        self.image = Image(1, 0, 0, {1, 2})
        self.publish()

    def publish(self) -> None:
        for host in self.hosts.values():
            host.news.append(self.image)

    def next_image(self, *, leader: int | None = None, isr: set[int] | None = None) -> None:
        now = self.image
        self.image = Image(
            now.leader if leader is None else leader,
            now.leader_epoch + (leader is not None),
            now.partition_epoch + 1,
            set(now.isr) if isr is None else isr,
        )
        self.publish()

    # --- What is compared ---

    def committed(self, host: Host, high_watermark: int) -> None:
        for offset in range(high_watermark):
            record = host.log.records[offset]
            assert self.shown.setdefault(offset, record) == record, (offset, host.id)

    def check_holds_committed(self, host: Host) -> None:
        for offset, record in self.shown.items():
            assert host.log.records.get(offset) == record, (offset, host.id)

    # --- What may happen ---

    def some(self) -> Host:
        return self.hosts[self.random.choice((1, 2))]

    def pair(self) -> tuple[Host, Host] | None:
        """Return a leader and who follows it in the same epoch, if that is so."""
        for host, other in ((self.hosts[1], self.hosts[2]), (self.hosts[2], self.hosts[1])):
            if other.follower is not None:
                return host, other
        return None

    def elect(self) -> None:
        if not any(host.news for host in self.hosts.values()):
            self.next_image(leader=self.random.choice(sorted(self.image.isr)))

    def hear(self) -> None:
        host = self.some()
        if host.news:
            was_epoch = host.epoch
            host.hear()
            if host.epoch != was_epoch:
                self.break_call()

    def break_call(self) -> None:
        self.requests.clear()
        self.answers.clear()
        for host in self.hosts.values():
            host.copy = None
            if host.linked and host.follower is not None:
                host.step_follower(following.LinkClosed())
            host.linked = False

    def connect(self) -> None:
        pair = self.pair()
        if pair is not None and not pair[1].linked:
            pair[1].linked = True
            pair[1].step_follower(following.LinkOpened())

    def deliver_request(self) -> None:
        pair = self.pair()
        if pair is not None and self.requests:
            request = self.requests.popleft()
            if isinstance(request, following.Begin):
                pair[0].asked(request)
            else:
                pair[0].acknowledged(request)

    def deliver_answer(self) -> None:
        pair = self.pair()
        if pair is not None and self.answers:
            event, records = self.answers.popleft()
            pair[1].step_follower(event, records)

    def send(self) -> None:
        pair = self.pair()
        if pair is not None and len(self.answers) < BATCHES_UNDER_WAY_MAX:
            pair[0].send()

    def control(self) -> None:
        if not self.proposals:
            return
        host, effect = self.proposals.popleft()
        if (effect.leader_epoch, effect.partition_epoch) == (
            self.image.leader_epoch,
            self.image.partition_epoch,
        ):
            self.next_image(isr={member.broker_id for member in effect.members})
        elif host.leader is not None and host.leader.leader_epoch == effect.leader_epoch:
            host.step_leader(leading.IsrRefused(effect.number))

    def crash(self) -> None:
        """A broker dies, starts again with what was durable, and hears of its new role."""
        host = self.some()
        others = {int(member) for member in self.image.isr} - {host.id}
        self.break_call()
        host.crash()
        isr = others or {host.id}
        leader = self.image.leader if self.image.leader in isr else min(isr)
        self.next_image(leader=leader, isr=isr)

    def pass_time(self) -> None:
        self.now_ms += self.random.choice((1, 10, 100))
        for host in self.hosts.values():
            if host.leader is not None:
                host.step_leader(leading.Tick())
            elif host.follower is not None:
                host.step_follower(following.Tick())

    def step(self) -> None:
        often = (self.deliver_request, self.deliver_answer, self.send, self.connect, self.hear)
        chores = (lambda: self.some().append(), lambda: self.some().sync(), self.control)
        trouble = (self.elect, self.break_call, self.crash, self.pass_time)
        some = self.random.choices((often, chores, trouble), (60, 35, 5))[0]
        self.random.choice(some)()

    def settle(self) -> None:
        """Let everything that is under way arrive, and nothing more go wrong."""
        self.next_image(leader=min(self.image.isr))
        for _ in range(400):
            for act in (self.hear, self.connect, self.deliver_request, self.send):
                act()
            self.deliver_answer()
            self.control()
            self.pass_time()
            for host in self.hosts.values():
                host.sync()


@pytest.mark.parametrize("seed", range(60))
def test_nothing_committed_differs_or_is_lost(seed: int) -> None:
    world = World(seed)
    for _ in range(600):
        world.step()

    world.settle()

    one, two = (host.log for host in world.hosts.values())
    assert one.records == two.records
    for host in world.hosts.values():
        world.check_holds_committed(host)
    assert len(world.shown) == len(one.records) > 0
