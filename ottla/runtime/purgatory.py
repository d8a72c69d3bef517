"""Where requests wait: for an offset to be reached, or for their time to run out.

An ``acks=all`` produce waits until the high watermark reaches the end of its batch; a long
poll waits until one of its partitions holds more than it has read. Both are a *waiter*: some
(key, threshold) pairs, of which one is enough, and a deadline.

    advance(key, 17)     wakes the waiters of ``key`` whose threshold is 17 or less
    fail(key, error)     wakes all waiters of ``key`` with the error: the partition moved away
    the deadline         wakes the waiter with ``EXPIRED``

Each key has its waiters in a heap by threshold, so that ``advance`` looks at those it wakes
and at one more. A waiter that ends otherwise stays in the heaps of its other keys as a
husk; a heap with more husks than waiters is cleared of them, which costs each husk a constant
amount of work. One timer of the event loop serves all deadlines. There is no task per waiter.

Rules for callers
-----------------
1. Everything is called on the event loop's thread. Look whether the condition holds already,
   then watch, without awaiting in between: nothing can be missed.
2. ``done`` is called within :meth:`Purgatory.advance` and the like. It must not wait, raise, or
   call back into the purgatory; setting a future's result is what it is for.
3. A waiter that is not needed any more must be cancelled; :meth:`Purgatory.wait` does.

The idea, and the name, are Kafka's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable, Sequence
from enum import Enum
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

from sortedcontainers import SortedDict

from ottla.model.errors import OttlaError, ThrottlingQuotaExceededError
from ottla.model.limits import WAITERS_MAX
from ottla.runtime.clock import Clock

K = TypeVar("K", bound=Hashable)


class Outcome(Enum):
    """Why a waiter woke up, if nothing went wrong."""

    REACHED = "reached"
    EXPIRED = "expired"


Done = Callable[[Outcome | OttlaError], None]
"""Called once when a waiter wakes up; not when it is cancelled."""


class Waiter(Generic[K]):
    """Something that waits; for its owner a handle to cancel it by, and not to be changed."""

    __slots__ = ("conditions", "deadline_ms", "done", "pending")

    def __init__(self, conditions: Sequence[tuple[K, int]], deadline_ms: int, done: Done) -> None:
        self.conditions = conditions
        self.deadline_ms = deadline_ms
        self.done = done
        self.pending = True

    def __repr__(self) -> str:
        conditions = ", ".join(f"{key} at {threshold}" for key, threshold in self.conditions)
        return f"<Waiter for {conditions}{'' if self.pending else ', woken'}>"


class _Queue(Generic[K]):
    """The waiters of one key, the lowest threshold first, and husks of former ones."""

    __slots__ = ("heap", "husks")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, Waiter[K]]] = []
        self.husks = 0


class Purgatory(Generic[K]):
    """The waiting requests of one kind; ``K`` is what they wait at, mostly a partition."""

    def __init__(self, clock: Clock, *, waiters_max: int = WAITERS_MAX) -> None:
        self._clock = clock
        self._waiters_max = waiters_max
        self._queues: dict[K, _Queue[K]] = {}
        self._deadlines: SortedDict[int, dict[Waiter[K], None]] = SortedDict()
        self._waiting = 0
        self._entered = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = 0

    def __repr__(self) -> str:
        return f"<Purgatory of {self._waiting} waiters at {len(self._queues)} keys>"

    def __len__(self) -> int:
        return self._waiting

    # --- Waiting ------------------------------------------------------------------------

    def watch(
        self, conditions: Iterable[tuple[K, int]], *, deadline_ms: int, done: Done
    ) -> Waiter[K]:
        """Call ``done`` when one of the conditions is reached or monotonic time has come.

        Each condition is a key and the least value that :meth:`advance` must report for it; no
        two have the same key.
        Raises :exc:`ThrottlingQuotaExceededError` if too many wait already.
        """
        if self._waiting >= self._waiters_max:
            raise ThrottlingQuotaExceededError(
                f"{self._waiting} requests are waiting, as many as may; try again shortly"
            )
        waiter = Waiter(tuple(conditions), deadline_ms, done)
        assert len(dict(waiter.conditions)) == len(waiter.conditions), f"a key twice in {waiter}"
        for key, threshold in waiter.conditions:
            queue = self._queues.get(key)
            if queue is None:
                queue = self._queues[key] = _Queue()
            self._entered += 1
            heappush(queue.heap, (threshold, self._entered, waiter))
        self._waiting += 1
        self._deadlines.setdefault(deadline_ms, {})[waiter] = None
        if self._timer is None or deadline_ms < self._timer_at_ms:
            self._set_timer()
        return waiter

    async def wait(self, conditions: Iterable[tuple[K, int]], *, deadline_ms: int) -> Outcome:
        """Wait until one of the conditions is reached, or until the deadline.

        Raises what :meth:`fail` was given, and what :meth:`watch` raises.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

        def wake(outcome: Outcome | OttlaError) -> None:
            if future.done():
                return  # cancelled a moment ago; the waiting task has not run since
            if isinstance(outcome, OttlaError):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

        waiter = self.watch(conditions, deadline_ms=deadline_ms, done=wake)
        try:
            return await future
        finally:
            self.cancel(waiter)

    def cancel(self, waiter: Waiter[K]) -> None:
        """Forget a waiter; nothing happens if it has woken up."""
        if waiter.pending:
            self._end(waiter, woken_at=None)

    # --- Waking -------------------------------------------------------------------------

    def advance(self, key: K, value: int) -> int:
        """Wake the waiters of ``key`` whose threshold ``value`` reaches; return their number."""
        queue = self._queues.get(key)
        if queue is None:
            return 0
        woken = 0
        heap = queue.heap
        while heap and heap[0][0] <= value:
            waiter = heappop(heap)[2]
            if waiter.pending:
                self._end(waiter, woken_at=key)
                waiter.done(Outcome.REACHED)
                woken += 1
            else:
                queue.husks -= 1
        if not heap:
            del self._queues[key]
        return woken

    def fail(self, key: K, error: OttlaError) -> int:
        """Wake all waiters of ``key`` with ``error``; return their number."""
        queue = self._queues.pop(key, None)
        if queue is None:
            return 0
        woken = 0
        for _, _, waiter in sorted(queue.heap):
            if waiter.pending:
                self._end(waiter, woken_at=key)
                waiter.done(error)
                woken += 1
        return woken

    def fail_all(self, error: OttlaError) -> int:
        """Wake everybody with ``error``, as the broker does when it stops."""
        return sum(self.fail(key, error) for key in list(self._queues))

    def expire_due(self) -> int:
        """Wake those whose deadline has passed; return their number. The timer calls it."""
        woken = 0
        now_ms = self._clock.now_ms()
        while self._deadlines and self._deadlines.peekitem(0)[0] <= now_ms:
            for waiter in list(self._deadlines.peekitem(0)[1]):
                self._end(waiter, woken_at=None)
                waiter.done(Outcome.EXPIRED)
                woken += 1
        self._set_timer()
        return woken

    # --- Inside --------------------------------------------------------------------------

    def _end(self, waiter: Waiter[K], *, woken_at: K | None) -> None:
        """Take a waiter out of everything but the heap of ``woken_at``."""
        waiter.pending = False
        self._waiting -= 1
        same_time = self._deadlines[waiter.deadline_ms]
        del same_time[waiter]
        if not same_time:
            del self._deadlines[waiter.deadline_ms]
        for key, _ in waiter.conditions:
            if key != woken_at:
                self._leave_husk(key)

    def _leave_husk(self, key: K) -> None:
        queue = self._queues[key]
        queue.husks += 1
        if 2 * queue.husks <= len(queue.heap):
            return
        queue.heap = [entry for entry in queue.heap if entry[2].pending]
        queue.husks = 0
        if queue.heap:
            heapify(queue.heap)
        else:
            del self._queues[key]

    def _set_timer(self) -> None:
        """Have the timer ring at the first deadline.

        It is not set anew when that deadline goes away: to ring for nothing now and then
        is cheaper than to cancel it with each waiter that ends in time.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._deadlines:
            return
        first_ms = self._deadlines.peekitem(0)[0]
        delay_ms = max(0, first_ms - self._clock.now_ms())
        self._timer_at_ms = first_ms
        # The clock counts whole milliseconds, so it may show the deadline up to one late.
        delay_s = (delay_ms + 1) / _MILLISECONDS_PER_SECOND
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.expire_due()


_MILLISECONDS_PER_SECOND: Final = 1000
