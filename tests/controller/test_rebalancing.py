"""A plan evens out what brokers have, empties those that drain, and moves no more than it must."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ottla.controller.placement import machine_of
from ottla.controller.rebalancing import plan_rebalancing
from ottla.controller.requests import Reassign, Reassignment
from ottla.model.image import PartitionImage
from tests.controller.metadata import Metadata, codes


def cluster(brokers: int, partitions: int, replication_factor: int = 3) -> Metadata:
    """A topic that placement has spread evenly over brokers on machines of their own."""
    metadata = Metadata(brokers=brokers)
    metadata.create("web", partitions=partitions, replication_factor=replication_factor)
    return metadata


def plan(metadata: Metadata) -> tuple[Reassignment, ...]:
    return plan_rebalancing(metadata.machine.image)


def carry_out(metadata: Metadata) -> None:
    """Reassign as planned, and have everybody catch up."""
    results = metadata.ask(Reassign(partitions=plan(metadata)))
    assert set(codes(results)) <= {"NONE"}
    for number, partition in enumerate(partitions(metadata)):
        if partition.adding_replicas:
            serving = [r for r in partition.replicas if not metadata.broker(r).fenced]
            assert metadata.propose("web", *serving, number=number) == "NONE"


def partitions(metadata: Metadata) -> tuple[PartitionImage, ...]:
    return metadata.topic("web").partitions


def replicas_by_broker(metadata: Metadata) -> Counter[int]:
    return Counter(r for partition in partitions(metadata) for r in partition.replicas)


def preferred_by_broker(metadata: Metadata) -> Counter[int]:
    return Counter(partition.replicas[0] for partition in partitions(metadata))


def moves(metadata: Metadata, planned: tuple[Reassignment, ...]) -> int:
    return sum(
        len(set(asked.replicas) - set(partitions(metadata)[asked.topic_partition[1]].replicas))
        for asked in planned
    )


def spread(counts: Counter[int], *brokers: int) -> int:
    return max(counts[b] for b in brokers) - min(counts[b] for b in brokers)


def test_cluster_that_is_even_is_left_alone() -> None:
    assert plan(cluster(3, 6)) == ()
    assert plan(Metadata()) == ()


def test_new_broker_gets_its_share_and_nothing_else_moves() -> None:
    metadata = cluster(3, 20)
    metadata.start(4)
    assert moves(metadata, plan(metadata)) == 15  # a fourth of 60

    carry_out(metadata)

    assert spread(replicas_by_broker(metadata), 1, 2, 3, 4) == 0
    assert spread(preferred_by_broker(metadata), 1, 2, 3, 4) <= 1
    assert plan(metadata) == ()


def test_draining_broker_is_emptied() -> None:
    metadata = cluster(4, 20)
    metadata.drain(2)
    assert moves(metadata, plan(metadata)) == replicas_by_broker(metadata)[2]

    carry_out(metadata)

    assert replicas_by_broker(metadata)[2] == 0
    assert spread(replicas_by_broker(metadata), 1, 3, 4) == 0
    assert spread(preferred_by_broker(metadata), 1, 3, 4) <= 1


def test_draining_broker_that_is_dead_is_emptied_too() -> None:
    metadata = cluster(4, 8)
    metadata.drain(2)
    metadata.fence(2)

    carry_out(metadata)

    assert replicas_by_broker(metadata)[2] == 0


def test_draining_broker_keeps_what_nobody_else_can_take() -> None:
    metadata = cluster(3, 6)
    metadata.drain(2)

    assert moves(metadata, plan(metadata)) == 0


def test_fenced_broker_is_given_nothing_and_keeps_what_it_has() -> None:
    metadata = cluster(3, 9)
    metadata.start(4)
    metadata.start(5)
    metadata.fence(3, 5)
    before = replicas_by_broker(metadata)[3]

    carry_out(metadata)

    after = replicas_by_broker(metadata)
    assert (after[3], after[5]) == (before, 0)
    assert spread(after, 1, 2, 4) <= 1


def test_leaders_are_evened_out_by_order_alone() -> None:
    metadata = cluster(3, 9)
    for number in range(9):
        metadata.move("web", 1, 2, 3, number=number)

    planned = plan(metadata)

    assert moves(metadata, planned) == 0
    assert Counter(asked.replicas[0] for asked in planned) == {2: 3, 3: 3}


def test_leadership_goes_by_way_of_a_broker_in_between() -> None:
    metadata = cluster(3, 4, 2)
    # Broker 1 leads too many, 3 too few, and they have no partition in common.
    for number, replicas in enumerate([(1, 2), (1, 2), (2, 3), (2, 1)]):
        metadata.move("web", *replicas, number=number)
    metadata.fence(3)
    metadata.unfence(3)

    carry_out(metadata)

    assert spread(preferred_by_broker(metadata), 1, 2, 3) <= 1


def test_partition_in_one_rack_is_spread_when_there_is_another() -> None:
    metadata = Metadata()
    for broker in (1, 2, 3):
        metadata.start(broker, rack="a")
    metadata.create("web", partitions=6, replication_factor=2)
    metadata.start(4, rack="b")

    carry_out(metadata)

    assert all(4 in partition.replicas for partition in partitions(metadata))


def test_moves_for_evenness_keep_racks_apart() -> None:
    metadata = Metadata()
    for broker, rack in enumerate("aab", start=1):
        metadata.start(broker, rack=rack)
    metadata.create("web", partitions=6, replication_factor=2)
    assert replicas_by_broker(metadata)[3] == 6

    # Broker 3 has twice as many as the others, and nobody else is in its rack.
    assert moves(metadata, plan(metadata)) == 0


def test_partition_that_is_being_reassigned_is_counted_as_it_will_be_and_left_alone() -> None:
    metadata = cluster(3, 1, 1)
    metadata.move("web", 1)
    metadata.reassign("web", 2)

    assert plan(metadata) == ()


@pytest.mark.parametrize("seed", range(20))
def test_plan_for_any_cluster_is_legal_final_and_no_worse(seed: int) -> None:
    chance = random.Random(seed)
    metadata = Metadata()
    brokers = range(1, chance.randrange(4, 8))
    for broker in brokers:
        metadata.start(broker, rack=chance.choice(["", "a", "b", "c"]))
    metadata.create("web", partitions=12, replication_factor=3)
    for number in range(12):
        metadata.move("web", *chance.sample(brokers, chance.choice([1, 2, 3])), number=number)
    for broker in brokers:
        if chance.random() < 0.2:
            metadata.drain(broker)
    before = racks_in_use(metadata)

    carry_out(metadata)

    assert all(after >= was for after, was in zip(racks_in_use(metadata), before, strict=True))
    assert plan(metadata) == ()


def racks_in_use(metadata: Metadata) -> list[int]:
    draining = {b.broker_id for b in metadata.machine.image.brokers.values() if b.draining}
    return [
        len({machine_of(metadata.broker(r))[0] for r in p.replicas if r not in draining})
        for p in partitions(metadata)
    ]
