"""Unmodified pysyncobj in the same world as the hardened engine, to show that the world bites.

Its time and randomness are virtual, and its journal survives every crash whole, which is more
than the real one promises; snapshots go to real files, as that is built in. Nothing else of
it is touched.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from random import Random
from typing import Any

from pysyncobj.config import FAIL_REASON, SyncObjConf
from pysyncobj.journal import MemoryJournal
from pysyncobj.node import Node
from pysyncobj.transport import Transport

from ottla.controller.raft.stock import load_private_copy
from tests.controller.raft.cluster import Book
from tests.controller.raft.network import Network, VirtualClock

LEADER = 2


class PerfectJournal(MemoryJournal):  # type: ignore[misc]  # pysyncobj has no types
    """Every change is durable at once."""

    def __init__(self) -> None:
        super().__init__()
        self._commit_index = 1

    def setRaftCommitIndex(self, index: int) -> None:  # noqa: N802 - pysyncobj's name
        self._commit_index = index

    def getRaftCommitIndex(self) -> int:  # noqa: N802 - pysyncobj's name
        return min(self._commit_index, self[-1][1]) if len(self) else 1


class Wire(Transport):  # type: ignore[misc]  # pysyncobj has no types
    """The transport of one node."""

    def __init__(self, network: Network[Any], node: int) -> None:
        super().__init__(None, None, None)
        self._network = network
        self._node = node

    def send(self, node: Node, message: Any) -> bool:
        if self._network.link(self._node, node.id) is None:
            return False
        self._network.send(self._node, node.id, copy.deepcopy(message))
        return True


class StockCluster:
    """Voters only; see :class:`tests.controller.raft.fuzz.Subject`."""

    def __init__(self, voters: int, *, seed: int, directory: Path, batch_bytes: int) -> None:
        self.random = Random(seed)
        self.clock = VirtualClock()
        self.ids = list(range(1, voters + 1))
        self.network: Network[Any] = Network(self._arrived)
        self.book = Book()
        self.acknowledged: list[str] = []
        self._directory = directory
        self._batch_bytes = batch_bytes
        self._journals = {node: PerfectJournal() for node in self.ids}
        self._nodes: dict[int, Any] = {}
        module = load_private_copy()
        vars(module).update(
            monotonicTime=self.clock.now_seconds,
            random=Random(seed),
            createJournal=lambda journal: journal,
        )
        self._module: Any = module
        for node in self.ids:
            self.start(node)
        for a in self.ids:
            for b in self.ids:
                if a < b:
                    self.connect(a, b)

    @property
    def up(self) -> list[int]:
        return list(self._nodes)

    def start(self, node: int) -> None:
        cluster = self

        def state_changed(_old: int, new: int) -> None:
            if new == LEADER:
                cluster.book.leads(node, cluster._nodes[node].raftCurrentTerm)

        configuration = SyncObjConf(
            autoTick=False,
            raftMinTimeout=1.0,
            raftMaxTimeout=2.0,
            appendEntriesPeriod=0.1,
            leaderFallbackTimeout=3.0,
            commandsWaitLeader=False,
            useFork=False,
            logCompactionMinEntries=10**9,
            logCompactionMinTime=10**9,
            logCompactionBatchSize=300,
            appendEntriesBatchSizeBytes=self._batch_bytes,
            journalFile=self._journals[node],
            fullDumpFile=str(self._directory / str(node)),
            onStateChanged=state_changed,
        )

        class Replicated(self._module.SyncObj):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                others = [Node(other) for other in cluster.ids if other != node]
                super().__init__(
                    Node(node),
                    others,
                    conf=configuration,
                    nodeClass=Node,
                    transport=Wire(cluster.network, node),
                )
                self.entries: list[tuple[int, str]] = []

            @cluster._module.replicated  # type: ignore[untyped-decorator]
            def put(self, text: str) -> int:
                index: int = self.raftLastApplied + 1
                cluster.book.applies(node, index, text)
                self.entries.append((index, text))
                return index

        self._nodes[node] = Replicated()

    def close(self) -> None:
        """Close the files that pysyncobj leaves open."""
        for node in self._nodes:
            self._close_files(node)

    def _close_files(self, node: int) -> None:
        serializer = self._nodes[node]._SyncObj__serializer
        for transmission in serializer._Serializer__transmissions.values():
            transmission["file"].close()
        if serializer._Serializer__incomingTransmissionFile is not None:
            serializer._Serializer__incomingTransmissionFile.close()

    def crash(self, node: int) -> None:
        self._close_files(node)
        del self._nodes[node]
        for peer in self.network.linked_to(node):
            self.network.cut(node, peer)
            self._transport(peer)._onNodeDisconnected(Node(node))
        for leftover in self._directory.glob(f"{node}.*"):
            leftover.unlink()

    def connect(self, a: int, b: int) -> None:
        if a in self._nodes and b in self._nodes and self.network.link(a, b) is None:
            self.network.connect(a, b)
            self._transport(a)._onNodeConnected(Node(b))
            self._transport(b)._onNodeConnected(Node(a))

    def disconnect(self, a: int, b: int) -> None:
        if self.network.link(a, b) is not None:
            self.network.cut(a, b)
            self._transport(a)._onNodeDisconnected(Node(b))
            self._transport(b)._onNodeDisconnected(Node(a))

    def tick(self, node: int) -> None:
        if node in self._nodes:
            self._nodes[node].doTick(0)

    def leads(self, node: int) -> bool:
        return bool(self._nodes[node]._isLeader())

    def propose(self, node: int, text: str) -> None:
        def answered(_result: object, reason: int) -> None:
            if reason == FAIL_REASON.SUCCESS:
                self.acknowledged.append(text)

        self._nodes[node].put(text, callback=answered)

    def compact(self, node: int) -> None:
        self._nodes[node].forceLogCompaction()

    def state(self, node: int) -> list[tuple[int, str]]:
        entries: list[tuple[int, str]] = json.loads(json.dumps(self._nodes[node].entries))
        return [(index, text) for index, text in entries]

    def _arrived(self, source: int, target: int, _link: int, message: Any) -> None:
        if target in self._nodes:
            self._transport(target)._onMessageReceived(Node(source), message)

    def _transport(self, node: int) -> Any:
        return self._nodes[node]._SyncObj__transport
