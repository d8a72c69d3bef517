"""The range assignor: of each topic, every subscriber gets one run of neighbours.

The subscribers of a topic stand in a fixed order, static members by their instance ids first, and
get runs of as equal length as possible, the longer ones first. Topics with the same number of
partitions and the same subscribers are therefore divided alike: whoever has partition 3 of one has
partition 3 of the other, which joins need. The price is balance (the first members get the
remainder of every topic) and movement when members come and go.
"""

from __future__ import annotations

from collections.abc import Mapping

from ottla.coordinator.assignors.assignor import MemberToAssign
from ottla.model.ids import TopicId


def assign_ranges(
    members: Mapping[str, MemberToAssign], partition_counts: Mapping[TopicId, int]
) -> dict[str, dict[TopicId, frozenset[int]]]:
    """Return what each member shall have."""
    assigned: dict[str, dict[TopicId, frozenset[int]]] = {member_id: {} for member_id in members}
    subscribers: dict[TopicId, list[str]] = {}
    for member_id in sorted(members, key=lambda one: _place(one, members[one])):
        for topic_id in members[member_id].topics:
            subscribers.setdefault(topic_id, []).append(member_id)
    for topic_id, member_ids in subscribers.items():
        least, longer = divmod(partition_counts[topic_id], len(member_ids))
        begin = 0
        for index, member_id in enumerate(member_ids):
            end = begin + least + (index < longer)
            if begin == end:
                break
            assigned[member_id][topic_id] = frozenset(range(begin, end))
            begin = end
    return assigned


def _place(member_id: str, member: MemberToAssign) -> tuple[bool, str]:
    # Static members come back under the same instance id and another member id.
    if member.group_instance_id is None:
        return (True, member_id)
    return (False, member.group_instance_id)
