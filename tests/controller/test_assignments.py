"""Replicas that were chosen for new partitions are taken as they are, if they can be."""

from __future__ import annotations

from ottla.controller.requests import (
    Assignment,
    CreatePartitions,
    CreateTopics,
    NewPartitions,
    NewTopic,
)
from tests.controller.metadata import Metadata, brokers

OK, BAD = "NONE", "INVALID_REPLICA_ASSIGNMENT"


def create(metadata: Metadata, *replicas: tuple[int, ...], name: str = "web") -> str:
    assignments = tuple(Assignment(n, brokers(*ids)) for n, ids in enumerate(replicas))
    topic = NewTopic(name=name, assignments=assignments)
    (result,) = metadata.ask(CreateTopics(topics=(topic,)))
    return OK if result.error is None else result.error.name


def grow(metadata: Metadata, total: int, *replicas: tuple[int, ...]) -> str:
    chosen = tuple(brokers(*ids) for ids in replicas)
    topic = NewPartitions(name="web", partitions=total, assignments=chosen)
    (result,) = metadata.ask(CreatePartitions(topics=(topic,)))
    return OK if result.error is None else result.error.name


def placed(metadata: Metadata) -> list[tuple[int, ...]]:
    return [tuple(partition.replicas) for partition in metadata.topic("web").partitions]


def test_chosen_replicas_are_the_replicas_in_their_order() -> None:
    metadata = Metadata(brokers=3)

    assert create(metadata, (3, 1), (2, 3)) == OK
    assert grow(metadata, 4, (1, 2), (3, 2)) == OK

    assert placed(metadata) == [(3, 1), (2, 3), (1, 2), (3, 2)]
    assert [p.leader for p in metadata.topic("web").partitions] == [3, 2, 1, 3]


def test_numbers_follow_from_the_choice() -> None:
    metadata = Metadata(brokers=3)
    assignments = (Assignment(1, brokers(1, 2)), Assignment(0, brokers(2, 3)))

    (result,) = metadata.ask(CreateTopics(topics=(NewTopic(name="web", assignments=assignments),)))

    assert (result.partitions, result.replication_factor) == (2, 2)
    assert placed(metadata) == [(2, 3), (1, 2)]


def test_broker_that_is_away_may_be_chosen_and_does_not_lead() -> None:
    metadata = Metadata(brokers=3)
    metadata.fence(3)

    assert create(metadata, (3, 1)) == OK

    partition = metadata.partition("web")
    assert (partition.leader, partition.in_sync_replicas) == (1, (1,))


def test_one_of_the_chosen_must_be_able_to_lead() -> None:
    metadata = Metadata(brokers=3)
    metadata.fence(2, 3)

    assert create(metadata, (3, 2)) == BAD


def test_draining_broker_gets_nothing() -> None:
    metadata = Metadata(brokers=3)
    create(metadata, (1, 2))
    metadata.drain(3)

    assert create(metadata, (3, 2), name="other") == BAD
    assert grow(metadata, 2, (3, 2)) == BAD


def test_partition_that_is_named_twice_is_refused() -> None:
    metadata = Metadata(brokers=3)
    assignments = (Assignment(0, brokers(1)), Assignment(0, brokers(2)))

    (result,) = metadata.ask(CreateTopics(topics=(NewTopic(name="web", assignments=assignments),)))

    assert result.error is not None
    assert (result.error.name, str(result.error)) == (
        BAD,
        "a partition is named twice; name it once",
    )


def test_added_partitions_have_as_many_replicas_as_the_others_while_those_move() -> None:
    metadata = Metadata(brokers=3)
    create(metadata, (1, 2))
    metadata.reassign("web", 1, 2, 3)

    assert grow(metadata, 2, (3, 2, 1)) == BAD
    assert grow(metadata, 2, (3, 2)) == OK


def test_automatic_placement_is_what_it_was() -> None:
    metadata = Metadata(brokers=3)
    create(metadata, (1, 2))

    metadata.grow("web", 5)

    assert {len(replicas) for replicas in placed(metadata)} == {2}
