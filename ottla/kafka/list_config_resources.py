"""``ListConfigResources``: the names of everything that has settings (KIP-1142).

Version 0 asks for client metrics alone, of which there are none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ottla.cluster.admin_services import ResourceType
from ottla.cluster.services import ClusterService
from ottla.kafka.config_entries import BROKER_LOGGER, CLIENT_METRICS, GROUP
from ottla.kafka.handling import RequestContext
from ottla.model.errors import UnsupportedVersionError
from ottla.model.image import ClusterImage
from ottla.wire.messages.list_config_resources import (
    ConfigResource,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)

_TYPES_FROM: Final = 1
_TOPIC: Final = ResourceType.TOPIC.value
_BROKER: Final = ResourceType.BROKER.value
_TYPES: Final = frozenset({_TOPIC, _BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP})


class ListConfigResourcesHandler:
    """Versions 0 and 1."""

    def __init__(self, cluster: ClusterService) -> None:
        self._cluster = cluster

    async def __call__(
        self, context: RequestContext, request: ListConfigResourcesRequest
    ) -> ListConfigResourcesResponse:
        """Answer from this broker's metadata."""
        if context.api_version < _TYPES_FROM:
            return ListConfigResourcesResponse()
        types = frozenset(request.resource_types) or _TYPES
        if not types <= _TYPES:
            return ListConfigResourcesResponse(error_code=UnsupportedVersionError.code)
        return ListConfigResourcesResponse(
            config_resources=[
                ConfigResource(resource_name=name, resource_type=type_code)
                for type_code, name in _resources(self._cluster.image)
                if type_code in types
            ]
        )


def _resources(image: ClusterImage) -> Iterator[tuple[int, str]]:
    for name in sorted(image.topics):
        yield _TOPIC, name
    for broker_id in sorted(image.brokers):
        yield _BROKER, str(broker_id)
        yield BROKER_LOGGER, str(broker_id)
