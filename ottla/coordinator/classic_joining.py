"""How somebody joins a classic group: who is let in, and as whom.

=====================================  =========================================================
Who joins                              What happens
=====================================  =========================================================
nobody known, in two steps (KIP-394)   is given an id and sent to join with it
nobody known, or with such an id       is a new member: the group rebalances
a static member without an id          has started anew: takes its own place, with another id.
                                       If the group is stable and its protocol stays what it is,
                                       nothing else changes (KIP-345); the leader may be told that
                                       it need not assign (KIP-814)
a member, in a rebalance               has come back
the leader                             wants something assigned anew: the group rebalances
a member that has changed its mind     the group rebalances
any other member                       is told of the present generation again
=====================================  =========================================================

Where this differs from Kafka: a member's earlier request, if it still waits, is answered (with
``REBALANCE_IN_PROGRESS``), and a static member can take its own place in a full group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ottla.coordinator.classic_group import ClassicGroup, ClassicState
from ottla.coordinator.classic_member import ClassicMember, without_repetition
from ottla.coordinator.effects import Effects, Token
from ottla.coordinator.requests import Joined, JoinGroup, MemberProtocol
from ottla.model.errors import (
    FencedInstanceIdError,
    GroupMaxSizeReachedError,
    InconsistentGroupProtocolError,
    MemberIdRequiredError,
    RebalanceInProgressError,
)
from ottla.model.limits import CLASSIC_PENDING_MEMBERS_MAX, CLASSIC_PROTOCOLS_PER_MEMBER_MAX


class ClassicJoining:
    """One request to join a group."""

    def __init__(
        self,
        group: ClassicGroup,
        token: Token,
        request: JoinGroup,
        now_ms: int,
        effects: Effects,
    ) -> None:
        """Take note of who wants to join which group, when."""
        self._group = group
        self._members = group.members
        self._token = token
        self._request = request
        self._protocols = without_repetition(request.protocols)
        # The first versions of the request have no timeout of its own for rebalances.
        timeout_ms = request.rebalance_timeout_ms
        self._rebalance_timeout_ms = request.session_timeout_ms if timeout_ms < 0 else timeout_ms
        self._now_ms = now_ms
        self._effects = effects

    def join(self) -> None:
        """Let it in, if it may; it is answered now, or when the next generation begins.

        Raises what :class:`~ottla.coordinator.requests.JoinGroup` says.
        """
        request = self._request
        known = self._known()
        self._check_room(known)
        check_protocols(self._group, request.protocol_type, self._protocols)
        if request.member_id:
            if request.member_id in self._members.pending and request.group_instance_id is None:
                self._add(request.member_id)
            else:
                self._join_again()
        elif known is not None:
            self._take_own_place(known)
        else:
            instance_id = request.group_instance_id
            member_id = self._group.new_member_id(instance_id or request.client_id)
            if instance_id is None and request.requires_known_member_id:
                self._expect(member_id)
            self._add(member_id)

    def _known(self) -> ClassicMember | None:
        request = self._request
        if request.member_id or request.group_instance_id is None:
            return self._members.get(request.member_id)
        return self._members.of_instance(request.group_instance_id)

    def _check_room(self, known: ClassicMember | None) -> None:
        group, size_max = self._group, self._group.size_max
        if group.is_empty:
            return
        if group.state is ClassicState.PREPARING_REBALANCE:
            # Whoever comes back first stays, should the group have become too large.
            waits = known is not None and known.join_token is not None
            has_room = waits or self._members.joining < size_max
        else:
            has_room = known is not None or len(self._members) < size_max
        if has_room:
            return
        error = GroupMaxSizeReachedError(
            f"Group {group.group_id!r} has {size_max} members, as many as group.max.size allows."
        )
        if known is not None:
            group.drop(known, error, self._effects)
            group.members_left(self._now_ms, self._effects)
        raise error

    # --- As somebody new ---

    def _expect(self, member_id: str) -> None:
        group = self._group
        if len(self._members.pending) >= CLASSIC_PENDING_MEMBERS_MAX:
            raise GroupMaxSizeReachedError(
                f"{CLASSIC_PENDING_MEMBERS_MAX} members of group {group.group_id!r} were given an"
                " id and have not joined with it yet. Try again after their session timeout."
            )
        group.expect(member_id, self._request.session_timeout_ms, self._now_ms)
        message = f"Join group {group.group_id!r} again, with the id {member_id!r}."
        raise MemberIdRequiredError(message, member_id)

    def _add(self, member_id: str) -> None:
        request, group = self._request, self._group
        member = ClassicMember(
            member_id=member_id,
            group_instance_id=request.group_instance_id,
            client_id=request.client_id,
            client_host=request.client_host,
            session_timeout_ms=request.session_timeout_ms,
            rebalance_timeout_ms=self._rebalance_timeout_ms,
            protocols=self._protocols,
            is_new=True,
            can_come_back=bool(request.member_id) or request.group_instance_id is not None,
        )
        group.add(member, request.protocol_type)
        self._await(member)

    # --- As somebody known ---

    def _join_again(self) -> None:
        group, request = self._group, self._request
        member = self._members.identified(request.member_id, request.group_instance_id)
        superseded = RebalanceInProgressError(
            f"Member {member.member_id!r} of group {group.group_id!r} has asked again since."
        )
        group.release(member, superseded, self._effects)
        if self._may_stay(member):
            # It has missed the answer to its last request, or asks out of caution.
            group.is_to_sync(member)
            group.is_alive(member, self._now_ms)
            self._effects.answer(self._token, group.joined(member), after_commit=False)
            return
        self._note(member)
        self._await(member)

    def _may_stay(self, member: ClassicMember) -> bool:
        state = self._group.state
        if state is ClassicState.PREPARING_REBALANCE or member.protocols != self._protocols:
            return False
        leads = member.member_id == self._members.leader_id
        return state is ClassicState.COMPLETING_REBALANCE or not leads

    def _take_own_place(self, member: ClassicMember) -> None:
        group, request = self._group, self._request
        leader_before = self._members.leader_id
        member_id = group.new_member_id(request.group_instance_id or "")
        fenced = FencedInstanceIdError(
            f"Member {member.member_id!r} of group {group.group_id!r} is replaced by {member_id!r},"
            f" which has joined with the same group.instance.id {request.group_instance_id!r}."
        )
        group.release(member, fenced, self._effects)
        group.rename(member, member_id)
        self._note(member)
        member.client_id, member.client_host = request.client_id, request.client_host
        stable = group.state is ClassicState.STABLE
        if not stable or self._members.choose_protocol() != group.protocol_name:
            # While the leader assigns, it may be assigning to the old id.
            self._await(member)
            return
        group.is_alive(member, self._now_ms)
        group.note_topics()
        group.store(self._effects)
        self._effects.answer(self._token, self._own_place(member, leader_before))

    def _own_place(self, member: ClassicMember, leader_before: str | None) -> Joined:
        joined = self._group.joined(member)
        if self._request.supports_skipping_assignment:
            return replace(joined, skip_assignment=member.member_id == self._members.leader_id)
        # It would assign if it were told that it leads, and has nothing to do it for.
        return replace(joined, leader=leader_before or "", members=())

    def _note(self, member: ClassicMember) -> None:
        request = self._request
        self._members.change(
            member, self._protocols, request.session_timeout_ms, self._rebalance_timeout_ms
        )

    def _await(self, member: ClassicMember) -> None:
        self._group.await_join(member, self._token, self._now_ms)
        self._group.rebalance(self._now_ms, self._effects)


def check_protocols(
    group: ClassicGroup, protocol_type: str, protocols: Sequence[MemberProtocol]
) -> None:
    """Raise if somebody who knows these protocols cannot be in a group."""
    if not protocol_type or not protocols or len(protocols) > CLASSIC_PROTOCOLS_PER_MEMBER_MAX:
        raise InconsistentGroupProtocolError(
            f"Whoever joins group {group.group_id!r} must name a protocol type and 1 to"
            f" {CLASSIC_PROTOCOLS_PER_MEMBER_MAX} protocols."
        )
    if group.is_empty:
        return
    if group.protocol_type != protocol_type or not group.members.know_one_of(protocols):
        names = ", ".join(one.name for one in protocols)
        raise InconsistentGroupProtocolError(
            f"The members of group {group.group_id!r}, of type {group.protocol_type!r}, do not all"
            f" know one of {names} of type {protocol_type!r}. Configure the same assignors in all."
        )
