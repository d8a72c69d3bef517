"""The groups of a shard, of both kinds: how they come to be, when they are due, how they go.

A group is *classic* or a *consumer* group (KIP-848), and a group that has never had members, only
offsets, is a classic one without a protocol type. An empty group becomes one of the other kind when
a member of that kind joins it; one that has members refuses. (Kafka can also convert a group under
way; that is left out.)

A group of which the log knows nothing is made when somebody wants to join it or commits for it, and
is gone again if nothing came of it: :meth:`GroupTable.look_after` comes after everything that
happens to a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ottla.coordinator.classic_group import ClassicGroup
from ottla.coordinator.consumer_group import ConsumerGroup
from ottla.coordinator.effects import Effects, GroupRecord
from ottla.coordinator.offsets import CommittedOffsets
from ottla.coordinator.requests import GroupRequest
from ottla.coordinator.settings import GroupSettings
from ottla.coordinator.timers import Timers
from ottla.model.errors import GroupIdNotFoundError, GroupMaxSizeReachedError
from ottla.model.image import ClusterImage
from ottla.model.limits import GROUP_BYTES_PER_SHARD_MAX, GROUPS_PER_SHARD_MAX

Group = ClassicGroup | ConsumerGroup


class GroupTable:
    """Groups by id. ``len`` counts them; iterating yields them, and they may change meanwhile."""

    def __init__(
        self,
        settings: GroupSettings,
        offsets: CommittedOffsets,
        new_member_id: Callable[[str], str],
    ) -> None:
        """Begin with no group."""
        self.timers: Timers[str] = Timers()
        """When groups have something to do, by their ids."""
        self.bytes_held = 0
        """What the ids of all groups and their members take, roughly."""
        self._settings = settings
        self._offsets = offsets
        self._new_member_id = new_member_id
        self._groups: dict[str, Group] = {}
        self._bytes_of: dict[str, int] = {}
        self._empty_since_ms: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<GroupTable {len(self._groups)}, {self.bytes_held} bytes>"

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[Group]:
        for group_id in self.group_ids():
            group = self._groups.get(group_id)
            if group is not None:
                yield group

    def group_ids(self) -> list[str]:
        """Return the ids of all groups."""
        return list(self._groups)

    def get(self, group_id: str) -> Group | None:
        """Return a group, if there is one."""
        return self._groups.get(group_id)

    def classic(self, group_id: str) -> ClassicGroup | None:
        """Return a group if it is a classic one."""
        group = self._groups.get(group_id)
        return group if isinstance(group, ClassicGroup) else None

    def consumer(self, group_id: str) -> ConsumerGroup | None:
        """Return a group if it is a consumer group."""
        group = self._groups.get(group_id)
        return group if isinstance(group, ConsumerGroup) else None

    def consumers(self) -> Iterator[ConsumerGroup]:
        """Yield the consumer groups."""
        for group in self:
            if isinstance(group, ConsumerGroup):
                yield group

    def known(self, request: GroupRequest[Any]) -> Group:
        """Return the group that a request is about, or raise."""
        group = self._groups.get(request.group_id)
        if group is None:
            raise GroupIdNotFoundError(f"There is no group {request.group_id!r}.")
        return group

    def empty_since_ms(self, group: Group) -> int:
        """Return since when a group is in its state if it is empty, as far as is known.

        The record of a classic group says it. Consumer groups have none that does: it is since
        this broker has coordinated them, at least.
        """
        if isinstance(group, ClassicGroup):
            return group.state_since_ms
        return self._empty_since_ms.get(group.group_id, 0)

    # --- Coming and going ---

    def check_room(self, group_id: str, bytes_more: int) -> None:
        """Raise if nothing fits in any more: a group if it is a new one, or what a member says.

        Whoever takes no more than it did may always go on.
        """
        if group_id not in self._groups:
            bytes_more += len(group_id)
            if len(self._groups) >= GROUPS_PER_SHARD_MAX:
                raise GroupMaxSizeReachedError(
                    f"The coordinator of group {group_id!r} has {GROUPS_PER_SHARD_MAX} groups, and"
                    " takes no more. Delete groups that nobody uses."
                )
        if bytes_more > 0 and self.bytes_held + bytes_more > GROUP_BYTES_PER_SHARD_MAX:
            raise GroupMaxSizeReachedError(
                f"The coordinator of group {group_id!r} holds {self.bytes_held} bytes of groups,"
                f" their subscriptions and assignments, and {bytes_more} more are too many."
            )

    def make_classic(self, group_id: str, now_ms: int) -> ClassicGroup:
        """Make a classic group, in the place of another one if there was one."""
        group = ClassicGroup(group_id, self._settings, self._new_member_id, now_ms)
        self._groups[group_id] = group
        return group

    def make_consumer(self, group_id: str, image: ClusterImage) -> ConsumerGroup:
        """Make a consumer group that :meth:`keep` is to follow."""
        return ConsumerGroup(
            group_id, self._settings, new_member_id=self._new_member_id, image=image
        )

    def keep(self, group: ConsumerGroup) -> None:
        """Take in a consumer group, in the place of another one if there was one."""
        self._groups[group.group_id] = group

    def bury(self, group: Group, effects: Effects) -> None:
        """Let the log forget an empty group; another one may take its place."""
        assert group.is_empty, group
        if isinstance(group, ClassicGroup):
            group.bury(effects)
        else:
            effects.records += group.tombstones()

    def forget(self, group_id: str) -> None:
        """Have no such group any more."""
        self._groups.pop(group_id, None)
        self._note_bytes(group_id, 0)
        self._empty_since_ms.pop(group_id, None)
        self.timers.cancel(group_id)

    def look_after(self, group_id: str, now_ms: int) -> None:
        """Take note of what has become of a group; if that is nothing at all, forget it."""
        group = self._groups.get(group_id)
        if group is None or (group.is_unknown and not self._offsets.has_any(group_id)):
            self.forget(group_id)
            return
        deadline_ms = group.deadline_ms()
        if deadline_ms is None:
            self.timers.cancel(group_id)
        else:
            self.timers.set(group_id, deadline_ms)
        self._note_bytes(group_id, len(group_id) + group.bytes_held)
        if isinstance(group, ConsumerGroup) and group.is_empty:
            self._empty_since_ms.setdefault(group_id, now_ms)
        else:
            self._empty_since_ms.pop(group_id, None)

    def records(self) -> Iterator[GroupRecord]:
        """Yield what the log must say of them; requests may come in between."""
        for group in self:
            if isinstance(group, ConsumerGroup):
                yield from group.records()
            elif group.stored is not None:
                yield group.stored

    def _note_bytes(self, group_id: str, size: int) -> None:
        self.bytes_held += size - self._bytes_of.pop(group_id, 0)
        if size:
            self._bytes_of[group_id] = size
