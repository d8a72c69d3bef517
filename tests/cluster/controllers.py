"""Brokers that have everything around the controller, on one metadata log and no network.

The test elects, and says who is reached. What goes between two brokers are the real messages,
served by the real servicer; the log is a list that every broker applies, or is slow to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar, cast
from uuid import UUID

from ottla.cluster.broker_session import BrokerSession
from ottla.cluster.broker_sessions import (
    BrokerSessionsShell,
    ControllerSession,
    Heartbeat,
    SessionAnswer,
)
from ottla.cluster.controller_client import ControllerClient
from ottla.cluster.controller_driver import ControllerDriver
from ottla.cluster.grpc.controller_servicer import ControllerServicer
from ottla.cluster.leader_balance import LeaderBalance
from ottla.cluster.lease import Lease
from ottla.cluster.membership import Membership
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.raft_driver import Proposed
from ottla.config.addresses import Address
from ottla.controller.controller import Controller
from ottla.controller.leaders import imbalanced
from ottla.controller.raft.consensus import Outcome, Role, RoleChanged
from ottla.controller.requests import (
    AlterPartition,
    AlterPartitions,
    ProposedMember,
    RegisterBroker,
)
from ottla.controller.sessions import BrokerSessions
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import BrokerNotAvailableError, RequestTimedOutError
from ottla.model.ids import BrokerId, MetadataOffset, TopicId, TopicPartition
from ottla.model.image import ClusterImage
from ottla.v1.controller_pb2 import ControllerRequest, ControllerResponse
from tests.cluster.virtual_time import now_ms, run_in_virtual_time

CLUSTER = "c" * 22
SESSION_TIMEOUT_MS = 3_000
BALANCE_INTERVAL_MS = 300_000
LONG_MS = 10_000

T = TypeVar("T")


class VirtualClock:
    """The clock of one broker; a pause of the process passes unseen and shows afterwards."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return now_ms() + self.ahead_ms

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self.now_ms()


class Network:
    """Who reaches whom."""

    def __init__(self) -> None:
        self.down: set[BrokerId] = set()
        """Refuse connections."""
        self.hung: set[BrokerId] = set()
        """Take messages and do nothing with them."""
        self.mute: set[BrokerId] = set()
        """Do what they are asked, and their answers are lost."""
        self.submitted: list[tuple[BrokerId, str]] = []
        """What was asked of whom over the network."""
        self._cut: dict[BrokerId, asyncio.Event] = {}

    def cut(self, broker: int) -> asyncio.Event:
        """Return the event that breaks all sessions with a broker."""
        return self._cut.setdefault(BrokerId(broker), asyncio.Event())

    def kill(self, broker: int) -> None:
        """End all that goes to a broker, and let nobody connect."""
        self.down.add(BrokerId(broker))
        self._cut.pop(BrokerId(broker), asyncio.Event()).set()


class Log:
    """The metadata log, applied by all brokers."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []


class NoCertificate:
    """A call without TLS."""

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}


class Node:
    """One broker: quorum, controller, client, sessions and membership."""

    def __init__(self, cluster: Cluster, broker: int) -> None:
        self.cluster = cluster
        self.broker_id = BrokerId(broker)
        self.clock = VirtualClock()
        self.machine = MetadataStateMachine(cluster_id=cluster.cluster_id)
        self.metadata = MetadataCache(self.machine.image)
        self.lags = False
        """Applies nothing, until it is let catch up."""
        self.proposals_fail: list[Proposed] = []
        self.proposing = asyncio.Event()
        self.proposing.set()
        self.role = RoleChanged(Role.FOLLOWER, 0, None)
        self.driver = ControllerDriver(
            broker_id=self.broker_id,
            quorum=self,
            metadata=self.metadata,
            controller=Controller(
                self.machine, new_topic_id=cluster.new_topic_id, defaults=TopicDefaults()
            ),
            clock=self.clock,
            client_id=broker,
            new_cluster_id=lambda: CLUSTER,
        )
        self.shell = BrokerSessionsShell(
            broker_id=self.broker_id,
            controller=self.driver,
            metadata=self.metadata,
            clock=self.clock,
            linked=self.linked,
            new_sessions=lambda: BrokerSessions(
                session_timeout_ms=SESSION_TIMEOUT_MS, reconnect_grace_ms=150, takeover_grace_ms=250
            ),
            session_timeout_ms=SESSION_TIMEOUT_MS,
        )
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.far = Far(cluster, self.going_on)
        self.client = ControllerClient(
            broker_id=self.broker_id,
            local=self.driver,
            far=self.far,
            metadata=self.metadata,
            voters=cluster.voters,
            present=self.linked,
        )
        self.membership = Membership(
            broker_id=self.broker_id,
            controller=self.client,
            applied=self.metadata,
            metadata=self.metadata,
            clock=self.clock,
        )
        self.lease = Lease(self.clock, self.metadata, duration_ms=SESSION_TIMEOUT_MS)
        self.balance = LeaderBalance(
            controller=self.driver,
            metadata=self.metadata,
            imbalanced=lambda: imbalanced(self.machine.state),
            interval_ms=BALANCE_INTERVAL_MS,
        )
        self.servicer = ControllerServicer(self.driver, self.shell, broker_id=self.broker_id)
        self.tasks = [asyncio.create_task(work) for work in (self.driver.run(), self.shell.run())]

    @property
    def image(self) -> ClusterImage:
        return self.metadata.image

    @property
    def fenced(self) -> set[int]:
        return {broker.broker_id for broker in self.image.brokers.values() if broker.fenced}

    def linked(self) -> frozenset[BrokerId]:
        gone = self.cluster.network.down | self.cluster.network.hung
        return frozenset(self.cluster.nodes) - gone - {self.broker_id}

    def be(self, change: RoleChanged) -> None:
        self.role = change
        self.driver.role_changed(change)
        self.client.role_changed(change)

    def catch_up(self) -> None:
        """Apply what the log has, and go on doing so."""
        self.lags = False
        self.apply()

    def apply(self) -> bytes:
        answer = b""
        for index in range(self.machine.image.metadata_offset, len(self.cluster.log.entries)):
            entry = self.cluster.log.entries[index]
            answer = self.machine.apply(MetadataOffset(index + 1), entry)
        self.metadata.publish(self.machine.image)
        return answer

    async def propose(self, entry: bytes, *, timeout_ms: int) -> Proposed:
        assert timeout_ms > 0
        await asyncio.sleep(0.005)  # a sync of the disk, there and here
        await self.proposing.wait()
        if self.proposals_fail:
            return self.proposals_fail.pop(0)
        if self.role.role is not Role.LEADER:
            return Proposed(Outcome.REFUSED, b"NOT_CONTROLLER")
        self.cluster.log.entries.append(entry)
        answer = b""
        for node in self.cluster.nodes.values():
            if node is self:
                answer = node.apply()
            elif not node.lags:
                node.apply()
        return Proposed(Outcome.APPLIED, answer)

    async def barrier(self, *, timeout_ms: int) -> Proposed:
        assert timeout_ms > 0
        await asyncio.sleep(0.005)
        refused = self.role.role is not Role.LEADER
        return Proposed(Outcome.REFUSED if refused else Outcome.APPLIED, b"NOT_CONTROLLER")

    def freeze(self) -> asyncio.Event:
        """Stop the process as far as others see it; return the event that lets it go on."""
        self.going_on.clear()
        return self.going_on

    async def join(self, *, incarnation: int | None = None) -> asyncio.Task[None]:
        """Register, keep a session, serve; return the task of the session."""
        epoch = await self.membership.register(
            registration(self.broker_id, incarnation=incarnation), timeout_ms=LONG_MS
        )
        session = BrokerSession(
            broker_id=self.broker_id,
            broker_epoch=epoch,
            location=self.client,
            local=self.shell,
            far=self.far,
            metadata=self.metadata,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            lease=self.lease,
            answered=self.membership.answered,
        )
        task = asyncio.create_task(session.run())
        self.tasks += [task, asyncio.create_task(self.membership.run())]
        await self.membership.unfence(timeout_ms=LONG_MS)
        return task


class Far:
    """Reaches the other brokers over the network of the test."""

    def __init__(self, cluster: Cluster, going_on: asyncio.Event) -> None:
        self._cluster = cluster
        self._going_on = going_on

    async def connect(self, address: Address) -> None:
        await asyncio.sleep(0.001)
        await self._going_on.wait()
        if self._node(address).broker_id in self._cluster.network.down:
            raise BrokerNotAvailableError("the connection is refused")

    async def submit(
        self, address: Address, message: ControllerRequest, *, timeout_ms: int
    ) -> ControllerResponse:
        node, network = self._node(address), self._cluster.network
        network.submitted.append((node.broker_id, str(message.WhichOneof("kind"))))
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await asyncio.sleep(0.001)
                if node.broker_id in network.hung:
                    await asyncio.Event().wait()
                received = ControllerRequest.FromString(message.SerializeToString())
                answer = await node.servicer.Submit(received, cast("Any", NoCertificate()))
                if node.broker_id in network.mute:
                    raise RequestTimedOutError("the connection broke; it may still be made")
                return answer
        except TimeoutError:
            raise RequestTimedOutError(f"no answer in {timeout_ms} ms") from None

    async def open_session(self, address: Address) -> FarSession:
        await self.connect(address)
        return FarSession(self._node(address), self._cluster.network, self._going_on)

    def _node(self, address: Address) -> Node:
        return self._cluster.nodes[BrokerId(address.port)]


class FarSession:
    """A session over the network of the test."""

    def __init__(self, node: Node, network: Network, going_on: asyncio.Event) -> None:
        self._node = node
        self._going_on = going_on
        self._network = network
        self._cut = network.cut(node.broker_id)
        self._session: ControllerSession | None = None

    async def beat(self, heartbeat: Heartbeat) -> SessionAnswer:
        await asyncio.sleep(0.001)
        await self._going_on.wait()
        if self._cut.is_set():
            raise BrokerNotAvailableError("the connection broke")
        if self._node.broker_id in self._network.hung:
            await asyncio.Event().wait()
        if self._session is None:
            self._session = self._node.shell.open(heartbeat)
        answer = await self._session.beat(heartbeat)
        if self._node.broker_id in self._network.mute:
            await asyncio.Event().wait()
        return answer

    async def wait_ended(self) -> None:
        assert self._session is not None
        ended = [
            asyncio.ensure_future(self._session.wait_ended()),
            asyncio.ensure_future(self._cut.wait()),
        ]
        try:
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in ended:
                future.cancel()

    def close(self) -> None:
        if self._session is not None:
            self._session.close()


class Cluster:
    """Several brokers, all of them voters."""

    def __init__(self, brokers: int = 3, *, cluster_id: str = CLUSTER) -> None:
        self.cluster_id = cluster_id
        self.log = Log()
        self.network = Network()
        self.voters = {BrokerId(n): Address("host", n) for n in range(brokers)}
        self._topics = 0
        self.nodes: dict[BrokerId, Node] = {}
        for broker in range(brokers):
            self.nodes[BrokerId(broker)] = Node(self, broker)

    def __getitem__(self, broker: int) -> Node:
        return self.nodes[BrokerId(broker)]

    def new_topic_id(self) -> TopicId:
        self._topics += 1
        return TopicId(UUID(int=self._topics))

    def elect(self, leader: int, *, term: int, unknown_to: tuple[int, ...] = ()) -> None:
        """Let a broker lead; those that are down, hung or named do not hear of it."""
        deaf = {*map(BrokerId, unknown_to), *self.network.down, *self.network.hung}
        for node in self.nodes.values():
            if node.broker_id not in deaf:
                role = Role.LEADER if node.broker_id == leader else Role.FOLLOWER
                node.be(RoleChanged(role, term, BrokerId(leader)))

    def lose_leader(self, *, term: int) -> None:
        """Let nobody know a leader."""
        for node in self.nodes.values():
            if node.broker_id not in self.network.down | self.network.hung:
                node.be(RoleChanged(Role.CANDIDATE, term, None))

    def kill(self, broker: int) -> None:
        """End a broker's process."""
        node = self[broker]
        node.be(RoleChanged(Role.FOLLOWER, node.role.term, None))
        for task in node.tasks:
            task.cancel()
        self.network.kill(broker)

    async def start(self, *, leader: int = 0) -> None:
        """Elect a leader and have all brokers serve."""
        self.elect(leader, term=1)
        for node in self.nodes.values():
            await node.join()

    async def stop(self) -> None:
        tasks = [task for node in self.nodes.values() for task in node.tasks]
        for task in tasks:
            task.cancel()
        failed = []
        for task in tasks:
            with suppress(asyncio.CancelledError):
                try:
                    await task
                except Exception as error:  # noqa: BLE001 -- looked at below
                    failed.append(error)
        unexpected = [error for error in failed if not isinstance(error, self.may_fail_with)]
        assert not unexpected, unexpected

    may_fail_with: tuple[type[BaseException], ...] = ()
    """What a task of a broker may end with."""


def with_cluster(
    scenario: Callable[[Cluster], Coroutine[Any, Any, T]], *, brokers: int = 3, **options: Any
) -> T:
    """Run a scenario on a fresh cluster, in virtual time."""

    async def run() -> T:
        cluster = Cluster(brokers, **options)
        try:
            return await asyncio.wait_for(scenario(cluster), 3_600)
        finally:
            await cluster.stop()

    return run_in_virtual_time(run())


def registration(broker: int, *, incarnation: int | None = None) -> RegisterBroker:
    return RegisterBroker(
        cluster_id=CLUSTER,
        broker_id=BrokerId(broker),
        incarnation_id=(broker + 1 if incarnation is None else incarnation).to_bytes(16, "big"),
        host=f"host-{broker}",
        grpc_port=7092,
    )


async def eventually(
    condition: Callable[[], object], *, within_ms: int = 10_000, step_ms: int = 1
) -> int:
    """Wait until the condition holds, looking now and then; return how long it took."""
    begun_ms = now_ms()
    while not condition():
        assert now_ms() - begun_ms <= within_ms, "it never happened"
        await asyncio.sleep(step_ms / 1000)
    return now_ms() - begun_ms


async def propose_isr(cluster: Cluster, partition: TopicPartition, *isr: int) -> None:
    """Have the leader of a partition propose who is in sync, which is agreed to."""
    image = cluster[isr[0]].image
    topic = image.topics[partition.topic]
    present = topic.partitions[partition.partition]
    proposal = AlterPartition(
        topic_id=topic.topic_id,
        partition=partition.partition,
        leader_epoch=present.leader_epoch,
        partition_epoch=present.partition_epoch,
        isr=tuple(
            ProposedMember(BrokerId(broker), image.brokers[BrokerId(broker)].broker_epoch)
            for broker in isr
        ),
    )
    request = AlterPartitions(
        broker_id=present.leader,
        broker_epoch=image.brokers[present.leader].broker_epoch,
        partitions=(proposal,),
    )
    (result,) = await cluster.nodes[present.leader].client.submit(request, timeout_ms=LONG_MS)
    assert result.error is None, result.error
