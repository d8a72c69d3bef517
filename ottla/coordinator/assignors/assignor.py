"""What an assignor is given and what it returns.

An assignor is a function without memory: members in, partitions of each out. It is sticky if it
begins with what the members were to have before, which is a part of what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ottla.coordinator.assignment import Partitions
from ottla.model.ids import TopicId


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberToAssign:
    """A member, as an assignor sees it."""

    group_instance_id: str | None
    topics: frozenset[TopicId]
    """What it subscribes to, of the topics that exist. Members that subscribe to the same should
    have the very same object here: that is what makes large groups cheap."""
    target: Partitions
    """What it was to have until now; may have topics and partitions that are no more."""


Assignor: TypeAlias = Callable[
    [Mapping[str, MemberToAssign], Mapping[TopicId, int]], dict[str, dict[TopicId, frozenset[int]]]
]
"""Divides the partitions (so many of each topic that a member subscribes to) among members."""
