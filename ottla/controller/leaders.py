"""Leaders on request: the preferred ones, or any at all.

The first replica of a partition is its *preferred leader*: placement spreads those evenly. After
brokers were away and came back, others lead, and the load is uneven until the preferred ones are
elected again. :func:`imbalanced` says where that is possible; electing there is what automatic
balancing does.

An *unclean* election makes a replica lead that may lack acknowledged records. It is asked for by
hand, for a partition whose holders are all gone for good, and loses what the elected one has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.elections import Available, available_brokers, settled
from ottla.controller.in_sync_sets import check_partition_count
from ottla.controller.requests import ElectLeaders, PartitionResult
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RuleBook, TopicRules
from ottla.model.errors import (
    ElectionNotNeededError,
    EligibleLeadersNotAvailableError,
    InvalidRequestError,
    OttlaError,
    PreferredLeaderNotAvailableError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import NO_BROKER, TopicPartition
from ottla.model.image import PartitionImage


def elect_leaders(
    state: MetadataState, request: ElectLeaders, *, rules: RuleBook
) -> Decision[tuple[PartitionResult, ...]]:
    """Decide who leads, where somebody asks for an election."""
    asked = request.partitions
    if asked is not None:
        check_partition_count(len(asked))
        if len(set(asked)) != len(asked):
            raise InvalidRequestError("the request names a partition twice; name it once")
    available = available_brokers(state.image)
    results: list[PartitionResult] = []
    steps: list[Step] = []
    for name in _all_partitions(state) if asked is None else asked:
        try:
            before = existing_partition(state, name)
            topic = state.image.topics[name.topic]
            elect = _elect_any if request.unclean else _elect_preferred
            after = elect(name, before, available, rules.of(topic))
        except ElectionNotNeededError as error:
            if asked is not None:
                results.append(PartitionResult(topic_partition=name, error=error))
            continue
        except OttlaError as error:
            results.append(PartitionResult(topic_partition=name, error=error))
            continue
        results.append(PartitionResult(topic_partition=name))
        steps.append((records.partition_changed(topic.topic_id, name.partition, after),))
    return decided(state, tuple(results), *steps)


def imbalanced(state: MetadataState) -> tuple[TopicPartition, ...]:
    """Return the partitions that their preferred leader could lead, and another one leads.

    Those without a leader are not among them: an election is not what they wait for.
    """
    electable = available_brokers(state.image).electable
    return tuple(
        TopicPartition(topic.name, number)
        for topic in state.image.topics.values()
        for number, partition in enumerate(topic.partitions)
        if partition.leader not in (partition.replicas[0], NO_BROKER)
        and partition.replicas[0] in partition.in_sync_replicas
        and partition.replicas[0] in electable
    )


def existing_partition(state: MetadataState, name: TopicPartition) -> PartitionImage:
    """Return a partition; raises :exc:`UnknownTopicOrPartitionError` if it does not exist."""
    partition = state.image.partition(name)
    if partition is None:
        raise UnknownTopicOrPartitionError(f"there is no partition {name}")
    return partition


def _all_partitions(state: MetadataState) -> Iterator[TopicPartition]:
    for topic in state.image.topics.values():
        for number in range(len(topic.partitions)):
            yield TopicPartition(topic.name, number)


def _elect_preferred(
    name: TopicPartition, before: PartitionImage, available: Available, rules: TopicRules
) -> PartitionImage:
    preferred = before.replicas[0]
    if before.leader == preferred:
        raise ElectionNotNeededError(f"{name} is led by its preferred leader {preferred} already")
    after = settled(before, replace(before, leader=preferred), available=available, rules=rules)
    if after.leader != preferred:
        reason = "does not serve"
        if preferred not in before.in_sync_replicas:
            reason = "is not in sync"
        raise PreferredLeaderNotAvailableError(
            f"the preferred leader {preferred} of {name} {reason}; it leads when it does"
        )
    return after


def _elect_any(
    name: TopicPartition, before: PartitionImage, available: Available, rules: TopicRules
) -> PartitionImage:
    if before.leader != NO_BROKER:
        raise ElectionNotNeededError(f"{name} is led by broker {before.leader}")
    after = settled(before, before, available=available, rules=rules, unclean=True)
    if after.leader == NO_BROKER:
        raise EligibleLeadersNotAvailableError(
            f"none of the replicas {list(before.replicas)} of {name} serves; start one of them"
        )
    return after
