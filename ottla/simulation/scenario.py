"""One seed, from the first broker's start to the last check.

1. The shape is drawn: three brokers that vote or five, two of which do not; one to three topics
   with their replicas; producers, consumers, how often something goes wrong.
2. The cluster forms, topics are created, clients begin.
3. The nemesis does its work for some ten to twenty virtual seconds.
4. Everything heals. Within a bounded time every partition must have a leader and all its replicas
   in sync, every producer its answer, every consumer everything: :data:`RECOVERY_MAX_MS`.
5. The logs are compared with each other and with what clients were told and saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ottla.controller.raft.fatal import NodeStoppedError
from ottla.controller.raft.settings import RaftSettings
from ottla.controller.requests import CreatedTopic, CreateTopics, NewTopic
from ottla.model.errors import OttlaError, TopicAlreadyExistsError
from ottla.model.ids import BrokerId, TopicPartition
from ottla.replication.leader import ACKS_ALL
from ottla.simulation.clients import (
    Load,
    ProducerIds,
    SimulatedConsumer,
    SimulatedProducer,
)
from ottla.simulation.controller_shell import Result
from ottla.simulation.conversation import Served
from ottla.simulation.history import History
from ottla.simulation.hosting import MIN_INSYNC_KEY, WRITE_CACHING_KEY
from ottla.simulation.invariants import Invariants
from ottla.simulation.nemesis import WEIGHTS, Nemesis
from ottla.simulation.network import Network
from ottla.simulation.node import BrokerMachine, ClusterSettings, Machinery
from ottla.simulation.recovery import check_everything, what_is_missing, who_does_not_serve
from ottla.simulation.world import Noted, Violation, World

FORMING_MAX_MS: Final = 10_000
RECOVERY_MAX_MS: Final = 20_000
LOOK_INTERVAL_MS: Final = 200

PLAIN: Final = Machinery()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How a scenario differs from the usual one."""

    machinery: Machinery = PLAIN
    weights: Mapping[str, int] = field(default_factory=lambda: WEIGHTS)
    interval_ms: tuple[int, int] = (300, 1_500)
    """Between two faults, on average; drawn for each seed."""
    duration_ms: tuple[int, int] = (8_000, 16_000)
    pause_max_ms: tuple[int, int] = (20, 400)
    """How long at most a producer waits before it sends more; drawn for each producer."""
    poll_max_ms: tuple[int, int] = (40, 300)
    """The same for consumers."""
    five_brokers: float = 1 / 4
    """How likely there are five brokers, two of which do not vote."""
    write_caching: float = 1 / 5
    """How likely topics commit what is in the page cache. Then no two machines lose it at once."""
    topics_max: int = 3
    replication_factors: Sequence[int] = (1, 2, 3, 3, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one seed."""

    seed: int
    violation: Violation | None
    virtual_ms: int
    events: int
    digest: int
    acknowledged: int
    counts: Counter[str]
    last_events: tuple[Noted, ...]


class Scenario:
    """One seed's cluster, clients and nemesis."""

    def __init__(self, seed: int, profile: Profile) -> None:
        """Draw the shape."""
        self.world = World(seed)
        self.network = Network(self.world)
        self.history = History()
        self.invariants = Invariants()
        self._profile = profile
        world = self.world
        count = 5 if world.chance(profile.five_brokers) else 3
        settings = ClusterSettings(
            voters=frozenset(map(BrokerId, range(3))),
            raft=_raft_settings(world),
            session_timeout_ms=world.between(1_000, 2_500),
            replica_lag_time_max_ms=world.between(1_000, 3_000),
            segment_bytes=world.random.choice((1_024, 4_096, 1 << 20)),
        )
        self.machines = [
            BrokerMachine(
                world,
                self.network,
                number,
                settings=settings,
                machinery=profile.machinery,
                watcher=self.invariants,
            )
            for number in range(count)
        ]
        self._write_caching = world.chance(profile.write_caching)
        for machine in self.machines:
            machine.keeps_page_cache = self._write_caching
        self.nemesis = Nemesis(
            world,
            self.network,
            self.machines,
            self.invariants,
            interval_ms=world.between(*profile.interval_ms),
            weights=profile.weights,
        )
        self.topics = [
            self._topic(number, count) for number in range(world.between(1, profile.topics_max))
        ]
        self.producers: list[SimulatedProducer] = []
        self.consumers: list[SimulatedConsumer] = []

    # --- The shape ---

    def _topic(self, number: int, brokers: int) -> NewTopic:
        world = self.world
        replication_factor = world.random.choice(self._profile.replication_factors)
        configs = {MIN_INSYNC_KEY: str(world.between(1, min(2, replication_factor)))}
        if self._write_caching:
            configs[WRITE_CACHING_KEY] = "true"
        return NewTopic(
            name=f"topic{number}",
            partitions=world.between(1, 2),
            replication_factor=min(replication_factor, brokers),
            configs=configs,
        )

    def _partitions(self) -> list[TopicPartition]:
        return [
            TopicPartition(topic.name, number)
            for topic in self.topics
            for number in range(topic.partitions or 1)
        ]

    # --- The course ---

    def run(self) -> None:
        """Run it; raises :exc:`Violation`."""
        world = self.world
        for machine in self.machines:
            world.after(world.between(0, 500), "start", machine.start)
        self._until(FORMING_MAX_MS, self._has_formed, "ClusterForms")
        self._create_topics()
        self._start_clients()
        self.nemesis.start()
        world.run_until(world.now_ms + world.between(*self._profile.duration_ms))
        self.nemesis.end()
        for producer in self.producers:
            producer.sending = False
        self._until(RECOVERY_MAX_MS, self._has_recovered, "Recovers")
        check_everything(self.machines, self._partitions(), self.history)

    def _until(self, duration_ms: int, missing: Callable[[], str | None], invariant: str) -> None:
        """Let time pass until nothing is missing."""
        end_ms = self.world.now_ms + duration_ms
        why = missing()
        while why is not None and self.world.now_ms < end_ms:
            self.world.run_until(self.world.now_ms + LOOK_INTERVAL_MS)
            why = missing()
        if why is not None:
            raise Violation(invariant, f"{why}, {duration_ms} ms later")

    def _create_topics(self) -> None:
        created: list[Result] = []
        process = self.machines[0].process
        assert process is not None
        process.client.submit(CreateTopics(topics=tuple(self.topics)), created.append)
        self._until(FORMING_MAX_MS, lambda: None if created else "no topics", "ClusterForms")
        (result,) = created
        assert isinstance(result, Served), result
        assert isinstance(result.response, tuple)
        for topic in result.response:
            assert isinstance(topic, CreatedTopic)
            assert topic.error is None or isinstance(topic.error, TopicAlreadyExistsError), topic

    def _start_clients(self) -> None:
        world = self.world
        brokers = [int(machine.id) for machine in self.machines]
        ids = ProducerIds()
        numbers = iter(range(1_000))
        for topic in self.topics:
            partitions = [p for p in self._partitions() if p.topic == topic.name]
            for _ in range(world.between(1, 2)):
                load = Load(
                    acks=ACKS_ALL if world.chance(3 / 4) else 1,
                    pause_max_ms=world.between(*self._profile.pause_max_ms),
                    records_max=world.between(1, 3),
                    value_bytes=world.random.choice((0, 0, 100)),
                )
                producer = SimulatedProducer(
                    world,
                    self.network,
                    next(numbers),
                    brokers,
                    partitions=partitions,
                    load=load,
                    ids=ids,
                    history=self.history,
                )
                self.producers.append(producer)
            for partition in partitions:
                consumer = SimulatedConsumer(
                    world,
                    self.network,
                    next(numbers),
                    brokers,
                    partition=partition,
                    pause_max_ms=world.between(*self._profile.poll_max_ms),
                    history=self.history,
                )
                self.consumers.append(consumer)
        for client in (*self.producers, *self.consumers):
            client.start()

    def _has_formed(self) -> str | None:
        return who_does_not_serve(self.machines, self.invariants.image)

    def _has_recovered(self) -> str | None:
        waiting = next((p.name for p in self.producers if not p.is_done), None)
        return (
            self._has_formed()
            or (waiting and f"{waiting} waits for an answer")
            or what_is_missing(self.machines, self.invariants.image, self.consumers)
        )


USUAL: Final = Profile()


def run_seed(seed: int, profile: Profile = USUAL) -> Outcome:
    """Run one seed to its end, good or bad."""
    scenario = Scenario(seed, profile)
    world = scenario.world
    violation: Violation | None = None
    try:
        scenario.run()
    except Violation as found:
        violation = found
    except (AssertionError, OttlaError, NodeStoppedError) as error:
        violation = Violation("NothingUnexpected", f"{type(error).__name__}: {error}")
        violation.__cause__ = error
    return Outcome(
        seed=seed,
        violation=violation,
        virtual_ms=world.now_ms,
        events=world.events,
        digest=world.digest ^ scenario.history.digest,
        acknowledged=scenario.history.acknowledged,
        counts=world.counts,
        last_events=tuple(world.history),
    )


def _raft_settings(world: World) -> RaftSettings:
    snapshots_often = world.chance(1 / 3)
    return RaftSettings(
        heartbeat_interval_ms=100,
        election_timeout_min_ms=500,
        election_timeout_max_ms=1_000,
        campaign_delay_max_ms=world.random.choice((8, 50, 150)),
        log_entries_max=20 if snapshots_often else 5_000,
        trailing_entries_max=3 if snapshots_often else 500,
        snapshot_chunk_bytes=300 if snapshots_often else 1 << 20,
        append_bytes_max=1_000,
        in_flight_bytes_max=4_000,
    )
