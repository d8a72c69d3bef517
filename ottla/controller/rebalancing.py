"""Which replicas to move so that every broker has its share. A plan, and pure.

A plan is a list of reassignments that somebody looks at before they begin. Moving a replica
copies all of its records, so the plan moves as few as it finds, for one of these reasons, in this
order:

1. *Draining*: a broker that drains has to lose everything.
2. *Racks*: the replicas of a partition are in fewer racks, or on fewer machines, than they could
   be (:mod:`ottla.controller.placement` says what a rack is).
3. *Replicas*: a broker has at least two more than another one that could take one of them. No
   such move puts replicas nearer together than they are.
4. *Leaders*: a broker is the preferred leader of at least two more partitions than another one.
   That is put right by the order of the replicas alone, which costs nothing.

Only brokers that serve and do not drain are given anything. What is on a fenced broker stays: it
will likely be back, and if not, it is drained first. A partition that is being reassigned is
counted as it will be, and left alone.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ottla.controller.placement import Machine, machine_of
from ottla.controller.requests import Reassignment
from ottla.model.ids import BrokerId, TopicPartition
from ottla.model.image import ClusterImage


def plan_rebalancing(image: ClusterImage) -> tuple[Reassignment, ...]:
    """Return what to reassign, by topic and number; nothing if all is well, or cannot be better.

    Takes some 100 ms for 1,000 partitions of which most have to move.
    """
    plan = _Plan(image)
    plan.empty_draining_brokers()
    plan.spread_over_racks()
    plan.even_out_replicas()
    plan.even_out_leaders()
    return plan.reassignments()


@dataclass(slots=True)
class _Partition:
    name: TopicPartition
    before: tuple[BrokerId, ...]
    replicas: list[BrokerId]
    fixed: bool
    """It is being reassigned."""


class _Plan:
    def __init__(self, image: ClusterImage) -> None:
        self._machines: Mapping[BrokerId, Machine] = {
            broker.broker_id: machine_of(broker) for broker in image.brokers.values()
        }
        self._draining = {b.broker_id for b in image.brokers.values() if b.draining}
        self._receivers = sorted(
            broker.broker_id
            for broker in image.brokers.values()
            if not (broker.draining or broker.fenced or broker.shutting_down)
        )
        self._partitions: list[_Partition] = []
        self._on: dict[BrokerId, dict[TopicPartition, _Partition]] = {
            broker_id: {} for broker_id in image.brokers
        }
        for topic in sorted(image.topics):
            for number, partition in enumerate(image.topics[topic].partitions):
                name = TopicPartition(topic, number)
                target = [r for r in partition.replicas if r not in partition.removing_replicas]
                under_way = bool(partition.adding_replicas or partition.removing_replicas)
                planned = _Partition(name, partition.replicas, target, fixed=under_way)
                self._partitions.append(planned)
                for replica in target:
                    self._on[replica][name] = planned

    def reassignments(self) -> tuple[Reassignment, ...]:
        return tuple(
            Reassignment(topic_partition=partition.name, replicas=tuple(partition.replicas))
            for partition in self._partitions
            if not partition.fixed and tuple(partition.replicas) != partition.before
        )

    # --- The four reasons ---

    def empty_draining_brokers(self) -> None:
        for partition in self._partitions:
            for replica in partition.before:
                if replica in self._draining and replica in partition.replicas:
                    self._move_to_best(partition, replica)

    def spread_over_racks(self) -> None:
        for partition in self._partitions:
            for replica in tuple(partition.replicas):
                before = self._crowding(partition.replicas)
                if before == (0, 0):
                    break
                best = self._best_receiver(partition, replica)
                if best is not None and self._crowding_with(partition, replica, best) < before:
                    self._move(partition, replica, best)

    def even_out_replicas(self) -> None:
        while any(self._move_one(donor) for donor in self._by_load(reverse=True)):
            pass

    def even_out_leaders(self) -> None:
        led: dict[BrokerId, list[_Partition]] = {broker: [] for broker in self._receivers}
        for partition in self._partitions:
            if not partition.fixed and partition.replicas[0] in led:
                led[partition.replicas[0]].append(partition)
        while any(_hand_over(led, donor) for donor in sorted(led, key=lambda b: (-len(led[b]), b))):
            pass

    # --- Moves ---

    def _by_load(self, *, reverse: bool) -> list[BrokerId]:
        sign = -1 if reverse else 1
        return sorted(self._receivers, key=lambda b: (sign * len(self._on[b]), b))

    def _move_one(self, donor: BrokerId) -> bool:
        """Move one replica from ``donor`` to the emptiest broker that can take one of its."""
        for receiver in self._by_load(reverse=False):
            if len(self._on[donor]) - len(self._on[receiver]) < _WORTH_A_MOVE:
                return False
            # Rather a follower: moving a leader also moves its clients.
            for leads in (False, True):
                for partition in self._on[donor].values():
                    if (partition.replicas[0] == donor) is leads and self._fits(
                        partition, donor, receiver
                    ):
                        self._move(partition, donor, receiver)
                        return True
        return False

    def _fits(self, partition: _Partition, replica: BrokerId, receiver: BrokerId) -> bool:
        if partition.fixed or receiver in partition.replicas:
            return False
        crowding = self._crowding_with(partition, replica, receiver)
        return crowding <= self._crowding(partition.replicas)

    def _move_to_best(self, partition: _Partition, replica: BrokerId) -> None:
        best = self._best_receiver(partition, replica)
        if best is not None:
            self._move(partition, replica, best)

    def _best_receiver(self, partition: _Partition, replica: BrokerId) -> BrokerId | None:
        """Return the broker that spreads the partition best and, of those, the emptiest."""
        if partition.fixed:
            return None
        return min(
            (broker for broker in self._receivers if broker not in partition.replicas),
            key=lambda b: (self._crowding_with(partition, replica, b), len(self._on[b]), b),
            default=None,
        )

    def _move(self, partition: _Partition, replica: BrokerId, receiver: BrokerId) -> None:
        partition.replicas[partition.replicas.index(replica)] = receiver
        del self._on[replica][partition.name]
        self._on[receiver][partition.name] = partition

    # --- Racks ---

    def _crowding_with(
        self, partition: _Partition, replica: BrokerId, receiver: BrokerId
    ) -> tuple[int, int]:
        return self._crowding(receiver if r == replica else r for r in partition.replicas)

    def _crowding(self, replicas: Iterable[BrokerId]) -> tuple[int, int]:
        """Return how many pairs of replicas share a rack, and how many a machine."""
        machines = Counter(self._machines[replica] for replica in replicas)
        racks: Counter[str] = Counter()
        for (rack, _), count in machines.items():
            racks[rack] += count
        return _pairs(racks.values()), _pairs(machines.values())


_WORTH_A_MOVE = 2
"""With a difference of one, the move would only exchange who has more."""


def _pairs(counts: Iterable[int]) -> int:
    return sum(count * (count - 1) // 2 for count in counts)


def _hand_over(led: dict[BrokerId, list[_Partition]], donor: BrokerId) -> bool:
    """Have somebody with two leaders less lead one more, and ``donor`` one less.

    The partitions of ``donor`` may have no replica there; then it leads one of a broker in
    between, and that one leads one of ``donor``'s: the shortest way is taken.
    """
    came_by: dict[BrokerId, _Partition] = {}
    waiting = deque([donor])
    while waiting:
        leader = waiting.popleft()
        if len(led[donor]) - len(led[leader]) >= _WORTH_A_MOVE:
            while leader != donor:
                partition = came_by[leader]
                former = partition.replicas[0]
                place = partition.replicas.index(leader)
                partition.replicas[0], partition.replicas[place] = leader, former
                led[former].remove(partition)
                led[leader].append(partition)
                leader = former
            return True
        for partition in led[leader]:
            for replica in partition.replicas[1:]:
                if replica in led and replica != donor and replica not in came_by:
                    came_by[replica] = partition
                    waiting.append(replica)
    return False
