"""Moves of partitions between brokers: what a plan means, and how it is carried out in steps.

A move copies all records of a partition to each broker that it brings, so moves are begun a few at
a time: at most so many that any one broker sends (it leads the partition) or receives. What costs
nothing, another order of the same replicas, is done at once.

    waiting ──begin──► under way ──replicas as planned──► done
       │ gone                │ gone, or somebody else's change
       └────────► dropped ◄──┘

The cluster itself finishes what was begun. Whoever carries out a plan may go away at any time;
what had not begun by then does not move, and what had begun is found, and waited for, by whoever
plans next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ottla.client.admin_values import PartitionDescription, PlannedMove, TopicDescription
from ottla.model.ids import TopicPartition

Picture = Mapping[TopicPartition, PartitionDescription]
"""The partitions of some topics, or of all."""


@dataclass(frozen=True, slots=True)
class BrokerLoad:
    """What a broker has before a plan is carried out, and after."""

    broker_id: int
    replicas_before: int
    replicas: int
    leaders_before: int
    leaders: int


def picture_of(topics: Iterable[TopicDescription]) -> dict[TopicPartition, PartitionDescription]:
    """Return the partitions of topics by their names."""
    return {
        TopicPartition(topic.name, partition.partition): partition
        for topic in topics
        for partition in topic.partitions
    }


def brings(move: PlannedMove) -> tuple[int, ...]:
    """Return the brokers that get a replica."""
    return tuple(b for b in move.replicas if b not in move.replicas_before)


def takes(move: PlannedMove) -> tuple[int, ...]:
    """Return the brokers that lose theirs."""
    return tuple(b for b in move.replicas_before if b not in move.replicas)


def only_of(moves: Iterable[PlannedMove], brokers: Iterable[int]) -> list[PlannedMove]:
    """Return the moves that bring a replica to one of ``brokers``, or take one from it."""
    wanted = set(brokers)
    return [move for move in moves if wanted.intersection((*brings(move), *takes(move)))]


def under_way(picture: Picture) -> list[PlannedMove]:
    """Return the moves that the cluster is carrying out, by topic and number."""
    return [
        PlannedMove(
            topic_partition=name,
            replicas_before=tuple(r for r in part.replicas if r not in part.adding_replicas),
            replicas=_target(part),
        )
        for name, part in sorted(picture.items())
        if part.adding_replicas or part.removing_replicas
    ]


def loads(
    brokers: Iterable[int], picture: Picture, moves: Iterable[PlannedMove]
) -> list[BrokerLoad]:
    """Return what each of ``brokers`` has before ``moves`` and after them, by id.

    Afterwards the first replica leads each partition that was moved; others are led as they are.
    """
    targets = {move.topic_partition: move.replicas for move in moves}
    before: Counter[int] = Counter()
    after: Counter[int] = Counter()
    led_before: Counter[int] = Counter()
    led: Counter[int] = Counter()
    for name, part in picture.items():
        target = targets.get(name)
        before.update(part.replicas)
        after.update(_target(part) if target is None else target)
        led_before[part.leader] += 1
        led[part.leader if target is None else target[0]] += 1
    return [
        BrokerLoad(each, before[each], after[each], led_before[each], led[each])
        for each in sorted(set(brokers))
    ]


class Moving:
    """Carries out moves, as far as deciding goes: hears how it stands, says what to begin."""

    def __init__(
        self, moves: Iterable[PlannedMove], *, begun: Iterable[PlannedMove] = (), at_once: int
    ) -> None:
        """Carry out ``moves``, at most ``at_once`` that concern any one broker.

        Those that somebody has ``begun`` are waited for, too.
        """
        self.done: list[PlannedMove] = []
        self.dropped: list[PlannedMove] = []
        """Those that somebody else undid, or whose topic is gone."""
        self._at_once = at_once
        self._waiting = list(moves)
        self._begun = {move.topic_partition: move for move in begun}
        self._seen = set(self._begun)
        """Those begun that the picture has shown to be under way."""

    @property
    def begun(self) -> Sequence[PlannedMove]:
        """Those under way."""
        return list(self._begun.values())

    @property
    def waiting(self) -> Sequence[PlannedMove]:
        """Those that did not begin."""
        return self._waiting

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do or to wait for."""
        return not self._begun and not self._waiting

    def step(self, picture: Picture) -> list[PlannedMove]:
        """Take note of how it stands; return what to begin now.

        The picture may be older than what was begun last.
        """
        for name, move in list(self._begun.items()):
            self._look_at(name, move, picture.get(name))
        busy: Counter[int] = Counter()
        for move in self._begun.values():
            busy.update(_concerned(move, picture))
        beginning: list[PlannedMove] = []
        left: list[PlannedMove] = []
        for move in self._waiting:
            if move.topic_partition not in picture:
                self.dropped.append(move)
                continue
            concerned = _concerned(move, picture)
            if all(busy[broker] < self._at_once for broker in concerned):
                busy.update(concerned)
                beginning.append(move)
            else:
                left.append(move)
        self._waiting = left
        for move in beginning:
            self._begun[move.topic_partition] = move
        return beginning

    def refused(self, topic_partition: TopicPartition) -> None:
        """Hear that a move could not begin."""
        self.dropped.append(self._begun.pop(topic_partition))

    def _look_at(
        self, name: TopicPartition, move: PlannedMove, part: PartitionDescription | None
    ) -> None:
        if part is None:
            self.dropped.append(self._begun.pop(name))
        elif part.adding_replicas or part.removing_replicas:
            self._seen.add(name)
        elif part.replicas == move.replicas:
            self.done.append(self._begun.pop(name))
        elif name in self._seen:
            self.dropped.append(self._begun.pop(name))


def _target(part: PartitionDescription) -> tuple[int, ...]:
    return tuple(r for r in part.replicas if r not in part.removing_replicas)


def _concerned(move: PlannedMove, picture: Picture) -> set[int]:
    """Return the brokers that a move keeps busy: those that receive, and the one that sends."""
    received = set(brings(move))
    part = picture.get(move.topic_partition)
    if received and part is not None:
        received.add(part.leader)
    return received
