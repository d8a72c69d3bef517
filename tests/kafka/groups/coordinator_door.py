"""A broker that coordinates groups, asked by the messages of Kafka's clients as they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from ottla.cluster.group_parts import new_member_id
from ottla.config.addresses import Address
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.shard import GroupShard
from ottla.kafka.group_apis import group_handlers
from ottla.kafka.handling import Connection, RequestContext
from ottla.model.image import BrokerImage
from ottla.model.topic_names import CONSUMER_OFFSETS
from ottla.wire.codec import read_message, read_request, write_message, write_request
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    JoinGroupResponse,
)
from ottla.wire.messages.leave_group import LeaveGroupRequest, MemberIdentity
from ottla.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from ottla.wire.messages.sync_group import (
    SyncGroupRequest,
    SyncGroupRequestAssignment,
    SyncGroupResponse,
)
from ottla.wire.schema import Message
from tests.cluster.group_world import GroupWorld
from tests.cluster.world import ME, OTHER

SETTINGS = GroupSettings(initial_rebalance_delay_ms=0)
SESSION_MS = 10_000
REBALANCE_MS = 60_000
JOIN, SYNC, HEARTBEAT, LEAVE, COMMIT, FETCH = 9, 5, 4, 5, 9, 9
"""The newest versions that name topics; members use them unless a test says otherwise."""


class CoordinatorDoor(GroupWorld):
    """One broker, on which time passes when the test says so."""

    def __init__(self) -> None:
        super().__init__(
            new_machine=partial(GroupShard, SETTINGS, new_member_id=new_member_id),
        )

    async def open(self) -> CoordinatorDoor:
        await self.start()
        await self.create_offsets_topic()
        await self.led()
        return self

    async def ask(self, version: int, request: Message) -> Any:
        """Send a request through the codec of its version, and the response back through it."""
        key = request.API_KEY
        sent = memoryview(b"".join(write_request(key, version, request)))
        handlers = group_handlers(self.groups, self.metadata, _address_of)
        (api,) = [one for one in handlers if one.api_key == key]
        assert api.min_version <= version <= api.max_version
        begun = api.handler(_context(version), read_request(key, version, sent, 0))
        response = await cast("Any", begun)
        return read_message(type(response), version, write_message(response, version))

    async def pass_time(self, ms: int) -> None:
        """Do what is due by then, in steps that are as long as no member's session."""
        end_ms = self.clock.passed_ms + ms
        while self.clock.passed_ms < end_ms:
            self.clock.passed_ms = min(end_ms, self.clock.passed_ms + max(1_000, ms // 100))
            for shard in self.shards.shards.values():
                shard.tick()
            await asyncio.sleep(0)

    async def lead_again(self) -> None:
        """Have another broker lead for a moment, so that everything is read from the log."""
        await self.change_partition(CONSUMER_OFFSETS, 0, leader=OTHER, replicas=(ME, OTHER))
        await self.change_partition(CONSUMER_OFFSETS, 0, leader=ME)
        await self.led()

    async def commit_at(self, offset: int, *, version: int = COMMIT, **fields: Any) -> int:
        """Commit for ``web-0`` as nobody in particular, and return the partition's error."""
        of_request = {
            name: fields.pop(name)
            for name in ("group_id", "member_id", "generation_id_or_member_epoch")
            if name in fields
        }
        partition = OffsetCommitRequestPartition(committed_offset=offset, **fields)
        topics = [OffsetCommitRequestTopic(name="web", partitions=[partition])]
        request = OffsetCommitRequest(**{"group_id": "group", **of_request}, topics=topics)
        code: int = (await self.ask(version, request)).topics[0].partitions[0].error_code
        return code

    async def fetched(self, *, version: int = FETCH, group_id: str = "group") -> Any:
        """Return what is committed for ``web-0``."""
        if version < 8:
            topics = [OffsetFetchRequestTopic(name="web", partition_indexes=[0])]
            old = OffsetFetchRequest(group_id=group_id, topics=topics)
            return (await self.ask(version, old)).topics[0].partitions[0]
        group = OffsetFetchRequestGroup(
            group_id=group_id, topics=[OffsetFetchRequestTopics(name="web", partition_indexes=[0])]
        )
        response = await self.ask(version, OffsetFetchRequest(groups=[group]))
        return response.groups[0].topics[0].partitions[0]


def _address_of(broker: BrokerImage, connection: Connection) -> Address | None:
    del connection
    return Address(broker.host, 9092)


def _context(version: int) -> RequestContext:
    return RequestContext(
        api_version=version,
        client_id="client",
        connection=Connection(
            listener="PLAINTEXT",
            client=Address("127.0.0.1", 50_000),
            local=Address("127.0.0.1", 9092),
            principal="User:ANONYMOUS",
            number=1,
        ),
    )


@dataclass
class Member:
    """One client, that believes what it is told."""

    door: CoordinatorDoor
    protocols: Mapping[str, bytes] = field(default_factory=lambda: {"range": b"web"})
    protocol_type: str = "consumer"
    instance_id: str | None = None
    join_version: int = JOIN
    session_ms: int = SESSION_MS
    group_id: str = "group"
    member_id: str = ""
    generation_id: int = -1
    protocol_name: str | None = None
    assignment: bytes = b""

    async def ask_to_join(self) -> JoinGroupResponse:
        """Join; waits for the others, and takes two steps where the version has them."""
        request = JoinGroupRequest(
            group_id=self.group_id,
            session_timeout_ms=self.session_ms,
            rebalance_timeout_ms=REBALANCE_MS if self.join_version else -1,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type=self.protocol_type,
            protocols=[
                JoinGroupRequestProtocol(name=name, metadata=metadata)
                for name, metadata in self.protocols.items()
            ],
        )
        response: JoinGroupResponse = await self.door.ask(self.join_version, request)
        if response.error_code == 79:
            self.member_id = response.member_id
            return await self.ask_to_join()
        if not response.error_code:
            self.member_id, self.generation_id = response.member_id, response.generation_id
            self.protocol_name = response.protocol_name
        return response

    def joins(self) -> asyncio.Task[JoinGroupResponse]:
        return asyncio.ensure_future(self.ask_to_join())

    async def sync(self, assignments: Mapping[str, bytes] | None = None) -> SyncGroupResponse:
        response: SyncGroupResponse = await self.door.ask(
            SYNC,
            SyncGroupRequest(
                group_id=self.group_id,
                generation_id=self.generation_id,
                member_id=self.member_id,
                group_instance_id=self.instance_id,
                protocol_type=self.protocol_type,
                protocol_name=self.protocol_name,
                assignments=[
                    SyncGroupRequestAssignment(member_id=member, assignment=assignment)
                    for member, assignment in (assignments or {}).items()
                ],
            ),
        )
        self.assignment = response.assignment
        return response

    async def heartbeat(self) -> int:
        request = HeartbeatRequest(
            group_id=self.group_id,
            generation_id=self.generation_id,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
        )
        code: int = (await self.door.ask(HEARTBEAT, request)).error_code
        return code

    async def commit(self, offset: int) -> int:
        return await self.door.commit_at(
            offset,
            group_id=self.group_id,
            member_id=self.member_id,
            generation_id_or_member_epoch=self.generation_id,
        )

    async def leave(self) -> None:
        members = [MemberIdentity(member_id=self.member_id, group_instance_id=self.instance_id)]
        response = await self.door.ask(
            LEAVE, LeaveGroupRequest(group_id=self.group_id, members=members)
        )
        assert [one.error_code for one in response.members] == [0]


async def balanced(*members: Member) -> Member:
    """Have all of them join the same generation and get an assignment; return the leader."""
    answers = await asyncio.gather(*(member.ask_to_join() for member in members))
    while len({answer.generation_id for answer in answers}) > 1 or len(
        next(answer.members for answer in answers if answer.members)
    ) < len(members):
        answers = list(await asyncio.gather(*(member.ask_to_join() for member in members)))
    (leader,) = [member for member in members if member.member_id == answers[0].leader]
    await synced(leader, *members)
    return leader


async def synced(leader: Member, *members: Member) -> None:
    """Have the leader give each member its own name as the assignment."""
    everybody = {member.member_id: member.member_id.encode() for member in members}
    responses = await asyncio.gather(
        *(member.sync(everybody if member is leader else None) for member in members)
    )
    assert [response.error_code for response in responses] == [0] * len(members)
    assert all(member.assignment == member.member_id.encode() for member in members)
