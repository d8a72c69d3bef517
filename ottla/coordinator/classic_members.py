"""Who is in a classic group, who leads, who waits, and what they have in common.

The members in the order in which they came. The first is the leader; if it goes, or is not there
when a generation begins, the first of those that are there takes over. Static members are found
by their instance id, too. Beside the members there are those that were given an id and have not
joined with it yet (KIP-394): a rebalance waits for them.

Counts are kept, not computed: who waits for the next generation, which protocols how many
members know, and how many bytes all of them hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ottla.coordinator.classic_member import ClassicMember
from ottla.coordinator.effects import Token
from ottla.coordinator.requests import MemberProtocol
from ottla.model.errors import FencedInstanceIdError, UnknownMemberIdError


class ClassicMembers:
    """The members of one group. Iterates over them; ``len`` counts them."""

    def __init__(self, group_id: str) -> None:
        """Begin with nobody."""
        self.leader_id: str | None = None
        self.pending: set[str] = set()
        """Ids that were given and not joined with yet."""
        self.joining = 0
        """How many wait for the next generation."""
        self.bytes_held = 0
        self._group_id = group_id
        self._by_id: dict[str, ClassicMember] = {}
        self._ids_by_instance: dict[str, str] = {}
        self._knowing: Counter[str] = Counter()
        self._waiting: dict[Token, str] = {}

    def __repr__(self) -> str:
        return f"<ClassicMembers {len(self)}, {self.joining} joining, {len(self.pending)} pending>"

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[ClassicMember]:
        return iter(list(self._by_id.values()))

    def __contains__(self, member_id: str) -> bool:
        return member_id in self._by_id

    @property
    def all_joined(self) -> bool:
        """Everybody is there, and nobody is expected."""
        return self.joining == len(self._by_id) and not self.pending

    @property
    def rebalance_timeout_ms(self) -> int:
        """How long the slowest of them may take to come back."""
        return max((member.rebalance_timeout_ms for member in self._by_id.values()), default=0)

    def get(self, member_id: str) -> ClassicMember | None:
        """Return the member of that id."""
        return self._by_id.get(member_id)

    def of_instance(self, group_instance_id: str) -> ClassicMember | None:
        """Return the static member of that instance id."""
        member_id = self._ids_by_instance.get(group_instance_id)
        return None if member_id is None else self._by_id[member_id]

    def of_token(self, token: Token) -> ClassicMember | None:
        """Return who waits for an answer."""
        member_id = self._waiting.get(token)
        return None if member_id is None else self._by_id[member_id]

    def identified(self, member_id: str, group_instance_id: str | None) -> ClassicMember:
        """Return the member that somebody says to be.

        Raises:
            UnknownMemberIdError: There is no such member.
            FencedInstanceIdError: Another has the instance id now.

        """
        if group_instance_id is not None:
            holder = self.of_instance(group_instance_id)
            if holder is not None and holder.member_id != member_id:
                raise FencedInstanceIdError(
                    f"Member {member_id!r} of group {self._group_id!r} was replaced by"
                    f" {holder.member_id!r}, which has joined with the same group.instance.id"
                    f" {group_instance_id!r} since. Give every consumer an id of its own."
                )
        member = self._by_id.get(member_id)
        if member is None or (
            group_instance_id is not None and member.group_instance_id != group_instance_id
        ):
            raise UnknownMemberIdError(
                f"Group {self._group_id!r} has no member {member_id!r}. It was removed, or the"
                " group began anew: join again, without a member id."
            )
        return member

    # --- Coming and going ---

    def add(self, member: ClassicMember) -> None:
        """Take in a member that does not wait yet; the first one leads."""
        assert member.member_id not in self._by_id, member
        assert not member.waits, member
        self._by_id[member.member_id] = member
        if member.group_instance_id is not None:
            assert member.group_instance_id not in self._ids_by_instance, member
            self._ids_by_instance[member.group_instance_id] = member.member_id
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.pending.discard(member.member_id)
        self._count(member, 1)

    def remove(self, member: ClassicMember) -> None:
        """Take out a member that does not wait any more; another one may lead from now on."""
        assert not member.waits, member
        del self._by_id[member.member_id]
        if member.group_instance_id is not None:
            del self._ids_by_instance[member.group_instance_id]
        if self.leader_id == member.member_id:
            self.leader_id = next(iter(self._by_id), None)
        self._count(member, -1)

    def rename(self, member: ClassicMember, member_id: str) -> None:
        """Give a static member, which does not wait, another id; it keeps everything else."""
        assert not member.waits, member
        assert member.group_instance_id is not None, member
        led = self.leader_id == member.member_id
        self._count(member, -1)
        member.member_id = member_id
        self._by_id = {one.member_id: one for one in self._by_id.values()}
        self._count(member, 1)
        self._ids_by_instance[member.group_instance_id] = member_id
        if led:
            self.leader_id = member_id

    def elect(self) -> bool:
        """Let somebody lead who waits for the next generation, if there is anybody."""
        leader = None if self.leader_id is None else self._by_id[self.leader_id]
        if leader is not None and leader.join_token is not None:
            return True
        for member in self._by_id.values():
            if member.join_token is not None:
                self.leader_id = member.member_id
                return True
        return False

    def change(
        self,
        member: ClassicMember,
        protocols: tuple[MemberProtocol, ...],
        session_timeout_ms: int,
        rebalance_timeout_ms: int,
    ) -> None:
        """Note what a member says about itself now."""
        self._count(member, -1)
        member.protocols = protocols
        member.session_timeout_ms = session_timeout_ms
        member.rebalance_timeout_ms = rebalance_timeout_ms
        self._count(member, 1)

    def assign(self, member: ClassicMember, assignment: bytes) -> None:
        """Give a member its assignment."""
        self.bytes_held += len(assignment) - len(member.assignment)
        member.assignment = assignment

    # --- Waiting ---

    def await_join(self, member: ClassicMember, token: Token) -> None:
        """Let a member, which waits for nothing, wait for the next generation."""
        assert not member.waits, member
        member.join_token = token
        self._waiting[token] = member.member_id
        self.joining += 1

    def await_sync(self, member: ClassicMember, token: Token) -> None:
        """Let a member, which waits for nothing, wait for its assignment."""
        assert not member.waits, member
        member.sync_token = token
        self._waiting[token] = member.member_id

    def stop_waiting(self, member: ClassicMember) -> Token | None:
        """Let a member wait no longer; return what it waited for, to be answered."""
        token = member.join_token if member.join_token is not None else member.sync_token
        if token is None:
            return None
        if member.join_token is not None:
            self.joining -= 1
        member.join_token = member.sync_token = None
        del self._waiting[token]
        return token

    # --- Protocols ---

    def know_one_of(self, protocols: Sequence[MemberProtocol]) -> bool:
        """Return whether all members know one of these protocols; if there are none, yes."""
        return any(self._knowing[one.name] == len(self._by_id) for one in protocols)

    def choose_protocol(self) -> str:
        """Return the protocol that most members prefer among those that all of them know.

        Of several with as many votes, the one that the leader prefers.
        """
        common = {name for name, knowing in self._knowing.items() if knowing == len(self._by_id)}
        assert self.leader_id is not None
        assert common, "members without a protocol in common were let in"
        leader = self._by_id[self.leader_id]
        votes = dict.fromkeys((one.name for one in leader.protocols if one.name in common), 0)
        for member in self._by_id.values():
            votes[member.vote(common)] += 1
        return max(votes, key=votes.__getitem__)

    def _count(self, member: ClassicMember, sign: int) -> None:
        for protocol in member.protocols:
            self._knowing[protocol.name] += sign
            if not self._knowing[protocol.name]:
                del self._knowing[protocol.name]
        self.bytes_held += sign * member.bytes_held
