"""What a leader knows of one follower: how far it is, and when it was last caught up.

A follower *was caught up at* time ``t`` if it now holds every record that the leader held at
``t``. To know such a ``t`` the leader sets a *mark*, its own end at some fetch, and waits until
the follower has got there::

    time              100   101   102   103   104   105
    leader's end       20    24    28    32    36    40
    fetch at offset     0     4    12    20    24    28
                       mark             └── holds what the leader held at 100: caught up at 100,
                      at 20                 and the next mark is 32, set at 103

A fetch at the leader's present end means caught up now. The mark stays until it is reached. Under
load many acknowledgements are under way at once: each is below the end that the leader had at the
one before it, and comparing those two alone, as is done where a follower asks again only when it
has everything, would tell nothing, and evict a follower a few milliseconds behind.
"""

from __future__ import annotations

from typing import Final

from ottla.model.ids import BrokerEpoch, Offset

NO_BROKER_EPOCH: Final = BrokerEpoch(-1)
"""Of a replica that has not fetched from this leader yet."""


class FollowerProgress:
    """One follower, seen by one leader in one epoch. Times are in the leader's clock."""

    __slots__ = (
        "_mark",
        "_marked_at_ms",
        "broker_epoch",
        "caught_up_at_ms",
        "end_offset",
    )

    def __init__(self, *, caught_up_at_ms: int | None) -> None:
        """Begin before the first fetch; ``caught_up_at_ms`` is what the leader assumes."""
        self.broker_epoch = NO_BROKER_EPOCH
        """The life in which the follower fetched last."""
        self.end_offset: Offset | None = None
        """It holds every record below; ``None``: not known."""
        self.caught_up_at_ms = caught_up_at_ms
        """When it was last caught up; ``None``: not lately enough to matter, or not known."""
        self._mark: Offset | None = None
        self._marked_at_ms = 0

    def fetched(
        self, fetch_offset: Offset, *, broker_epoch: BrokerEpoch, leader_end: Offset, now_ms: int
    ) -> None:
        """Note a fetch at ``fetch_offset`` while the leader's log ends at ``leader_end``."""
        mark = self._mark
        if fetch_offset >= leader_end:
            self.caught_up_at_ms = now_ms
        elif mark is not None and fetch_offset >= mark:
            self.caught_up_at_ms = self._marked_at_ms
        if mark is None or fetch_offset >= mark:
            self._mark = leader_end
            self._marked_at_ms = now_ms
        self.broker_epoch = broker_epoch
        self.end_offset = fetch_offset

    def forget(self) -> None:
        """Know nothing of it any more, but in which life it was."""
        self.end_offset = None
        self.caught_up_at_ms = None
        self._mark = None

    def was_caught_up_within(self, duration_ms: int, now_ms: int) -> bool:
        """Whether it was caught up at some time in the last ``duration_ms``."""
        return self.caught_up_at_ms is not None and now_ms - self.caught_up_at_ms <= duration_ms
