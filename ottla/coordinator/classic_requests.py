"""What the members of a classic group ask for, but for joining it."""

from __future__ import annotations

from ottla.coordinator.classic_group import ClassicGroup, ClassicState
from ottla.coordinator.effects import Effects, Token
from ottla.coordinator.requests import (
    ClassicGroupDescription,
    ClassicMemberDescription,
    CommitOffsets,
    GroupListing,
    GroupType,
    Heartbeat,
    LeaveGroup,
    LeavingMember,
    SyncGroup,
)
from ottla.model.errors import (
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    OttlaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


def sync(
    group: ClassicGroup, token: Token, request: SyncGroup, now_ms: int, effects: Effects
) -> None:
    """Tell a member its assignment, now or once the leader has given it."""
    member = group.members.identified(request.member_id, request.group_instance_id)
    _check_generation(group, request.generation_id)
    _check_protocol(group, request)
    if group.state is ClassicState.PREPARING_REBALANCE:
        raise _rebalancing(group)
    group.has_synced(member)
    if group.state is ClassicState.STABLE:
        group.is_alive(member, now_ms)
        effects.answer(token, group.synced(member))
        return
    superseded = RebalanceInProgressError(
        f"Member {member.member_id!r} of group {group.group_id!r} has asked again since."
    )
    group.release(member, superseded, effects)
    group.await_sync(member, token, now_ms)
    if member.member_id == group.members.leader_id:
        group.assign(request.assignments, now_ms, effects)


def heartbeat(
    group: ClassicGroup, token: Token, request: Heartbeat, now_ms: int, effects: Effects
) -> None:
    """Note that a member is alive, and let it know whether it is to join again."""
    member = group.members.identified(request.member_id, request.group_instance_id)
    _check_generation(group, request.generation_id)
    group.is_alive(member, now_ms)
    if group.state is ClassicState.PREPARING_REBALANCE:
        raise _rebalancing(group)
    effects.answer(token, None, after_commit=False)


def leave(
    group: ClassicGroup, token: Token, request: LeaveGroup, now_ms: int, effects: Effects
) -> None:
    """Take members out, and rebalance once without them."""
    outcomes: list[OttlaError | None] = []
    members_before = len(group.members)
    for leaving in request.members:
        try:
            _leave(group, leaving, now_ms, effects)
        except OttlaError as error:
            outcomes.append(error)
        else:
            outcomes.append(None)
    effects.answer(token, outcomes)
    if len(group.members) < members_before:
        group.members_left(now_ms, effects)


def _leave(group: ClassicGroup, leaving: LeavingMember, now_ms: int, effects: Effects) -> None:
    if leaving.member_id in group.members.pending:
        group.expect_no_longer(leaving.member_id, now_ms, effects)
        return
    member = None
    if not leaving.member_id and leaving.group_instance_id is not None:
        # An administrator takes out a static member, whatever its id is.
        member = group.members.of_instance(leaving.group_instance_id)
    if member is None:
        member = group.members.identified(leaving.member_id, leaving.group_instance_id)
    group.drop(member, group.unknown(member.member_id), effects)


def check_commit(group: ClassicGroup, request: CommitOffsets, now_ms: int) -> None:
    """Raise if offsets may not be committed like this. To commit is a sign of life, too."""
    generation_id = request.generation_or_member_epoch
    if generation_id < 0 and group.is_empty:
        return  # Somebody who reads without a group, or an administrator.
    if generation_id < 0 and not request.member_id and request.group_instance_id is None:
        raise UnknownMemberIdError(
            f"Group {group.group_id!r} has members: only they can commit offsets. Stop them first,"
            " or use a group of your own."
        )
    member = group.members.identified(request.member_id, request.group_instance_id)
    _check_generation(group, generation_id)
    if group.state is ClassicState.COMPLETING_REBALANCE:
        raise _rebalancing(group)
    group.is_alive(member, now_ms)


def describe(group: ClassicGroup) -> ClassicGroupDescription:
    """Describe a group; what its members subscribe to is known while it is stable."""
    stable = group.state is ClassicState.STABLE
    return ClassicGroupDescription(
        group_id=group.group_id,
        state=group.state.value,
        protocol_type=group.protocol_type or "",
        protocol_name=(group.protocol_name or "") if stable else "",
        members=tuple(
            ClassicMemberDescription(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                metadata=member.metadata(group.protocol_name) if stable else b"",
                assignment=member.assignment,
            )
            for member in group.members
        ),
    )


def listing(group: ClassicGroup) -> GroupListing:
    """Return a group as a list has it."""
    return GroupListing(
        group_id=group.group_id,
        group_type=GroupType.CLASSIC,
        protocol_type=group.protocol_type or "",
        state=group.state.value,
    )


def _check_generation(group: ClassicGroup, generation_id: int) -> None:
    if generation_id != group.generation_id:
        raise IllegalGenerationError(
            f"Group {group.group_id!r} is in generation {group.generation_id}, the member in"
            f" {generation_id}: join again."
        )


def _check_protocol(group: ClassicGroup, request: SyncGroup) -> None:
    for said, known in (
        (request.protocol_type, group.protocol_type),
        (request.protocol_name, group.protocol_name),
    ):
        if said is not None and known is not None and said != known:
            raise InconsistentGroupProtocolError(
                f"Group {group.group_id!r} has chosen the protocol {group.protocol_name!r} of type"
                f" {group.protocol_type!r}, not {said!r}."
            )


def _rebalancing(group: ClassicGroup) -> RebalanceInProgressError:
    return RebalanceInProgressError(f"Group {group.group_id!r} rebalances: join it again.")
