"""pysyncobj's ``SyncObj`` with the parts replaced that could lose or invent entries.

What stays is its frame: the tick with the election timer, the candidate's step, becoming
leader with an empty entry, the leader's commit loop over a majority (entries of its own
term only), and giving up leadership without a majority. Everything else that matters is
overridden, through the mangled names by which pysyncobj calls its own private methods:

================================ ================================================================
``__onMessageReceived``          never called: :mod:`elections`, :mod:`following`, :mod:`leading`
``__sendAppendEntries``          :mod:`leading`: bounded windows, no split entries, no busy loop
``__applyLogEntries``            durable first; counted at once; a failing state machine stops us
``__doApplyCommand``             never called: commands are bytes, there are no code versions
``__tryLogCompaction``           snapshots by size; the log is cut only after they are durable
``__loadDumpFile``               never called: snapshots are loaded before the node exists
``__generateRaftTimeout``        randomness is handed in
``__onReadonlyNodeDisconnected`` keeps no state of observers that left
``_checkCommandsToApply``        proposals are appended when they are made, never forwarded
``_applyCommand``                never called, for the same reason
================================ ================================================================

The order of one tick is pysyncobj's: campaign, commit, apply, send, compact.

This class also is :class:`ottla.controller.raft.state.RaftState` for the modules that hold the
rules: the fields are pysyncobj's, and here is the only place that names them.
"""
# Overrides bear pysyncobj's names, and mangled ones at that.
# ruff: noqa: N802

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NoReturn, Protocol

from pysyncobj.config import SyncObjConf
from pysyncobj.node import Node
from pysyncobj.transport import Transport as StockTransport

from ottla.controller.raft.compaction import Compaction
from ottla.controller.raft.consensus import Role
from ottla.controller.raft.elections import Elections, Send, is_majority
from ottla.controller.raft.fatal import Fatal
from ottla.controller.raft.following import Following
from ottla.controller.raft.journal import Journal
from ottla.controller.raft.leading import Leading
from ottla.controller.raft.messages import Entry
from ottla.controller.raft.settings import RaftSettings
from ottla.controller.raft.snapshots import Snapshot, SnapshotStore
from ottla.controller.raft.stock import RefusedError, SyncObj
from ottla.model.ids import BrokerId
from ottla.runtime.clock import Clock

_ROLES = (Role.FOLLOWER, Role.CANDIDATE, Role.LEADER)
_Row = tuple[bytes, int, int]
_FOLLOWER, _LEADER = _ROLES.index(Role.FOLLOWER), _ROLES.index(Role.LEADER)


class Application(Protocol):
    """What is replicated on top of this node."""

    def apply(self, entry: Entry) -> None:
        """Apply an entry that is committed and durable here. Does not raise."""

    def snapshot(self) -> bytes:
        """Return the state as of the last applied entry. Does not raise."""

    def restore(self, snapshot: Snapshot) -> None:
        """Replace the state. Does not raise."""

    def leadership_lost(self) -> None:
        """Learn that entries of this node's leadership may now be replaced by others."""


class HardenedSyncObj(SyncObj):  # type: ignore[misc]  # pysyncobj has no types
    """One node of the quorum, with pysyncobj's tick and our rules."""

    def __init__(
        self,
        *,
        node_id: BrokerId,
        voters: frozenset[BrokerId],
        settings: RaftSettings,
        journal: Journal,
        snapshots: SnapshotStore,
        application: Application,
        applied_index: int,
        clock: Clock,
        draw: Callable[[], float],
        send: Send,
        fatal: Fatal,
    ) -> None:
        """Make a node whose log is ``journal`` and whose application has ``applied_index``.

        Call within :func:`ottla.controller.raft.stock.running_by`, as everything else here.
        """
        self._node_id = node_id
        self._voters = voters
        self._settings = settings
        self._journal = journal
        self._application = application
        self._clock = clock
        self._draw = draw
        self._nodes = {voter: Node(voter) for voter in voters}
        lease_ms = settings.election_timeout_min_ms
        self.elections = Elections(self, journal, leader_lease_ms=lease_ms, send=send)
        self.leading = Leading(self, journal, snapshots, settings=settings, send=send)
        self.following = Following(
            self,
            journal,
            snapshots,
            self.elections,
            snapshot_bytes_max=settings.snapshot_bytes_max,
            restore=self._restore,
            send=send,
            fatal=fatal,
        )
        self.compaction = Compaction(
            journal,
            snapshots,
            settings=settings,
            take_snapshot=application.snapshot,
            fatal=fatal,
        )
        super().__init__(
            self._nodes.get(node_id),
            [node for voter, node in self._nodes.items() if voter != node_id],
            conf=_configuration(settings, StockJournal(journal), self._role_changed),
            nodeClass=Node,
            transport=_CandidatesVoice(self),
        )
        self._poller = _NoPoller()
        self._SyncObj__needLoadDumpFile = False
        self._SyncObj__raftLastApplied = applied_index
        if len(voters) == 1:
            self.expire_election_timer()

    # --- RaftState: terms and roles ---

    @property
    def node_id(self) -> BrokerId:
        """This node."""
        return self._node_id

    @property
    def voters(self) -> frozenset[BrokerId]:
        """All voters."""
        return self._voters

    @property
    def connected(self) -> Sequence[BrokerId]:
        """The peers that can be sent to, in order."""
        return sorted(node.id for node in self._SyncObj__connectedNodes)

    @property
    def role(self) -> Role:
        """What this node is in the present term."""
        return _ROLES[self._SyncObj__raftState] if self._is_voter() else Role.OBSERVER

    @property
    def term(self) -> int:
        """The latest term seen."""
        return self._journal.term

    @property
    def leader(self) -> BrokerId | None:
        """The leader of the present term, as soon as it is known."""
        node = self._SyncObj__raftLeader
        return None if node is None else BrokerId(node.id)

    def now_ms(self) -> int:
        """Return monotonic milliseconds."""
        return self._clock.now_ms()

    def adopt_term(self, term: int) -> None:
        """Enter a later term as a follower of nobody yet."""
        assert term > self.term
        self._SyncObj__setCurrentTerm(term, None)
        self._SyncObj__raftLeader = None
        self._SyncObj__setState(_FOLLOWER)

    def vote_for(self, candidate: BrokerId) -> None:
        """Give this term's vote away."""
        self._SyncObj__setCurrentTerm(self.term, candidate)

    def follow(self, leader: BrokerId, term: int) -> None:
        """Follow the leader of ``term``."""
        if term > self.term:
            self.adopt_term(term)
        assert term == self.term
        self._SyncObj__raftLeader = self._nodes[leader]
        self._SyncObj__setState(_FOLLOWER)
        self.restart_election_timer()

    def become_leader(self) -> None:
        """Lead the present term, and append its first entry."""
        self._SyncObj__onBecomeLeader()

    # --- RaftState: the election timer ---

    @property
    def election_due(self) -> bool:
        """Whether the timer has run out and there is anybody to ask."""
        expired: bool = self._SyncObj__raftElectionDeadline < self.now_ms() / 1000
        return expired and bool(self._SyncObj__connectedToAnyone())

    def restart_election_timer(self) -> None:
        """Let it run for a random time again."""
        timeout = self._SyncObj__generateRaftTimeout()
        self._SyncObj__raftElectionDeadline = self.now_ms() / 1000 + timeout

    def expire_election_timer(self) -> None:
        """Make this node a candidate at its next tick."""
        self._SyncObj__raftElectionDeadline = float("-inf")

    def bring_election_forward(self) -> None:
        """Let it run out at random within the campaign delay, unless it does so earlier."""
        soon = self.now_ms() / 1000 + self._campaign_delay() * self._draw()
        self._SyncObj__raftElectionDeadline = min(self._SyncObj__raftElectionDeadline, soon)

    def hold_election_back(self) -> None:
        """Let it run for one to two campaign delays at least."""
        later = self.now_ms() / 1000 + self._campaign_delay() * (1 + self._draw())
        self._SyncObj__raftElectionDeadline = max(self._SyncObj__raftElectionDeadline, later)

    # --- RaftState: peers ---

    def matched(self, peer: BrokerId) -> int:
        """Return the last entry up to which the peer's log is known to equal ours."""
        index: int = self._SyncObj__raftMatchIndex.get(self._node(peer), 0)
        return index

    def set_matched(self, peer: BrokerId, index: int) -> None:
        """Remember it."""
        self._SyncObj__raftMatchIndex[self._node(peer)] = index

    def heard_from(self, peer: BrokerId) -> None:
        """Note that the peer answered just now, in this term."""
        self._SyncObj__lastResponseTime[self._node(peer)] = self.now_ms() / 1000

    def majority_heard_within(self, milliseconds: int) -> bool:
        """Whether a majority answered so recently."""
        since = (self.now_ms() - milliseconds) / 1000
        heard = self._SyncObj__lastResponseTime
        recent = [peer for peer in self._voters if heard.get(self._node(peer), since) > since]
        return is_majority(1 + len(recent), len(self._voters))

    # --- For the engine ---

    @property
    def applied_index(self) -> int:
        """The last entry that was applied here."""
        index: int = self._SyncObj__raftLastApplied
        return index

    def tick_once(self) -> None:
        """Campaign if it is time, commit, apply, send, compact."""
        self.elections.campaign_if_due()
        self._take_over_commit_index()
        self._onTick(0.0)

    def peer_connected(self, peer: BrokerId) -> None:
        """Begin to send to a peer."""
        if peer in self._voters:
            self._SyncObj__onNodeConnected(self._nodes[peer])
        else:
            self._nodes[peer] = Node(peer)
            self._SyncObj__onReadonlyNodeConnected(self._nodes[peer])
        self.leading.connected(peer)
        self.elections.connected()

    def peer_disconnected(self, peer: BrokerId) -> None:
        """Stop sending to a peer."""
        if peer in self._voters:
            self._SyncObj__onNodeDisconnected(self._nodes[peer])
        else:
            self._SyncObj__onReadonlyNodeDisconnected(self._nodes.pop(peer))
        self.leading.disconnected(peer)
        self.following.disconnected(peer)
        self.elections.disconnected(peer)

    # --- Overrides ---

    def _SyncObj__sendAppendEntries(self) -> None:
        interval = self._settings.heartbeat_interval_ms / 1000
        self._SyncObj__newAppendEntriesTime = self.now_ms() / 1000 + interval
        self.leading.send_heartbeats()

    def _checkCommandsToApply(self) -> None:
        if self.role is Role.LEADER:
            self.leading.send_entries()

    def _SyncObj__applyLogEntries(self) -> bool:
        """Apply what is committed; return whether there was anything, for peers to hear of it."""
        start, end = self.applied_index + 1, self._SyncObj__raftCommitIndex + 1
        if start == end:
            return False
        self._journal.sync()
        for entry in self._journal.entries(start, end):
            self._application.apply(entry)
            self._SyncObj__raftLastApplied = entry.index
        return True

    def _SyncObj__tryLogCompaction(self) -> None:
        self.compaction.run(self.applied_index)

    def _SyncObj__generateRaftTimeout(self) -> float:
        shortest = self._settings.election_timeout_min_ms
        longest = self._settings.election_timeout_max_ms
        return (shortest + (longest - shortest) * self._draw()) / 1000

    def _SyncObj__onReadonlyNodeDisconnected(self, node: Node) -> None:
        super()._SyncObj__onReadonlyNodeDisconnected(node)
        self._SyncObj__lastResponseTime.pop(node, None)

    def _SyncObj__onMessageReceived(self, *_arguments: object) -> NoReturn:
        raise RefusedError("messages are handled by our rules")

    def _SyncObj__doApplyCommand(self, *_arguments: object) -> NoReturn:
        raise RefusedError("entries are applied by our loop")

    def _SyncObj__loadDumpFile(self, *_arguments: object, **_options: object) -> NoReturn:
        raise RefusedError("snapshots are loaded by our store")

    def _applyCommand(self, *_arguments: object) -> NoReturn:
        raise RefusedError("commands are appended by the engine")

    # --- Inside ---

    def _campaign_delay(self) -> float:
        return self._settings.campaign_delay_max_ms / 1000

    def _is_voter(self) -> bool:
        return self._node_id in self._voters

    def _node(self, peer: BrokerId) -> Node:
        return self._nodes[peer]

    def _restore(self, snapshot: Snapshot) -> None:
        self._application.restore(snapshot)
        self._SyncObj__raftLastApplied = snapshot.id.index
        self._take_over_commit_index()

    def _take_over_commit_index(self) -> None:
        """Let pysyncobj see how far the follower's rules have committed."""
        self._SyncObj__raftCommitIndex = self._journal.commit_index

    def _role_changed(self, old: int, new: int) -> None:
        if new == _LEADER:
            self.leading.begin()
        if old == _LEADER:
            self.restart_election_timer()
            self._application.leadership_lost()


class StockJournal:
    """Our journal under pysyncobj's names; positions count from the base."""

    def __init__(self, journal: Journal) -> None:
        """Show ``journal``."""
        self._journal = journal

    def __len__(self) -> int:
        return len(self._journal.rows())

    def __getitem__(self, position: int | slice) -> _Row | list[_Row]:
        rows = self._journal.rows()
        if isinstance(position, slice):
            return [(row.command, row.index, row.term) for row in rows[position]]
        row = rows[position]
        return row.command, row.index, row.term

    def add(self, command: bytes, index: int, term: int) -> None:
        """Append an entry: the empty one of a new leader."""
        self._journal.append(Entry(command, index, term))

    def setCurrentTerm(self, term: int, voted_for: BrokerId | None) -> None:
        """Enter a term, or vote in it."""
        self._journal.set_term(term, voted_for)

    def getCurrentTerm(self) -> int:
        """Return the term."""
        return self._journal.term

    def getVotedForNodeId(self) -> BrokerId | None:
        """Return whose the vote is."""
        return self._journal.voted_for

    def setRaftCommitIndex(self, index: int) -> None:
        """Remember how far the leader's loop has committed."""
        self._journal.set_commit_index(index)

    def getRaftCommitIndex(self) -> int:
        """Return how far the log is committed."""
        return self._journal.commit_index

    def onOneSecondTimer(self) -> None:
        """Do nothing: what must be durable does not wait for a timer."""


class _CandidatesVoice(StockTransport):  # type: ignore[misc]  # pysyncobj has no types
    """Where pysyncobj's own sends arrive: only a candidate's requests, one for each voter."""

    def __init__(self, raft: HardenedSyncObj) -> None:
        super().__init__(None, None, None)
        self._raft = raft

    def send(self, node: Node, message: dict[str, object]) -> bool:
        """Request one vote."""
        if message["type"] != "request_vote":
            raise RefusedError(f"pysyncobj sends {message['type']}")
        self._raft.elections.request_vote(BrokerId(node.id))
        return True


class _NoPoller:
    """pysyncobj polls its sockets at the end of a tick; it has none."""

    def poll(self, _timeout: float) -> None:
        """Return at once."""


def _configuration(
    settings: RaftSettings, journal: StockJournal, role_changed: Callable[[int, int], None]
) -> SyncObjConf:
    return SyncObjConf(
        autoTick=False,
        appendEntriesUseBatch=True,
        commandsWaitLeader=False,
        dynamicMembershipChange=False,
        useFork=False,
        password=None,
        raftMinTimeout=settings.election_timeout_min_ms / 1000,
        raftMaxTimeout=settings.election_timeout_max_ms / 1000,
        connectionTimeout=settings.election_timeout_max_ms / 1000,
        appendEntriesPeriod=settings.heartbeat_interval_ms / 1000,
        leaderFallbackTimeout=settings.election_timeout_min_ms / 1000,
        journalFile=journal,
        onStateChanged=role_changed,
    )
