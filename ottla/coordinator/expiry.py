"""When committed offsets are too old, and looking for those that are.

An offset outlives its commit by ``offsets.retention.minutes``. Where there are members to come
back to it, that time does not begin before the group has lost the last of them (KIP-211): an offset
of a group that has run for a year on a quiet topic is as good as new. So, what is too old, of

* a group that is empty: everything, once it has been empty for that long, but what somebody has
  committed for it since;
* a group that has members: what was committed long ago for topics that they do not read any more.
  Of a classic group, that is known if they are consumers and do not rebalance;
* offsets without a group, of who reads by itself: what was committed long ago.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from ottla.coordinator.classic_group import ClassicGroup, ClassicState
from ottla.coordinator.group_table import Group
from ottla.coordinator.offsets import Expiry
from ottla.coordinator.settings import GroupSettings
from ottla.model.limits import EXPIRED_OFFSETS_PER_TICK_MAX


def expiry_of(
    group: Group, empty_since_ms: int, settings: GroupSettings, now_ms: int
) -> Expiry | None:
    """Return which offsets of a group are too old; ``None`` for none."""
    until_ms = now_ms - settings.offsets_retention_ms
    expiry = Expiry(until_ms, group.is_subscribed_to)
    if isinstance(group, ClassicGroup):
        if group.protocol_type is None:
            return expiry
        if not group.is_empty and (group.state is not ClassicState.STABLE or group.topics is None):
            return None
    return None if group.is_empty and empty_since_ms > until_ms else expiry


class ExpirySweep:
    """Goes over all groups at intervals, a bounded number of offsets at a time."""

    def __init__(self, settings: GroupSettings) -> None:
        """Make a sweep that has not begun."""
        self._interval_ms = settings.offsets_retention_check_interval_ms
        self._group_ids: deque[str] = deque()
        self.deadline_ms: int | None = None
        """When to ask which groups are due."""

    def begin(self, now_ms: int) -> None:
        """Begin to wait for the first time."""
        self.deadline_ms = now_ms + self._interval_ms

    def groups_due(
        self, now_ms: int, group_ids: Callable[[], Iterable[str]], count: Callable[[str], int]
    ) -> Iterator[str]:
        """Yield the groups to look at now, some of which may be gone, until they are enough."""
        if self.deadline_ms is None or now_ms < self.deadline_ms:
            return
        if not self._group_ids:
            self._group_ids.extend(group_ids())
        offsets = 0
        while self._group_ids and offsets < EXPIRED_OFFSETS_PER_TICK_MAX:
            group_id = self._group_ids.popleft()
            offsets += 1 + count(group_id)
            yield group_id
        # What is left is for the next tick, which is due at once.
        self.deadline_ms = now_ms if self._group_ids else now_ms + self._interval_ms
