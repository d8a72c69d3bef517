"""A classic group as its record in the log has it, and back."""

from __future__ import annotations

from collections.abc import Iterator

from ottla.coordinator.classic_member import ClassicMember
from ottla.coordinator.classic_members import ClassicMembers
from ottla.coordinator.records import StoredGroup, StoredMember
from ottla.coordinator.requests import MemberProtocol


def as_stored(
    members: ClassicMembers,
    *,
    protocol_type: str | None,
    protocol_name: str | None,
    generation_id: int,
    state_since_ms: int,
) -> StoredGroup:
    """Return what is written of a group. Of the members' protocols it is the one chosen."""
    return StoredGroup(
        protocol_type=protocol_type or "",
        generation_id=generation_id,
        protocol_name=protocol_name,
        leader_id=members.leader_id,
        state_since_ms=state_since_ms,
        members=tuple(
            StoredMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout_ms=member.rebalance_timeout_ms,
                session_timeout_ms=member.session_timeout_ms,
                subscription=member.metadata(protocol_name),
                assignment=member.assignment,
            )
            for member in members
        ),
    )


def members_of(stored: StoredGroup) -> Iterator[ClassicMember]:
    """Yield the members of a group that was written."""
    for one in stored.members:
        yield ClassicMember(
            member_id=one.member_id,
            group_instance_id=one.group_instance_id,
            client_id=one.client_id,
            client_host=one.client_host,
            session_timeout_ms=one.session_timeout_ms,
            # Records before version 1 have none.
            rebalance_timeout_ms=(
                one.session_timeout_ms if one.rebalance_timeout_ms < 0 else one.rebalance_timeout_ms
            ),
            protocols=(MemberProtocol(name=stored.protocol_name or "", metadata=one.subscription),),
            assignment=one.assignment,
        )
