"""One link of the quorum: frames in both directions until one of them ends.

A link begins with a handshake, in which both sides do the same: say who they are, look at the other
one, accept it or refuse it with a reason, and wait for its answer. So both know that the link is
there, or both why it is not.

    Hello          ──►  ◄──  Hello
    Accepted       ──►  ◄──  Accepted      or a Refusal, and the end
    VoteRequest... ──►  ◄──  ...

After that a *reader* takes what comes and a *writer* sends what is queued. The writer may wait
for the peer as long as it likes; the queue is bounded, and a peer for which too much has piled up
loses the link. The first of the three to fail -- reader, writer, or whoever calls
:meth:`QuorumLink.end` -- ends all of it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

from ottla.cluster.quorum_handshake import Hello
from ottla.controller.raft.messages import Message, size_bytes
from ottla.model.errors import (
    BrokerNotAvailableError,
    InvalidRequestError,
    OttlaError,
    RequestTimedOutError,
)
from ottla.model.ids import BrokerId
from ottla.model.limits import RAFT_WAITING_BYTES_MAX, RAFT_WAITING_MESSAGES_MAX

HANDSHAKE_TIMEOUT_MS: Final = 2_000
"""From the call to the link, connecting included: many round trips, and as long as an election. A
caller that gives up calls again."""

REFUSAL_TIMEOUT_MS: Final = 500
"""For a peer to read why it is refused, and to end the call."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The sender links with the other side."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The sender does not, and this is why."""

    error: OttlaError


Frame = Hello | Accepted | Refusal | Message


class Frames(Protocol):
    """The two directions of a link as the network has them."""

    async def read(self) -> Frame | None:
        """Wait for the next frame; ``None`` once the peer has ended the link.

        Raises :exc:`InvalidRequestError` for what makes no sense, and
        :exc:`BrokerNotAvailableError` if the network failed.
        """

    async def write(self, frame: Frame) -> None:
        """Send one; waits while the peer does not read. Raises :exc:`BrokerNotAvailableError`."""

    def close(self) -> None:
        """End both directions at once; may be called again."""


async def shake_hands(frames: Frames, ours: Hello, check: Callable[[Hello], None]) -> Hello:
    """Agree with the peer to have a link; return what it says of itself.

    ``check`` raises whatever speaks against the peer.

    Raises:
        RequestTimedOutError: there was nobody, or no answer in time.
        OttlaError: why one side refused, or what made the network fail.
    """
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_MS / 1000):
            await frames.write(ours)
            theirs = await _read_hello(frames)
            try:
                check(theirs)
            except OttlaError as error:
                await _refuse(frames, ours, error)
                raise
            await frames.write(Accepted())
            await _read_accepted(frames)
    except TimeoutError:
        raise RequestTimedOutError(
            f"broker {_name(ours.peer_id)} did not answer within {HANDSHAKE_TIMEOUT_MS} ms"
        ) from None
    return theirs


async def _refuse(frames: Frames, ours: Hello, error: OttlaError) -> None:
    """Tell the peer why it is refused, if it still listens: it may have refused us."""
    with suppress(OttlaError, TimeoutError):
        async with asyncio.timeout(REFUSAL_TIMEOUT_MS / 1000):
            await frames.write(Refusal(error))
            # Whoever was called ends the call with a status, after what it wrote. A caller that
            # hangs up at once may take its refusal along.
            while ours.peer_id is not None and await frames.read() is not None:
                pass


async def _read_hello(frames: Frames) -> Hello:
    frame = await _read(frames)
    if not isinstance(frame, Hello):
        raise InvalidRequestError(f"a link begins with Hello, not with {type(frame).__name__}")
    return frame


async def _read_accepted(frames: Frames) -> None:
    frame = await _read(frames)
    if not isinstance(frame, Accepted):
        raise InvalidRequestError(f"Hello is answered Accepted, not {type(frame).__name__}")


async def _read(frames: Frames) -> Frame:
    frame = await frames.read()
    if frame is None:
        raise BrokerNotAvailableError("the peer ended the link before it began")
    if isinstance(frame, Refusal):
        raise frame.error
    return frame


class QuorumLink:
    """A link after its handshake. Used on one event loop."""

    def __init__(self, frames: Frames, *, peer: Hello, number: int) -> None:
        """Make link ``number`` with ``peer``; nothing moves before :meth:`run`."""
        self.peer = peer
        self.number = number
        self._frames = frames
        self._queue: deque[Message] = deque()
        self._queued_bytes = 0
        self._queued = asyncio.Event()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __repr__(self) -> str:
        return f"<QuorumLink {self.number} with broker {self.peer.node_id}>"

    def send(self, message: Message) -> None:
        """Queue a message, or end the link if too many wait."""
        self._queue.append(message)
        self._queued_bytes += size_bytes(message)
        self._queued.set()
        if (
            len(self._queue) > RAFT_WAITING_MESSAGES_MAX
            or self._queued_bytes > RAFT_WAITING_BYTES_MAX
        ):
            waiting = f"{len(self._queue)} messages ({self._queued_bytes} bytes)"
            self.end(BrokerNotAvailableError(f"{waiting} wait for broker {self.peer.node_id}"))

    def end(self, reason: OttlaError) -> None:
        """Let :meth:`run` raise ``reason``, unless it has ended already."""
        if not self._ended.done():
            self._ended.set_exception(reason)

    async def run(self, receive: Callable[[Message], bool]) -> None:
        """Carry messages until the link ends; ``receive`` returns false if it cannot take one.

        Returns if the peer ended the link; raises the :exc:`OttlaError` that ended it otherwise.
        """
        tasks = [asyncio.create_task(self._read(receive)), asyncio.create_task(self._write())]
        waiting: list[asyncio.Future[None]] = [self._ended, *tasks]
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._ended.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        for future in waiting:
            if future in done:
                future.result()

    async def _read(self, receive: Callable[[Message], bool]) -> None:
        peer = self.peer.node_id
        while (frame := await self._frames.read()) is not None:
            if isinstance(frame, Refusal):
                raise frame.error
            if isinstance(frame, Hello | Accepted):
                raise InvalidRequestError(f"broker {peer} sent {type(frame).__name__} twice")
            if not receive(frame):
                raise BrokerNotAvailableError(f"broker {peer} sends faster than it can be followed")

    async def _write(self) -> None:
        while True:
            await self._queued.wait()
            self._queued.clear()
            while self._queue:
                message = self._queue.popleft()
                self._queued_bytes -= size_bytes(message)
                await self._frames.write(message)


def _name(peer: BrokerId | None) -> str:
    return "at the other end" if peer is None else str(peer)
