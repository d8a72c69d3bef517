"""Results of partitions, put together by topic as Kafka's responses have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from ottla.model.ids import TopicPartition

R = TypeVar("R")


def by_topic(results: Iterable[tuple[TopicPartition, R]]) -> dict[str, list[tuple[int, R]]]:
    """Return partition and result of each topic, all in the order in which they come."""
    topics: dict[str, list[tuple[int, R]]] = {}
    for (topic, partition), result in results:
        topics.setdefault(topic, []).append((partition, result))
    return topics
