"""The controller acts only while it certainly is the controller, one request after another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from ottla.cluster.controller_driver import ControllerDriver
from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.raft_driver import Proposed
from ottla.controller.controller import Controller
from ottla.controller.raft.consensus import Outcome, Role, RoleChanged
from ottla.controller.requests import (
    CreateTopics,
    DeleteTopics,
    NewTopic,
    RegisterBroker,
    UnfenceBroker,
)
from ottla.controller.state_machine import MetadataStateMachine
from ottla.controller.topics import TopicDefaults
from ottla.model.errors import (
    InconsistentClusterIdError,
    NotControllerError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
    TopicAlreadyExistsError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, MetadataOffset, TopicId
from ottla.model.limits import CONTROLLER_REQUESTS_MAX
from tests.cluster.world import ManualClock, until

ME = BrokerId(1)
CLUSTER = "c" * 22
LONG_MS = 10_000


class Quorum:
    """A quorum of one that applies what is proposed when the test lets it."""

    def __init__(self) -> None:
        self.machine = MetadataStateMachine(cluster_id=CLUSTER)
        self.metadata = MetadataCache(self.machine.image)
        self.proposed: list[bytes] = []
        self.barriers = 0
        self.outcomes: list[Proposed] = []
        """To be told instead of applying, one a proposal."""
        self.open = asyncio.Event()
        self.open.set()

    async def propose(self, entry: bytes, *, timeout_ms: int) -> Proposed:
        assert timeout_ms > 0
        self.proposed.append(entry)
        await self.open.wait()
        if self.outcomes:
            return self.outcomes.pop(0)
        offset = MetadataOffset(self.machine.image.metadata_offset + 1)
        answer = self.machine.apply(offset, entry)
        self.metadata.publish(self.machine.image)
        return Proposed(Outcome.APPLIED, answer)

    async def barrier(self, *, timeout_ms: int) -> Proposed:
        assert timeout_ms > 0
        self.barriers += 1
        await self.open.wait()
        return self.outcomes.pop(0) if self.outcomes else Proposed(Outcome.APPLIED)


class Node:
    def __init__(self) -> None:
        self.quorum = Quorum()
        self.topics = 0
        self.driver = ControllerDriver(
            broker_id=ME,
            quorum=self.quorum,
            metadata=self.quorum.metadata,
            controller=Controller(
                self.quorum.machine, new_topic_id=self._new_topic_id, defaults=TopicDefaults()
            ),
            clock=ManualClock(),
            client_id=5,
        )
        self.running = asyncio.create_task(self.driver.run())

    def _new_topic_id(self) -> TopicId:
        self.topics += 1
        return TopicId(UUID(int=self.topics))

    def lead(self, term: int) -> None:
        self.driver.role_changed(RoleChanged(Role.LEADER, term, ME))

    def follow(self, term: int, leader: int | None = 2) -> None:
        known = None if leader is None else BrokerId(leader)
        self.driver.role_changed(RoleChanged(Role.FOLLOWER, term, known))

    async def be_active(self, term: int = 1) -> None:
        self.lead(term)
        await asyncio.wait_for(self.driver.wait_active(), 10)
        epoch = await self.register()
        await self.driver.submit(
            UnfenceBroker(broker_id=ME, broker_epoch=epoch), timeout_ms=LONG_MS
        )

    async def register(self, cluster_id: str = CLUSTER) -> BrokerEpoch:
        return await self.driver.submit(
            RegisterBroker(
                cluster_id=cluster_id,
                broker_id=ME,
                incarnation_id=bytes(16),
                host="localhost",
                grpc_port=7092,
            ),
            timeout_ms=LONG_MS,
        )

    async def create(self, *names: str, timeout_ms: int = LONG_MS, validate: bool = False):  # type: ignore[no-untyped-def] # noqa: ANN201
        return await self.driver.submit(
            CreateTopics(
                topics=tuple(NewTopic(name=name) for name in names), validate_only=validate
            ),
            timeout_ms=timeout_ms,
        )


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    yield made
    made.running.cancel()
    await asyncio.wait([made.running])


async def test_new_leader_is_active_once_its_election_is_applied(node: Node) -> None:
    node.quorum.open.clear()
    node.lead(term=4)
    await asyncio.sleep(0)
    before = node.driver.is_active

    node.quorum.open.set()
    await node.driver.wait_active()

    assert not before
    image = node.quorum.machine.image
    assert (image.controller_id, image.controller_epoch) == (ME, 4)


async def test_election_applied_in_a_later_term_does_not_count(node: Node) -> None:
    node.quorum.open.clear()
    node.lead(term=4)
    await asyncio.sleep(0)
    node.follow(term=5)

    node.quorum.open.set()
    for _ in range(5):
        await asyncio.sleep(0)

    assert not node.driver.is_active


async def test_election_without_an_outcome_is_proposed_again(node: Node) -> None:
    node.quorum.outcomes = [Proposed(Outcome.UNKNOWN)]

    node.lead(term=4)
    await asyncio.wait_for(node.driver.wait_active(), 10)

    assert node.quorum.proposed[0] == node.quorum.proposed[1]


async def test_response_is_given_when_the_change_can_be_seen(node: Node) -> None:
    await node.be_active()

    (created,) = await node.create("web")

    assert created.error is None
    assert "web" in node.quorum.metadata.image.topics


async def test_response_waits_until_this_broker_has_carried_it_out(node: Node) -> None:
    await node.be_active()
    late = MetadataCache(node.quorum.metadata.image)
    node.driver = ControllerDriver(
        broker_id=ME,
        quorum=node.quorum,
        metadata=late,
        controller=Controller(
            node.quorum.machine, new_topic_id=node._new_topic_id, defaults=TopicDefaults()
        ),
        clock=ManualClock(),
        client_id=6,
    )
    running = asyncio.create_task(node.driver.run())
    node.lead(term=1)
    await node.driver.wait_active()
    creating = asyncio.create_task(node.create("web"))
    await until(lambda: "web" in node.quorum.machine.image.topics)
    for _ in range(5):
        await asyncio.sleep(0)
    waited = not creating.done()

    late.publish(node.quorum.machine.image)

    assert waited
    assert (await creating)[0].error is None
    running.cancel()
    await asyncio.wait([running])


async def test_requests_are_served_one_after_another(node: Node) -> None:
    await node.be_active()

    first, second = await asyncio.gather(node.create("web"), node.create("web"))

    assert first[0].error is None
    assert isinstance(second[0].error, TopicAlreadyExistsError)


async def test_request_refused_as_a_whole_raises_and_the_next_is_served(node: Node) -> None:
    await node.be_active()

    with pytest.raises(InconsistentClusterIdError):
        await node.register(cluster_id="another")

    assert (await node.create("web"))[0].error is None


async def test_decision_that_changes_nothing_is_given_after_a_barrier(node: Node) -> None:
    await node.be_active()
    before = node.quorum.barriers, len(node.quorum.proposed)

    await node.create("web", validate=True)

    assert (node.quorum.barriers, len(node.quorum.proposed)) == (before[0] + 1, before[1])


async def test_deposed_controller_does_not_answer_from_memory(node: Node) -> None:
    await node.be_active()
    node.quorum.outcomes = [Proposed(Outcome.REFUSED, b"NOT_CONTROLLER")]

    with pytest.raises(NotControllerError):
        await node.driver.submit(DeleteTopics(names=("unknown",)), timeout_ms=LONG_MS)


async def test_large_decision_is_applied_in_several_entries(node: Node) -> None:
    await node.be_active()
    before = len(node.quorum.proposed)
    topics = tuple(NewTopic(name=f"t{n}", partitions=9_000) for n in range(2))

    one = await node.driver.submit(CreateTopics(topics=topics[:1]), timeout_ms=LONG_MS)
    two = await node.driver.submit(CreateTopics(topics=topics[1:]), timeout_ms=LONG_MS)
    deleted = await node.driver.submit(DeleteTopics(names=("t0", "t1")), timeout_ms=LONG_MS)

    assert [one[0].error, two[0].error, *(d.error for d in deleted)] == [None] * 4
    assert len(node.quorum.proposed) - before >= 3
    assert not node.quorum.metadata.image.topics


# --- Not the controller ----------------------------------------------------------------


async def test_follower_refuses_and_names_the_leader(node: Node) -> None:
    node.follow(term=3, leader=2)

    with pytest.raises(NotControllerError, match="ask broker 2"):
        await node.create("web")


async def test_request_waits_for_a_leader_to_become_active(node: Node) -> None:
    node.quorum.open.clear()
    node.lead(term=1)
    creating = asyncio.create_task(node.create("web"))
    await asyncio.sleep(0)

    node.quorum.open.set()

    # It was decided: no broker is registered that partitions could be placed on.
    assert (await creating)[0].error is not None


async def test_waiting_requests_are_refused_when_leadership_ends(node: Node) -> None:
    node.quorum.open.clear()
    node.lead(term=1)
    creating = asyncio.create_task(node.create("web"))
    await asyncio.sleep(0)

    node.follow(term=2)

    with pytest.raises(NotControllerError):
        await creating


async def test_lost_leadership_leaves_the_outcome_unknown(node: Node) -> None:
    await node.be_active()
    node.quorum.outcomes = [Proposed(Outcome.UNKNOWN)]

    with pytest.raises(RequestTimedOutError, match="may still be made"):
        await node.create("web")


async def test_refused_proposal_changed_nothing(node: Node) -> None:
    await node.be_active()
    node.quorum.outcomes = [Proposed(Outcome.REFUSED, b"NOT_CONTROLLER")]

    with pytest.raises(NotControllerError, match="nothing was changed"):
        await node.create("web")


async def test_full_quorum_asks_to_come_back(node: Node) -> None:
    await node.be_active()
    node.quorum.outcomes = [Proposed(Outcome.REFUSED, b"THROTTLING_QUOTA_EXCEEDED")]

    with pytest.raises(ThrottlingQuotaExceededError):
        await node.create("web")


# --- Bounds ------------------------------------------------------------------------------


async def test_slow_controller_times_out(node: Node) -> None:
    await node.be_active()
    node.quorum.open.clear()

    with pytest.raises(RequestTimedOutError):
        await node.create("web", timeout_ms=1)

    node.quorum.open.set()


async def test_request_that_was_given_up_is_not_served(node: Node) -> None:
    await node.be_active()
    node.quorum.open.clear()
    first = asyncio.create_task(node.create("first"))
    await asyncio.sleep(0)
    with pytest.raises(RequestTimedOutError):
        await node.create("second", timeout_ms=1)

    node.quorum.open.set()
    await first
    await node.create("third")

    assert set(node.quorum.metadata.image.topics) == {"first", "third"}


async def test_too_many_requests_are_refused_at_once(node: Node) -> None:
    await node.be_active()
    node.quorum.open.clear()
    waiting = [asyncio.create_task(node.create("being-served"))]
    # An election, a registration, an unfencing and this.
    await until(lambda: len(node.quorum.proposed) == 4)
    waiting += [
        asyncio.create_task(node.create(f"t{number}")) for number in range(CONTROLLER_REQUESTS_MAX)
    ]
    await asyncio.sleep(0)

    with pytest.raises(ThrottlingQuotaExceededError):
        await node.create("one-more")

    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
