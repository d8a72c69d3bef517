"""Messages between processes: late, lost, held up, but never out of order within a link.

Two ways to talk
----------------
* A :class:`Link` joins two processes and carries messages both ways, in order and at most once:
  what :mod:`ottla.controller.raft.transport` asks for, and what a gRPC stream is. While the way is
  blocked, messages wait; if it stays blocked, the link ends. Each end hears of the end at a time of
  its own, or never notices that it happened before it is gone itself.
* A *call* is one request and one answer, either of which may be lost. Whoever calls gives up after
  a time of its own; the request may be served all the same, also later.

When a process dies its links end: at once for the other ends if only the process died, after a
silence if the whole machine did.

Faults: a direction between two processes may be *blocked* (both directions are a partition), and a
process may be *slow*, which adds to the delay of all that it sends and receives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from ottla.simulation.process import Process
from ottla.simulation.world import Action, World

DELAY_MAX_MS: Final = 3
"""Of one message on a healthy network."""

SILENCE_MIN_MS: Final = 300
SILENCE_MAX_MS: Final = 1_500
"""After a silence between these a link that is blocked ends."""

DIAL_TIMEOUT_MS: Final = 400


class Listener(Protocol):
    """What answers calls and takes links; a broker's process."""

    def accept(self, service: str, end: LinkEnd, hello: object) -> bool:
        """Take a new link, or refuse it."""

    def answer(self, request: object, respond: Callable[[object], None]) -> None:
        """Serve a call; ``respond`` is called at most once, at any time."""


class LinkEnd:
    """One end of a link, as its process sees it."""

    __slots__ = ("_ended_told", "link", "on_end", "on_message", "peer", "process", "queue")

    def __init__(self, link: Link, process: Process) -> None:
        """Belong to ``process``."""
        self.link = link
        self.process = process
        self.peer: LinkEnd = self
        self.on_message: Callable[[object], None] = _nobody_listens
        self.on_end: Action = _nothing
        self.queue: deque[object] = deque()
        """On its way to this end."""
        self._ended_told = False

    @property
    def is_open(self) -> bool:
        """Whether it can be sent on, as far as this end knows."""
        return not self._ended_told

    def send(self, message: object) -> None:
        """Send to the other end; lost if the link has ended."""
        self.link.send(self, message)

    def close(self) -> None:
        """End the link from here; this end is not told."""
        self._ended_told = True
        self.link.end()

    def tell_ended(self) -> None:
        """Let this end know that the link has ended, once; what arrived before comes first."""
        self.process.run("link ended", self._told)

    def _told(self) -> None:
        if not self._ended_told:
            self._ended_told = True
            self.on_end()


class Link:
    """Two ends, and what is under way between them."""

    __slots__ = ("_network", "_stalled", "ended", "first", "second")

    def __init__(self, network: Network, first: Process, second: Process) -> None:
        """Join two processes."""
        self._network = network
        self.ended = False
        self.first = LinkEnd(self, first)
        self.second = LinkEnd(self, second)
        self.first.peer = self.second
        self.second.peer = self.first
        self._stalled = False

    def send(self, end: LinkEnd, message: object) -> None:
        """Send from ``end`` to its peer."""
        if self.ended:
            return
        target = end.peer
        target.queue.append(message)
        network = self._network
        delay_ms = network.delay_ms(end.process.number, target.process.number)
        network.world.after(delay_ms, "message", lambda: self._arrive(target))

    def _arrive(self, target: LinkEnd) -> None:
        # One of those under way is due: the first of them, whichever it was that set out first.
        if self.ended or not target.queue:
            return
        if self._network.is_blocked(target.peer.process.number, target.process.number):
            self._stall()
            return
        target.process.run("message", lambda: self._hand_over(target))

    def _hand_over(self, target: LinkEnd) -> None:
        if target.queue and target.is_open:
            target.on_message(target.queue.popleft())

    def _stall(self) -> None:
        if not self._stalled:
            self._stalled = True
            world = self._network.world
            world.after(
                world.between(SILENCE_MIN_MS, SILENCE_MAX_MS), "silence", self._end_if_blocked
            )

    def _end_if_blocked(self) -> None:
        self._stalled = False
        if self._network.is_cut(self.first.process.number, self.second.process.number):
            self.end()

    def resume(self) -> None:
        """The way is free again: what was held up goes on."""
        if self.ended:
            return
        for end in (self.first, self.second):
            for _ in range(len(end.queue)):
                delay_ms = self._network.delay_ms(end.peer.process.number, end.process.number)
                self._network.world.after(delay_ms, "message", partial(self._arrive, end))

    def end_soon(self) -> None:
        """End it when what is under way has arrived: a process died, but not its machine."""
        world = self._network.world
        world.after(2 * DELAY_MAX_MS, "link ends", self.end)

    def end(self, *, silence: bool = False) -> None:
        """End it: each end is told at a time of its own; with ``silence`` not soon."""
        if self.ended:
            return
        self.ended = True
        self._network.forget(self)
        world = self._network.world
        cut = self._network.is_cut(self.first.process.number, self.second.process.number)
        for end in (self.first, self.second):
            late = silence or cut
            delay_ms = world.between(0, SILENCE_MAX_MS if late else 2 * DELAY_MAX_MS)
            world.after(delay_ms, "link ended", end.tell_ended)


class Network:
    """All that connects the processes of a world."""

    def __init__(self, world: World) -> None:
        """Connect nobody yet."""
        self.world: Final = world
        self.blocked: set[tuple[int, int]] = set()
        """Directions in which nothing gets through."""
        self.slow_ms: dict[int, int] = {}
        """What is added to the delay of messages from and to a process."""
        self._listeners: dict[int, tuple[Process, Listener]] = {}
        self._links: dict[int, Link] = {}
        self._numbers = 0

    # --- Who is there ---

    def listen(self, process: Process, listener: Listener) -> None:
        """Let a process be reached."""
        self._listeners[process.number] = (process, listener)

    def died(self, process: Process, *, silence: bool) -> None:
        """End the links of a process that is no more."""
        self._listeners.pop(process.number, None)
        for link in list(self._links.values()):
            if process in (link.first.process, link.second.process):
                if silence or self.world.chance(1 / 2):
                    link.end(silence=silence)
                else:
                    link.end_soon()

    # --- Faults ---

    def block(self, source: int, target: int) -> None:
        """Let nothing through in one direction."""
        self.blocked.add((source, target))

    def heal(self) -> None:
        """Let everything through again, and quickly."""
        self.blocked.clear()
        self.slow_ms.clear()
        for link in list(self._links.values()):
            link.resume()

    def is_blocked(self, source: int, target: int) -> bool:
        """Whether nothing gets through in this direction."""
        return bool(self.blocked) and (source, target) in self.blocked

    def is_cut(self, one: int, other: int) -> bool:
        """Whether at least one direction is blocked."""
        return self.is_blocked(one, other) or self.is_blocked(other, one)

    def delay_ms(self, source: int, target: int) -> int:
        """Draw how long a message takes."""
        delay_ms = self.world.between(0, DELAY_MAX_MS)
        if self.slow_ms:
            slow_ms = max(self.slow_ms.get(source, 0), self.slow_ms.get(target, 0))
            delay_ms += self.world.between(0, slow_ms)
        return delay_ms

    # --- Links and calls ---

    def dial(
        self,
        process: Process,
        target: int,
        *,
        service: str,
        hello: object,
        opened: Callable[[LinkEnd], None],
        failed: Action,
    ) -> None:
        """Make a link to whoever listens at ``target``; one of the two callbacks is called."""
        dialling = _Dialling(self, process, opened, failed)
        world = self.world

        def arrive() -> None:
            found = self._listeners.get(target)
            if found is None:
                world.after(self.delay_ms(target, process.number), "no listener", dialling.fail)
            elif not self.is_cut(process.number, target):
                peer, listener = found
                peer.run("dial", lambda: dialling.arrived_at(peer, listener, service, hello))

        world.after(self.delay_ms(process.number, target), "dial", arrive)
        process.after(DIAL_TIMEOUT_MS, "dial timeout", dialling.fail)

    def call(
        self,
        process: Process,
        target: int,
        request: object,
        *,
        replied: Callable[[object | None], None],
        timeout_ms: int,
    ) -> None:
        """Ask whoever listens at ``target``; ``replied`` gets the answer, ``None`` if none came."""
        waiting = [replied]
        world = self.world

        def finish(answer: object | None) -> None:
            if waiting:
                waiting.pop()(answer)

        def answered(answer: object) -> None:
            if not self.is_blocked(target, process.number):
                process.run("answer", lambda: finish(answer))

        def respond(answer: object) -> None:
            delay_ms = self.delay_ms(target, process.number)
            world.after(delay_ms, "answer", lambda: answered(answer))

        def arrive() -> None:
            found = self._listeners.get(target)
            if self.is_blocked(process.number, target):
                return
            if found is None:
                respond(None)
            else:
                peer, listener = found
                peer.run("call", lambda: listener.answer(request, respond))

        world.after(self.delay_ms(process.number, target), "call", arrive)
        process.after(timeout_ms, "call timeout", lambda: finish(None))

    def remember(self, link: Link) -> None:
        """Know of a link."""
        self._links[id(link)] = link

    def forget(self, link: Link) -> None:
        """Know of it no more."""
        self._links.pop(id(link), None)


class _Dialling:
    """An attempt to make a link."""

    def __init__(
        self,
        network: Network,
        process: Process,
        opened: Callable[[LinkEnd], None],
        failed: Action,
    ) -> None:
        self._network = network
        self._process = process
        self._opened = opened
        self._failed = failed
        self._waiting = True

    def fail(self) -> None:
        if self._waiting:
            self._waiting = False
            self._process.run("dial failed", self._failed)

    def arrived_at(self, peer: Process, listener: Listener, service: str, hello: object) -> None:
        if not self._waiting or not self._process.alive:
            return
        link = Link(self._network, self._process, peer)
        self._network.remember(link)
        link.first.on_message = lambda _: self._open(link)
        link.first.on_end = self.fail
        if listener.accept(service, link.second, hello):
            link.second.send(None)  # says that the link is there, before anything else
        else:
            link.end()

    def _open(self, link: Link) -> None:
        if self._waiting:
            self._waiting = False
            link.first.on_message = _nobody_listens
            link.first.on_end = _nothing
            self._opened(link.first)
        else:
            link.first.close()


def _nobody_listens(message: object) -> None:
    raise AssertionError(f"nobody takes {message}")


def _nothing() -> None:
    """Do nothing."""
