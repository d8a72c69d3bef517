"""One member of a consumer group: what it told about itself, what it has, what it shall have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ottla.coordinator.assignment import as_lists
from ottla.coordinator.current_assignment import CurrentAssignment
from ottla.coordinator.requests import (
    ConsumerHeartbeat,
    ConsumerHeartbeatAnswer,
    ConsumerMemberDescription,
)
from ottla.model.ids import TopicId

_PER_MEMBER_BYTES: Final = 2_048
"""What a member takes besides what it said: its deadlines, its places in all tables."""

_PER_NAME_BYTES: Final = 100
"""What a name in a set takes besides its letters."""

_NEVER: Final = -1
"""Of rebalance timeouts: no member says so, but a record may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberProfile:
    """What a member told about itself."""

    group_instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    topic_names: frozenset[str] = frozenset()
    topic_expression: str = ""
    """Empty: it subscribes by names alone."""
    rebalance_timeout_ms: int = _NEVER
    server_assignor: str | None = None

    def told(self, request: ConsumerHeartbeat) -> MemberProfile:
        """Return the profile after a heartbeat; the same object if it says nothing new."""
        names = request.subscribed_topic_names
        expression = request.subscribed_topic_regex
        timeout_ms = request.rebalance_timeout_ms
        after = MemberProfile(
            group_instance_id=_said(request.group_instance_id, self.group_instance_id),
            rack_id=_said(request.rack_id, self.rack_id),
            client_id=request.client_id,
            client_host=request.client_host,
            topic_names=self.topic_names if names is None else frozenset(names),
            topic_expression=self.topic_expression if expression is None else expression,
            rebalance_timeout_ms=self.rebalance_timeout_ms if timeout_ms is None else timeout_ms,
            server_assignor=_said(request.server_assignor, self.server_assignor),
        )
        return self if after == self else after

    @property
    def bytes_held(self) -> int:
        """What it takes in memory, roughly."""
        texts = (
            self.group_instance_id or "",
            self.rack_id or "",
            self.client_id,
            self.client_host,
            self.topic_expression,
        )
        names = sum(map(len, self.topic_names)) + _PER_NAME_BYTES * len(self.topic_names)
        return _PER_MEMBER_BYTES + sum(map(len, texts)) + names

    def subscribes_alike(self, other: MemberProfile) -> bool:
        """Return whether both subscribe to the same, in the same words."""
        return (
            self.topic_names == other.topic_names
            and self.topic_expression == other.topic_expression
        )


def _said(new: str | None, old: str | None) -> str | None:
    return old if new is None else new


@dataclass(slots=True)
class ConsumerMember:
    """A member."""

    member_id: str
    profile: MemberProfile
    current: CurrentAssignment = field(default_factory=CurrentAssignment)
    target: Mapping[TopicId, frozenset[int]] = field(default_factory=dict)
    """What it shall have, as of the assignment epoch of its group."""
    quiet_answer: ConsumerHeartbeatAnswer | None = None
    """What it is answered while there is nothing to tell; made when it is first needed."""

    def says_nothing(self, request: ConsumerHeartbeat) -> bool:
        """Return whether a heartbeat only says that the member is alive, in the right epoch."""
        profile = self.profile
        return (
            request.member_epoch == self.current.member_epoch > 0
            and request.owned is None
            and request.subscribed_topic_names is None
            and request.subscribed_topic_regex is None
            and request.rebalance_timeout_ms is None
            and request.group_instance_id == profile.group_instance_id
            and (request.rack_id is None or request.rack_id == profile.rack_id)
            and request.server_assignor in {None, profile.server_assignor}
            and request.client_id == profile.client_id
            and request.client_host == profile.client_host
        )

    def describe(self) -> ConsumerMemberDescription:
        """Return the member as tools are told of it; it has what it is to give back, too."""
        assignment: dict[TopicId, list[int]] = as_lists(self.current.assigned)
        for topic_id, partitions in as_lists(self.current.pending_revocation).items():
            assignment[topic_id] = sorted([*assignment.get(topic_id, ()), *partitions])
        return ConsumerMemberDescription(
            member_id=self.member_id,
            group_instance_id=self.profile.group_instance_id,
            rack_id=self.profile.rack_id,
            member_epoch=self.current.member_epoch,
            client_id=self.profile.client_id,
            client_host=self.profile.client_host,
            subscribed_topic_names=sorted(self.profile.topic_names),
            subscribed_topic_regex=self.profile.topic_expression or None,
            assignment=assignment,
            target_assignment=as_lists(self.target),
        )
