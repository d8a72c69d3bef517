"""Memory for requests, shared by all connections of a broker.

Every buffer that holds a request counts, from its first byte to the end of its handling. What is
small is only counted: a connection keeps little of that (:mod:`ottla.kafka.pipeline`). A large
request asks before its buffer grows, and if there is no room, nothing more is read from its
connection until there is.

One of those that wait may always go on, or requests that are all half received could wait for each
other for ever. So the bound can be passed by the size of one request.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class RequestMemory:
    """Counts bytes; one for a broker, on its event loop."""

    def __init__(self, bytes_max: int | None) -> None:
        """``None``: no bound."""
        self._bytes_max = bytes_max
        self._waiting: deque[Claim] = deque()
        self._exempt: Claim | None = None
        self.used_bytes = 0

    def claim(self, resume: Callable[[], None]) -> Claim:
        """Return what one connection holds, nothing so far; ``resume`` after it had to wait."""
        return Claim(self, resume)

    def _has_room(self, size: int) -> bool:
        return self._bytes_max is None or self.used_bytes + size <= self._bytes_max

    def _grant(self, claim: Claim, size: int) -> bool:
        # Whoever waits already has its turn first.
        if self._exempt is claim or (not self._waiting and self._has_room(size)):
            return True
        if self._exempt is None:
            self._exempt = claim
            return True
        claim.wanted_bytes = size
        self._waiting.append(claim)
        return False

    def _forget(self, claim: Claim) -> None:
        if self._exempt is claim:
            self._exempt = None
        if claim.wanted_bytes:
            self._waiting.remove(claim)
            claim.wanted_bytes = 0
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            claim = self._waiting[0]
            if not self._has_room(claim.wanted_bytes):
                if self._exempt is not None:
                    return
                self._exempt = claim
            self._waiting.popleft()
            self.used_bytes += claim.wanted_bytes
            claim.held_bytes += claim.wanted_bytes
            claim.wanted_bytes = 0
            claim.resume()


class Claim:
    """What one connection holds of the memory."""

    __slots__ = ("_memory", "held_bytes", "resume", "wanted_bytes")

    def __init__(self, memory: RequestMemory, resume: Callable[[], None]) -> None:
        self._memory = memory
        self.resume = resume
        self.held_bytes = 0
        self.wanted_bytes = 0
        """More than 0 while it waits."""

    def add(self, size: int) -> None:
        """Count a small buffer, whether or not there is room."""
        self.held_bytes += size
        self._memory.used_bytes += size

    def ask(self, size: int) -> bool:
        """Count a large buffer if there is room; else ``resume`` is called when it is counted."""
        assert not self.wanted_bytes, "one question at a time"
        if not self._memory._grant(self, size):  # noqa: SLF001 -- the two are one
            return False
        self.add(size)
        return True

    def received(self) -> None:
        """A large request is whole: another one may go on although there is no room."""
        if self._memory._exempt is self:  # noqa: SLF001
            self._memory._exempt = None  # noqa: SLF001
            self._memory._wake()  # noqa: SLF001

    def give_back(self, size: int) -> None:
        """The buffer of a request is not needed any more."""
        self.held_bytes -= size
        self._memory.used_bytes -= size
        if self._memory._waiting:  # noqa: SLF001
            self._memory._wake()  # noqa: SLF001

    def give_all_back(self) -> None:
        """The connection is gone."""
        self._memory.used_bytes -= self.held_bytes
        self.held_bytes = 0
        self._memory._forget(self)  # noqa: SLF001
