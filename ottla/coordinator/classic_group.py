"""A classic group: members join, one of them assigns, and all are told; again and again.

::

                    somebody joins                     all are there, or time is up
    Empty ------------------------> PreparingRebalance ---------------------------> Empty, if nobody
                                          ^   ^                    |
                                          |   |                    v
                                          |   +----------- CompletingRebalance
                                          |   somebody joins,      |
                      somebody joins,     |   goes or is silent    |  the leader has assigned
                      goes, is silent or  |                        v
                      changes its mind    +--------------------- Stable

*Joining.* Who joins waits. When all members wait, or the longest rebalance timeout among them is
over, a *generation* begins: dynamic members that did not come back are out (static ones, KIP-345,
have some time more), the leader is told of everybody, and everybody waits again, for the leader's
assignments. An empty group waits a moment for more members first, and again when some
came, for a group of a hundred starts one by one. A member comes in two steps: the first gives it
an id (KIP-394), so that one whose answer gets lost is not counted twice.

*Syncing.* The leader's assignments are written to the log with the whole group, then everybody is
told. Until then nothing of a generation is in the log: a coordinator that takes over knows the one
before, and whoever speaks of a later one is sent to join again. Who does not ask for its assignment
within the rebalance timeout is out.

*Sessions.* A member that is silent for its session timeout is out, unless it waits for an answer
of ours: then it cannot speak. A member whose connection goes away while it waits is silent from
then on; one that has not even been told its id is out at once. (Kafka keeps it for five minutes: it
does not see the connection go.)

Here is how a group goes from one state to the next; :mod:`~ottla.coordinator.classic_joining` and
:mod:`~ottla.coordinator.classic_requests` have what members may ask for in each. All of it is exact
about Kafka's error codes, which are what clients act upon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from ottla.coordinator.classic_log import as_stored, members_of
from ottla.coordinator.classic_member import PER_MEMBER_BYTES, ClassicMember
from ottla.coordinator.classic_members import ClassicMembers
from ottla.coordinator.consumer_protocol import CONSUMER_PROTOCOL_TYPE, subscribed_topics
from ottla.coordinator.effects import Effects, GroupRecord, Token
from ottla.coordinator.records import StoredGroup, group_record, group_tombstone
from ottla.coordinator.requests import Joined, JoinedMember, Synced
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.timers import Timers
from ottla.model.errors import (
    GroupMaxSizeReachedError,
    OttlaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from ottla.model.limits import CLASSIC_GROUP_MEMBERS_MAX, GROUP_RECORD_BYTES_MAX

_NOBODY_CAME_MIN_MS: Final = 1_000
"""Before it is looked again whether anybody has come, whatever timeout the members ask for."""


class ClassicState(Enum):
    """Where a group stands, as Kafka spells it."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"


class ClassicGroup:
    """One group, empty at first. What follows from a call is added to the effects it is given."""

    def __init__(
        self,
        group_id: str,
        settings: GroupSettings,
        new_member_id: Callable[[str], str],
        now_ms: int,
    ) -> None:
        """Make an empty group without a protocol type; ``new_member_id`` gets a prefix."""
        self.group_id = group_id
        self.settings = settings
        self.new_member_id = new_member_id
        self.state = ClassicState.EMPTY
        self.state_since_ms = now_ms
        self.generation_id = 0
        self.protocol_type: str | None = None
        """``None``: it never had members."""
        self.protocol_name: str | None = None
        self.members = ClassicMembers(group_id)
        self.topics: frozenset[str] | None = None
        """What its consumers read; ``None`` if they are none, or say it in another way."""
        self.stored: GroupRecord | None = None
        """What the log says of it."""
        self._silent_at: Timers[str] = Timers()
        """When members were silent too long, by their ids, also of those that are expected."""
        self._join_deadline_ms: int | None = None
        self._sync_deadline_ms: int | None = None
        self._not_synced: set[str] = set()
        self._initial = False
        """The rebalance under way began with an empty group: it waits for more members."""
        self._initial_delay_ms = 0
        self._initial_rest_ms = 0
        self._more_came = False

    def __repr__(self) -> str:
        return f"<ClassicGroup {self.group_id!r} {self.state.value} {self.generation_id}>"

    @property
    def is_empty(self) -> bool:
        """It has no members. Some may be expected."""
        return self.state is ClassicState.EMPTY

    @property
    def is_unknown(self) -> bool:
        """Neither the log nor anybody who is expected knows of it."""
        return self.is_empty and self.stored is None and not self.members.pending

    @property
    def size_max(self) -> int:
        """How many members it may have."""
        return min(self.settings.group_size_max, CLASSIC_GROUP_MEMBERS_MAX)

    @property
    def bytes_held(self) -> int:
        """What it takes in memory, roughly, of what clients can make more."""
        expected = len(self.members.pending) * PER_MEMBER_BYTES
        stored = 0 if self.stored is None else len(self.stored.value or b"")
        return self.members.bytes_held + expected + stored

    @property
    def is_of_consumers(self) -> bool:
        """Its members, or the last ones that it had, are consumers."""
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    def is_subscribed_to(self, topic: str) -> bool:
        """Return whether its members read a topic, or may do so for all that is known."""
        return self.is_of_consumers if self.topics is None else topic in self.topics

    # --- Members ---

    def expect(self, member_id: str, session_timeout_ms: int, now_ms: int) -> None:
        """Expect somebody to join with an id that it was given."""
        self.members.pending.add(member_id)
        self._silent_at.set(member_id, now_ms + session_timeout_ms)

    def expect_no_longer(self, member_id: str, now_ms: int, effects: Effects) -> None:
        """Forget an id that was given and not joined with; a rebalance waits for it no longer."""
        self.members.pending.remove(member_id)
        self._silent_at.cancel(member_id)
        if self.state is ClassicState.PREPARING_REBALANCE:
            self.rebalance(now_ms, effects)

    def add(self, member: ClassicMember, protocol_type: str) -> None:
        """Take in a new member; the first one decides what kind of group it is."""
        if not len(self.members):
            self.protocol_type = protocol_type
        self._more_came = True
        self.members.add(member)

    def drop(self, member: ClassicMember, error: OttlaError, effects: Effects) -> None:
        """Take out a member, and answer it if it waits; :meth:`members_left` comes next."""
        self.release(member, error, effects)
        self.members.remove(member)
        self._silent_at.cancel(member.member_id)
        self._not_synced.discard(member.member_id)

    def members_left(self, now_ms: int, effects: Effects) -> None:
        """Rebalance without those that were taken out."""
        if not self.is_empty:
            self.rebalance(now_ms, effects)

    def rename(self, member: ClassicMember, member_id: str) -> None:
        """Give a static member, which waits for nothing, another id."""
        self._silent_at.cancel(member.member_id)
        if member.member_id in self._not_synced:
            self._not_synced.remove(member.member_id)
            self._not_synced.add(member_id)
        self.members.rename(member, member_id)

    def is_alive(self, member: ClassicMember, now_ms: int) -> None:
        """Note that a member was heard from just now, or was answered."""
        member.gone = False
        silence_max_ms = member.session_timeout_ms
        if member.is_new and member.waits:
            # It cannot send heartbeats before it has an answer, and may have lost patience.
            silence_max_ms = self.settings.new_member_join_timeout_ms
        self._silent_at.set(member.member_id, now_ms + silence_max_ms)

    # --- Waiting ---

    def await_join(self, member: ClassicMember, token: Token, now_ms: int) -> None:
        """Let a member wait for the next generation; :meth:`rebalance` comes next."""
        self.members.await_join(member, token)
        self.is_alive(member, now_ms)

    def await_sync(self, member: ClassicMember, token: Token, now_ms: int) -> None:
        """Let a member wait for its assignment."""
        self.members.await_sync(member, token)
        self.is_alive(member, now_ms)

    def release(self, member: ClassicMember, error: OttlaError, effects: Effects) -> None:
        """Answer a member with an error, if it waits."""
        token = self.members.stop_waiting(member)
        if token is not None:
            effects.answer(token, error, after_commit=False)

    def cancel(self, token: Token) -> None:
        """Let nobody wait for an answer any longer; the next tick sees to what follows."""
        member = self.members.of_token(token)
        if member is not None:
            self.members.stop_waiting(member)
            member.gone = True
            self._silent_at.set(member.member_id, 0)

    def resign(self, error: OttlaError, effects: Effects) -> None:
        """Answer everybody who waits with an error."""
        for member in self.members:
            self.release(member, error, effects)

    # --- Rebalancing ---

    def rebalance(self, now_ms: int, effects: Effects) -> None:
        """Begin a generation with the members there are, or go on with beginning one."""
        if self.state is not ClassicState.PREPARING_REBALANCE:
            self._prepare(now_ms, effects)
        elif not self._initial and self.members.all_joined:
            self._begin_generation(now_ms, effects)

    def _prepare(self, now_ms: int, effects: Effects) -> None:
        if self.state is ClassicState.COMPLETING_REBALANCE:
            error = RebalanceInProgressError(f"Group {self.group_id!r} rebalances again.")
            for member in self.members:
                self.members.assign(member, b"")
                if member.sync_token is not None:
                    self.release(member, error, effects)
                    self.is_alive(member, now_ms)
        self._not_synced.clear()
        self._sync_deadline_ms = None
        self._initial = self.is_empty
        self._enter(ClassicState.PREPARING_REBALANCE, now_ms)
        if self._initial:
            self._more_came = False
            self._initial_delay_ms = self.settings.initial_rebalance_delay_ms
            timeout_ms = self.members.rebalance_timeout_ms
            self._initial_rest_ms = max(timeout_ms - self._initial_delay_ms, 0)
            self._join_deadline_ms = now_ms + self._initial_delay_ms
        elif self.members.all_joined:
            self._begin_generation(now_ms, effects)
        else:
            self._join_deadline_ms = now_ms + self.members.rebalance_timeout_ms

    def _join_time_is_up(self, now_ms: int, effects: Effects) -> None:
        if not self._initial or not self._more_came or not self._initial_rest_ms:
            self._begin_generation(now_ms, effects)
            return
        self._more_came = False
        delay_ms = min(self.settings.initial_rebalance_delay_ms, self._initial_rest_ms)
        self._initial_rest_ms = max(self._initial_rest_ms - self._initial_delay_ms, 0)
        self._initial_delay_ms = delay_ms
        self._join_deadline_ms = now_ms + delay_ms

    def _begin_generation(self, now_ms: int, effects: Effects) -> None:
        assert self.state is ClassicState.PREPARING_REBALANCE, self
        self._join_deadline_ms = None
        self._initial = False
        for member in self.members:
            if member.join_token is None and member.group_instance_id is None:
                self.drop(member, self.unknown(member.member_id), effects)
        if not self.members.elect() and len(self.members):
            # Only static members, and none of them is there: until their sessions end.
            timeout_ms = max(self.members.rebalance_timeout_ms, _NOBODY_CAME_MIN_MS)
            self._join_deadline_ms = now_ms + timeout_ms
            return
        self.generation_id += 1
        if not len(self.members):
            self.protocol_name = None
            self.note_topics()
            self._enter(ClassicState.EMPTY, now_ms)
            self.store(effects)
            return
        self.protocol_name = self.members.choose_protocol()
        self.note_topics()
        self._enter(ClassicState.COMPLETING_REBALANCE, now_ms)
        for member in self.members:
            member.is_new = False
            token = self.members.stop_waiting(member)
            if token is not None:
                self.is_alive(member, now_ms)
                effects.answer(token, self.joined(member), after_commit=False)
            self._not_synced.add(member.member_id)
        self._sync_deadline_ms = now_ms + self.members.rebalance_timeout_ms

    # --- Syncing ---

    def has_synced(self, member: ClassicMember) -> None:
        """Note that a member has asked for its assignment."""
        self._not_synced.discard(member.member_id)
        if not self._not_synced:
            self._sync_deadline_ms = None

    def is_to_sync(self, member: ClassicMember) -> None:
        """Note that a member has been told of the generation again."""
        if self.state is ClassicState.COMPLETING_REBALANCE:
            self._not_synced.add(member.member_id)

    def assign(self, assignments: Mapping[str, bytes], now_ms: int, effects: Effects) -> None:
        """Give the members what the leader says is theirs, and tell those that wait for it."""
        assert self.state is ClassicState.COMPLETING_REBALANCE, self
        for member in self.members:
            self.members.assign(member, assignments.get(member.member_id, b""))
        size = sum(member.record_bytes(self.protocol_name) for member in self.members)
        if size > GROUP_RECORD_BYTES_MAX:
            self._cannot_store(now_ms, effects)
            return
        self._enter(ClassicState.STABLE, now_ms)
        self.store(effects)
        for member in self.members:
            token = self.members.stop_waiting(member)
            if token is not None:
                self.is_alive(member, now_ms)
                effects.answer(token, self.synced(member))

    def _cannot_store(self, now_ms: int, effects: Effects) -> None:
        error = GroupMaxSizeReachedError(
            f"The subscriptions and assignments of group {self.group_id!r} take more than the"
            f" {GROUP_RECORD_BYTES_MAX} bytes that a record can hold. Use fewer members, or"
            " subscribe to fewer topics."
        )
        for member in self.members:
            self.release(member, error, effects)
            self.is_alive(member, now_ms)
        self._prepare(now_ms, effects)

    def _sync_time_is_up(self, now_ms: int, effects: Effects) -> None:
        self._sync_deadline_ms = None
        for member_id in sorted(self._not_synced):
            member = self.members.get(member_id)
            assert member is not None, member_id
            self.drop(member, self.unknown(member_id), effects)
        self.rebalance(now_ms, effects)

    # --- Time ---

    def deadline_ms(self) -> int | None:
        """Return when :meth:`tick` has something to do."""
        deadlines = (self._silent_at.deadline_ms(), self._join_deadline_ms, self._sync_deadline_ms)
        return min((one for one in deadlines if one is not None), default=None)

    def tick(self, now_ms: int, effects: Effects) -> None:
        """Do what the time has come for."""
        while (member_id := self._silent_at.pop_due(now_ms)) is not None:
            self._is_silent(member_id, now_ms, effects)
        if self._join_deadline_ms is not None and self._join_deadline_ms <= now_ms:
            self._join_time_is_up(now_ms, effects)
        if self._sync_deadline_ms is not None and self._sync_deadline_ms <= now_ms:
            self._sync_time_is_up(now_ms, effects)

    def _is_silent(self, member_id: str, now_ms: int, effects: Effects) -> None:
        if member_id in self.members.pending:
            self.expect_no_longer(member_id, now_ms, effects)
            return
        member = self.members.get(member_id)
        assert member is not None, member_id
        if member.gone and (member.can_come_back or not member.is_new):
            self.is_alive(member, now_ms)
            return
        if member.waits and not member.is_new:
            return  # It gets a new session with its answer.
        self.drop(member, self.unknown(member_id), effects)
        self.members_left(now_ms, effects)

    # --- What members are told ---

    def joined(self, member: ClassicMember) -> Joined:
        """Return what a member is told of the present generation."""
        members: tuple[JoinedMember, ...] = ()
        if member.member_id == self.members.leader_id:
            members = tuple(one.as_joined(self.protocol_name) for one in self.members)
        return Joined(
            generation_id=self.generation_id,
            protocol_type=self.protocol_type or "",
            protocol_name=self.protocol_name or "",
            leader=self.members.leader_id or "",
            member_id=member.member_id,
            members=members,
        )

    def synced(self, member: ClassicMember) -> Synced:
        """Return what a member is told of its assignment."""
        return Synced(
            protocol_type=self.protocol_type or "",
            protocol_name=self.protocol_name or "",
            assignment=member.assignment,
        )

    def unknown(self, member_id: str) -> UnknownMemberIdError:
        """Return what a member is told that is one no longer."""
        return UnknownMemberIdError(
            f"Member {member_id!r} was taken out of group {self.group_id!r}: join anew."
        )

    # --- The log ---

    def restore(self, stored: StoredGroup, record: GroupRecord) -> None:
        """Become, from a new group, what the log says; :meth:`loaded` comes next."""
        self.stored = record
        self.generation_id = stored.generation_id
        self.protocol_type = stored.protocol_type or None
        self.protocol_name = stored.protocol_name
        self.state_since_ms = stored.state_since_ms
        for member in members_of(stored):
            self.members.add(member)
        if len(self.members):
            self.state = ClassicState.STABLE
            self.protocol_name = stored.protocol_name or ""
            if stored.leader_id is not None and stored.leader_id in self.members:
                self.members.leader_id = stored.leader_id
        self.note_topics()

    def loaded(self, now_ms: int, effects: Effects) -> None:
        """Begin to coordinate: members have a session's time to be heard from."""
        for member in self.members:
            self.is_alive(member, now_ms)
        if len(self.members) > self.size_max:
            # Who comes back first stays; everybody can commit what it has done.
            self._prepare(now_ms, effects)

    def store(self, effects: Effects) -> None:
        """Write the group as it is now."""
        stored = as_stored(
            self.members,
            protocol_type=self.protocol_type,
            protocol_name=self.protocol_name,
            generation_id=self.generation_id,
            state_since_ms=self.state_since_ms,
        )
        self.stored = group_record(self.group_id, stored)
        effects.records.append(self.stored)

    def bury(self, effects: Effects) -> None:
        """Let the log forget a group that is empty and has no offsets."""
        assert self.is_empty, self
        if self.stored is not None:
            effects.records.append(group_tombstone(self.group_id))
            self.stored = None

    def note_topics(self) -> None:
        """Look at what the members subscribe to."""
        self.topics = None
        if self.is_of_consumers:
            self.topics = subscribed_topics(
                one.metadata(self.protocol_name) for one in self.members
            )

    def _enter(self, state: ClassicState, now_ms: int) -> None:
        self.state = state
        self.state_since_ms = now_ms
