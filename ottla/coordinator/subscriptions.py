"""What the members of a consumer group subscribe to, as topics that exist.

A member subscribes by names, by a regular expression, or by both: then to all that either gives.
Expressions are RE2's, which match in linear time, and must match a name as a whole. Topics that
the cluster keeps for itself match none: a group that commits offsets would read its own commits.

Everything here is as of one image of the cluster, until :meth:`Subscriptions.move_to` changes to a
later one. Expressions are then compared with the names that are new. A hash of the topics that the
group subscribes to, with their ids and numbers of partitions, tells whether a change concerns the
group (KIP-1101); it is in the log, so that a coordinator that takes over knows, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Final

import re2

from ottla.coordinator.consumer_member import MemberProfile
from ottla.model.errors import InvalidRegularExpressionError
from ottla.model.ids import TopicId
from ottla.model.image import ClusterImage
from ottla.model.limits import (
    TOPIC_EXPRESSION_CHARACTERS_MAX,
    TOPIC_EXPRESSION_MATCHING_BYTES,
    TOPIC_EXPRESSION_PROGRAM_BYTES,
    TOPIC_EXPRESSIONS_PER_GROUP_MAX,
)
from ottla.model.topic_names import INTERNAL_TOPICS

_HASH_BYTES: Final = 8
"""What the field in Kafka's record takes."""


def _options(memory_bytes: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = memory_bytes
    options.never_capture = True
    options.log_errors = False
    return options


_TO_CHECK: Final = _options(TOPIC_EXPRESSION_PROGRAM_BYTES)
_TO_MATCH: Final = _options(TOPIC_EXPRESSION_MATCHING_BYTES)


def check_expression(expression: str) -> None:
    """Raise :exc:`InvalidRegularExpressionError`, saying why, unless it can be subscribed to."""
    if len(expression) > TOPIC_EXPRESSION_CHARACTERS_MAX:
        raise InvalidRegularExpressionError(
            f"a regular expression of {len(expression)} characters is too long; use at most "
            f"{TOPIC_EXPRESSION_CHARACTERS_MAX}"
        )
    try:
        re2.compile(expression, _TO_CHECK)
    except re2.error as error:
        # The reason comes as bytes.
        reason = error.args[0]
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise InvalidRegularExpressionError(
            f"{expression!r} is no regular expression as RE2 has them: {text}"
        ) from None


class TopicExpression:
    """A regular expression, and which topics it means."""

    def __init__(self, expression: str) -> None:
        """Begin with no topics. What is no expression, which only a log may have, means none."""
        self.expression = expression
        self.topics: frozenset[str] = frozenset()
        # A set matches ten times faster than an expression: it says which, and not where.
        self._matcher: re2.Set | None = re2.Set.FullMatchSet(_TO_MATCH)
        try:
            self._matcher.Add(expression)
            self._matcher.Compile()
        except re2.error:
            self._matcher = None

    def change(self, *, new: Iterable[str], gone: frozenset[str]) -> bool:
        """Look at names that are new, and forget those that are gone; return if that matters."""
        if self._matcher is None:
            return False
        match = self._matcher.Match
        found = [name for name in new if match(name) and name not in INTERNAL_TOPICS]
        lost = self.topics & gone
        if not found and not lost:
            return False
        self.topics = (self.topics - lost).union(found)
        return True


@dataclass(slots=True)
class _Subscribed:
    """An expression with how many members subscribe by it."""

    expression: TopicExpression
    members: int


class Subscriptions:
    """The subscriptions of one group."""

    def __init__(self, image: ClusterImage) -> None:
        """Begin with nobody."""
        self._image = image
        self._names: Counter[str] = Counter()
        self._expressions: dict[str, _Subscribed] = {}
        self._topic_ids: dict[tuple[frozenset[str], str], frozenset[TopicId]] = {}
        """By names and expression: many members subscribe to the same."""

    @property
    def image(self) -> ClusterImage:
        """What everything here is as of."""
        return self._image

    def add(self, profile: MemberProfile) -> TopicExpression | None:
        """Count a member's subscription; return its expression if it is new to the group."""
        self._names.update(profile.topic_names)
        pattern = profile.topic_expression
        if not pattern:
            return None
        if subscribed := self._expressions.get(pattern):
            subscribed.members += 1
            return None
        expression = TopicExpression(pattern)
        expression.change(new=self._image.topics, gone=frozenset())
        self._expressions[pattern] = _Subscribed(expression, 1)
        return expression

    def remove(self, profile: MemberProfile) -> str | None:
        """Do not count a subscription any more; return its expression if nobody has it now."""
        for name in profile.topic_names:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
        pattern = profile.topic_expression
        if not pattern:
            return None
        subscribed = self._expressions[pattern]
        subscribed.members -= 1
        if subscribed.members:
            return None
        del self._expressions[pattern]
        # Its topics may be remembered in combination with many names.
        self._topic_ids = {}
        return pattern

    def has_room_for(self, expression: str) -> bool:
        """Return whether the group may have an expression, too."""
        if expression in self._expressions:
            return True
        return len(self._expressions) < TOPIC_EXPRESSIONS_PER_GROUP_MAX

    def move_to(self, image: ClusterImage) -> list[TopicExpression]:
        """Look at a later image; return the expressions that mean other topics now."""
        before, self._image = self._image, image
        self._topic_ids = {}
        if not self._expressions:
            return []
        new = image.topics.keys() - before.topics.keys()
        gone = frozenset(before.topics.keys() - image.topics.keys())
        if not new and not gone:
            return []
        return [
            one.expression
            for one in self._expressions.values()
            if one.expression.change(new=new, gone=gone)
        ]

    def expressions(self) -> Iterator[TopicExpression]:
        """Yield all expressions."""
        for one in list(self._expressions.values()):
            yield one.expression

    def has(self, expression: TopicExpression) -> bool:
        """Return whether somebody still subscribes by an expression."""
        return expression.expression in self._expressions

    def is_subscribed_to(self, topic: str) -> bool:
        """Return whether a member subscribes to a topic."""
        return topic in self._names or any(
            topic in one.expression.topics for one in self._expressions.values()
        )

    def topic_ids(self, profile: MemberProfile) -> frozenset[TopicId]:
        """Return what a member subscribes to, of what exists: one object for all who are alike."""
        key = (profile.topic_names, profile.topic_expression)
        found = self._topic_ids.get(key)
        if found is None:
            names: Iterable[str] = profile.topic_names
            if profile.topic_expression:
                names = chain(names, self._expressions[profile.topic_expression].expression.topics)
            topics = self._image.topics
            found = frozenset(topics[name].topic_id for name in names if name in topics)
            self._topic_ids[key] = found
        return found

    def partition_count(self, topic_id: TopicId) -> int:
        """Return how many partitions a topic has that exists."""
        return len(self._image.topics[self._image.topic_names[topic_id]].partitions)

    def metadata_hash(self) -> int:
        """Return a number that changes when topics that somebody subscribes to do."""
        names = set(self._names)
        for one in self._expressions.values():
            names |= one.expression.topics
        digest = blake2b(digest_size=_HASH_BYTES)
        known = self._image.topics
        for topic in sorted(filter(None, map(known.get, names)), key=lambda one: one.name):
            digest.update(f"{topic.name} {topic.topic_id} {len(topic.partitions)},".encode())
        return int.from_bytes(digest.digest(), "big", signed=True)
