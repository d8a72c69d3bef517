"""Real brokers for other people's tests, with switches for faults.

Each broker is a process of its own, which runs what ``ottla broker`` runs; nothing is synced to
disk, and nothing is left behind. Kafka's clients come to it through a proxy in this process
(:mod:`ottla.testing.kafka_proxy`), which is what can be cut, delayed, or told to answer errors; the
brokers tell clients the proxies' addresses, so that no client finds a way around them. Between each
two brokers there is a :class:`~ottla.testing.link_proxy.LinkProxy`.

    with OttlaCluster(size=3) as cluster:
        producer = Producer({"bootstrap.servers": cluster.kafka})
        cluster.leader_of("orders").kill()

The classes are for any test framework; :mod:`ottla.testing.plugin` makes pytest fixtures of them.
They block, and belong to no event loop: the proxies run in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Final, Self

from ottla.config.addresses import Address
from ottla.testing import nursery
from ottla.testing.broker_process import BrokerDidNotStartError, BrokerProcess
from ottla.testing.cluster_processes import DEFAULTS
from ottla.testing.cluster_questions import ClusterQuestions
from ottla.testing.kafka_errors import BrokerAddress
from ottla.testing.kafka_proxy import KafkaProxy
from ottla.testing.link_proxy import LinkProxy
from ottla.testing.loop_thread import LoopThread
from ottla.testing.ports import HOST, HeldPort
from ottla.testing.sandbox_broker import OttlaBroker, kafka_address

__all__ = ["BrokerDidNotStartError", "OttlaBroker", "OttlaCluster"]

SETTINGS: Final = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
}
"""What a test wants that waits for nobody: groups that begin at once, few partitions to make."""

OWN_SETTINGS: Final = frozenset(
    {
        *("node.id", "controller.quorum.voters", "log.ephemeral", "log.dir", "log.dirs"),
        *("listeners", "advertised.listeners", "listener.security.protocol.map"),
        *("grpc.listen", "http.listen"),
    }
)
"""Settings by which brokers, proxies and clients find each other."""

VOTERS_MAX: Final = 3
"""Brokers of a large cluster that vote, the first ones."""

START_TIMEOUT_S: Final = 30.0
"""Generous: a busy machine is not a broken broker."""

BROKERS_MAX: Final = 30
"""More are a mistake: each has a hundred megabytes."""


class OttlaCluster:
    """Brokers on loopback; a context manager, also an asynchronous one.

    Args:
        size: how many; three or more replicate what they are told.
        settings: of every broker, by key; see docs/configuration.md.
        start_timeout_s: for all of them to be ready.

    Raises :exc:`ValueError` for settings that are its own business, and for a size that is none.
    """

    def __init__(
        self,
        size: int = 3,
        settings: Mapping[str, str] | None = None,
        *,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        if not 1 <= size <= BROKERS_MAX:
            raise ValueError(f"a cluster has 1 to {BROKERS_MAX} brokers, not {size}")
        if own := OWN_SETTINGS & (settings or {}).keys():
            raise ValueError(f"the cluster sets {', '.join(sorted(own))} itself; leave it out")
        self.brokers: Sequence[OttlaBroker] = ()
        """By id, from 0 on; there while it is started."""
        self._size = size
        self._settings = {**SETTINGS, **(settings or {})}
        self._start_timeout_s = start_timeout_s
        self._processes: Sequence[BrokerProcess] = ()
        self._links: dict[tuple[int, int], LinkProxy] = {}
        self._loop = LoopThread()
        self._questions = ClusterQuestions(self._running)
        self._undo = ExitStack()

    @property
    def kafka(self) -> str:
        """``bootstrap.servers`` for clients of Kafka: all brokers."""
        return ",".join(broker.kafka for broker in self.brokers)

    @property
    def grpc(self) -> str:
        """``bootstrap_servers`` for :mod:`ottla.client`: all brokers."""
        return ",".join(broker.grpc for broker in self.brokers)

    def start(self) -> Self:
        """Start every broker; return when all are ready. No error if they are.

        Raises :exc:`~ottla.testing.broker_process.BrokerDidNotStartError`, with what the broker
        said last; all are stopped then.
        """
        if not self.brokers:
            try:
                self._start()
            except BaseException:
                self.stop()
                raise
        return self

    def stop(self) -> None:
        """Kill every broker and forget everything. Harmless a second time."""
        self._undo.close()
        self.brokers = ()
        self._processes = ()
        self._links.clear()

    # --- Topics and who is responsible for them ---

    def topic(self, name: str | None = None, *, partitions: int = 1, **configs: str) -> str:
        """Create a topic; see :meth:`OttlaBroker.topic`."""
        return self._any_broker().topic(name, partitions=partitions, **configs)

    def leader_of(self, topic: str, partition: int = 0) -> OttlaBroker:
        """Return the broker that leads a partition, as soon as one does: whom to kill.

        Raises :exc:`TimeoutError`.
        """
        return self.brokers[self._questions.leader_of(topic, partition)]

    def coordinator_of(self, group_id: str) -> OttlaBroker:
        """Return the broker that coordinates a consumer group; :exc:`TimeoutError`."""
        return self.brokers[self._questions.coordinator_of(group_id)]

    # --- Faults ---

    def cut(self, one: int, other: int) -> None:
        """Let nothing pass between two brokers, in either direction.

        Raises :exc:`ValueError` unless both are among the first three of three or more.
        """
        if (one, other) not in self._links:
            raise ValueError(
                f"there is no link between {one} and {other} that could be cut; clusters of three "
                "brokers or more have links between their brokers 0, 1 and 2"
            )
        for link in ((one, other), (other, one)):
            self._loop.call(self._links[link].cut)

    def isolate(self, broker_id: int) -> None:
        """Let nothing pass between a broker and all others; clients still reach it."""
        for other in range(VOTERS_MAX):
            if other != broker_id:
                self.cut(broker_id, other)

    def heal(self) -> None:
        """End all faults of links and brokers."""
        for link in self._links.values():
            self._loop.call(link.heal)
        for broker in self.brokers:
            broker.heal()

    # --- With blocks ---

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    def __repr__(self) -> str:
        if not self.brokers:
            return f"<OttlaCluster of {self._size}, not started>"
        return f"<OttlaCluster {list(self.brokers)}>"

    # --- How it starts ---

    def _start(self) -> None:
        self._loop.start()
        self._undo.callback(self._loop.stop)
        directory = Path(self._undo.enter_context(TemporaryDirectory(prefix="ottla-test-")))
        ports = [HeldPort() for _ in range(self._size)]
        for port in ports:
            self._undo.callback(port.release)
        self._loop.run(lambda: self._open_links(ports))
        self._undo.callback(self._loop.run, self._close_links)
        made = [self._make(broker_id, directory, ports) for broker_id in range(self._size)]
        self._processes = [process for _, process, _ in made]
        for process in self._processes:
            self._undo.callback(process.leave)
            process.launch()
        for broker, process, proxy in made:
            self._wait_ready(broker, process)
            self._loop.run(proxy.listen)
        addresses = [BrokerAddress(broker.id, HOST, proxy.port) for broker, _, proxy in made]
        for _, _, proxy in made:
            proxy.faults.brokers = addresses
        self.brokers = [broker for broker, _, _ in made]

    def _make(
        self, broker_id: int, directory: Path, ports: Sequence[HeldPort]
    ) -> tuple[OttlaBroker, BrokerProcess, KafkaProxy]:
        proxy = KafkaProxy(lambda: kafka_address(process))
        self._undo.callback(self._loop.run, proxy.close)
        settings = {
            **(DEFAULTS if self._size >= VOTERS_MAX else {}),
            **self._settings,
            "node.id": str(broker_id),
            "log.ephemeral": "true",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{proxy.port}",
        }
        if self._size > 1:
            voters = range(VOTERS_MAX if self._size >= VOTERS_MAX else 1)
            settings["controller.quorum.voters"] = ",".join(
                f"{voter}@{HOST}:{self._port_of(broker_id, voter, ports)}" for voter in voters
            )
        process = BrokerProcess(
            data_directory=directory,
            grpc_port=ports[broker_id].port,
            http_port=0,
            kafka_port=0,
            subcommand=("broker",),
            arguments=[word for key in settings for word in ("--set", f"{key}={settings[key]}")],
            start_timeout_s=self._start_timeout_s,
            launcher=nursery.launch,
        )
        broker = OttlaBroker(broker_id, process, proxy, self._loop, self._questions)
        return broker, process, proxy

    def _wait_ready(self, broker: OttlaBroker, process: BrokerProcess) -> None:
        try:
            process.wait_ready()
        except BrokerDidNotStartError as error:
            raise BrokerDidNotStartError(
                f"broker {broker.id} of {self._size} did not start: {error}"
            ) from None

    def _port_of(self, source: int, target: int, ports: Sequence[HeldPort]) -> int:
        link = self._links.get((source, target))
        return ports[target].port if link is None else link.port

    async def _open_links(self, ports: Sequence[HeldPort]) -> None:
        """Put a proxy between each two of the brokers that know each other from their settings."""
        voters = range(VOTERS_MAX if self._size >= VOTERS_MAX else 0)
        for source, target in permutations(voters, 2):
            link = LinkProxy(ports[target].port)
            self._links[source, target] = await link.__aenter__()

    async def _close_links(self) -> None:
        for link in self._links.values():
            await link.__aexit__(None, None, None)

    def _any_broker(self) -> OttlaBroker:
        assert self.brokers, "not started"
        return self.brokers[0]

    def _running(self) -> list[Address]:
        """Return where the brokers are that can be asked."""
        pairs = zip(self.brokers, self._processes, strict=True)
        return [kafka_address(process) for broker, process in pairs if broker.is_running]
