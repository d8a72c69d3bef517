"""The segments of a log in order, the last of which is the *active* one.

Readers in other threads see either the segments of before a change or those of after it: every
change makes a new tuple, and is rare (a roll, a removal). Finding the one that holds an offset is a
bisection over base offsets.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

from ottla.storage.segment import Segment


class Segments:
    """At least one segment, by base offset."""

    __slots__ = ("_state",)

    def __init__(self, segments: Iterable[Segment]) -> None:
        self._set(tuple(segments))

    def __len__(self) -> int:
        return len(self._state[0])

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._state[0])

    @property
    def all(self) -> Sequence[Segment]:
        """All of them as they are now; the value never changes."""
        return self._state[0]

    @property
    def active(self) -> Segment:
        """The one that is appended to."""
        return self._state[0][-1]

    def from_offset(self, offset: int) -> Sequence[Segment]:
        """Return the segment that holds ``offset`` and all after it; all if none holds it."""
        segments, base_offsets = self._state
        return segments[max(0, bisect_right(base_offsets, offset) - 1) :]

    def add(self, segment: Segment) -> None:
        """Make ``segment`` the active one."""
        assert segment.base_offset > self.active.base_offset, (self.active, segment)
        self._set((*self._state[0], segment))

    def drop_first(self, count: int) -> Sequence[Segment]:
        """Take the first ``count`` out, and return them; the active one stays."""
        segments = self._state[0]
        assert count < len(segments), (count, len(segments))
        self._set(segments[count:])
        return segments[:count]

    def drop_after(self, segment: Segment) -> Sequence[Segment]:
        """Make ``segment`` the active one again; return those that followed it."""
        segments = self._state[0]
        count = segments.index(segment) + 1
        self._set(segments[:count])
        return segments[count:]

    def replace_all(self, segment: Segment) -> Sequence[Segment]:
        """Make ``segment`` the only one; return those that there were."""
        segments = self._state[0]
        self._set((segment,))
        return segments

    def _set(self, segments: tuple[Segment, ...]) -> None:
        assert segments, "a log has a segment"
        self._state = (segments, tuple(segment.base_offset for segment in segments))
