"""``DescribeGroups``: classic groups and their members."""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.authorized_operations import ALL_OF_GROUP, NOT_ASKED
from ottla.kafka.group_requests import of_each
from ottla.kafka.handling import RequestContext
from ottla.model.errors import GroupIdNotFoundError, OttlaError
from ottla.wire.messages.describe_groups import (
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
)

_DEAD: Final = "Dead"
_NOT_FOUND_FROM: Final = 6
"""Before, a group that nobody knows is a dead one, and that is no error."""


class DescribeGroupsHandler:
    """Versions 0 to 6."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: DescribeGroupsRequest
    ) -> DescribeGroupsResponse:
        """Answer each group by itself."""
        operations = ALL_OF_GROUP if request.include_authorized_operations else NOT_ASKED

        async def describe(group_id: str) -> DescribedGroup:
            described = _described(
                await self._groups.submit(groups.DescribeClassicGroup(group_id=group_id))
            )
            described.authorized_operations = operations
            return described

        def refuse(group_id: str, error: OttlaError) -> DescribedGroup:
            if not isinstance(error, GroupIdNotFoundError):
                return DescribedGroup(group_id=group_id, error_code=error.code)
            dead = DescribedGroup(group_id=group_id, group_state=_DEAD)
            if context.api_version >= _NOT_FOUND_FROM:
                dead.error_code, dead.error_message = error.code, str(error)
            else:
                dead.authorized_operations = operations
            return dead

        return DescribeGroupsResponse(groups=await of_each(request.groups, describe, refuse))


def _described(group: groups.ClassicGroupDescription) -> DescribedGroup:
    return DescribedGroup(
        group_id=group.group_id,
        group_state=group.state,
        protocol_type=group.protocol_type,
        protocol_data=group.protocol_name,
        members=[
            DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata,
                member_assignment=member.assignment,
            )
            for member in group.members
        ],
    )
