"""gRPC channels to brokers: one for each address, opened when first used.

A channel reconnects by itself; our own back-off decides when to try again, so the channel's is
kept short. A call on a broken channel fails at once instead of waiting (gRPC's "fail fast"),
because the caller knows better: there may be another broker to ask.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc

from ottla import __version__
from ottla.client.addresses import Address
from ottla.client.settings import ConnectionSettings
from ottla.model.limits import KIB, REQUEST_BYTES_MAX
from ottla.security.tls import channel_credentials
from ottla.v1.cluster_pb2_grpc import ClusterStub
from ottla.v1.configs_pb2_grpc import ConfigsStub
from ottla.v1.groups_pb2_grpc import GroupsStub
from ottla.v1.log_pb2_grpc import LogStub
from ottla.v1.topics_pb2_grpc import TopicsStub

if TYPE_CHECKING:
    # These exist for type checkers only; at run time a stub is the same for both.
    from ottla.v1.cluster_pb2_grpc import ClusterAsyncStub
    from ottla.v1.configs_pb2_grpc import ConfigsAsyncStub
    from ottla.v1.groups_pb2_grpc import GroupsAsyncStub
    from ottla.v1.log_pb2_grpc import LogAsyncStub
    from ottla.v1.topics_pb2_grpc import TopicsAsyncStub

RESPONSE_BYTES_MAX: Final = REQUEST_BYTES_MAX + 64 * KIB
"""A batch that just fitted a request comes back with more about it than it was sent with."""

RECONNECT_BACKOFF_MIN_MS: Final = 100
"""The shortest that gRPC allows."""

RECONNECT_BACKOFF_MAX_MS: Final = 300
"""A broker that is back may lead soon, and must be noticed; gRPC's own bound is two minutes."""

PING_INTERVAL_MS: Final = 1_000
PING_TIMEOUT_MS: Final = 1_500
"""A broker that hangs, or is cut off, is given up after both, with all that waits for it. Only
connections with something under way are pinged, and both ends do it without Python."""


@dataclass(frozen=True, slots=True)
class BrokerConnection:
    """The services of the broker at one address."""

    address: Address
    channel: grpc.aio.Channel
    log: LogAsyncStub
    topics: TopicsAsyncStub
    configs: ConfigsAsyncStub
    cluster: ClusterAsyncStub
    groups: GroupsAsyncStub


class Connections:
    """The channels of one client. Belongs to the event loop that was running when it was made.

    Raises :exc:`InvalidConfigError` if a TLS file cannot be read.
    """

    def __init__(self, settings: ConnectionSettings) -> None:
        self._credentials = _channel_credentials(settings) if settings.uses_tls else None
        self._options: list[tuple[str, int | str]] = [
            ("grpc.max_send_message_length", REQUEST_BYTES_MAX),
            ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
            ("grpc.initial_reconnect_backoff_ms", RECONNECT_BACKOFF_MIN_MS),
            ("grpc.min_reconnect_backoff_ms", settings.connect_timeout_ms),
            ("grpc.max_reconnect_backoff_ms", RECONNECT_BACKOFF_MAX_MS),
            ("grpc.keepalive_time_ms", PING_INTERVAL_MS),
            ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
            ("grpc.http2.max_pings_without_data", 0),
            # Otherwise clients of one process share sockets, and one's failures delay another.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.primary_user_agent", f"ottla-python/{__version__} ({settings.client_id})"),
        ]
        self._by_address: dict[Address, BrokerConnection] = {}

    def to(self, address: Address) -> BrokerConnection:
        """Return the connection to ``address``; it is established by the first call on it."""
        connection = self._by_address.get(address)
        if connection is None:
            connection = self._by_address[address] = self._open(address)
        return connection

    async def close(self) -> None:
        """End every call and close every channel."""
        connections = list(self._by_address.values())
        self._by_address.clear()
        await asyncio.gather(*(connection.channel.close(None) for connection in connections))

    def _open(self, address: Address) -> BrokerConnection:
        target = str(address)
        channel = (
            grpc.aio.insecure_channel(target, options=self._options)
            if self._credentials is None
            else grpc.aio.secure_channel(target, self._credentials, options=self._options)
        )
        return BrokerConnection(
            address=address,
            channel=channel,
            log=LogStub(channel),
            topics=TopicsStub(channel),
            configs=ConfigsStub(channel),
            cluster=ClusterStub(channel),
            groups=GroupsStub(channel),
        )


def _channel_credentials(settings: ConnectionSettings) -> grpc.ChannelCredentials:
    return channel_credentials(
        ca=_path(settings.ssl_ca_location),
        certificate=_path(settings.ssl_certificate_location),
        key=_path(settings.ssl_key_location),
    )


def _path(location: str | Path | None) -> Path | None:
    return None if location is None else Path(location)
