"""What the client knows of the cluster: brokers, partitions, and who leads what.

One immutable picture at a time. It is replaced by a newer one when somebody asks -- a topic is
used for the first time, a broker answered that it does not lead (any more), a connection
broke -- and when it is ``metadata_max_age_ms`` old. Requests made while one is under way share
the next answer.

Any broker can be asked: those known first, then the bootstrap addresses, starting at another one
each time, so that a broker that lags behind does not mislead for long.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ottla.client.addresses import Address, parse_addresses
from ottla.client.backoff import Backoff
from ottla.client.connections import Connections
from ottla.client.errors import AccessDeniedError, NoBrokersAvailableError
from ottla.client.rpc import call, error_from_message
from ottla.client.settings import ConnectionSettings
from ottla.model.errors import (
    LeaderNotAvailableError,
    MetadataError,
    OttlaError,
    RequestTimedOutError,
    StorageError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import NO_BROKER, TopicPartition
from ottla.v1 import cluster_pb2, topics_pb2

UNKNOWN_TOPIC_WAIT_MS: Final = 2_000
"""How long a topic may be unknown before we believe it: one that was just created reaches
every broker well within this, and a mistyped name is reported soon."""

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


@dataclass(frozen=True, slots=True)
class PartitionLeader:
    """Who leads a partition; ``broker_id`` is -1 while nobody does."""

    broker_id: int
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class TopicLeaders:
    """The partitions of a topic, from 0 on, or the reason why they are not known."""

    partitions: tuple[PartitionLeader, ...]
    error: OttlaError | None


@dataclass(frozen=True, slots=True)
class ClusterPicture:
    """The cluster as one broker described it."""

    cluster_id: str = ""
    controller_id: int = NO_BROKER
    brokers: Mapping[int, Address] = field(default_factory=dict)
    topics: Mapping[str, TopicLeaders] = field(default_factory=dict)

    def leader_of(self, topic_partition: TopicPartition) -> PartitionLeader | None:
        """Return the leader if there is one and its address is known."""
        topic = self.topics.get(topic_partition.topic)
        if topic is None or not 0 <= topic_partition.partition < len(topic.partitions):
            return None
        leader = topic.partitions[topic_partition.partition]
        return leader if leader.broker_id in self.brokers else None

    def why_no_leader(self, topic_partition: TopicPartition) -> OttlaError:
        """Return what keeps a partition without a leader, as far as this picture tells."""
        topic = self.topics.get(topic_partition.topic)
        if topic is not None and topic.error is not None:
            return topic.error
        if topic is not None and topic_partition.partition >= len(topic.partitions):
            return UnknownTopicOrPartitionError(
                f"topic {topic_partition.topic!r} has no partition {topic_partition.partition}: "
                f"it has {len(topic.partitions)}, from 0 on"
            )
        return LeaderNotAvailableError(f"{topic_partition} has no leader at the moment")

    def available_partitions(self, topic: str) -> list[int]:
        """Return the partitions of a topic that have a leader whose address is known."""
        return [
            number
            for number, leader in enumerate(self.topics[topic].partitions)
            if leader.broker_id in self.brokers
        ]


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
                return await self._refresh(timeout_ms=max(1.0, deadline_ms - _now_ms()))
            except AccessDeniedError:
                raise
            except OttlaError as error:
                delay_ms = backoff.next_delay_ms()
                if _now_ms() + delay_ms >= deadline_ms:
                    raise self._no_brokers(error, timeout_ms) from error
                await asyncio.sleep(delay_ms / 1000)

    async def run(self) -> None:
        """Refresh when asked and when the picture is old, until cancelled.

        What fails is tried again with back-off. Raises only :exc:`AccessDeniedError`.
        """
        backoff = self._backoff()
        while True:
            try:
                async with asyncio.timeout(self._settings.metadata_max_age_ms / 1000):
                    await self._asked.wait()
            except TimeoutError:
                pass
            self._asked.clear()
            try:
                async with self._refreshing:
                    await self._refresh(timeout_ms=self._settings.request_timeout_ms)
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
            self._asked.set()

    def request_refresh(self) -> None:
        """Ask for a new picture soon, without waiting for it."""
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

    async def _refresh(self, *, timeout_ms: float) -> None:
        """Ask brokers one after another until one answers; raise the last error if none does."""
        addresses = self.addresses()
        self._turn += 1
        deadline_ms = _now_ms() + timeout_ms
        failure: OttlaError | None = None
        for number in range(len(addresses)):
            address = addresses[(self._turn + number) % len(addresses)]
            # A broker that hangs must leave time to ask the others.
            patience_ms = (deadline_ms - _now_ms()) / (len(addresses) - number)
            try:
                self.picture = await self._ask(address, timeout_ms=patience_ms)
            except OttlaError as error:
                failure = error
                continue
            self._on_update()
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
            return ClusterPicture(
                described.cluster_id, described.controller_id, _addresses(described.brokers)
            )
        answer = await call(
            cluster.GetMetadata,
            cluster_pb2.GetMetadataRequest(topics=topics, allow_auto_creation=self._create_topics),
            address=address,
            timeout_ms=timeout_ms,
        )
        return ClusterPicture(
            answer.cluster_id,
            answer.controller_id,
            _addresses(answer.brokers),
            {topic.name: _leaders(topic) for topic in answer.topics},
        )

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


def _addresses(brokers: Iterable[cluster_pb2.Broker]) -> dict[int, Address]:
    # A fenced broker is known, but serves nobody.
    return {broker.id: Address(broker.host, broker.port) for broker in brokers if not broker.fenced}


def _leaders(topic: topics_pb2.DescribeTopicsResponse.Topic) -> TopicLeaders:
    if topic.error.code:
        return TopicLeaders((), error_from_message(topic.error))
    described = sorted(topic.partitions, key=lambda partition: partition.partition)
    if not described:
        return TopicLeaders((), LeaderNotAvailableError(f"{topic.name!r} has no partitions yet"))
    if [partition.partition for partition in described] != list(range(len(described))):
        return TopicLeaders((), MetadataError(f"the partitions of {topic.name!r} have gaps"))
    return TopicLeaders(
        tuple(PartitionLeader(each.leader, each.leader_epoch) for each in described), None
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
