"""How long this broker may believe that what it leads is still its own to lead.

The controller gives what a broker leads to others when it has not heard from it for the session
timeout, counted from when a heartbeat arrived. So nobody else leads before that time has passed
since a heartbeat was *sent* that was answered. Afterwards this broker cannot know: cut off from the
others, it would hear of nothing. A session that ends is given up sooner, and one with a controller
that ceases to be it may be followed by another one's that knows of nobody. If the answer is that
the broker was fenced, others lead already, and the metadata that says so must have come first.

Records need no such thing. A leader that others have replaced gets nothing committed any more, and
what was committed stays true. But who only asks -- for a committed offset, or whether it is still a
member -- must not be told what was so once, for as long as the broker is cut off.

It is no proof. A leader that is replaced for another reason than its silence, by an administrator
say, hears of it with the metadata, a moment later.
"""

from __future__ import annotations

from typing import Final

from ottla.cluster.broker_sessions import SessionAnswer
from ottla.cluster.metadata_cache import MetadataCache
from ottla.model.ids import NO_METADATA, MetadataOffset
from ottla.runtime.clock import Clock

ENDED_SESSION_MS: Final = 100
"""Less than the grace in which the controller waits for another session."""


class Lease:
    """One for a broker; not held before its first heartbeat was answered."""

    def __init__(self, clock: Clock, metadata: MetadataCache, *, duration_ms: int) -> None:
        """Count on ``clock``; ``duration_ms`` is the controller's session timeout.

        ``metadata`` is what this broker has carried out.
        """
        self._clock: Final = clock
        self._metadata: Final = metadata
        self._duration_ms: Final = duration_ms
        self._until_ms: int | None = None
        self._fenced_at: MetadataOffset = NO_METADATA

    def __repr__(self) -> str:
        return f"<Lease {'held' if self.is_held else 'not held'}>"

    @property
    def is_held(self) -> bool:
        """Whether nobody else can have been given, for silence, what this broker leads."""
        if self._until_ms is None or self._clock.now_ms() >= self._until_ms:
            return False
        return self._metadata.image.metadata_offset >= self._fenced_at

    def now_ms(self) -> int:
        """Return the time to give to :meth:`renew` if what is sent now is answered."""
        return self._clock.now_ms()

    def renew(self, sent_ms: int, answer: SessionAnswer) -> None:
        """Hear the answer to a heartbeat which was sent then."""
        self._until_ms = max(self._until_ms or 0, sent_ms + self._duration_ms)
        if answer.fenced:
            self._fenced_at = max(self._fenced_at, answer.metadata_offset)

    def session_ended(self) -> None:
        """Hear that the session broke, or that its controller is none any more."""
        if self._until_ms is not None:
            self._until_ms = min(self._until_ms, self._clock.now_ms() + ENDED_SESSION_MS)
