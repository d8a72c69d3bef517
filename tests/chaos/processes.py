"""A cluster of processes, joined by proxies, that can be hurt.

Each broker is told another address for every voter: that of a proxy of its own. So the link from
one broker to another can be cut, in either direction, without touching clients.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from ottla.testing.broker_process import BrokerProcess, free_port
from ottla.testing.link_proxy import LinkProxy
from tests.chaos.cluster import FaultyCluster
from tests.chaos.rounds import FAULTS, Fault

BROKERS: Final = 3

LOG_LINES: Final = 40
"""Of each broker, where a run has failed."""


class ProcessCluster:
    """Three broker processes; see :class:`tests.chaos.cluster.FaultyCluster`."""

    def __init__(
        self, brokers: Sequence[BrokerProcess], links: dict[tuple[int, int], LinkProxy]
    ) -> None:
        """Hurt ``brokers``; ``links`` are by who connects, and to whom."""
        self.brokers = brokers
        self.links = links

    @property
    def bootstrap(self) -> str:
        """Where clients connect."""
        return ",".join(broker.grpc_address for broker in self.brokers)

    @property
    def broker_ids(self) -> Collection[int]:
        """All brokers."""
        return range(len(self.brokers))

    def logs(self, broker_id: int) -> str:
        """Return what a broker wrote last."""
        return "\n".join(self.brokers[broker_id].stderr().splitlines()[-LOG_LINES:])

    async def kill(self, broker_id: int) -> None:
        """``kill -9``."""
        await asyncio.to_thread(self.brokers[broker_id].kill)

    async def stop(self, broker_id: int) -> None:
        """Stop in good order."""
        await asyncio.to_thread(self.brokers[broker_id].stop)

    async def start(self, broker_id: int) -> None:
        """Start again, and wait until it serves; several at once find each other."""
        await asyncio.to_thread(self.brokers[broker_id].start)

    async def pause(self, broker_id: int) -> None:
        """``SIGSTOP``."""
        self.brokers[broker_id].pause()

    async def resume(self, broker_id: int) -> None:
        """``SIGCONT``."""
        self.brokers[broker_id].resume()

    async def isolate(self, broker_id: int) -> None:
        """Cut every link from it, and to it."""
        for ends, link in self.links.items():
            if broker_id in ends:
                link.cut()

    async def isolate_one_way(self, broker_id: int, *, deaf: bool) -> None:
        """Let it hear nothing (``deaf``), or let nobody hear it."""
        for (source, target), link in self.links.items():
            if broker_id == source:
                link.cut(there=not deaf, back=deaf)
            elif broker_id == target:
                link.cut(there=deaf, back=not deaf)

    async def reconnect(self, broker_id: int) -> None:
        """Heal every link from it, and to it."""
        for ends, link in self.links.items():
            if broker_id in ends:
                link.heal()


def _one_way(*, deaf: bool) -> Callable[[FaultyCluster, int], Awaitable[None]]:
    async def begin(cluster: FaultyCluster, broker_id: int) -> None:
        assert isinstance(cluster, ProcessCluster)
        await cluster.isolate_one_way(broker_id, deaf=deaf)

    return begin


PROCESS_FAULTS: Final = (
    *FAULTS,
    Fault("deaf", 1, _one_way(deaf=True), lambda c, b: c.reconnect(b), (1, 6)),
    Fault("mute", 1, _one_way(deaf=False), lambda c, b: c.reconnect(b), (1, 6)),
)
"""Proxies can do to a link what networks of containers cannot."""


@asynccontextmanager
async def process_cluster(
    directory: Path, *, settings: Sequence[str] = ()
) -> AsyncIterator[ProcessCluster]:
    """Run a cluster for the time of a ``with`` block; ``settings`` are KEY=VALUE."""
    ports = [free_port() for _ in range(BROKERS)]
    async with AsyncExitStack() as stack:
        links = {
            (source, target): await stack.enter_async_context(LinkProxy(ports[target]))
            for source in range(BROKERS)
            for target in range(BROKERS)
            if source != target
        }
        brokers = []
        for broker_id, port in enumerate(ports):
            voters = ",".join(
                f"{other}@127.0.0.1:{port if other == broker_id else links[broker_id, other].port}"
                for other in range(BROKERS)
            )
            given = [f"node.id={broker_id}", f"controller.quorum.voters={voters}", *settings]
            brokers.append(
                BrokerProcess(
                    data_directory=directory,
                    grpc_port=port,
                    subcommand=("broker",),
                    arguments=[part for setting in given for part in ("--set", setting)],
                )
            )
        for broker in brokers:
            stack.callback(broker.__exit__, None, None, None)
        await asyncio.gather(*(asyncio.to_thread(broker.start) for broker in brokers))
        yield ProcessCluster(brokers, links)
