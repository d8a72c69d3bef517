"""Keeps what the client knows of the cluster, and keeps it current.

One immutable picture at a time. From the first topic on, one broker tells of every change by itself
(:class:`~ottla.client.metadata_watch.MetadataWatch`): who has lost a leader waits for that, and
goes on as soon as the new one is known.

Brokers are also asked: when a topic is used for the first time; when somebody misses a change that
the watch does not tell within ``retry_backoff_ms`` -- a broker answered that it does not lead (any
more), a connection broke -- or at once while nothing is watched; and every
``metadata_max_age_ms``. Requests made while one is under way share the next answer.

Any broker can be asked: those known first, then the bootstrap addresses, starting at another one
each time and leaving the one that is watched to the last, so that a broker that lags behind does
not mislead for long. If the answer is news, another broker is watched from then on.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from ottla.client.addresses import Address, parse_addresses
from ottla.client.backoff import Backoff
from ottla.client.cluster_picture import ClusterPicture, TopicLeaders
from ottla.client.connections import Connections
from ottla.client.errors import AccessDeniedError, NoBrokersAvailableError
from ottla.client.metadata_watch import MetadataWatch
from ottla.client.rpc import call
from ottla.client.settings import ConnectionSettings
from ottla.model.errors import (
    MetadataError,
    OttlaError,
    RequestTimedOutError,
    StorageError,
    UnknownTopicOrPartitionError,
)
from ottla.v1 import cluster_pb2

UNKNOWN_TOPIC_WAIT_MS: Final = 2_000
"""How long a topic may be unknown before we believe it: one that was just created reaches
every broker well within this, and a mistyped name is reported soon."""

PATIENCE_MS: Final = 1_000
"""How long a broker may take to say what it knows, if others can be asked instead."""

STORAGE_ERROR_WAIT_MS: Final = 1_000
"""How long the leader's disk may have failed before the reader is told: time for another replica to
take over. Where there is none, the error stays until somebody repairs the disk."""


def patience_ms(error: OttlaError) -> float:
    """Return for how long to ask again about a partition for which this is the answer.

    Nothing for an error that will not pass, without end for one that will.
    """
    if isinstance(error, UnknownTopicOrPartitionError):
        return UNKNOWN_TOPIC_WAIT_MS
    if isinstance(error, StorageError):
        return STORAGE_ERROR_WAIT_MS
    return math.inf if error.retriable else 0


class MetadataCache:
    """Keeps the picture. Start :meth:`run` as a task after :meth:`connect`.

    Args:
        connections: to make calls with.
        settings: bootstrap servers, time-outs, back-off.
        create_topics: ask brokers to create topics that do not exist.
        on_update: called after each new picture.
    """

    def __init__(
        self,
        connections: Connections,
        settings: ConnectionSettings,
        *,
        create_topics: bool,
        on_update: Callable[[], None],
    ) -> None:
        self._connections = connections
        self._settings = settings
        self._create_topics = create_topics
        self._on_update = on_update
        self._bootstrap = parse_addresses(settings.bootstrap_servers)
        self._topics: set[str] = set()
        self._turn = 0
        self._asked = asyncio.Event()
        self._refreshing = asyncio.Lock()
        self._told = asyncio.Event()
        self._watch = MetadataWatch(
            connections,
            settings,
            topics=lambda: sorted(self._topics),
            addresses=self.addresses,
            received=self._watched,
        )
        self.picture = ClusterPicture()

    async def connect(self) -> None:
        """Get a first picture.

        Raises:
            NoBrokersAvailableError: no broker answered within ``connect_timeout_ms``.
            AccessDeniedError: one answered that it does not let this client in.
        """
        timeout_ms = self._settings.connect_timeout_ms
        deadline_ms = _now_ms() + timeout_ms
        backoff = self._backoff()
        while True:
            try:
                return await self._refresh(
                    timeout_ms=max(1.0, deadline_ms - _now_ms()), patience_ms=PATIENCE_MS
                )
            except AccessDeniedError:
                raise
            except OttlaError as error:
                delay_ms = backoff.next_delay_ms()
                if _now_ms() + delay_ms >= deadline_ms:
                    raise self._no_brokers(error, timeout_ms) from error
                await asyncio.sleep(delay_ms / 1000)

    async def run(self) -> None:
        """Keep the picture current until cancelled. Raises only :exc:`AccessDeniedError`."""
        tasks = [asyncio.create_task(work) for work in (self._watch.run(), self._poll())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()  # neither ends by itself, so this raises

    async def _poll(self) -> None:
        """Refresh when asked and when the picture is old.

        What fails is tried again with back-off.
        """
        backoff = self._backoff()
        while True:
            try:
                async with asyncio.timeout(self._settings.metadata_max_age_ms / 1000):
                    await self._asked.wait()
            except TimeoutError:
                pass
            self._asked.clear()
            if await self._is_told_soon():
                continue
            try:
                async with self._refreshing:
                    before = self.picture.topics
                    await self._refresh(
                        timeout_ms=self._settings.request_timeout_ms, patience_ms=PATIENCE_MS
                    )
                    if self._watch.is_live and _is_news(before, self.picture.topics):
                        self._watch.move()
            except AccessDeniedError:
                raise
            except OttlaError:
                # Whoever needs the answer has a deadline of its own; we go on.
                self._asked.set()
            else:
                backoff.succeeded()
            # Even after a success: a broker that keeps answering "not the leader" must not make
            # us ask without pause.
            await asyncio.sleep(backoff.next_delay_ms() / 1000)

    def addresses(self) -> list[Address]:
        """Return where a broker may be found: those known first, then the bootstrap addresses."""
        return list(dict.fromkeys([*self.picture.brokers.values(), *self._bootstrap]))

    def want(self, topics: Iterable[str]) -> None:
        """Make these topics part of every refresh, without waiting for the next."""
        new = set(topics) - self._topics
        if new:
            self._topics |= new
            self._watch.topics_changed()
            self._asked.set()

    def forget(self, topics: Iterable[str]) -> None:
        """Ask for these topics no more; asking for one that was deleted may create it anew."""
        if not self._topics.isdisjoint(gone := set(topics)):
            self._topics -= gone
            self._watch.topics_changed()

    def request_refresh(self) -> None:
        """Ask for a new picture, without waiting for it: something is not as this one says."""
        self._asked.set()

    async def topic(self, name: str, *, timeout_ms: float) -> TopicLeaders:
        """Return the partitions of a topic, asking and waiting for them if necessary.

        From then on the topic is part of every refresh.

        Raises:
            UnknownTopicOrPartitionError: it does not exist.
            OttlaError: what kept the answer away for ``timeout_ms``, or another refusal.
        """
        is_new = name not in self._topics
        said: OttlaError | None = None
        started_ms = _now_ms()
        backoff = self._backoff()
        while True:
            self._topics.add(name)
            known = self.picture.topics.get(name)
            if known is not None and known.error is None:
                if is_new:
                    self._watch.topics_changed()
                return known
            error = await self._look_up(name, timeout_ms - (_now_ms() - started_ms))
            if error is None:
                continue
            if isinstance(error, RequestTimedOutError):
                # Says less than what a broker said before, if one did.
                error = said or error
            said = error
            delay_ms = backoff.next_delay_ms()
            waited_ms = _now_ms() - started_ms
            if self._is_settled(error, waited_ms) or waited_ms + delay_ms >= timeout_ms:
                if is_new:
                    self._topics.discard(name)
                raise _about_topic(name, error)
            await asyncio.sleep(delay_ms / 1000)

    async def _look_up(self, name: str, timeout_ms: float) -> OttlaError | None:
        """Refresh for the sake of one topic; return what is wrong with it, or with the refresh."""
        async with self._refreshing:
            known = self.picture.topics.get(name)
            # While we waited for the lock, somebody else may have asked for us.
            if known is None or known.error is not None:
                try:
                    await self._refresh(timeout_ms=max(1.0, timeout_ms))
                except OttlaError as error:
                    return error
                known = self.picture.topics.get(name)
        if known is None:
            return MetadataError(f"the broker asked said nothing about topic {name!r}")
        return known.error

    def _is_settled(self, error: OttlaError, waited_ms: float) -> bool:
        """Whether waiting longer for a topic would not help."""
        if isinstance(error, UnknownTopicOrPartitionError):
            return waited_ms >= UNKNOWN_TOPIC_WAIT_MS
        return not error.retriable

    async def _refresh(self, *, timeout_ms: float, patience_ms: float = math.inf) -> None:
        """Ask brokers one after another until one answers; raise the last error if none does.

        None but the last may take longer than ``patience_ms``.
        """
        addresses = self.addresses()
        self._turn += 1
        if self._watch.is_live and self._watch.address in addresses and len(addresses) > 1:
            addresses.remove(self._watch.address)
            addresses = [*_rotated(addresses, self._turn), self._watch.address]
        else:
            addresses = _rotated(addresses, self._turn)
        deadline_ms = _now_ms() + timeout_ms
        failure: OttlaError | None = None
        for number, address in enumerate(addresses):
            # A broker that hangs must leave time to ask the others.
            left = len(addresses) - number
            share_ms = (deadline_ms - _now_ms()) / left
            try:
                picture = await self._ask(
                    address, timeout_ms=share_ms if left == 1 else min(share_ms, patience_ms)
                )
            except OttlaError as error:
                failure = error
                continue
            self._take(picture)
            return
        assert failure is not None, "there is always a bootstrap address"
        raise failure

    async def _ask(self, address: Address, *, timeout_ms: float) -> ClusterPicture:
        cluster = self._connections.to(address).cluster
        topics = sorted(self._topics)
        if not topics:
            # GetMetadata without names would describe every topic there is.
            described = await call(
                cluster.DescribeCluster,
                cluster_pb2.DescribeClusterRequest(),
                address=address,
                timeout_ms=timeout_ms,
            )
            return self.picture.with_cluster(described)
        answer = await call(
            cluster.GetMetadata,
            cluster_pb2.GetMetadataRequest(topics=topics, allow_auto_creation=self._create_topics),
            address=address,
            timeout_ms=timeout_ms,
        )
        return self.picture.with_metadata(answer, wanted=self._topics)

    def _watched(self, answer: cluster_pb2.WatchMetadataResponse) -> None:
        self._take(
            self.picture.with_metadata(
                answer.metadata, wanted=self._topics, deleted=answer.deleted_topics
            )
        )

    def _take(self, picture: ClusterPicture) -> None:
        self.picture = picture
        self._told.set()
        self._on_update()

    async def _is_told_soon(self) -> bool:
        """Whether the watch tells something new before it would be time to ask."""
        if not self._watch.is_live:
            return False
        self._told.clear()
        try:
            async with asyncio.timeout(self._settings.retry_backoff_ms / 1000):
                await self._told.wait()
        except TimeoutError:
            return False
        return True

    def _no_brokers(self, error: OttlaError, timeout_ms: int) -> NoBrokersAvailableError:
        tried = ", ".join(str(address) for address in self._bootstrap)
        return NoBrokersAvailableError(
            f"no broker answered at {tried} within {timeout_ms / 1000:g} s ({error}); check that "
            "one is running there ('ottla up' starts one), that bootstrap_servers names its gRPC "
            f"port, and that both sides use TLS or neither does{self._about_certificates()}"
        )

    def _about_certificates(self) -> str:
        """A failed handshake looks like a broker that is away; only the broker knows better."""
        if not self._settings.uses_tls:
            return ""
        text = "; with TLS, ssl_ca_location must hold the authority of the broker's certificate"
        if self._settings.ssl_certificate_location is None:
            text += (
                ", and the broker may require a client certificate (ssl_certificate_location and "
                "ssl_key_location)"
            )
        return text

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)


def _rotated(addresses: list[Address], turn: int) -> list[Address]:
    begin = turn % len(addresses)
    return addresses[begin:] + addresses[:begin]


def _is_news(before: Mapping[str, TopicLeaders], now: Mapping[str, TopicLeaders]) -> bool:
    """Whether a topic that was known is led by others now."""
    return any(
        name in before and before[name].partitions != leaders.partitions
        for name, leaders in now.items()
    )


def _about_topic(name: str, error: OttlaError) -> OttlaError:
    """Return the error to raise for a topic."""
    if isinstance(error, UnknownTopicOrPartitionError):
        return UnknownTopicOrPartitionError(
            f"topic {name!r} does not exist; check the name, or create it first"
        )
    return error


def _now_ms() -> float:
    return time.monotonic() * 1000
