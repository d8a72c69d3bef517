"""How one member of a consumer group gets from what it has to what it shall have (KIP-848).

The *target* says what every member shall have, as of an epoch. A member gets there by itself, in
its own time, and the only rule that couples it to others is that a partition is given to it after
whoever had it before has given it back. Three states::

                           has something that it shall not have
              STABLE ------------------------------------------> UNREVOKED_PARTITIONS
               ^  ^                                                |        |
               |  |      it has said that it owns that no more     |        |
               |  +------------------------------------------------+        |
               |                                                            |
               |  all that it shall have                  some of what it   |
               |  has been given back                  shall have is still  |
               |                                            with others     v
               +---------------------------------------- UNRELEASED_PARTITIONS

While it has partitions to give back, a member stays in its epoch, and is told of an assignment
without them. Once it has said that it does not own them any more, it enters the epoch of the target
and is given what is free; it waits for the rest, and is given each as it becomes free.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import IntEnum

from ottla.coordinator.assignment import Assigned, Partitions
from ottla.model.ids import TopicId


class MemberState(IntEnum):
    """Where a member stands; the values are those of Kafka's records."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    UNRELEASED_PARTITIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentAssignment:
    """What a member has, and which epoch it is in."""

    member_epoch: int = 0
    previous_member_epoch: int = 0
    state: MemberState = MemberState.STABLE
    assigned: Assigned = field(default_factory=dict)
    """What it is told that it has."""
    pending_revocation: Assigned = field(default_factory=dict)
    """What it has been told to give back, and may still be working on."""

    def is_reconciled_to(self, epoch: int) -> bool:
        """Nothing is left to be done for the target of an epoch."""
        return self.state is MemberState.STABLE and self.member_epoch == epoch

    def holds(self, topic_id: TopicId, partition: int) -> int | None:
        """Return the epoch at which it was given a partition that it has not given back yet."""
        epoch = self.assigned.get(topic_id, {}).get(partition)
        if epoch is None:
            epoch = self.pending_revocation.get(topic_id, {}).get(partition)
        return epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Where a member is to get."""

    epoch: int
    target: Partitions
    subscribed: AbstractSet[TopicId]
    """Whatever the target says, it is not given anything else: the target may be older."""
    is_free: Callable[[TopicId, int], bool]
    """Whether nobody has a partition."""


def reconcile(
    current: CurrentAssignment,
    goal: Goal,
    *,
    owned: Partitions | None,
    subscription_changed: bool = False,
) -> CurrentAssignment:
    """Return what a member has next: the very same object if nothing changes.

    Args:
        current: what it has.
        goal: where it is to get.
        owned: what it has just said that it owns; ``None``: it did not say.
        subscription_changed: it has just changed what it subscribes to. What it subscribes to no
            more is then taken from it even where the target is not made anew yet.
    """
    match current.state:
        case MemberState.STABLE:
            if current.member_epoch != goal.epoch:
                return _advance(current, goal, owned)
        case MemberState.UNREVOKED_PARTITIONS:
            if not _owns_any(owned, current.pending_revocation):
                return _advance(current, goal, owned)
        case MemberState.UNRELEASED_PARTITIONS:
            return _advance(current, goal, owned)
    return _drop_unsubscribed(current, goal, owned) if subscription_changed else current


def _owns_any(owned: Partitions | None, partitions: Assigned) -> bool:
    """Return whether it may own any of some partitions: it does until it says otherwise."""
    if owned is None:
        return True
    return any(
        not partitions[topic_id].keys().isdisjoint(numbers)
        for topic_id, numbers in owned.items()
        if topic_id in partitions
    )


def _advance(current: CurrentAssignment, goal: Goal, owned: Partitions | None) -> CurrentAssignment:
    kept: dict[TopicId, dict[int, int]] = {}
    revoked: dict[TopicId, dict[int, int]] = {}
    for topic_id, epochs in current.assigned.items():
        wanted = goal.target.get(topic_id, frozenset()) if topic_id in goal.subscribed else ()
        for partition, epoch in epochs.items():
            where = kept if partition in wanted else revoked
            where.setdefault(topic_id, {})[partition] = epoch
    if revoked and _owns_any(owned, revoked):
        state = MemberState.UNREVOKED_PARTITIONS
        return _changed(current, current.member_epoch, state, kept, revoked)
    unreleased = False
    for topic_id, wanted in goal.target.items():
        if topic_id not in goal.subscribed:
            continue
        # What it was to give back is free by now: nobody else was given it.
        released = (
            current.pending_revocation.get(topic_id, {}).keys() | revoked.get(topic_id, {}).keys()
        )
        for partition in wanted - kept.get(topic_id, {}).keys():
            if partition in released or goal.is_free(topic_id, partition):
                kept.setdefault(topic_id, {})[partition] = goal.epoch
            else:
                unreleased = True
    state = MemberState.UNRELEASED_PARTITIONS if unreleased else MemberState.STABLE
    return _changed(current, goal.epoch, state, kept, {})


def _drop_unsubscribed(
    current: CurrentAssignment, goal: Goal, owned: Partitions | None
) -> CurrentAssignment:
    """Take from a member what it does not subscribe to, without looking at the target."""
    revoked = {one: dict(epochs) for one, epochs in current.pending_revocation.items()}
    kept = {}
    for topic_id, epochs in current.assigned.items():
        if topic_id in goal.subscribed:
            kept[topic_id] = epochs
        else:
            revoked.setdefault(topic_id, {}).update(epochs)
    if len(kept) == len(current.assigned):
        return current
    if _owns_any(owned, revoked):
        state = MemberState.UNREVOKED_PARTITIONS
        return _changed(current, current.member_epoch, state, kept, revoked)
    assert not current.pending_revocation, "else it had given everything back, and had advanced"
    return replace(current, assigned=kept)


def _changed(
    current: CurrentAssignment,
    epoch: int,
    state: MemberState,
    assigned: Assigned,
    pending_revocation: Assigned,
) -> CurrentAssignment:
    if (epoch, state) == (current.member_epoch, current.state) and (
        assigned == current.assigned and pending_revocation == current.pending_revocation
    ):
        return current
    return CurrentAssignment(
        member_epoch=epoch,
        # Whoever has not heard of the new epoch comes with this one.
        previous_member_epoch=current.member_epoch,
        state=state,
        assigned=assigned,
        pending_revocation=pending_revocation,
    )
