"""The broker's door for Kafka's protocol: all its listeners and connections, and their life.

::

    bind ──► (addresses are registered) ──► serve ──► run ──► stop

What a connection may cost others is counted here: how many there are, in all and from one address,
and the memory that their requests and responses take together.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ottla.config.addresses import Address
from ottla.config.broker_config import ConnectionLimits, TlsConfig
from ottla.config.listeners import KafkaListener
from ottla.kafka.advertised import AddressAdvice
from ottla.kafka.connection import KafkaConnection, Shared
from ottla.kafka.dispatch import Dispatch
from ottla.kafka.handling import Connection, ServedApi
from ottla.kafka.instruments import KafkaInstruments
from ottla.kafka.listener import Listener
from ottla.kafka.request_memory import RequestMemory
from ottla.kafka.unsent import UnsentResponses
from ottla.model.image import BrokerListener
from ottla.model.limits import (
    KAFKA_LOOKED_AFTER_AT_ONCE_MAX,
    KAFKA_RECEIVE_BYTES,
    KAFKA_SWEEP_INTERVAL_MS,
    KAFKA_UNSENT_BYTES_MAX,
)
from ottla.runtime.network import default_gateway
from ottla.runtime.posix import open_files_limit
from ottla.security.tls import server_context


class _Admitted(NamedTuple):
    """A connection that is counted."""

    listener: str
    host: str


class KafkaDoor:
    """One for a broker."""

    def __init__(
        self,
        listeners: Sequence[KafkaListener],
        limits: ConnectionLimits,
        tls: TlsConfig,
        *,
        machine: str,
        instruments: KafkaInstruments,
    ) -> None:
        """``machine`` is the name under which others reach this one.

        Raises :exc:`InvalidConfigError` if the certificates cannot be used.
        """
        context = None
        if any(listener.is_encrypted for listener in listeners):
            assert tls.certificate is not None, "the configuration was checked"
            assert tls.key is not None
            context = server_context(
                certificate=tls.certificate,
                key=tls.key,
                ca=tls.ca,
                client_certificate_required=tls.client_certificate_required,
            )
        self._limits = limits
        self._machine = machine
        self._instruments = instruments
        self._connections_max = min(limits.connections_max, open_files_limit() // 2)
        self._admitted: dict[int, _Admitted] = {}
        self._by_host: Counter[str] = Counter()
        self._by_listener: Counter[str] = Counter()
        self._connections: dict[int, KafkaConnection] = {}
        self._next_number = 0
        self._shared: Shared | None = None
        self._listeners = [
            Listener(
                listener,
                tls=context if listener.is_encrypted else None,
                admit=self._admit,
                released=self._release,
                connect=self._connect,
            )
            for listener in listeners
        ]

    def __repr__(self) -> str:
        return f"<KafkaDoor {self._listeners} {len(self._connections)} connections>"

    @property
    def addresses(self) -> dict[str, Address]:
        """Where it listens, by the name of the listener, once bound."""
        return {listener.config.name: listener.address for listener in self._listeners}

    @property
    def registered(self) -> tuple[BrokerListener, ...]:
        """What the cluster is told, once bound."""
        return tuple(map(self._registered, self._listeners))

    async def bind(self) -> None:
        """Take all addresses; nobody can connect yet.

        Raises :exc:`OSError` if one cannot be had, with the address as ``filename``.
        """
        try:
            for listener in self._listeners:
                await listener.bind()
        except OSError:
            self.close()
            raise

    def serve(self, apis: Sequence[ServedApi]) -> None:
        """Let clients in.

        Raises :exc:`OSError` if somebody else has taken an address meanwhile.
        """
        limits = self._limits
        self._shared = Shared(
            dispatch=Dispatch(
                apis, request_bytes_max=limits.request_bytes_max, instruments=self._instruments
            ),
            memory=RequestMemory(limits.queued_bytes_max),
            unsent=UnsentResponses(KAFKA_UNSENT_BYTES_MAX),
            received=memoryview(bytearray(KAFKA_RECEIVE_BYTES)),
            request_bytes_max=limits.request_bytes_max,
            idle_max_ms=limits.idle_max_ms,
            instruments=self._instruments,
            advice=AddressAdvice(
                {
                    listener.name: Address(listener.host, listener.port)
                    for listener in self.registered
                    if not listener.any_address
                },
                gateway=default_gateway,
            ),
        )
        for listener in self._listeners:
            listener.listen()

    async def run(self) -> None:
        """Look after connections, until cancelled."""
        loop = asyncio.get_running_loop()
        looked = loop.time()
        while True:
            await asyncio.sleep(KAFKA_SWEEP_INTERVAL_MS / 1000)
            now = loop.time()
            elapsed_ms, looked = round((now - looked) * 1000), now
            # If we were away for longer, that is not the fault of any client.
            await self.look_after(min(elapsed_ms, 2 * KAFKA_SWEEP_INTERVAL_MS))

    async def look_after(self, elapsed_ms: int) -> None:
        """Close connections whose clients take too much time; so much has passed since last."""
        for index, connection in enumerate(list(self._connections.values()), start=1):
            connection.look_after(elapsed_ms)
            if index % KAFKA_LOOKED_AFTER_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)

    def close(self) -> None:
        """Let nobody in any more. Harmless if closed already."""
        for listener in self._listeners:
            listener.close()

    async def stop(self, *, grace_ms: int) -> None:
        """Let nobody in, let requests under way finish within the time given, and hang up."""
        self.close()
        for connection in list(self._connections.values()):
            connection.finish()
        await self._wait_lost(grace_ms)
        for connection in list(self._connections.values()):
            connection.abort()
        await self._wait_lost(grace_ms)
        for listener in self._listeners:
            await listener.wait_closed()

    async def _wait_lost(self, timeout_ms: int) -> None:
        if waiting := [connection.lost for connection in self._connections.values()]:
            await asyncio.wait(waiting, timeout=timeout_ms / 1000)

    # --- Connections ---

    def _admit(self, listener: str, host: str) -> int | None:
        if (
            len(self._admitted) >= self._connections_max
            or self._by_host[host] >= self._limits.connections_per_ip_max
        ):
            self._instruments.connection_refused(listener)
            return None
        number = self._next_number
        self._next_number += 1
        self._admitted[number] = _Admitted(listener, host)
        self._by_host[host] += 1
        self._count(listener, 1)
        return number

    def _release(self, number: int) -> None:
        admitted = self._admitted.pop(number, None)
        if admitted is None:
            return
        self._by_host[admitted.host] -= 1
        if not self._by_host[admitted.host]:
            del self._by_host[admitted.host]
        self._count(admitted.listener, -1)
        self._connections.pop(number, None)

    def _count(self, listener: str, change: int) -> None:
        self._by_listener[listener] += change
        self._instruments.connections_changed(listener, self._by_listener[listener])

    def _connect(self, connection: Connection) -> KafkaConnection:
        assert self._shared is not None
        return KafkaConnection(
            self._shared, connection, made=self._connections.__setitem__, gone=self._release
        )

    def _registered(self, listener: Listener) -> BrokerListener:
        config, address = listener.config, listener.address
        plain = BrokerListener(
            name=config.name,
            host=address.host,
            port=address.port,
            security_protocol=config.security_protocol,
        )
        if config.advertised is not None:
            return replace(plain, host=config.advertised.host, port=config.advertised.port)
        if address.is_wildcard:
            return replace(plain, host=self._machine, any_address=True)
        return plain
