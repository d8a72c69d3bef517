"""``Heartbeat``: a member of a classic group is alive."""

from __future__ import annotations

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.wire.messages.heartbeat import HeartbeatRequest, HeartbeatResponse


class HeartbeatHandler:
    """Versions 0 to 4."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: HeartbeatRequest
    ) -> HeartbeatResponse:
        """Answer whether the member may go on as it does."""
        del context
        heartbeat = groups.Heartbeat(
            group_id=request.group_id,
            generation_id=request.generation_id,
            member_id=request.member_id,
            group_instance_id=request.group_instance_id,
        )
        try:
            await self._groups.submit(heartbeat)
        except OttlaError as error:
            return HeartbeatResponse(error_code=error.code)
        return HeartbeatResponse()
