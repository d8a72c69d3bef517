"""``DeleteGroups``: forget groups with their offsets."""

from __future__ import annotations

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.group_requests import of_each
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.wire.messages.delete_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
)


class DeleteGroupsHandler:
    """Versions 0 to 2."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: DeleteGroupsRequest
    ) -> DeleteGroupsResponse:
        """Answer each group by itself."""
        del context

        async def delete(group_id: str) -> DeletableGroupResult:
            await self._groups.submit(groups.DeleteGroup(group_id=group_id))
            return DeletableGroupResult(group_id=group_id)

        def refuse(group_id: str, error: OttlaError) -> DeletableGroupResult:
            return DeletableGroupResult(group_id=group_id, error_code=error.code)

        return DeleteGroupsResponse(results=await of_each(request.groups_names, delete, refuse))
