"""``LeaveGroup``: members leave, or are taken out by an administrator."""

from __future__ import annotations

from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.group_requests import code_of
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.wire.messages.leave_group import (
    LeaveGroupRequest,
    LeaveGroupResponse,
    MemberIdentity,
    MemberResponse,
)

_SEVERAL_FROM: Final = 3


class LeaveGroupHandler:
    """Versions 0 to 5. Before version 3 a request has one member, whose error is the answer's."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: LeaveGroupRequest
    ) -> LeaveGroupResponse:
        """Answer for each member by itself."""
        several = context.api_version >= _SEVERAL_FROM
        members = request.members if several else [MemberIdentity(member_id=request.member_id)]
        leave = groups.LeaveGroup(
            group_id=request.group_id,
            members=[
                groups.LeavingMember(
                    member_id=member.member_id,
                    group_instance_id=member.group_instance_id,
                    reason=member.reason,
                )
                for member in members
            ],
        )
        try:
            outcomes = await self._groups.submit(leave)
        except OttlaError as error:
            return LeaveGroupResponse(error_code=error.code)
        if not several:
            return LeaveGroupResponse(error_code=code_of(outcomes[0]))
        return LeaveGroupResponse(
            members=[
                MemberResponse(
                    member_id=member.member_id,
                    group_instance_id=member.group_instance_id,
                    error_code=code_of(outcome),
                )
                for member, outcome in zip(members, outcomes, strict=True)
            ]
        )
