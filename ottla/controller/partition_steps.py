"""Changes of many partitions at once: each that changes is a step of its own.

So that a decision may be cut between any two of them, and as many as fit go into one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ottla.controller import records
from ottla.controller.decisions import Step
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RuleBook, TopicRules
from ottla.model.image import PartitionImage, TopicImage

Change = Callable[[PartitionImage, TopicRules], PartitionImage]
"""Returns the partition as it is to be; the same object if it is to stay."""


def partition_steps(state: MetadataState, rules: RuleBook, change: Change) -> Iterator[Step]:
    """Apply ``change`` to every partition of the cluster."""
    for topic in state.image.topics.values():
        yield from topic_steps(topic, rules.of(topic), change)


def topic_steps(topic: TopicImage, rules: TopicRules, change: Change) -> Iterator[Step]:
    """Apply ``change`` to every partition of one topic."""
    for number, partition in enumerate(topic.partitions):
        changed = change(partition, rules)
        if changed is not partition:
            yield (records.partition_changed(topic.topic_id, number, changed),)
