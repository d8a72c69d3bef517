"""How nodes of the quorum reach each other: the port, and its end for a quorum of one.

A *link* joins two nodes and carries messages both ways. Whoever implements it -- over gRPC,
or in a simulation -- promises:

1. **In order, at most once.** Messages of one direction of a link arrive in the order in
   which they were sent, without repetition. Gaps only where a link ends.
2. **A link ends as a whole.** If one direction breaks, both ends are told, each at its own
   time. What was sent and has not arrived is lost.
3. **Links are told apart.** Each end numbers its links with one peer; numbers rise. A new link
   replaces the old one, and :class:`Links` drops what still arrives from that.
4. **Sending neither waits nor raises.** The queue is bounded; a message that does not fit
   ends the link.
5. **The sender is who it says**: the peer's id comes from its certificate, not from its message,
   and both ends belong to one cluster with the same voters.
6. **What cannot be decoded ends the link.** Messages are checked where they are made.
7. Everything reaches the engine on the thread that runs it.

Messages leave through the :class:`Outbox`, which syncs the journal first: one fdatasync
for whatever a tick has to say. No other code sends.
"""

from __future__ import annotations

from typing import Protocol

from ottla.controller.raft.journal import Journal
from ottla.controller.raft.messages import Message
from ottla.model.ids import BrokerId
from ottla.model.limits import RAFT_OUTBOX_MESSAGES_MAX


class Transport(Protocol):
    """The sending half of a node's links; the receiving half calls the engine."""

    def send(self, peer: BrokerId, message: Message) -> None:
        """Queue a message on the peer's present link, or drop it if there is none.

        Neither waits nor raises. A message that does not fit into the queue ends the link, which
        is reported later like any other end.
        """


class Receiver(Protocol):
    """The receiving half: what a node is told of its links, on the thread that runs it."""

    def connected(self, peer: BrokerId, link: int) -> None:
        """Note that a link to a peer, voter or observer, has been made."""

    def disconnected(self, peer: BrokerId, link: int) -> None:
        """Note that a link has ended."""

    def receive(self, peer: BrokerId, link: int, message: Message) -> None:
        """Take a message that arrived on a link; one of an earlier link is dropped."""


class NoPeers:
    """The transport of a quorum of one voter without observers: it is never asked to send."""

    def send(self, peer: BrokerId, message: Message) -> None:
        """Fail: there is nobody to send to."""
        raise AssertionError(f"{message} for {peer}, which does not exist")


class Links:
    """The present link of each peer."""

    def __init__(self) -> None:
        """Know of no link."""
        self._present: dict[BrokerId, int] = {}

    def begin(self, peer: BrokerId, link: int) -> bool:
        """Note a new link; return whether it replaces one whose end was not reported."""
        replaces = peer in self._present
        assert link > self._present.get(peer, -1), f"link {link} of {peer} is not a new one"
        self._present[peer] = link
        return replaces

    def end(self, peer: BrokerId, link: int) -> bool:
        """Note the end of a link; return whether it was the present one."""
        if not self.is_present(peer, link):
            return False
        del self._present[peer]
        return True

    def is_present(self, peer: BrokerId, link: int) -> bool:
        """Whether messages of this link count."""
        return self._present.get(peer) == link


class Outbox:
    """Messages that wait until what they say is durable."""

    def __init__(self, transport: Transport, journal: Journal) -> None:
        """Send through ``transport`` what ``journal`` has made durable."""
        self._transport = transport
        self._journal = journal
        self._messages: list[tuple[BrokerId, Message]] = []

    def send(self, peer: BrokerId, message: Message) -> None:
        """Queue a message for the next :meth:`flush`, which is now if too many wait."""
        self._messages.append((peer, message))
        if len(self._messages) >= RAFT_OUTBOX_MESSAGES_MAX:
            self.flush()

    def flush(self) -> None:
        """Sync the journal, then send everything in order. Waits for the disk."""
        if not self._messages:
            return
        self._journal.sync()
        messages, self._messages = self._messages, []
        for peer, message in messages:
            self._transport.send(peer, message)
