"""What one broker is told: every setting as a typed value, checked as a whole.

A configuration begins as text by key, from wherever it was read (:mod:`ottla.config.sources`).
:func:`broker_config` turns it into frozen values, one small class an area, or refuses it with
*all* that is wrong at once: whoever sets up a broker should not have to start it five times to
learn of five mistakes.

Settings of topics stay text here (:attr:`BrokerConfig.values`). They turn into numbers together
with what each topic sets itself, in
:func:`~ottla.config.topic_settings.resolve_topic_settings`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ottla.config.addresses import Address, parse_address, parse_voters
from ottla.config.group_settings import GroupsConfig, group_contradictions, groups_config
from ottla.config.listeners import (
    PLAINTEXT,
    SECURITY_PROTOCOLS,
    SSL,
    KafkaListener,
    parse_listeners,
    parse_protocol_map,
)
from ottla.config.settings import SETTINGS, canonical_pair
from ottla.config.topic_settings import INT64_MAX
from ottla.model.errors import InvalidConfigError
from ottla.model.ids import BrokerId

_CATCH_UP_RATE: Final = "follower.replication.throttled.rate"


class BadConfigurationError(Exception):
    """The configuration is not one a broker can run with; ``problems`` are sentences."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """Who this broker is."""

    node_id: BrokerId
    rack: str
    """Empty: none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuorumConfig:
    """Who keeps the cluster's metadata."""

    voters: Mapping[BrokerId, Address]
    """By ascending id; empty: this broker alone, which then needs no address."""

    def ids(self, node_id: BrokerId) -> frozenset[BrokerId]:
        """Return who votes, as broker ``node_id`` is told."""
        return frozenset(self.voters) or frozenset({node_id})

    def is_alone(self, node_id: BrokerId) -> bool:
        """Return whether broker ``node_id`` is the only voter."""
        return self.ids(node_id) == {node_id}

    def address_of(self, broker_id: BrokerId, registered: Address) -> Address:
        """Return where other brokers connect to ``broker_id``, whose clients use ``registered``.

        A voter's address is one that brokers reach; what clients are told may be another one, as
        where the brokers are in containers and the clients are not.
        """
        return self.voters.get(broker_id, registered)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicationConfig:
    """How long brokers wait for each other, and who leads."""

    session_timeout_ms: int
    replica_lag_time_max_ms: int
    balances_leaders: bool
    """Preferred leaders lead again by themselves."""
    balance_check_interval_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerConfig:
    """Where it serves. Port 0 means any free port."""

    grpc: Address
    advertised: Address | None
    """``None``: the address that ``grpc`` turned out to be."""
    http: Address
    kafka: tuple[KafkaListener, ...] = ()
    """In the order of the setting; the first one is what a user is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What connections of Kafka's protocol may take."""

    idle_max_ms: int | None
    """``None``: for ever."""
    connections_max: int
    connections_per_ip_max: int
    request_bytes_max: int
    queued_bytes_max: int | None
    """Over all connections; ``None``: no limit."""
    fetch_bytes_max: int
    """Of one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaConfig:
    """Over how long the rates of clients are kept."""

    window_count: int
    window_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """PEM files; nothing here has been read yet (:mod:`ottla.security.tls` does)."""

    certificate: Path | None
    key: Path | None
    ca: Path | None
    client_certificate_required: bool
    """Mutual TLS."""

    @property
    def enabled(self) -> bool:
        """Whether gRPC is served over TLS."""
        return self.certificate is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDefaults:
    """Of a new topic that does not say otherwise."""

    auto_create: bool
    num_partitions: int
    replication_factor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """Where the data is, and how often it is looked after."""

    log_dir: Path
    ephemeral: bool
    """Nothing is synced."""

    retention_check_interval_ms: int
    checkpoint_interval_ms: int
    producer_id_expiration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosticsConfig:
    """What the broker writes about itself to standard error."""

    level: str
    """``debug``, ``info``, ``warning`` or ``error``."""
    format: str
    """``text`` or ``json``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """Everything one broker is told."""

    node: NodeConfig
    quorum: QuorumConfig
    replication: ReplicationConfig
    listeners: ListenerConfig
    connections: ConnectionLimits
    quotas: QuotaConfig
    tls: TlsConfig
    topics: TopicDefaults
    groups: GroupsConfig
    storage: StorageConfig
    diagnostics: DiagnosticsConfig
    values: Mapping[str, str]
    """What was set, by key in canonical form; a key that is missing has its default. This is the
    ``broker_configs`` of :func:`~ottla.config.topic_settings.resolve_topic_settings`."""


def broker_config(
    values: Mapping[str, str],
    *,
    origins: Mapping[str, str] | None = None,
    default_log_dir: Path | None = None,
) -> BrokerConfig:
    """Check ``values`` and return them typed.

    ``origins`` says where each key was found, for the sentences (``ottla.toml:3``).
    ``default_log_dir`` is the directory of all brokers' data, in which ``broker-<node.id>`` is used
    if ``log.dir`` is not set.

    Raises :exc:`BadConfigurationError` with every problem that there is.
    """
    origins = origins or {}
    problems: list[str] = []
    canonical: dict[str, str] = {}
    for key, text in values.items():
        try:
            known, value = canonical_pair(key, text)
        except InvalidConfigError as error:
            problems.append(f"{error}{_found(key, origins)}")
        else:
            canonical[known] = value
    # A setting that was refused counts as not set below, so that it is reported once.
    reader = _Reader(canonical)
    if default_log_dir is None and not reader.text("log.dir"):
        problems.append("log.dir is not set: it takes the directory that the broker keeps data in")
    config = _assemble(reader, default_log_dir or Path())
    problems.extend(
        f"{problem.sentence}{_found(problem.key, origins)}"
        for problem in _contradictions(config, reader)
    )
    if problems:
        raise BadConfigurationError(problems)
    return config


def catch_up_rate(values: Mapping[str, str]) -> int | None:
    """Return how many bytes a second to copy of what is not in sync; ``None``: any number.

    It can be changed while a broker runs, so it is looked up in the values in force each time.
    """
    rate = int(values.get(_CATCH_UP_RATE, SETTINGS[_CATCH_UP_RATE].default))
    return None if rate == INT64_MAX else rate


class _Reader:
    """Canonical text by key, read as what it stands for."""

    def __init__(self, canonical: Mapping[str, str]) -> None:
        self.canonical = canonical

    def text(self, key: str) -> str:
        return self.canonical.get(key, SETTINGS[key].default)

    def number(self, key: str) -> int:
        return int(self.text(key))

    def limit(self, key: str) -> int | None:
        number = self.number(key)
        return None if number < 0 else number

    def flag(self, key: str) -> bool:
        return self.text(key) == "true"

    def path(self, key: str) -> Path | None:
        text = self.text(key)
        return Path(text).expanduser() if text else None

    def voters(self, key: str) -> dict[BrokerId, Address]:
        text = self.text(key)
        if not text:
            return {}
        return {BrokerId(node_id): address for node_id, address in parse_voters(text).items()}

    def address(self, key: str) -> Address | None:
        text = self.text(key)
        return parse_address(text) if text else None


def _assemble(reader: _Reader, default_log_dir: Path) -> BrokerConfig:
    grpc, http = reader.address("grpc.listen"), reader.address("http.listen")
    assert grpc is not None
    assert http is not None
    node_id = reader.number("node.id")
    return BrokerConfig(
        node=NodeConfig(node_id=BrokerId(node_id), rack=reader.text("broker.rack")),
        quorum=QuorumConfig(voters=reader.voters("controller.quorum.voters")),
        replication=ReplicationConfig(
            session_timeout_ms=reader.number("broker.session.timeout.ms"),
            replica_lag_time_max_ms=reader.number("replica.lag.time.max.ms"),
            balances_leaders=reader.flag("auto.leader.rebalance.enable"),
            balance_check_interval_ms=1_000
            * reader.number("leader.imbalance.check.interval.seconds"),
        ),
        listeners=ListenerConfig(
            grpc=grpc,
            advertised=reader.address("grpc.advertised"),
            http=http,
            kafka=_kafka_listeners(reader),
        ),
        connections=ConnectionLimits(
            idle_max_ms=reader.limit("connections.max.idle.ms"),
            connections_max=reader.number("max.connections"),
            connections_per_ip_max=reader.number("max.connections.per.ip"),
            request_bytes_max=reader.number("socket.request.max.bytes"),
            queued_bytes_max=reader.limit("queued.max.request.bytes"),
            fetch_bytes_max=reader.number("fetch.max.bytes"),
        ),
        quotas=QuotaConfig(
            window_count=reader.number("quota.window.num"),
            window_ms=1_000 * reader.number("quota.window.size.seconds"),
        ),
        tls=TlsConfig(
            certificate=reader.path("ssl.certificate.location"),
            key=reader.path("ssl.key.location"),
            ca=reader.path("ssl.ca.location"),
            client_certificate_required=_client_certificate_required(reader),
        ),
        topics=TopicDefaults(
            auto_create=reader.flag("auto.create.topics.enable"),
            num_partitions=reader.number("num.partitions"),
            replication_factor=reader.number("default.replication.factor"),
        ),
        groups=groups_config(reader.number),
        storage=StorageConfig(
            log_dir=reader.path("log.dir") or default_log_dir / f"broker-{node_id}",
            ephemeral=reader.flag("log.ephemeral"),
            retention_check_interval_ms=reader.number("log.retention.check.interval.ms"),
            checkpoint_interval_ms=reader.number("log.flush.offset.checkpoint.interval.ms"),
            producer_id_expiration_ms=reader.number("producer.id.expiration.ms"),
        ),
        diagnostics=DiagnosticsConfig(
            level=reader.text("diagnostics.level"), format=reader.text("diagnostics.format")
        ),
        values=reader.canonical,
    )


def _kafka_listeners(reader: _Reader) -> tuple[KafkaListener, ...]:
    text = reader.text("listeners")
    if "listeners" not in reader.canonical and reader.text("ssl.certificate.location"):
        # Whoever sets up TLS does not expect a port beside it that asks nobody who is there.
        text = text.replace(PLAINTEXT, SSL)
    advertised = parse_listeners(reader.text("advertised.listeners"))
    protocols = _protocols(reader)
    return tuple(
        KafkaListener(
            name=name,
            listen=address,
            security_protocol=protocols.get(name, PLAINTEXT),
            advertised=advertised.get(name),
        )
        for name, address in parse_listeners(text).items()
    )


def _protocols(reader: _Reader) -> dict[str, str]:
    named = {protocol: protocol for protocol in SECURITY_PROTOCOLS}
    return named | parse_protocol_map(reader.text("listener.security.protocol.map"))


def _client_certificate_required(reader: _Reader) -> bool:
    said = reader.text("ssl.client.auth")
    return said == "required" if said else bool(reader.text("ssl.ca.location"))


_VOTERS: Final = (0, 1, 3, 5)
"""0: not set. Two voters survive no more losses than one does, four no more than three."""


class _Problem(NamedTuple):
    key: str
    """Where the reader should look."""
    sentence: str


def _contradictions(config: BrokerConfig, reader: _Reader) -> Iterator[_Problem]:
    """Say which settings are fine alone and not together."""
    listeners = config.listeners
    yield from _tls_contradictions(config.tls)
    yield from _listener_contradictions(config, reader)
    for key, sentence in group_contradictions(config.groups):
        yield _Problem(key, sentence)
    if (advertised := listeners.advertised) and (advertised.is_wildcard or not advertised.port):
        yield _Problem(
            "grpc.advertised",
            f"grpc.advertised cannot be '{advertised}': it takes an address that clients can "
            "connect to, not every address and not port 0",
        )
    if listeners.grpc.port and listeners.grpc == listeners.http:
        yield _Problem(
            "http.listen",
            f"http.listen and grpc.listen cannot both be '{listeners.http}': give one of them "
            "another port",
        )
    if len(config.quorum.voters) not in _VOTERS:
        yield _Problem(
            "controller.quorum.voters",
            f"controller.quorum.voters cannot have {len(config.quorum.voters)} voters: 1, 3 or 5 "
            "can agree best, and more brokers than that belong to the cluster without voting",
        )
    replicas, needed = config.topics.replication_factor, reader.number("min.insync.replicas")
    if needed > replicas:
        yield _Problem(
            "min.insync.replicas",
            f"min.insync.replicas cannot be '{needed}' while default.replication.factor is "
            f"{replicas}: every write with acks=all would be refused",
        )


def _tls_contradictions(tls: TlsConfig) -> Iterator[_Problem]:
    if tls.certificate is not None and tls.key is None:
        yield _Problem(
            "ssl.certificate.location",
            "ssl.certificate.location is set and ssl.key.location is not: a certificate needs "
            "its private key",
        )
    if tls.key is not None and tls.certificate is None:
        yield _Problem(
            "ssl.key.location",
            "ssl.key.location is set and ssl.certificate.location is not: a private key needs "
            "its certificate",
        )
    if tls.ca is not None and tls.certificate is None and tls.key is None:
        yield _Problem(
            "ssl.ca.location",
            "ssl.ca.location is set and ssl.certificate.location is not: without a certificate and "
            "its key the broker would serve in plain text",
        )
    elif tls.client_certificate_required and not (tls.enabled and tls.ca is not None):
        yield _Problem(
            "ssl.client.auth",
            "ssl.client.auth cannot be 'required' without ssl.certificate.location, "
            "ssl.key.location and ssl.ca.location",
        )


def _listener_contradictions(config: BrokerConfig, reader: _Reader) -> Iterator[_Problem]:
    listeners, protocols = config.listeners.kafka, _protocols(reader)
    taken = {config.listeners.grpc: "grpc.listen", config.listeners.http: "http.listen"}
    for listener in listeners:
        if listener.name not in protocols:
            yield _Problem(
                "listeners",
                f"listeners has '{listener.name}', and this version has no SASL: make it a "
                "listener of PLAINTEXT or SSL"
                if listener.name.startswith("SASL_")
                else f"listeners has '{listener.name}', and listener.security.protocol.map does "
                f"not say what it speaks: add {listener.name}:PLAINTEXT or {listener.name}:SSL",
            )
        if listener.is_encrypted and not config.tls.enabled:
            yield _Problem(
                "listeners",
                f"listeners has '{listener}', which speaks SSL: that needs "
                "ssl.certificate.location and ssl.key.location",
            )
        if listener.listen.port and listener.listen in taken:
            yield _Problem(
                "listeners",
                f"listeners and {taken[listener.listen]} cannot both have '{listener.listen}': "
                "give one of them another port",
            )
        taken[listener.listen] = f"its {listener.name}"
    names = {listener.name for listener in listeners}
    for name, address in parse_listeners(reader.text("advertised.listeners")).items():
        if name not in names:
            yield _Problem(
                "advertised.listeners",
                f"advertised.listeners has '{name}', which is none of listeners "
                f"({', '.join(sorted(names)) or 'which has none'})",
            )
        if address.is_wildcard or not address.port:
            yield _Problem(
                "advertised.listeners",
                f"advertised.listeners cannot have '{address}': it takes addresses that clients "
                "can connect to, not every address and not port 0",
            )


def _found(key: str, origins: Mapping[str, str]) -> str:
    return f" ({origins[key]})" if key in origins else ""
