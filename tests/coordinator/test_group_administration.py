"""Groups of any kind can be listed, described and deleted, or not, with Kafka's errors."""

from __future__ import annotations

import pytest

from ottla.coordinator.requests import (
    ClassicGroupDescription,
    ClassicMemberDescription,
    DeleteGroup,
    DescribeClassicGroup,
    GroupListing,
    GroupType,
    ListGroups,
)
from ottla.coordinator.settings import GroupSettings
from ottla.model import limits
from ottla.model.errors import GroupIdNotFoundError, GroupMaxSizeReachedError, NonEmptyGroupError
from tests.coordinator.shell import Member, Shell, commit_of, failure, stable, subscription


def listed(shell: Shell, *states: str, types: tuple[str, ...] = ()) -> set[tuple[str, str, str]]:
    found = shell.shard.list_groups(ListGroups(states=states, types=types))
    return {(one.group_id, one.protocol_type, one.state) for one in found}


def groups() -> Shell:
    """A stable group of Connect's, one that rebalances, and one that has only offsets."""
    shell = Shell()
    stable(Member(shell, group_id="connect", protocol_type="connect"))
    Member(shell, group_id="moving").ask_to_join()
    shell.commit("offsets", "t", 1)
    return shell


CONNECT = ("connect", "connect", "Stable")
MOVING = ("moving", "consumer", "PreparingRebalance")
OFFSETS = ("offsets", "", "Empty")


def test_groups_of_any_protocol_type_are_listed() -> None:
    assert listed(groups()) == {CONNECT, MOVING, OFFSETS}


def test_groups_are_listed_by_state_however_it_is_spelt() -> None:
    shell = groups()

    assert listed(shell, "STABLE", "empty") == {CONNECT, OFFSETS}
    assert listed(shell, "Nonsense") == set()


def test_groups_are_listed_by_type() -> None:
    shell = groups()

    assert listed(shell, types=("Classic",)) == {CONNECT, MOVING, OFFSETS}
    assert listed(shell, types=("consumer",)) == set()
    (one,) = shell.shard.list_groups(ListGroups(states=("stable",)))
    assert one == GroupListing(
        group_id="connect",
        group_type=GroupType.CLASSIC,
        protocol_type="connect",
        state="Stable",
    )


def test_stable_group_is_described_with_what_its_members_say_and_have() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)

    assert shell.answered(DescribeClassicGroup(group_id="g")) == ClassicGroupDescription(
        group_id="g",
        state="Stable",
        protocol_type="consumer",
        protocol_name="range",
        members=(
            ClassicMemberDescription(
                member_id=member.member_id,
                group_instance_id=None,
                client_id="client",
                client_host="/127.0.0.1",
                metadata=subscription("t"),
                assignment=member.member_id.encode(),
            ),
        ),
    )


def test_group_that_has_only_offsets_is_known_to_another_coordinator_too() -> None:
    shell = groups()
    shell.reload()

    assert OFFSETS in listed(shell)


def test_group_that_rebalances_is_described_without_a_protocol() -> None:
    description = groups().answered(DescribeClassicGroup(group_id="moving"))

    assert (description.state, description.protocol_name) == ("PreparingRebalance", "")
    assert [member.metadata for member in description.members] == [b""]


def test_group_that_nobody_knows_cannot_be_described() -> None:
    with pytest.raises(GroupIdNotFoundError):
        Shell().answered(DescribeClassicGroup(group_id="g"))


def test_empty_group_can_be_deleted_with_its_offsets() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.commit("t", 1)
    member.leave()

    shell.answered(DeleteGroup(group_id="g"))

    assert listed(shell) == set()
    shell.reload()
    assert listed(shell) == set()
    assert shell.committed("g") == {}


def test_group_with_members_cannot_be_deleted() -> None:
    shell = groups()

    for group_id in ("connect", "moving"):
        with pytest.raises(NonEmptyGroupError):
            shell.answered(DeleteGroup(group_id=group_id))


def test_group_that_nobody_knows_cannot_be_deleted() -> None:
    with pytest.raises(GroupIdNotFoundError):
        Shell().answered(DeleteGroup(group_id="g"))


def test_member_that_was_given_an_id_of_a_deleted_group_is_unknown() -> None:
    shell = Shell()
    member = Member(shell)
    member.learn_id()
    shell.answered(DeleteGroup(group_id="g"))

    assert failure(lambda: shell.answer(member.ask_to_join())) == 25
    shell.wait(member.session_timeout_ms)


def test_coordinator_takes_no_more_groups_than_it_can_hold() -> None:
    shell = groups()
    for number in range(limits.GROUPS_PER_SHARD_MAX - 3):
        shell.shard._groups.make_classic(str(number), shell.now_ms)

    with pytest.raises(GroupMaxSizeReachedError):
        shell.commit("one more", "t", 1)
    assert failure(lambda: shell.answer(Member(shell).ask_to_join())) == 81
    shell.commit("offsets", "t", 2)


def test_coordinator_takes_no_more_bytes_of_members_than_it_can_hold() -> None:
    shell = Shell()
    size = limits.GROUP_BYTES_PER_SHARD_MAX // 2 - 10_000
    for group_id in "ab":
        Member(shell, group_id=group_id, protocols={"range": bytes(size)}).ask_to_join()

    token = Member(shell, protocols={"range": bytes(20_000)}).ask_to_join()

    assert failure(lambda: shell.answer(token)) == 81
    assert shell.waits(Member(shell).ask_to_join())


def test_coordinator_takes_no_more_bytes_of_assignments_than_it_can_hold() -> None:
    shell = Shell()
    member = Member(shell)
    token = member.ask_to_join()
    shell.wait()
    member.has_joined(token)

    token = member.ask_to_sync({"x": bytes(limits.GROUP_BYTES_PER_SHARD_MAX)})

    assert failure(lambda: shell.answer(token)) == 81


def test_members_go_on_with_a_coordinator_that_can_hold_no_more() -> None:
    shell = Shell()
    leader, follower = Member(shell), Member(shell)
    stable(leader, follower)
    shell.shard._groups.bytes_held += limits.GROUP_BYTES_PER_SHARD_MAX
    assert failure(lambda: shell.answer(Member(shell).ask_to_join())) == 81

    tokens = [leader.ask_to_join(), follower.ask_to_join()]

    assert {shell.answer(token).generation_id for token in tokens} == {2}
    leader.generation_id = 2
    assert shell.answer(leader.ask_to_sync({leader.member_id: b"all"})).assignment == b"all"


def test_ids_that_were_given_count_as_members_do() -> None:
    shell = Shell()
    before = shell.shard._groups.bytes_held
    Member(shell).learn_id()

    assert shell.shard._groups.bytes_held > before + 500


def test_coordinator_takes_no_more_text_about_offsets_than_it_can_hold() -> None:
    shell = Shell(GroupSettings(offset_metadata_characters_max=32_767))
    metadata = "x" * 32_000
    count = limits.COMMITTED_OFFSET_TEXT_PER_SHARD_MAX // 32_001
    outcomes = shell.answered(
        commit_of("g", *[("t", number, 1) for number in range(count + 1)], metadata=metadata)
    )

    assert [one is None for one in outcomes] == [True] * count + [False]
    assert outcomes[-1].code == 28
    shell.commit("g", "t", 2)
