"""``FindCoordinator``: which broker coordinates a group, and where the client reaches it.

The first one of a cluster's life has the topic for groups made, and waits for it; clients of Kafka
know that they may be told to ask again.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ottla.cluster.services import GroupsService
from ottla.config.addresses import Address
from ottla.kafka.current_leaders import AddressOf, Cluster
from ottla.kafka.group_requests import of_each
from ottla.kafka.handling import RequestContext
from ottla.model.errors import (
    CoordinatorNotAvailableError,
    InvalidRequestError,
    OttlaError,
    UnsupportedVersionError,
)
from ottla.model.ids import NO_BROKER, BrokerId
from ottla.wire.messages.find_coordinator import (
    Coordinator,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
)

_SEVERAL_FROM: Final = 4
_NOWHERE: Final = Address("", -1)


class _KeyType(IntEnum):
    """What is coordinated; the numbers are Kafka's."""

    GROUP = 0
    TRANSACTION = 1


class FindCoordinatorHandler:
    """Versions 0 to 6. Before version 4 a request has one key."""

    def __init__(self, groups: GroupsService, cluster: Cluster, address_of: AddressOf) -> None:
        self._groups = groups
        self._cluster = cluster
        self._address_of = address_of

    async def __call__(
        self, context: RequestContext, request: FindCoordinatorRequest
    ) -> FindCoordinatorResponse:
        """Answer each key by itself."""

        async def find(key: str) -> Coordinator:
            return await self._find(context, request.key_type, key)

        if context.api_version >= _SEVERAL_FROM:
            found = await of_each(request.coordinator_keys, find, _refused)
            return FindCoordinatorResponse(coordinators=found)
        (only,) = await of_each([request.key], find, _refused)
        return FindCoordinatorResponse(
            error_code=only.error_code,
            error_message=only.error_message,
            node_id=only.node_id,
            host=only.host,
            port=only.port,
        )

    async def _find(self, context: RequestContext, key_type: int, key: str) -> Coordinator:
        if key_type == _KeyType.TRANSACTION:
            raise UnsupportedVersionError(
                f"transactional id {key!r} asks for transactions, which this version does not have"
            )
        if key_type != _KeyType.GROUP:
            raise InvalidRequestError(f"nothing of the type {key_type} is coordinated here; use 0")
        broker_id = await self._groups.coordinator_of(key)
        address = self._reachable(context, broker_id)
        return Coordinator(key=key, node_id=broker_id, host=address.host, port=address.port)

    def _reachable(self, context: RequestContext, broker_id: BrokerId) -> Address:
        broker = self._cluster.image.brokers.get(broker_id)
        address = None
        if broker is not None and not broker.fenced:
            address = self._address_of(broker, context.connection)
        if address is None:
            raise CoordinatorNotAvailableError(
                f"broker {broker_id} coordinates the group and cannot be reached through listener "
                f"{context.connection.listener} at the moment"
            )
        return address


def _refused(key: str, error: OttlaError) -> Coordinator:
    return Coordinator(
        key=key,
        node_id=NO_BROKER,
        host=_NOWHERE.host,
        port=_NOWHERE.port,
        error_code=error.code,
        error_message=str(error),
    )
