"""Real brokers for other people's tests, with switches for faults.

Each broker is a process of its own, started as ``ottla broker``; nothing is synced to disk, and
nothing is left behind. Kafka's clients come to it through a proxy in this process
(:mod:`ottla.testing.kafka_proxy`), which is what can be cut, delayed, or told to answer errors; the
brokers tell clients the proxies' addresses, so that no client finds a way around them. Between each
two brokers there is a :class:`~ottla.testing.link_proxy.LinkProxy`.

    with OttlaCluster(size=3) as cluster:
        producer = Producer({"bootstrap.servers": cluster.kafka})
        cluster.brokers[0].kill()

The classes are for any test framework; :mod:`ottla.testing.plugin` makes pytest fixtures of them.
They block, and belong to no event loop: the proxies run in a thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

from ottla.model.errors import ERRORS_BY_CODE
from ottla.testing.broker_process import BrokerProcess, free_port
from ottla.testing.cluster_processes import DEFAULTS
from ottla.testing.kafka_proxy import KafkaProxy
from ottla.testing.link_proxy import LinkProxy
from ottla.wire.api_keys import ApiKey

Result = TypeVar("Result")

SETTINGS: Final = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "num.partitions": "1",
}
"""What a test wants that waits for nobody: groups that begin at once, few partitions to make."""

VOTERS_MAX: Final = 3
"""Brokers of a large cluster that vote, the first ones."""


class OttlaBroker:
    """One broker of an :class:`OttlaCluster`."""

    def __init__(self, process: BrokerProcess, broker_id: int, port: int, cluster: _Loop) -> None:
        self.id = broker_id
        self.process = process
        self._port = port
        self._loop = cluster
        self._is_paused = False
        self.proxy = KafkaProxy(lambda: ("127.0.0.1", process.kafka_port))

    @property
    def kafka(self) -> str:
        """``bootstrap.servers`` for clients of Kafka."""
        return f"127.0.0.1:{self._port}"

    @property
    def grpc(self) -> str:
        """``bootstrap_servers`` for :mod:`ottla.client`; :meth:`cut` leaves it alone."""
        return self.process.grpc_address

    def topic(self, partitions: int = 1, **configs: str) -> str:
        """Create a topic with a name of its own, with settings (``retention_ms="1000"``)."""
        return _new_topic(self.grpc, partitions, configs)

    # --- The process ----------------------------------------------------------------------------

    def kill(self) -> None:
        """``kill -9``. No error if it does not run."""
        self._is_paused = False
        self.process.kill()

    def stop(self) -> None:
        """Stop in good order, as for an upgrade."""
        self.process.stop()

    def start(self) -> None:
        """Start again, with what it had; returns when it is ready. No error if it runs."""
        if not self.process.is_running:
            self.process.start()

    def pause(self) -> None:
        """Stop the process in its tracks: connections stay open, and nothing is answered."""
        self._is_paused = True
        self.process.pause()

    def resume(self) -> None:
        """Let a paused process go on. No error if it was not paused."""
        if self._is_paused:
            self._is_paused = False
            self.process.resume()

    # --- The way to its Kafka port --------------------------------------------------------------

    def refuse(self, api: str | int, error: str | int, *, times: int | None = None) -> None:
        """Answer requests of one kind with an error, without asking the broker.

        Args:
            api: Kafka's name of the request (``"Produce"``, ``"JOIN_GROUP"``) or its number.
            error: Kafka's name of the error (``"NOT_LEADER_OR_FOLLOWER"``) or its number.
            times: so often; ``None``: until :meth:`heal`.

        Raises :exc:`ValueError` for a name or number that is none.
        """
        api_key, error_code = _api_key(api), _error_code(error)
        self._loop.call(self._refuse(api_key, error_code, times))

    def refused(self) -> list[tuple[str, int]]:
        """Return what was refused so far: the request's name and the error's number."""
        return [(api.name, code) for api, code in self.proxy.faults.answered]

    def delay(self, milliseconds: float) -> None:
        """Have every request wait on its way to the broker."""
        self.proxy.faults.delay_s = milliseconds / 1000

    def cut(self) -> None:
        """Let nothing pass, in either direction, while connections seem to live."""
        self.proxy.cut()

    def drop_connections(self) -> None:
        """Close every connection; clients may come again."""
        self._loop.call(self._drop())

    def heal(self) -> None:
        """End all faults: start it if it was killed, resume it, pass everything on."""
        self.resume()
        self._loop.call(self._clear())
        self.start()

    async def _refuse(self, api_key: int, error_code: int, times: int | None) -> None:
        self.proxy.faults.refuse(api_key, error_code, times)

    async def _drop(self) -> None:
        self.proxy.drop()

    async def _clear(self) -> None:
        self.proxy.clear()

    async def listen(self) -> None:
        """Open the proxy, before the broker tells anybody of it."""
        await self.proxy.start(self._port)

    def __repr__(self) -> str:
        return f"<OttlaBroker {self.id} kafka {self.kafka} grpc {self.grpc}>"


class OttlaCluster:
    """Brokers on loopback.

    Args:
        size: how many; three or more replicate what they are told.
        settings: of every broker, by key; see docs/configuration.md.
    """

    def __init__(self, size: int = 3, settings: Mapping[str, str] | None = None) -> None:
        self.brokers: Sequence[OttlaBroker] = ()
        self._size = size
        self._settings = {**SETTINGS, **(settings or {})}
        self._links: dict[tuple[int, int], LinkProxy] = {}
        self._undo = ExitStack()
        self._loop = _Loop()

    @property
    def kafka(self) -> str:
        """``bootstrap.servers`` for clients of Kafka: all brokers."""
        return ",".join(broker.kafka for broker in self.brokers)

    @property
    def grpc(self) -> str:
        """``bootstrap_servers`` for :mod:`ottla.client`: all brokers."""
        return ",".join(broker.grpc for broker in self.brokers)

    def start(self) -> Self:
        """Start every broker; return when all are ready."""
        self._undo.callback(self._loop.stop)
        try:
            self._start()
        except BaseException:
            self._undo.close()
            raise
        return self

    def stop(self) -> None:
        """Stop every broker and forget everything."""
        self._undo.close()

    def cut(self, one: int, other: int) -> None:
        """Let nothing pass between two brokers, in either direction.

        Raises :exc:`ValueError` unless both are among the first three of three or more.
        """
        if (one, other) not in self._links:
            raise ValueError(
                f"there is no link between {one} and {other} that could be cut; clusters of three "
                "brokers or more have links between their brokers 0, 1 and 2"
            )
        self._loop.call(self._cut(one, other))

    def isolate(self, broker_id: int) -> None:
        """Let nothing pass between a broker and all others; clients still reach it."""
        for other in range(VOTERS_MAX):
            if other != broker_id:
                self.cut(broker_id, other)

    def heal(self) -> None:
        """End all faults of links and brokers."""
        self._loop.call(self._heal_links())
        for broker in self.brokers:
            broker.heal()

    def topic(self, partitions: int = 1, **configs: str) -> str:
        """Create a topic with a name of its own, with settings (``retention_ms="1000"``)."""
        return _new_topic(self.grpc, partitions, configs)

    def __enter__(self) -> Self:
        return self if self.brokers else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> None:
        directory = Path(self._undo.enter_context(TemporaryDirectory(prefix="ottla-test-")))
        grpc_ports = [free_port() for _ in range(self._size)]
        self._loop.call(self._open_links(grpc_ports))
        self._undo.callback(self._loop.call_now, self._close_links)
        self.brokers = [
            self._broker(broker_id, directory, grpc_ports) for broker_id in range(self._size)
        ]
        for broker in self.brokers:
            self._loop.call(broker.listen())
            self._undo.callback(self._loop.call_now, broker.proxy.stop)
            self._undo.callback(broker.process.leave)
        for broker in self.brokers:
            broker.process.launch()
        for broker in self.brokers:
            broker.process.wait_ready()

    def _broker(self, broker_id: int, directory: Path, grpc_ports: Sequence[int]) -> OttlaBroker:
        port = free_port()
        settings = {
            **(DEFAULTS if self._size >= VOTERS_MAX else {}),
            **self._settings,
            "node.id": str(broker_id),
            "log.ephemeral": "true",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        }
        if self._size > 1:
            voters = range(min(self._size, VOTERS_MAX) if self._size >= VOTERS_MAX else 1)
            settings["controller.quorum.voters"] = ",".join(
                f"{voter}@127.0.0.1:{self._port_of(broker_id, voter, grpc_ports)}"
                for voter in voters
            )
        process = BrokerProcess(
            data_directory=directory,
            grpc_port=grpc_ports[broker_id],
            subcommand=("broker",),
            arguments=[
                word for key, value in settings.items() for word in ("--set", f"{key}={value}")
            ],
        )
        return OttlaBroker(process, broker_id, port, self._loop)

    def _port_of(self, source: int, target: int, grpc_ports: Sequence[int]) -> int:
        link = self._links.get((source, target))
        return grpc_ports[target] if link is None else link.port

    async def _open_links(self, grpc_ports: Sequence[int]) -> None:
        """Put a proxy between each two of the brokers that know each other from their settings."""
        voters = range(VOTERS_MAX if self._size >= VOTERS_MAX else 0)
        for source, target in permutations(voters, 2):
            link = LinkProxy(grpc_ports[target])
            self._links[source, target] = await link.__aenter__()

    async def _close_links(self) -> None:
        for link in self._links.values():
            await link.__aexit__(None, None, None)

    async def _cut(self, one: int, other: int) -> None:
        for link in ((one, other), (other, one)):
            self._links[link].cut()

    async def _heal_links(self) -> None:
        for link in self._links.values():
            link.heal()


class _Loop:
    """An event loop in a thread, for proxies that serve while a test blocks."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ottla-faults")
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run ``work`` there and return what it returns."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def call_now(self, make: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run what ``make`` makes, so that nothing is made that is never run."""
        return self.call(make())

    def stop(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _new_topic(servers: str, partitions: int, configs: Mapping[str, str]) -> str:
    from ottla.client.admin_values import NewTopic  # noqa: PLC0415 -- brings gRPC along
    from ottla.client.blocking import Admin  # noqa: PLC0415

    name = f"test-{uuid4().hex[:12]}"
    settings = {key.replace("_", "."): value for key, value in configs.items()}
    with Admin(servers) as admin:
        admin.create_topics([NewTopic(name, partitions=partitions, configs=settings)])
    return name


def _api_key(api: str | int) -> int:
    if isinstance(api, int):
        return ApiKey(api).value
    plain = api.replace("_", "").lower()
    for key in ApiKey:
        if key.name.replace("_", "").lower() == plain:
            return key.value
    raise ValueError(f"{api!r} is no request of Kafka's; there is {ApiKey.PRODUCE.name}, for one")


def _error_code(error: str | int) -> int:
    if isinstance(error, int):
        return error
    for code, kind in ERRORS_BY_CODE.items():
        if kind.name == error.upper():
            return code
    raise ValueError(f"{error!r} is no error that this version knows by name; give Kafka's number")
