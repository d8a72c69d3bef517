"""The members of a consumer group, and who has which partition.

A partition is *owned* by a member that was told that it has it and has not said since that it has
it no more: that is what it has and what it is to give back. No partition is owned by two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from ottla.coordinator.assignment import Partitions
from ottla.coordinator.consumer_member import ConsumerMember, MemberProfile
from ottla.coordinator.current_assignment import CurrentAssignment
from ottla.model.errors import (
    FencedInstanceIdError,
    FencedMemberEpochError,
    OttlaError,
    UnknownMemberIdError,
)
from ottla.model.ids import TopicId

_PER_PARTITION_BYTES: Final = 250
"""What a partition takes that a member has: an entry each in its assignment, in its target and in
the table of owners."""


class ConsumerMembers:
    """All members of one group."""

    def __init__(self, group_id: str) -> None:
        """Begin with none."""
        self._group_id = group_id
        self._members: dict[str, ConsumerMember] = {}
        self._static: dict[str, str] = {}
        """Member ids by group instance ids."""
        self._owners: dict[TopicId, dict[int, str]] = {}
        self._assignors: Counter[str] = Counter()
        """How many members ask for each."""
        self.bytes_held = 0
        """What the members take in memory, roughly."""

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[ConsumerMember]:
        return iter(list(self._members.values()))

    def get(self, member_id: str) -> ConsumerMember | None:
        """Return a member by its id."""
        return self._members.get(member_id)

    def static(self, group_instance_id: str) -> ConsumerMember | None:
        """Return the member that has a group instance id."""
        member_id = self._static.get(group_instance_id)
        return None if member_id is None else self._members[member_id]

    def known(self, member_id: str) -> ConsumerMember:
        """Return a member by its id. Raises :exc:`UnknownMemberIdError`."""
        member = self._members.get(member_id)
        if member is None:
            raise UnknownMemberIdError(
                f"group {self._group_id!r} has no member {member_id!r}, or not any more; join again"
            )
        return member

    def known_static(self, group_instance_id: str, member_id: str | None) -> ConsumerMember:
        """Return the member of an instance id, if it has that member id; ``None``: any.

        Raises:
            UnknownMemberIdError: nobody has the instance id.
            FencedInstanceIdError: another member has it.
        """
        member = self.static(group_instance_id)
        if member is None:
            raise UnknownMemberIdError(
                f"group {self._group_id!r} has no member with the group instance id "
                f"{group_instance_id!r}; join again"
            )
        if member_id not in {None, member.member_id}:
            raise FencedInstanceIdError(
                f"group instance id {group_instance_id!r} of group {self._group_id!r} belongs to "
                f"member {member.member_id!r}, not to {member_id!r}; run one process with it"
            )
        return member

    def preferred_assignor(self, choice: Sequence[str]) -> str:
        """Return the assignor that most members ask for; the first one there is if none does."""
        return max(choice, key=lambda name: (self._assignors[name], -choice.index(name)))

    def is_free(self, topic_id: TopicId, partition: int) -> bool:
        """Return whether nobody owns a partition."""
        return partition not in self._owners.get(topic_id, ())

    def add(self, member: ConsumerMember) -> None:
        """Take a member in, with what it owns."""
        assert member.member_id not in self._members, member
        self._members[member.member_id] = member
        self._count_profile(member)
        self._own(member)

    def remove(self, member: ConsumerMember) -> None:
        """Take a member out; what it owned is free."""
        del self._members[member.member_id]
        self._discount_profile(member)
        self._disown(member)

    def change_profile(self, member: ConsumerMember, profile: MemberProfile) -> None:
        """Let a member be what it told about itself."""
        self._discount_profile(member)
        member.profile = profile
        member.quiet_answer = None
        self._count_profile(member)

    def change_current(self, member: ConsumerMember, current: CurrentAssignment) -> None:
        """Let a member have something else."""
        self._disown(member)
        member.current = current
        member.quiet_answer = None
        self._own(member)

    def _count_profile(self, member: ConsumerMember) -> None:
        self.bytes_held += member.profile.bytes_held
        if member.profile.group_instance_id is not None:
            self._static[member.profile.group_instance_id] = member.member_id
        if member.profile.server_assignor is not None:
            self._assignors[member.profile.server_assignor] += 1

    def _discount_profile(self, member: ConsumerMember) -> None:
        self.bytes_held -= member.profile.bytes_held
        instance_id = member.profile.group_instance_id
        if instance_id is not None and self._static.get(instance_id) == member.member_id:
            del self._static[instance_id]
        if member.profile.server_assignor is not None:
            self._assignors[member.profile.server_assignor] -= 1

    def _own(self, member: ConsumerMember) -> None:
        for assigned in (member.current.assigned, member.current.pending_revocation):
            for topic_id, partitions in assigned.items():
                owners = self._owners.setdefault(topic_id, {})
                owners.update(dict.fromkeys(partitions, member.member_id))
                self.bytes_held += _PER_PARTITION_BYTES * len(partitions)

    def _disown(self, member: ConsumerMember) -> None:
        for assigned in (member.current.assigned, member.current.pending_revocation):
            for topic_id, partitions in assigned.items():
                self.bytes_held -= _PER_PARTITION_BYTES * len(partitions)
                owners = self._owners.get(topic_id, {})
                for partition in partitions:
                    if owners.get(partition) == member.member_id:
                        del owners[partition]
                if not owners:
                    self._owners.pop(topic_id, None)


def check_epoch(member: ConsumerMember, epoch: int, owned: Partitions | None) -> None:
    """Raise :exc:`FencedMemberEpochError` unless a member may speak in an epoch.

    The one before is accepted, too, from a member that owns nothing which it has not now: it may
    never have been told of its new epoch.
    """
    current = member.current
    if epoch == current.member_epoch:
        return
    if epoch > current.member_epoch:
        raise _fenced(member, epoch, "is ahead of")
    if epoch != current.previous_member_epoch or not _is_within(owned, current):
        raise _fenced(member, epoch, "is behind")


def _fenced(member: ConsumerMember, epoch: int, how: str) -> OttlaError:
    return FencedMemberEpochError(
        f"epoch {epoch} of member {member.member_id!r} {how} {member.current.member_epoch}, which "
        "is its own; it must give up its partitions and join again"
    )


def _is_within(owned: Partitions | None, current: CurrentAssignment) -> bool:
    if owned is None:
        return False
    return all(
        current.assigned.get(topic_id, {}).keys() >= numbers for topic_id, numbers in owned.items()
    )
