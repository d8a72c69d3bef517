"""A cluster of real brokers, each in a process of its own: kill one, pause one, start it again.

::

    with ClusterProcesses(data_directory=tmp_path) as cluster:
        cluster.brokers[0].kill()
        ...
        cluster.brokers[0].start()

Every broker has its ports and its data for as long as the cluster lives; the first three vote, or
the first one of two. Each is ``ottla broker``, with nobody that restarts it: what a test does to a
broker stays done. All are started at once, because none is ready without a majority.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from ottla.testing.broker_process import BrokerProcess, free_port

DEFAULTS: Final = {"default.replication.factor": "3", "min.insync.replicas": "2"}
"""Of three brokers and more; what ``ottla up`` gives them."""

_VOTERS_MAX: Final = 3


@dataclass(slots=True, kw_only=True)
class ClusterProcesses:
    """Brokers on loopback, numbered from 0 on."""

    size: int = 3
    later: int = 0
    """So many of them, the last ones, are started by whoever wants them, not with the others."""
    data_directory: Path | None = None
    """Broker *i* keeps its data in ``broker-<i>`` there; ``None``: in a directory of the cluster,
    which is gone afterwards, and without syncing."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of every broker, by key."""
    settings_of: Mapping[int, Mapping[str, str]] = field(default_factory=dict)
    """Of single brokers, by id; they outrank those of all."""
    certificates: Path | None = None
    """Directory made by ``ottla certs create``: mutual TLS everywhere."""
    environment: dict[str, str] = field(default_factory=dict)
    start_timeout_s: float = 30.0
    brokers: Sequence[BrokerProcess] = ()
    """By id; there from the start on."""
    _undo: ExitStack = field(default_factory=ExitStack)

    @property
    def bootstrap(self) -> str:
        """The addresses of all brokers, for clients."""
        return ",".join(broker.grpc_address for broker in self.brokers)

    @property
    def kafka_bootstrap(self) -> str:
        """The addresses of all brokers, for clients of Kafka's protocol."""
        return ",".join(broker.kafka_address for broker in self.brokers)

    @property
    def running(self) -> list[BrokerProcess]:
        """The brokers that were neither stopped nor killed."""
        return [broker for broker in self.brokers if broker.is_running]

    def directory_of(self, broker_id: int) -> Path:
        """Return where a broker keeps its data."""
        assert self.data_directory is not None, "not started"
        return self.data_directory / f"broker-{broker_id}"

    def start(self) -> Self:
        """Start every broker that does not run, those of :attr:`later` excepted; return when ready.

        Raises :exc:`~ottla.testing.broker_process.BrokerDidNotStartError`; all are stopped then.
        """
        if not self.brokers:
            self._prepare()
        try:
            at_once = self.brokers[: self.size - self.later]
            launched = [broker for broker in at_once if not broker.is_running]
            for broker in launched:
                broker.launch()
            for broker in launched:
                broker.wait_ready()
        except BaseException:
            self._undo.close()
            raise
        return self

    def stop(self, *, timeout_s: float = 30.0) -> list[int]:
        """Ask all that run to stop, at once; return their exit statuses when all have."""
        running = self.running
        for broker in running:
            broker.terminate()
        return [broker.wait_stopped(timeout_s=timeout_s) for broker in running]

    def kill(self) -> None:
        """``kill -9`` all that run."""
        for broker in self.running:
            broker.kill()

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._undo.close()

    def _prepare(self) -> None:
        common = {**(DEFAULTS if self.size >= _VOTERS_MAX else {}), **self.settings}
        if self.data_directory is None:
            directory = tempfile.TemporaryDirectory(prefix="ottla-cluster-")
            self.data_directory = Path(self._undo.enter_context(directory))
            common["log.ephemeral"] = "true"
        ports = list(_free_ports(3 * self.size))
        voters = range(_VOTERS_MAX if self.size >= _VOTERS_MAX else 1)
        common["controller.quorum.voters"] = ",".join(f"{i}@127.0.0.1:{ports[i]}" for i in voters)
        self.brokers = [
            BrokerProcess(
                data_directory=self.data_directory,
                grpc_port=ports[broker_id],
                http_port=ports[self.size + broker_id],
                kafka_port=ports[2 * self.size + broker_id],
                kafka_name="PLAINTEXT" if self.certificates is None else "SSL",
                subcommand=("broker",),
                arguments=_arguments({**common, **self._settings_of(broker_id)}),
                environment=self.environment,
                start_timeout_s=self.start_timeout_s,
            )
            for broker_id in range(self.size)
        ]
        for broker in self.brokers:
            self._undo.callback(broker.leave)

    def _settings_of(self, broker_id: int) -> dict[str, str]:
        settings = {"node.id": str(broker_id), **self.settings_of.get(broker_id, {})}
        if self.certificates is not None:
            settings["ssl.ca.location"] = str(self.certificates / "ca.pem")
            settings["ssl.certificate.location"] = str(
                self.certificates / f"broker-{broker_id}.pem"
            )
            settings["ssl.key.location"] = str(self.certificates / f"broker-{broker_id}-key.pem")
        return settings


def _arguments(settings: Mapping[str, str]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def _free_ports(count: int) -> Iterator[int]:
    """Return different ports; the system may offer one again that nobody has taken yet."""
    offered: set[int] = set()
    while len(offered) < count:
        port = free_port()
        if port not in offered:
            offered.add(port)
            yield port
