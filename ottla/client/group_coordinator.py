"""Calls the broker that coordinates a group, wherever it is at the moment.

Any broker says who coordinates a group; the answer holds until that broker says otherwise or cannot
be reached. Nothing here remembers what a request meant: asking again is safe for everything that
can be asked of a coordinator.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import grpc

from ottla.client.addresses import Address
from ottla.client.any_broker import call_any_broker
from ottla.client.backoff import Backoff
from ottla.client.connections import BrokerConnection, Connections
from ottla.client.metadata import MetadataCache
from ottla.client.rpc import call
from ottla.client.settings import ConnectionSettings
from ottla.model.errors import MetadataError, OttlaError, RequestTimedOutError
from ottla.v1 import groups_pb2

Request = TypeVar("Request")
Response = TypeVar("Response")

Method = Callable[[BrokerConnection], grpc.aio.UnaryUnaryMultiCallable[Request, Response]]


class GroupCoordinator:
    """The coordinator of one group, as one client sees it."""

    def __init__(
        self,
        group_id: str,
        connections: Connections,
        metadata: MetadataCache,
        settings: ConnectionSettings,
    ) -> None:
        self.group_id = group_id
        self._connections = connections
        self._metadata = metadata
        self._settings = settings
        self._address: Address | None = None

    async def ask_once(
        self, method: Method[Request, Response], request: Request, *, timeout_ms: float
    ) -> Response:
        """Make one call, looking the coordinator up before if need be.

        Raises the :exc:`OttlaError` that the call ends with. If another broker may know better, it
        is looked up anew the next time.
        """
        address = self._address
        if address is None:
            found = await call_any_broker(
                self._connections,
                self._metadata,
                self._settings,
                lambda connection: connection.groups.FindCoordinator,
                groups_pb2.FindCoordinatorRequest(group_id=self.group_id),
            )
            address = self._address = Address(found.host, found.port)
        connection = self._connections.to(address)
        try:
            return await call(method(connection), request, address=address, timeout_ms=timeout_ms)
        except (MetadataError, RequestTimedOutError):
            if self._address == address:
                self._address = None
            raise

    async def ask(self, method: Method[Request, Response], request: Request) -> Response:
        """Make a call, again and again for ``request_timeout_ms`` if it fails in passing.

        One that hangs has a third of that, for another broker may coordinate by then. Raises the
        last error.
        """
        backoff = Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)
        deadline_ms = _now_ms() + self._settings.request_timeout_ms
        while True:
            try:
                left_ms = deadline_ms - _now_ms()
                patience_ms = min(left_ms, self._settings.request_timeout_ms / 3)
                return await self.ask_once(method, request, timeout_ms=patience_ms)
            except OttlaError as error:
                delay_ms = backoff.next_delay_ms()
                if not error.retriable or _now_ms() + delay_ms >= deadline_ms:
                    raise
            await asyncio.sleep(delay_ms / 1000)


def _now_ms() -> float:
    return time.monotonic() * 1000
