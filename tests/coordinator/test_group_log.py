"""What the log says of groups is Kafka's, and is enough for another coordinator to go on with."""

from __future__ import annotations

import pytest

from ottla.coordinator.effects import GroupRecord
from ottla.coordinator.requests import DescribeClassicGroup
from ottla.wire.group_records import (
    GroupMetadataKey,
    GroupMetadataValue,
    MemberMetadata,
    read_record_key,
    read_record_value,
    write_record_key,
    write_record_value,
)
from ottla.wire.malformed import MalformedError
from tests.coordinator.shell import Member, Shell, commit_of, failure, stable, subscription


def test_record_of_a_group_is_kafkas() -> None:
    shell = Shell()
    member = Member(shell, instance_id="s")
    stable(member)

    ((key, value, _),) = shell.log
    assert value is not None
    assert read_record_key(key) == GroupMetadataKey(group="g")
    assert read_record_value(GroupMetadataValue, value) == GroupMetadataValue(
        protocol_type="consumer",
        generation=1,
        protocol="range",
        leader=member.member_id,
        current_state_timestamp_ms=shell.now_ms,
        members=[
            MemberMetadata(
                member_id=member.member_id,
                group_instance_id="s",
                client_id="client",
                client_host="/127.0.0.1",
                rebalance_timeout_ms=60_000,
                session_timeout_ms=10_000,
                subscription=subscription("t"),
                assignment=member.member_id.encode(),
            )
        ],
    )


def test_group_goes_on_with_another_coordinator() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    stable(leader, follower)
    shell.reload()

    leader.heartbeat()
    follower.commit("t", 1)
    assert shell.answer(follower.ask_to_sync()).assignment == follower.member_id.encode()
    assert shell.answered(DescribeClassicGroup(group_id="g")).state == "Stable"


def test_members_have_a_session_from_when_the_log_was_read() -> None:
    shell = Shell()
    quick, slow = Member(shell), Member(shell, session_timeout_ms=60_000)
    stable(quick, slow)
    shell.wait(quick.session_timeout_ms - 1)
    shell.reload()
    shell.wait(quick.session_timeout_ms - 1)
    quick.heartbeat()
    shell.wait(quick.session_timeout_ms)

    assert failure(quick.heartbeat) == 25
    assert failure(slow.heartbeat) == 27


def test_member_that_is_silent_from_the_start_is_out_after_its_session() -> None:
    shell = Shell()
    silent, other = Member(shell), Member(shell, session_timeout_ms=60_000)
    stable(silent, other)
    shell.reload()
    shell.wait(silent.session_timeout_ms)

    assert failure(other.heartbeat) == 27


def test_generation_that_began_and_was_not_assigned_is_forgotten() -> None:
    shell = Shell()
    old, new = Member(shell), Member(shell)
    stable(old)
    joining = new.ask_to_join()
    old.has_joined(old.ask_to_join())
    new.has_joined(joining)
    shell.reload()

    assert failure(old.heartbeat) == 22
    assert failure(new.heartbeat) == 25
    assert old.has_joined(old.ask_to_join()).generation_id == 2


def test_empty_group_keeps_its_generation() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.leave()
    shell.reload()
    again = Member(shell)
    token = again.ask_to_join()
    shell.wait()

    assert again.has_joined(token).generation_id == 3


def test_leader_stays_the_leader_with_another_coordinator() -> None:
    shell = Shell()
    first, second, third = Member(shell), Member(shell), Member(shell)
    stable(first, second, third)
    first.leave()
    tokens = [third.ask_to_join(), second.ask_to_join()]
    assert third.has_joined(tokens[0]).leader == second.member_id
    second.has_joined(tokens[1])
    third.ask_to_sync()
    second.ask_to_sync()
    shell.reload()

    assert third.has_joined(third.ask_to_join()).leader == second.member_id


def test_log_written_anew_says_what_the_old_one_said_in_any_order() -> None:
    shell = Shell()
    stable(Member(shell), Member(shell, instance_id="s"))
    shell.answered(commit_of("alone", ("t", 0, 5), ("t", 1, 6)))
    left = Member(shell, group_id="left")
    stable(left)
    left.commit("t", 3)
    left.leave()
    live = list(shell.shard.live_records())
    assert len(live) == 5

    for order in (live, live[::-1]):
        again = shell.replayed([(one.key, one.value, 0) for one in order])
        again.loaded(shell.now_ms)
        assert set(again.live_records()) == set(live)


def test_log_written_anew_has_what_holds_when_it_is_written() -> None:
    shell = Shell()
    shell.answered(commit_of("g", ("t", 0, 1), ("t", 1, 1)))
    writing = shell.shard.live_records()
    first = next(writing)
    shell.answered(commit_of("g", ("t", 1, 2), ("u", 0, 9)))
    rest = list(writing)

    (second,) = rest
    assert isinstance(first, GroupRecord)
    assert second == GroupRecord(shell.log[2][0], shell.log[2][1])


def test_record_of_an_unknown_kind_is_passed_over() -> None:
    shell = Shell()
    shard = shell.replayed([(b"\x00\x63rest", b"\x00\x00", 0), (b"\x00\x0b", None, 0)])
    shard.loaded(shell.now_ms)

    assert list(shard.live_records()) == []


def test_record_that_is_broken_is_told() -> None:
    with pytest.raises(MalformedError):
        Shell().replayed([(b"\x00\x02\x00\x09g", b"\x00\x03", 0)])
    with pytest.raises(MalformedError):
        Shell().replayed([(b"\x00\x02\x00\x01g", b"\x00\x03\x00", 0)])


def test_records_of_very_old_brokers_are_understood() -> None:
    shell = Shell()
    value = GroupMetadataValue(
        protocol_type="consumer",
        generation=5,
        protocol="range",
        leader="m",
        members=[
            MemberMetadata(
                member_id="m",
                client_id="c",
                client_host="h",
                session_timeout_ms=10_000,
                subscription=subscription("t"),
                assignment=b"a",
            )
        ],
    )
    key = write_record_key(GroupMetadataKey(group="g"))
    shell.log.append((key, write_record_value(value, 0), 0))
    shell.reload()
    member = Member(shell, member_id="m", generation_id=5)

    member.heartbeat()
    assert shell.answer(member.ask_to_sync()).assignment == b"a"
    token = Member(shell, rebalance_timeout_ms=1_000).ask_to_join()
    shell.wait(5_000)
    assert failure(member.heartbeat) == 27
    shell.wait(4_999)
    assert shell.waits(token)
    shell.wait(1)
    assert not shell.waits(token)
