"""Requests that every broker can answer: to one after another until one does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

import grpc

from ottla.client.backoff import Backoff
from ottla.client.connections import BrokerConnection, Connections
from ottla.client.metadata import MetadataCache
from ottla.client.rpc import call
from ottla.client.settings import ConnectionSettings
from ottla.model.errors import OttlaError

Request = TypeVar("Request")
Response = TypeVar("Response")

LAST_WORD_MS: Final = 500
"""Beyond the time of a request. A broker that waits for a controller, or for other brokers, does so
for the same time by default, and says at its end what was missing; that is worth hearing."""


async def call_any_broker(
    connections: Connections,
    metadata: MetadataCache,
    settings: ConnectionSettings,
    method: Callable[[BrokerConnection], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
    request: Request,
) -> Response:
    """Return a broker's answer.

    What fails in a way that may pass is tried again, at the next broker, for
    ``request_timeout_ms`` in all, and a moment for the last answer. Then, or at once if it will
    not pass, the error is raised.
    """
    backoff = Backoff(settings.retry_backoff_ms, settings.retry_backoff_max_ms)
    deadline_ms = _now_ms() + settings.request_timeout_ms
    turn = 0
    while True:
        addresses = metadata.addresses()
        connection = connections.to(addresses[turn % len(addresses)])
        turn += 1
        try:
            return await call(
                method(connection),
                request,
                address=connection.address,
                timeout_ms=deadline_ms - _now_ms() + LAST_WORD_MS,
            )
        except OttlaError as error:
            delay_ms = backoff.next_delay_ms()
            if not error.retriable or _now_ms() + delay_ms >= deadline_ms:
                raise
        await asyncio.sleep(delay_ms / 1000)


def _now_ms() -> float:
    return time.monotonic() * 1000
