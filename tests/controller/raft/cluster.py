"""A cluster of hardened engines in one thread: virtual time, simulated disks, links to cut.

Whatever a test does, three things are checked at once: no two leaders in one term, no index
at which two nodes applied different entries, and no index applied twice by one state.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from ottla.controller.raft.consensus import Outcome, Role, RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.raft.messages import Message
from ottla.controller.raft.settings import RaftSettings
from ottla.controller.raft.snapshots import run_at_once
from ottla.model.ids import BrokerId, MetadataOffset
from ottla.simulation.disk import SimulatedDisk
from tests.controller.raft.network import Network, VirtualClock

DIRECTORY = Path("/metadata")

SMALL_BATCHES = RaftSettings(
    append_bytes_max=150,
    in_flight_bytes_max=600,
    snapshot_chunk_bytes=300,
    log_entries_max=1_000,
    trailing_entries_max=3,
    trailing_bytes_max=400,
)
"""Small enough that appends pipeline, snapshots travel in parts, and logs are cut short."""


class BrokenPromiseError(AssertionError):
    """A promise was broken."""


@dataclass
class Book:
    """What all nodes together did."""

    leaders: dict[int, int] = field(default_factory=dict)
    """By term."""
    applied: dict[int, str] = field(default_factory=dict)
    """By index."""

    def leads(self, node: int, term: int) -> None:
        if self.leaders.setdefault(term, node) != node:
            raise BrokenPromiseError(f"{node} and {self.leaders[term]} both lead term {term}")

    def applies(self, node: int, index: int, entry: str) -> None:
        if self.applied.setdefault(index, entry) != entry:
            raise BrokenPromiseError(
                f"{node} applies {entry} at {index}, others {self.applied[index]}"
            )


class Machine:
    """A state machine that remembers everything it applied."""

    def __init__(self, applies: Callable[[int, str], None] = lambda _index, _entry: None) -> None:
        self.entries: list[tuple[int, str]] = []
        self._applies = applies

    def apply(self, index: MetadataOffset, entry: bytes) -> bytes:
        if self.entries and index <= self.entries[-1][0]:
            raise BrokenPromiseError(f"{index} applied after {self.entries[-1][0]}")
        self._applies(index, entry.decode())
        self.entries.append((index, entry.decode()))
        return b"%d" % index

    def snapshot(self) -> bytes:
        return json.dumps(self.entries).encode()

    def restore(self, index: MetadataOffset, snapshot: bytes) -> None:
        self.entries = [(at, entry) for at, entry in json.loads(snapshot)]
        assert not self.entries or self.entries[-1][0] <= index

    def texts(self) -> list[str]:
        return [entry for _, entry in self.entries]


@dataclass
class Answer:
    """What became of one proposal."""

    outcomes: list[Outcome] = field(default_factory=list)
    value: bytes = b""

    def __call__(self, outcome: Outcome, value: bytes) -> None:
        assert not self.outcomes, "answered twice"
        self.outcomes.append(outcome)
        self.value = value

    @property
    def outcome(self) -> Outcome | None:
        return self.outcomes[0] if self.outcomes else None


class _Wire:
    """The transport of one node."""

    def __init__(
        self, network: Network[Message], node: int, spies: list[Callable[..., None]]
    ) -> None:
        self._network = network
        self._node = node
        self._spies = spies

    def send(self, peer: BrokerId, message: Message) -> None:
        for spy in self._spies:
            spy(self._node, peer, message)
        self._network.send(self._node, peer, message)


class Cluster:
    """Some voters, some observers."""

    def __init__(
        self,
        voters: int,
        *,
        observers: int = 0,
        seed: int = 0,
        settings: RaftSettings = SMALL_BATCHES,
        started: bool = True,
        snapshots_wait: bool = False,
    ) -> None:
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.settings = settings
        self.voters = list(range(1, voters + 1))
        self.ids = list(range(1, voters + observers + 1))
        self.disks = {node: SimulatedDisk(seed=seed * 100 + node) for node in self.ids}
        self.network: Network[Message] = Network(self._arrived)
        self.engines: dict[int, RaftEngine] = {}
        self.machines: dict[int, Machine] = {}
        self.book = Book()
        self.snapshots_wait = snapshots_wait
        self.jobs: dict[int, list[Callable[[], None]]] = {node: [] for node in self.ids}
        """What waits to be run in the background, if ``snapshots_wait``."""
        self.spies: list[Callable[..., None]] = []
        """Called as spy(sender, receiver, message) before a message leaves."""
        if started:
            for node in self.ids:
                self.start(node)
            for a in self.ids:
                self.connect(a, *(b for b in self.ids if b > a))

    # --- Nodes ---

    def start(self, node: int) -> RaftEngine:
        machine = Machine(lambda index, entry: self.book.applies(node, index, entry))

        def role_changed(change: RoleChanged) -> None:
            if change.role is Role.LEADER:
                self.book.leads(node, change.term)

        engine = RaftEngine(
            node_id=BrokerId(node),
            voters=frozenset(map(BrokerId, self.voters)),
            directory=DIRECTORY,
            machine=machine,
            file_system=self.disks[node],
            clock=self.clock,
            draw=self.random.random,
            transport=_Wire(self.network, node, self.spies),
            run_in_background=self.jobs[node].append if self.snapshots_wait else run_at_once,
            role_changed=role_changed,
            settings=self.settings,
        )
        self.engines[node], self.machines[node] = engine, machine
        return engine

    def crash(self, node: int) -> None:
        """Cut the power of one node: what it had not synced may be gone."""
        self.engines.pop(node)
        for peer in self.network.linked_to(node):
            link = self.network.cut(node, peer)
            self.engines[peer].disconnected(BrokerId(node), link)
        self.jobs[node].clear()
        self.disks[node].crash()

    def run_jobs(self, node: int) -> None:
        """Let the background of a node finish its work."""
        while self.jobs[node]:
            self.jobs[node].pop()()

    def restart(self, node: int) -> RaftEngine:
        if node in self.engines:
            self.crash(node)
        engine = self.start(node)
        self.connect(node, *(peer for peer in self.engines if peer != node))
        return engine

    # --- Links ---

    def connect(self, node: int, *peers: int) -> None:
        for peer in peers:
            if self._may_link(node, peer):
                link = self.network.connect(node, peer)
                self.engines[node].connected(BrokerId(peer), link)
                self.engines[peer].connected(BrokerId(node), link)

    def disconnect(self, node: int, *peers: int) -> None:
        for peer in peers:
            if self.network.link(node, peer) is not None:
                link = self.network.cut(node, peer)
                self.engines[node].disconnected(BrokerId(peer), link)
                self.engines[peer].disconnected(BrokerId(node), link)

    def isolate(self, node: int) -> None:
        self.disconnect(node, *self.network.linked_to(node))

    def heal(self, node: int) -> None:
        self.connect(node, *(peer for peer in self.engines if peer != node))

    def _may_link(self, a: int, b: int) -> bool:
        both_up = a in self.engines and b in self.engines
        useful = a in self.voters or b in self.voters
        return both_up and useful and self.network.link(a, b) is None

    def _arrived(self, source: int, target: int, link: int, message: Message) -> None:
        if target in self.engines:
            self.engines[target].receive(BrokerId(source), link, message)

    # --- Time ---

    def tick(self, *nodes: int) -> None:
        for node in nodes or tuple(self.engines):
            self.engines[node].tick()

    def deliver_all(self, *, without: Iterable[tuple[int, int]] = ()) -> None:
        """Deliver and tick until nobody has anything to say."""
        skipped = set(without)
        while busy := [link for link in self.network.busy_directions() if link not in skipped]:
            for source, target in busy:
                self.network.deliver(source, target)
                if target in self.engines:
                    self.engines[target].tick()

    def run(self, milliseconds: int, *, step_ms: int = 50) -> None:
        """Let time pass with every message delivered at once."""
        for _ in range(0, milliseconds, step_ms):
            self.clock.advance(step_ms)
            self.tick()
            self.deliver_all()

    def run_until(self, condition: Callable[[], bool], *, timeout_ms: int = 30_000) -> None:
        for _ in range(0, timeout_ms, 50):
            if condition():
                return
            self.run(50)
        assert condition(), self

    # --- What tests ask ---

    @property
    def leader(self) -> int:
        """The leader of the latest term; elects one if there is none."""
        self.run_until(lambda: bool(self.leaders()))
        return self.leaders()[-1]

    def leaders(self) -> list[int]:
        found = [node for node, engine in self.engines.items() if engine.role is Role.LEADER]
        return sorted(found, key=lambda node: self.engines[node].term)

    def elect(self, node: int) -> RaftEngine:
        """Make one node the leader, by letting only it campaign."""
        engine = self.engines[node]
        if engine.role is not Role.LEADER:
            # Long enough that nobody feels bound to a leader any more.
            self.clock.advance(self.settings.election_timeout_min_ms)
            for other, other_engine in self.engines.items():
                if other != node and other in self.voters:
                    other_engine._node.restart_election_timer()
            engine._node.expire_election_timer()
            engine.tick()
            self.deliver_all()
        assert engine.role is Role.LEADER, self
        self.run(200)
        return engine

    def propose(self, node: int, text: str) -> Answer:
        answer = Answer()
        self.engines[node].propose(text.encode(), answer)
        return answer

    def commit(self, node: int, *texts: str) -> None:
        """Propose on the leader and run until all of it is applied there."""
        answers = [self.propose(node, text) for text in texts]
        self.tick(node)
        self.deliver_all()
        assert all(answer.outcome is Outcome.APPLIED for answer in answers), self

    def converged(self) -> bool:
        states = [
            machine.entries for node, machine in self.machines.items() if node in self.engines
        ]
        return all(state == states[0] for state in states)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.engines.values()))
