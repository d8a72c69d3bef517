"""``JoinGroup``: become a member, and wait until all the others have joined too.

Meanwhile the client's next requests on the connection wait, as they do in Kafka: clients have a
connection of its own to the coordinator.
"""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.coordinator.requests import NO_GENERATION
from ottla.kafka.group_requests import barrier, client_host
from ottla.kafka.handling import RequestContext
from ottla.model.errors import MemberIdRequiredError, OttlaError
from ottla.wire.messages.join_group import (
    JoinGroupRequest,
    JoinGroupResponse,
    JoinGroupResponseMember,
)

_REBALANCE_TIMEOUT_FROM: Final = 1
_TWO_STEPS_FROM: Final = 4
_NO_PROTOCOL_IS_NULL_FROM: Final = 7
_SKIPPING_FROM: Final = 9


class JoinGroupHandler:
    """Versions 0 to 9."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: JoinGroupRequest
    ) -> JoinGroupResponse:
        """Answer when the generation has begun."""
        try:
            async with barrier(context):
                joined = await self._groups.submit(_join(context, request))
        except OttlaError as error:
            return _refused(context, request, error)
        return JoinGroupResponse(
            generation_id=joined.generation_id,
            protocol_type=joined.protocol_type,
            protocol_name=joined.protocol_name,
            leader=joined.leader,
            skip_assignment=joined.skip_assignment,
            member_id=joined.member_id,
            members=[
                JoinGroupResponseMember(
                    member_id=member.member_id,
                    group_instance_id=member.group_instance_id,
                    metadata=member.metadata,
                )
                for member in joined.members
            ],
        )


def _join(context: RequestContext, request: JoinGroupRequest) -> groups.JoinGroup:
    version = context.api_version
    rebalance_timeout_ms = request.rebalance_timeout_ms
    if version < _REBALANCE_TIMEOUT_FROM:
        rebalance_timeout_ms = request.session_timeout_ms
    return groups.JoinGroup(
        group_id=request.group_id,
        member_id=request.member_id,
        group_instance_id=request.group_instance_id,
        client_id=context.client_id,
        client_host=client_host(context.connection),
        protocol_type=request.protocol_type,
        protocols=[
            groups.MemberProtocol(name=protocol.name, metadata=protocol.metadata)
            for protocol in request.protocols
        ],
        session_timeout_ms=request.session_timeout_ms,
        rebalance_timeout_ms=rebalance_timeout_ms,
        requires_known_member_id=version >= _TWO_STEPS_FROM and request.group_instance_id is None,
        supports_skipping_assignment=version >= _SKIPPING_FROM,
        reason=request.reason,
    )


def _refused(
    context: RequestContext, request: JoinGroupRequest, error: OttlaError
) -> JoinGroupResponse:
    member_id = request.member_id
    if isinstance(error, MemberIdRequiredError):
        member_id = error.member_id
    return JoinGroupResponse(
        error_code=error.code,
        generation_id=NO_GENERATION,
        protocol_name=None if context.api_version >= _NO_PROTOCOL_IS_NULL_FROM else "",
        member_id=member_id,
    )
