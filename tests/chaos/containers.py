"""A cluster of containers, made with the Docker SDK, that can be hurt.

Each broker is in two networks: in ``front`` its port is published for clients on this machine, in
``back`` the brokers know each other by name. To isolate a broker is to take it out of ``back``: its
clients still reach it, and it must not fool them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import docker

from ottla.testing.broker_process import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
IMAGE: Final = "ottla:chaos"
BROKERS: Final = 3
READY_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20
GRPC_PORT: Final = 7092
HTTP_PORT: Final = 8092


class ContainerCluster:
    """Three brokers in containers; see :class:`tests.chaos.cluster.FaultyCluster`."""

    def __init__(self, client: Any) -> None:
        """Prepare to run on the engine that ``client`` reaches."""
        self._client = client
        self._name = f"ottla-chaos-{time.time_ns() % 10**9}"
        self._grpc_ports = [free_port() for _ in range(BROKERS)]
        self._http_ports = [free_port() for _ in range(BROKERS)]
        self._containers: list[Any] = []
        self._networks: list[Any] = []
        self._volumes: list[Any] = []

    @property
    def bootstrap(self) -> str:
        """Where clients connect."""
        return ",".join(f"127.0.0.1:{port}" for port in self._grpc_ports)

    @property
    def broker_ids(self) -> Collection[int]:
        """All brokers."""
        return range(BROKERS)

    # --- Life ---

    def create(self) -> None:
        """Build the image, and start everything."""
        self._client.images.build(path=str(ROOT), tag=IMAGE, rm=True)
        front, back = (
            self._client.networks.create(f"{self._name}-{end}", driver="bridge")
            for end in ("front", "back")
        )
        self._networks = [front, back]
        for broker_id in range(BROKERS):
            volume = self._client.volumes.create(f"{self._name}-{broker_id}")
            self._volumes.append(volume)
            container = self._client.containers.create(
                IMAGE,
                name=f"{self._name}-{broker_id}",
                environment=self._environment(broker_id),
                ports={
                    f"{GRPC_PORT}/tcp": ("127.0.0.1", self._grpc_ports[broker_id]),
                    f"{HTTP_PORT}/tcp": ("127.0.0.1", self._http_ports[broker_id]),
                },
                network=front.name,
                volumes={volume.name: {"bind": "/var/lib/ottla", "mode": "rw"}},
            )
            back.connect(container, aliases=[_back_name(broker_id)])
            self._containers.append(container)
        for container in self._containers:
            container.start()
        for broker_id in range(BROKERS):
            self._wait_ready(broker_id)

    def remove(self) -> None:
        """Take everything away again."""
        for container in self._containers:
            container.remove(force=True)
        for thing in (*self._networks, *self._volumes):
            with contextlib.suppress(docker.errors.APIError):
                thing.remove()

    def logs(self, broker_id: int) -> str:
        """Return what a broker wrote last."""
        tail: bytes = self._containers[broker_id].logs(tail=40)
        return tail.decode(errors="replace")

    def _environment(self, broker_id: int) -> dict[str, str]:
        voters = ",".join(f"{i}@{_back_name(i)}:{GRPC_PORT}" for i in range(BROKERS))
        return {
            "OTTLA_NODE_ID": str(broker_id),
            "OTTLA_CONTROLLER_QUORUM_VOTERS": voters,
            "OTTLA_GRPC_LISTEN": f"0.0.0.0:{GRPC_PORT}",
            "OTTLA_GRPC_ADVERTISED": f"127.0.0.1:{self._grpc_ports[broker_id]}",
            "OTTLA_HTTP_LISTEN": f"0.0.0.0:{HTTP_PORT}",
        }

    def _wait_ready(self, broker_id: int) -> None:
        url = f"http://127.0.0.1:{self._http_ports[broker_id]}/readyz"
        deadline_s = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline_s:
            with (
                contextlib.suppress(OSError, urllib.error.URLError),
                urllib.request.urlopen(url, timeout=1) as answer,
            ):
                if answer.status == 200:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"broker {broker_id} is not ready:\n{self.logs(broker_id)}")

    # --- Faults ---

    async def kill(self, broker_id: int) -> None:
        """``kill -9``."""
        await asyncio.to_thread(self._containers[broker_id].kill)

    async def stop(self, broker_id: int) -> None:
        """Stop in good order."""
        container = self._containers[broker_id]
        await asyncio.to_thread(lambda: container.stop(timeout=STOP_TIMEOUT_S))

    async def start(self, broker_id: int) -> None:
        """Start again, and wait until it serves; several at once find each other."""
        await asyncio.to_thread(self._containers[broker_id].start)
        await asyncio.to_thread(self._wait_ready, broker_id)

    async def pause(self, broker_id: int) -> None:
        """Freeze all of its processes."""
        await asyncio.to_thread(self._containers[broker_id].pause)

    async def resume(self, broker_id: int) -> None:
        """Thaw them."""
        await asyncio.to_thread(self._containers[broker_id].unpause)

    async def isolate(self, broker_id: int) -> None:
        """Take it out of the brokers' network."""
        await self._on_back(lambda back: back.disconnect(self._containers[broker_id]))

    async def reconnect(self, broker_id: int) -> None:
        """Put it back."""
        await self._on_back(
            lambda back: back.connect(self._containers[broker_id], aliases=[_back_name(broker_id)])
        )

    async def _on_back(self, work: Callable[[Any], object]) -> None:
        await asyncio.to_thread(work, self._networks[1])


def _back_name(broker_id: int) -> str:
    return f"back-{broker_id}"


def engine() -> Any | None:
    """Return a client of the engine of this machine; ``None`` if none runs."""
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except (docker.errors.DockerException, OSError):
        return None
    return client


@contextmanager
def container_cluster(client: Any) -> Iterator[ContainerCluster]:
    """Run a cluster for the time of a ``with`` block."""
    cluster = ContainerCluster(client)
    try:
        cluster.create()
        yield cluster
    finally:
        cluster.remove()
