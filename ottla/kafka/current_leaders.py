"""Whom to ask instead: the leaders that a response names beside its errors (KIP-951).

A client that asks the wrong broker learns of the right one from the refusal itself, with an address
for the listener that it uses, and is spared asking for metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from ottla.config.addresses import Address
from ottla.kafka.handling import Connection
from ottla.model.errors import FencedLeaderEpochError, NotLeaderOrFollowerError
from ottla.model.ids import NO_BROKER, BrokerId, LeaderEpoch, TopicPartition
from ottla.model.image import BrokerImage, ClusterImage

AddressOf = Callable[[BrokerImage, Connection], Address | None]
"""Where the client of a connection reaches a broker; ``None``: not through its listener."""

CODES: Final = (NotLeaderOrFollowerError.code, FencedLeaderEpochError.code)
"""The errors that come with a leader."""


class Cluster(Protocol):
    """What handlers want to know of the service that describes the cluster."""

    @property
    def image(self) -> ClusterImage:
        """The cluster as this broker knows it."""


class Leader(NamedTuple):
    """Who leads a partition."""

    broker_id: BrokerId
    epoch: LeaderEpoch


class Endpoint(NamedTuple):
    """Where a broker is."""

    broker_id: BrokerId
    address: Address
    rack: str | None


class CurrentLeaders:
    """Looks them up in the metadata as it is now."""

    def __init__(self, cluster: Cluster, address_of: AddressOf) -> None:
        self._cluster = cluster
        self._address_of = address_of

    def of(self, topic_partition: TopicPartition) -> Leader | None:
        """Return who leads a partition; ``None`` if nobody does."""
        partition = self._cluster.image.partition(topic_partition)
        if partition is None or partition.leader == NO_BROKER:
            return None
        return Leader(partition.leader, partition.leader_epoch)

    def endpoints(
        self, broker_ids: Iterable[BrokerId], connection: Connection
    ) -> Iterator[Endpoint]:
        """Say where these brokers are, leaving out whom the client cannot reach."""
        brokers = self._cluster.image.brokers
        for broker_id in broker_ids:
            broker = brokers.get(broker_id)
            address = None if broker is None else self._address_of(broker, connection)
            if broker is not None and address is not None:
                yield Endpoint(broker_id, address, broker.rack or None)
