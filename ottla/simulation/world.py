"""Virtual time, and what happens in it: one seed gives one history.

Theory of operation
-------------------
A world is a heap of events. The earliest is taken, the clock is set to its time, and it is run;
it may put more events on the heap. Events of the same millisecond come in an order that the seed
draws, so that nothing can rely on it. All randomness comes from :attr:`World.random`; nothing here
reads a clock, hashes a string or starts a thread.

Every event is noted twice: the last few hundred for people, and all of them in a checksum, the
:attr:`World.digest`. Two runs with equal digests took the same course.

A promise that is broken is a :exc:`Violation`, raised where it is noticed. It ends the world.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from random import Random
from typing import Final
from zlib import crc32

EVENTS_KEPT: Final = 400
"""What is shown of a history that ended badly is its end."""

Action = Callable[[], None]


class Violation(Exception):  # noqa: N818 -- it is what the simulation looks for, not an error of it
    """A promise was broken; ``invariant`` is its name in docs/simulation.md."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what


@dataclass(frozen=True, slots=True)
class Noted:
    """Something that happened, for people."""

    at_ms: int
    who: str
    what: str

    def __str__(self) -> str:
        return f"{self.at_ms / 1000:9.3f} s  {self.who:<10} {self.what}"


class World:
    """One history."""

    def __init__(self, seed: int) -> None:
        """Begin at time 0."""
        self.seed: Final = seed
        self.random: Final = Random(seed)  # noqa: S311 -- a seed must give the same again
        self.now_ms = 0
        self.events = 0
        """How many have happened."""
        self.counts: Counter[str] = Counter()
        """What happened, by kind; for the summary."""
        self.digest = 0
        self.history: deque[Noted] = deque(maxlen=EVENTS_KEPT)
        self._heap: list[tuple[int, int, int, str, Action]] = []
        self._scheduled = 0

    def __repr__(self) -> str:
        return f"<World {self.seed} at {self.now_ms} ms, {self.events} events, {self.digest:08x}>"

    def after(self, delay_ms: int, label: str, action: Action) -> None:
        """Let ``action`` happen ``delay_ms`` from now; ``label`` says what kind of event it is."""
        assert delay_ms >= 0, delay_ms
        self._scheduled += 1
        tie = self.random.getrandbits(24)
        heappush(self._heap, (self.now_ms + delay_ms, tie, self._scheduled, label, action))

    def note(self, who: str, what: str) -> None:
        """Put down something worth reading after a failure; also part of the digest."""
        self.history.append(Noted(self.now_ms, who, what))
        self.digest = crc32(what.encode(), self.digest)

    def run_until(self, end_ms: int) -> None:
        """Let everything up to ``end_ms`` happen."""
        heap = self._heap
        while heap and heap[0][0] <= end_ms:
            at_ms, tie, _, label, action = heappop(heap)
            self.now_ms = at_ms
            self.events += 1
            self.digest = crc32(label.encode(), self.digest ^ tie)
            action()
        self.now_ms = end_ms

    def chance(self, probability: float) -> bool:
        """Draw whether something happens."""
        return self.random.random() < probability

    def between(self, low: int, high: int) -> int:
        """Draw a number, both ends included."""
        return low + int(self.random.random() * (high - low + 1))
