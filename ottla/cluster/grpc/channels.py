"""Connections from this broker to others, one for each address, shared by all that calls them.

A channel connects when it is first used and again when it broke; whoever has a call on it hears of
the break at once. Reconnecting is quick: brokers are few, and while one is not reached partitions
may have no leader.
"""

from __future__ import annotations

from typing import Final

import grpc

from ottla.config.addresses import Address
from ottla.model.limits import REQUEST_BYTES_MAX

RECONNECT_BACKOFF_MIN_MS: Final = 50
RECONNECT_BACKOFF_MAX_MS: Final = 500
"""A broker that starts is found within this; one attempt on a closed port costs microseconds."""

PING_INTERVAL_MS: Final = 2_000
PING_TIMEOUT_MS: Final = 3_000
"""A machine that vanished without a word has cost its partitions their leaders by then; whatever
still waits for it is told soon after."""

CONNECT_TIMEOUT_MS: Final = 1_000
"""A TLS handshake on a busy machine takes tenths of it."""

_OPTIONS: Final = [
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_send_message_length", REQUEST_BYTES_MAX),
    ("grpc.keepalive_time_ms", PING_INTERVAL_MS),
    ("grpc.keepalive_timeout_ms", PING_TIMEOUT_MS),
    ("grpc.initial_reconnect_backoff_ms", RECONNECT_BACKOFF_MIN_MS),
    # Also how long a connection may take to be made.
    ("grpc.min_reconnect_backoff_ms", CONNECT_TIMEOUT_MS),
    ("grpc.max_reconnect_backoff_ms", RECONNECT_BACKOFF_MAX_MS),
    # A container that is down has no name, and comes back with another address: ask again soon, and
    # not after gRPC's half a minute.
    ("grpc.dns_min_time_between_resolutions_ms", RECONNECT_BACKOFF_MAX_MS),
    # Brokers of one process, as in tests, must not share connections behind our back.
    ("grpc.use_local_subchannel_pool", 1),
    # Never through a proxy that the environment names: it is meant for the world outside.
    ("grpc.enable_http_proxy", 0),
]


class BrokerChannels:
    """The channels of one broker. Used on one event loop."""

    def __init__(self, credentials: grpc.ChannelCredentials | None = None) -> None:
        """Connect to nobody yet; ``credentials`` turn TLS on."""
        self._credentials = credentials
        self._channels: dict[Address, grpc.aio.Channel] = {}

    def __repr__(self) -> str:
        return f"<BrokerChannels to {len(self._channels)} addresses>"

    def to(self, address: Address) -> grpc.aio.Channel:
        """Return the channel to ``address``; it connects by itself."""
        channel = self._channels.get(address)
        if channel is None:
            target = str(address)
            if self._credentials is None:
                channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
            else:
                channel = grpc.aio.secure_channel(target, self._credentials, options=_OPTIONS)
            self._channels[address] = channel
        return channel

    async def close(self) -> None:
        """Close all; calls on them end."""
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            await channel.close(None)
