"""What ``ottla up`` tells each of several brokers, worked out before any of them starts.

Broker *i* gets the *i*-th port in a row, or a port of its own if any will do, and a directory of
its own. All get the same list of voters: the first three brokers, of five and more the first
five, and of two the first one alone, because two that vote survive no more losses than one. Once a
cluster has voters it keeps them, whatever the number of brokers is later.

Copies are made as three brokers allow: ``default.replication.factor`` 3 and
``min.insync.replicas`` 2, unless the user set them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from ottla.cli.broker_options import Sources, load
from ottla.cli.failure import CommandError
from ottla.cli.ports import Door, check_door, free_ports
from ottla.config.addresses import Address
from ottla.config.broker_config import BrokerConfig
from ottla.config.listeners import KafkaListener, write_listeners
from ottla.config.sources import Found
from ottla.model.ids import BrokerId
from ottla.runtime.posix import PosixFileSystem
from ottla.storage.quorum_voters import as_text, read_voters

COPIES: Final = 3
"""Of a new partition: one broker can be lost while another one is being restarted."""

COPIES_NEEDED: Final = 2
"""For a write with ``acks=all``: what was acknowledged survives the loss of a broker."""

_DEFAULTS: Final = "the default of ottla up"

UP_DEFAULTS: Final = (
    Found("group.initial.rebalance.delay.ms", "0", _DEFAULTS),
    Found("group.consumer.assignment.interval.ms", "0", _DEFAULTS),
)
"""Of one broker and of several: who tries something out should not wait for other members."""

_OF_ONE_BROKER: Final[Mapping[str, str]] = {
    "node.id": "the brokers are numbered from 0 on",
    "log.dir": "each broker needs a directory of its own, below that of --data",
    "grpc.advertised": "each broker is found where it listens",
    "advertised.listeners": "each broker is found where it listens",
    "controller.quorum.voters": "the first brokers vote",
}
"""Settings that several brokers cannot share, and what they have instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedBroker:
    """What one broker is told that the others are not."""

    node_id: int
    grpc: Address
    http: Address
    kafka: Mapping[str, Address]
    """By the name of the listener, the first one first."""
    log_dir: Path
    settings: Mapping[str, str]
    """Everything above, and what the brokers have in common, by key."""

    @property
    def reached(self) -> Address:
        """Where programs of this machine connect to it."""
        return _reached(self.grpc)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """The brokers of one ``ottla up``."""

    brokers: Sequence[PlannedBroker]
    common: BrokerConfig
    """What they share."""

    @property
    def bootstrap(self) -> str:
        """The addresses for clients."""
        return ",".join(str(broker.reached) for broker in self.brokers)

    @property
    def kafka_bootstrap(self) -> str:
        """The addresses for clients of Kafka's protocol; empty if there are none."""
        return ",".join(
            str(_reached(next(iter(broker.kafka.values()))))
            for broker in self.brokers
            if broker.kafka
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says about a cluster."""

    count: int
    sources: Sources
    flags: Sequence[Found] = ()
    """Settings that follow from other flags."""
    certificates: Path | None = None
    """Directory that ``ottla certs create`` made; ``None``: no TLS but by settings."""
    host: str | None = None
    grpc_port: int | None = None
    kafka_port: int | None = None
    http_port: int | None = None


def plan_cluster(wanted: Wanted) -> ClusterPlan:
    """Decide where each broker listens and keeps its data, and what they share.

    Raises :exc:`CommandError` if the settings do not go together, a port is taken, or the data
    belongs to a cluster with other voters.
    """
    common = _common(wanted)
    _refuse_settings_of_one(wanted, common)
    count, host = wanted.count, wanted.host
    first = chosen_address(common.listeners.grpc, host=host, port=wanted.grpc_port)
    rows = _Rows(count)
    grpc = rows.row(Door("gRPC", first, count))
    kafka = {
        name: rows.row(Door("Kafka", address, count))
        for name, address in chosen_listeners(
            common.listeners.kafka, host=host, port=wanted.kafka_port
        ).items()
    }
    first = chosen_address(common.listeners.http, host=host, port=wanted.http_port)
    http = rows.row(Door("HTTP", first, count))
    # Where broker 0 keeps its data, the others do beside it.
    directories = [common.storage.log_dir.parent / f"broker-{node_id}" for node_id in range(count)]
    voters = _voters(directories)
    shared = {
        **{found.key: found.text for found in wanted.flags},
        **_shared(common, grpc, voters),
    }
    return ClusterPlan(
        common=common,
        brokers=[
            PlannedBroker(
                node_id=node_id,
                grpc=grpc[node_id],
                http=http[node_id],
                kafka={name: row[node_id] for name, row in kafka.items()},
                log_dir=directories[node_id],
                settings={
                    **shared,
                    **certificate_settings(wanted.certificates, node_id),
                    "node.id": str(node_id),
                    "log.dir": str(directories[node_id]),
                    "grpc.listen": str(grpc[node_id]),
                    "http.listen": str(http[node_id]),
                    "listeners": write_listeners(
                        {name: row[node_id] for name, row in kafka.items()}
                    ),
                },
            )
            for node_id in range(count)
        ],
    )


def chosen_address(below: Address, *, host: str | None, port: int | None) -> Address:
    """Return the address that the flags make of what the settings say; ``None``: nothing said."""
    return Address(
        below.host if host is None else host.strip("[]"), below.port if port is None else port
    )


def chosen_listeners(
    below: Sequence[KafkaListener], *, host: str | None, port: int | None
) -> dict[str, Address]:
    """Return what the flags make of the listeners that the settings say, by name.

    Raises :exc:`CommandError` if one port is given for several listeners.
    """
    if port is not None and len(below) > 1:
        names = ", ".join(listener.name for listener in below)
        raise CommandError(
            f"--kafka-port is one port, and there are the listeners {names}; say the ports of all "
            "of them in the setting listeners"
        )
    return {
        listener.name: chosen_address(listener.listen, host=host, port=port) for listener in below
    }


def certificate_settings(directory: Path | None, node_id: int) -> dict[str, str]:
    """Return the settings for the files that ``ottla certs create`` made for one broker."""
    if directory is None:
        return {}
    return {
        "ssl.ca.location": str(directory / "ca.pem"),
        "ssl.certificate.location": str(directory / f"broker-{node_id}.pem"),
        "ssl.key.location": str(directory / f"broker-{node_id}-key.pem"),
    }


def voters_of(count: int) -> frozenset[BrokerId]:
    """Return who votes in a new cluster of ``count`` brokers."""
    voters = max(size for size in (1, 3, 5) if size <= count)
    return frozenset(map(BrokerId, range(voters)))


def _common(wanted: Wanted) -> BrokerConfig:
    """Load what the sources say, as broker 0 would be told."""
    copies = Found("default.replication.factor", str(min(COPIES, wanted.count)), _DEFAULTS)
    flags = [
        *wanted.flags,
        *(Found(*pair, "--certs") for pair in certificate_settings(wanted.certificates, 0).items()),
    ]
    config = load(wanted.sources, flags=flags, defaults=[*UP_DEFAULTS, copies])
    if config.topics.replication_factor >= COPIES:
        needed = Found("min.insync.replicas", str(COPIES_NEEDED), _DEFAULTS)
        config = load(wanted.sources, flags=flags, defaults=[*UP_DEFAULTS, copies, needed])
    return config


def _refuse_settings_of_one(wanted: Wanted, common: BrokerConfig) -> None:
    for key, instead in _OF_ONE_BROKER.items():
        if key in common.values:
            raise CommandError(
                f"{key} is set, and {wanted.count} brokers cannot share it: {instead}; leave it "
                "out, say --brokers 1, or start each broker with 'ottla broker'"
            )


class _Rows:
    """Rows of ports, one port for each broker, none of them twice."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._taken: dict[int, str] = {}

    def row(self, door: Door) -> list[Address]:
        """Return an address for each broker."""
        first = door.address
        row = self._any(first) if not first.port else self._from(first, door.what)
        self._taken.update((address.port, door.what) for address in row)
        if first.port:
            check_door(door)
        return row

    def _any(self, first: Address) -> list[Address]:
        free = free_ports(first.host, self._count + len(self._taken))
        unused = (port for port in free if port not in self._taken)
        return [first._replace(port=port) for port in islice(unused, self._count)]

    def _from(self, first: Address, what: str) -> list[Address]:
        row = [first._replace(port=first.port + index) for index in range(self._count)]
        for address in row:
            if address.port in self._taken:
                other = self._taken[address.port]
                raise CommandError(
                    f"port {address.port} would be for {other} and for {what}: {self._count} "
                    "brokers take as many ports in a row for each; choose "
                    f"--{other.lower()}-port and --{what.lower()}-port further apart"
                )
        return row


def _voters(directories: Sequence[Path]) -> frozenset[BrokerId]:
    """Return who votes, which the data says if there is any."""
    count = len(directories)
    wanted = voters_of(count)
    file_system = PosixFileSystem()
    for directory in directories:
        known = read_voters(directory, file_system=file_system)
        if known is None or known == wanted:
            continue
        # More brokers than those that vote are fine; but one voter is not what three promise.
        if len(known) >= COPIES and max(known) < count:
            return known
        before = max(known) + 1
        raise CommandError(
            f"the metadata of the cluster in {directory} is kept by {as_text(known)}; with "
            f"{count} brokers it would be {as_text(wanted)}, who could agree without what is known "
            f"there; go on with it: --brokers {before}, or begin a new cluster in another "
            "directory: --data DIR"
        )
    return wanted


def _shared(
    common: BrokerConfig, grpc: Sequence[Address], voters: frozenset[BrokerId]
) -> dict[str, str]:
    keys = ("min.insync.replicas", *(found.key for found in UP_DEFAULTS))
    return {
        "default.replication.factor": str(common.topics.replication_factor),
        **{key: common.values[key] for key in keys if key in common.values},
        "controller.quorum.voters": ",".join(
            f"{voter}@{_reached(grpc[voter])}" for voter in sorted(voters)
        ),
    }


def _reached(listen: Address) -> Address:
    """Return where a broker of this machine is reached."""
    if not listen.is_wildcard:
        return listen
    return listen._replace(host="::1" if ":" in listen.host else "127.0.0.1")
