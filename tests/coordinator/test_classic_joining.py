"""Members of a classic group join as Kafka's do, and agree on who leads and how they assign."""

from __future__ import annotations

import pytest

from ottla.coordinator.requests import DescribeClassicGroup, JoinedMember, MemberProtocol
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidRequestError,
    InvalidSessionTimeoutError,
    MemberIdRequiredError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from ottla.model.limits import CLASSIC_PROTOCOLS_PER_MEMBER_MAX, GROUP_STRING_BYTES_MAX
from tests.coordinator.shell import Member, Shell, failure, stable, subscription


def state(shell: Shell, group_id: str = "g") -> str:
    description: str = shell.answered(DescribeClassicGroup(group_id=group_id)).state
    return description


# --- The first generation ---


def test_first_member_leads_the_first_generation() -> None:
    shell = Shell()
    member = Member(shell)
    token = member.ask_to_join()
    assert shell.waits(token)

    shell.wait()
    joined = member.has_joined(token)

    assert (joined.generation_id, joined.leader) == (1, member.member_id)
    assert joined.members == (
        JoinedMember(
            member_id="client-1", group_instance_id=None, metadata=member.protocols["range"]
        ),
    )
    assert (joined.protocol_type, joined.protocol_name) == ("consumer", "range")


def test_empty_group_waits_a_moment_for_more_members_and_again_while_some_come() -> None:
    shell = Shell(GroupSettings(initial_rebalance_delay_ms=3_000))
    first, second = Member(shell), Member(shell)
    one = first.ask_to_join()
    shell.wait(2_999)
    two = second.ask_to_join()
    shell.wait(3_000)
    assert shell.waits(one)

    shell.wait(1)

    assert first.has_joined(one).generation_id == second.has_joined(two).generation_id == 1


def test_group_does_not_wait_for_more_members_longer_than_the_rebalance_timeout() -> None:
    shell = Shell(GroupSettings(initial_rebalance_delay_ms=3_000))
    first = Member(shell, rebalance_timeout_ms=7_000)
    token = first.ask_to_join()
    for _ in range(6):
        shell.wait(1_000)
        Member(shell).ask_to_join(rebalance_timeout_ms=7_000)
    shell.wait(1_000)

    assert len(first.has_joined(token).members) == 7


def test_followers_are_told_of_nobody_but_the_leader() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    one, two = leader.ask_to_join(), follower.ask_to_join()
    shell.wait()

    leader.has_joined(one)
    joined = follower.has_joined(two)

    assert (joined.leader, joined.members) == (leader.member_id, ())


# --- Two steps (KIP-394) ---


def test_member_that_joins_in_two_steps_is_given_an_id_first() -> None:
    shell = Shell()
    member = Member(shell, requires_known_member_id=True)

    with pytest.raises(MemberIdRequiredError) as caught:
        shell.answer(member.ask_to_join())
    assert caught.value.member_id == "client-1"

    token = member.ask_to_join(member_id=caught.value.member_id)
    shell.wait()
    assert member.has_joined(token).member_id == "client-1"


def test_id_that_was_given_is_forgotten_after_the_session_timeout() -> None:
    shell = Shell()
    member = Member(shell, requires_known_member_id=True)
    member.ask_to_join()
    shell.wait(member.session_timeout_ms)

    with pytest.raises(UnknownMemberIdError):
        shell.answer(member.ask_to_join(member_id="client-1"))


def test_rebalance_waits_for_a_member_that_was_given_an_id() -> None:
    shell = Shell()
    old, new = Member(shell), Member(shell, requires_known_member_id=True)
    stable(old)
    new.ask_to_join()
    token = old.ask_to_join()
    assert shell.waits(token)

    new.ask_to_join(member_id="client-2")

    assert len(old.has_joined(token).members) == 2


def test_group_of_which_only_an_id_was_known_is_gone_with_it() -> None:
    shell = Shell()
    member = Member(shell, requires_known_member_id=True)
    member.ask_to_join()
    assert state(shell) == "Empty"

    shell.wait(member.session_timeout_ms)

    assert failure(lambda: state(shell)) == 69
    assert shell.log == []


# --- Protocols ---


def test_protocol_that_most_members_prefer_among_the_common_ones_is_chosen() -> None:
    shell = Shell()
    lists = ["abx", "bac", "cba"]
    members = [Member(shell, protocols=dict.fromkeys(names, b"")) for names in lists]
    tokens = [member.ask_to_join() for member in members]
    shell.wait()

    joined = [member.has_joined(token) for member, token in zip(members, tokens, strict=True)]

    assert {one.protocol_name for one in joined} == {"b"}


def test_leader_prefers_among_protocols_with_as_many_votes() -> None:
    shell = Shell()
    members = [Member(shell, protocols=dict.fromkeys(names, b"")) for names in ("ab", "ba")]
    tokens = [member.ask_to_join() for member in members]
    shell.wait()

    assert members[0].has_joined(tokens[0]).protocol_name == "a"


@pytest.mark.parametrize(
    "fields",
    [
        {"protocol_type": "", "protocols": []},
        {"protocols": []},
        {"protocol_type": ""},
    ],
)
def test_first_member_without_a_protocol_is_refused(fields: dict[str, object]) -> None:
    shell = Shell()

    with pytest.raises(InconsistentGroupProtocolError):
        shell.answer(Member(shell).ask_to_join(**fields))
    assert failure(lambda: state(shell)) == 69


def test_member_without_a_common_protocol_is_refused() -> None:
    shell = Shell()
    stable(Member(shell))

    with pytest.raises(InconsistentGroupProtocolError):
        shell.answer(Member(shell, protocols={"roundrobin": b""}).ask_to_join())
    assert state(shell) == "Stable"


def test_member_of_another_protocol_type_is_refused() -> None:
    shell = Shell()
    stable(Member(shell))

    assert failure(lambda: shell.answer(Member(shell, protocol_type="connect").ask_to_join())) == 23


def test_protocol_types_are_opaque_and_an_empty_group_takes_any() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.leave()

    stable(Member(shell, protocol_type="connect", protocols={"sessioned": b"\x00", "v": b""}))

    assert state(shell) == "Stable"


def test_member_with_too_many_protocols_is_refused() -> None:
    shell = Shell()
    protocols = {str(n): b"" for n in range(CLASSIC_PROTOCOLS_PER_MEMBER_MAX + 1)}

    assert failure(lambda: shell.answer(Member(shell, protocols=protocols).ask_to_join())) == 23


def test_protocol_named_twice_counts_once() -> None:
    shell = Shell()
    member = Member(shell)
    token = member.ask_to_join(
        protocols=[protocol for _ in range(2) for protocol in _protocols("range")]
    )
    shell.wait()
    member.has_joined(token)
    Member(shell).ask_to_join()

    assert state(shell) == "PreparingRebalance"


def _protocols(*names: str) -> list[MemberProtocol]:
    return [MemberProtocol(name=name, metadata=b"") for name in names]


# --- Requests that nobody may make ---


@pytest.mark.parametrize("timeout_ms", [5_999, 1_800_001])
def test_session_timeout_out_of_bounds_is_refused(timeout_ms: int) -> None:
    shell = Shell()

    with pytest.raises(InvalidSessionTimeoutError):
        shell.answer(Member(shell, session_timeout_ms=timeout_ms).ask_to_join())


def test_empty_group_id_is_refused() -> None:
    shell = Shell()

    with pytest.raises(InvalidGroupIdError):
        shell.answer(Member(shell, group_id="").ask_to_join())


def test_strings_that_a_record_cannot_hold_are_refused() -> None:
    shell = Shell()
    long = "ä" * (GROUP_STRING_BYTES_MAX // 2 + 1)

    with pytest.raises(InvalidGroupIdError):
        shell.answer(Member(shell, group_id=long).ask_to_join())
    with pytest.raises(InvalidRequestError):
        shell.answer(Member(shell, client_id=long).ask_to_join())


def test_member_id_that_nobody_has_is_refused() -> None:
    shell = Shell()
    with pytest.raises(UnknownMemberIdError):
        shell.answer(Member(shell, member_id="nobody").ask_to_join())
    stable(Member(shell))
    with pytest.raises(UnknownMemberIdError):
        shell.answer(Member(shell, member_id="nobody").ask_to_join())


# --- Joining again ---


def test_new_member_makes_everybody_join_again() -> None:
    shell = Shell()
    old, new = Member(shell), Member(shell)
    stable(old)
    joining = new.ask_to_join()
    with pytest.raises(RebalanceInProgressError):
        old.heartbeat()
    again = old.ask_to_join()

    joined = [old.has_joined(again), new.has_joined(joining)]

    assert {(one.generation_id, one.leader) for one in joined} == {(2, old.member_id)}


def test_member_that_does_not_come_back_in_time_is_out() -> None:
    shell = Shell()
    old, new = Member(shell, session_timeout_ms=1_800_000), Member(shell)
    stable(old)
    token = new.ask_to_join()
    shell.wait(old.rebalance_timeout_ms - 1)
    assert shell.waits(token)

    shell.wait(1)

    assert [one.member_id for one in new.has_joined(token).members] == [new.member_id]
    with pytest.raises(UnknownMemberIdError):
        old.heartbeat()


def test_rebalance_takes_as_long_as_the_slowest_member_may() -> None:
    shell = Shell()
    slow = Member(shell, rebalance_timeout_ms=90_000, session_timeout_ms=1_800_000)
    quick = Member(shell, rebalance_timeout_ms=10_000, session_timeout_ms=1_800_000)
    stable(slow, quick)
    token = quick.ask_to_join(protocols=_protocols("range"))
    shell.wait(89_999)

    assert shell.waits(token)


def test_follower_that_joins_again_unchanged_stays_in_the_generation() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    stable(leader, follower)

    joined = follower.has_joined(follower.ask_to_join())

    assert (joined.generation_id, joined.members) == (1, ())
    leader.heartbeat()
    assert shell.answer(follower.ask_to_sync()).assignment == follower.member_id.encode()


def test_leader_that_joins_again_makes_everybody_join_again() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    stable(leader, follower)

    token = leader.ask_to_join()

    assert shell.waits(token)
    assert failure(follower.heartbeat) == 27


def test_member_that_changes_its_mind_makes_everybody_join_again() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    stable(leader, follower)

    follower.protocols = {"range": subscription("t", "u")}
    follower.ask_to_join()

    assert failure(leader.heartbeat) == 27


def test_member_that_missed_its_answer_is_told_again_while_the_leader_assigns() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    tokens = [leader.ask_to_join(), follower.ask_to_join()]
    shell.wait()
    leader.has_joined(tokens[0])
    follower.has_joined(tokens[1])

    assert leader.has_joined(leader.ask_to_join()).generation_id == 1
    assert len(leader.has_joined(leader.ask_to_join()).members) == 2
    assert state(shell) == "CompletingRebalance"


def test_request_that_was_asked_again_is_answered_too() -> None:
    shell = Shell()
    first, second = Member(shell), Member(shell)
    stable(first, second)
    before = first.ask_to_join()
    again = first.ask_to_join()

    assert failure(lambda: shell.answer(before)) == 27
    second.ask_to_join()
    assert first.has_joined(again).generation_id == 2


def test_leader_that_does_not_come_back_is_succeeded() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    stable(leader, follower)
    leader.leave()

    token = follower.ask_to_join()

    assert follower.has_joined(token).leader == follower.member_id


# --- The size of a group ---


def test_group_takes_no_more_members_than_it_may() -> None:
    shell = Shell(GroupSettings(initial_rebalance_delay_ms=0, group_size_max=2))
    one, two = Member(shell), Member(shell)
    stable(one, two)

    with pytest.raises(GroupMaxSizeReachedError):
        shell.answer(Member(shell).ask_to_join())
    one.heartbeat()


def test_members_that_come_back_last_to_a_group_that_became_too_large_are_out() -> None:
    shell = Shell()
    members = [Member(shell) for _ in range(3)]
    stable(*members)
    shell.settings = GroupSettings(initial_rebalance_delay_ms=0, group_size_max=2)
    shell.reload()

    tokens = [member.ask_to_join() for member in members]

    assert failure(lambda: shell.answer(tokens[2])) == 81
    assert len(members[0].has_joined(tokens[0]).members) == 2


def test_member_that_waits_may_ask_again_in_a_full_group() -> None:
    shell = Shell(GroupSettings(initial_rebalance_delay_ms=3_000, group_size_max=1))
    member = Member(shell)
    member.learn_id()
    member.ask_to_join()

    assert shell.waits(member.ask_to_join())


def test_rebalance_goes_on_without_who_was_given_an_id_and_left() -> None:
    shell = Shell()
    old, new = Member(shell), Member(shell)
    stable(old)
    new.learn_id()
    token = old.ask_to_join()
    assert shell.waits(token)

    new.leave()

    assert old.has_joined(token).generation_id == 2


def test_rebalance_timeout_of_clients_that_have_none_is_their_session_timeout() -> None:
    shell = Shell()
    old = Member(shell, rebalance_timeout_ms=-1, session_timeout_ms=20_000)
    stable(old)
    token = Member(shell, rebalance_timeout_ms=-1).ask_to_join()
    shell.wait(10_000)
    assert failure(old.heartbeat) == 27
    shell.wait(9_999)
    assert shell.waits(token)

    shell.wait(1)

    assert not shell.waits(token)
