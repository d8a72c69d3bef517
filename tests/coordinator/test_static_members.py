"""A static member (KIP-345) that starts anew takes its own place, and nobody else notices."""

from __future__ import annotations

import pytest

from ottla.coordinator.requests import DeleteOffsets, DescribeClassicGroup
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    FencedInstanceIdError,
    GroupSubscribedToTopicError,
    UnknownMemberIdError,
)
from ottla.model.ids import TopicPartition
from tests.coordinator.shell import Member, Shell, failure, stable, subscription


def restarted(member: Member) -> Member:
    return Member(member.shell, instance_id=member.instance_id, protocols=member.protocols)


def test_static_member_does_not_join_in_two_steps() -> None:
    shell = Shell()
    member = Member(shell, instance_id="s", requires_known_member_id=True)
    token = member.ask_to_join()
    shell.wait()

    assert member.has_joined(token).member_id == "s-1"


def test_static_follower_that_starts_anew_causes_no_rebalance() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell, instance_id="s")
    stable(leader, follower)
    again = restarted(follower)

    joined = again.has_joined(again.ask_to_join())

    assert (joined.generation_id, joined.leader) == (1, leader.member_id)
    assert joined.member_id != follower.member_id
    leader.heartbeat()
    assignment = shell.answer(again.ask_to_sync()).assignment
    assert assignment == follower.member_id.encode()


def test_old_id_of_a_static_member_is_fenced() -> None:
    shell = Shell()
    old = Member(shell, instance_id="s")
    stable(old, Member(shell))
    new = restarted(old)
    new.has_joined(new.ask_to_join())

    with pytest.raises(FencedInstanceIdError):
        old.heartbeat()
    with pytest.raises(FencedInstanceIdError):
        old.commit("t", 1)
    with pytest.raises(FencedInstanceIdError):
        shell.answer(old.ask_to_join())
    with pytest.raises(FencedInstanceIdError):
        old.leave()
    with pytest.raises(FencedInstanceIdError):
        shell.answer(old.ask_to_sync())


def test_instance_id_that_no_member_has_is_unknown() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.instance_id = "s"

    with pytest.raises(UnknownMemberIdError):
        member.heartbeat()


def test_new_id_of_a_static_member_is_in_the_log() -> None:
    shell = Shell()
    old = Member(shell, instance_id="s")
    stable(old, Member(shell))
    new = restarted(old)
    new.has_joined(new.ask_to_join())
    shell.reload()

    new.heartbeat()
    assert failure(old.heartbeat) == 82


def test_static_leader_that_starts_anew_is_told_that_it_need_not_assign() -> None:
    shell = Shell()
    leader = Member(shell, instance_id="s")
    stable(leader, Member(shell))
    again = restarted(leader)

    joined = again.has_joined(again.ask_to_join())

    assert joined.skip_assignment
    assert (joined.leader, len(joined.members)) == (again.member_id, 2)


def test_static_leader_that_does_not_understand_that_is_not_told_that_it_leads() -> None:
    shell = Shell()
    leader = Member(shell, instance_id="s")
    stable(leader, Member(shell))
    again = restarted(leader)
    again.supports_skipping_assignment = False

    joined = again.has_joined(again.ask_to_join())

    assert not joined.skip_assignment
    assert (joined.leader, joined.members) == (leader.member_id, ())


def test_static_member_that_comes_back_with_another_protocol_causes_a_rebalance() -> None:
    shell = Shell()
    static, other = Member(shell, instance_id="s"), Member(shell)
    static.protocols = other.protocols = {"range": b"", "roundrobin": b""}
    stable(static, other)
    again = restarted(static)
    again.protocols = {"roundrobin": b""}
    token = again.ask_to_join()
    assert failure(other.heartbeat) == 27

    other.ask_to_join()

    assert again.has_joined(token).protocol_name == "roundrobin"


def test_static_member_may_subscribe_to_something_else_without_a_rebalance() -> None:
    shell = Shell()
    static, other = Member(shell, instance_id="s"), Member(shell)
    stable(static, other)
    again = restarted(static)
    again.protocols = {"range": subscription("u")}

    again.has_joined(again.ask_to_join())

    other.heartbeat()
    description = shell.answered(DescribeClassicGroup(group_id="g"))
    assert subscription("u") in {member.metadata for member in description.members}


def test_static_member_that_starts_anew_while_the_leader_assigns_causes_a_rebalance() -> None:
    shell = Shell()
    leader, static = Member(shell), Member(shell, instance_id="s")
    tokens = [leader.ask_to_join(), static.ask_to_join()]
    shell.wait()
    leader.has_joined(tokens[0])
    static.has_joined(tokens[1])
    syncing = static.ask_to_sync()

    token = restarted(static).ask_to_join()

    assert failure(lambda: shell.answer(syncing)) == 82
    assert failure(leader.heartbeat) == 27
    leader.ask_to_join()
    assert shell.answer(token).generation_id == 2


def test_static_member_that_starts_anew_while_it_waits_takes_its_place_among_those_that_wait() -> (
    None
):
    shell = Shell()
    other, static = Member(shell), Member(shell, instance_id="s")
    stable(other, static)
    static.protocols = {"range": subscription("u")}
    waiting = static.ask_to_join(member_id=static.member_id)
    token = restarted(static).ask_to_join()

    assert failure(lambda: shell.answer(waiting)) == 82
    other.ask_to_join()
    assert shell.answer(token).generation_id == 2


def test_static_member_that_does_not_come_back_keeps_its_place_for_its_session() -> None:
    shell = Shell()
    static = Member(shell, instance_id="s", session_timeout_ms=120_000)
    other = Member(shell, rebalance_timeout_ms=30_000)
    static.rebalance_timeout_ms = 30_000
    stable(static, other)
    other.protocols = {"range": subscription("u")}
    token = other.ask_to_join()
    shell.wait(30_000)

    joined = other.has_joined(token)

    assert joined.leader == other.member_id
    assert {member.group_instance_id for member in joined.members} == {"s", None}


def test_static_member_takes_its_own_place_in_a_full_group() -> None:
    shell = Shell(GroupSettings(initial_rebalance_delay_ms=0, group_size_max=1))
    member = Member(shell, instance_id="s")
    stable(member)
    again = restarted(member)

    assert again.has_joined(again.ask_to_join()).generation_id == 1


def test_rebalance_with_nobody_but_absent_static_members_goes_on_until_their_sessions_end() -> None:
    shell = Shell()
    members = [Member(shell, instance_id=name, session_timeout_ms=90_000) for name in "ab"]
    stable(*members)
    third = Member(shell, rebalance_timeout_ms=1_000)
    joining = third.ask_to_join()
    shell.cancel(joining)
    shell.wait(60_000)
    assert shell.answered(DescribeClassicGroup(group_id="g")).state == "PreparingRebalance"

    shell.wait(30_000)

    assert shell.answered(DescribeClassicGroup(group_id="g")).state == "Empty"


def test_description_names_the_instance_ids() -> None:
    shell = Shell()
    stable(Member(shell, instance_id="s"))

    (member,) = shell.answered(DescribeClassicGroup(group_id="g")).members

    assert member.group_instance_id == "s"


def test_topics_that_a_static_member_comes_back_with_are_noted() -> None:
    shell = Shell()
    static = Member(shell, instance_id="s")
    stable(static, Member(shell))
    again = restarted(static)
    again.protocols = {"range": subscription("u")}
    again.has_joined(again.ask_to_join())

    request = DeleteOffsets(group_id="g", partitions=[TopicPartition("u", 0)])
    (outcome,) = shell.answered(request)

    assert isinstance(outcome, GroupSubscribedToTopicError)


def test_new_static_member_whose_connection_goes_can_take_its_own_place() -> None:
    shell = Shell()
    old, static = Member(shell, session_timeout_ms=60_000), Member(shell, instance_id="s")
    stable(old)
    shell.cancel(static.ask_to_join())
    shell.wait(static.session_timeout_ms - 1)
    token = restarted(static).ask_to_join()
    old.ask_to_join()

    assert shell.answer(token).member_id == "s-3"


def test_group_of_static_members_that_were_all_away_goes_on_when_they_are_back() -> None:
    shell = Shell()
    members = [Member(shell, instance_id=name, session_timeout_ms=60_000) for name in "ab"]
    for member in members:
        shell.cancel(member.ask_to_join())
    shell.wait()
    tokens = [member.ask_to_join() for member in members]

    joined = [shell.answer(token) for token in tokens]

    assert [one.generation_id for one in joined] == [1, 1]


def test_leader_that_took_over_from_an_absent_one_leads_with_another_coordinator_too() -> None:
    shell = Shell()
    first = Member(shell, instance_id="a", session_timeout_ms=1_800_000)
    second = Member(shell, instance_id="b", session_timeout_ms=1_800_000)
    stable(first, second)
    second.protocols = {"range": subscription("u")}
    token = second.ask_to_join()
    shell.wait(first.rebalance_timeout_ms)
    assert second.has_joined(token).leader == second.member_id
    second.ask_to_sync()
    shell.reload()

    assert first.has_joined(first.ask_to_join()).leader == second.member_id
