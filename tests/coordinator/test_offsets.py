"""Committed offsets are kept exactly, for who may commit them, until somebody deletes them."""

from __future__ import annotations

from uuid import UUID

import pytest

from ottla.coordinator.requests import (
    CommitOffsets,
    CommittedOffset,
    DeleteOffsets,
    FetchOffsets,
    OffsetToCommit,
)
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    GroupIdNotFoundError,
    IllegalGenerationError,
    NonEmptyGroupError,
    OffsetMetadataTooLargeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from ottla.model.ids import Offset, TopicId, TopicPartition
from ottla.model.limits import COMMITTED_OFFSETS_PER_SHARD_MAX
from ottla.wire.group_records import (
    OffsetCommitKey,
    OffsetCommitValue,
    read_record_key,
    read_record_value,
)
from tests.coordinator.shell import Member, Shell, commit_of, failure, stable, subscription

T0, U0 = TopicPartition("t", 0), TopicPartition("u", 0)


def fetched(shell: Shell, *partitions: TopicPartition) -> list[CommittedOffset]:
    answer: list[CommittedOffset] = shell.answered(
        FetchOffsets(group_id="g", partitions=list(partitions) or None)
    )
    return answer


# --- What is kept ---


def test_offset_comes_back_with_its_metadata_and_leader_epoch() -> None:
    shell = Shell()
    shell.commit("g", "t", 42, metadata="ü, said", leader_epoch=7)

    assert fetched(shell, T0) == [
        CommittedOffset(
            topic_partition=T0,
            offset=42,  # type: ignore[arg-type]
            leader_epoch=7,  # type: ignore[arg-type]
            metadata="ü, said",
            commit_timestamp_ms=shell.now_ms,
        )
    ]


@pytest.mark.parametrize("leader_epoch", [-1, -2147483648])
def test_leader_epoch_that_is_none_comes_back_as_none(leader_epoch: int) -> None:
    shell = Shell()
    shell.commit("g", "t", 1, leader_epoch=leader_epoch)

    assert fetched(shell, T0)[0].leader_epoch == -1
    shell.reload()
    assert fetched(shell, T0)[0].leader_epoch == -1


def test_last_commit_counts_even_if_it_goes_back() -> None:
    shell = Shell()
    shell.commit("g", "t", 9)
    shell.commit("g", "t", 3)

    assert shell.committed("g") == {T0: 3}


def test_what_was_not_committed_is_no_offset_and_no_error() -> None:
    shell = Shell()
    nothing = CommittedOffset(topic_partition=T0)
    assert fetched(shell, T0) == [nothing]
    assert (nothing.offset, nothing.leader_epoch, nothing.metadata) == (-1, -1, "")

    shell.commit("g", "u", 1)

    assert fetched(shell, T0) == [nothing]


def test_group_that_nobody_knows_has_committed_nothing() -> None:
    assert fetched(Shell()) == []


def test_all_that_a_group_has_committed_can_be_fetched() -> None:
    shell = Shell()
    outcomes = shell.answered(commit_of("g", ("t", 0, 1), ("t", 7, 2), ("u", 0, 3)))

    assert outcomes == [None] * 3
    assert shell.committed("g") == {T0: 1, TopicPartition("t", 7): 2, U0: 3}


def test_offset_may_be_committed_for_a_topic_that_nobody_knows() -> None:
    shell = Shell()
    shell.change_topics(t=1)
    shell.commit("g", "nowhere", 1)

    assert shell.committed("g") == {TopicPartition("nowhere", 0): 1}


def test_record_of_a_commit_is_kafkas_and_names_the_topic_by_its_id() -> None:
    shell = Shell()
    shell.change_topics(t=5)
    shell.commit("g", "t", 42, metadata="m", leader_epoch=3)

    ((key, value, _),) = shell.log
    assert value is not None
    assert read_record_key(key) == OffsetCommitKey(group="g", topic="t", partition=0)
    assert read_record_value(OffsetCommitValue, value) == OffsetCommitValue(
        offset=42,
        leader_epoch=3,
        metadata="m",
        commit_timestamp_ms=shell.now_ms,
        topic_id=UUID(int=5),
    )


def test_commit_with_too_much_metadata_is_refused_for_its_partition_alone() -> None:
    shell = Shell()
    with pytest.raises(OffsetMetadataTooLargeError):
        shell.commit("g", "t", 1, metadata="x" * 4097)
    shell.commit("g", "u", 1, metadata="x" * 4096)

    assert shell.committed("g") == {U0: 1}


def test_metadata_that_a_record_cannot_hold_is_refused_whatever_is_allowed() -> None:
    shell = Shell(GroupSettings(offset_metadata_characters_max=1_000_000))

    with pytest.raises(OffsetMetadataTooLargeError):
        shell.commit("g", "t", 1, metadata="ü" * 16_384)


def test_group_without_a_name_may_have_offsets() -> None:
    shell = Shell()
    shell.commit("", "t", 1)

    assert shell.committed("") == {T0: 1}


# --- Who may commit ---


def test_who_reads_without_a_group_may_commit_while_nobody_is_in_it() -> None:
    shell = Shell()
    shell.commit("g", "t", 1)
    member = Member(shell)
    stable(member)

    with pytest.raises(UnknownMemberIdError):
        shell.commit("g", "t", 2)
    member.leave()
    shell.commit("g", "t", 3)

    assert shell.committed("g") == {T0: 3}


def test_member_commits_with_its_generation() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.commit("t", 5)

    with pytest.raises(IllegalGenerationError):
        member.commit("t", 6, generation_or_member_epoch=0)
    with pytest.raises(IllegalGenerationError):
        member.commit("t", 6, generation_or_member_epoch=-1)
    assert shell.committed("g") == {T0: 5}


def test_member_that_the_group_does_not_have_may_not_commit() -> None:
    shell = Shell()
    stable(Member(shell))

    assert failure(lambda: Member(shell, member_id="x", generation_id=1).commit("t", 1)) == 25


def test_member_commits_before_it_joins_again() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    Member(shell).ask_to_join()

    member.commit("t", 5)

    assert shell.committed("g") == {T0: 5}


def test_member_may_not_commit_between_joining_and_its_assignment() -> None:
    shell = Shell()
    member = Member(shell)
    token = member.ask_to_join()
    shell.wait()
    member.has_joined(token)

    with pytest.raises(RebalanceInProgressError):
        member.commit("t", 1)


def test_generation_of_a_group_that_nobody_knows_is_refused_as_the_client_understands() -> None:
    shell = Shell()
    member = Member(shell, member_id="m", generation_id=1)

    with pytest.raises(GroupIdNotFoundError):
        member.commit("t", 1)
    with pytest.raises(IllegalGenerationError):
        member.commit("t", 1, understands_stale_epochs=False)
    assert failure(lambda: shell.answered(DeleteOffsets(group_id="g", partitions=[]))) == 69


# --- Deleting ---


def deleted(shell: Shell, *partitions: TopicPartition) -> list[int]:
    outcomes = shell.answered(DeleteOffsets(group_id="g", partitions=list(partitions)))
    return [0 if one is None else one.code for one in outcomes]


def test_offsets_can_be_deleted_and_stay_so() -> None:
    shell = Shell()
    shell.answered(commit_of("g", ("t", 0, 1), ("u", 0, 2)))

    assert deleted(shell, T0, TopicPartition("t", 1)) == [0, 0]
    shell.reload()

    assert shell.committed("g") == {U0: 2}


def test_offsets_of_topics_that_members_read_cannot_be_deleted() -> None:
    shell = Shell()
    member = Member(shell, protocols={"range": subscription("t")})
    stable(member)
    member.commit("t", 1)
    member.commit("u", 2)

    assert deleted(shell, T0, U0) == [86, 0]
    member.leave()
    assert deleted(shell, T0) == [0]


def test_offsets_of_consumers_that_say_what_they_read_in_another_way_cannot_be_deleted() -> None:
    shell = Shell()
    stable(Member(shell, protocols={"range": b"\x00\x01\x7f\xff\xff\xff"}))

    assert deleted(shell, T0) == [86]


def test_offsets_of_a_group_with_members_that_are_no_consumers_cannot_be_deleted() -> None:
    shell = Shell()
    stable(Member(shell, protocol_type="connect"))

    with pytest.raises(NonEmptyGroupError):
        deleted(shell, T0)


def test_offsets_of_a_group_that_nobody_knows_cannot_be_deleted() -> None:
    with pytest.raises(GroupIdNotFoundError):
        deleted(Shell(), T0)


def test_group_goes_with_its_last_offset_if_it_never_had_members() -> None:
    shell = Shell()
    shell.commit("g", "t", 1)
    deleted(shell, T0)

    assert failure(lambda: deleted(shell, T0)) == 69


# --- Topics that go ---


def test_offsets_of_a_deleted_topic_are_forgotten() -> None:
    shell = Shell()
    shell.change_topics(t=1, u=2)
    shell.answered(commit_of("g", ("t", 0, 1), ("u", 0, 2)))
    shell.change_topics(u=2)
    shell.reload()

    assert shell.committed("g") == {U0: 2}


def test_offsets_of_a_topic_that_was_made_anew_are_not_those_of_the_old_one() -> None:
    shell = Shell()
    shell.change_topics(t=1)
    shell.commit("g", "t", 1)
    shell.change_topics(t=2)
    assert shell.committed("g") == {}

    shell.commit("g", "t", 5)

    assert shell.committed("g") == {T0: 5}


def test_offsets_of_a_topic_deleted_while_the_log_is_read_are_forgotten() -> None:
    shell = Shell()
    shell.change_topics(t=1, u=2)
    shell.answered(commit_of("g", ("t", 0, 1), ("u", 0, 2)))
    shell.shard = shell.replayed(shell.log)
    shell.change_topics(u=2)
    assert len(shell.log) == 2
    shell.perform(shell.shard.loaded(shell.now_ms))

    assert shell.committed("g") == {U0: 2}
    shell.reload()
    assert shell.committed("g") == {U0: 2}


def test_offset_committed_for_a_topic_before_its_coordinator_heard_of_it_stays() -> None:
    shell = Shell()
    shell.change_topics(t=1)
    asked = OffsetToCommit(
        topic_partition=T0,
        topic_id=TopicId(UUID(int=2)),
        offset=Offset(5),
    )
    shell.answered(CommitOffsets(group_id="g", offsets=[asked]))
    shell.change_topics(t=2)

    assert shell.committed("g") == {T0: 5}


def test_coordinator_takes_no_more_offsets_than_it_can_hold() -> None:
    shell = Shell()
    shell.commit("g", "t", 1)
    shell.shard._offsets._count = COMMITTED_OFFSETS_PER_SHARD_MAX

    assert failure(lambda: shell.commit("g", "u", 1)) == 28
    shell.commit("g", "t", 2)


def test_topic_with_a_name_that_a_record_cannot_hold_is_refused() -> None:
    assert failure(lambda: Shell().commit("g", "ü" * 16_384, 1)) == 28


def test_member_of_an_empty_group_may_not_commit() -> None:
    shell = Shell()
    member = Member(shell)
    stable(member)
    member.leave()

    assert failure(lambda: member.commit("t", 1)) == 25
