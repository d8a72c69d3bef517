"""``AlterConfigs``: a resource has the settings of the request afterwards, and no others.

Clients use ``IncrementalAlterConfigs`` since that exists; this is for those older than that.
"""

from __future__ import annotations

from ottla.cluster.services import Services
from ottla.controller.requests import ConfigOperation
from ottla.kafka.altering import Alteration, Change, alter
from ottla.kafka.handling import RequestContext
from ottla.wire.messages.alter_configs import (
    AlterConfigsRequest,
    AlterConfigsResourceResponse,
    AlterConfigsResponse,
)


class AlterConfigsHandler:
    """Versions 0 to 2."""

    def __init__(self, services: Services) -> None:
        self._configs = services.configs

    async def __call__(
        self, _context: RequestContext, request: AlterConfigsRequest
    ) -> AlterConfigsResponse:
        """Replace all settings of each resource, or none of them."""
        results = await alter(
            self._configs,
            [
                Alteration(
                    resource.resource_type,
                    resource.resource_name,
                    [
                        Change(config.name, ConfigOperation.SET.value, config.value)
                        for config in resource.configs
                    ],
                )
                for resource in request.resources
            ],
            validate_only=request.validate_only,
            replaces=True,
        )
        return AlterConfigsResponse(
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
