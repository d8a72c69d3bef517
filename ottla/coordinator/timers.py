"""Deadlines by key, cheap to put off.

Most deadlines of a group coordinator are sessions: each is moved later with every heartbeat, and
almost none is ever reached. So moving one later only notes the new time. The heap keeps the entry
of the old one, which when its time has come is put back for the new one; a cancelled deadline
leaves an entry that is thrown away then. :meth:`Timers.deadline_ms` may therefore be earlier than
any deadline there is, which costs a look at an entry and nothing else.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from itertools import count
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

_SLACK: Final = 64
"""Entries that may be stale before the heap is made anew, on top of three in four."""


class Timers(Generic[Key]):
    """One deadline for each key, at most. Times are milliseconds of the caller's clock."""

    def __init__(self) -> None:
        """Begin with no deadline."""
        self._deadlines: dict[Key, int] = {}
        self._queued: dict[Key, int] = {}
        """When the entry of a key in the heap that counts is due: never later than the key is."""
        self._heap: list[tuple[int, int, Key]] = []
        self._order = count()

    def __repr__(self) -> str:
        return f"<Timers {len(self._deadlines)}, next at {self.deadline_ms()}>"

    def __contains__(self, key: Key) -> bool:
        return key in self._deadlines

    def set(self, key: Key, at_ms: int) -> None:
        """Let the key be due at a time, and not when it was before."""
        self._deadlines[key] = at_ms
        queued_ms = self._queued.get(key)
        if queued_ms is None or at_ms < queued_ms:
            self._queue(key, at_ms)
            if len(self._heap) > _SLACK + 4 * len(self._deadlines):
                self._make_anew()

    def cancel(self, key: Key) -> None:
        """Let the key never be due; nothing if it would not have been."""
        self._deadlines.pop(key, None)

    def deadline_ms(self) -> int | None:
        """Return when :meth:`pop_due` has something to do, or ``None``: never."""
        while self._heap:
            at_ms, _, key = self._heap[0]
            if self._queued.get(key) == at_ms:
                if key in self._deadlines:
                    return at_ms
                del self._queued[key]
            heapq.heappop(self._heap)
        return None

    def pop_due(self, now_ms: int) -> Key | None:
        """Take out and return a key that is due, the one due first; ``None`` if none is."""
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, _, key = heapq.heappop(self._heap)
            if self._queued.get(key) != at_ms:
                continue
            del self._queued[key]
            deadline_ms = self._deadlines.get(key)
            if deadline_ms is None:
                continue
            if deadline_ms <= now_ms:
                del self._deadlines[key]
                return key
            self._queue(key, deadline_ms)
        return None

    def _queue(self, key: Key, at_ms: int) -> None:
        self._queued[key] = at_ms
        heapq.heappush(self._heap, (at_ms, next(self._order), key))

    def _make_anew(self) -> None:
        self._heap = [(at_ms, next(self._order), key) for key, at_ms in self._deadlines.items()]
        heapq.heapify(self._heap)
        self._queued = dict(self._deadlines)
