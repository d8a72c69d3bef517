"""Files that wait for their removal, so that readers who are at them may finish.

Removing a large file takes a file system a while, so it is done off the event loop, and some
time after the file stopped being part of a log (``file.delete.delay.ms``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import NamedTuple


class Removal(NamedTuple):
    """Files to be removed."""

    what: str
    """For a line in the log."""
    due_ms: int
    """Monotonic time."""
    run: Callable[[], None]
    """Remove them. Waits for the disk; raises :exc:`OSError`, and may then be tried again. What is
    not removed before a stop is removed at the next start."""
    close: Callable[[], None]
    """Let go of the files and leave them there."""


class LogRemovals:
    """Removals by the time they are due."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Removal]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, removal: Removal) -> None:
        """Let a removal wait for its time."""
        self._added += 1
        heappush(self._heap, (removal.due_ms, self._added, removal))

    def next_due_ms(self) -> int | None:
        """Return when the next one is due; ``None`` if none waits."""
        return self._heap[0][0] if self._heap else None

    def take_due(self, now_ms: int) -> Sequence[Removal]:
        """Hand out those that are due, in that order."""
        due = []
        while self._heap and self._heap[0][0] <= now_ms:
            due.append(heappop(self._heap)[2])
        return due

    def close_all(self) -> None:
        """Let go of all files, and forget the removals."""
        while self._heap:
            heappop(self._heap)[2].close()
