"""Connections from this broker to others, one for each address, shared by all that calls them.

A channel connects when it is first used and again when it broke; whoever has a call on it hears of
the break at once. Reconnecting is quick: brokers are few, and while one is not reached partitions
may have no leader.

gRPC asks for the address of a name only while it is not connected. Containers that come back may
have each other's addresses, and then a channel connects to the wrong broker and stays with it. So
whoever begins a long conversation has the name looked up by :meth:`BrokerChannels.current`; if it
stands for another machine than last time, there is a new channel.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

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

LEFT_CHANNELS_MAX: Final = 16
"""Those whose names stand for another machine by now: calls on them may not have ended yet."""

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


LookUp: TypeAlias = Callable[[Address], Awaitable[frozenset[str]]]
"""Returns the addresses of a name, as numbers; :exc:`OSError`: there is no such name now."""


async def _of_system(address: Address) -> frozenset[str]:
    found = await asyncio.get_running_loop().getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM
    )
    return frozenset(str(entry[4][0]) for entry in found)


class BrokerChannels:
    """The channels of one broker. Used on one event loop."""

    def __init__(
        self, credentials: grpc.ChannelCredentials | None = None, *, look_up: LookUp | None = None
    ) -> None:
        """Connect to nobody yet; ``credentials`` turn TLS on.

        ``look_up`` is asked what a name stands for, instead of the system.
        """
        self._credentials = credentials
        self._look_up = look_up or _of_system
        self._channels: dict[Address, grpc.aio.Channel] = {}
        self._machines: dict[Address, frozenset[str]] = {}
        """What each name stood for when it was last looked up."""
        self._left: deque[grpc.aio.Channel] = deque()

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

    async def current(self, address: Address) -> grpc.aio.Channel:
        """Return the channel to whatever the name in ``address`` stands for now.

        Waits for the system's resolver. If there is no such name at the moment, it is the channel
        that there was.
        """
        try:
            machines = await self._look_up(address)
        except OSError:
            return self.to(address)
        before = self._machines.get(address, machines)
        self._machines[address] = machines
        if before != machines and (channel := self._channels.pop(address, None)) is not None:
            self._left.append(channel)
            if len(self._left) > LEFT_CHANNELS_MAX:
                await self._left.popleft().close(None)
        return self.to(address)

    async def close(self) -> None:
        """Close all; calls on them end."""
        channels, self._channels = [*self._left, *self._channels.values()], {}
        self._left.clear()
        for channel in channels:
            await channel.close(None)
