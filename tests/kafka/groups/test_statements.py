"""Groups keep what clients of Kafka rely on, as they see it: statements 3 and 31 to 37.

The numbers are those of docs/compatibility-statements.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from ottla.wire.messages.leave_group import LeaveGroupRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from ottla.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from tests.cluster.world import until
from tests.kafka.groups.coordinator_door import (
    REBALANCE_MS,
    SESSION_MS,
    CoordinatorDoor,
    Member,
    balanced,
    synced,
)

NONE, ILLEGAL_GENERATION, INCONSISTENT_PROTOCOL = 0, 22, 23
UNKNOWN_MEMBER, REBALANCING, NOT_EMPTY, NOT_FOUND = 25, 27, 68, 69
MEMBER_ID_REQUIRED, FENCED = 79, 82
NO_EPOCH = -1
WEEK_MS = 7 * 24 * 60 * 60_000
CHECK_MS = 600_000


@pytest.fixture
async def door() -> AsyncIterator[CoordinatorDoor]:
    opened = await CoordinatorDoor().open()
    yield opened
    await opened.stop()


async def turns() -> None:
    """Let everything go on that waits for nothing but its turn."""
    for _ in range(50):
        await asyncio.sleep(0)


# --- Clients of long ago ------------------------------------------------------------------------


async def test_statement_3_a_group_works_in_the_first_versions(door: CoordinatorDoor) -> None:
    found = await door.ask(0, FindCoordinatorRequest(key="group"))
    joined = await door.ask(
        0,
        JoinGroupRequest(
            group_id="group",
            session_timeout_ms=SESSION_MS,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=b"web")],
        ),
    )
    mine = SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"web-0")
    member = {"group_id": "group", "member_id": joined.member_id}
    place = {**member, "generation_id": joined.generation_id}
    synced_ = await door.ask(0, SyncGroupRequest(**place, assignments=[mine]))
    beaten = await door.ask(0, HeartbeatRequest(**place))
    committed = await door.commit_at(
        7,
        version=2,
        member_id=joined.member_id,
        generation_id_or_member_epoch=joined.generation_id,
    )
    fetched = await door.fetched(version=1)
    left = await door.ask(0, LeaveGroupRequest(**member))

    assert (found.error_code, joined.error_code, beaten.error_code) == (NONE, NONE, NONE)
    assert (committed, left.error_code) == (NONE, NONE)
    assert (joined.leader, [one.member_id for one in joined.members]) == (
        joined.member_id,
        [joined.member_id],
    )
    assert (bytes(synced_.assignment), fetched.committed_offset) == (b"web-0", 7)


# --- Offsets ------------------------------------------------------------------------------------


async def test_statement_31_metadata_and_epoch_come_back_after_a_recovery(
    door: CoordinatorDoor,
) -> None:
    await door.commit_at(5, committed_leader_epoch=3, committed_metadata="so far")
    before = await door.fetched()

    await door.lead_again()

    after = await door.fetched()
    assert (after.committed_offset, after.committed_leader_epoch, after.metadata) == (
        5,
        3,
        "so far",
    )
    assert after == before


@pytest.mark.parametrize("version", [2, 5, 9])
async def test_statement_31_an_epoch_that_was_not_given_is_none_after_a_recovery(
    door: CoordinatorDoor, version: int
) -> None:
    await door.commit_at(5, version=version)

    await door.lead_again()

    found = await door.fetched()
    assert (found.committed_offset, found.committed_leader_epoch) == (5, NO_EPOCH)
    assert found.metadata == ""


async def test_statement_31_what_was_never_committed_has_no_epoch(door: CoordinatorDoor) -> None:
    found = await door.fetched()

    assert (found.error_code, found.committed_offset, found.metadata) == (NONE, -1, "")
    assert found.committed_leader_epoch == NO_EPOCH


# --- Members that join --------------------------------------------------------------------------


async def test_statement_32_three_that_join_at_once_are_all_members(door: CoordinatorDoor) -> None:
    members = [Member(door) for _ in range(3)]

    await balanced(*members)

    assert len({member.generation_id for member in members}) == 1
    assert [await member.heartbeat() for member in members] == [NONE] * 3


async def test_statement_32_members_live_on_while_others_join_one_by_one(
    door: CoordinatorDoor,
) -> None:
    members = [Member(door)]
    await balanced(*members)
    for _ in range(2):
        newcomer = Member(door)
        joining = newcomer.joins()
        await turns()
        codes = [await member.heartbeat() for member in members]
        assert codes == [REBALANCING] * len(members)
        answers = await asyncio.gather(*(member.ask_to_join() for member in members), joining)
        members.append(newcomer)
        (leader,) = [member for member in members if member.member_id == answers[0].leader]
        await synced(leader, *members)

    assert [await member.heartbeat() for member in members] == [NONE] * 3


@pytest.mark.parametrize("version", [0, 3, 4, 5, 9])
async def test_a_member_is_told_its_id_first_from_version_4_on(
    door: CoordinatorDoor, version: int
) -> None:
    request = JoinGroupRequest(
        group_id="group",
        session_timeout_ms=SESSION_MS,
        rebalance_timeout_ms=REBALANCE_MS if version else -1,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol(name="range", metadata=b"web")],
    )

    first = await door.ask(version, request)
    request.member_id = first.member_id
    second = await door.ask(version, request)

    assert first.member_id
    assert first.error_code == (MEMBER_ID_REQUIRED if version >= 4 else NONE)
    assert (second.error_code, second.member_id) == (NONE, first.member_id)


# --- Rebalances ---------------------------------------------------------------------------------


async def test_statement_33_a_follower_that_joins_as_before_changes_nothing(
    door: CoordinatorDoor,
) -> None:
    one, other = Member(door), Member(door)
    leader = await balanced(one, other)
    follower = other if leader is one else one
    generation_id = follower.generation_id

    again = await follower.ask_to_join()

    assert (again.error_code, again.generation_id) == (NONE, generation_id)
    assert await leader.heartbeat() == NONE


async def test_statement_33_a_member_that_polls_too_late_costs_one_rebalance(
    door: CoordinatorDoor,
) -> None:
    late, other = Member(door), Member(door)
    await balanced(late, other)
    before = other.generation_id

    await late.leave()  # as clients do when their user has not polled for too long
    assert await other.heartbeat() == REBALANCING
    await other.ask_to_join()
    await synced(other, other)

    assert await other.heartbeat() == NONE
    assert other.generation_id == before + 1
    assert await late.heartbeat() == UNKNOWN_MEMBER


async def test_statement_33_a_member_may_commit_until_it_has_joined_again(
    door: CoordinatorDoor,
) -> None:
    member, newcomer = Member(door), Member(door)
    await balanced(member)
    joining = newcomer.joins()
    await turns()

    assert (await member.heartbeat(), await member.commit(1)) == (REBALANCING, NONE)

    await asyncio.gather(member.ask_to_join(), joining)
    codes = (await member.commit(2), await newcomer.commit(2))
    assert codes == (REBALANCING, REBALANCING), "nobody has got an assignment yet"


async def test_statement_33_who_is_no_member_commits_while_there_are_none(
    door: CoordinatorDoor,
) -> None:
    assert await door.commit_at(1) == NONE
    member = Member(door)
    await balanced(member)

    assert await door.commit_at(2) == UNKNOWN_MEMBER

    await member.leave()
    assert await door.commit_at(3) == NONE
    assert (await door.fetched()).committed_offset == 3


async def test_statement_33_another_generation_is_refused_by_its_own_error(
    door: CoordinatorDoor,
) -> None:
    member = Member(door)
    await balanced(member)
    member.generation_id += 1

    assert (await member.commit(1), await member.heartbeat()) == (
        ILLEGAL_GENERATION,
        ILLEGAL_GENERATION,
    )


async def test_statement_34_a_cooperative_rebalance_takes_two_joins(door: CoordinatorDoor) -> None:
    """Who gives partitions up joins again with fewer; what it says reaches the leader."""
    one = Member(door, protocols={"cooperative-sticky": b"owns 0 1"})
    other = Member(door, protocols={"cooperative-sticky": b"owns nothing"})
    await balanced(one)
    joining = other.joins()
    await turns()
    first = await one.ask_to_join()
    await joining
    await synced(one, one, other)

    one.protocols = {"cooperative-sticky": b"owns 0"}
    rejoining = one.joins()
    await turns()
    assert await other.heartbeat() == REBALANCING
    await asyncio.gather(rejoining, other.ask_to_join())
    second = rejoining.result()
    await synced(one, one, other)

    assert second.generation_id == first.generation_id + 1
    assert sorted(bytes(member.metadata) for member in second.members) == [
        b"owns 0",
        b"owns nothing",
    ]
    assert [await one.heartbeat(), await other.heartbeat()] == [NONE, NONE]


async def test_statement_34_members_meet_on_a_protocol_that_all_know(
    door: CoordinatorDoor,
) -> None:
    one = Member(door, protocols={"cooperative-sticky": b"a", "range": b"b"})
    other = Member(door, protocols={"range": b"c"})

    await balanced(one, other)

    assert (one.protocol_name, other.protocol_name) == ("range", "range")


async def test_statement_34_who_shares_no_protocol_is_refused(door: CoordinatorDoor) -> None:
    member = Member(door, protocols={"range": b"a"})
    await balanced(member)

    stranger = await Member(door, protocols={"sticky": b"b"}).ask_to_join()
    worker = await Member(door, protocol_type="connect").ask_to_join()
    nobody = await Member(door, protocols={}).ask_to_join()

    codes = (stranger.error_code, worker.error_code, nobody.error_code)
    assert codes == (INCONSISTENT_PROTOCOL,) * 3
    assert await member.heartbeat() == NONE


# --- Static members -----------------------------------------------------------------------------


async def test_statement_35_a_static_member_that_comes_back_in_time_disturbs_nobody(
    door: CoordinatorDoor,
) -> None:
    one, other = Member(door, instance_id="one"), Member(door, instance_id="other")
    leader = await balanced(one, other)
    follower = other if leader is one else one
    before = Member(door, instance_id=follower.instance_id, member_id=follower.member_id)
    before.generation_id, had = follower.generation_id, follower.assignment

    restarted = Member(door, instance_id=follower.instance_id)
    joined = await restarted.ask_to_join()
    await restarted.sync()

    assert (joined.error_code, joined.generation_id) == (NONE, before.generation_id)
    assert restarted.member_id != before.member_id
    assert restarted.assignment == had
    assert await leader.heartbeat() == NONE
    assert await before.heartbeat() == FENCED
    described = await door.ask(5, DescribeGroupsRequest(groups=["group"]))
    (group,) = described.groups
    assert sorted(member.group_instance_id for member in group.members) == ["one", "other"]


async def test_statement_35_a_static_member_that_stays_away_is_not_waited_for(
    door: CoordinatorDoor,
) -> None:
    member = Member(door, instance_id="one")
    await balanced(member)

    await door.pass_time(SESSION_MS + 1_000)

    described = await door.ask(5, DescribeGroupsRequest(groups=["group"]))
    assert [group.group_state for group in described.groups] == ["Empty"]


# --- Groups as administrators see them ----------------------------------------------------------


async def test_statement_36_groups_of_any_kind_are_listed(door: CoordinatorDoor) -> None:
    worker = Member(door, protocol_type="connect", protocols={"sessioned": b"url"})
    await balanced(worker)
    await door.commit_at(1, group_id="offsets alone")

    listed = await door.ask(5, ListGroupsRequest())
    old = await door.ask(0, ListGroupsRequest())

    kinds = {one.group_id: (one.protocol_type, one.group_state) for one in listed.groups}
    assert kinds == {"group": ("connect", "Stable"), "offsets alone": ("", "Empty")}
    assert {one.group_id for one in old.groups} == set(kinds)


@pytest.mark.parametrize(("version", "code"), [(0, NONE), (5, NONE), (6, NOT_FOUND)])
async def test_statement_36_a_group_that_nobody_knows_is_dead_and_then_not_found(
    door: CoordinatorDoor, version: int, code: int
) -> None:
    described = await door.ask(version, DescribeGroupsRequest(groups=["nobody's"]))

    assert [(one.error_code, one.group_state) for one in described.groups] == [(code, "Dead")]


async def test_statement_36_groups_are_deleted_if_they_are_empty(door: CoordinatorDoor) -> None:
    await balanced(Member(door))
    await door.commit_at(1, group_id="empty")

    deleted = await door.ask(2, DeleteGroupsRequest(groups_names=["group", "empty", "nobody's"]))

    codes = {one.group_id: one.error_code for one in deleted.results}
    assert codes == {"group": NOT_EMPTY, "empty": NONE, "nobody's": NOT_FOUND}
    assert (await door.fetched(group_id="empty")).committed_offset == -1


# --- How long offsets are kept ------------------------------------------------------------------


async def test_statement_37_offsets_are_there_after_a_recovery(door: CoordinatorDoor) -> None:
    member = Member(door)
    await balanced(member)
    await member.commit(7)

    await door.lead_again()

    assert (await door.fetched()).committed_offset == 7
    assert await member.heartbeat() == NONE


async def test_statement_37_offsets_expire_a_week_after_the_group_has_become_empty(
    door: CoordinatorDoor,
) -> None:
    member = Member(door)
    await balanced(member)
    await member.commit(7)
    await member.leave()

    await door.pass_time(WEEK_MS - CHECK_MS)
    assert (await door.fetched()).committed_offset == 7

    await door.pass_time(2 * CHECK_MS)
    assert (await door.fetched()).committed_offset == -1


async def test_statement_37_offsets_of_a_group_with_members_do_not_expire(
    door: CoordinatorDoor,
) -> None:
    member = Member(door, session_ms=1_800_000)
    await balanced(member)
    await member.commit(7)
    (shard,) = door.shards.shards.values()
    for _ in range((WEEK_MS + 2 * CHECK_MS) // 1_700_000):
        door.clock.passed_ms += 1_700_000
        shard.tick()
        assert await member.heartbeat() == NONE

    assert (await door.fetched()).committed_offset == 7
    assert await member.heartbeat() == NONE


async def test_a_rebalance_does_not_wait_for_a_member_that_does_not_come_back(
    door: CoordinatorDoor,
) -> None:
    silent, other = Member(door), Member(door)
    await balanced(silent, other)
    newcomer = Member(door)
    joining, rejoining = newcomer.joins(), other.joins()
    await turns()
    assert not joining.done()
    silence = asyncio.ensure_future(door.pass_time(REBALANCE_MS + 1_000))
    await until(joining.done)
    await silence
    await rejoining

    assert {len(rejoining.result().members), len(joining.result().members)} == {0, 2}
