"""``ListGroups``: the groups that this broker coordinates."""

from __future__ import annotations

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.wire.messages.list_groups import ListedGroup, ListGroupsRequest, ListGroupsResponse


class ListGroupsHandler:
    """Versions 0 to 5."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: ListGroupsRequest
    ) -> ListGroupsResponse:
        """Answer with those in the states and of the types asked for."""
        del context
        which = groups.ListGroups(states=request.states_filter, types=request.types_filter)
        try:
            listed = await self._groups.list_groups(which)
        except OttlaError as error:
            return ListGroupsResponse(error_code=error.code)
        return ListGroupsResponse(
            groups=[
                ListedGroup(
                    group_id=group.group_id,
                    protocol_type=group.protocol_type,
                    group_state=group.state,
                    group_type=group.group_type.value,
                )
                for group in listed
            ]
        )
