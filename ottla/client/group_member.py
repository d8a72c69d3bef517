"""One member of a consumer group, as the member sees itself: what to say, and what was said.

A state machine without clock or network, the client's side of KIP-848. The coordinator tells a
member its *target*: the partitions that it may read. The member gives up what it owns beyond that,
takes what it does not own yet, and reports what it then owns. A report asks for the target again,
so that whenever an answer may have been lost, the next heartbeat is a report.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from ottla.model.ids import TopicPartition
from ottla.v1 import groups_pb2

JOIN_EPOCH: Final = 0
LEAVE_EPOCH: Final = -1
LEAVE_FOR_A_WHILE_EPOCH: Final = -2

Owned = Mapping[TopicPartition, bytes]
"""Partitions with the ids of their topics: a topic that was made anew is another."""

_NOTHING: Final[Owned] = MappingProxyType({})


class Subscription(NamedTuple):
    """What a member wants to read."""

    topics: tuple[str, ...] = ()
    pattern: str = ""
    """RE2 syntax, matched against whole names; empty: none."""


class GroupMember:
    """See above. Every method is immediate."""

    def __init__(
        self,
        group_id: str,
        member_id: str,
        *,
        client_id: str,
        instance_id: str | None,
        rack: str | None,
        assignor: str | None,
        rebalance_timeout_ms: int,
        subscription: Subscription,
    ) -> None:
        self.group_id = group_id
        self.member_id = member_id
        self.epoch = JOIN_EPOCH
        self.heartbeat_interval_ms = 0
        """As the coordinator last said; 0 before it did."""
        self.owned: dict[TopicPartition, bytes] = {}
        self.target: Owned = _NOTHING
        self._instance_id = instance_id
        self._client_id = client_id
        self._rack = rack
        self._assignor = assignor
        self._rebalance_timeout_ms = rebalance_timeout_ms
        self._subscription = subscription
        self._must_report = True
        self._has_asked = False

    @property
    def is_joined(self) -> bool:
        """Whether the coordinator knows the member, as far as the member knows."""
        return self.epoch > JOIN_EPOCH

    @property
    def may_be_known(self) -> bool:
        """Whether the coordinator may know the member: the answer to joining may be lost."""
        return self._has_asked

    def subscribe(self, subscription: Subscription) -> None:
        """Want to read something else."""
        self._subscription = subscription
        self._must_report = True

    def report(self) -> None:
        """Tell with the next heartbeat what is owned, and ask for the target again."""
        self._must_report = True

    def heartbeat(self) -> groups_pb2.GroupHeartbeatRequest:
        """Return what to send next; the answer goes to :meth:`answered`."""
        self._has_asked = True
        request = groups_pb2.GroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=self.epoch,
            instance_id=self._instance_id or "",
            client_id=self._client_id,
        )
        if self._must_report:
            self._must_report = False
            request.rack = self._rack or ""
            request.rebalance_timeout_ms = self._rebalance_timeout_ms
            request.assignor = self._assignor or ""
            request.subscription.topics.extend(self._subscription.topics)
            request.subscription.pattern = self._subscription.pattern
            request.owned.SetInParent()
            by_topic: dict[bytes, list[int]] = {}
            for partition, topic_id in self.owned.items() if self.is_joined else ():
                by_topic.setdefault(topic_id, []).append(partition.partition)
            for topic_id, numbers in by_topic.items():
                request.owned.topics.add(topic_id=topic_id, partitions=numbers)
        else:
            request.max_wait_ms = self.heartbeat_interval_ms
        return request

    def leaving(self) -> groups_pb2.GroupHeartbeatRequest:
        """Return what to send to leave; a static member says that it will be back."""
        return groups_pb2.GroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=LEAVE_FOR_A_WHILE_EPOCH if self._instance_id else LEAVE_EPOCH,
            instance_id=self._instance_id or "",
            client_id=self._client_id,
        )

    def answered(self, response: groups_pb2.GroupHeartbeatResponse) -> bool:
        """Take an answer; return whether the target is another than before."""
        self.epoch = response.member_epoch
        self.heartbeat_interval_ms = response.heartbeat_interval_ms
        if not response.HasField("assignment"):
            return False
        target = {
            TopicPartition(topic.topic, number): topic.topic_id
            for topic in response.assignment.topics
            # The coordinator does not know the name of a topic that is being deleted.
            if topic.topic
            for number in topic.partitions
        }
        if target == self.target:
            return False
        self.target = MappingProxyType(target)
        return True

    def to_revoke(self) -> list[TopicPartition]:
        """Return what is owned and must not be."""
        return [each for each, topic_id in self.owned.items() if self.target.get(each) != topic_id]

    def to_take(self) -> list[TopicPartition]:
        """Return what may be read and is not owned yet."""
        return [each for each in self.target if each not in self.owned]

    def revoked(self, partition: TopicPartition) -> None:
        """Own a partition no more."""
        del self.owned[partition]
        self._must_report = True

    def took(self, partition: TopicPartition) -> None:
        """Own a partition from now on."""
        self.owned[partition] = self.target[partition]
        self._must_report = True

    def lost_membership(self) -> list[TopicPartition]:
        """Be no member any more; return what was owned. The next heartbeat joins anew."""
        lost = list(self.owned)
        self.owned.clear()
        self.target = _NOTHING
        self.epoch = JOIN_EPOCH
        self._must_report = True
        self._has_asked = False
        return lost

    def rename(self, member_id: str) -> None:
        """Join under another name, because the coordinator does not know the one so far.

        What was sent under that and is still under way can do nothing any more, even if the group
        begins anew and comes to the same epoch.
        """
        assert not self.is_joined
        self.member_id = member_id

    def __repr__(self) -> str:
        return (
            f"<GroupMember {self.member_id} of {self.group_id} epoch {self.epoch} "
            f"owns {len(self.owned)} of {len(self.target)} partitions>"
        )
