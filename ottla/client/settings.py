"""What the clients can be told, by the names that Python users of Kafka type.

Each area is one frozen dataclass: the field is the setting, its default is the default, and
the text below it is its documentation. The ``*Options`` dictionaries repeat names and types,
because that is how Python describes keyword arguments to an editor; a test holds the two
together.

Sizes are bytes and times milliseconds, as the names say.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, TypeVar

from ottla.client.addresses import parse_addresses
from ottla.client.partitioners import Partitioner
from ottla.model.errors import InvalidConfigError
from ottla.model.limits import (
    BROKER_RACK_CHARACTERS_MAX,
    FETCH_CREDIT_BYTES_MAX,
    FETCH_PARTITION_BYTES_DEFAULT,
    FETCH_RESPONSE_BYTES_DEFAULT,
    FETCH_RESPONSE_BYTES_MAX,
    FETCH_WAIT_MAX_MS,
    GIB,
    KIB,
    MIB,
    PRODUCE_TIMEOUT_MAX_MS,
)
from ottla.record.compression import Codec

Serializer = Callable[[Any], bytes | None]
"""Turns what the application has into bytes. ``None`` is not passed to it: null stays null."""

Deserializer = Callable[[bytes], Any]
"""The reverse. Not called for null."""

REQUEST_RECORDS_BYTES_MAX: Final = FETCH_RESPONSE_BYTES_MAX
"""Records in one produce request: what is left of a gRPC message for names and lengths."""

COMPRESSION_CODECS: Final = {None: Codec.NONE} | {codec.name.lower(): codec for codec in Codec}

REQUIRED_ACKS: Final[Mapping[object, int]] = {
    "all": -1,
    -1: -1,
    "-1": -1,
    0: 0,
    "0": 0,
    1: 1,
    "1": 1,
}

DAY_MS: Final = 86_400_000


class ConnectionOptions(TypedDict, total=False):
    """Keyword arguments of every client; :class:`ConnectionSettings` documents them."""

    client_id: str
    request_timeout_ms: int
    connect_timeout_ms: int
    retry_backoff_ms: int
    retry_backoff_max_ms: int
    metadata_max_age_ms: int
    security_protocol: Literal["PLAINTEXT", "SSL"] | None
    ssl_ca_location: str | Path | None
    ssl_certificate_location: str | Path | None
    ssl_key_location: str | Path | None


class ProducerOptions(ConnectionOptions, total=False):
    """Keyword arguments of a producer; :class:`ProducerSettings` documents them."""

    acks: int | str
    compression_type: str | None
    linger_ms: float
    batch_size: int
    buffer_memory: int
    max_block_ms: int
    max_request_size: int
    delivery_timeout_ms: int
    enable_idempotence: bool | None
    partitioner: Partitioner | None
    key_serializer: Serializer | None
    value_serializer: Serializer | None
    allow_auto_create_topics: bool


class ConsumerOptions(ConnectionOptions, total=False):
    """Keyword arguments of a consumer; :class:`ConsumerSettings` documents them."""

    group_id: str | None
    group_instance_id: str | None
    group_assignor: Literal["uniform", "range"] | None
    enable_auto_commit: bool
    auto_commit_interval_ms: int
    max_poll_interval_ms: int
    auto_offset_reset: Literal["latest", "earliest", "none"]
    fetch_min_bytes: int
    fetch_max_bytes: int
    fetch_max_wait_ms: int
    max_partition_fetch_bytes: int
    max_poll_records: int
    prefetch_bytes: int
    check_crcs: bool
    client_rack: str | None
    key_deserializer: Deserializer | None
    value_deserializer: Deserializer | None
    allow_auto_create_topics: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSettings:
    """How to reach brokers."""

    bootstrap_servers: str | Iterable[str] = "127.0.0.1:7092"
    """``host:port`` of one broker or several, by their gRPC ports. One that answers is enough:
    it names the others."""

    client_id: str = "ottla-python"
    """Shown in brokers' logs, as part of the user agent."""

    request_timeout_ms: int = 30_000
    """How long one request may take before it counts as lost and is tried again."""

    connect_timeout_ms: int = 10_000
    """How long ``start`` keeps trying to reach a first broker. Long enough for one that is just
    starting, short enough to notice a wrong address."""

    retry_backoff_ms: int = 100
    """Before the first retry; doubles from one to the next, with a jitter of a fifth."""

    retry_backoff_max_ms: int = 1_000
    """Between two retries, at most."""

    metadata_max_age_ms: int = 300_000
    """After so long, look for new partitions and moved leaders even if nothing went wrong."""

    security_protocol: Literal["PLAINTEXT", "SSL"] | None = None
    """``SSL`` for TLS. ``None``: TLS if any file below is named, else plain text."""

    ssl_ca_location: str | Path | None = None
    """PEM file of the authorities to trust; ``None`` with TLS: the ones gRPC brings along."""

    ssl_certificate_location: str | Path | None = None
    """PEM file of this client's certificate chain, where brokers ask for one (mutual TLS)."""

    ssl_key_location: str | Path | None = None
    """PEM file of the certificate's private key, not encrypted."""

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted."""
        if self.security_protocol is not None:
            return self.security_protocol == "SSL"
        return any((self.ssl_ca_location, self.ssl_certificate_location, self.ssl_key_location))

    def validate(self) -> None:
        """Raise :exc:`InvalidConfigError` on the first value that makes no sense."""
        parse_addresses(self.bootstrap_servers)
        _check_range("request_timeout_ms", self.request_timeout_ms, 1, PRODUCE_TIMEOUT_MAX_MS)
        _check_range("connect_timeout_ms", self.connect_timeout_ms, 1, DAY_MS)
        _check_range("retry_backoff_ms", self.retry_backoff_ms, 1, DAY_MS)
        _check_range("retry_backoff_max_ms", self.retry_backoff_max_ms, 1, DAY_MS)
        _check_range("metadata_max_age_ms", self.metadata_max_age_ms, 1, DAY_MS)
        _check_member("security_protocol", self.security_protocol, (None, "PLAINTEXT", "SSL"))
        if not self.client_id.isascii() or not self.client_id.isprintable():
            raise InvalidConfigError(
                f"client_id is {self.client_id!r}; use printable ASCII characters"
            )
        if (self.ssl_certificate_location is None) != (self.ssl_key_location is None):
            raise InvalidConfigError(
                "ssl_certificate_location and ssl_key_location go together; give both or neither"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings(ConnectionSettings):
    """How records are collected and sent."""

    acks: int | str = "all"
    """``"all"`` (or -1): acknowledged when committed, i.e. on every in-sync replica and synced
    to disk there. 1: when the leader has appended. 0: as soon as possible, without promise."""

    compression_type: str | None = None
    """``gzip``, ``snappy``, ``lz4`` or ``zstd``; ``None`` or ``none``: as they are."""

    linger_ms: float = 5
    """How long a batch that is not full waits for more records. Kafka's default since 4.0;
    ``send_and_wait`` does not wait for it."""

    batch_size: int = 64 * KIB
    """A batch is sent once it holds about so many bytes before compression; a larger record
    makes a batch of its own. What one message costs is spread over 600 records of 100 bytes."""

    buffer_memory: int = 32 * MIB
    """For records that are not acknowledged yet. A batch counts with ``batch_size`` or, if that
    is more, with its one record. When it is used up, ``send`` waits."""

    max_block_ms: int = 60_000
    """How long ``send`` waits for memory, or for the partitions of a topic, before it raises."""

    max_request_size: int = MIB
    """Records in one request, hence in one batch and in one record. Topics refuse batches above
    their own ``max.message.bytes``, which is about 1 MiB by default; one of several records is then
    sent in halves, and a record that is too large by itself fails."""

    delivery_timeout_ms: int = 120_000
    """From ``send`` to the acknowledgement, retries included; after that the record failed with
    :exc:`~ottla.client.errors.DeliveryTimeoutError`."""

    enable_idempotence: bool | None = None
    """Number the batches, so that a retried one is recognised and not appended again. ``None``:
    on with ``acks="all"``, off otherwise. Off, a retry may repeat records; their order is kept
    all the same, by sending one batch at a time to a partition."""

    partitioner: Partitioner | None = None
    """Chooses partitions instead of the built-in partitioner, which agrees with the Java
    client's."""

    key_serializer: Serializer | None = None
    """Turns keys into bytes; ``None``: keys are bytes already."""

    value_serializer: Serializer | None = None
    """Turns values into bytes; ``None``: values are bytes already."""

    allow_auto_create_topics: bool = True
    """Ask for a topic that does not exist to be created, where brokers allow that."""

    @property
    def required_acks(self) -> int:
        """``acks`` as it is on the wire: -1, 0 or 1."""
        return REQUIRED_ACKS[self.acks]

    @property
    def codec(self) -> Codec:
        """``compression_type`` as batches name it."""
        return COMPRESSION_CODECS[self.compression_type]

    @property
    def is_idempotent(self) -> bool:
        """Whether batches are numbered."""
        if self.enable_idempotence is None:
            return self.required_acks == -1
        return self.enable_idempotence

    def validate(self) -> None:
        """Raise :exc:`InvalidConfigError` on the first value that makes no sense."""
        ConnectionSettings.validate(self)
        _check_member("acks", self.acks, tuple(REQUIRED_ACKS))
        _check_member("compression_type", self.compression_type, tuple(COMPRESSION_CODECS))
        _check_range("linger_ms", self.linger_ms, 0, DAY_MS)
        _check_range("batch_size", self.batch_size, 1, REQUEST_RECORDS_BYTES_MAX)
        _check_range("buffer_memory", self.buffer_memory, self.batch_size, 1024 * GIB)
        _check_range("max_block_ms", self.max_block_ms, 0, DAY_MS)
        _check_range("max_request_size", self.max_request_size, 1, REQUEST_RECORDS_BYTES_MAX)
        _check_range("delivery_timeout_ms", self.delivery_timeout_ms, 1, DAY_MS)
        if self.batch_size > self.max_request_size:
            raise InvalidConfigError(
                f"batch_size is {self.batch_size}, more than max_request_size "
                f"({self.max_request_size}): a batch must fit a request; lower one or raise the "
                "other"
            )
        if self.enable_idempotence and self.required_acks != -1:
            raise InvalidConfigError(
                f"enable_idempotence needs acks='all', and acks is {self.acks!r}: only what is "
                "committed is certain to be recognised; leave one of the two out"
            )
        if self.delivery_timeout_ms < self.linger_ms + self.request_timeout_ms:
            raise InvalidConfigError(
                f"delivery_timeout_ms is {self.delivery_timeout_ms}, less than linger_ms "
                f"({self.linger_ms}) and request_timeout_ms ({self.request_timeout_ms}) together: "
                "a first attempt would not fit; raise it or lower them"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings(ConnectionSettings):
    """How records are fetched."""

    group_id: str | None = None
    """Share the work with all consumers of this name: each partition is read by one of them, and
    goes on where the group has committed. ``None``: read everything, commit nothing."""

    group_instance_id: str | None = None
    """Makes the consumer a static member: if it comes back under this name within the session, it
    reads what it read before, and nobody else was disturbed. Each consumer needs a name of its own;
    ``start`` waits up to two minutes for another one that has it."""

    group_assignor: Literal["uniform", "range"] | None = None
    """How the coordinator shares partitions out; ``None``: as it sees fit, which is ``uniform``."""

    enable_auto_commit: bool = True
    """Commit by itself what the application is done with: it is done with a record when it comes
    back for the next. ``False``: only :meth:`~ottla.client.Consumer.commit` commits."""

    auto_commit_interval_ms: int = 5_000
    """Between two such commits. Partitions that are given up are committed in any case."""

    max_poll_interval_ms: int = 300_000
    """An application that has records and does not come back for so long is taken for dead, and
    others read its partitions, until it comes back; also how long it, and its rebalance listener,
    may take to give partitions up. Raise it if a batch may take longer to process."""

    auto_offset_reset: Literal["latest", "earliest", "none"] = "latest"
    """Where to begin without a position, and where to go on when the position no longer exists:
    behind the last record, at the first, or nowhere (``none``: raise)."""

    fetch_min_bytes: int = 1
    """A broker collects this much before it answers, ..."""

    fetch_max_wait_ms: int = 500
    """... but for no longer than this."""

    fetch_max_bytes: int = FETCH_RESPONSE_BYTES_DEFAULT
    """Records in one message from a broker, at most (one batch may exceed it)."""

    max_partition_fetch_bytes: int = FETCH_PARTITION_BYTES_DEFAULT
    """Records of one partition in one message, at most (one batch may exceed it)."""

    max_poll_records: int = 500
    """Records that ``getmany`` returns at once if not told otherwise, and the most that
    ``batches`` hands over in one piece."""

    prefetch_bytes: int = 32 * MIB
    """Fetched ahead and held in memory, as it came over the wire, over all partitions. Each broker
    has an even share of it, and sends no more until records are taken (but always one batch,
    however large). Paused partitions may hold half as much again."""

    check_crcs: bool = True
    """Verify the checksum of every batch. It costs little: gigabytes a second."""

    client_rack: str | None = None
    """Where this consumer is, in the words of the brokers' ``broker.rack``. Partitions are then
    read from an in-sync follower in the same rack, if there is one, instead of a leader elsewhere;
    what is committed is seen there a little later."""

    key_deserializer: Deserializer | None = None
    """Turns the bytes of keys into what the application wants; ``None``: leave them."""

    value_deserializer: Deserializer | None = None
    """Turns the bytes of values into what the application wants; ``None``: leave them."""

    allow_auto_create_topics: bool = True
    """Ask for a topic that does not exist to be created, where brokers allow that."""

    def validate(self) -> None:
        """Raise :exc:`InvalidConfigError` on the first value that makes no sense."""
        ConnectionSettings.validate(self)
        if self.group_id is not None and not self.group_id:
            raise InvalidConfigError("group_id is empty; give the group a name, or leave it out")
        if self.group_instance_id is not None and not self.group_instance_id:
            raise InvalidConfigError("group_instance_id is empty; give a name, or leave it out")
        _check_member("group_assignor", self.group_assignor, (None, "uniform", "range"))
        _check_range("auto_commit_interval_ms", self.auto_commit_interval_ms, 1, DAY_MS)
        _check_range("max_poll_interval_ms", self.max_poll_interval_ms, 1, DAY_MS)
        _check_member("auto_offset_reset", self.auto_offset_reset, ("latest", "earliest", "none"))
        _check_range("fetch_min_bytes", self.fetch_min_bytes, 1, FETCH_RESPONSE_BYTES_MAX)
        _check_range("fetch_max_wait_ms", self.fetch_max_wait_ms, 0, FETCH_WAIT_MAX_MS)
        _check_range("fetch_max_bytes", self.fetch_max_bytes, 1, FETCH_RESPONSE_BYTES_MAX)
        _check_range(
            "max_partition_fetch_bytes",
            self.max_partition_fetch_bytes,
            1,
            FETCH_RESPONSE_BYTES_MAX,
        )
        _check_range("max_poll_records", self.max_poll_records, 1, 1_000_000)
        _check_range("prefetch_bytes", self.prefetch_bytes, 1, FETCH_CREDIT_BYTES_MAX)
        if self.client_rack is not None and not (
            len(self.client_rack) <= BROKER_RACK_CHARACTERS_MAX and self.client_rack.isprintable()
        ):
            raise InvalidConfigError(
                f"client_rack is {self.client_rack!r}; use the name of a rack as in the brokers' "
                f"broker.rack, at most {BROKER_RACK_CHARACTERS_MAX} printable characters"
            )


Settings = TypeVar("Settings", bound=ConnectionSettings)


def read_settings(
    kind: type[Settings], bootstrap_servers: str | Iterable[str], options: Mapping[str, object]
) -> Settings:
    """Make validated settings from keyword arguments.

    Raises :exc:`TypeError` for a name that is no setting, with the nearest one that is, and
    :exc:`InvalidConfigError` for a value that makes no sense.
    """
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise TypeError(f"{name!r} is not a setting of this client{hint}")
    settings = kind(bootstrap_servers=bootstrap_servers, **options)  # type: ignore[arg-type]  # names checked above, values next
    settings.validate()
    return settings


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidConfigError(f"{name} is {value!r}; it takes a number")
    if not least <= value <= most:
        raise InvalidConfigError(f"{name} is {value}; it takes a number from {least} to {most}")


def _check_member(name: str, value: object, members: tuple[object, ...]) -> None:
    if value not in members:
        shown = ", ".join(repr(member) for member in members)
        raise InvalidConfigError(f"{name} is {value!r}; it takes one of {shown}")
