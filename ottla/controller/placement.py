"""Which brokers replicate a new partition. Pure, and the same for the same arguments.

Goals, the first outranking the second and so on:

1. No broker twice in a partition, none that is draining, and the first replica, which will lead,
   serves. (Here a broker that is stopping in good order does not serve any more.)
2. The replicas of a partition are in as many racks as possible and, within a rack, on as many
   machines as possible: what fails together should not hold them all. A broker that names no
   rack is in the rack that is its host, so that without any configuration a machine is a rack.
3. Every serving broker leads as many partitions as every other (give or take one).
4. Replicas are on brokers that serve, and different partitions have different neighbours, so
   that the load of a failed broker falls on many.

How: brokers stand in a *ring* in which neighbours differ in rack and machine where possible.

    racks  a: 1 4 7    b: 2 5 8    c: 3 6 9          ring  1 2 3 4 5 6 7 8 9

    partition 0:  1  2 3         leaders go round the ring, one step a partition;
    partition 1:  2  3 4         the followers come next on the ring, passing over
    partition 2:  3  4 5         those whose rack or machine the partition has
    ...
    partition 9:  1  3 5         a second time round, followers start one step further

``rotation`` is where on the ring the first partition starts. A caller gives something that
differs from topic to topic, or every topic of one partition would be led by the same broker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from ottla.model.errors import InvalidReplicationFactorError
from ottla.model.ids import BrokerId
from ottla.model.image import BrokerImage

Machine = tuple[str, str]
"""Rack and host; two racks may well use the same host names."""


def place(
    brokers: Iterable[BrokerImage],
    *,
    partitions: range,
    replication_factor: int,
    rotation: int,
) -> list[tuple[BrokerId, ...]]:
    """Return the replicas of each partition in ``partitions``, in order of preference.

    Partitions that are added later continue the pattern if they are numbered on and get the
    same ``rotation``.

    Raises:
        InvalidReplicationFactorError: below one, above the number of brokers that do not drain,
            or none of those serves.
    """
    registered = list(brokers)
    ring = _Ring(broker for broker in registered if not broker.draining)
    draining = len(registered) - len(ring.brokers)
    if replication_factor < 1:
        raise InvalidReplicationFactorError(
            f"a replication factor of {replication_factor} is impossible; it is at least 1"
        )
    if replication_factor > len(ring.brokers):
        raise InvalidReplicationFactorError(
            f"a replication factor of {replication_factor} needs as many brokers, and "
            f"{len(ring.brokers)} are registered"
            + (f", besides {draining} that are draining" if draining else "")
            + "; start more or ask for fewer replicas"
        )
    leaders = [position for position, broker in enumerate(ring.brokers) if _serves(broker)]
    if not leaders:
        raise InvalidReplicationFactorError(
            f"all {len(ring.brokers)} registered brokers are fenced or stopping, so none can lead; "
            "try again when one has started"
        )
    placed = []
    for number in partitions:
        rounds, turn = divmod(rotation + number, len(leaders))
        choice = _Choice(ring, first=leaders[turn], skip=rounds)
        placed.append(choice.replicas(replication_factor))
    return placed


class _Ring:
    """Brokers in an order in which neighbours differ in rack, and those of a rack in machine."""

    def __init__(self, brokers: Iterable[BrokerImage]) -> None:
        racks: dict[str, dict[str, list[BrokerImage]]] = {}
        for broker in sorted(brokers, key=lambda broker: (machine_of(broker), broker.broker_id)):
            rack, host = machine_of(broker)
            racks.setdefault(rack, {}).setdefault(host, []).append(broker)
        rows = [_interleaved(list(machines.values())) for machines in racks.values()]
        self.brokers = _interleaved(rows)
        self.machines = [machine_of(broker) for broker in self.brokers]
        self.racks = len(racks)
        self.machines_in_rack = {rack: len(machines) for rack, machines in racks.items()}


class _Choice:
    """The replicas of one partition while they are chosen, counted by rack and by machine.

    Brokers are positions on the ring.
    """

    def __init__(self, ring: _Ring, *, first: int, skip: int) -> None:
        """Begin with the leader; the walk starts ``skip`` places after its neighbour."""
        self._ring = ring
        self._in_rack: Counter[str] = Counter()
        self._on_machine: Counter[Machine] = Counter()
        self._chosen: list[int] = []
        size = len(ring.brokers)
        others = size - 1
        self._remaining = [(first + 1 + (skip + step) % others) % size for step in range(others)]
        self._take(first)

    def replicas(self, count: int) -> tuple[BrokerId, ...]:
        """Choose until there are ``count``; each the first on the walk that fits."""
        while len(self._chosen) < count:
            best = self._best()
            self._remaining.remove(best)
            self._take(best)
        return tuple(self._ring.brokers[position].broker_id for position in self._chosen)

    def _best(self) -> int:
        """Return the first broker that serves and keeps the spread even.

        Where no such broker is left, the one that disturbs it least.
        """
        for position in self._remaining:
            if _serves(self._ring.brokers[position]) and self._keeps_even(position):
                return position
        return min(self._remaining, key=self._disturbance)

    def _keeps_even(self, position: int) -> bool:
        """Whether the broker's rack, and its machine in it, has no more than the emptiest may.

        By the pigeonhole principle: of ``n`` replicas over ``r`` racks, the emptiest rack has at
        most ``n // r``.
        """
        machine = self._ring.machines[position]
        in_rack = self._in_rack[machine[0]]
        return (
            in_rack <= len(self._chosen) // self._ring.racks
            and self._on_machine[machine] <= in_rack // self._ring.machines_in_rack[machine[0]]
        )

    def _disturbance(self, position: int) -> tuple[int, int, bool]:
        machine = self._ring.machines[position]
        idle = not _serves(self._ring.brokers[position])
        return self._in_rack[machine[0]], self._on_machine[machine], idle

    def _take(self, position: int) -> None:
        machine = self._ring.machines[position]
        self._in_rack[machine[0]] += 1
        self._on_machine[machine] += 1
        self._chosen.append(position)


def _serves(broker: BrokerImage) -> bool:
    return not broker.fenced and not broker.shutting_down


def machine_of(broker: BrokerImage) -> Machine:
    """Return where the broker is; what names no rack is in the rack that its host is."""
    return broker.rack or broker.host, broker.host


def _interleaved(rows: Sequence[Sequence[BrokerImage]]) -> list[BrokerImage]:
    """Take one of each row in turn: ``[[a, b], [c]]`` gives ``[a, c, b]``."""
    return [broker for broker in chain(*zip_longest(*rows)) if broker is not None]
