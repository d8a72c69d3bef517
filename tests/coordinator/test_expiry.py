"""Offsets expire when nobody can come back to them any more, and groups go with their last one."""

from __future__ import annotations

import dataclasses

from ottla.coordinator.requests import DescribeClassicGroup
from ottla.coordinator.settings import GroupSettings
from ottla.model.ids import TopicPartition
from tests.coordinator.shell import DAY_MS, Member, Shell, failure, stable, subscription

T0, U0 = TopicPartition("t", 0), TopicPartition("u", 0)
WEEK_MS = 7 * DAY_MS
CHECK_MS = 600_000


def exists(shell: Shell) -> bool:
    return failure(lambda: shell.answered(DescribeClassicGroup(group_id="g"))) == 0


def run_for(member: Member, ms: int) -> None:
    """Let time pass while a member sends heartbeats, from time to time."""
    for _ in range(ms // 1_000_000):
        member.shell.wait(1_000_000)
        member.heartbeat()


def test_offsets_without_a_group_expire_a_week_after_their_commit() -> None:
    shell = Shell()
    shell.commit("g", "t", 1)
    shell.wait(3 * DAY_MS)
    shell.commit("g", "u", 2)
    shell.wait(WEEK_MS - 3 * DAY_MS + CHECK_MS)
    assert shell.committed("g") == {U0: 2}

    shell.wait(3 * DAY_MS)

    assert not exists(shell)
    shell.reload()
    assert shell.committed("g") == {}


def test_age_of_offsets_without_a_group_survives_a_change_of_coordinator() -> None:
    shell = Shell()
    shell.commit("g", "t", 1)
    shell.wait(WEEK_MS - CHECK_MS)
    shell.reload()
    shell.wait(2 * CHECK_MS)

    assert shell.committed("g") == {}
    assert not exists(shell)


def test_offsets_of_a_group_expire_a_week_after_its_last_member_has_left() -> None:
    shell = Shell()
    member = Member(shell, session_timeout_ms=1_800_000)
    stable(member)
    member.commit("t", 1)
    run_for(member, WEEK_MS * 2)
    assert shell.committed("g") == {T0: 1}
    member.leave()
    shell.wait(WEEK_MS - CHECK_MS)
    assert shell.committed("g") == {T0: 1}

    shell.wait(2 * CHECK_MS)

    assert shell.committed("g") == {}
    assert not exists(shell)


def test_time_since_the_last_member_left_survives_a_change_of_coordinator() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.commit("t", 1)
    member.leave()
    shell.wait(WEEK_MS - CHECK_MS)
    shell.reload()
    shell.wait(2 * CHECK_MS)

    assert shell.committed("g") == {}


def test_offset_that_somebody_commits_for_an_empty_group_stays_for_its_own_week() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.commit("t", 1)
    member.leave()
    shell.wait(5 * DAY_MS)
    shell.commit("g", "u", 2)
    shell.wait(3 * DAY_MS)

    assert shell.committed("g") == {U0: 2}


def test_offsets_of_topics_that_the_members_do_not_read_any_more_expire() -> None:
    shell = Shell()
    member = Member(shell, protocols={"range": subscription("t")}, session_timeout_ms=1_800_000)
    stable(member)
    member.commit("t", 1)
    member.commit("u", 2)
    run_for(member, WEEK_MS + DAY_MS)

    assert shell.committed("g") == {T0: 1}


def test_offsets_of_members_that_are_no_consumers_do_not_expire() -> None:
    shell = Shell()
    member = Member(shell, protocol_type="connect", session_timeout_ms=1_800_000)
    stable(member)
    member.commit("t", 1)
    run_for(member, WEEK_MS + DAY_MS)

    assert shell.committed("g") == {T0: 1}


def test_empty_group_without_offsets_is_forgotten_at_the_next_check() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.leave()
    assert exists(shell)

    shell.wait(CHECK_MS)

    assert not exists(shell)
    shell.reload()
    assert not exists(shell)


def test_empty_group_that_somebody_is_about_to_join_stays() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.leave()
    shell.wait(CHECK_MS - 1_000)
    new = Member(shell)
    new.learn_id()
    shell.wait(2_000)

    assert shell.waits(new.ask_to_join())


def test_many_offsets_are_looked_at_a_bounded_number_at_a_time() -> None:
    shell = Shell()
    for number in range(3):
        group_id = f"g{number}"
        shell.commit(group_id, "t", 1)
        (old,) = shell.shard._offsets._groups[group_id]["t"].values()
        for partition in range(1, 6_000):
            shell.shard._offsets.put(group_id, TopicPartition("t", partition), old)
    shell.now_ms += WEEK_MS
    before = len(shell.log)

    shell.perform(shell.shard.tick(shell.now_ms))

    assert len(shell.log) - before == 12_000
    assert shell.shard.deadline_ms() == shell.now_ms
    shell.wait()
    assert len(shell.log) - before == 18_000


def test_retention_is_a_setting() -> None:
    settings = dataclasses.replace(GroupSettings(), offsets_retention_ms=60_000)
    shell = Shell(settings)
    shell.commit("g", "t", 1)
    shell.wait(CHECK_MS)

    assert shell.committed("g") == {}
