"""The leader's side: which entries, or which part of a snapshot, each peer gets next.

Entries are pipelined: the next index of a peer moves when entries are *sent*, up to a number
of unacknowledged bytes, so that a slow peer fills neither its link's queue nor our memory::

            matched          window_start      next_index      end of the log
    ..........|.................|.................|.................|
      equal       known or hoped    under way         to be sent
                  to be equal       (bounded)

Acknowledgements move the window forward and never the next index back; only a refusal does, to
where the peer says that it stands. On a new link a peer is hoped to have everything, and refuses
if it does not. So nothing here relies on an answer that may have been lost: the next heartbeat
is answered as well.

A peer that needs what the log no longer has is sent the latest snapshot, one part at a
time, and entries from there on. A part without data stands in for the heartbeat meanwhile.

Only voters count for committing, which is pysyncobj's loop; observers get the same messages.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla.controller.raft.consensus import Role
from ottla.controller.raft.elections import Send
from ottla.controller.raft.journal import Journal
from ottla.controller.raft.messages import (
    AppendRequest,
    AppendResponse,
    SnapshotChunk,
    SnapshotResponse,
)
from ottla.controller.raft.settings import RaftSettings
from ottla.controller.raft.snapshots import Snapshot, SnapshotStore
from ottla.controller.raft.state import RaftState
from ottla.model.ids import BrokerId


@dataclass(slots=True)
class Transfer:
    """A snapshot on its way to one peer. One part at a time is under way."""

    snapshot: Snapshot
    acknowledged_bytes: int = 0


@dataclass(slots=True)
class Progress:
    """Where one peer is."""

    next_index: int
    """The next entry to send."""
    window_start: int
    """The first entry that counts as under way."""
    transfer: Transfer | None = None
    """Set while the peer gets a snapshot; then no entries are sent."""

    def restart_at(self, index: int) -> None:
        """Take nothing as under way any more."""
        self.next_index = self.window_start = index


class Leading:
    """What a leader sends, and what it makes of the answers."""

    def __init__(
        self,
        raft: RaftState,
        journal: Journal,
        snapshots: SnapshotStore,
        *,
        settings: RaftSettings,
        send: Send,
    ) -> None:
        """Make the rules for one node; nothing is sent before :meth:`begin`."""
        self._raft = raft
        self._journal = journal
        self._snapshots = snapshots
        self._settings = settings
        self._send = send
        self._peers: dict[BrokerId, Progress] = {}

    def begin(self) -> None:
        """Start a leadership: every peer is hoped to have our whole log."""
        self._peers = {peer: self._hopeful() for peer in self._raft.connected}

    def connected(self, peer: BrokerId) -> None:
        """Start over with a peer on a new link; it refuses if something was lost with the old."""
        self._peers[peer] = self._hopeful()

    def disconnected(self, peer: BrokerId) -> None:
        """Forget what is under way to a peer."""
        self._peers.pop(peer, None)

    def send_heartbeats(self) -> None:
        """Send every peer one message at least: what it lacks, or the mere fact that we lead."""
        for peer in self._raft.connected:
            if not self._send_what_it_lacks(peer, self._peers[peer]):
                self._send_heartbeat(peer, self._peers[peer])

    def send_entries(self) -> None:
        """Send what peers lack, as far as their windows allow."""
        for peer in self._raft.connected:
            self._send_what_it_lacks(peer, self._peers[peer])

    # --- Answers ---

    def on_append_response(self, peer: BrokerId, response: AppendResponse) -> None:
        """Learn how far a peer agrees, or that our term is over."""
        progress = self._progress_in(peer, response.term)
        if progress is None:
            return
        raft = self._raft
        next_index = min(response.next_index, self._journal.end_index)
        if response.accepted:
            progress.transfer = None
            raft.set_matched(peer, max(raft.matched(peer), next_index - 1))
            progress.window_start = max(progress.window_start, next_index)
            progress.next_index = max(progress.next_index, next_index)
        elif progress.transfer is None:
            # A peer without entries that it once had does not count for them any more.
            raft.set_matched(peer, min(raft.matched(peer), next_index - 1))
            progress.restart_at(next_index)

    def on_snapshot_response(self, peer: BrokerId, response: SnapshotResponse) -> None:
        """Learn how much of a snapshot has arrived, and send the next part."""
        progress = self._progress_in(peer, response.term)
        if progress is None or progress.transfer is None:
            return
        transfer = progress.transfer
        if response.checksum != transfer.snapshot.checksum:
            return
        # Heartbeats are answered as well: an answer that tells nothing new must not send a part
        # again. One that tells something else may be of a peer that got a part of the same
        # snapshot from the leader before us, or that found it damaged and dropped it.
        if response.received_bytes == transfer.acknowledged_bytes:
            return
        if response.received_bytes <= len(transfer.snapshot.content):
            transfer.acknowledged_bytes = response.received_bytes
            self._send_part(peer, transfer)

    def _progress_in(self, peer: BrokerId, term: int) -> Progress | None:
        """Return the peer's progress if its answer is of this leadership."""
        raft = self._raft
        if term > raft.term:
            raft.adopt_term(term)
        if raft.role is not Role.LEADER or term != raft.term or peer not in self._peers:
            return None
        raft.heard_from(peer)
        return self._peers[peer]

    # --- Sending ---

    def _hopeful(self) -> Progress:
        return Progress(self._journal.end_index, self._journal.end_index)

    def _send_what_it_lacks(self, peer: BrokerId, progress: Progress) -> bool:
        """Send entries, or begin a snapshot. Return whether anything was sent."""
        sent = False
        while progress.transfer is None and progress.next_index < self._journal.end_index:
            if progress.next_index <= self._journal.base_index:
                self._begin_transfer(peer, progress)
                return True
            under_way = self._bytes_under_way(progress)
            if under_way and under_way + self._next_bytes(progress) > (
                self._settings.in_flight_bytes_max
            ):
                break
            self._send_append(peer, progress)
            sent = True
        return sent

    def _bytes_under_way(self, progress: Progress) -> int:
        start = max(progress.window_start, self._journal.base_index + 1)
        return self._journal.bytes_between(start, progress.next_index)

    def _next_bytes(self, progress: Progress) -> int:
        return self._journal.bytes_between(progress.next_index, progress.next_index + 1)

    def _send_append(self, peer: BrokerId, progress: Progress) -> None:
        start = progress.next_index
        entries = self._journal.batch(start, bytes_max=self._settings.append_bytes_max)
        progress.next_index = start + len(entries)
        request = AppendRequest(
            term=self._raft.term,
            previous_index=start - 1,
            previous_term=self._journal.term_at(start - 1),
            entries=entries,
            commit_index=self._journal.commit_index,
        )
        self._send(peer, request)

    def _send_heartbeat(self, peer: BrokerId, progress: Progress) -> None:
        if progress.transfer is not None:
            self._send(peer, self._part(progress.transfer, b""))
            return
        index = max(progress.next_index - 1, self._journal.base_index)
        request = AppendRequest(
            term=self._raft.term,
            previous_index=index,
            previous_term=self._journal.term_at(index),
            entries=(),
            commit_index=self._journal.commit_index,
        )
        self._send(peer, request)

    def _begin_transfer(self, peer: BrokerId, progress: Progress) -> None:
        progress.transfer = Transfer(self._shared_snapshot())
        self._send_part(peer, progress.transfer)

    def _shared_snapshot(self) -> Snapshot:
        """Return the latest snapshot, read once however many peers are sent it."""
        for progress in self._peers.values():
            transfer = progress.transfer
            if transfer is not None and transfer.snapshot.id == self._snapshots.latest:
                return transfer.snapshot
        return self._snapshots.load_to_serve()

    def _send_part(self, peer: BrokerId, transfer: Transfer) -> None:
        start = transfer.acknowledged_bytes
        data = transfer.snapshot.content[start : start + self._settings.snapshot_chunk_bytes]
        self._send(peer, self._part(transfer, data))

    def _part(self, transfer: Transfer, data: bytes) -> SnapshotChunk:
        snapshot = transfer.snapshot
        return SnapshotChunk(
            term=self._raft.term,
            index=snapshot.id.index,
            index_term=snapshot.id.term,
            checksum=snapshot.checksum,
            offset=transfer.acknowledged_bytes,
            total_bytes=len(snapshot.content),
            data=data,
        )
