"""What the shell expects of the machine of one shard; see :mod:`ottla.coordinator`.

Every ``now_ms`` is milliseconds since 1970 that never go back while a machine lives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ottla.coordinator.effects import Effects, GroupRecord, Token
from ottla.coordinator.requests import GroupListing, GroupRequest, ListGroups
from ottla.model.errors import OttlaError
from ottla.model.image import ClusterImage


class ShardMachine(Protocol):
    """The groups of one partition of ``__consumer_offsets``."""

    def image_changed(self, image: ClusterImage, now_ms: int) -> Effects:
        """Hear of the topics there are: first of all, and whenever they change.

        Nothing follows from it before :meth:`loaded`.
        """

    def replay(self, key: bytes, value: bytes | None, timestamp_ms: int) -> None:
        """Take a record of the log, in order, before anything is requested."""

    def loaded(self, now_ms: int) -> Effects:
        """Hear that the log has been read; timers begin anew."""

    def request(self, token: Token, request: GroupRequest[Any], now_ms: int) -> Effects:
        """Take a request; its answer is in these effects or in later ones."""

    def cancel(self, token: Token) -> None:
        """Hear that nobody waits for this answer any more; what follows is the next tick's."""

    def deadline_ms(self) -> int | None:
        """When :meth:`tick` has something to do."""

    def tick(self, now_ms: int) -> Effects:
        """Do what is due."""

    def resign(self, error: OttlaError) -> Effects:
        """Answer everybody who waits with ``error``; nothing else is asked after that."""

    def live_records(self) -> Iterator[GroupRecord]:
        """Yield all that the log must say, each as it is then; requests may come in between."""

    def list_groups(self, which: ListGroups) -> Sequence[GroupListing]:
        """List groups."""

    def has_news(self, group_id: str, member_id: str) -> bool:
        """Whether the next heartbeat of a consumer group's member would tell it something new."""


class ShardClock:
    """Wall time that neither jumps nor goes back: as it was once, and what has passed since."""

    __slots__ = ("_began_ms", "_wall_ms")

    def __init__(self, *, wall_ms: int, now_ms: int) -> None:
        """Begin at ``wall_ms``, which is at the monotonic ``now_ms``."""
        self._wall_ms = wall_ms
        self._began_ms = now_ms

    def at(self, now_ms: int) -> int:
        """Return the time at the monotonic ``now_ms``."""
        return self._wall_ms + now_ms - self._began_ms
