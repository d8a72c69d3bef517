"""What a leader knows of one follower: how far it is, and when it was last caught up.

A follower *was caught up at* time ``t`` if it now holds every record that the leader held at
``t``. Two facts per fetch are enough to know the latest such ``t``::

    leader's end   5 ........ 9 ........ 14
    fetch at offset    5           9            at time   100   200
                                   └── holds today what the leader held at 100: caught up at 100

A fetch at the leader's present end means caught up now.
"""

from __future__ import annotations

from typing import Final

from ottla.model.ids import BrokerEpoch, Offset

NO_BROKER_EPOCH: Final = BrokerEpoch(-1)
"""Of a replica that has not fetched from this leader yet."""


class FollowerProgress:
    """One follower, seen by one leader in one epoch. Times are in the leader's clock."""

    __slots__ = (
        "_fetched_at_ms",
        "_leader_end_at_fetch",
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
        self._fetched_at_ms = 0
        self._leader_end_at_fetch: Offset | None = None

    def fetched(
        self, fetch_offset: Offset, *, broker_epoch: BrokerEpoch, leader_end: Offset, now_ms: int
    ) -> None:
        """Note a fetch at ``fetch_offset`` while the leader's log ends at ``leader_end``."""
        before = self._leader_end_at_fetch
        if fetch_offset >= leader_end:
            self.caught_up_at_ms = now_ms
        elif before is not None and fetch_offset >= before:
            self.caught_up_at_ms = self._fetched_at_ms
        self.broker_epoch = broker_epoch
        self.end_offset = fetch_offset
        self._fetched_at_ms = now_ms
        self._leader_end_at_fetch = leader_end

    def forget(self) -> None:
        """Know nothing of it any more, but in which life it was."""
        self.end_offset = None
        self.caught_up_at_ms = None
        self._leader_end_at_fetch = None

    def was_caught_up_within(self, duration_ms: int, now_ms: int) -> bool:
        """Whether it was caught up at some time in the last ``duration_ms``."""
        return self.caught_up_at_ms is not None and now_ms - self.caught_up_at_ms <= duration_ms
