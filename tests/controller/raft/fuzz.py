"""A random life for a cluster: load, slow and broken links, crashes, snapshots; then a healing.

The same schedule drives the hardened engine and stock pysyncobj. After the faults every node
is started and linked, and within thirty seconds of virtual time all must have one state, which
contains every acknowledged entry, none of them twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from random import Random
from typing import Any, Protocol

from ottla.controller.raft.consensus import Outcome, Role
from ottla.model.ids import BrokerId
from ottla.simulation.disk import SimulatedCrash
from tests.controller.raft.cluster import SMALL_BATCHES, Book, BrokenPromiseError, Cluster
from tests.controller.raft.network import Network, VirtualClock

HEALING_MS = 30_000


class Subject(Protocol):
    """A cluster that can be made to suffer."""

    ids: list[int]
    clock: VirtualClock
    network: Network[Any]
    book: Book
    acknowledged: list[str]

    @property
    def up(self) -> Sequence[int]: ...
    def start(self, node: int) -> object: ...
    def crash(self, node: int) -> None: ...
    def connect(self, a: int, b: int) -> None: ...
    def disconnect(self, a: int, b: int) -> None: ...
    def tick(self, node: int) -> None: ...
    def leads(self, node: int) -> bool: ...
    def propose(self, node: int, text: str) -> None: ...
    def compact(self, node: int) -> None: ...
    def state(self, node: int) -> list[tuple[int, str]]: ...


class HardenedSubject:
    """The engine that we ship, on disks that lose what was not synced."""

    def __init__(self, voters: int, *, seed: int) -> None:
        self.random = Random(seed)
        settings = replace(SMALL_BATCHES, log_entries_max=self.random.choice((20, 1_000)))
        self.cluster = Cluster(voters, seed=seed, settings=settings, snapshots_wait=True)
        self.ids = self.cluster.ids
        self.clock = self.cluster.clock
        self.network = self.cluster.network
        self.book = self.cluster.book
        self.acknowledged: list[str] = []

    @property
    def up(self) -> Sequence[int]:
        return list(self.cluster.engines)

    def start(self, node: int) -> object:
        return self.cluster.start(node)

    def crash(self, node: int) -> None:
        """Crash between two ticks, or in the middle of what the next one does to the disk."""
        if self.random.random() < 0.5:
            disk = self.cluster.disks[node]
            disk.crash_at_operation = disk.operations + self.random.randint(1, 4)
            with suppress(SimulatedCrash):
                self.cluster.engines[node].begin_snapshot()
                self.cluster.run_jobs(node)
                self.cluster.tick(node)
        self.cluster.crash(node)

    def connect(self, a: int, b: int) -> None:
        self.cluster.connect(a, b)

    def disconnect(self, a: int, b: int) -> None:
        self.cluster.disconnect(a, b)

    def tick(self, node: int) -> None:
        if node in self.cluster.engines:
            if self.random.random() < 0.1:
                self.cluster.run_jobs(node)
            self.cluster.engines[node].tick()

    def leads(self, node: int) -> bool:
        return self.cluster.engines[node].role is Role.LEADER

    def propose(self, node: int, text: str) -> None:
        def answered(outcome: Outcome, _value: bytes) -> None:
            if outcome is Outcome.APPLIED:
                self.acknowledged.append(text)

        self.cluster.engines[BrokerId(node)].propose(text.encode(), answered)

    def compact(self, node: int) -> None:
        self.cluster.engines[node].begin_snapshot()

    def state(self, node: int) -> list[tuple[int, str]]:
        return self.cluster.machines[node].entries


class Life:
    """One seed."""

    def __init__(self, subject: Subject, *, seed: int) -> None:
        self.subject = subject
        self.random = Random(seed)
        self.calm = self.random.choice((0.0, 0.5, 0.8))
        """How likely a fault is left out; logs grow longer in calm lives."""
        self.cut: set[tuple[int, int]] = set()
        self.proposed = 0
        self.happened: Counter[str] = Counter()

    def run(self, steps: int) -> None:
        """Raise :exc:`BrokenPromiseError` if anything is lost, differs or does not recover."""
        for _ in range(steps):
            self._step()
        self._heal()
        self._check()

    def _step(self) -> None:
        chance = self.random.random()
        if chance < 0.50:
            self._deliver()
        elif chance < 0.80:
            self.subject.clock.advance(self.random.choice((0, 10, 50, 120)))
            self.subject.tick(self.random.choice(self.subject.ids))
        elif chance < 0.93 or self.random.random() < self.calm:
            for _ in range(self.random.choice((1, 1, 4))):
                self._propose()
        elif chance < 0.955:
            self._cut_or_join()
        elif chance < 0.975:
            self._crash_or_start()
        elif chance < 0.985:
            self.subject.compact(self.random.choice(self.subject.up))
            self.happened["snapshot"] += 1
        else:
            self.subject.clock.advance(self.random.choice((500, 1500)))

    def _deliver(self) -> None:
        busy = self.subject.network.busy_directions()
        if busy:
            source, target = self.random.choice(busy)
            self.subject.network.deliver(source, target, self.random.choice((1, 1, 2, 5)))
            if self.random.random() < 0.8:
                self.subject.tick(target)

    def _propose(self) -> None:
        leaders = [node for node in self.subject.up if self.subject.leads(node)]
        if leaders:
            self.proposed += 1
            padding = "z" * self.random.choice((5, 40, 90))
            self.subject.propose(self.random.choice(leaders), f"{self.proposed}{padding}")

    def _cut_or_join(self) -> None:
        a, b = sorted(self.random.sample(self.subject.ids, 2))
        if (a, b) in self.cut:
            self.cut.discard((a, b))
            self.subject.connect(a, b)
        elif len(self.cut) < len(self.subject.ids) - 1:
            self.cut.add((a, b))
            for direction in ((a, b), (b, a)):
                self.subject.network.deliver(*direction, self.random.randint(0, 3))
            self.subject.disconnect(a, b)
            self.happened["cut"] += 1
            if self.random.random() < 0.3:
                # To a voter this is the end of its leader, who lives on for the others.
                self.cut.discard((a, b))
                self.subject.connect(a, b)
                self.happened["blink"] += 1

    def _crash_or_start(self) -> None:
        up = list(self.subject.up)
        down = [node for node in self.subject.ids if node not in up]
        if down and self.random.random() < 0.7:
            self._start(self.random.choice(down))
        elif len(up) > len(self.subject.ids) // 2:
            self.subject.crash(self.random.choice(up))
            self.happened["crash"] += 1

    def _start(self, node: int) -> None:
        self.subject.start(node)
        for peer in self.subject.ids:
            pair = (min(node, peer), max(node, peer))
            if peer != node and pair not in self.cut:
                self.subject.connect(*pair)

    def _heal(self) -> None:
        for node in self.subject.ids:
            if node not in self.subject.up:
                self._start(node)
        self.cut.clear()
        unruly, self.subject.network.unruly = self.subject.network.unruly, None
        for a, b in combinations(self.subject.ids, 2):
            if unruly:
                self.subject.disconnect(a, b)
            self.subject.connect(a, b)
        for _ in range(0, HEALING_MS, 60):
            self.subject.clock.advance(60)
            self._deliver_everything()
            if self._recovered():
                return

    def _deliver_everything(self) -> None:
        for node in self.subject.ids:
            self.subject.tick(node)
        for _ in range(50):
            busy = self.subject.network.busy_directions()
            if not busy:
                break
            for source, target in busy:
                self.subject.network.deliver(source, target)
            for _, target in busy:
                self.subject.tick(target)

    def _agreed(self) -> bool:
        states = [self.subject.state(node) for node in self.subject.ids]
        return all(state == states[0] for state in states)

    def _recovered(self) -> bool:
        if not self._agreed() or not any(map(self.subject.leads, self.subject.ids)):
            return False
        return {text for _, text in self.subject.state(1)}.issuperset(self.subject.acknowledged)

    def _check(self) -> None:
        if not self._agreed():
            lengths = {node: len(self.subject.state(node)) for node in self.subject.ids}
            raise BrokenPromiseError(f"no convergence: {lengths}")
        texts = [text for _, text in self.subject.state(self.subject.ids[0])]
        if len(texts) != len(set(texts)):
            raise BrokenPromiseError("an entry was applied twice")
        lost = [text for text in self.subject.acknowledged if text not in set(texts)]
        if lost:
            raise BrokenPromiseError(f"{len(lost)} acknowledged entries are lost: {lost[:3]}")
