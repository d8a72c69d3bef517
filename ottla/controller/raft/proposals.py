"""Proposals that wait for their outcome, and outcomes that wait to be told.

Every proposal is answered exactly once, and only while the engine is at rest: a callback may
propose again, or close the engine, and finds nothing half done. Each answer is taken out of
the queue before it is told. If a callback raises, the exception goes to whoever called the
engine -- it is a bug, and loud -- while nothing else is affected: the rest is told at the
next call.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from ottla.controller.raft.consensus import Answered, Outcome
from ottla.model.errors import OttlaError


@dataclass(frozen=True, slots=True)
class _Waiting:
    term: int
    size_bytes: int
    answered: Answered


class Proposals:
    """What one node has proposed as a leader."""

    def __init__(self) -> None:
        """Wait for nothing."""
        self._waiting: dict[int, list[_Waiting]] = {}
        self._count = 0
        self._size_bytes = 0
        self._answers: deque[tuple[Answered, Outcome, bytes]] = deque()

    @property
    def count(self) -> int:
        """How many have no outcome yet."""
        return self._count

    @property
    def size_bytes(self) -> int:
        """How large those are together."""
        return self._size_bytes

    def wait_for(self, index: int, term: int, answered: Answered, *, size_bytes: int) -> None:
        """Expect the entry at ``index``, which was appended in ``term``, to be applied."""
        self._waiting.setdefault(index, []).append(_Waiting(term, size_bytes, answered))
        self._count += 1
        self._size_bytes += size_bytes

    def applied(self, index: int, term: int, answer: bytes) -> None:
        """Note that an entry was applied, proposed here or not."""
        for waiting in self._waiting.pop(index, ()):
            assert waiting.term == term, "a leader's own entries are not replaced while it leads"
            self._settle(waiting, Outcome.APPLIED, answer)

    def abandon(self) -> None:
        """Give up on everything that has no outcome: it may or may not be applied."""
        for index in sorted(self._waiting):
            for waiting in self._waiting.pop(index):
                self._settle(waiting, Outcome.UNKNOWN, b"")

    def refuse(self, answered: Answered, reason: type[OttlaError]) -> None:
        """Answer that something was not even appended."""
        self._answers.append((answered, Outcome.REFUSED, reason.name.encode()))

    def tell(self) -> None:
        """Call back everybody whose outcome was known when this began."""
        for _ in range(len(self._answers)):
            if not self._answers:  # a callback has closed the engine, which told the rest
                return
            answered, outcome, answer = self._answers.popleft()
            answered(outcome, answer)

    def _settle(self, waiting: _Waiting, outcome: Outcome, answer: bytes) -> None:
        self._count -= 1
        self._size_bytes -= waiting.size_bytes
        self._answers.append((waiting.answered, outcome, answer))
