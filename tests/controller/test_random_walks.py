"""Whatever is asked in whatever order, no partition loses its last holder but by a lost disk.

Requests are drawn at random and carried out entry by entry; some decisions are abandoned half way,
as by a controller that fails. After every entry the state is held against the rules.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable, Container
from itertools import pairwise

import pytest

from ottla.controller.decisions import Decision
from ottla.controller.records import MetadataAnswer
from ottla.controller.requests import (
    AlterBrokerConfigs,
    ConfigChange,
    ConfigChanges,
    ConfigOperation,
)
from ottla.controller.state_machine import MetadataStateMachine
from ottla.model.errors import OttlaError
from ottla.model.ids import NO_BROKER, BrokerId, MetadataOffset, TopicPartition
from ottla.model.image import ClusterImage, PartitionImage, TopicImage
from tests.controller.metadata import Metadata

BROKERS = range(1, 6)
STEPS = 150
FAILURES = 0.2


class WatchedMetadata(Metadata):
    """Has every entry checked, and may leave a decision after some of its steps."""

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        super().__init__()

    def append(self, entry: bytes) -> MetadataAnswer:
        before = self.machine.image
        answer = super().append(entry)
        self._walk.check(before, self.machine.image)
        return answer

    def carry_out(self, decision: Decision[object]) -> None:
        steps = decision.steps
        if self._walk.may_fail and self._walk.random.random() < FAILURES:
            steps = steps[: self._walk.random.randrange(len(steps) + 1)]
        # One entry a step: wherever a long decision might be cut.
        for number in range(len(steps)):
            one = dataclasses.replace(
                decision,
                base_version=decision.base_version + number,
                steps=steps[number : number + 1],
            )
            super().carry_out(one)


class Walk:
    """One cluster, and one request after another."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.unclean = self.disk_lost = self.memory_lost = self.configures = self.may_fail = False
        self.proposed: set[BrokerId] = set()
        self.complete: dict[TopicPartition, set[BrokerId]] = defaultdict(set)
        self.metadata = WatchedMetadata(self)
        for broker in BROKERS:
            self.metadata.start(broker, directory=broker)
        self.metadata.create("safe", partitions=4, replication_factor=3, configs=MIN_TWO)
        self.metadata.create("caching", partitions=3, replication_factor=3, configs=CACHING)
        self.metadata.create("default", partitions=3, replication_factor=3)
        self.metadata.create("single", partitions=2, replication_factor=1)
        self.incarnation = 1
        self.directory = 100

    def check(self, before: ClusterImage, image: ClusterImage) -> None:
        """Hold what one entry did against the rules."""
        for topic in image.topics.values():
            for number, partition in enumerate(topic.partitions):
                check_partition(image, topic, partition)
                name = TopicPartition(topic.name, number)
                earlier = before.partition(name)
                if earlier is not None and partition is not earlier:
                    self.check_partition_change(name, earlier, partition)
                self.commit(name, topic, partition)

    def check_partition_change(
        self, name: TopicPartition, before: PartitionImage, after: PartitionImage
    ) -> None:
        assert after.partition_epoch == before.partition_epoch + 1
        moved = after.leader != before.leader
        assert after.leader_epoch >= before.leader_epoch + moved
        complete = self.complete[name]
        complete |= self.proposed & {*after.in_sync_replicas}
        if self.unclean and after.leader not in (NO_BROKER, *holders(before)):
            complete.clear()
            complete.add(after.leader)
        # What elections are about: whoever leads, or may, has every committed record.
        assert holders(after) <= complete
        if self.disk_lost or self.unclean:
            return
        assert holders(after) or not holders(before)
        lost = self.memory_lost and name.topic == "caching"
        if set(after.replicas) == set(before.replicas) and not lost and not self.configures:
            # Nobody is let go while it is one of the few.
            needed = min_insync(self.metadata.machine.image, self.metadata.topic(name.topic), after)
            assert len(holders(after)) >= min(len(holders(before)), needed)

    def commit(self, name: TopicPartition, topic: TopicImage, partition: PartitionImage) -> None:
        """Let a leader that can commit do so: whoever is not in sync lacks something then."""
        in_sync = {*partition.in_sync_replicas}
        needed = min_insync(self.metadata.machine.image, topic, partition)
        if partition.leader != NO_BROKER and len(in_sync) >= needed:
            self.complete[name] = in_sync

    def lose(self, broker: int, topics: Container[str]) -> None:
        """Have a broker lose its records, as its partitions are about to hear."""
        for name, complete in self.complete.items():
            # The last holder comes back with what it has, if it has anything.
            last = holders(self.metadata.partition(*name)) == {broker}
            if name.topic in topics and (self.disk_lost or not last):
                complete.discard(BrokerId(broker))

    def step(self) -> None:
        act = self.random.choice(self.acts())
        self.unclean = self.disk_lost = self.memory_lost = self.configures = False
        self.proposed = set()
        with contextlib.suppress(OttlaError):  # refused, which changes nothing
            act()

    def acts(self) -> list[Callable[[], object]]:
        metadata, broker = self.metadata, self.random.choice(BROKERS)
        topic = self.random.choice(sorted(self.metadata.machine.image.topics))
        number = self.random.randrange(len(metadata.topic(topic).partitions))
        return [
            lambda: self.half(metadata.fence, broker),
            lambda: self.half(metadata.unfence, broker),
            lambda: metadata.unfence(broker),
            lambda: metadata.unfence(*BROKERS),
            lambda: self.half(metadata.begin_shutdown, broker),
            lambda: self.restart(broker),
            lambda: self.lose_disk(broker),
            lambda: self.propose(topic, number),
            lambda: self.propose(topic, number),
            lambda: self.propose(topic, number),
            lambda: metadata.reassign(topic, *self.target(), number=number),
            lambda: metadata.reassign(topic, number=number),
            lambda: metadata.elect_leader(topic, number=number),
            lambda: self.elect_unclean(topic, number),
            lambda: self.configure(topic),
            lambda: metadata.drain(broker, draining=self.random.random() < 0.2),
        ]

    def half(self, act: Callable[[int], object], broker: int) -> None:
        self.may_fail = True
        try:
            act(broker)
        finally:
            self.may_fail = False

    def target(self) -> list[int]:
        return self.random.sample(BROKERS, self.random.choice([1, 2, 3]))

    def restart(self, broker: int) -> None:
        self.incarnation += 1
        clean = self.random.random() < 0.5
        self.memory_lost = not clean
        if not clean:
            self.lose(broker, {"caching"})
        self.metadata.register(
            broker,
            incarnation=self.incarnation,
            directory=int.from_bytes(self.metadata.broker(broker).directory_id, "big"),
            clean_shutdown=clean,
        )

    def lose_disk(self, broker: int) -> None:
        self.incarnation += 1
        self.directory += 1
        self.disk_lost = True
        self.lose(broker, self.metadata.machine.image.topics)
        self.metadata.register(broker, incarnation=self.incarnation, directory=self.directory)

    def elect_unclean(self, topic: str, number: int) -> None:
        self.unclean = True
        self.metadata.elect_leader(topic, number=number, unclean=True)

    def propose(self, topic: str, number: int) -> None:
        partition = self.metadata.partition(topic, number)
        if partition.leader != NO_BROKER:
            others = [r for r in partition.replicas if self.random.random() < 0.7]
            isr = self.proposed = {partition.leader, *others}
            self.metadata.propose(topic, *sorted(isr), number=number)

    def configure(self, topic: str) -> None:
        self.configures = True
        value = self.random.choice("123")
        change = ConfigChange(key="min.insync.replicas", value=value)
        if self.random.random() < 0.3:
            change = ConfigChange(key="min.insync.replicas", operation=ConfigOperation.DELETE)
        if self.random.random() < 0.5:
            self.metadata.alter(topic, change)
        else:
            changes = ConfigChanges(name="", changes=(change,))
            self.metadata.ask(AlterBrokerConfigs(brokers=(changes,)))


MIN_TWO = {"min.insync.replicas": "2"}
CACHING = {**MIN_TWO, "write.caching": "true"}


def holders(partition: PartitionImage) -> set[BrokerId]:
    return {*partition.in_sync_replicas, *partition.eligible_leader_replicas}


def min_insync(image: ClusterImage, topic: TopicImage, partition: PartitionImage) -> int:
    default = image.broker_configs.get(None, {}).get("min.insync.replicas", "1")
    return partition.min_insync_needed(int(topic.configs.get("min.insync.replicas", default)))


def check_partition(image: ClusterImage, topic: TopicImage, partition: PartitionImage) -> None:
    in_sync, eligible = partition.in_sync_replicas, partition.eligible_leader_replicas
    assert partition.leader == NO_BROKER or partition.leader in in_sync
    assert not set(in_sync) & set(eligible)
    assert holders(partition) <= set(partition.replicas)
    assert len(set(partition.replicas)) == len(partition.replicas)
    # A leader commits as long as enough are in sync: whoever is not may lack something.
    if len(in_sync) >= min_insync(image, topic, partition):
        assert not eligible
    assert {*partition.adding_replicas} <= {*partition.replicas} - {*partition.removing_replicas}


@pytest.mark.parametrize("seed", range(12))
def test_partitions_keep_their_holders_whatever_is_asked(seed: int) -> None:
    walk = Walk(seed)

    for _ in range(STEPS):
        walk.step()


def test_unfenced_and_idle_cluster_has_a_leader_wherever_a_holder_is_left() -> None:
    for seed in range(4):
        walk = Walk(seed)
        for _ in range(STEPS):
            walk.step()

        walk.metadata.unfence(*BROKERS)

        stopping = {b for b in BROKERS if walk.metadata.broker(b).shutting_down}
        for topic in walk.metadata.machine.image.topics.values():
            for partition in topic.partitions:
                if holders(partition) - stopping:
                    assert partition.leader != NO_BROKER


def test_replayed_and_restored_walk_ends_in_the_same_state() -> None:
    walk = Walk(99)
    for _ in range(STEPS):
        walk.step()
    walked = walk.metadata.machine

    replayed, restored = MetadataStateMachine(), MetadataStateMachine()
    for index, entry in enumerate(walk.metadata.log, start=1):
        replayed.apply(MetadataOffset(index), entry)
    restored.restore(MetadataOffset(len(walk.metadata.log)), walked.snapshot())

    assert replayed.state == walked.state
    assert restored.state == walked.state
    assert replayed.snapshot() == restored.snapshot() == walked.snapshot()


def test_broker_epochs_rise() -> None:
    walk = Walk(7)
    epochs = []
    for _ in range(STEPS):
        walk.step()
        epochs.append(walk.metadata.epoch_of(1))

    assert all(earlier <= later for earlier, later in pairwise(epochs))
