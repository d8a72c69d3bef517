"""A member of a classic group stays in it for as long as it is heard from, or waits."""

from __future__ import annotations

import pytest

from ottla.coordinator.requests import DescribeClassicGroup, LeaveGroup, LeavingMember
from ottla.model.errors import IllegalGenerationError, OttlaError, UnknownMemberIdError
from tests.coordinator.shell import Member, Shell, failure, stable


def members_of(shell: Shell, group_id: str = "g") -> set[str]:
    description = shell.answered(DescribeClassicGroup(group_id=group_id))
    return {member.member_id for member in description.members}


# --- Heartbeats ---


def test_member_that_sends_heartbeats_stays() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    for _ in range(10):
        shell.wait(member.session_timeout_ms - 1)
        member.heartbeat()

    assert members_of(shell) == {member.member_id}


def test_member_that_is_silent_is_out_and_the_others_begin_again() -> None:
    shell = Shell()
    silent, other = Member(shell), Member(shell, session_timeout_ms=60_000)
    stable(silent, other)
    shell.wait(silent.session_timeout_ms)

    assert members_of(shell) == {other.member_id}
    assert failure(other.heartbeat) == 27
    assert failure(silent.heartbeat) == 25


def test_group_whose_last_member_is_silent_is_empty_and_says_so_in_the_log() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    before = len(shell.log)
    shell.wait(member.session_timeout_ms)

    assert shell.answered(DescribeClassicGroup(group_id="g")).state == "Empty"
    assert len(shell.log) == before + 1


def test_heartbeat_with_another_generation_is_refused() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)

    with pytest.raises(IllegalGenerationError):
        member.heartbeat(generation_id=7)


def test_heartbeat_to_a_group_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UnknownMemberIdError):
        Member(Shell(), member_id="m", generation_id=1).heartbeat()


def test_heartbeat_while_the_leader_assigns_is_fine() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    tokens = [leader.ask_to_join(), follower.ask_to_join()]
    shell.wait()
    leader.has_joined(tokens[0])
    follower.has_joined(tokens[1])

    follower.heartbeat()


def test_commit_is_a_sign_of_life() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    shell.wait(member.session_timeout_ms - 1)
    member.commit("t", 1)
    shell.wait(member.session_timeout_ms - 1)

    member.heartbeat()


# --- Waiting ---


def test_member_that_waits_for_the_others_is_not_silent() -> None:
    shell = Shell()
    waiting, slow = Member(shell), Member(shell, session_timeout_ms=1_800_000)
    stable(waiting, slow)
    waiting.protocols = {"range": b"changed"}
    token = waiting.ask_to_join()
    shell.wait(waiting.session_timeout_ms * 3)
    assert shell.waits(token)

    slow.ask_to_join()

    assert waiting.has_joined(token).generation_id == 2


def test_new_member_is_kept_waiting_for_five_minutes_at_most() -> None:
    shell = Shell()
    slow = Member(shell, session_timeout_ms=1_800_000, rebalance_timeout_ms=1_000_000)
    stable(slow)
    new = Member(shell)
    token = new.ask_to_join()
    shell.wait(299_999)
    assert shell.waits(token)

    shell.wait(1)

    assert failure(lambda: shell.answer(token)) == 25
    assert members_of(shell) == {slow.member_id}


def test_new_member_whose_connection_goes_before_it_knows_its_id_is_out_at_once() -> None:
    shell = Shell()
    old, new = Member(shell), Member(shell)
    stable(old)
    shell.cancel(new.ask_to_join())
    shell.wait()

    assert members_of(shell) == {old.member_id}
    assert old.has_joined(old.ask_to_join()).generation_id == 2


def test_new_member_whose_connection_goes_may_come_back_if_it_knows_its_id() -> None:
    shell = Shell()
    old, new = Member(shell), Member(shell, requires_known_member_id=True)
    stable(old)
    new.ask_to_join()
    new.member_id = "client-2"
    shell.cancel(new.ask_to_join())
    shell.wait(1)
    token = new.ask_to_join()
    old.ask_to_join()

    assert new.has_joined(token).member_id == "client-2"


def test_member_whose_connection_goes_while_it_waits_has_a_session_to_come_back() -> None:
    shell = Shell()
    gone, other = Member(shell), Member(shell, session_timeout_ms=1_800_000)
    stable(gone, other)
    gone.protocols = {"range": b"changed"}
    shell.cancel(gone.ask_to_join())
    shell.wait(gone.session_timeout_ms - 1)
    assert members_of(shell) == {gone.member_id, other.member_id}

    shell.wait(1)

    assert members_of(shell) == {other.member_id}


def test_member_whose_connection_goes_while_it_syncs_may_sync_again() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    tokens = [leader.ask_to_join(), follower.ask_to_join()]
    shell.wait()
    leader.has_joined(tokens[0])
    follower.has_joined(tokens[1])
    shell.cancel(follower.ask_to_sync())
    shell.wait()
    leader.ask_to_sync({follower.member_id: b"mine"})

    assert shell.answer(follower.ask_to_sync()).assignment == b"mine"


def test_cancelling_what_nobody_waits_for_changes_nothing() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)

    shell.shard.cancel(next(iter(shell.answers)))
    shell.wait()

    member.heartbeat()


def test_everybody_who_waits_is_told_when_the_coordinator_resigns() -> None:
    shell = Shell()
    leader, syncing = Member(shell), Member(shell)
    tokens = [leader.ask_to_join(), syncing.ask_to_join()]
    shell.wait()
    leader.has_joined(tokens[0])
    syncing.has_joined(tokens[1])
    waiting = [syncing.ask_to_sync(), Member(shell, group_id="h").ask_to_join()]

    shell.perform(shell.shard.resign(OttlaError("moved")))

    assert [str(shell.answers[token]) for token in waiting] == ["moved"] * 2


# --- Leaving ---


def test_member_that_leaves_makes_the_others_join_again() -> None:
    shell = Shell()
    one, two = Member(shell), Member(shell)
    stable(one, two)
    one.leave()

    assert failure(two.heartbeat) == 27
    assert two.has_joined(two.ask_to_join()).generation_id == 2


def test_several_members_leave_at_once_and_each_has_an_outcome() -> None:
    shell = Shell()
    one, two, static = Member(shell), Member(shell), Member(shell, instance_id="s")
    stable(one, two, static)
    request = LeaveGroup(
        group_id="g",
        members=[
            LeavingMember(member_id=one.member_id),
            LeavingMember(member_id="nobody"),
            LeavingMember(member_id="", group_instance_id="s"),
            LeavingMember(member_id="", group_instance_id="t"),
            LeavingMember(member_id=two.member_id, group_instance_id="s"),
        ],
    )

    outcomes = shell.answered(request)

    assert [0 if one is None else one.code for one in outcomes] == [0, 25, 0, 25, 25]
    assert members_of(shell) == {two.member_id}


def test_who_was_only_given_an_id_leaves_without_a_rebalance() -> None:
    shell = Shell()
    old, new = Member(shell), Member(shell, requires_known_member_id=True)
    stable(old)
    new.ask_to_join()
    new.member_id = "client-2"
    new.leave()

    old.heartbeat()
    assert failure(lambda: shell.answer(new.ask_to_join())) == 25


def test_leaving_a_group_that_nobody_knows_has_an_outcome_for_each() -> None:
    request = LeaveGroup(group_id="g", members=[LeavingMember(member_id="m")])

    (outcome,) = Shell().answered(request)

    assert isinstance(outcome, UnknownMemberIdError)


def test_member_that_is_taken_out_while_it_waits_is_told() -> None:
    shell = Shell()
    one, two = Member(shell), Member(shell)
    stable(one, two)
    token = one.ask_to_join()
    one.leave()

    assert failure(lambda: shell.answer(token)) == 25
