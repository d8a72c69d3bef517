"""A shard with a log, a clock and members, all in memory and at once."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from ottla.coordinator.effects import Effects, Token
from ottla.coordinator.requests import (
    CommitOffsets,
    CommittedOffset,
    FetchOffsets,
    GroupRequest,
    Heartbeat,
    Joined,
    JoinGroup,
    LeaveGroup,
    LeavingMember,
    MemberProtocol,
    OffsetToCommit,
    SyncGroup,
)
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.shard import GroupShard
from ottla.model.errors import MemberIdRequiredError, OttlaError
from ottla.model.ids import LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.model.image import ClusterImage, TopicImage

DAY_MS = 24 * 60 * 60_000


class Shell:
    """What a broker is to a shard: everything is committed as soon as it is appended."""

    def __init__(self, settings: GroupSettings | None = None) -> None:
        self.settings = settings or GroupSettings(initial_rebalance_delay_ms=0)
        self.now_ms = 1_700_000_000_000
        self.log: list[tuple[bytes, bytes | None, int]] = []
        self.image = ClusterImage(cluster_id="c")
        self.asked: dict[Token, Any] = {}
        self.answers: dict[Token, object] = {}
        self.cancelled: set[Token] = set()
        self._tokens = 0
        self._ids = 0
        self.shard = self._new_shard()
        self.perform(self.shard.loaded(self.now_ms))

    def ask(self, request: GroupRequest[Any]) -> Token:
        self._tokens += 1
        token = Token(self._tokens)
        self.asked[token] = request
        self.perform(self.shard.request(token, request, self.now_ms))
        return token

    def answered(self, request: GroupRequest[Any]) -> Any:
        """Ask, and return or raise the answer, which must come at once."""
        return self.answer(self.ask(request))

    def answer(self, token: Token) -> Any:
        answer = self.answers[token]
        if isinstance(answer, OttlaError):
            raise answer
        return answer

    def waits(self, token: Token) -> bool:
        return token not in self.answers

    def cancel(self, token: Token) -> None:
        self.cancelled.add(token)
        self.shard.cancel(token)

    def wait(self, ms: int = 0) -> None:
        """Let time pass, doing at each moment what is to be done then."""
        end_ms = self.now_ms + ms
        for _ in range(100_000):
            deadline_ms = self.shard.deadline_ms()
            if deadline_ms is None or deadline_ms > end_ms:
                self.now_ms = end_ms
                return
            self.now_ms = max(self.now_ms, deadline_ms)
            self.perform(self.shard.tick(self.now_ms))
        raise AssertionError("the shard is never done")

    def reload(self) -> None:
        """Read the log into a new shard, as another broker does, or this one after a failure."""
        self.perform(self.shard.resign(OttlaError("moved")))
        self.shard = self.replayed(self.log)
        self.perform(self.shard.loaded(self.now_ms))

    def replayed(self, log: Sequence[tuple[bytes, bytes | None, int]]) -> GroupShard:
        shard = self._new_shard()
        for key, value, timestamp_ms in log:
            shard.replay(key, value, timestamp_ms)
        return shard

    def change_topics(self, **topics: int) -> None:
        """Let there be just these topics, with ids of these numbers."""
        self.image = image_of(topics)
        self.perform(self.shard.image_changed(self.image, self.now_ms))

    def perform(self, effects: Effects) -> None:
        self.log += [(one.key, one.value, self.now_ms) for one in effects.records]
        for answer in effects.answers:
            assert answer.token not in self.answers, "a request was answered twice"
            assert answer.token not in self.cancelled, "nobody waits for this answer"
            self.answers[answer.token] = answer.value

    def _new_shard(self) -> GroupShard:
        shard = GroupShard(self.settings, new_member_id=self._new_member_id)
        shard.image_changed(self.image, self.now_ms)
        return shard

    def _new_member_id(self, prefix: str) -> str:
        self._ids += 1
        return f"{prefix}-{self._ids}"

    # --- Offsets, as who is in no group ---

    def commit(self, group_id: str, topic: str, offset: int, **fields: Any) -> None:
        request = commit_of(group_id, (topic, 0, offset), **fields)
        (outcome,) = self.answered(request)
        if outcome is not None:
            raise outcome

    def committed(self, group_id: str) -> dict[TopicPartition, int]:
        """Return everything that a group has committed."""
        answer: list[CommittedOffset] = self.answered(FetchOffsets(group_id=group_id))
        return {one.topic_partition: one.offset for one in answer}


@dataclass
class Member:
    """A client that is in a group, or wants to be. It believes what it is told last."""

    shell: Shell
    group_id: str = "g"
    instance_id: str | None = None
    client_id: str = "client"
    protocol_type: str = "consumer"
    protocols: Mapping[str, bytes] = field(default_factory=lambda: {"range": subscription("t")})
    session_timeout_ms: int = 10_000
    rebalance_timeout_ms: int = 60_000
    requires_known_member_id: bool = False
    supports_skipping_assignment: bool = True
    member_id: str = ""
    generation_id: int = -1

    def ask_to_join(self, **fields: Any) -> Token:
        return self.shell.ask(
            JoinGroup(
                **{
                    "group_id": self.group_id,
                    "member_id": self.member_id,
                    "group_instance_id": self.instance_id,
                    "client_id": self.client_id,
                    "client_host": "/127.0.0.1",
                    "protocol_type": self.protocol_type,
                    "protocols": [
                        MemberProtocol(name=name, metadata=metadata)
                        for name, metadata in self.protocols.items()
                    ],
                    "session_timeout_ms": self.session_timeout_ms,
                    "rebalance_timeout_ms": self.rebalance_timeout_ms,
                    "requires_known_member_id": self.requires_known_member_id,
                    "supports_skipping_assignment": self.supports_skipping_assignment,
                    **fields,
                }
            )
        )

    def learn_id(self) -> None:
        """Take the first of the two steps of joining."""
        error = self.shell.answers[self.ask_to_join(requires_known_member_id=True)]
        assert isinstance(error, MemberIdRequiredError), error
        self.member_id = error.member_id

    def has_joined(self, token: Token) -> Joined:
        """Take the answer, which must be there, to heart."""
        joined: Joined = self.shell.answer(token)
        self.member_id, self.generation_id = joined.member_id, joined.generation_id
        return joined

    def ask_to_sync(self, assignments: Mapping[str, bytes] | None = None, **fields: Any) -> Token:
        return self.shell.ask(
            SyncGroup(
                **{
                    "group_id": self.group_id,
                    "generation_id": self.generation_id,
                    "member_id": self.member_id,
                    "group_instance_id": self.instance_id,
                    "assignments": assignments or {},
                    **fields,
                }
            )
        )

    def heartbeat(self, **fields: Any) -> None:
        self.shell.answered(
            Heartbeat(
                **{
                    "group_id": self.group_id,
                    "generation_id": self.generation_id,
                    "member_id": self.member_id,
                    "group_instance_id": self.instance_id,
                    **fields,
                }
            )
        )

    def leaving(self) -> LeaveGroup:
        leaving = LeavingMember(member_id=self.member_id, group_instance_id=self.instance_id)
        return LeaveGroup(group_id=self.group_id, members=[leaving])

    def leave(self) -> None:
        (outcome,) = self.shell.answered(self.leaving())
        if outcome is not None:
            raise outcome

    def commit(self, topic: str, offset: int, **fields: Any) -> None:
        self.shell.commit(
            self.group_id,
            topic,
            offset,
            **{
                "member_id": self.member_id,
                "generation_or_member_epoch": self.generation_id,
                "group_instance_id": self.instance_id,
                **fields,
            },
        )


def stable(*members: Member) -> None:
    """Let all of them, and nobody else, be in a stable group; each has its own id assigned."""
    shell = members[0].shell
    tokens = [member.ask_to_join() for member in members]
    shell.wait(shell.settings.initial_rebalance_delay_ms)
    for member, token in zip(members, tokens, strict=True):
        member.has_joined(token)
    assignments = {member.member_id: member.member_id.encode() for member in members}
    for member, token in [(member, member.ask_to_sync(assignments)) for member in members]:
        assert shell.answer(token).assignment == member.member_id.encode()


def subscription(*topics: str) -> bytes:
    """Return what a consumer that reads these topics says of itself."""
    encoded = [topic.encode() for topic in topics]
    names = b"".join(struct.pack(">h", len(name)) + name for name in encoded)
    return struct.pack(">hi", 1, len(topics)) + names + struct.pack(">ii", -1, 0)


def commit_of(group_id: str, *offsets: tuple[str, int, int], **fields: Any) -> CommitOffsets:
    """Return a request to commit offsets of partitions, as who is in no group."""
    metadata = fields.pop("metadata", "")
    leader_epoch = LeaderEpoch(fields.pop("leader_epoch", -1))
    return CommitOffsets(
        group_id=group_id,
        offsets=[
            OffsetToCommit(
                topic_partition=TopicPartition(topic, partition),
                offset=Offset(offset),
                leader_epoch=leader_epoch,
                metadata=metadata,
            )
            for topic, partition, offset in offsets
        ],
        **fields,
    )


def image_of(topics: Mapping[str, int]) -> ClusterImage:
    """Return an image of a cluster with these topics, whose ids are these numbers."""
    ids = {name: TopicId(UUID(int=number)) for name, number in topics.items()}
    return ClusterImage(
        cluster_id="c",
        topics={
            name: TopicImage(topic_id=topic_id, name=name, partitions=(), configs={})
            for name, topic_id in ids.items()
        },
        topic_names={topic_id: name for name, topic_id in ids.items()},
    )


def failure(call: Callable[[], object]) -> int:
    """Return Kafka's code of the error that a call raises; 0 for none."""
    try:
        call()
    except OttlaError as error:
        return error.code
    return 0
