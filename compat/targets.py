"""What the suites run against: three fresh Ottla brokers, Apache Kafka, or what runs already.

A :class:`Target` tells the addresses of a Kafka listener and, where there is one, of a gRPC door.
What a suite wants of a cluster is its :class:`Shape`: some tests of librdkafka need one where
naming a topic does not create it, and those of kafka-python are written for a single broker.

Apache Kafka comes from the same jars as its command-line tools: one node that is broker and
controller at once, with the settings that its one broker needs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from compat.installation import KAFKA_VERSION, ensure
from ottla.testing.broker_process import free_port
from ottla.testing.cluster_processes import ClusterProcesses

_KAFKA_START_S: Final = 60.0
_KAFKA_HEAP: Final = "-Xmx512m"

_GROUP_SETTINGS: Final = {
    "group.initial.rebalance.delay.ms": "3000",  # the default; tests count rebalances with it
    "group.min.session.timeout.ms": "1000",  # tests use short ones, to be done sooner
}


class TargetDidNotStartError(Exception):
    """Apache Kafka did not open its port in time; the message has its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Something that speaks Kafka, and runs."""

    name: str
    """``ottla``, ``kafka`` or ``external``."""
    version: str
    bootstrap: str
    """For Kafka clients."""
    grpc: str | None
    """For Ottla's own client."""
    brokers: int
    cluster: ClusterProcesses | None = None
    """Its brokers, for those who hurt them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a suite wants of a cluster."""

    brokers: int = 3
    """Apache Kafka has one all the same."""
    auto_create: bool = True
    """Whether clients may create topics by naming them."""
    settings: tuple[tuple[str, str], ...] = ()
    """More of them, which only Ottla gets."""


Start = Callable[[Shape, Path], AbstractContextManager[Target]]
"""Starts a target of some shape, with its files in a directory; it stops with the context."""


@contextmanager
def ottla(shape: Shape, directory: Path) -> Iterator[Target]:
    """Ottla brokers, as ``ottla up`` would start them."""
    settings = {
        "default.replication.factor": str(min(3, shape.brokers)),
        "min.insync.replicas": str(min(2, shape.brokers)),
        "num.partitions": "4",
        "auto.create.topics.enable": str(shape.auto_create).lower(),
        **_GROUP_SETTINGS,
        **dict(shape.settings),
    }
    # The names that librdkafka's test of reading from the nearest replica expects.
    racks = {number: {"broker.rack": f"RACK{number}"} for number in range(shape.brokers)}
    data = directory / f"ottla-{os.getpid()}-{time.monotonic_ns()}"
    with ClusterProcesses(
        size=shape.brokers, data_directory=data, settings=settings, settings_of=racks
    ) as cluster:
        try:
            yield Target(
                name="ottla",
                version=_ottla_version(),
                bootstrap=cluster.kafka_bootstrap,
                grpc=cluster.bootstrap,
                brokers=len(cluster.brokers),
                cluster=cluster,
            )
        finally:
            words = [broker.stderr() for broker in cluster.brokers]
            for number, text in enumerate(words):
                (directory / f"broker-{number}.log").write_text(text)
    shutil.rmtree(data, ignore_errors=True)


def _ottla_version() -> str:
    git = shutil.which("git")
    if git is None:
        return "working tree"
    told = subprocess.run(
        [git, "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout.strip() or "working tree"


@contextmanager
def kafka(shape: Shape, directory: Path) -> Iterator[Target]:
    """One node of Apache Kafka."""
    classpath = f"{ensure('java-clients') / 'jars'}/*"
    data = Path(tempfile.mkdtemp(prefix="kafka-", dir=directory))
    port, controller = free_port(), free_port()
    properties = data / "server.properties"
    properties.write_text(
        f"process.roles=broker,controller\nnode.id=0\n"
        f"controller.quorum.voters=0@127.0.0.1:{controller}\n"
        f"listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n"
        f"advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n"
        f"controller.listener.names=CONTROLLER\nlog.dirs={data / 'log'}\n"
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n"
        f"num.partitions=4\nauto.create.topics.enable={str(shape.auto_create).lower()}\n"
        "offsets.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n"
        "share.coordinator.state.topic.replication.factor=1\n"
        "transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n"
        + "".join(f"{key}={value}\n" for key, value in _GROUP_SETTINGS.items())
    )
    java = ["nice", "-n", "15", "java", _KAFKA_HEAP, "-cp", classpath]
    storage = ("kafka.tools.StorageTool", "format", "-t", "b3R0bGEtY29tcGF0LWthZg")
    subprocess.run(
        [*java, *storage, "-c", str(properties)], check=True, capture_output=True, text=True
    )
    log_path = directory / "kafka.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*java, "kafka.Kafka", str(properties)], stdout=log, stderr=log, cwd=data
        )
    try:
        _wait_for_port(port, process, log_path)
        yield Target(
            name="kafka",
            version=KAFKA_VERSION,
            bootstrap=f"127.0.0.1:{port}",
            grpc=None,
            brokers=1,
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        shutil.rmtree(data, ignore_errors=True)


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + _KAFKA_START_S
    while time.monotonic() < deadline_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.2)
    raise TargetDidNotStartError("\n".join(log.read_text(errors="replace").splitlines()[-5:]))


def external(bootstrap: str) -> Start:
    """Whatever listens there; it is neither started nor stopped."""

    @contextmanager
    def start(shape: Shape, directory: Path) -> Iterator[Target]:
        del shape, directory
        yield Target(name="external", version="unknown", bootstrap=bootstrap, grpc=None, brokers=1)

    return start
