"""The links of this broker to the other nodes of the quorum: the engine's :class:`Transport`.

Who calls
---------
An observer calls every voter; of two voters, the one with the larger id calls. Whoever calls keeps
calling: a link that ends is made again after a short pause. Whoever is called takes the newest
link of each peer, for a peer that calls again knows better that the old one has ended.

Threads
-------
Links live on the event loop, the engine on its thread::

    Raft thread                     event loop
    -----------                     ----------
    send(): note the message   ──►  put what was noted into the queues of the links
            (one wake-up for all)   their writers write it
    inbox                      ◄──  connected(), receive(), disconnected()

What the engine said to a peer goes to the link that is there when the event loop gets to it. If the
old one has ended meanwhile, that is the beginning of the new one: in order and once, after a gap.

Who is not let in
-----------------
See :mod:`ottla.cluster.quorum_handshake`. Each change of what is wrong with a peer is told the
operator once. A voter without memory is remembered in :attr:`QuorumLinks.refused`, with the
directory that it has now, until it is readmitted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import count
from typing import Final, Protocol

from ottla.cluster.quorum_handshake import (
    Hello,
    QuorumIdentity,
    RefusedVoter,
    VoterLostDirectoryError,
    check_hello,
)
from ottla.cluster.quorum_link import HANDSHAKE_TIMEOUT_MS, Frames, QuorumLink, shake_hands
from ottla.config.addresses import Address
from ottla.controller.raft.messages import Message
from ottla.model.errors import (
    BrokerNotAvailableError,
    InvalidRequestError,
    OttlaError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import BrokerId
from ottla.model.limits import BROKERS_MAX
from ottla.runtime.logging import Event, Severity, emit

LINK_MADE: Final = Event("quorum.link_made")
LINK_ENDED: Final = Event("quorum.link_ended", Severity.WARNING)
LINK_NOT_MADE: Final = Event("quorum.link_not_made", Severity.WARNING)
LINK_REFUSED: Final = Event("quorum.link_refused", Severity.ERROR)

REDIAL_MIN_MS: Final = 50
REDIAL_MAX_MS: Final = 500
"""A peer that returns is linked within this; a call to a closed port costs next to nothing."""

_PASSING: Final = (BrokerNotAvailableError, RequestTimedOutError)

Listener = Callable[[frozenset[BrokerId]], None]
"""Told which peers are linked, on the event loop."""


class LinkedNode(Protocol):
    """Whoever is told of links and messages, on the event loop: the :class:`RaftDriver`."""

    def connected(self, peer: BrokerId, link: int) -> None:
        """Learn of a new link. It replaces the peer's previous one; numbers rise."""

    def disconnected(self, peer: BrokerId, link: int) -> None:
        """Learn of a link's end."""

    def receive(self, peer: BrokerId, link: int, message: Message) -> bool:
        """Take a message; false if there is no room, and then the link ends."""


class QuorumLinks:
    """All links of one node. Used on one event loop, but for :meth:`send`."""

    def __init__(
        self,
        *,
        node_id: BrokerId,
        voters: Mapping[BrokerId, Address],
        incarnation_id: bytes,
        directory_id: bytes,
        identity: Callable[[], QuorumIdentity],
        dial: Callable[[Address], Awaitable[Frames]],
        receiver: LinkedNode,
        draw: Callable[[], float],
    ) -> None:
        """Be node ``node_id`` among ``voters``, whose addresses are those that brokers reach.

        ``voters`` has this node too if it is one; its own address is not used. ``identity`` is
        asked at each handshake. ``dial`` calls an address and need not wait for an answer. ``draw``
        gives random numbers in [0, 1).
        """
        self._node_id = node_id
        self._voters = frozenset(voters)
        self._dialled = {
            voter: address
            for voter, address in voters.items()
            if voter != node_id and (node_id not in voters or voter < node_id)
        }
        self._incarnation_id = incarnation_id
        self._directory_id = directory_id
        self._identity = identity
        self._dial = dial
        self._receiver = receiver
        self._draw = draw
        self._loop = asyncio.get_running_loop()
        self._numbers = count(1)
        self._links: dict[BrokerId, QuorumLink] = {}
        self._refused: dict[BrokerId, RefusedVoter] = {}
        self._listeners: list[Listener] = []
        self._told: dict[BrokerId | None, str] = {}
        self._checked: QuorumIdentity | None = None
        self._identity_known = asyncio.Event()
        self._closed = False
        # Written by the Raft thread, read by the event loop. What the engine lets be under way to
        # a peer bounds it.
        self._noted: deque[tuple[BrokerId, Message]] = deque()
        self._woken = False

    def __repr__(self) -> str:
        return f"<QuorumLinks of {self._node_id} with {sorted(self._links)}>"

    # --- What others ask ---

    @property
    def present(self) -> frozenset[BrokerId]:
        """The peers that there is a link with now."""
        return frozenset(self._links)

    @property
    def refused(self) -> Mapping[BrokerId, RefusedVoter]:
        """The voters that asked for a link without the directory that the cluster knows."""
        return self._refused

    def subscribe(self, listener: Listener) -> None:
        """Tell ``listener`` whenever :attr:`present` changes."""
        self._listeners.append(listener)

    # --- For the engine ---

    def send(self, peer: BrokerId, message: Message) -> None:
        """See :class:`~ottla.controller.raft.transport.Transport`. Called on the Raft thread."""
        self._noted.append((peer, message))
        # The loop lowers the flag before it looks: a message is seen, or wakes it again.
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._distribute)

    def _distribute(self) -> None:
        self._woken = False
        while self._noted:
            peer, message = self._noted.popleft()
            link = self._links.get(peer)
            if link is not None:
                link.send(message)

    # --- Life ---

    async def run(self) -> None:
        """Call those that this node is to call, and keep calling, until cancelled."""
        await self._identity_known.wait()
        async with asyncio.TaskGroup() as group:
            for peer, address in self._dialled.items():
                group.create_task(self._keep_linked(peer, address))
            await asyncio.Event().wait()

    async def accept(self, frames: Frames, check_identity: Callable[[BrokerId], None]) -> None:
        """Serve an incoming call until its link ends.

        ``check_identity`` raises unless the caller may say that it is a certain broker. Returns if
        the peer ended the link; raises the :exc:`OttlaError` for which it was refused or ended.
        """

        def check(theirs: Hello) -> None:
            check_identity(theirs.node_id)
            self._check(theirs)
            self._check_caller(theirs.node_id)

        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_MS / 1000):
                await self._identity_known.wait()
        except TimeoutError:
            raise BrokerNotAvailableError(f"broker {self._node_id} is starting") from None
        link = await self._begin(frames, None, check)
        await self._carry(link)

    def identity_changed(self) -> None:
        """End the links that the newest image does not allow; to be called with every image.

        No links are made before the first call, lest a voter be let in whose loss we ought to know
        of. Costs nothing if the identity is the same.
        """
        self._identity_known.set()
        known = self._identity()
        if known == self._checked:
            return
        self._checked = known
        for link in list(self._links.values()):
            try:
                self._check(link.peer)
            except OttlaError as error:
                link.end(error)

    def close(self) -> None:
        """End all links and make no more, so that the peers notice at once."""
        self._closed = True
        for link in list(self._links.values()):
            link.end(self._closing())

    # --- One link ---

    async def _keep_linked(self, peer: BrokerId, address: Address) -> None:
        pause_ms = REDIAL_MIN_MS
        while not self._closed:
            frames = await self._dial(address)
            try:
                link = await self._begin(frames, peer, partial(self._check, expected=peer))
                pause_ms = REDIAL_MIN_MS
                await self._carry(link)
            except OttlaError:
                pass  # the operator was told; the link is made again, or tried again
            finally:
                frames.close()
            await asyncio.sleep(pause_ms * (1 + self._draw()) / 2000)
            pause_ms = min(2 * pause_ms, REDIAL_MAX_MS)

    async def _begin(
        self, frames: Frames, expected: BrokerId | None, check: Callable[[Hello], None]
    ) -> QuorumLink:
        """Shake hands; the link that is returned is present and must be carried at once."""
        claimed = expected

        def note_claim_and_check(theirs: Hello) -> None:
            nonlocal claimed
            if expected is None:
                claimed = theirs.node_id
            check(theirs)

        try:
            theirs = await shake_hands(frames, self._hello(expected), note_claim_and_check)
            if self._closed:
                raise self._closing()
        except OttlaError as error:
            self._tell_not_made(claimed, error)
            raise
        link = QuorumLink(frames, peer=theirs, number=next(self._numbers))
        self._present(link)
        return link

    def _present(self, link: QuorumLink) -> None:
        peer = link.peer.node_id
        replaced = self._links.get(peer)
        self._links[peer] = link
        self._refused.pop(peer, None)
        self._told.pop(peer, None)
        emit(LINK_MADE, broker_id=peer, link=link.number)
        self._receiver.connected(peer, link.number)
        if replaced is None:
            self._tell_listeners()
        else:
            replaced.end(BrokerNotAvailableError(f"broker {peer} has made a new link"))

    async def _carry(self, link: QuorumLink) -> None:
        peer, number = link.peer.node_id, link.number
        reason = "the peer ended it"
        try:
            await link.run(lambda message: self._receiver.receive(peer, number, message))
        except OttlaError as error:
            reason = str(error)
            raise
        finally:
            self._receiver.disconnected(peer, number)
            if self._links.get(peer) is link:
                del self._links[peer]
                emit(LINK_ENDED, broker_id=peer, link=number, reason=reason)
                self._tell_listeners()

    # --- Who may have one ---

    def _hello(self, expected: BrokerId | None) -> Hello:
        identity = self._identity()
        return Hello(
            node_id=self._node_id,
            peer_id=expected,
            cluster_id=identity.cluster_id,
            voters=self._voters,
            directory_id=self._directory_id,
            incarnation_id=self._incarnation_id,
            known_directory_id=identity.voters.get(self._node_id, b""),
            metadata_offset=identity.metadata_offset,
        )

    def _check(self, theirs: Hello, expected: BrokerId | None = None) -> None:
        try:
            check_hello(theirs, ours=self._hello(expected), known=self._identity())
        except VoterLostDirectoryError as error:
            self._refused[theirs.node_id] = RefusedVoter(theirs.directory_id, str(error))
            raise

    def _check_caller(self, caller: BrokerId) -> None:
        if self._node_id not in self._voters or caller in self._dialled:
            raise InvalidRequestError(
                f"broker {caller} calls broker {self._node_id}, which is not to be called by it"
            )
        if caller not in self._links and len(self._links) >= BROKERS_MAX:
            raise ThrottlingQuotaExceededError(f"{BROKERS_MAX} brokers are linked already")

    def _closing(self) -> BrokerNotAvailableError:
        return BrokerNotAvailableError(f"broker {self._node_id} is stopping")

    # --- Who is told ---

    def _tell_listeners(self) -> None:
        present = self.present
        for listener in self._listeners:
            listener(present)

    def _tell_not_made(self, peer: BrokerId | None, error: OttlaError) -> None:
        """Tell the operator what is wrong with a peer, if that is news."""
        reason = str(error)
        if self._closed or self._told.get(peer) == reason:
            return
        if len(self._told) >= BROKERS_MAX:
            self._told.clear()
        self._told[peer] = reason
        event = LINK_NOT_MADE if isinstance(error, _PASSING) else LINK_REFUSED
        emit(event, broker_id=peer, code=error.name, reason=reason)
