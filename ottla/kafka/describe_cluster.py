"""``DescribeCluster``: the brokers and who controls them, without topics (KIP-700).

Fenced brokers are told of on request (version 2): where they registered, for nobody serves there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ottla.cluster.services import ClusterService
from ottla.kafka.authorized_operations import ALL_OF_CLUSTER, NOT_ASKED
from ottla.kafka.current_leaders import AddressOf
from ottla.kafka.handling import RequestContext
from ottla.kafka.reachable_brokers import ReachableBrokers
from ottla.model.errors import (
    MismatchedEndpointTypeError,
    OttlaError,
    UnsupportedEndpointTypeError,
)
from ottla.wire.messages.describe_cluster import (
    DescribeClusterBroker,
    DescribeClusterRequest,
    DescribeClusterResponse,
)

_BROKERS: Final = 1
_CONTROLLERS: Final = 2
_ENDPOINT_TYPES_FROM: Final = 1


class DescribeClusterHandler:
    """Versions 0 to 2."""

    def __init__(self, cluster: ClusterService, address_of: AddressOf) -> None:
        self._cluster = cluster
        self._address_of = address_of

    async def __call__(
        self, context: RequestContext, request: DescribeClusterRequest
    ) -> DescribeClusterResponse:
        """Answer from this broker's metadata."""
        refusal = _wrong_endpoint_type(context.api_version, request.endpoint_type)
        if refusal is not None:
            return DescribeClusterResponse(
                error_code=refusal.code,
                error_message=str(refusal),
                endpoint_type=request.endpoint_type,
            )
        image = self._cluster.image
        reachable = ReachableBrokers(image, context.connection, self._address_of)
        return DescribeClusterResponse(
            cluster_id=image.cluster_id,
            controller_id=reachable.controller_id,
            brokers=list(self._brokers(context, request, reachable)),
            cluster_authorized_operations=(
                ALL_OF_CLUSTER if request.include_cluster_authorized_operations else NOT_ASKED
            ),
        )

    def _brokers(
        self, context: RequestContext, request: DescribeClusterRequest, reachable: ReachableBrokers
    ) -> Iterator[DescribeClusterBroker]:
        for broker_id, broker in sorted(self._cluster.image.brokers.items()):
            if broker_id not in reachable and not request.include_fenced_brokers:
                continue
            address = self._address_of(broker, context.connection)
            if address is not None:
                yield DescribeClusterBroker(
                    broker_id=broker_id,
                    host=address.host,
                    port=address.port,
                    rack=broker.rack or None,
                    is_fenced=broker.fenced,
                )


def _wrong_endpoint_type(version: int, endpoint_type: int) -> OttlaError | None:
    if version < _ENDPOINT_TYPES_FROM or endpoint_type == _BROKERS:
        return None
    if endpoint_type == _CONTROLLERS:
        return MismatchedEndpointTypeError(
            "this is a broker; controllers take no requests of clients here, so ask for brokers "
            "(bootstrap.servers, not bootstrap.controllers)"
        )
    return UnsupportedEndpointTypeError(
        f"there are no endpoints of type {endpoint_type}; ask for brokers, type {_BROKERS}"
    )
