"""A node of the quorum: the :class:`Consensus` that the broker runs.

Theory of operation
-------------------
One thread drives the engine. It hands in what has arrived (:meth:`RaftEngine.receive`), what is
to be replicated (:meth:`RaftEngine.propose`) and which peers come and go, and then calls
:meth:`RaftEngine.tick`, at least every 40 ms. Handing in only takes note. The tick does the
work, so that everything which piled up shares one fdatasync::

    receive, propose, connected ...        memory only
    tick:  campaign, commit
           sync the journal, apply         before anybody sees an effect
           send what must be said          after the same sync
           call back                       at rest: callbacks may propose

A callback that proposes makes the tick start over, a few times at most; so a quorum of one
voter elects itself, and commits what is proposed because of that, in its first tick.

Leadership
----------
``RoleChanged`` tells a belief. It counts from the moment that an entry which this node proposed
in that term is applied here: only then has a majority agreed, and everything before it been
applied. When leadership ends, every proposal without an outcome is answered ``UNKNOWN``.

The end of a node
-----------------
Where going on could break a promise (:mod:`ottla.controller.raft.fatal`) the node stops. An
exception from a callback is passed to the caller of ``tick`` and leaves the engine as it was.

Below: :mod:`hardened` (the node, on pysyncobj), :mod:`elections`, :mod:`following`,
:mod:`leading` (the rules), :mod:`journal`, :mod:`snapshots`, :mod:`compaction` (the disk),
:mod:`transport`, :mod:`messages` (the network).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, assert_never

from ottla.controller.raft.consensus import (
    Answered,
    ReplicatedStateMachine,
    Role,
    RoleChanged,
)
from ottla.controller.raft.fatal import Fatal, raise_node_stopped, stop_on_any_error
from ottla.controller.raft.hardened import HardenedSyncObj
from ottla.controller.raft.journal import FIRST_BASE, Journal
from ottla.controller.raft.messages import (
    NO_OPERATION,
    PROPOSED,
    AppendRequest,
    AppendResponse,
    Entry,
    Message,
    SnapshotChunk,
    SnapshotResponse,
    VoteRequest,
    VoteResponse,
)
from ottla.controller.raft.proposals import Proposals
from ottla.controller.raft.settings import RaftSettings
from ottla.controller.raft.snapshots import (
    RunInBackground,
    Snapshot,
    SnapshotStore,
    run_at_once,
)
from ottla.controller.raft.stock import running_by
from ottla.controller.raft.transport import Links, Outbox, Transport
from ottla.model.errors import (
    MessageTooLargeError,
    NotControllerError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import BrokerId, MetadataOffset
from ottla.model.limits import RAFT_TICK_PASSES_MAX
from ottla.runtime.clock import Clock
from ottla.runtime.files import FileSystem

JOURNAL_FILE = "journal"
SNAPSHOT_DIRECTORY = "snapshots"


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftStatistics:
    """One node at one moment."""

    role: Role
    term: int
    leader: BrokerId | None
    base_index: int
    """The last entry before the log in memory; a snapshot contains it."""
    last_index: int
    commit_index: int
    applied_index: int
    snapshot_index: int
    """The last entry in the newest durable snapshot; 0 without one."""
    proposals_waiting: int
    syncs: int
    """How often the journal was made durable since the start."""


class _ReplicatedApplication:
    """Hands committed entries to the state machine and outcomes to the proposers."""

    def __init__(self, machine: ReplicatedStateMachine, proposals: Proposals, fatal: Fatal) -> None:
        self._machine = machine
        self._proposals = proposals
        self._fatal = fatal

    def apply(self, entry: Entry) -> None:
        index = MetadataOffset(entry.index)
        answer = b""
        if entry.command[:1] == PROPOSED:
            with stop_on_any_error(self._fatal, f"applying entry {index}"):
                answer = self._machine.apply(index, entry.command[1:])
        elif entry.command != NO_OPERATION:
            self._fatal(
                f"entry {index} is of kind {entry.command[0]}, which this version does not know; "
                "start the version that wrote it"
            )
        self._proposals.applied(entry.index, entry.term, answer)

    def snapshot(self) -> bytes:
        with stop_on_any_error(self._fatal, "taking a snapshot"):
            return self._machine.snapshot()

    def restore(self, snapshot: Snapshot) -> None:
        with stop_on_any_error(self._fatal, f"restoring the snapshot of {snapshot.id.index}"):
            self._machine.restore(MetadataOffset(snapshot.id.index), snapshot.state)

    def leadership_lost(self) -> None:
        self._proposals.abandon()


class RaftEngine:
    """One node of the quorum, on pysyncobj. Implements :class:`Consensus`. One thread only."""

    def __init__(
        self,
        *,
        node_id: BrokerId,
        voters: frozenset[BrokerId],
        directory: Path,
        machine: ReplicatedStateMachine,
        file_system: FileSystem,
        clock: Clock,
        draw: Callable[[], float],
        transport: Transport,
        run_in_background: RunInBackground = run_at_once,
        role_changed: Callable[[RoleChanged], None] | None = None,
        fatal: Fatal = raise_node_stopped,
        settings: RaftSettings | None = None,
    ) -> None:
        """Open the node whose files are in ``directory``; nothing happens before :meth:`tick`.

        A node that is not among ``voters`` is an observer. ``draw`` gives random numbers in
        [0, 1). ``run_in_background`` runs a job that waits for the disk, on a thread of its own
        if the state machine is large. ``role_changed`` is told by :meth:`tick` whenever role, term
        or leader are others than it was told last.

        Waits for the disk. Raises :exc:`StorageError` if what is there is damaged, and
        :exc:`OSError` if it cannot be read.
        """
        assert voters, "a quorum has a voter"
        self._settings = settings or RaftSettings()
        self._clock = clock
        self._fatal = fatal
        self._role_changed = role_changed
        self._reason_stopped: str | None = None
        self._links = Links()
        self._proposals = Proposals()
        application = _ReplicatedApplication(machine, self._proposals, self._stop)
        file_system.make_directory(directory)
        file_system.sync_directory(directory.parent)
        self._snapshots = SnapshotStore(
            directory / SNAPSHOT_DIRECTORY,
            file_system=file_system,
            run_in_background=run_in_background,
            fatal=self._stop,
        )
        snapshot = self._snapshots.load()
        self._journal = Journal.open(
            directory / JOURNAL_FILE,
            file_system=file_system,
            snapshot=self._snapshots.latest,
            fatal=self._stop,
        )
        if snapshot is not None:
            application.restore(snapshot)
        self._outbox = Outbox(transport, self._journal)
        with running_by(clock):
            self._node = HardenedSyncObj(
                node_id=node_id,
                voters=voters,
                settings=self._settings,
                journal=self._journal,
                snapshots=self._snapshots,
                application=application,
                applied_index=(snapshot.id if snapshot else FIRST_BASE).index,
                clock=clock,
                draw=draw,
                send=self._outbox.send,
                fatal=self._stop,
            )
        self._told = self._belief()
        self._ticking = False

    # --- Consensus ---

    @property
    def role(self) -> Role:
        """What this node believes to be."""
        return self._node.role

    @property
    def term(self) -> int:
        """The latest term this node has seen."""
        return self._journal.term

    @property
    def leader(self) -> BrokerId | None:
        """Whom this node believes to lead; nobody, once the leader has not been heard from."""
        leader = self._node.leader
        if leader == self._node.node_id or self._node.elections.leader_is_heard:
            return leader
        return None

    @property
    def applied_index(self) -> MetadataOffset:
        """The last entry handed to the state machine."""
        return MetadataOffset(self._node.applied_index)

    def propose(self, entry: bytes, answered: Answered) -> None:
        """Append ``entry`` if this node leads. ``answered`` is called by a tick or by close."""
        self._check_running()
        if self.role is not Role.LEADER:
            self._proposals.refuse(answered, NotControllerError)
        elif len(entry) > self._settings.entry_bytes_max:
            self._proposals.refuse(answered, MessageTooLargeError)
        elif not self._has_room_for(len(entry)):
            self._proposals.refuse(answered, ThrottlingQuotaExceededError)
        else:
            index = self._append(PROPOSED + entry)
            self._proposals.wait_for(index, self.term, answered, size_bytes=len(entry))

    def barrier(self, answered: Answered) -> None:
        """Answer ``APPLIED`` once everything committed before the call is applied here."""
        self._check_running()
        if self.role is not Role.LEADER:
            self._proposals.refuse(answered, NotControllerError)
        elif not self._has_room_for(0):
            self._proposals.refuse(answered, ThrottlingQuotaExceededError)
        else:
            # Any entry that nobody can have acknowledged yet will do, and what is not durable
            # here has not been sent.
            index = self._journal.last_index
            if index < self._journal.durable_end_index:
                index = self._append(NO_OPERATION)
            self._proposals.wait_for(index, self.term, answered, size_bytes=0)

    def tick(self) -> None:
        """Do what is to be done by now, then call back. Waits for the disk."""
        assert not self._ticking, "a callback must not tick"
        self._ticking = True
        try:
            for _ in range(RAFT_TICK_PASSES_MAX):
                with self._running():
                    self._node.tick_once()
                    self._outbox.flush()
                end_index = self._journal.end_index
                self._tell()
                nothing_proposed = self._journal.end_index == end_index
                if nothing_proposed or self._reason_stopped is not None:
                    break
        finally:
            self._ticking = False

    def close(self) -> None:
        """Answer what is outstanding with ``UNKNOWN``, sync the journal and let go of the files.

        Also to be called after the node has stopped, or a call has failed; then nothing is written.
        """
        was_running = self._reason_stopped is None
        self._reason_stopped = self._reason_stopped or "closed"
        self._proposals.abandon()
        try:
            if was_running:
                self._journal.close()
        finally:
            self._journal.let_go()
            self._proposals.tell()

    # --- Peers ---

    def connected(self, peer: BrokerId, link: int) -> None:
        """Note that a link to a peer, voter or observer, has been made; see :mod:`transport`."""
        self._check_running()
        if self._links.begin(peer, link):
            self._node.peer_disconnected(peer)
        self._node.peer_connected(peer)

    def disconnected(self, peer: BrokerId, link: int) -> None:
        """Note that a link has ended."""
        self._check_running()
        if self._links.end(peer, link):
            self._node.peer_disconnected(peer)

    def receive(self, peer: BrokerId, link: int, message: Message) -> None:
        """Take a message that arrived on a link; one of an earlier link is dropped."""
        self._check_running()
        if not self._links.is_present(peer, link):
            return
        node = self._node
        with self._running():
            match message:
                case AppendRequest():
                    node.following.on_append(peer, message)
                case AppendResponse():
                    node.leading.on_append_response(peer, message)
                case SnapshotChunk():
                    node.following.on_chunk(peer, message)
                case SnapshotResponse():
                    node.leading.on_snapshot_response(peer, message)
                case VoteRequest():
                    node.elections.on_vote_request(peer, message)
                case VoteResponse():
                    node.elections.on_vote_response(peer, message)
                case _:
                    assert_never(message)

    # --- Operation ---

    def begin_snapshot(self) -> None:
        """Begin to write a snapshot now, whatever the size of the log."""
        self._check_running()
        self._node.compaction.begin(self._node.applied_index)

    def statistics(self) -> RaftStatistics:
        """Return where this node is."""
        latest = self._snapshots.latest
        return RaftStatistics(
            role=self.role,
            term=self.term,
            leader=self.leader,
            base_index=self._journal.base_index,
            last_index=self._journal.last_index,
            commit_index=self._journal.commit_index,
            applied_index=self._node.applied_index,
            snapshot_index=0 if latest is None else latest.index,
            proposals_waiting=self._proposals.count,
            syncs=self._journal.syncs,
        )

    def __repr__(self) -> str:
        return (
            f"<RaftEngine {self._node.node_id} {self.role.value} of {self.leader} in term "
            f"{self.term}, applied {self.applied_index}, {self._journal!r}>"
        )

    # --- Inside ---

    def _has_room_for(self, size_bytes: int) -> bool:
        proposals, settings = self._proposals, self._settings
        return (
            proposals.count < settings.proposals_max
            and proposals.size_bytes + size_bytes <= settings.proposed_bytes_max
        )

    def _append(self, command: bytes) -> int:
        index = self._journal.end_index
        self._journal.append(Entry(command, index, self.term))
        return index

    def _belief(self) -> RoleChanged:
        return RoleChanged(self.role, self.term, self.leader)

    def _tell(self) -> None:
        belief = self._belief()
        if belief != self._told:
            self._told = belief
            if self._role_changed is not None:
                self._role_changed(belief)
        self._proposals.tell()

    def _stop(self, reason: str) -> NoReturn:
        self._reason_stopped = reason
        self._fatal(reason)

    @contextmanager
    def _running(self) -> Iterator[None]:
        """Run the node by its clock; if that raises, it is in no state to be run again."""
        self._check_running()
        finished = False
        try:
            with running_by(self._clock):
                yield
            finished = True
        finally:
            if not finished and self._reason_stopped is None:
                self._reason_stopped = "an earlier call has failed"

    def _check_running(self) -> None:
        assert self._reason_stopped is None, f"the node has stopped: {self._reason_stopped}"
