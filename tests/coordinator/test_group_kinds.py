"""A group is classic or a consumer group; an empty one becomes what its next member is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from ottla.coordinator.requests import (
    ConsumerGroupDescription,
    ConsumerHeartbeat,
    ConsumerHeartbeatAnswer,
    DeleteGroup,
    DeleteOffsets,
    DescribeClassicGroup,
    DescribeConsumerGroup,
    FetchOffsets,
    GroupType,
    LeaveGroup,
    LeavingMember,
    ListGroups,
)
from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    GroupIdNotFoundError,
    InconsistentGroupProtocolError,
    NonEmptyGroupError,
    StaleMemberEpochError,
    UnknownMemberIdError,
)
from ottla.model.ids import TopicId, TopicPartition
from tests.coordinator.shell import Member, Shell, failure, stable

T0, U0 = TopicPartition("t", 0), TopicPartition("u", 0)


class Consumer:
    """A member of a consumer group that subscribes to one topic."""

    def __init__(self, shell: Shell, member_id: str = "m") -> None:
        self.shell = shell
        self.member_id = member_id
        self.epoch = 0

    def heartbeat(self, **fields: Any) -> ConsumerHeartbeatAnswer:
        owned: Mapping[TopicId, Sequence[int]] | None = {} if self.epoch == 0 else None
        answer: ConsumerHeartbeatAnswer = self.shell.answered(
            ConsumerHeartbeat(
                **{
                    "group_id": "g",
                    "member_id": self.member_id,
                    "member_epoch": self.epoch,
                    "rebalance_timeout_ms": 60_000 if self.epoch == 0 else None,
                    "subscribed_topic_names": ["t"] if self.epoch == 0 else None,
                    "owned": owned,
                    "client_id": "client",
                    "client_host": "/127.0.0.1",
                    **fields,
                }
            )
        )
        self.epoch = answer.member_epoch
        return answer

    def leave(self) -> None:
        self.heartbeat(member_epoch=-1)

    def commit(self, topic: str, offset: int, **fields: Any) -> None:
        identity = {"member_id": self.member_id, "generation_or_member_epoch": self.epoch}
        self.shell.commit("g", topic, offset, **{**identity, **fields})


def consumer_group(settings: GroupSettings | None = None) -> tuple[Shell, Consumer]:
    shell = Shell(settings)
    shell.change_topics(t=1, u=2)
    consumer = Consumer(shell)
    consumer.heartbeat()
    return shell, consumer


def kind(shell: Shell) -> set[tuple[GroupType, str, str]]:
    found = shell.shard.list_groups(ListGroups())
    return {(one.group_type, one.protocol_type, one.state) for one in found}


# --- Changing ---


def test_empty_consumer_group_becomes_classic_and_keeps_its_offsets() -> None:
    shell, consumer = consumer_group()
    consumer.commit("t", 7)
    consumer.leave()
    member = Member(shell)
    stable(member)

    assert kind(shell) == {(GroupType.CLASSIC, "consumer", "Stable")}
    assert shell.committed("g") == {T0: 7}
    shell.reload()
    assert kind(shell) == {(GroupType.CLASSIC, "consumer", "Stable")}
    member.heartbeat()


def test_empty_classic_group_becomes_a_consumer_group_and_keeps_its_offsets() -> None:
    shell = Shell()
    shell.change_topics(t=1)
    member = Member(shell)
    stable(member)
    member.commit("t", 7)
    member.leave()
    consumer = Consumer(shell)
    consumer.heartbeat()

    assert {one for one, _, _ in kind(shell)} == {GroupType.CONSUMER}
    assert shell.committed("g") == {T0: 7}
    shell.reload()
    assert {one for one, _, _ in kind(shell)} == {GroupType.CONSUMER}
    consumer.heartbeat()
    consumer.leave()
    shell.answered(DeleteGroup(group_id="g"))
    shell.reload()
    assert kind(shell) == set()


def test_group_that_had_only_offsets_becomes_a_consumer_group() -> None:
    shell = Shell()
    shell.change_topics(t=1)
    shell.commit("g", "t", 7)
    Consumer(shell).heartbeat()

    assert {one for one, _, _ in kind(shell)} == {GroupType.CONSUMER}
    assert shell.committed("g") == {T0: 7}


def test_consumer_group_with_members_refuses_members_of_the_other_kind() -> None:
    shell, _ = consumer_group()

    with pytest.raises(InconsistentGroupProtocolError):
        shell.answer(Member(shell).ask_to_join())


def test_classic_group_with_members_refuses_members_of_the_other_kind() -> None:
    shell = Shell()
    stable(Member(shell))

    with pytest.raises(GroupIdNotFoundError):
        Consumer(shell).heartbeat()
    assert kind(shell) == {(GroupType.CLASSIC, "consumer", "Stable")}


def test_only_joining_makes_a_consumer_group() -> None:
    shell = Shell()
    consumer = Consumer(shell)

    assert failure(lambda: consumer.heartbeat(member_epoch=3)) == 69
    assert failure(lambda: consumer.heartbeat(subscribed_topic_names=None)) == 42
    assert kind(shell) == set()


def test_requests_of_the_other_kind_find_no_member() -> None:
    shell, _ = consumer_group()
    member = Member(shell, member_id="m", generation_id=1)

    assert failure(member.heartbeat) == 25
    assert failure(lambda: shell.answer(member.ask_to_sync())) == 25


# --- What is asked of both kinds ---


def test_each_kind_is_described_as_what_it_is() -> None:
    shell, _ = consumer_group()
    description = shell.answered(DescribeConsumerGroup(group_id="g"))
    assert isinstance(description, ConsumerGroupDescription)
    with pytest.raises(GroupIdNotFoundError):
        shell.answered(DescribeClassicGroup(group_id="g"))

    shell.commit("h", "t", 1)

    with pytest.raises(GroupIdNotFoundError):
        shell.answered(DescribeConsumerGroup(group_id="h"))


def test_consumer_commits_and_fetches_with_its_epoch() -> None:
    shell, consumer = consumer_group()
    consumer.commit("t", 7)

    with pytest.raises(StaleMemberEpochError):
        consumer.commit("t", 8, generation_or_member_epoch=consumer.epoch + 1)
    with pytest.raises(UnknownMemberIdError):
        shell.commit("g", "t", 9)
    fetch = FetchOffsets(group_id="g", member_id="m", member_epoch=consumer.epoch)
    assert [one.offset for one in shell.answered(fetch)] == [7]
    with pytest.raises(StaleMemberEpochError):
        shell.answered(FetchOffsets(group_id="g", member_id="m", member_epoch=99))


def test_offsets_of_topics_that_consumers_subscribe_to_cannot_be_deleted() -> None:
    shell, consumer = consumer_group()
    consumer.commit("t", 7)
    consumer.commit("u", 8)

    outcomes = shell.answered(DeleteOffsets(group_id="g", partitions=[T0, U0]))

    assert [0 if one is None else one.code for one in outcomes] == [86, 0]


def test_consumer_group_is_deleted_only_if_it_is_empty() -> None:
    shell, consumer = consumer_group()
    consumer.commit("t", 7)
    with pytest.raises(NonEmptyGroupError):
        shell.answered(DeleteGroup(group_id="g"))
    consumer.leave()

    shell.answered(DeleteGroup(group_id="g"))

    shell.reload()
    assert kind(shell) == set()
    assert shell.committed("g") == {}


def test_members_of_a_consumer_group_can_be_taken_out() -> None:
    shell, _ = consumer_group()
    request = LeaveGroup(
        group_id="g", members=[LeavingMember(member_id=name) for name in ("m", "nobody")]
    )

    outcomes = shell.answered(request)

    assert [0 if one is None else one.code for one in outcomes] == [0, 25]
    assert {state for _, _, state in kind(shell)} == {"Empty"}


def test_consumer_that_is_silent_is_out() -> None:
    shell, consumer = consumer_group()
    shell.wait(shell.settings.consumer_session_timeout_ms)

    assert failure(consumer.heartbeat) == 25


def test_empty_consumer_group_expires_with_its_offsets() -> None:
    settings = GroupSettings(
        offsets_retention_ms=1_000_000, offsets_retention_check_interval_ms=100_000
    )
    shell, consumer = consumer_group(settings)
    consumer.commit("t", 7)
    for _ in range(50):
        shell.wait(40_000)
        consumer.heartbeat()
    consumer.leave()
    shell.wait(800_000)
    assert shell.committed("g") == {T0: 7}
    shell.wait(400_000)

    assert kind(shell) == set()
    shell.reload()
    assert kind(shell) == set()


def test_log_written_anew_says_what_consumer_groups_are() -> None:
    shell, consumer = consumer_group()
    consumer.commit("t", 7)
    live = list(shell.shard.live_records())
    again = shell.replayed([(one.key, one.value, 0) for one in reversed(live)])
    again.loaded(shell.now_ms)

    assert set(again.live_records()) == set(live)


def test_news_are_asked_for_by_group_and_member() -> None:
    shell, consumer = consumer_group()
    shell.wait(2_000)
    consumer.heartbeat()
    before = shell.shard.revision("g")
    Consumer(shell, "n").heartbeat()
    shell.wait(2_000)

    assert shell.shard.revision("g") > before
    assert shell.shard.revision("nobody") == -1
    assert shell.shard.has_news("g", "gone")
    assert shell.shard.has_news("nobody", "m")
