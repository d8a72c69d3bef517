"""Nodes of a quorum in one process: real gRPC on loopback, each with a server of its own.

A *listening* node notes what it is told. A *voting* one is a Raft engine with its thread and its
files. Both are made by a :class:`Quorum`, which knows their addresses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from random import Random

import grpc

from ottla.cluster.grpc.channels import BrokerChannels
from ottla.cluster.grpc.quorum_calls import dial_quorum
from ottla.cluster.grpc.quorum_servicer import QuorumServicer
from ottla.cluster.quorum_handshake import QuorumIdentity
from ottla.cluster.quorum_links import LinkedNode, QuorumLinks
from ottla.cluster.raft_driver import Proposed, QuorumNode, RaftDriver
from ottla.config.addresses import Address
from ottla.controller.raft.consensus import Outcome, Role, RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.raft.messages import AppendResponse, Message
from ottla.model.ids import BrokerId, MetadataOffset
from ottla.model.image import ClusterImage
from ottla.runtime.posix import PosixFileSystem
from ottla.runtime.system_clock import SystemClock
from ottla.v1 import quorum_pb2_grpc

HOST = "127.0.0.1"


def an_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def a_message(number: int) -> AppendResponse:
    return AppendResponse(term=1, accepted=True, next_index=number)


class Listening:
    """What the links told their node, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, BrokerId, int]] = []
        self.messages: list[tuple[BrokerId, int, Message]] = []
        self.has_room = True

    def connected(self, peer: BrokerId, link: int) -> None:
        self.told.append(("connected", peer, link))

    def disconnected(self, peer: BrokerId, link: int) -> None:
        self.told.append(("disconnected", peer, link))

    def receive(self, peer: BrokerId, link: int, message: Message) -> bool:
        self.messages.append((peer, link, message))
        return self.has_room

    def appends(self) -> list[AppendResponse]:
        return [message for _, _, message in self.messages if isinstance(message, AppendResponse)]

    def links_with(self, peer: int) -> list[int]:
        return [link for what, of, link in self.told if (what, of) == ("connected", peer)]


class Node:
    """One node: its server, its links and whoever is behind them."""

    def __init__(
        self, node_id: BrokerId, voters: dict[BrokerId, Address], *, server: grpc.aio.Server
    ) -> None:
        self.node_id = node_id
        self.directory_id = an_id(node_id + 1)
        self.cluster_id = ""
        self.known: dict[BrokerId, bytes] = {}
        self.voters = voters
        self.knows_identity = True
        self.server = server
        self.channels = BrokerChannels()
        self.presences: list[frozenset[BrokerId]] = []
        self._running: asyncio.Task[None] | None = None

    def prepare(self, receiver: LinkedNode, *, dial_to: dict[BrokerId, Address]) -> None:
        self.links = QuorumLinks(
            node_id=self.node_id,
            voters=dial_to,
            incarnation_id=an_id(1_000 + self.node_id),
            directory_id=self.directory_id,
            identity=lambda: QuorumIdentity(cluster_id=self.cluster_id, voters=self.known),
            dial=lambda address: dial_quorum(self.channels, address),
            receiver=receiver,
            draw=Random(self.node_id).random,
        )
        self.links.subscribe(self.presences.append)

    async def start(self) -> None:
        quorum_pb2_grpc.add_QuorumServicer_to_server(QuorumServicer(self.links), self.server)
        await self.server.start()
        if self.knows_identity:
            self.links.identity_changed()
        self._running = asyncio.create_task(self.links.run())

    async def stop(self) -> None:
        """Go without a word: the server and all links are cut."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self.links.close()
        await self.channels.close()
        await self.server.stop(None)


def a_server(
    port: int = 0, credentials: grpc.ServerCredentials | None = None
) -> tuple[grpc.aio.Server, Address]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    at = f"{HOST}:{port}"
    bound = (
        server.add_insecure_port(at)
        if credentials is None
        else server.add_secure_port(at, credentials)
    )
    return server, Address(HOST, bound)


class Machine:
    """Remembers what was applied; its image tells the offset."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.image = ClusterImage(cluster_id="")

    def apply(self, index: MetadataOffset, entry: bytes) -> bytes:
        self.entries.append(entry)
        self.image = ClusterImage(cluster_id="", metadata_offset=index)
        return entry

    def snapshot(self) -> bytes:
        return b"\n".join(self.entries)

    def restore(self, index: MetadataOffset, snapshot: bytes) -> None:
        self.entries = snapshot.split(b"\n") if snapshot else []
        self.image = ClusterImage(cluster_id="", metadata_offset=index)


class Voting:
    """A node that is real but for its state machine."""

    def __init__(self, node: Node, directory: Path, seed: int) -> None:
        self.node = node
        self.machine = Machine()
        self.roles: list[RoleChanged] = []
        self._directory = directory
        self._seed = seed
        self._running: asyncio.Task[None] | None = None
        self.driver = RaftDriver(start_engine=self._engine, read_image=lambda: self.machine.image)
        node.knows_identity = False  # until the engine has told
        node.prepare(self.driver, dial_to=node.voters)

    def _engine(self) -> QuorumNode:
        return RaftEngine(
            node_id=self.node.node_id,
            voters=frozenset(self.node.voters),
            directory=self._directory,
            machine=self.machine,
            file_system=PosixFileSystem(sync=False),
            clock=SystemClock(),
            draw=Random(self._seed).random,
            transport=self.node.links,
        )

    def image_applied(self, image: ClusterImage) -> None:
        del image
        self.node.links.identity_changed()

    def role_changed(self, change: RoleChanged) -> None:
        self.roles.append(change)

    async def start(self) -> None:
        engine = await self.driver.start()
        self._running = asyncio.create_task(self.driver.run(engine, self))
        await self.node.start()

    async def stop(self) -> None:
        await self.node.stop()
        self.driver.stop()
        if self._running is not None:
            await self._running

    @property
    def leads(self) -> bool:
        return bool(self.roles) and self.roles[-1].role is Role.LEADER

    async def commit(self, entry: bytes) -> None:
        assert await self.driver.propose(entry, timeout_ms=5_000) == Proposed(
            Outcome.APPLIED, entry
        )


class Quorum:
    """Voters 0, 1, ... and observers after them."""

    def __init__(
        self, voters: int, observers: int = 0, credentials: grpc.ServerCredentials | None = None
    ) -> None:
        ids = [BrokerId(number) for number in range(voters + observers)]
        self.servers = {}
        self.addresses: dict[BrokerId, Address] = {}
        for node_id in ids:
            self.servers[node_id], self.addresses[node_id] = a_server(credentials=credentials)
        self.voters = {node_id: self.addresses[node_id] for node_id in ids[:voters]}
        self.nodes = {
            node_id: Node(node_id, self.voters, server=self.servers[node_id]) for node_id in ids
        }
        self.started: list[Node | Voting] = []

    def __getitem__(self, node_id: int) -> Node:
        return self.nodes[BrokerId(node_id)]

    async def listen(self, *node_ids: int) -> list[Listening]:
        """Start nodes that only listen."""
        listening = []
        for node_id in node_ids:
            node, listener = self[node_id], Listening()
            node.prepare(listener, dial_to=node.voters)
            await node.start()
            self.started.append(node)
            listening.append(listener)
        return listening

    def prepare_to_vote(self, directory: Path) -> list[Voting]:
        """Give all nodes engines; none is started."""
        voting = [
            Voting(node, directory / str(node_id), seed=node_id)
            for node_id, node in self.nodes.items()
        ]
        self.started += voting
        return voting

    async def vote(self, directory: Path) -> list[Voting]:
        """Start all nodes with engines."""
        voting = self.prepare_to_vote(directory)
        await asyncio.gather(*(node.start() for node in voting))
        return voting

    async def replace(self, node_id: int) -> Node:
        """Stop a node, and make another in its place that is not started."""
        old = self[node_id]
        await old.stop()
        self.started.remove(old)
        server, _ = a_server(self.addresses[old.node_id].port)
        node = self.nodes[old.node_id] = Node(old.node_id, self.voters, server=server)
        return node

    async def stop(self) -> None:
        await asyncio.gather(*(node.stop() for node in self.started))


def leaders(nodes: Sequence[Voting]) -> list[Voting]:
    return [node for node in nodes if node.leads]
