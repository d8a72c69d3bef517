"""The event loop hears of everything that the engine did, in an order that makes sense."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ottla.cluster.raft_driver import Proposed, RaftDriver
from ottla.controller.raft.consensus import Answered, Outcome, Role, RoleChanged
from ottla.controller.raft.messages import AppendResponse, Message, SnapshotChunk
from ottla.model.errors import RequestTimedOutError, ThrottlingQuotaExceededError
from ottla.model.ids import BrokerId, MetadataOffset
from ottla.model.image import ClusterImage
from ottla.model.limits import METADATA_PROPOSALS_MAX, MIB, RAFT_WAITING_MESSAGES_MAX

EMPTY = ClusterImage(cluster_id="c")
ME = BrokerId(1)
PEER = BrokerId(2)
HELLO = AppendResponse(term=1, accepted=True, next_index=2)


class Engine:
    """Leads at once, and commits at the next tick whatever was proposed."""

    def __init__(self) -> None:
        self.role, self.term, self.leader = Role.FOLLOWER, 0, None
        self.applied_index = MetadataOffset(0)
        self.image = EMPTY
        self.entries: list[bytes] = []
        self.waiting: list[Answered] = []
        self.commits = True
        self.failing = False
        self.breaks_when_closed = False
        self.closed = False
        self.ticks = 0
        self.threads: set[int] = set()
        self.links: list[tuple[object, BrokerId, int]] = []
        """What was told of links, and what arrived on them, in order."""

    def propose(self, entry: bytes, answered: Answered) -> None:
        self.threads.add(threading.get_ident())
        if entry == b"refuse":
            answered(Outcome.REFUSED, b"NOT_CONTROLLER")
            return
        self.entries.append(entry)
        self.waiting.append(answered)

    def barrier(self, answered: Answered) -> None:
        self.waiting.append(answered)

    def connected(self, peer: BrokerId, link: int) -> None:
        self.links.append(("connected", peer, link))

    def disconnected(self, peer: BrokerId, link: int) -> None:
        self.links.append(("disconnected", peer, link))

    def receive(self, peer: BrokerId, link: int, message: Message) -> None:
        self.threads.add(threading.get_ident())
        self.links.append((message, peer, link))

    def tick(self) -> None:
        self.threads.add(threading.get_ident())
        self.ticks += 1
        if self.failing:
            raise OSError("the disk is gone")
        self.role, self.term, self.leader = Role.LEADER, 1, ME  # type: ignore[assignment]
        if self.commits:
            for answered in self.waiting:
                self.applied_index = MetadataOffset(self.applied_index + 1)
                self.image = replace(self.image, metadata_offset=self.applied_index)
                answered(Outcome.APPLIED, b"%d" % self.applied_index)
            self.waiting.clear()

    def close(self) -> None:
        self.closed = True
        if self.breaks_when_closed:
            raise OSError("the disk is gone")
        for answered in self.waiting:
            answered(Outcome.UNKNOWN, b"")
        self.waiting.clear()


class Observer:
    def __init__(self) -> None:
        self.image = EMPTY
        self.images: list[ClusterImage] = []
        self.roles: list[RoleChanged] = []
        self.leading = asyncio.Event()

    def image_applied(self, image: ClusterImage) -> None:
        self.image = image
        self.images.append(image)

    def role_changed(self, change: RoleChanged) -> None:
        self.roles.append(change)
        if change.role is Role.LEADER:
            self.leading.set()


class Node:
    def __init__(self) -> None:
        self.engine = Engine()
        self.observer = Observer()
        self.driver = RaftDriver(
            start_engine=lambda: self.engine, read_image=lambda: self.engine.image
        )
        self.running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        engine = await self.driver.start()
        self.running = asyncio.create_task(self.driver.run(engine, self.observer))

    async def end(self) -> None:
        assert self.running is not None
        self.driver.stop()
        await asyncio.wait([self.running])


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    made = Node()
    await made.start()
    yield made
    await made.end()


async def test_applied_proposal_returns_the_answer_of_the_state_machine(node: Node) -> None:
    assert await node.driver.propose(b"x", timeout_ms=10_000) == Proposed(Outcome.APPLIED, b"1")


async def test_image_is_there_before_its_proposer_goes_on(node: Node) -> None:
    for offset in range(1, 20):
        await node.driver.propose(b"x", timeout_ms=10_000)

        assert node.observer.image.metadata_offset == offset


async def test_proposals_are_made_in_the_order_of_the_calls(node: Node) -> None:
    entries = [b"%d" % number for number in range(50)]

    await asyncio.gather(*(node.driver.propose(entry, timeout_ms=10_000) for entry in entries))

    assert node.engine.entries == entries


async def test_refusal_comes_with_its_reason(node: Node) -> None:
    proposed = await node.driver.propose(b"refuse", timeout_ms=10_000)

    assert proposed == Proposed(Outcome.REFUSED, b"NOT_CONTROLLER")


async def test_barrier_is_answered(node: Node) -> None:
    assert (await node.driver.barrier(timeout_ms=10_000)).outcome is Outcome.APPLIED


async def test_change_of_role_is_told(node: Node) -> None:
    await asyncio.wait_for(node.observer.leading.wait(), 10)

    assert node.observer.roles[-1] == RoleChanged(Role.LEADER, 1, ME)


async def test_engine_ticks_though_nobody_asks(node: Node) -> None:
    await asyncio.wait_for(node.observer.leading.wait(), 10)

    assert node.engine.ticks > 0


async def test_engine_is_called_on_one_thread_that_is_not_the_event_loops(node: Node) -> None:
    await node.driver.propose(b"x", timeout_ms=10_000)

    assert len(node.engine.threads) == 1
    assert threading.get_ident() not in node.engine.threads


async def test_proposal_without_an_outcome_times_out(node: Node) -> None:
    node.engine.commits = False

    with pytest.raises(RequestTimedOutError, match="may still be made"):
        await node.driver.propose(b"x", timeout_ms=1)


async def test_too_many_proposals_are_refused_at_once(node: Node) -> None:
    node.engine.commits = False
    waiting = [
        asyncio.create_task(node.driver.propose(b"x", timeout_ms=10_000))
        for _ in range(METADATA_PROPOSALS_MAX)
    ]
    await asyncio.sleep(0)

    with pytest.raises(ThrottlingQuotaExceededError):
        await node.driver.propose(b"x", timeout_ms=10_000)

    node.engine.commits = True
    await asyncio.gather(*waiting)


async def test_outcome_of_what_waits_at_the_stop_is_unknown() -> None:
    node = Node()
    await node.start()
    node.engine.commits = False
    waiting = asyncio.create_task(node.driver.propose(b"x", timeout_ms=10_000))
    await asyncio.sleep(0)

    await node.end()

    assert (await waiting).outcome is Outcome.UNKNOWN
    assert node.engine.closed


async def test_proposal_after_the_stop_is_refused() -> None:
    node = Node()
    await node.start()
    await node.end()

    assert (await node.driver.propose(b"x", timeout_ms=10_000)).outcome is Outcome.REFUSED


async def test_failing_engine_ends_the_run_with_its_error() -> None:
    node = Node()
    await node.start()
    node.engine.commits = False
    waiting = asyncio.create_task(node.driver.propose(b"x", timeout_ms=10_000))
    await asyncio.sleep(0)

    node.engine.failing = True

    assert node.running is not None
    with pytest.raises(OSError, match="the disk is gone"):
        await node.running
    assert (await waiting).outcome is Outcome.UNKNOWN


async def test_engine_that_cannot_start_says_why() -> None:
    def broken() -> Engine:
        raise OSError("no journal")

    driver = RaftDriver(start_engine=broken, read_image=lambda: EMPTY)

    with pytest.raises(OSError, match="no journal"):
        await driver.start()


async def test_proposal_that_the_engine_left_without_an_answer_is_answered() -> None:
    node = Node()
    await node.start()
    node.engine.commits = False
    node.engine.breaks_when_closed = True
    waiting = asyncio.create_task(node.driver.propose(b"x", timeout_ms=10_000))
    await asyncio.sleep(0)

    await node.end()

    assert (await waiting).outcome is Outcome.UNKNOWN


# --- Links ----------------------------------------------------------------------------------


async def test_engine_hears_of_links_and_their_messages_in_order(node: Node) -> None:
    node.driver.connected(PEER, 1)
    assert node.driver.receive(PEER, 1, HELLO)
    node.driver.disconnected(PEER, 1)
    await node.driver.barrier(timeout_ms=10_000)

    assert node.engine.links == [
        ("connected", PEER, 1),
        (HELLO, PEER, 1),
        ("disconnected", PEER, 1),
    ]


async def test_messages_that_wait_share_a_tick() -> None:
    node = Node()
    for _ in range(100):
        node.driver.receive(PEER, 1, HELLO)
    node.driver.stop()
    await node.start()
    assert node.running is not None
    await node.running

    assert (len(node.engine.links), node.engine.ticks) == (100, 1)  # the first is before all


async def test_first_image_is_that_of_the_first_tick() -> None:
    node = Node()
    waiting: list[bytes] = []
    node.engine.waiting.append(lambda _outcome, answer: waiting.append(answer))
    node.driver.stop()
    await node.start()
    assert node.running is not None
    await node.running

    assert waiting == [b"1"]
    assert [image.metadata_offset for image in node.observer.images] == [1]


async def test_peer_that_says_more_than_is_taken_is_refused_and_others_are_not() -> None:
    node = Node()
    taken = [node.driver.receive(PEER, 1, HELLO) for _ in range(RAFT_WAITING_MESSAGES_MAX + 1)]

    assert (all(taken[:-1]), taken[-1]) == (True, False)
    assert node.driver.receive(BrokerId(3), 1, HELLO)

    await node.start()
    await node.driver.barrier(timeout_ms=10_000)
    assert node.driver.receive(PEER, 1, HELLO)
    await node.end()


async def test_peer_whose_messages_are_large_is_refused_earlier() -> None:
    node = Node()
    chunk = SnapshotChunk(
        term=1, index=1, index_term=1, checksum=b"", offset=0, total_bytes=MIB, data=bytes(MIB)
    )
    taken = [node.driver.receive(PEER, 1, chunk) for _ in range(40)]

    assert 16 <= sum(taken) < 40
    await node.start()
    await node.end()
