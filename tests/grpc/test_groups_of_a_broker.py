"""A running broker coordinates groups for whoever speaks ``ottla.v1.Groups``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import pytest

from ottla.client.addresses import Address
from ottla.client.rpc import error_from_status
from ottla.model.errors import (
    FencedMemberEpochError,
    GroupIdNotFoundError,
    GroupSubscribedToTopicError,
    InvalidGroupIdError,
    InvalidRegularExpressionError,
    InvalidRequestError,
    NonEmptyGroupError,
    OffsetMetadataTooLargeError,
    OttlaError,
    StaleMemberEpochError,
    UnknownMemberIdError,
    UnknownTopicOrPartitionError,
    UnsupportedAssignorError,
)
from ottla.model.limits import FETCH_WAIT_MAX_MS, PARTITIONS_PER_REQUEST_MAX
from ottla.v1 import groups_pb2
from ottla.v1.groups_pb2_grpc import GroupsStub

if TYPE_CHECKING:
    from ottla.v1.groups_pb2_grpc import GroupsAsyncStub
from tests.client.waiting import until
from tests.grpc.running_broker import RunningBroker

WEB_0_AND_1 = [("web", [0, 1])]


class Member:
    """Speaks for one member of the group ``mine``."""

    def __init__(self, groups: GroupsAsyncStub, name: str = "") -> None:
        self.groups = groups
        self.name = name or str(uuid4())
        self.epoch = 0

    def request(self, **fields: object) -> groups_pb2.GroupHeartbeatRequest:
        return groups_pb2.GroupHeartbeatRequest(
            **{  # type: ignore[arg-type]
                "group_id": "mine",
                "member_id": self.name,
                "member_epoch": self.epoch,
                **fields,
            }
        )

    async def join(self, *topics: str, **fields: object) -> groups_pb2.GroupHeartbeatResponse:
        subscription = groups_pb2.GroupSubscription(topics=topics or ("web",))
        return await self.beat(
            **{
                "subscription": subscription,
                "owned": groups_pb2.GroupAssignment(),
                "rebalance_timeout_ms": 10_000,
                **fields,
            }
        )

    async def beat(self, **fields: object) -> groups_pb2.GroupHeartbeatResponse:
        answer = await self.groups.Heartbeat(self.request(**fields))
        self.epoch = answer.member_epoch
        return answer


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    running = await RunningBroker(
        offsets__topic__num__partitions="1",
        group__consumer__assignment__interval__ms="0",
        offset__metadata__max__bytes="10",
    ).start()
    await running.create_topic("web", partitions=2)
    await running.create_topic("logs", partitions=1)
    yield running
    await running.end()


@pytest.fixture
async def groups(broker: RunningBroker) -> GroupsAsyncStub:
    stub: GroupsAsyncStub = GroupsStub(broker.channel)
    async with asyncio.timeout(10):
        while True:  # until the log of groups has been made and read
            try:
                await stub.FindCoordinator(groups_pb2.FindCoordinatorRequest(group_id="mine"))
                await stub.FetchOffsets(groups_pb2.FetchOffsetsRequest(group_id="mine"))
            except grpc.aio.AioRpcError:
                await asyncio.sleep(0.01)
            else:
                return stub


async def error_of(call: Awaitable[object]) -> type[OttlaError]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return type(error_from_status(caught.value, Address("127.0.0.1", 1)))


def assigned(answer: groups_pb2.GroupHeartbeatResponse) -> list[tuple[str, list[int]]]:
    return [(each.topic, list(each.partitions)) for each in answer.assignment.topics]


def commit(*offsets: tuple[str, int, int], **fields: object) -> groups_pb2.CommitOffsetsRequest:
    request = groups_pb2.CommitOffsetsRequest(**{"group_id": "mine", **fields})  # type: ignore[arg-type]
    for topic, partition, offset in offsets:
        request.partitions.add(topic=topic, partition=partition, offset=offset)
    return request


# --- Membership -----------------------------------------------------------------------------------


async def test_any_broker_names_the_coordinator(
    broker: RunningBroker, groups: GroupsAsyncStub
) -> None:
    assert broker.broker is not None
    found = await groups.FindCoordinator(groups_pb2.FindCoordinatorRequest(group_id="mine"))

    assert f"{found.host}:{found.port}" == str(broker.broker.grpc_address)


async def test_member_that_joins_is_told_what_to_read(groups: GroupsAsyncStub) -> None:
    answer = await Member(groups).join()

    assert answer.member_epoch > 0
    assert answer.heartbeat_interval_ms > 0
    assert assigned(answer) == WEB_0_AND_1


async def test_heartbeat_that_says_nothing_is_answered_with_nothing(
    groups: GroupsAsyncStub,
) -> None:
    member = Member(groups)
    await member.join()

    assert not (await member.beat()).HasField("assignment")


async def test_member_that_says_everything_again_is_told_everything_again(
    groups: GroupsAsyncStub,
) -> None:
    member = Member(groups)
    joined = await member.join()

    assert assigned(await member.join(owned=joined.assignment)) == WEB_0_AND_1


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"member_epoch": 7}, GroupIdNotFoundError),
        ({"group_id": ""}, InvalidGroupIdError),
        ({"member_id": ""}, InvalidRequestError),
        ({"max_wait_ms": -1}, InvalidRequestError),
        ({"max_wait_ms": FETCH_WAIT_MAX_MS + 1}, InvalidRequestError),
        ({"assignor": "fair"}, UnsupportedAssignorError),
        ({"rebalance_timeout_ms": 0}, InvalidRequestError),
        (
            {"subscription": groups_pb2.GroupSubscription(pattern="(")},
            InvalidRegularExpressionError,
        ),
        (
            {
                "owned": groups_pb2.GroupAssignment(
                    topics=[groups_pb2.GroupTopicPartitions(topic_id=b"short", partitions=[0])]
                )
            },
            InvalidRequestError,
        ),
        (
            {
                "owned": groups_pb2.GroupAssignment(
                    topics=[
                        groups_pb2.GroupTopicPartitions(
                            topic_id=b"t" * 16, partitions=range(PARTITIONS_PER_REQUEST_MAX + 1)
                        )
                    ]
                )
            },
            InvalidRequestError,
        ),
    ],
    ids=str,
)
async def test_heartbeat_that_makes_no_sense_is_refused(
    groups: GroupsAsyncStub, fields: dict[str, object], error: type[OttlaError]
) -> None:
    assert await error_of(Member(groups).join(**fields)) is error


async def test_member_in_another_epoch_is_fenced(groups: GroupsAsyncStub) -> None:
    member = Member(groups)
    await member.join()
    member.epoch += 5

    assert await error_of(member.beat()) is FencedMemberEpochError


async def test_member_that_left_is_unknown(groups: GroupsAsyncStub) -> None:
    member = Member(groups)
    await member.join()
    await groups.Heartbeat(member.request(member_epoch=-1))

    assert await error_of(member.beat()) is UnknownMemberIdError


# --- Held heartbeats ------------------------------------------------------------------------------


async def test_held_heartbeat_is_answered_at_its_time(groups: GroupsAsyncStub) -> None:
    member = Member(groups)
    await member.join()
    began_s = monotonic()
    answer = await member.beat(max_wait_ms=60)

    assert 0.05 < monotonic() - began_s < 5
    assert not answer.HasField("assignment")


async def test_held_heartbeat_is_answered_when_there_is_news(groups: GroupsAsyncStub) -> None:
    one, other = Member(groups), Member(groups)
    await one.join()
    held = asyncio.ensure_future(one.beat(max_wait_ms=20_000))
    await other.join()

    async with asyncio.timeout(10):
        assert assigned(await held) in ([("web", [0])], [("web", [1])])


async def test_held_heartbeat_is_answered_when_another_one_comes(groups: GroupsAsyncStub) -> None:
    member = Member(groups)
    await member.join()
    held = asyncio.ensure_future(member.beat(max_wait_ms=20_000))
    async with asyncio.timeout(10):
        while not held.done():
            await member.beat()
        assert not (await held).HasField("assignment")


async def test_member_that_is_removed_while_its_heartbeat_is_held_learns_it(
    groups: GroupsAsyncStub,
) -> None:
    member = Member(groups)
    await member.join()
    held = asyncio.ensure_future(member.beat(max_wait_ms=20_000))
    await asyncio.sleep(0.03)
    await groups.Heartbeat(member.request(member_epoch=-1))

    async with asyncio.timeout(10):
        await asyncio.wait([held])
    # Leaving supersedes it; if it was not held yet, it comes too late.
    assert held.exception() is None or await error_of(held) is UnknownMemberIdError


async def test_client_that_goes_away_leaves_no_heartbeat_behind(
    groups: GroupsAsyncStub,
) -> None:
    member = Member(groups)
    await member.join()
    before = len(asyncio.all_tasks())
    for _ in range(20):
        held = asyncio.ensure_future(member.beat(max_wait_ms=20_000))
        await asyncio.sleep(0.005)
        held.cancel()
    await until(lambda: len(asyncio.all_tasks()) <= before + 5)


# --- Offsets --------------------------------------------------------------------------------------


async def test_what_is_committed_comes_back(groups: GroupsAsyncStub) -> None:
    request = groups_pb2.CommitOffsetsRequest(group_id="mine")
    request.partitions.add(topic="web", partition=1, offset=7, leader_epoch=0, metadata="half")
    answer = await groups.CommitOffsets(request)
    assert not answer.partitions[0].HasField("error")

    (found,) = (
        await groups.FetchOffsets(groups_pb2.FetchOffsetsRequest(group_id="mine"))
    ).partitions
    assert (found.topic, found.partition, found.offset) == ("web", 1, 7)
    assert (found.leader_epoch, found.metadata) == (0, "half")
    assert found.commit_timestamp_ms > 0


async def test_what_was_not_committed_has_no_offset(groups: GroupsAsyncStub) -> None:
    request = groups_pb2.FetchOffsetsRequest(group_id="mine")
    request.partitions.add(topic="web", partition=0)
    (found,) = (await groups.FetchOffsets(request)).partitions

    assert (found.offset, found.commit_timestamp_ms) == (-1, -1)
    assert not found.HasField("leader_epoch")


async def test_partition_that_is_not_there_is_refused_and_the_others_are_committed(
    groups: GroupsAsyncStub,
) -> None:
    answer = await groups.CommitOffsets(commit(("web", 0, 1), ("web", 9, 1), ("nowhere", 0, 1)))

    assert [each.error.code for each in answer.partitions] == [
        0,
        UnknownTopicOrPartitionError.code,
        UnknownTopicOrPartitionError.code,
    ]


async def test_metadata_that_is_too_long_is_refused(groups: GroupsAsyncStub) -> None:
    request = commit(("web", 0, 1))
    request.partitions[0].metadata = "x" * 11

    answer = await groups.CommitOffsets(request)
    assert answer.partitions[0].error.code == OffsetMetadataTooLargeError.code


async def test_group_with_members_takes_commits_from_them_only(groups: GroupsAsyncStub) -> None:
    member = Member(groups)
    await member.join()
    by_member = {"member_id": member.name, "member_epoch": member.epoch}
    ahead = {**by_member, "member_epoch": member.epoch + 1}

    by_it = await groups.CommitOffsets(commit(("web", 0, 1), **by_member))
    assert not by_it.partitions[0].HasField("error")
    assert await error_of(groups.CommitOffsets(commit(("web", 0, 1)))) is UnknownMemberIdError
    by_another = groups.CommitOffsets(commit(("web", 0, 1), **ahead))
    assert await error_of(by_another) is StaleMemberEpochError


@pytest.mark.parametrize(
    "ask",
    [
        lambda groups, many: groups.CommitOffsets(
            groups_pb2.CommitOffsetsRequest(
                group_id="mine", partitions=[groups_pb2.CommitOffsetsRequest.Partition()] * many
            )
        ),
        lambda groups, many: groups.FetchOffsets(
            groups_pb2.FetchOffsetsRequest(
                group_id="mine", partitions=[groups_pb2.FetchOffsetsRequest.Partition()] * many
            )
        ),
        lambda groups, many: groups.DeleteOffsets(
            groups_pb2.DeleteOffsetsRequest(
                group_id="mine", partitions=[groups_pb2.DeleteOffsetsRequest.Partition()] * many
            )
        ),
    ],
    ids=["commit", "fetch", "delete"],
)
async def test_too_many_partitions_at_once_are_refused(
    groups: GroupsAsyncStub, ask: Callable[[GroupsAsyncStub, int], Awaitable[object]]
) -> None:
    assert await error_of(ask(groups, PARTITIONS_PER_REQUEST_MAX + 1)) is InvalidRequestError


async def test_offsets_are_forgotten_unless_a_member_reads_the_topic(
    groups: GroupsAsyncStub,
) -> None:
    await groups.CommitOffsets(commit(("web", 0, 1), ("logs", 0, 1)))
    await Member(groups).join("web")
    request = groups_pb2.DeleteOffsetsRequest(group_id="mine")
    request.partitions.add(topic="web", partition=0)
    request.partitions.add(topic="logs", partition=0)

    answer = await groups.DeleteOffsets(request)
    assert [each.error.code for each in answer.partitions] == [GroupSubscribedToTopicError.code, 0]
    (left,) = (
        await groups.FetchOffsets(groups_pb2.FetchOffsetsRequest(group_id="mine"))
    ).partitions
    assert left.topic == "web"


# --- Groups ---------------------------------------------------------------------------------------


async def test_groups_are_listed_by_state_and_type(groups: GroupsAsyncStub) -> None:
    await Member(groups).join()

    async def listed(**fields: list[str]) -> list[tuple[str, str, str]]:
        answer = await groups.ListGroups(groups_pb2.ListGroupsRequest(**fields))
        return [(each.group_id, each.type, each.protocol_type) for each in answer.groups]

    mine = [("mine", "consumer", "consumer")]
    assert await listed() == mine
    assert await listed(types=["consumer"]) == mine
    assert await listed(types=["classic"]) == []
    assert await listed(states=["Empty"]) == []


async def test_group_is_described_with_what_its_members_read(groups: GroupsAsyncStub) -> None:
    member = Member(groups)
    joined = await member.join(client_id="reader", instance_id="one", rack="here")
    await member.beat(client_id="reader", instance_id="one", owned=joined.assignment)
    described = await groups.DescribeGroup(groups_pb2.DescribeGroupRequest(group_id="mine"))

    assert (described.type, described.state, described.assignor) == (
        "consumer",
        "Stable",
        "uniform",
    )
    (only,) = described.members
    assert (only.member_id, only.client_id, only.instance_id, only.rack) == (
        member.name,
        "reader",
        "one",
        "here",
    )
    assert only.client_host == "/127.0.0.1"
    assert list(only.subscription.topics) == ["web"]
    assert [(each.topic, list(each.partitions)) for each in only.assignment.topics] == WEB_0_AND_1


async def test_group_that_is_not_there_is_neither_described_nor_deleted(
    groups: GroupsAsyncStub,
) -> None:
    describing = groups.DescribeGroup(groups_pb2.DescribeGroupRequest(group_id="nobody"))
    deleting = groups.DeleteGroup(groups_pb2.DeleteGroupRequest(group_id="nobody"))

    assert await error_of(describing) is GroupIdNotFoundError
    assert await error_of(deleting) is GroupIdNotFoundError


async def test_group_is_deleted_when_its_members_are_gone(groups: GroupsAsyncStub) -> None:
    member = Member(groups)
    await member.join()
    deletion = groups_pb2.DeleteGroupRequest(group_id="mine")
    assert await error_of(groups.DeleteGroup(deletion)) is NonEmptyGroupError
    await groups.Heartbeat(member.request(member_epoch=-1))
    await groups.DeleteGroup(deletion)

    assert not (await groups.ListGroups(groups_pb2.ListGroupsRequest())).groups
