"""Runs the consensus engine on a thread of its own, and lets the event loop talk to it.

The engine blocks: it syncs its journal before it speaks, and a snapshot of many megabytes takes
its time. So it has a thread, and everything that the engine is or calls stays on that thread.

    event loop                         Raft thread
    ----------                         -----------
    propose(), barrier(),         ──►  inbox, a queue of functions
    receive(), connected() ...
                                       drain it, tick the engine, note what came of it
    the observer has the image,   ◄──  one call_soon_threadsafe for everything noted
    futures are done

Rules
-----
* The image of an entry reaches the observer before the future of its proposal is done, so whoever
  awaits a proposal finds its consequences in the metadata cache.
* The first image that the observer gets has everything that was known to be committed when the
  engine was closed, or nearly: the journal notes it with its next change.
* The engine ticks after each drained inbox and at least every ``TICK_INTERVAL_MS``. Whatever
  comes wakes it at once; what came meanwhile shares the tick, and so the sync of the disk.
* What waits of one peer is bounded: :meth:`RaftDriver.receive` refuses more, and the link ends.
* A failure of the engine ends the thread and comes out of :meth:`RaftDriver.run`, which is a
  supervised task: the broker stops.
"""

from __future__ import annotations

import asyncio
import queue
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from ottla.controller.raft.consensus import Consensus, Outcome, RoleChanged
from ottla.controller.raft.messages import Message, size_bytes
from ottla.controller.raft.transport import Receiver
from ottla.model.errors import RequestTimedOutError, ThrottlingQuotaExceededError
from ottla.model.ids import BrokerId
from ottla.model.image import ClusterImage
from ottla.model.limits import (
    METADATA_PROPOSALS_MAX,
    RAFT_WAITING_BYTES_MAX,
    RAFT_WAITING_MESSAGES_MAX,
)

TICK_INTERVAL_MS: Final = 40
"""The engine's own bound, less than half a heartbeat; a proposal or a message does not wait for it.
An idle tick costs some 200 us: at 20 ms it would be half of what an idle broker uses."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Proposed:
    """How a proposal ended, and the state machine's answer if it was applied."""

    outcome: Outcome
    answer: bytes = b""


class QuorumNode(Consensus, Receiver, Protocol):
    """The engine: one node of the quorum, with links to others."""


class RaftObserver(Protocol):
    """Who wants to know what the engine did. Called on the event loop."""

    def image_applied(self, image: ClusterImage) -> None:
        """The state machine has a new image; intermediate ones may have been left out."""

    def role_changed(self, change: RoleChanged) -> None:
        """The node's role, term or leader changed; every change is told, in order."""


@dataclass(slots=True)
class _Notes:
    """What one round of the Raft thread has to tell the event loop."""

    roles: list[RoleChanged] = field(default_factory=list)
    image: ClusterImage | None = None
    answers: list[tuple[asyncio.Future[Proposed], Proposed]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.roles or self.image or self.answers)


@dataclass(slots=True)
class _Arrivals:
    """What came from one peer: counted up here by the event loop, there by the Raft thread.

    Each number is written by one thread only, so that none needs a lock.
    """

    messages: int = 0
    size_bytes: int = 0
    messages_taken: int = 0
    bytes_taken: int = 0

    @property
    def is_full(self) -> bool:
        return (
            self.messages - self.messages_taken >= RAFT_WAITING_MESSAGES_MAX
            or self.size_bytes - self.bytes_taken >= RAFT_WAITING_BYTES_MAX
        )

    def arrived(self, message: Message) -> None:
        self.messages += 1
        self.size_bytes += size_bytes(message)

    def taken(self, message: Message) -> None:
        self.messages_taken += 1
        self.bytes_taken += size_bytes(message)


class RaftDriver:
    """One node of the quorum, as seen from the event loop. Used by one event loop."""

    def __init__(
        self,
        *,
        start_engine: Callable[[], QuorumNode],
        read_image: Callable[[], ClusterImage],
    ) -> None:
        """Wire a node; ``start_engine`` and ``read_image`` are called on the Raft thread."""
        self._start_engine = start_engine
        self._read_image = read_image
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="ottla-raft")
        self._inbox: queue.SimpleQueue[Callable[[QuorumNode], None] | None] = queue.SimpleQueue()
        self._waiting: set[asyncio.Future[Proposed]] = set()
        self._arrivals: dict[BrokerId, _Arrivals] = {}
        self._told: deque[_Notes] = deque()
        self._arrived = asyncio.Event()
        self._ended = False
        # On the Raft thread only:
        self._notes = _Notes()
        self._image: ClusterImage | None = None
        self._role: RoleChanged | None = None

    # --- The event loop's side ---

    async def start(self) -> QuorumNode:
        """Open the engine, which recovers its journal; return it for :meth:`run`.

        Raises what opening it raises.
        """
        return await self._loop.run_in_executor(self._executor, self._start_engine)

    async def run(self, engine: QuorumNode, observer: RaftObserver) -> None:
        """Run the node until :meth:`stop`; raises what made the engine fail, if it fails.

        Everything the engine has to say is delivered here, in this task, so that what goes wrong
        with it is raised here too, and not lost in a callback.
        """
        driving = self._loop.run_in_executor(self._executor, self._drive, engine)
        driving.add_done_callback(lambda _: self._arrived.set())
        try:
            while self._told or not driving.done():
                await self._arrived.wait()
                self._arrived.clear()
                while self._told:
                    _deliver(self._told.popleft(), observer)
            driving.result()
        finally:
            self._ended = True
            self.stop()  # if this task was cancelled, the thread has not heard of it
            self._executor.shutdown(wait=False)
            for future in self._waiting:
                _finish(future, Proposed(Outcome.UNKNOWN))

    def stop(self) -> None:
        """Close the engine, which answers what is outstanding; :meth:`run` then returns."""
        self._inbox.put(None)

    async def propose(self, entry: bytes, *, timeout_ms: int) -> Proposed:
        """Propose ``entry`` and wait for the outcome.

        Raises:
            RequestTimedOutError: the outcome is not known in time; it may still be applied.
            ThrottlingQuotaExceededError: too many proposals are waiting; nothing was proposed.
        """
        return await self._ask(
            lambda engine, answered: engine.propose(entry, answered), timeout_ms=timeout_ms
        )

    async def barrier(self, *, timeout_ms: int) -> Proposed:
        """Wait until everything committed before this call is applied here; as :meth:`propose`."""
        return await self._ask(
            lambda engine, answered: engine.barrier(answered), timeout_ms=timeout_ms
        )

    # --- The event loop's side: links ---

    def connected(self, peer: BrokerId, link: int) -> None:
        """Tell the engine of a new link; see :class:`Receiver`. Numbers of one peer rise."""
        self._put(lambda engine: engine.connected(peer, link))

    def disconnected(self, peer: BrokerId, link: int) -> None:
        """Tell the engine that a link has ended."""
        self._put(lambda engine: engine.disconnected(peer, link))

    def receive(self, peer: BrokerId, link: int, message: Message) -> bool:
        """Hand a message over; false if too many of this peer wait, and then the link must end."""
        arrivals = self._arrivals.setdefault(peer, _Arrivals())
        if arrivals.is_full:
            return False
        arrivals.arrived(message)

        def take(engine: QuorumNode) -> None:
            arrivals.taken(message)
            engine.receive(peer, link, message)

        self._put(take)
        return True

    def _put(self, item: Callable[[QuorumNode], None]) -> None:
        if not self._ended:
            self._inbox.put(item)

    async def _ask(
        self,
        ask: Callable[[QuorumNode, Callable[[Outcome, bytes], None]], None],
        *,
        timeout_ms: int,
    ) -> Proposed:
        if self._ended:
            return Proposed(Outcome.REFUSED)
        if len(self._waiting) >= METADATA_PROPOSALS_MAX:
            raise ThrottlingQuotaExceededError(
                f"{METADATA_PROPOSALS_MAX} changes of metadata are waiting already; try again"
            )
        future: asyncio.Future[Proposed] = self._loop.create_future()
        self._waiting.add(future)

        def answered(outcome: Outcome, answer: bytes) -> None:
            self._notes.answers.append((future, Proposed(outcome, answer)))

        self._inbox.put(lambda engine: ask(engine, answered))
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await future
        except TimeoutError:
            raise RequestTimedOutError(
                f"the metadata quorum did not answer within {timeout_ms} ms; the change may "
                "still be made"
            ) from None
        finally:
            self._waiting.discard(future)

    def _arrive(self, notes: _Notes) -> None:
        self._told.append(notes)
        self._arrived.set()

    # --- The Raft thread's side ---

    def _drive(self, engine: QuorumNode) -> None:
        try:
            running = True
            while running:
                # First of all, before anybody hears of an image or a message is taken: this applies
                # what the journal knows to be committed.
                engine.tick()
                self._observe(engine)
                running = self._drain_inbox(engine)
        finally:
            engine.close()
            self._observe(engine)

    def _drain_inbox(self, engine: QuorumNode) -> bool:
        """Run what waits in the inbox, or wait one interval for it; false when it says stop."""
        wait_s: float = TICK_INTERVAL_MS / 1000
        # Bounded, so that a flood of proposals cannot keep the engine from ticking.
        for _ in range(METADATA_PROPOSALS_MAX):
            try:
                item = self._inbox.get(timeout=wait_s) if wait_s else self._inbox.get_nowait()
            except queue.Empty:
                return True
            if item is None:
                return False
            item(engine)
            wait_s = 0.0
        return True

    def _observe(self, engine: QuorumNode) -> None:
        """Note a change of role or image, and send all notes to the event loop at once."""
        role = RoleChanged(engine.role, engine.term, engine.leader)
        if role != self._role:
            self._role = role
            self._notes.roles.append(role)
        image = self._read_image()
        if image is not self._image:
            self._image = image
            self._notes.image = image
        if self._notes.is_empty:
            return
        notes, self._notes = self._notes, _Notes()
        self._loop.call_soon_threadsafe(self._arrive, notes)


def _deliver(notes: _Notes, observer: RaftObserver) -> None:
    """Tell what happened in one round: roles, then the image, then answers."""
    for change in notes.roles:
        observer.role_changed(change)
    if notes.image is not None:
        observer.image_applied(notes.image)
    for future, proposed in notes.answers:
        _finish(future, proposed)


def _finish(future: asyncio.Future[T], result: T) -> None:
    """Give a future its result, unless whoever waited for it has gone."""
    if not future.done():
        future.set_result(result)
