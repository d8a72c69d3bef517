"""A broker that coordinates groups, with a small machine in the place of the real one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ottla.cluster.group_log import GroupLogContext
from ottla.cluster.group_machine import ShardMachine
from ottla.cluster.group_shard import HostedShard, ShardContext
from ottla.cluster.group_shards import GroupShards
from ottla.cluster.group_waiting import WaitingRequests
from ottla.cluster.groups import BrokerGroupsService
from ottla.cluster.offsets_topic import OffsetsTopic, OffsetsTopicConfig
from ottla.cluster.services import Result, TopicCreated, TopicToCreate
from ottla.coordinator.effects import Answer, Effects, GroupRecord, Token
from ottla.coordinator.requests import (
    CommitOffsets,
    CommittedOffset,
    ConsumerHeartbeat,
    FetchOffsets,
    GroupListing,
    GroupRequest,
    GroupType,
    Joined,
    JoinGroup,
    ListGroups,
    MemberProtocol,
    OffsetToCommit,
)
from ottla.model.errors import OttlaError, TopicAlreadyExistsError, UnknownMemberIdError
from ottla.model.ids import Offset, TopicPartition
from ottla.model.image import ClusterImage
from ottla.model.topic_names import CONSUMER_OFFSETS
from tests.cluster.world import World, until

WEB = TopicPartition("web", 0)


@dataclass
class LeaseOfTest:
    """Held until a test says otherwise."""

    is_held: bool = True


@dataclass
class SmallMachine:
    """Keeps committed offsets; whoever joins a group waits for a second member."""

    now_ms: int = 0
    offsets: dict[bytes, bytes] = field(default_factory=dict)
    joining: dict[str, list[Token]] = field(default_factory=dict)
    images: list[ClusterImage] = field(default_factory=list)
    expires_at_ms: int | None = None
    """When all offsets are forgotten."""
    news: set[tuple[str, str]] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)

    def image_changed(self, image: ClusterImage, now_ms: int) -> Effects:
        self._hear("image_changed", now_ms)
        self.images.append(image)
        return Effects()

    def replay(self, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
        assert timestamp_ms > 0
        self._set(GroupRecord(key, value))

    def loaded(self, now_ms: int) -> Effects:
        self._hear("loaded", now_ms)
        return Effects()

    def request(self, token: Token, request: GroupRequest[Any], now_ms: int) -> Effects:
        self._hear(type(request).__name__, now_ms)
        match request:
            case CommitOffsets():
                records = [
                    GroupRecord(_key(request.group_id, one.topic_partition), b"%d" % one.offset)
                    for one in request.offsets
                ]
                return self._write(records, [Answer(token, [None] * len(records))])
            case FetchOffsets():
                assert request.partitions is not None
                value = [self._committed(request.group_id, one) for one in request.partitions]
                return Effects(answers=[Answer(token, value)])
            case JoinGroup():
                return self._join(token, request)
            case ConsumerHeartbeat():
                return Effects(answers=[Answer(token, "beat", after_commit=False)])
            case _:
                error = UnknownMemberIdError("no such member")
                return Effects(answers=[Answer(token, error, after_commit=False)])

    def _join(self, token: Token, request: JoinGroup) -> Effects:
        waiting = self.joining.setdefault(request.group_id, [])
        waiting.append(token)
        if len(waiting) < 2:
            return Effects()
        del self.joining[request.group_id]
        joined = Joined(
            generation_id=1,
            protocol_type="consumer",
            protocol_name="range",
            leader="one",
            member_id="one",
            members=(),
        )
        return Effects(answers=[Answer(one, joined, after_commit=False) for one in waiting])

    def cancel(self, token: Token) -> None:
        self.calls.append("cancel")
        for waiting in self.joining.values():
            if token in waiting:
                waiting.remove(token)

    def deadline_ms(self) -> int | None:
        return self.expires_at_ms

    def tick(self, now_ms: int) -> Effects:
        self._hear("tick", now_ms)
        if self.expires_at_ms is None or now_ms < self.expires_at_ms:
            return Effects()
        self.expires_at_ms = None
        return self._write([GroupRecord(key, None) for key in self.offsets], [])

    def resign(self, error: OttlaError) -> Effects:
        waiting = [token for tokens in self.joining.values() for token in tokens]
        return Effects(answers=[Answer(token, error, after_commit=False) for token in waiting])

    def live_records(self) -> Iterator[GroupRecord]:
        for key in list(self.offsets):
            if key in self.offsets:
                yield GroupRecord(key, self.offsets[key])

    def list_groups(self, which: ListGroups) -> Sequence[GroupListing]:
        del which
        names = {key.split(b"/")[0].decode() for key in self.offsets}
        return [
            GroupListing(group_id=name, group_type=GroupType.CLASSIC, protocol_type="", state="")
            for name in sorted(names)
        ]

    def has_news(self, group_id: str, member_id: str) -> bool:
        return (group_id, member_id) in self.news

    def _hear(self, call: str, now_ms: int) -> None:
        assert now_ms >= self.now_ms, "time went back"
        self.now_ms = now_ms
        self.calls.append(call)

    def _write(self, records: list[GroupRecord], answers: list[Answer]) -> Effects:
        for record in records:
            self._set(record)
        return Effects(records=records, answers=answers)

    def _set(self, record: GroupRecord) -> None:
        if record.value is None:
            self.offsets.pop(record.key, None)
        else:
            self.offsets[record.key] = record.value

    def _committed(self, group_id: str, partition: TopicPartition) -> CommittedOffset:
        value = self.offsets.get(_key(group_id, partition))
        if value is None:
            return CommittedOffset(topic_partition=partition)
        return CommittedOffset(topic_partition=partition, offset=Offset(int(value)))


def _key(group_id: str, partition: TopicPartition) -> bytes:
    return f"{group_id}/{partition}".encode()


class TopicsOfWorld:
    """Creates topics as the controller does, one partition led by each broker that is meant."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked: list[TopicToCreate] = []
        self.fails_with: OttlaError | None = None

    async def create_topics(
        self, topics: Sequence[TopicToCreate], *, validate_only: bool, timeout_ms: int
    ) -> list[Result[TopicCreated]]:
        del validate_only, timeout_ms
        self.asked += topics
        return [await self._create(topic) for topic in topics]

    async def _create(self, topic: TopicToCreate) -> Result[TopicCreated]:
        if self.fails_with is not None:
            return self.fails_with
        if topic.name in self._world.image.topics:
            return TopicAlreadyExistsError("somebody was faster")
        assert topic.partitions is not None
        assert topic.replication_factor is not None
        await self._world.create_topic(topic.name, partitions=topic.partitions)
        return TopicCreated(bytes(16), topic.partitions, topic.replication_factor)


class GroupWorld(World):
    """One broker with groups; the topic of their logs is made by the test, or by the service."""

    def __init__(
        self,
        *,
        log_records_min: int = 100_000,
        requests_max: int = 1_000,
        new_machine: Callable[[], ShardMachine] | None = None,
        voters: int = 1,
    ) -> None:
        """Use small machines if no others are given."""
        super().__init__()
        self.machines: list[SmallMachine] = []
        self.topics = TopicsOfWorld(self)
        self.waiting = WaitingRequests(requests_max=requests_max)
        self.lease = LeaseOfTest()
        self.shards = GroupShards(
            broker_id=self.broker_id,
            metadata=self.metadata,
            partitions=self.replicas,
            log_context=GroupLogContext(
                commits=self.waiters.commits,
                readers=self.readers,
                clock=self.clock,
                remove_later=self.maintenance.remove_later,
            ),
            shard_context=ShardContext(
                new_machine=new_machine or self._new_machine,
                waiting=self.waiting,
                clock=self.clock,
                image=lambda: self.metadata.image,
                lease=self.lease,
                may_read=asyncio.Semaphore(2),
                may_shorten=asyncio.Semaphore(1),
                commit_timeout_ms=5_000,
                log_records_min=log_records_min,
            ),
        )
        config = OffsetsTopicConfig(
            partitions=4,
            replication_factor=3,
            segment_bytes=100 * 1024 * 1024,
            voters=voters,
        )
        self.groups = BrokerGroupsService(
            self.shards,
            self.metadata,
            OffsetsTopic(self.topics, self.metadata, config),
            self.lease,
        )
        self._running: asyncio.Task[None] | None = None

    def _new_machine(self) -> SmallMachine:
        self.machines.append(SmallMachine())
        return self.machines[-1]

    async def start(self) -> None:
        await super().start()
        await self.create_topic("web")
        self._running = asyncio.create_task(self.shards.run())

    async def stop(self) -> None:
        running = self._running
        assert running is not None
        if not running.done():
            running.cancel()
        await asyncio.wait([running])
        await super().stop()
        if not running.cancelled():
            running.result()

    async def create_offsets_topic(self, *, partitions: int = 1, **configs: str) -> None:
        await self.create_topic(CONSUMER_OFFSETS, partitions=partitions, **configs)

    async def led(self, number: int = 0) -> HostedShard:
        """Wait until a shard has been read, and return it."""
        shards = self.shards.shards
        await until(lambda: number in shards and shards[number].is_leading)
        return shards[number]

    @property
    def machine(self) -> SmallMachine:
        """The newest."""
        return self.machines[-1]

    # --- What members ask ---

    async def commit(self, offset: int, *, group_id: str = "group") -> object:
        (result,) = await self.groups.submit(commit(offset, group_id=group_id))
        return result

    async def committed(self, *, group_id: str = "group") -> int:
        (found,) = await self.groups.submit(FetchOffsets(group_id=group_id, partitions=[WEB]))
        return found.offset


def commit(offset: int, *, group_id: str = "group", metadata: str = "") -> CommitOffsets:
    one = OffsetToCommit(topic_partition=WEB, offset=Offset(offset), metadata=metadata)
    return CommitOffsets(group_id=group_id, offsets=[one])


def join(group_id: str = "group") -> JoinGroup:
    return JoinGroup(
        group_id=group_id,
        member_id="",
        client_id="client",
        client_host="/127.0.0.1",
        protocol_type="consumer",
        protocols=[MemberProtocol(name="range", metadata=b"web")],
        session_timeout_ms=10_000,
        rebalance_timeout_ms=10_000,
    )
