"""``SyncGroup``: the leader of a group gives assignments, and every member gets its own."""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.group_requests import barrier
from ottla.kafka.handling import RequestContext
from ottla.model.errors import InconsistentGroupProtocolError, OttlaError
from ottla.wire.messages.sync_group import SyncGroupRequest, SyncGroupResponse

_PROTOCOL_NEEDED_FROM: Final = 5


class SyncGroupHandler:
    """Versions 0 to 5. From version 5 on, a member must say what it takes the protocol to be."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: SyncGroupRequest
    ) -> SyncGroupResponse:
        """Answer when the leader has given its assignments."""
        said = request.protocol_type is not None and request.protocol_name is not None
        if context.api_version >= _PROTOCOL_NEEDED_FROM and not said:
            return SyncGroupResponse(error_code=InconsistentGroupProtocolError.code)
        try:
            async with barrier(context):
                synced = await self._groups.submit(_sync(request))
        except OttlaError as error:
            return SyncGroupResponse(error_code=error.code)
        return SyncGroupResponse(
            protocol_type=synced.protocol_type,
            protocol_name=synced.protocol_name,
            assignment=synced.assignment,
        )


def _sync(request: SyncGroupRequest) -> groups.SyncGroup:
    return groups.SyncGroup(
        group_id=request.group_id,
        generation_id=request.generation_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        protocol_type=request.protocol_type,
        protocol_name=request.protocol_name,
        assignments={one.member_id: one.assignment for one in request.assignments},
    )
