"""The leader assigns, the group is written to the log, and every member is told what is its own."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.coordinator.effects import Token
from ottla.coordinator.requests import DescribeClassicGroup, SyncGroup
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    GroupMaxSizeReachedError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from ottla.model.limits import GROUP_RECORD_BYTES_MAX
from tests.coordinator.shell import Member, Shell, failure, stable


def joined(shell: Shell, *members: Member) -> None:
    tokens = [member.ask_to_join() for member in members]
    shell.wait()
    for member, token in zip(members, tokens, strict=True):
        member.has_joined(token)


def test_members_wait_for_the_leader_to_assign() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    joined(shell, leader, follower)
    waiting = follower.ask_to_sync()
    assert shell.waits(waiting)

    own = leader.ask_to_sync({leader.member_id: b"one", follower.member_id: b"two"})

    assert shell.answer(own).assignment == b"one"
    synced = shell.answer(waiting)
    assert (synced.protocol_type, synced.protocol_name, synced.assignment) == (
        "consumer",
        "range",
        b"two",
    )


def test_assignments_are_in_the_log_before_anybody_is_told() -> None:
    shell = Shell()
    member = Member(shell)
    joined(shell, member)
    assert shell.log == []

    sync = SyncGroup(
        group_id="g",
        generation_id=1,
        member_id=member.member_id,
        assignments={member.member_id: b"mine"},
    )
    effects = shell.shard.request(Token(1_000), sync, shell.now_ms)

    assert len(effects.records) == 1
    assert [answer.after_commit for answer in effects.answers] == [True]


def test_member_that_the_leader_left_out_is_assigned_nothing() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    joined(shell, leader, follower)
    leader.ask_to_sync({leader.member_id: b"all"})

    assert shell.answer(follower.ask_to_sync()).assignment == b""


def test_member_may_ask_for_its_assignment_again() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)

    assert shell.answer(member.ask_to_sync()).assignment == member.member_id.encode()


def test_syncing_while_members_join_again_is_refused() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    Member(shell).ask_to_join()

    with pytest.raises(RebalanceInProgressError):
        shell.answer(member.ask_to_sync())


def test_members_that_wait_for_their_assignments_are_sent_to_join_a_new_rebalance() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    joined(shell, leader, follower)
    waiting = follower.ask_to_sync()
    Member(shell).ask_to_join()

    assert failure(lambda: shell.answer(waiting)) == 27


def test_syncing_with_another_generation_is_refused() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)

    with pytest.raises(IllegalGenerationError):
        shell.answer(member.ask_to_sync(generation_id=2))


def test_syncing_of_somebody_unknown_is_refused() -> None:
    shell = Shell()
    stable(Member(shell))

    with pytest.raises(UnknownMemberIdError):
        shell.answer(Member(shell, member_id="nobody", generation_id=1).ask_to_sync())
    with pytest.raises(UnknownMemberIdError):
        shell.answer(Member(shell, group_id="none", member_id="m").ask_to_sync())


@pytest.mark.parametrize("fields", [{"protocol_type": "connect"}, {"protocol_name": "roundrobin"}])
def test_syncing_with_another_protocol_is_refused(fields: dict[str, Any]) -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)

    with pytest.raises(InconsistentGroupProtocolError):
        shell.answer(member.ask_to_sync(**fields))


def test_members_that_do_not_ask_for_their_assignments_in_time_are_out() -> None:
    shell = Shell()
    leader = Member(shell, session_timeout_ms=1_800_000)
    silent = Member(shell, session_timeout_ms=1_800_000)
    joined(shell, leader, silent)
    leader.ask_to_sync()
    leader.heartbeat()
    shell.wait(leader.rebalance_timeout_ms)

    assert failure(silent.heartbeat) == 25
    assert failure(leader.heartbeat) == 27


def test_leader_that_does_not_assign_in_time_is_out_and_the_others_begin_again() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    joined(shell, leader, follower)
    waiting = follower.ask_to_sync()
    shell.wait(leader.session_timeout_ms)

    assert failure(lambda: shell.answer(waiting)) == 27
    token = follower.ask_to_join()
    assert follower.has_joined(token).leader == follower.member_id


def test_assignments_that_a_record_cannot_hold_are_refused() -> None:
    shell = Shell()
    member = Member(shell)
    joined(shell, member)

    with pytest.raises(GroupMaxSizeReachedError):
        shell.answer(member.ask_to_sync({member.member_id: bytes(GROUP_RECORD_BYTES_MAX)}))
    assert shell.log == []
    assert failure(member.heartbeat) == 27


def test_request_to_sync_that_was_asked_again_is_answered_too() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    joined(shell, leader, follower)
    before = follower.ask_to_sync()
    again = follower.ask_to_sync()
    assert failure(lambda: shell.answer(before)) == 27

    leader.ask_to_sync({follower.member_id: b"two"})

    assert shell.answer(again).assignment == b"two"


def test_chain_of_groups_that_start_at_once_each_gets_its_assignments() -> None:
    shell = Shell(GroupSettings(initial_rebalance_delay_ms=3_000))
    members = [Member(shell, group_id=f"g{n % 3}", requires_known_member_id=True) for n in range(9)]
    for member in members:
        member.learn_id()
    tokens = [member.ask_to_join() for member in members]
    shell.wait(6_000)
    leaders = [
        member
        for member, token in zip(members, tokens, strict=True)
        if member.has_joined(token).leader == member.member_id
    ]
    assert len(leaders) == 3
    assignments = {member.member_id: b"yours" for member in members}
    synced = [member.ask_to_sync(assignments) for member in members]

    assert {shell.answer(token).assignment for token in synced} == {b"yours"}


def test_cooperative_rebalance_gives_back_first_and_hands_over_then() -> None:
    shell = Shell()
    old, new = Member(shell), Member(shell)
    old.protocols = new.protocols = {"cooperative-sticky": b"owns nothing"}
    joined(shell, old)
    old.ask_to_sync({old.member_id: b"t-0 t-1"})
    # The new member is given nothing until the old one has given something back.
    joining = new.ask_to_join()
    old.protocols = {"cooperative-sticky": b"owns t-0 t-1"}
    old.has_joined(old.ask_to_join())
    new.has_joined(joining)
    own = old.ask_to_sync({old.member_id: b"t-0"})
    assert shell.answer(own).assignment == b"t-0"
    assert shell.answer(new.ask_to_sync()).assignment == b""
    # It has, and says so by joining again.
    old.protocols = {"cooperative-sticky": b"owns t-0"}
    joining = old.ask_to_join()
    assert failure(new.heartbeat) == 27
    new.has_joined(new.ask_to_join())
    members = old.has_joined(joining).members

    assert {member.metadata for member in members} == {b"owns t-0", b"owns nothing"}
    old.ask_to_sync({old.member_id: b"t-0", new.member_id: b"t-1"})
    assert shell.answer(new.ask_to_sync()).assignment == b"t-1"


def test_protocols_may_change_over_one_by_one() -> None:
    shell = Shell()
    members = [Member(shell), Member(shell)]
    stable(*members)
    new = {"cooperative-sticky": b"c", "range": members[0].protocols["range"]}
    for member in members:
        member.protocols = new
    tokens = [member.ask_to_join() for member in members]

    names = {
        member.has_joined(token).protocol_name
        for member, token in zip(members, tokens, strict=True)
    }

    assert names == {"cooperative-sticky"}


def test_member_that_is_told_of_the_generation_again_is_to_sync_again() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell, session_timeout_ms=1_800_000)
    joined(shell, leader, follower)
    follower.ask_to_sync()
    follower.has_joined(follower.ask_to_join())
    leader.ask_to_sync()
    for _ in range(10):
        shell.wait(6_000)
        failure(leader.heartbeat)

    assert failure(follower.heartbeat) == 25


def test_session_begins_when_a_member_is_told_its_assignment() -> None:
    shell = Shell()
    leader = Member(shell, session_timeout_ms=60_000)
    follower = Member(shell, session_timeout_ms=10_000)
    joined(shell, leader, follower)
    waiting = follower.ask_to_sync()
    shell.wait(30_000)
    leader.ask_to_sync()
    assert shell.answer(waiting).assignment == b""
    shell.wait(9_999)
    leader.heartbeat()

    shell.wait(1)

    assert failure(leader.heartbeat) == 27


def test_asking_for_the_assignment_again_is_a_sign_of_life() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    shell.wait(member.session_timeout_ms - 1)
    member.ask_to_sync()
    shell.wait(member.session_timeout_ms - 1)

    member.heartbeat()


def test_syncing_before_there_is_a_protocol_is_a_matter_of_joining() -> None:
    shell = Shell(GroupSettings(initial_rebalance_delay_ms=3_000))
    member = Member(shell)
    member.learn_id()
    member.ask_to_join()

    token = member.ask_to_sync(generation_id=0, protocol_type="consumer", protocol_name="range")

    assert failure(lambda: shell.answer(token)) == 27


def test_assignments_of_a_generation_that_ended_before_it_was_whole_are_forgotten() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.has_joined(member.ask_to_join())
    Member(shell).ask_to_join()

    (one, _) = shell.answered(DescribeClassicGroup(group_id="g")).members

    assert one.assignment == b""
