"""What every member of a consumer group shall have: the assignors, and what they are given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ottla.coordinator.assignors.assignor import Assignor, MemberToAssign
from ottla.coordinator.assignors.range import assign_ranges
from ottla.coordinator.assignors.uniform import assign_uniformly
from ottla.coordinator.consumer_member import ConsumerMember
from ottla.coordinator.subscriptions import Subscriptions
from ottla.model.ids import TopicId
from ottla.model.limits import CONSUMER_GROUP_PARTITIONS_MAX

ASSIGNORS: Final[Mapping[str, Assignor]] = {"uniform": assign_uniformly, "range": assign_ranges}
"""By the names that members ask for."""


def divide(
    members: Iterable[ConsumerMember], subscriptions: Subscriptions, assignor: str
) -> dict[str, dict[TopicId, frozenset[int]]]:
    """Return what each member shall have, by its id."""
    to_assign = {
        member.member_id: MemberToAssign(
            group_instance_id=member.profile.group_instance_id,
            topics=subscriptions.topic_ids(member.profile),
            target=member.target,
        )
        for member in members
    }
    topic_ids = frozenset().union(*{one.topics for one in to_assign.values()})
    return ASSIGNORS[assignor](to_assign, _partition_counts(topic_ids, subscriptions))


def _partition_counts(
    topic_ids: Iterable[TopicId], subscriptions: Subscriptions
) -> dict[TopicId, int]:
    counts = {topic_id: subscriptions.partition_count(topic_id) for topic_id in topic_ids}
    room = CONSUMER_GROUP_PARTITIONS_MAX
    if sum(counts.values()) > room:
        for topic_id in sorted(counts, key=lambda one: one.int):
            counts[topic_id] = min(counts[topic_id], room)
            room -= counts[topic_id]
    return counts
