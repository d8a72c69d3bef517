"""Whatever clients do, and whatever fails, groups stay whole and their log says what they are."""

from __future__ import annotations

from collections import Counter

import pytest

from ottla.coordinator import classic_requests
from ottla.coordinator.classic_group import ClassicGroup
from ottla.coordinator.effects import Token
from ottla.coordinator.requests import ClassicGroupDescription, Joined
from ottla.coordinator.shard import GroupShard
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition
from ottla.wire.group_records import (
    OffsetCommitKey,
    OffsetCommitValue,
    read_record_key,
    read_record_value,
)
from tests.coordinator.walk import GROUPS, MIXED_GROUP, LossyShell, Walk

STEPS = 300


def classic(shard: GroupShard) -> list[ClassicGroup]:
    return [group for group in shard._groups if isinstance(group, ClassicGroup)]


def descriptions(shard: GroupShard) -> dict[str, ClassicGroupDescription]:
    return {group.group_id: classic_requests.describe(group) for group in classic(shard)}


def offsets_of(shard: GroupShard) -> dict[tuple[str, TopicPartition], int]:
    return {
        (group_id, one.topic_partition): one.offset
        for group_id in shard._offsets.group_ids
        for one in shard._offsets.fetch(group_id, None)
    }


def offsets_in_log(shell: LossyShell) -> dict[tuple[str, TopicPartition], int]:
    found: dict[tuple[str, TopicPartition], int] = {}
    for key, value, _ in shell.log:
        about = read_record_key(key)
        if isinstance(about, OffsetCommitKey):
            where = (about.group, TopicPartition(about.topic, about.partition))
            if value is None:
                del found[where]  # a tombstone of nothing would be a waste
            else:
                found[where] = read_record_value(OffsetCommitValue, value).offset
    return found


def check_groups(shell: LossyShell) -> None:
    """Check that nobody is in a group twice, and that what is counted is right."""
    for group in classic(shell.shard):
        members = list(group.members)
        ids = Counter(member.member_id for member in members)
        instances = Counter(one.group_instance_id for one in members if one.group_instance_id)
        assert all(count == 1 for count in (ids + instances).values())
        assert not ids.keys() & group.members.pending
        assert group.members.joining == sum(one.join_token is not None for one in members)
        assert group.members.bytes_held == sum(one.bytes_held for one in members)
        assert (group.members.leader_id in ids) == bool(members)
        if not members:
            assert group.state.value in ("Empty", "PreparingRebalance")
        else:
            assert group.members.choose_protocol()
        if group.state.value == "Stable":
            assert all(one.join_token is None and one.sync_token is None for one in members)
    assert shell.shard._groups.bytes_held == sum(
        len(group.group_id) + group.bytes_held for group in shell.shard._groups
    )
    waiting = {
        token
        for group in classic(shell.shard)
        for member in group.members
        for token in (member.join_token, member.sync_token)
        if token is not None
    }
    assert waiting == shell.shard._waiting.keys()
    deadline_ms = shell.shard.deadline_ms()
    assert deadline_ms is not None
    assert deadline_ms > shell.now_ms


def check_offsets(shell: LossyShell) -> None:
    """Check that what is counted of the offsets is right."""
    offsets = shell.shard._offsets
    listed = [one for group_id in offsets.group_ids for one in offsets.fetch(group_id, None)]
    assert len(offsets) == len(listed)
    assert offsets._text == sum(len(one.topic_partition.topic + one.metadata) for one in listed)


def check_log(shell: LossyShell) -> None:
    """Check that the log, and the same written anew, say what the shard is."""
    assert offsets_of(shell.shard) == offsets_in_log(shell)
    again = shell.replayed(shell.log)
    again.loaded(shell.now_ms)
    live = [(one.key, one.value) for one in shell.shard.live_records()]
    assert len(dict(live)) == len(live)
    assert dict(live) == {one.key: one.value for one in again.live_records()}
    anew = shell.replayed([(key, value, shell.now_ms) for key, value in reversed(live)])
    anew.loaded(shell.now_ms)
    assert dict(live) == {one.key: one.value for one in anew.live_records()}
    assert offsets_of(anew) == offsets_of(shell.shard)
    assert descriptions(anew) == descriptions(again)
    for group_id, now in descriptions(shell.shard).items():
        # Static members that are away are not counted when others join, as in Kafka. A group that
        # has become too large that way rebalances as soon as another broker coordinates it.
        if now.state == "Stable" and len(now.members) <= shell.settings.group_size_max:
            assert descriptions(again)[group_id] == now


class Generations:
    """What members were told of the generations of each group."""

    def __init__(self, shell: LossyShell) -> None:
        self._shell = shell
        self._seen: set[Token] = set()
        self._told: dict[str, dict[int, str]] = {}
        self._since: dict[str, int] = {}
        """Requests up to this one were made to a group that is no more, or knew more."""

    def begin_anew(self, group_id: str) -> None:
        self._told.pop(group_id, None)
        self._since[group_id] = len(self._shell.asked)

    def check(self) -> None:
        """Check that all who are in a generation were told the same of it."""
        for token in self._shell.answers.keys() - self._seen:
            self._seen.add(token)
            answer, asked = self._shell.answers[token], self._shell.asked[token]
            # A group of both kinds begins anew with every change of its kind.
            if not isinstance(answer, Joined) or asked.group_id == MIXED_GROUP:
                continue
            assert asked.member_id in ("", answer.member_id)
            assert bool(answer.members) == (answer.leader == answer.member_id)
            if token <= self._since.get(asked.group_id, 0):
                continue
            # A static leader that starts anew has another id in the same generation.
            leader = answer.leader.rsplit("-", 1)[0] if answer.leader[0] == "s" else answer.leader
            told = f"{answer.protocol_type} {answer.protocol_name} {leader}"
            known = self._told.setdefault(asked.group_id, {})
            assert known.setdefault(answer.generation_id, told) == told


@pytest.mark.parametrize("seed", range(10))
def test_groups_stay_whole(seed: int) -> None:
    walk = Walk(seed)
    shell = walk.shell
    generations = Generations(shell)
    for step in range(STEPS):
        shard = shell.shard
        walk.step()
        check_groups(shell)
        if step % 15 == 0:
            check_offsets(shell)
            check_log(shell)
        for group_id in GROUPS:
            # What is not in the log may begin once more.
            if shell.shard is not shard or shell.shard._groups.get(group_id) is None:
                generations.begin_anew(group_id)
        generations.check()
    check_log(shell)

    walk.settle()

    check_groups(shell)
    check_log(shell)
    for group_id in GROUPS:
        members = [one for one in walk.clients if one.group_id == group_id]
        placed = [one for one in members if one.assignment is not None]
        assert len(placed) >= min(len(members), shell.settings.group_size_max)
        assert len({one.generation_id for one in placed}) == 1
        assert all(one.assignment == one.member_id.encode() for one in placed)
    shell.perform(shell.shard.resign(OttlaError("end")))
    shell.commit_log()
    assert shell.asked.keys() == shell.answers.keys() | shell.cancelled
