"""A consumer group: the coordinator divides the partitions, and members follow (KIP-848).

Three epochs tell how far everybody is. The *group epoch* rises when a reason appears to divide
anew: members come, go or subscribe to something else, or their topics change. The *assignment
epoch* is the group epoch that the members' *targets* are made for; it follows at once, or a moment
later if there was a division just before. And each member has its *member epoch*, which becomes
the assignment epoch once it has given back what it shall not have any more
(:mod:`~ottla.coordinator.current_assignment`). Nobody waits for the slowest: that is the point.

::

             somebody joins             targets are made          all members are there
    Empty ------------------> Assigning ----------------> Reconciling ------------> Stable
      ^                          ^                                                    |
      |  the last one goes       +----------------------------------------------------+
                                            there is a reason to divide anew

Members only ever speak by heartbeats. One says what is new about the member and what it owns, and
is answered with the member's epoch, and with its assignment if that has changed. A member that is
silent for its session is out; so is one that does not give back within its rebalance timeout what
it was told to, for somebody else waits for it. A static member (KIP-345) that stops for a while
keeps what it has until its session ends: its successor, with the same group instance id, takes its
place without any division.

What the group holds is what its records say, so that a coordinator which takes over goes on with
the very epochs that members have, and nobody moves. Only the deadlines begin anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ottla.coordinator.assignment import Partitions, as_lists
from ottla.coordinator.consumer_group_members import check_epoch
from ottla.coordinator.consumer_group_records import ReplayedGroup, group_tombstones
from ottla.coordinator.consumer_group_state import ConsumerGroupState
from ottla.coordinator.consumer_member import ConsumerMember, MemberProfile
from ottla.coordinator.current_assignment import CurrentAssignment
from ottla.coordinator.effects import Effects, GroupRecord
from ottla.coordinator.requests import (
    NO_GENERATION,
    CommitOffsets,
    ConsumerGroupDescription,
    ConsumerHeartbeat,
    ConsumerHeartbeatAnswer,
    ConsumerJoin,
    LeavingMember,
    OffsetToCommit,
)
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.subscriptions import check_expression
from ottla.model.errors import (
    GroupMaxSizeReachedError,
    InvalidRequestError,
    OttlaError,
    StaleMemberEpochError,
    UnreleasedInstanceIdError,
    UnsupportedVersionError,
)
from ottla.model.image import ClusterImage
from ottla.model.limits import CONSUMER_GROUP_MEMBERS_MAX, TOPIC_EXPRESSIONS_PER_GROUP_MAX
from ottla.wire.group_records import RecordKey, RecordValue


class ConsumerGroup:
    """One group, empty at first. What follows from a call is added to the effects it is given.

    A call that raises an :exc:`~ottla.model.errors.OttlaError` has changed nothing.
    """

    def __init__(
        self,
        group_id: str,
        settings: GroupSettings,
        *,
        new_member_id: Callable[[str], str],
        image: ClusterImage,
    ) -> None:
        """Make a group that nobody knows yet; ``new_member_id`` gets a prefix."""
        self.group_id = group_id
        self._settings = settings
        self._new_member_id = new_member_id
        self._state = ConsumerGroupState(group_id, settings, image)
        self._members = self._state.members
        self._replayed: ReplayedGroup | None = None
        """``None`` unless the log is being read."""

    def __repr__(self) -> str:
        return (
            f"<ConsumerGroup {self.group_id!r} {self.state}, {len(self._members)} members, "
            f"epoch {self._state.group_epoch}, assignment {self._state.assignment_epoch}>"
        )

    @property
    def state(self) -> str:
        """Where the group stands, as Kafka spells it."""
        if not self._members:
            return "Empty"
        epoch = self._state.assignment_epoch
        if self._state.group_epoch > epoch:
            return "Assigning"
        if all(one.current.is_reconciled_to(epoch) for one in self._members):
            return "Stable"
        return "Reconciling"

    @property
    def is_empty(self) -> bool:
        """It has no members."""
        return not self._members

    @property
    def is_unknown(self) -> bool:
        """The log says nothing of it that still holds."""
        if self._replayed is not None:
            return self._replayed.is_unknown
        return not self._state.group_epoch

    @property
    def revision(self) -> int:
        """Changes whenever the answer of :meth:`has_news` may have changed for somebody."""
        return self._state.revision

    @property
    def bytes_held(self) -> int:
        """What its members take in memory, roughly."""
        return self._members.bytes_held

    def bytes_of(self, member_id: str) -> int:
        """Return what a member has said of itself takes; zero if it is none."""
        member = self._members.get(member_id)
        return 0 if member is None else member.profile.bytes_held

    # --- What members ask -----------------------------------------------------------------

    def heartbeat(
        self, request: ConsumerHeartbeat, now_ms: int, effects: Effects
    ) -> ConsumerHeartbeatAnswer:
        """Take a heartbeat that :func:`~.consumer_requests.check_heartbeat` lets pass.

        Raises:
            UnknownMemberIdError: the member is out, and must join anew.
            FencedMemberEpochError: it is in another epoch, and must join anew.
            FencedInstanceIdError: another member has its instance id.
            UnreleasedInstanceIdError: it joins, and a member that has its instance id is there.
            GroupMaxSizeReachedError: it joins, and the group is full.
            InvalidRegularExpressionError: what it subscribes by is none.
            InvalidRequestError: the group has too many different expressions.
        """
        member = self._members.get(request.member_id)
        if member is not None and self._is_quiet(member) and member.says_nothing(request):
            self._state.begin_session(member.member_id, now_ms)
            if member.quiet_answer is None:
                member.quiet_answer = self._answer(member, with_assignment=False)
            return member.quiet_answer
        if request.member_epoch < ConsumerJoin.JOIN:
            return self._leave(request, now_ms, effects)
        return self._talk(request, now_ms, effects)

    def leave(
        self, members: Sequence[LeavingMember], now_ms: int, effects: Effects
    ) -> list[OttlaError | None]:
        """Take members out, as an administrator asks; return an outcome for each."""
        outcomes: list[OttlaError | None] = []
        leaving: dict[str, ConsumerMember] = {}
        for one in members:
            try:
                member = self._leaving(one)
            except OttlaError as error:
                outcomes.append(error)
            else:
                leaving[member.member_id] = member
                outcomes.append(None)
        self._state.take_out(leaving.values(), now_ms, effects)
        return outcomes

    def has_news(self, member_id: str) -> bool:
        """Return whether a heartbeat that says nothing would be answered otherwise than the last.

        True for a member that is out, too: it would be told so.
        """
        member = self._members.get(member_id)
        if member is None or member.current.member_epoch <= ConsumerJoin.JOIN:
            return True
        following = self._state.next_assignment(member, owned=None)
        return following.member_epoch != member.current.member_epoch or _are_others(
            member.current, following
        )

    # --- What others ask ------------------------------------------------------------------

    def check_commit(self, request: CommitOffsets) -> list[OttlaError | None]:
        """Return, for each offset, whether a member may commit it.

        It may in its epoch; in an older one, what it has had since then (KIP-1251): the word of
        its new epoch and its commit have crossed.

        Raises:
            UnknownMemberIdError: the committer is no member.
            StaleMemberEpochError: its epoch is ahead.
            UnsupportedVersionError: it could not understand an error about epochs.
        """
        epoch = request.generation_or_member_epoch
        if epoch <= NO_GENERATION and not self._members:
            return [None] * len(request.offsets)
        member = self._members.known(request.member_id)
        if not request.understands_stale_epochs:
            raise UnsupportedVersionError(
                "a member of a consumer group must commit offsets with OffsetCommit 9 or later"
            )
        if epoch == member.current.member_epoch:
            return [None] * len(request.offsets)
        if epoch > member.current.member_epoch:
            raise _stale(member, epoch)
        return [self._check_late_commit(member, epoch, one) for one in request.offsets]

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Check that committed offsets may be read by whoever says that it is this member.

        Raises:
            UnknownMemberIdError: it is none.
            StaleMemberEpochError: it is in another epoch.
        """
        if member_id is None and member_epoch <= NO_GENERATION:
            return
        member = self._members.known(member_id or "")
        if member_epoch != member.current.member_epoch:
            raise _stale(member, member_epoch)

    def is_subscribed_to(self, topic: str) -> bool:
        """Return whether a member subscribes to a topic."""
        return self._state.subscriptions.is_subscribed_to(topic)

    def describe(self) -> ConsumerGroupDescription:
        """Return the group as tools are told of it."""
        return ConsumerGroupDescription(
            group_id=self.group_id,
            state=self.state,
            group_epoch=self._state.group_epoch,
            assignment_epoch=self._state.assignment_epoch,
            assignor=self._state.assignor,
            members=[
                one.describe() for one in sorted(self._members, key=lambda one: one.member_id)
            ],
        )

    # --- Time and topics ------------------------------------------------------------------

    def image_changed(self, image: ClusterImage, now_ms: int) -> None:
        """Note a later image. It is looked at a moment later, once for many changes."""
        self._state.image_changed(image, now_ms)

    def deadline_ms(self) -> int | None:
        """Return when :meth:`tick` has something to do."""
        state = self._state
        deadlines = (
            state.sessions.deadline_ms(),
            state.revocations.deadline_ms(),
            state.division_due_ms,
            state.topics_due_ms,
        )
        return min((one for one in deadlines if one is not None), default=None)

    def tick(self, now_ms: int, effects: Effects) -> None:
        """Take out members that were silent or slow, look at topics, and divide."""
        state = self._state
        late: dict[str, ConsumerMember] = {}
        for timers in (state.sessions, state.revocations):
            while (member_id := timers.pop_due(now_ms)) is not None:
                late[member_id] = self._members.known(member_id)
        state.take_out(late.values(), now_ms, effects)
        if state.topics_due_ms is not None and state.topics_due_ms <= now_ms:
            state.look_at_topics(now_ms, effects)
        state.divide_if_due(now_ms, effects)

    # --- The log --------------------------------------------------------------------------

    def replay(self, key: RecordKey, value: RecordValue | None) -> None:
        """Take a record of the log, while it is read."""
        if self._replayed is None:
            self._replayed = ReplayedGroup()
        self._replayed.replay(key, value)

    def loaded(self, now_ms: int) -> None:
        """Become what the log says. All sessions begin anew."""
        assert self._replayed is not None, self
        self._state.load(self._replayed, now_ms)
        self._replayed = None

    def records(self) -> Iterator[GroupRecord]:
        """Yield what the log must say, each as it is when it is asked for."""
        return self._state.live_records()

    def tombstones(self) -> list[GroupRecord]:
        """Return the records that forget the group, which must be empty."""
        assert not self._members, self
        return group_tombstones(self.group_id)

    # --- Heartbeats -----------------------------------------------------------------------

    def _is_quiet(self, member: ConsumerMember) -> bool:
        epoch = self._state.assignment_epoch
        return self._state.group_epoch == epoch and member.current.is_reconciled_to(epoch)

    def _answer(self, member: ConsumerMember, *, with_assignment: bool) -> ConsumerHeartbeatAnswer:
        return ConsumerHeartbeatAnswer(
            member_id=member.member_id,
            member_epoch=member.current.member_epoch,
            heartbeat_interval_ms=self._settings.consumer_heartbeat_interval_ms,
            assignment=as_lists(member.current.assigned) if with_assignment else None,
        )

    def _talk(
        self, request: ConsumerHeartbeat, now_ms: int, effects: Effects
    ) -> ConsumerHeartbeatAnswer:
        owned = _owned(request)
        before = self._find(request, owned)
        old_profile = MemberProfile() if before is None else before.profile
        profile = old_profile.told(request)
        self._check_new_expression(old_profile, profile)
        # Nothing is raised from here on.
        state = self._state
        assignor, members = state.assignor, len(self._members)
        member = self._settle(request, before, profile, effects)
        resubscribed = not old_profile.subscribes_alike(profile)
        if len(self._members) != members or resubscribed or state.assignor != assignor:
            state.raise_epoch(now_ms, effects)
        state.divide_if_due(now_ms, effects)
        told = member.current
        current = state.next_assignment(member, owned=owned, subscription_changed=resubscribed)
        state.move_on(member, current, now_ms, effects)
        state.begin_session(member.member_id, now_ms)
        return self._answer(
            member,
            with_assignment=(
                request.member_epoch != told.member_epoch
                or _says_everything(request)
                or _are_others(told, current)
            ),
        )

    def _settle(
        self,
        request: ConsumerHeartbeat,
        before: ConsumerMember | None,
        profile: MemberProfile,
        effects: Effects,
    ) -> ConsumerMember:
        """Return the member that speaks, as it is by what it has said."""
        member_id = request.member_id or self._new_member_id(request.client_id)
        if before is None:
            return self._state.take_in(member_id, profile, effects)
        if before.current.member_epoch == ConsumerJoin.LEAVE_FOR_A_WHILE:
            return self._state.take_over(before, member_id, profile, effects)
        self._state.change_profile(before, profile, effects)
        return before

    def _find(self, request: ConsumerHeartbeat, owned: Partitions | None) -> ConsumerMember | None:
        """Return the member that speaks, or whose place it takes; ``None`` if it is new."""
        joins = request.member_epoch == ConsumerJoin.JOIN
        instance_id = request.group_instance_id
        if not joins:
            if instance_id is None:
                member = self._members.known(request.member_id)
            else:
                member = self._members.known_static(instance_id, request.member_id)
            check_epoch(member, request.member_epoch, owned)
            return member
        holder = None if instance_id is None else self._members.static(instance_id)
        if holder is None:
            self._check_room(request.member_id)
            return self._members.get(request.member_id)
        if holder.current.member_epoch != ConsumerJoin.LEAVE_FOR_A_WHILE:
            raise UnreleasedInstanceIdError(
                f"group instance id {instance_id!r} of group {self.group_id!r} belongs to member "
                f"{holder.member_id!r}, which has not left; {request.member_id!r} must wait until "
                "its session ends"
            )
        return holder

    def _check_room(self, member_id: str) -> None:
        most = min(self._settings.consumer_group_size_max, CONSUMER_GROUP_MEMBERS_MAX)
        if len(self._members) >= most and self._members.get(member_id) is None:
            raise GroupMaxSizeReachedError(
                f"group {self.group_id!r} has {len(self._members)} members, and may have {most}; "
                "raise group.consumer.max.size"
            )

    def _check_new_expression(self, before: MemberProfile, after: MemberProfile) -> None:
        expression = after.topic_expression
        if not expression or expression == before.topic_expression:
            return
        check_expression(expression)
        if not self._state.subscriptions.has_room_for(expression):
            raise InvalidRequestError(
                f"members of group {self.group_id!r} subscribe by "
                f"{TOPIC_EXPRESSIONS_PER_GROUP_MAX} different regular expressions, which is as "
                "many as may be; let them use the same"
            )

    # --- Leaving --------------------------------------------------------------------------

    def _leave(
        self, request: ConsumerHeartbeat, now_ms: int, effects: Effects
    ) -> ConsumerHeartbeatAnswer:
        instance_id = request.group_instance_id
        if instance_id is None:
            member = self._members.known(request.member_id)
        else:
            member = self._members.known_static(instance_id, request.member_id)
        if request.member_epoch == ConsumerJoin.LEAVE_FOR_A_WHILE:
            self._state.pause(member, effects)
        else:
            self._state.take_out([member], now_ms, effects)
        return ConsumerHeartbeatAnswer(
            member_id=member.member_id,
            member_epoch=request.member_epoch,
            heartbeat_interval_ms=0,
            assignment=None,
        )

    def _leaving(self, one: LeavingMember) -> ConsumerMember:
        if one.group_instance_id is None:
            return self._members.known(one.member_id)
        return self._members.known_static(one.group_instance_id, one.member_id or None)

    # --- Offsets --------------------------------------------------------------------------

    def _check_late_commit(
        self, member: ConsumerMember, epoch: int, offset: OffsetToCommit
    ) -> OttlaError | None:
        topic_id = offset.topic_id
        if topic_id is None:
            topic = self._state.image.topics.get(offset.topic_partition.topic)
            topic_id = None if topic is None else topic.topic_id
        partition = offset.topic_partition.partition
        since = None if topic_id is None else member.current.holds(topic_id, partition)
        return None if since is not None and epoch >= since else _stale(member, epoch)


def _owned(request: ConsumerHeartbeat) -> Partitions | None:
    if request.owned is None:
        return None
    return {topic_id: frozenset(numbers) for topic_id, numbers in request.owned.items()}


def _says_everything(request: ConsumerHeartbeat) -> bool:
    """Return whether a heartbeat says everything, as after an answer that was lost."""
    return (
        request.rebalance_timeout_ms is not None
        and request.owned is not None
        and (
            request.subscribed_topic_names is not None or request.subscribed_topic_regex is not None
        )
    )


def _are_others(before: CurrentAssignment, after: CurrentAssignment) -> bool:
    """Return whether a member has other partitions than before, whenever it was given them."""
    if before.assigned is after.assigned:
        return False
    return before.assigned.keys() != after.assigned.keys() or any(
        after.assigned[topic_id].keys() != partitions.keys()
        for topic_id, partitions in before.assigned.items()
    )


def _stale(member: ConsumerMember, epoch: int) -> StaleMemberEpochError:
    return StaleMemberEpochError(
        f"epoch {epoch} of member {member.member_id!r} is not {member.current.member_epoch}, which "
        "is its own; its next heartbeat tells it"
    )
