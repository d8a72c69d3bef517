"""The one table of broker settings: parsing, the page in docs/ and DescribeConfigs read it.

A row is a key, what it takes, its default and a sentence or two on its effect. Three kinds of
row meet here:

* the broker's own, in the order in which a reader wants to meet them: what changes behaviour
  first, what only tunes it last;
* for each setting of a topic, the broker's default for topics that do not set it. These
  rows are derived from :data:`~ottla.config.topic_settings.TOPIC_SETTINGS`;
* Kafka's coarser units of some of those (:data:`UNIT_ROWS`), e.g. ``log.retention.hours``: only
  another way of writing the row in milliseconds.

Text that a row does not take is refused with :exc:`~ottla.model.errors.InvalidConfigError`, whose
message has the key, the value and what it takes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from ottla.config.group_settings import GROUP_ROWS, GroupRow
from ottla.config.topic_settings import (
    INT32_MAX,
    INT64_MAX,
    TOPIC_SETTINGS,
    SettingType,
    TopicSetting,
)
from ottla.config.values import (
    Choice,
    FilePath,
    Flag,
    HostPort,
    Kind,
    Listeners,
    Multiple,
    Number,
    ProtocolMap,
    Text,
    TopicDefault,
    Voters,
)
from ottla.model.errors import InvalidConfigError
from ottla.model.limits import PARTITIONS_PER_TOPIC_MAX, REPLICATION_FACTOR_MAX


class Section(Enum):
    """The part of the page that a setting stands in; the value is its heading."""

    NODE = "This broker"
    LISTENERS = "Addresses"
    CONNECTIONS = "Connections of Kafka's protocol"
    TLS = "TLS"
    TOPICS = "New topics"
    GROUPS = "Consumer groups"
    TOPIC_DEFAULTS = "Defaults of topic settings"
    REPLICATION = "Replication"
    STORAGE = "Housekeeping"
    DIAGNOSTICS = "Diagnostics"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerSetting:
    """One row of the table."""

    key: str
    section: Section
    kind: Kind
    default: str
    """In canonical form; empty means "not set" for text, paths and addresses."""
    documentation: str
    """Effect and unit, in one or two sentences."""
    dynamic: bool = False
    """Whether it can be changed while brokers run: of one, or the default of all."""

    @property
    def type(self) -> SettingType:
        """What a describing tool prints beside the value."""
        match self.kind:
            case Flag():
                return SettingType.BOOLEAN
            case Number(maximum=maximum):
                return SettingType.INT if maximum <= INT32_MAX else SettingType.LONG
            case Voters() | Listeners():
                return SettingType.LIST
            case TopicDefault(row=row):
                return row.type
            case _:
                return SettingType.STRING

    def canonical(self, text: str) -> str:
        """Return ``text`` in the one form that equal values share.

        Raises :exc:`InvalidConfigError` if it is not a value that this setting takes.
        """
        return _canonical(self.key, self.kind, text)


def _canonical(key: str, kind: Kind, text: str) -> str:
    text = text.strip()
    if (value := kind.canonical(text)) is None:
        raise InvalidConfigError(f"{key} cannot be {text!r}: it takes {kind.takes}")
    return value


_OWN_ROWS: Final = (
    BrokerSetting(
        key="node.id",
        section=Section.NODE,
        kind=Number(maximum=INT32_MAX),
        default="0",
        documentation="Number of this broker in its cluster. A data directory belongs to the "
        "broker that made it and is refused to another.",
    ),
    BrokerSetting(
        key="broker.rack",
        section=Section.NODE,
        kind=Text(),
        default="",
        documentation="Name of the place that fails as a whole with this broker: a rack, a zone, a "
        "machine. Clients see it in the metadata.",
    ),
    BrokerSetting(
        key="log.dir",
        section=Section.NODE,
        kind=FilePath(),
        default="",
        documentation="Directory of everything this broker keeps. Not set: `broker-<node.id>` in "
        "`$XDG_DATA_HOME/ottla`, or in `~/.local/share/ottla` without that variable.",
    ),
    BrokerSetting(
        key="log.ephemeral",
        section=Section.NODE,
        kind=Flag(),
        default="false",
        documentation="true: nothing is synced to disk, so that a crash of the machine may lose "
        "any of it. For tests; `ottla up --ephemeral` sets it, on a directory that it removes.",
    ),
    BrokerSetting(
        key="controller.quorum.voters",
        section=Section.NODE,
        kind=Voters(),
        default="",
        documentation="The brokers that keep the cluster's metadata, 1, 3 or 5 of them, the same "
        "on every broker: `0@host-a:7092,1@host-b:7092,2@host-c:7092`, with their gRPC addresses. "
        "A broker that is not among them belongs to the cluster all the same. Not set: this broker "
        "is a cluster of its own.",
    ),
    BrokerSetting(
        key="listeners",
        section=Section.LISTENERS,
        kind=Listeners(),
        default="PLAINTEXT://127.0.0.1:9092",
        documentation="Where Kafka's protocol is served: NAME://HOST:PORT, several with commas. "
        "Port 0 takes any free port; no host, or 0.0.0.0, opens it to other machines. Not set, and "
        "`ssl.certificate.location` is: `SSL://127.0.0.1:9092`. Empty: it is not served.",
    ),
    BrokerSetting(
        key="advertised.listeners",
        section=Section.LISTENERS,
        kind=Listeners(),
        default="",
        documentation="Where clients of Kafka's protocol are told to connect, if that differs "
        "from `listeners`, by the same names: behind a proxy, in a container. A listener that is "
        "not named: where it listens or, if that is every address, the one that the client used.",
    ),
    BrokerSetting(
        key="listener.security.protocol.map",
        section=Section.LISTENERS,
        kind=ProtocolMap(),
        default="PLAINTEXT:PLAINTEXT,SSL:SSL",
        documentation="What each listener speaks: PLAINTEXT, or SSL with the files of the TLS "
        "settings. Listeners named PLAINTEXT and SSL need no entry.",
    ),
    BrokerSetting(
        key="grpc.listen",
        section=Section.LISTENERS,
        kind=HostPort(),
        default="127.0.0.1:7092",
        documentation="Where the gRPC API is served. Port 0 takes any free port; host 0.0.0.0 "
        "opens it to other machines.",
    ),
    BrokerSetting(
        key="grpc.advertised",
        section=Section.LISTENERS,
        kind=HostPort(optional=True),
        default="",
        documentation="Where clients are told to connect, if that differs from `grpc.listen`: "
        "behind a proxy, in a container. Not set: the listening address, or the machine's name if "
        "that is every address.",
    ),
    BrokerSetting(
        key="http.listen",
        section=Section.LISTENERS,
        kind=HostPort(),
        default="127.0.0.1:8092",
        documentation="Where `/metrics`, `/healthz` and `/readyz` are served. Port 0 takes any "
        "free port.",
    ),
    BrokerSetting(
        key="connections.max.idle.ms",
        section=Section.CONNECTIONS,
        kind=Number(minimum=-1, maximum=INT64_MAX, unit="ms"),
        default="600000",
        documentation="A connection on which nothing happens for this long is closed; clients "
        "connect again when they want something. -1: never.",
    ),
    BrokerSetting(
        key="max.connections",
        section=Section.CONNECTIONS,
        kind=Number(minimum=1, maximum=INT32_MAX, unit="connections"),
        default=str(INT32_MAX),
        documentation="Connections of this broker at a time; further ones are closed at once. "
        "Never more than half of the files that the process may open, whatever is set here: logs "
        "need some. Beside the next one in a TOML file, this key needs quotation marks.",
    ),
    BrokerSetting(
        key="max.connections.per.ip",
        section=Section.CONNECTIONS,
        kind=Number(minimum=1, maximum=INT32_MAX, unit="connections"),
        default=str(INT32_MAX),
        documentation="The same for the connections from one address.",
    ),
    BrokerSetting(
        key="socket.request.max.bytes",
        section=Section.CONNECTIONS,
        kind=Number(minimum=1024, maximum=INT32_MAX, unit="bytes"),
        default="104857600",
        documentation="A request that says it is larger costs its connection. Only requests that "
        "bring records may be so large; all others are small, and refused above 1 MiB (those that "
        "bring the assignment of a group, above 8 MiB).",
    ),
    BrokerSetting(
        key="queued.max.request.bytes",
        section=Section.CONNECTIONS,
        kind=Number(minimum=-1, maximum=INT64_MAX, unit="bytes"),
        default="268435456",
        documentation="Memory for requests that are on their way in or being served, over all "
        "connections; beyond it nothing more is read until there is room. -1: no limit.",
    ),
    BrokerSetting(
        key="fetch.max.bytes",
        section=Section.CONNECTIONS,
        kind=Number(minimum=1024, maximum=INT32_MAX, unit="bytes"),
        default="57671680",
        documentation="Records in one answer to a reader, unless a single batch is larger. Answers "
        "are smaller while many connections read, so that all of them fit into memory.",
    ),
    BrokerSetting(
        key="quota.window.num",
        section=Section.CONNECTIONS,
        kind=Number(minimum=1, maximum=1_000, unit="windows"),
        default="11",
        documentation="Over how many windows a client's quota in bytes a second is kept. A client "
        "that was idle may make up for all of them but one, and one that has sent too much waits "
        "for all of them at most.",
    ),
    BrokerSetting(
        key="quota.window.size.seconds",
        section=Section.CONNECTIONS,
        kind=Number(minimum=1, maximum=600, unit="s"),
        default="1",
        documentation="The length of each of those windows.",
    ),
    BrokerSetting(
        key="ssl.certificate.location",
        section=Section.TLS,
        kind=FilePath(),
        default="",
        documentation="PEM file with the broker's certificate, followed by those of the "
        "authorities between it and the root. Set it together with `ssl.key.location` to serve "
        "gRPC, and Kafka's listeners of protocol SSL, over TLS; not set: plain text.",
    ),
    BrokerSetting(
        key="ssl.key.location",
        section=Section.TLS,
        kind=FilePath(),
        default="",
        documentation="PEM file with the private key of `ssl.certificate.location`, without a "
        "password.",
    ),
    BrokerSetting(
        key="ssl.ca.location",
        section=Section.TLS,
        kind=FilePath(),
        default="",
        documentation="PEM file with the certificates of the authorities to trust: clients must "
        "show a certificate of one of them (mutual TLS), and so must the brokers, which connect to "
        "each other with `ssl.certificate.location`.",
    ),
    BrokerSetting(
        key="ssl.client.auth",
        section=Section.TLS,
        kind=Choice(("none", "required"), optional=True),
        default="",
        documentation="required: only who has a certificate of `ssl.ca.location` may connect. "
        "none: anybody may connect over TLS. Not set: required if `ssl.ca.location` is set, none "
        "if it is not.",
    ),
    BrokerSetting(
        key="auto.create.topics.enable",
        section=Section.TOPICS,
        kind=Flag(),
        default="true",
        documentation="Whether a topic that a client asks for and that does not exist is created, "
        "with the defaults below, if the client allows it.",
    ),
    BrokerSetting(
        key="num.partitions",
        section=Section.TOPICS,
        kind=Number(minimum=1, maximum=PARTITIONS_PER_TOPIC_MAX, unit="partitions"),
        default="1",
        documentation="Partitions of a new topic that does not say how many.",
    ),
    BrokerSetting(
        key="default.replication.factor",
        section=Section.TOPICS,
        kind=Number(minimum=1, maximum=REPLICATION_FACTOR_MAX, unit="replicas"),
        default="1",
        documentation="Replicas of each partition of a new topic that does not say how many. It "
        "cannot be more than there are brokers.",
    ),
    BrokerSetting(
        key="broker.session.timeout.ms",
        section=Section.REPLICATION,
        kind=Number(minimum=500, maximum=INT32_MAX, unit="ms"),
        default="3000",
        documentation="How long the controller waits for a sign of life before it lets other "
        "brokers lead what this one led. Only a broker that hangs, or that nobody reaches, makes "
        "it wait so long: one that dies is noticed at once. Six heartbeats are sent in this time.",
    ),
    BrokerSetting(
        key="replica.lag.time.max.ms",
        section=Section.REPLICATION,
        kind=Number(minimum=1000, maximum=INT32_MAX, unit="ms"),
        default="30000",
        documentation="A follower that has not caught up with its leader for this long is not in "
        "sync any more, and writes go on without it.",
    ),
    BrokerSetting(
        key="follower.replication.throttled.rate",
        section=Section.REPLICATION,
        kind=Number(minimum=1, maximum=INT64_MAX, unit="bytes a second"),
        default=str(INT64_MAX),
        documentation="How much this broker copies of partitions in which it is not in sync, from "
        "all leaders together: what a new, moved or returning replica may take away from others. "
        "Those that are in sync are not held back. The default is no limit. A rate below that at "
        "which records are written is never caught up with.",
        dynamic=True,
    ),
    BrokerSetting(
        key="auto.leader.rebalance.enable",
        section=Section.REPLICATION,
        kind=Flag(),
        default="true",
        documentation="Whether the controller lets preferred leaders lead again: some seconds "
        "after a broker has come back and caught up, and at the interval below. What this broker "
        "has here counts while it is the controller.",
    ),
    BrokerSetting(
        key="leader.imbalance.check.interval.seconds",
        section=Section.REPLICATION,
        kind=Number(minimum=1, maximum=INT32_MAX, unit="s"),
        default="300",
        documentation="How often the controller looks whether partitions are led by others than "
        "their preferred leaders.",
    ),
    BrokerSetting(
        key="log.retention.check.interval.ms",
        section=Section.STORAGE,
        kind=Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        default="300000",
        documentation="How often logs are looked at for segments that may be deleted.",
    ),
    BrokerSetting(
        key="log.flush.offset.checkpoint.interval.ms",
        section=Section.STORAGE,
        kind=Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        default="60000",
        documentation="How often the recovery points are written down. Recovery after a crash "
        "reads the segments past them, so less means a faster start.",
    ),
    BrokerSetting(
        key="producer.id.expiration.ms",
        section=Section.STORAGE,
        kind=Number(minimum=1, maximum=INT32_MAX, unit="ms"),
        default="86400000",
        documentation="How long a partition remembers an idempotent producer that sends nothing. "
        "A retry that comes later than this is not recognised.",
    ),
    BrokerSetting(
        key="diagnostics.level",
        section=Section.DIAGNOSTICS,
        kind=Choice(("debug", "info", "warning", "error")),
        default="info",
        documentation="The least important events that the broker writes to standard error.",
    ),
    BrokerSetting(
        key="diagnostics.format",
        section=Section.DIAGNOSTICS,
        kind=Choice(("text", "json")),
        default="text",
        documentation="One event a line, for people (text) or for programs (json).",
    ),
)


def _group_row(row: GroupRow) -> BrokerSetting:
    return BrokerSetting(
        key=row.key,
        section=Section.GROUPS,
        kind=row.kind,
        default=row.default,
        documentation=row.documentation,
    )


def _topic_default(row: TopicSetting) -> BrokerSetting:
    return BrokerSetting(
        key=row.synonym,
        section=Section.TOPIC_DEFAULTS,
        kind=TopicDefault(replace(row, key=row.synonym), row.key),
        default=row.default,
        documentation=row.documentation,
        dynamic=True,
    )


SETTINGS: Final[Mapping[str, BrokerSetting]] = {
    row.key: row
    for row in (
        *_OWN_ROWS,
        *map(_group_row, GROUP_ROWS),
        *map(_topic_default, TOPIC_SETTINGS.values()),
    )
}
"""By key; the broker's own in reading order, then the defaults of topics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRow:
    """A second way of writing a setting that is in milliseconds."""

    key: str
    means: str
    """The key in milliseconds."""
    kind: Multiple


def _unit_row(key: str, means: str, unit_ms: int) -> UnitRow:
    target = SETTINGS[means].kind
    assert isinstance(target, TopicDefault), means
    return UnitRow(
        key=key, means=means, kind=Multiple(target, unit=key.rpartition(".")[2], unit_ms=unit_ms)
    )


UNIT_ROWS: Final[Mapping[str, UnitRow]] = {
    row.key: row
    for row in (
        _unit_row("log.retention.minutes", "log.retention.ms", 60_000),
        _unit_row("log.retention.hours", "log.retention.ms", 3_600_000),
        _unit_row("log.roll.hours", "log.roll.ms", 3_600_000),
    )
}
"""By key, the finer unit of one setting before the coarser."""

SPELLINGS: Final[Mapping[str, tuple[str, ...]]] = {
    means: (means, *(row.key for row in UNIT_ROWS.values() if row.means == means))
    for means in {row.means: None for row in UNIT_ROWS.values()}
}
"""By key in milliseconds: the keys that set it, the finest unit first."""


def canonical_pair(key: str, text: str) -> tuple[str, str]:
    """Check one setting; return its key in :data:`SETTINGS` and the value in canonical form.

    Raises :exc:`InvalidConfigError` for an unknown key, naming the nearest that there is, and for
    a value that it does not take.
    """
    if (setting := SETTINGS.get(key)) is not None:
        return key, setting.canonical(text)
    if (row := UNIT_ROWS.get(key)) is not None:
        return row.means, _canonical(key, row.kind, text)
    raise InvalidConfigError(f"unknown setting {key!r}; {_advice(key)}")


def _advice(key: str) -> str:
    if (topic_setting := TOPIC_SETTINGS.get(key)) is not None:
        return f"the default for all topics is {topic_setting.synonym}"
    nearest = difflib.get_close_matches(key, [*SETTINGS, *UNIT_ROWS], n=1)
    return f"did you mean {nearest[0]}?" if nearest else "docs/configuration.md lists them all"
