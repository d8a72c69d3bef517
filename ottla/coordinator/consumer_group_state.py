"""What a consumer group is made of, and the steps by which it changes.

Each step changes the state and adds the records that say so. The rules about who may do what, and
when, are in :mod:`~ottla.coordinator.consumer_group`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ottla.coordinator import consumer_group_records as records
from ottla.coordinator.assignment import NOTHING, Partitions
from ottla.coordinator.consumer_group_members import ConsumerMembers
from ottla.coordinator.consumer_member import ConsumerMember, MemberProfile
from ottla.coordinator.current_assignment import CurrentAssignment, Goal, MemberState, reconcile
from ottla.coordinator.effects import Effects, GroupRecord
from ottla.coordinator.requests import ConsumerJoin
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.subscriptions import Subscriptions, TopicExpression
from ottla.coordinator.target_assignment import divide
from ottla.coordinator.timers import Timers
from ottla.model.image import ClusterImage
from ottla.model.limits import CONSUMER_TOPIC_CHANGES_DELAY_MS


class ConsumerGroupState:
    """The state of one group."""

    def __init__(self, group_id: str, settings: GroupSettings, image: ClusterImage) -> None:
        """Begin without members, as a group that nobody knows."""
        self.group_id = group_id
        self.group_epoch = 0
        self.assignment_epoch = 0
        self.revision = 0
        """Changes with whatever a member might have to be told."""
        self.members = ConsumerMembers(group_id)
        self.subscriptions = Subscriptions(image)
        self.sessions: Timers[str] = Timers()
        self.revocations: Timers[str] = Timers()
        """When members must have given back what they were told to."""
        self.division_due_ms: int | None = None
        self.topics_due_ms: int | None = None
        """When the image is to be looked at, which has changed."""
        self._settings = settings
        self._image = image
        self._metadata_hash = 0
        self._divided_at_ms = 0
        """When the targets were made; zero: long ago."""

    @property
    def assignor(self) -> str:
        """What most members want the partitions to be divided by."""
        return self.members.preferred_assignor(self._settings.consumer_assignors)

    @property
    def image(self) -> ClusterImage:
        """The latest, which the group may not have looked at yet."""
        return self._image

    # --- Members --------------------------------------------------------------------------

    def take_in(self, member_id: str, profile: MemberProfile, effects: Effects) -> ConsumerMember:
        """Take in a new member, which has nothing and is in no epoch yet."""
        member = ConsumerMember(member_id=member_id, profile=profile)
        self.members.add(member)
        self._subscribe(profile, effects)
        effects.records.append(records.profile_record(self.group_id, member_id, profile))
        return member

    def take_over(
        self, before: ConsumerMember, member_id: str, profile: MemberProfile, effects: Effects
    ) -> ConsumerMember:
        """Put a static member that has come back into the place that it left."""
        self.forget(before, effects)
        if (other := self.members.get(member_id)) is not None:
            # It was somebody else until now, and owns nothing, or it would not join.
            self.forget(other, effects)
        member = ConsumerMember(
            member_id=member_id,
            profile=profile,
            current=replace(before.current, member_epoch=0, previous_member_epoch=0),
            target=before.target,
        )
        self.members.add(member)
        self._subscribe(profile, effects)
        effects.records += (
            records.profile_record(self.group_id, member_id, profile),
            records.target_record(self.group_id, member_id, member.target),
            records.current_record(self.group_id, member_id, member.current),
        )
        return member

    def change_profile(
        self, member: ConsumerMember, profile: MemberProfile, effects: Effects
    ) -> None:
        """Let a member be what it told about itself."""
        if profile is member.profile:
            return
        if not profile.subscribes_alike(member.profile):
            # The new one first: an expression that stays is not forgotten in between.
            self._subscribe(profile, effects)
            self._unsubscribe(member.profile, effects)
        self.members.change_profile(member, profile)
        effects.records.append(records.profile_record(self.group_id, member.member_id, profile))

    def pause(self, member: ConsumerMember, effects: Effects) -> None:
        """Keep the place of a static member that stops for a while."""
        current = CurrentAssignment(
            member_epoch=ConsumerJoin.LEAVE_FOR_A_WHILE,
            previous_member_epoch=member.current.member_epoch,
            # What it was to give back it has given back by stopping.
            assigned=member.current.assigned,
        )
        self.revocations.cancel(member.member_id)
        self._change_current(member, current, effects)

    def take_out(self, leaving: Iterable[ConsumerMember], now_ms: int, effects: Effects) -> None:
        """Take members out, all at once."""
        left = False
        for member in leaving:
            self.forget(member, effects)
            left = True
        if not left:
            return
        self.raise_epoch(now_ms, effects)
        if not self.members:
            # Whoever joins next does not wait for anything.
            self.assignment_epoch, self._divided_at_ms = self.group_epoch, 0
            self.division_due_ms = self.topics_due_ms = None
            effects.records.append(self._target_epoch_record())

    def forget(self, member: ConsumerMember, effects: Effects) -> None:
        """Take a member out without dividing what it had."""
        self.sessions.cancel(member.member_id)
        self.revocations.cancel(member.member_id)
        self.members.remove(member)
        effects.records += records.member_tombstones(self.group_id, member.member_id)
        self._unsubscribe(member.profile, effects)
        self.revision += 1

    def begin_session(self, member_id: str, now_ms: int) -> None:
        """Let a member be out if it is silent from now on."""
        self.sessions.set(member_id, now_ms + self._settings.consumer_session_timeout_ms)

    # --- Epochs and targets ---------------------------------------------------------------

    def raise_epoch(self, now_ms: int, effects: Effects) -> None:
        """Begin a new group epoch, and plan to divide for it."""
        self._move_to_latest_image(now_ms, effects)
        self.group_epoch += 1
        self._metadata_hash = self.subscriptions.metadata_hash()
        effects.records.append(self._epoch_record())
        self._plan_division(now_ms)

    def divide_if_due(self, now_ms: int, effects: Effects) -> None:
        """Make the targets of all members for the group epoch, if it is time to."""
        if self.division_due_ms is None or self.division_due_ms > now_ms:
            return
        targets = divide(self.members, self.subscriptions, self.assignor)
        for member in self.members:
            target = targets[member.member_id]
            if target != member.target:
                member.target = target
                effects.records.append(
                    records.target_record(self.group_id, member.member_id, target)
                )
        self.assignment_epoch, self._divided_at_ms = self.group_epoch, now_ms
        self.division_due_ms = None
        effects.records.append(self._target_epoch_record())
        self.revision += 1

    def next_assignment(
        self,
        member: ConsumerMember,
        *,
        owned: Partitions | None,
        subscription_changed: bool = False,
    ) -> CurrentAssignment:
        """Return what a member would have next: the very same object if nothing changes."""
        if member.current.is_reconciled_to(self.assignment_epoch) and not subscription_changed:
            return member.current
        goal = Goal(
            epoch=self.assignment_epoch,
            target=member.target,
            subscribed=self.subscriptions.topic_ids(member.profile),
            is_free=self.members.is_free,
        )
        return reconcile(
            member.current, goal, owned=owned, subscription_changed=subscription_changed
        )

    def move_on(
        self, member: ConsumerMember, current: CurrentAssignment, now_ms: int, effects: Effects
    ) -> None:
        """Let a member have what :meth:`next_assignment` says."""
        if current is not member.current:
            self._change_current(member, current, effects)
            self._follow_revocation(member, now_ms)

    def _plan_division(self, now_ms: int) -> None:
        if self.group_epoch == self.assignment_epoch:
            self.division_due_ms = None
            return
        interval_ms = self._settings.consumer_assignment_interval_ms
        at_ms = self._divided_at_ms + interval_ms if self._divided_at_ms else now_ms
        # What another broker's clock said must not put it off for long.
        self.division_due_ms = min(at_ms, now_ms + interval_ms)

    def _change_current(
        self, member: ConsumerMember, current: CurrentAssignment, effects: Effects
    ) -> None:
        self.members.change_current(member, current)
        effects.records.append(records.current_record(self.group_id, member.member_id, current))
        self.revision += 1

    def _follow_revocation(self, member: ConsumerMember, now_ms: int) -> None:
        if member.current.state is not MemberState.UNREVOKED_PARTITIONS:
            self.revocations.cancel(member.member_id)
            return
        timeout_ms = max(member.profile.rebalance_timeout_ms, 0)
        self.revocations.set(member.member_id, now_ms + timeout_ms)

    # --- Topics ---------------------------------------------------------------------------

    def image_changed(self, image: ClusterImage, now_ms: int) -> None:
        """Note a later image, to be looked at a moment later, once for many changes."""
        changed = image.topics is not self._image.topics
        self._image = image
        if changed and self.members and self.topics_due_ms is None:
            self.topics_due_ms = now_ms + CONSUMER_TOPIC_CHANGES_DELAY_MS

    def look_at_topics(self, now_ms: int, effects: Effects) -> None:
        """Begin a new epoch if the topics that the group subscribes to are not as they were."""
        self._move_to_latest_image(now_ms, effects)
        if self.subscriptions.metadata_hash() != self._metadata_hash:
            self.raise_epoch(now_ms, effects)

    def _move_to_latest_image(self, now_ms: int, effects: Effects) -> None:
        self.topics_due_ms = None
        if self._image.topics is self.subscriptions.image.topics:
            return
        for expression in self.subscriptions.move_to(self._image):
            effects.records.append(self._expression_record(expression, now_ms))

    def _subscribe(self, profile: MemberProfile, effects: Effects) -> None:
        expression = self.subscriptions.add(profile)
        if expression is not None:
            effects.records.append(self._expression_record(expression, 0))

    def _unsubscribe(self, profile: MemberProfile, effects: Effects) -> None:
        expression = self.subscriptions.remove(profile)
        if expression is not None:
            effects.records.append(records.expression_tombstone(self.group_id, expression))

    # --- The log --------------------------------------------------------------------------

    def load(self, replayed: records.ReplayedGroup, now_ms: int) -> None:
        """Become what the log says. All deadlines begin anew."""
        self.group_epoch, self._metadata_hash = replayed.epoch or (0, 0)
        self.assignment_epoch, self._divided_at_ms = replayed.target_epoch or (0, 0)
        for member_id, profile in replayed.profiles.items():
            member = ConsumerMember(
                member_id=member_id,
                profile=profile,
                current=replayed.currents.get(member_id, CurrentAssignment()),
                target=replayed.targets.get(member_id, NOTHING),
            )
            self.members.add(member)
            self.subscriptions.add(profile)
            self.begin_session(member_id, now_ms)
            self._follow_revocation(member, now_ms)
        if self.members:
            # Topics may have changed before the last coordinator had looked at them.
            self.topics_due_ms = now_ms
            self._plan_division(now_ms)
        self.revision += 1

    def live_records(self) -> Iterator[GroupRecord]:
        """Yield what the log must say, each as it is when it is asked for."""
        if not self.group_epoch:
            return
        yield self._epoch_record()
        yield self._target_epoch_record()
        for expression in self.subscriptions.expressions():
            if self.subscriptions.has(expression):
                yield self._expression_record(expression, 0)
        for member in self.members:
            member_id = member.member_id
            # Members may go between any two of these.
            if self.members.get(member_id) is member:
                yield records.profile_record(self.group_id, member_id, member.profile)
            if self.members.get(member_id) is member:
                yield records.target_record(self.group_id, member_id, member.target)
            if self.members.get(member_id) is member:
                yield records.current_record(self.group_id, member_id, member.current)

    def _epoch_record(self) -> GroupRecord:
        return records.epoch_record(
            self.group_id, epoch=self.group_epoch, metadata_hash=self._metadata_hash
        )

    def _target_epoch_record(self) -> GroupRecord:
        return records.target_epoch_record(
            self.group_id, epoch=self.assignment_epoch, divided_at_ms=self._divided_at_ms
        )

    def _expression_record(self, expression: TopicExpression, now_ms: int) -> GroupRecord:
        return records.expression_record(
            self.group_id,
            expression.expression,
            expression.topics,
            version=self.subscriptions.image.metadata_offset,
            resolved_at_ms=now_ms,
        )
