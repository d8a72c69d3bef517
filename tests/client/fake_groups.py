"""The coordinator of all groups of the fake cluster: the real machine, whose log is always there.

The doors to it are the brokers' own servicers; only the shell around the machine is a fake, which
commits at once. A coordinator may move, forget its members, or refuse.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import UUID, uuid5

from ottla.cluster.gate import Gate
from ottla.cluster.grpc.calls import Calls
from ottla.cluster.grpc.groups_servicer import GroupsServicer
from ottla.cluster.instruments import MetricsInstruments
from ottla.coordinator.effects import Effects, GroupRecord, Token
from ottla.coordinator.requests import (
    ConsumerGroupDescription,
    ConsumerMemberDescription,
    DescribeConsumerGroup,
    GroupListing,
    GroupRequest,
    ListGroups,
)
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.shard import GroupShard
from ottla.metrics.registry import BrokerMetrics
from ottla.model.errors import NotCoordinatorError, OttlaError
from ottla.model.ids import (
    BrokerEpoch,
    BrokerId,
    LeaderEpoch,
    PartitionEpoch,
    TopicId,
)
from ottla.model.image import BrokerImage, ClusterImage, PartitionImage, TopicImage
from ottla.runtime.system_clock import SystemClock

if TYPE_CHECKING:
    from tests.client.fake_broker import FakeBroker, FakeCluster

T = TypeVar("T")

_NAMES = UUID(int=1)


class FakeGroups:
    """What all brokers of a fake cluster know of groups."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.coordinator = 1
        """The broker that answers."""
        self.plan: Iterator[OttlaError | None] = iter(())
        """Asked once for each request to the coordinator: an error refuses it."""
        self.asked: list[GroupRequest[Any]] = []
        self.loses_answers = 0
        """So many requests are done next, and their answers never come."""
        self.took: Callable[[GroupRequest[Any]], object] = bool
        """Told of each request that was answered with no error."""
        self.records: list[GroupRecord] = []
        self._tokens = itertools.count(1)
        self._waiting: dict[Token, asyncio.Future[Any]] = {}
        self._changed = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._moves = 0
        self._ahead_ms = 0
        """Of the clock, since time was made to pass."""
        self._shard = self._new_shard()

    def _new_shard(self) -> GroupShard:
        ids = itertools.count(1)
        settings = GroupSettings(
            consumer_session_timeout_ms=45_000,
            consumer_heartbeat_interval_ms=5_000,
            consumer_assignment_interval_ms=0,
        )
        shard = GroupShard(settings, new_member_id=lambda prefix: f"{prefix}-{next(ids)}")
        shard.image_changed(self.image(), self._now_ms())
        for record in self.records:
            shard.replay(record.key, record.value, self._now_ms())
        self._perform(shard.loaded(self._now_ms()))
        return shard

    def image(self) -> ClusterImage:
        """The cluster as the machine wants to see it."""
        topics = {
            name: TopicImage(
                topic_id=TopicId(uuid5(_NAMES, name)),
                name=name,
                partitions=tuple(
                    PartitionImage(
                        replicas=(BrokerId(each.leader),),
                        in_sync_replicas=(BrokerId(each.leader),),
                        eligible_leader_replicas=(),
                        leader=BrokerId(each.leader),
                        leader_epoch=LeaderEpoch(each.leader_epoch),
                        partition_epoch=PartitionEpoch(0),
                    )
                    for each in partitions
                ),
                configs={},
            )
            for name, partitions in self.cluster.topics.items()
        }
        return ClusterImage(
            cluster_id="fake",
            topics=topics,
            topic_names={topic.topic_id: name for name, topic in topics.items()},
            brokers={
                BrokerId(broker.id): BrokerImage(
                    broker_id=BrokerId(broker.id),
                    broker_epoch=BrokerEpoch(1),
                    host="127.0.0.1",
                    grpc_port=broker.port,
                    rack="",
                    incarnation_id=b"",
                    fenced=False,
                )
                for broker in self.cluster.brokers
            },
        )

    def move(self, *, to: int) -> None:
        """Another broker coordinates, with what is in the log."""
        self.coordinator = to
        self._moves += 1
        self._perform(self._shard.resign(NotCoordinatorError("the coordinator moved")))
        self._shard = self._new_shard()
        self._tell()

    def topics_changed(self) -> None:
        """Tell the machine of topics that came or grew."""
        self._perform(self._shard.image_changed(self.image(), self._now_ms()))
        self._tell()

    def expire_members(self) -> None:
        """Let all sessions end."""
        self._ahead_ms += 3_600_000
        self._tell()

    async def submit(self, request: GroupRequest[T], broker: int) -> T:
        if broker != self.coordinator:
            raise NotCoordinatorError(f"broker {broker} coordinates nothing")
        self.asked.append(request)
        error = next(self.plan, None)
        if error is not None:
            raise error
        token = Token(next(self._tokens))
        future = self._waiting[token] = asyncio.get_running_loop().create_future()
        self._perform(self._shard.request(token, request, self._now_ms()))
        self._tell()
        answer = await future
        self.took(request)
        if self.loses_answers:
            self.loses_answers -= 1
            await asyncio.Event().wait()
        return cast("T", answer)

    async def wait_for_news(self, group_id: str, member_id: str, timeout_ms: int) -> bool:
        moves = self._moves
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                while moves == self._moves and not self._shard.has_news(group_id, member_id):
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def members(self, group_id: str) -> list[ConsumerMemberDescription]:
        """Return the members of a group, as the machine has them."""
        answers = self._shard.request(
            Token(0), DescribeConsumerGroup(group_id=group_id), self._now_ms()
        ).answers
        described = answers[0].value
        return list(described.members) if isinstance(described, ConsumerGroupDescription) else []

    def list_groups(self, which: ListGroups) -> list[GroupListing]:
        return self._shard.list_groups(which)

    def _perform(self, effects: Effects) -> None:
        self.records.extend(effects.records)
        for answer in effects.answers:
            future = self._waiting.pop(answer.token)
            if future.done():
                continue
            if isinstance(answer.value, OttlaError):
                future.set_exception(answer.value)
            else:
                future.set_result(answer.value)

    def _tell(self) -> None:
        """Let the machine do what the time has come for, then wake who waits."""
        while (deadline_ms := self._shard.deadline_ms()) is not None:
            if deadline_ms > self._now_ms():
                self._arm(deadline_ms)
                break
            self._perform(self._shard.tick(self._now_ms()))
        self._changed.set()
        self._changed = asyncio.Event()

    def _arm(self, deadline_ms: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return  # nobody is served yet
        self._timer = loop.call_later((deadline_ms - self._now_ms()) / 1000, self._tell)

    def _now_ms(self) -> int:
        return int(time.time() * 1000) + self._ahead_ms


@dataclass
class _GroupsAtBroker:
    """A ``GroupsService``."""

    broker: FakeBroker

    @property
    def groups(self) -> FakeGroups:
        return self.broker.cluster.groups

    async def coordinator_of(self, group_id: str) -> BrokerId:
        del group_id
        await self.broker.flow.wait()
        return BrokerId(self.groups.coordinator)

    async def submit(self, request: GroupRequest[T]) -> T:
        await self.broker.flow.wait()
        return await self.groups.submit(request, self.broker.id)

    async def wait_for_news(self, group_id: str, member_id: str, *, timeout_ms: int) -> bool:
        return await self.groups.wait_for_news(group_id, member_id, timeout_ms)

    async def list_groups(self, which: ListGroups) -> Sequence[GroupListing]:
        if self.broker.id != self.groups.coordinator:
            return []
        return self.groups.list_groups(which)


@dataclass
class _ClusterAtBroker:
    broker: FakeBroker

    @property
    def image(self) -> ClusterImage:
        return self.broker.cluster.groups.image()


class _Services:
    """As much of the services as the servicer of groups asks for."""

    def __init__(self, broker: FakeBroker) -> None:
        self.groups = _GroupsAtBroker(broker)
        self.cluster = _ClusterAtBroker(broker)


def groups_servicer(broker: FakeBroker) -> GroupsServicer:
    """Return the servicer of one fake broker."""
    gate = Gate()
    gate.open()
    instruments = MetricsInstruments(BrokerMetrics(version="0", node_id=broker.id))
    services: Any = _Services(broker)
    return GroupsServicer(services, SystemClock(), Calls(gate=gate, instruments=instruments))
