"""The brokers of the cluster as one client can use them.

A client is told of the brokers that serve and have a listener of the name through which it came.
To it, the others are not there: what they lead has no leader, and what they replicate is an
offline replica.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ottla.config.addresses import Address
from ottla.kafka.current_leaders import AddressOf
from ottla.kafka.handling import Connection
from ottla.model.errors import LeaderNotAvailableError, ListenerNotFoundError
from ottla.model.ids import NO_BROKER, BrokerId
from ottla.model.image import BrokerImage, ClusterImage


class ReachableBroker(NamedTuple):
    """A broker and where the client reaches it."""

    broker: BrokerImage
    address: Address


class ReachableBrokers:
    """Those of one image, for one connection."""

    def __init__(self, image: ClusterImage, connection: Connection, address_of: AddressOf) -> None:
        self.listener = connection.listener
        self._image = image
        self._serving: dict[BrokerId, ReachableBroker] = {}
        for broker_id, broker in sorted(image.brokers.items()):
            address = None if broker.fenced else address_of(broker, connection)
            if address is not None:
                self._serving[broker_id] = ReachableBroker(broker, address)

    def __contains__(self, broker_id: BrokerId) -> bool:
        return broker_id in self._serving

    def __iter__(self) -> Iterator[ReachableBroker]:
        """Yield them by id."""
        return iter(self._serving.values())

    @property
    def controller_id(self) -> BrokerId:
        """Whom to ask for changes: the controller, or any other, which passes them on to it."""
        if self._image.controller_id in self._serving:
            return self._image.controller_id
        return next(iter(self._serving), NO_BROKER)

    def offline(self, replicas: Iterable[BrokerId]) -> list[int]:
        """Return those of ``replicas`` that are not there."""
        return [replica for replica in replicas if replica not in self._serving]

    def why_leaderless(self, leader: BrokerId) -> int:
        """Return why a leader cannot be told: the code for a partition that has none to see."""
        broker = self._image.brokers.get(leader)
        if broker is None or broker.fenced:
            return LeaderNotAvailableError.code
        return ListenerNotFoundError.code
