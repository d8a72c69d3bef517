"""Sets of partitions by topic, as everything about consumer groups hands them around.

A set of partitions is a mapping of topic ids to what is there of each; a topic of which nothing is
there is not in it. Ids of topics are hashed slowly (:class:`uuid.UUID` does so in Python), so that
all work is done topic by topic and never partition by partition.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, TypeAlias

from ottla.model.ids import TopicId

Partitions: TypeAlias = Mapping[TopicId, AbstractSet[int]]
"""Partitions that somebody has or shall have."""

Assigned: TypeAlias = Mapping[TopicId, Mapping[int, int]]
"""The same, with the member epoch at which each partition was given."""

NOTHING: Final[Mapping[TopicId, frozenset[int]]] = {}


def as_lists(partitions: Partitions | Assigned) -> dict[TopicId, list[int]]:
    """Return the partitions in order, as answers and descriptions have them."""
    return {topic_id: sorted(numbers) for topic_id, numbers in partitions.items()}


def count(partitions: Partitions | Assigned) -> int:
    """Return how many partitions there are."""
    return sum(map(len, partitions.values()))
