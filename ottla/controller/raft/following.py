"""The follower's side: entries and snapshots from the leader.

Whoever sends entries or a snapshot in the present term *is* its leader; a second one would
break every promise, so it stops the node. A sender of an earlier term is told the present one.

Nothing here moves the commit index past what is known to agree with the leader: the end of
an accepted append, or the entry of an installed snapshot. In particular a part of a
snapshot says nothing about this node's own entries.

A snapshot is installed only if it brings something. If the log holds its last entry already,
the log stays as it is, with everything that follows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from ottla.controller.raft.append_rules import Accept, ConflictBelowCommit, Refuse, decide
from ottla.controller.raft.elections import Elections, Send
from ottla.controller.raft.fatal import Fatal
from ottla.controller.raft.journal import Journal
from ottla.controller.raft.messages import (
    AppendRequest,
    AppendResponse,
    SnapshotChunk,
    SnapshotResponse,
)
from ottla.controller.raft.snapshots import Snapshot, SnapshotId, SnapshotStore
from ottla.controller.raft.state import RaftState
from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId


class IncomingSnapshot:
    """The parts of one snapshot as they arrive; those of another one start it over."""

    def __init__(self, *, bytes_max: int) -> None:
        """Wait for the first part; refuse snapshots of more than ``bytes_max``."""
        self._bytes_max = bytes_max
        self._checksum = b""
        self._received = bytearray()

    @property
    def received_bytes(self) -> int:
        """How much of the present one has arrived."""
        return len(self._received)

    def add(self, chunk: SnapshotChunk) -> Snapshot | None:
        """Keep a part if it is the next one. Return the snapshot once it is whole and sound."""
        if chunk.total_bytes > self._bytes_max:
            self.drop()
            return None
        if chunk.checksum != self._checksum:
            self.drop()
            self._checksum = chunk.checksum
        if chunk.offset == len(self._received):
            self._received += chunk.data
        if len(self._received) < chunk.total_bytes:
            return None
        content = bytes(self._received)
        self.drop()
        try:
            snapshot = Snapshot.parse(content)
        except StorageError:
            return None  # damaged on its way: the leader sees that nothing has arrived
        is_as_announced = (
            snapshot.id == SnapshotId(chunk.index, chunk.index_term)
            and snapshot.checksum == chunk.checksum
        )
        return snapshot if is_as_announced else None

    def drop(self) -> None:
        """Forget what has arrived."""
        self._checksum = b""
        self._received = bytearray()


class Following:
    """What a node does when a leader speaks to it."""

    def __init__(
        self,
        raft: RaftState,
        journal: Journal,
        snapshots: SnapshotStore,
        elections: Elections,
        *,
        snapshot_bytes_max: int,
        restore: Callable[[Snapshot], None],
        send: Send,
        fatal: Fatal,
    ) -> None:
        """Make the rules for one node; ``restore`` hands a snapshot to the state machine."""
        self._raft = raft
        self._journal = journal
        self._snapshots = snapshots
        self._elections = elections
        self._restore = restore
        self._send = send
        self._fatal = fatal
        self._incoming = IncomingSnapshot(bytes_max=snapshot_bytes_max)

    # --- Entries ---

    def on_append(self, sender: BrokerId, request: AppendRequest) -> None:
        """Bring the log in line with the leader's and say how far it is."""
        if not self._is_from_the_leader(sender, request.term):
            return
        decision = decide(self._journal, request)
        match decision:
            case Accept():
                self._accept(decision)
                committed = min(request.commit_index, decision.agreed_index)
                if committed > self._journal.commit_index:
                    self._journal.set_commit_index(committed)
                self._answer(sender, accepted=True, next_index=decision.agreed_index + 1)
            case Refuse(next_index):
                self._answer(sender, accepted=False, next_index=next_index)
            case ConflictBelowCommit(index):
                self._fatal(
                    f"broker {sender}, leader of term {request.term}, contradicts entry {index}, "
                    f"which is committed here: {self._journal!r}"
                )
            case _:
                assert_never(decision)

    def _accept(self, decision: Accept) -> None:
        if decision.truncate_from is not None:
            self._journal.truncate(decision.truncate_from)
        for entry in decision.append:
            self._journal.append(entry)

    # --- Snapshots ---

    def on_chunk(self, sender: BrokerId, chunk: SnapshotChunk) -> None:
        """Collect a snapshot; install it when it is whole, unless the log holds it already."""
        if not self._is_from_the_leader(sender, chunk.term):
            return
        offered = SnapshotId(chunk.index, chunk.index_term)
        if not self._holds(offered):
            snapshot = self._incoming.add(chunk)
            if snapshot is None:
                self._answer_chunk(sender, chunk)
                return
            self._install(snapshot)
        elif offered.index > self._journal.commit_index:
            self._journal.set_commit_index(offered.index)
        self._answer(sender, accepted=True, next_index=self._journal.commit_index + 1)

    def _answer_chunk(self, leader: BrokerId, chunk: SnapshotChunk) -> None:
        response = SnapshotResponse(
            term=self._raft.term,
            checksum=chunk.checksum,
            received_bytes=self._incoming.received_bytes,
        )
        self._send(leader, response)

    def disconnected(self, peer: BrokerId) -> None:
        """Drop what the leader was sending; it starts over on a new link."""
        if peer == self._raft.leader:
            self._incoming.drop()

    def _holds(self, offered: SnapshotId) -> bool:
        """Whether the log contains that entry, or what is committed goes beyond it."""
        journal = self._journal
        if offered.index <= journal.commit_index:
            return True
        return (
            offered.index <= journal.last_index and journal.term_at(offered.index) == offered.term
        )

    def _install(self, snapshot: Snapshot) -> None:
        """Put the snapshot on the disk, then begin the log after it, then the state machine.

        A crash in between finds the snapshot ahead of the journal, and aligns the journal.
        """
        self._journal.sync()  # the journal's term must not be older than the snapshot's
        self._snapshots.install(snapshot)
        self._journal.restart_after(snapshot.id)
        self._restore(snapshot)

    # --- The leader ---

    def _is_from_the_leader(self, sender: BrokerId, term: int) -> bool:
        """Follow the sender if its term is not over; otherwise tell it."""
        raft = self._raft
        if sender not in raft.voters:
            return False
        if term < raft.term:
            self._answer(sender, accepted=False, next_index=self._journal.end_index)
            return False
        known = raft.leader if term == raft.term else None
        if known not in (None, sender):
            self._fatal(
                f"brokers {known} and {sender} both lead term {term}; two voters run "
                "with one id, or a voter lost its journal"
            )
        raft.follow(sender, term)
        self._elections.leader_heard()
        return True

    def _answer(self, leader: BrokerId, *, accepted: bool, next_index: int) -> None:
        response = AppendResponse(term=self._raft.term, accepted=accepted, next_index=next_index)
        self._send(leader, response)
