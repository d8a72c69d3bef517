"""``IncrementalAlterConfigs``: change some settings, leave the others, edit lists (KIP-339)."""

from __future__ import annotations

from ottla.cluster.services import Services
from ottla.kafka.altering import Alteration, Change, alter
from ottla.kafka.handling import RequestContext
from ottla.wire.messages.incremental_alter_configs import (
    AlterConfigsResourceResponse,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
)


class IncrementalAlterConfigsHandler:
    """Versions 0 and 1."""

    def __init__(self, services: Services) -> None:
        self._configs = services.configs

    async def __call__(
        self, _context: RequestContext, request: IncrementalAlterConfigsRequest
    ) -> IncrementalAlterConfigsResponse:
        """Make all changes of each resource, or none of them."""
        results = await alter(
            self._configs,
            [
                Alteration(
                    resource.resource_type,
                    resource.resource_name,
                    [
                        Change(config.name, config.config_operation, config.value)
                        for config in resource.configs
                    ],
                )
                for resource in request.resources
            ],
            validate_only=request.validate_only,
            replaces=False,
        )
        return IncrementalAlterConfigsResponse(
            responses=[
                AlterConfigsResourceResponse(
                    error_code=0 if error is None else error.code,
                    error_message=None if error is None else str(error),
                    resource_type=asked.type_code,
                    resource_name=asked.name,
                )
                for asked, error in results
            ]
        )
