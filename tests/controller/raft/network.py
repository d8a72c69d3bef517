"""Links between simulated nodes: in order, at most once, and lost when they break.

Messages wait in a queue for each direction until a test delivers them, so a test decides who
is slow. Cutting a link loses what was under way. Used by the hardened and the stock engine.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from itertools import count
from random import Random
from typing import Generic, TypeVar

MessageT = TypeVar("MessageT")


class VirtualClock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self._now_ms = 1_000_000

    def now_ms(self) -> int:
        return self._now_ms

    def wall_ms(self) -> int:
        return self._now_ms

    def now_seconds(self) -> float:
        return self._now_ms / 1000

    def advance(self, milliseconds: int) -> None:
        self._now_ms += milliseconds


class Network(Generic[MessageT]):
    """All links of a cluster. ``arrived(source, target, link, message)`` hands one over."""

    def __init__(self, arrived: Callable[[int, int, int, MessageT], None]) -> None:
        self._arrived = arrived
        self._links: dict[frozenset[Hashable], int] = {}
        self._numbers = count(1)
        self.under_way: defaultdict[tuple[int, int], deque[tuple[int, MessageT]]] = defaultdict(
            deque
        )
        self.unruly: Random | None = None
        """If set, links break their promise: some messages are repeated, late or lost."""

    def link(self, a: int, b: int) -> int | None:
        return self._links.get(frozenset((a, b)))

    def connect(self, a: int, b: int) -> int:
        assert self.link(a, b) is None, "cut the old link first"
        number = next(self._numbers)
        self._links[frozenset((a, b))] = number
        return number

    def cut(self, a: int, b: int) -> int:
        for direction in ((a, b), (b, a)):
            self.under_way[direction].clear()
        return self._links.pop(frozenset((a, b)))

    def linked_to(self, node: int) -> list[int]:
        return sorted(
            int(str(peer)) for pair in self._links if node in pair for peer in pair if peer != node
        )

    def send(self, source: int, target: int, message: MessageT) -> None:
        link = self.link(source, target)
        if link is not None:
            self.under_way[source, target].append((link, message))

    def deliver(self, source: int, target: int, messages_max: int | None = None) -> int:
        """Hand over the first messages of one direction; return how many."""
        delivered = 0
        queue = self.under_way[source, target]
        while queue and (messages_max is None or delivered < messages_max):
            link, message = queue.popleft()
            delivered += 1
            chance = self.unruly.random() if self.unruly else 1.0
            if chance < 0.05:
                continue
            if chance < 0.15:
                queue.append((link, message))
                continue
            if chance < 0.25:
                self._arrived(source, target, link, message)
            self._arrived(source, target, link, message)
        return delivered

    def busy_directions(self) -> list[tuple[int, int]]:
        return [direction for direction, queue in self.under_way.items() if queue]
