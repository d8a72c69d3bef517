"""Hears from one broker, as soon as it happens, that leaders moved.

One ``WatchMetadata`` stream is open at a time. When it breaks, the next broker is watched at once;
only when all have failed in a row is there a pause. Its first answer is whole, so nothing that
happened in between is missed. A broker that says nothing may have nothing to say: whether it still
lives, the connection's own pings find out (see :mod:`ottla.client.connections`).

A broker that does not know this call is asked as before, by polling.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

from ottla.client.addresses import Address
from ottla.client.backoff import Backoff
from ottla.client.connections import Connections
from ottla.client.errors import AccessDeniedError, BrokerUnavailableError
from ottla.client.settings import ConnectionSettings
from ottla.client.stream_life import StreamLife
from ottla.model.errors import OttlaError, UnsupportedVersionError
from ottla.v1 import cluster_pb2

_log = logging.getLogger(__name__)

METADATA_WATCH_ENDED: Final = "metadata_watch_ended"
"""Log event, with the broker's address and the reason. Another broker is watched from then on."""

FIRST_ANSWER_MS: Final = 1_000
"""A broker that has not even said how things are by then is not worth waiting for."""

_CHANGED: Final = OttlaError("other topics are to be watched")
_MOVED: Final = OttlaError("another broker knows more")


class MetadataWatch:
    """See above. Run :meth:`run` as a task.

    Args:
        connections: to make calls with.
        settings: back-off.
        topics: which to watch; asked for each new stream. Without any, nothing is watched.
        addresses: where brokers may be.
        received: called with every answer.
    """

    def __init__(
        self,
        connections: Connections,
        settings: ConnectionSettings,
        *,
        topics: Callable[[], Sequence[str]],
        addresses: Callable[[], Sequence[Address]],
        received: Callable[[cluster_pb2.WatchMetadataResponse], None],
    ) -> None:
        self.is_live = False
        """Whether changes are being told."""
        self.address: Address | None = None
        """Who is being watched."""
        self._connections = connections
        self._settings = settings
        self._topics = topics
        self._addresses = addresses
        self._received = received
        self._life: StreamLife | None = None
        self._changed = asyncio.Event()
        self._first_answer = asyncio.Event()
        # Clients spread over the brokers.
        self._turn = random.SystemRandom().randrange(1_000_000)

    def topics_changed(self) -> None:
        """Watch what :attr:`topics` returns now."""
        self._changed.set()
        self._end(_CHANGED)

    def move(self) -> None:
        """Watch another broker: this one does not hear of what happens."""
        self._turn += 1
        self._end(_MOVED)

    async def run(self) -> None:
        """Watch until cancelled. Raises only :exc:`AccessDeniedError`."""
        backoff = Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)
        failures = 0
        while True:
            self._changed.clear()
            topics = self._topics()
            if not topics:
                await self._changed.wait()
                continue
            reason = await self._watch_one(topics)
            if isinstance(reason, AccessDeniedError):
                raise reason
            if reason is _CHANGED or reason is _MOVED:
                continue
            self._turn += 1
            if self._first_answer.is_set():
                failures = 0
                backoff.succeeded()
            failures += 1
            if isinstance(reason, UnsupportedVersionError):
                await asyncio.sleep(self._settings.metadata_max_age_ms / 1000)
            elif failures >= len(self._addresses()):
                await asyncio.sleep(backoff.next_delay_ms() / 1000)

    async def _watch_one(self, topics: Sequence[str]) -> OttlaError:
        """Watch one broker until that ends; return why it did."""
        addresses = self._addresses()
        address = self.address = addresses[self._turn % len(addresses)]
        self._first_answer.clear()
        self._life = StreamLife(address)
        call = self._connections.to(address).cluster.WatchMetadata(
            cluster_pb2.WatchMetadataRequest(topics=topics)
        )
        try:
            reason = await self._life.run(call, self._receive, (self._expect_first_answer,))
        finally:
            self._life = None
            self.is_live = False
        if reason is not _CHANGED:
            _log.info(METADATA_WATCH_ENDED, extra={"address": str(address), "reason": str(reason)})
        return reason

    def _receive(self, answer: cluster_pb2.WatchMetadataResponse) -> None:
        self.is_live = True
        self._first_answer.set()
        self._received(answer)

    async def _expect_first_answer(self) -> None:
        try:
            async with asyncio.timeout(FIRST_ANSWER_MS / 1000):
                await self._first_answer.wait()
        except TimeoutError:
            self._end(BrokerUnavailableError(f"{self.address} does not tell its metadata"))

    def _end(self, reason: OttlaError) -> None:
        self.is_live = False
        if self._life is not None:
            self._life.end(reason)
