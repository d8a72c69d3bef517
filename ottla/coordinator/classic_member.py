"""One member of a classic group."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from ottla.coordinator.effects import Token
from ottla.coordinator.requests import JoinedMember, MemberProtocol

PER_MEMBER_BYTES = 512
"""What a member takes in memory besides what clients say, and more than it does in a record."""


@dataclass(slots=True, kw_only=True)
class ClassicMember:
    """A member, with what it said when it joined last and what it waits for."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocols: tuple[MemberProtocol, ...]
    """The one preferred first, no name twice."""
    assignment: bytes = b""
    join_token: Token | None = None
    """It waits for the next generation."""
    sync_token: Token | None = None
    """It waits for its assignment."""
    is_new: bool = False
    """It has not been in any generation yet."""
    can_come_back: bool = True
    """Else only the answer that it waits for tells it its id."""
    gone: bool = False
    """Its connection went away while it waited, which the next tick is to deal with."""

    @property
    def waits(self) -> bool:
        """It waits for an answer, and cannot send heartbeats meanwhile."""
        return self.join_token is not None or self.sync_token is not None

    @property
    def bytes_held(self) -> int:
        """What it takes in memory, roughly."""
        return self._own_bytes + protocol_bytes(self.protocols)

    def record_bytes(self, protocol_name: str | None) -> int:
        """Return what it takes at most in a record of its group."""
        return self._own_bytes + len(self.metadata(protocol_name))

    def metadata(self, protocol_name: str | None) -> bytes:
        """Return what it says about itself in a protocol that it knows."""
        for protocol in self.protocols:
            if protocol.name == protocol_name:
                return protocol.metadata
        raise AssertionError(self.member_id, protocol_name)

    def vote(self, candidates: Collection[str]) -> str:
        """Return which of the candidates, some of which it knows, it prefers."""
        return next(one.name for one in self.protocols if one.name in candidates)

    @property
    def _own_bytes(self) -> int:
        names = (self.member_id, self.group_instance_id or "", self.client_id, self.client_host)
        text = sum(len(name.encode()) for name in names)
        return PER_MEMBER_BYTES + text + len(self.assignment)

    def as_joined(self, protocol_name: str | None) -> JoinedMember:
        """Return what the leader of the group is told of it."""
        return JoinedMember(
            member_id=self.member_id,
            group_instance_id=self.group_instance_id,
            metadata=self.metadata(protocol_name),
        )


def protocol_bytes(protocols: Iterable[MemberProtocol]) -> int:
    """Return what the protocols of a member take, in bytes."""
    return sum(len(one.name) + len(one.metadata) for one in protocols)


def without_repetition(protocols: Iterable[MemberProtocol]) -> tuple[MemberProtocol, ...]:
    """Return the protocols, the first of each name."""
    return tuple({one.name: one for one in reversed(tuple(protocols))}.values())[::-1]
