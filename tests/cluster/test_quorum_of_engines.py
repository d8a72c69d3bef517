"""Three engines on real links elect, commit, and go on without the one that led."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ottla.controller.raft.consensus import Role
from ottla.model.errors import RequestTimedOutError
from tests.client.waiting import until
from tests.cluster.quorum_nodes import Quorum, Voting, leaders


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[list[Voting]]:
    """A voter that is alone in its quorum, and two observers."""
    quorum = Quorum(voters=1, observers=2)
    yield await quorum.vote(tmp_path)
    await quorum.stop()


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[list[Voting]]:
    """Three voters and an observer, which is the last."""
    quorum = Quorum(voters=3, observers=1)
    yield await quorum.vote(tmp_path)
    await quorum.stop()


async def leader_of(nodes: list[Voting]) -> Voting:
    await until(lambda: leaders(nodes))
    return leaders(nodes)[-1]


async def test_what_the_leader_commits_reaches_all_and_the_observer_too(
    nodes: list[Voting],
) -> None:
    leader = await leader_of(nodes)
    entries = [b"entry %d" % number for number in range(50)]

    await asyncio.gather(*map(leader.commit, entries))

    await until(lambda: all(node.machine.entries == entries for node in nodes))
    assert {change.role for change in nodes[-1].roles} == {Role.OBSERVER}


async def test_others_go_on_when_the_leader_is_gone(nodes: list[Voting]) -> None:
    first = await leader_of(nodes)
    await first.commit(b"by the first")
    await first.stop()
    rest = [node for node in nodes if node is not first]

    second = await leader_of(rest)
    await second.commit(b"by the second")

    await until(
        lambda: all(node.machine.entries == [b"by the first", b"by the second"] for node in rest)
    )


async def test_voter_without_a_majority_waits_for_one(nodes: list[Voting]) -> None:
    leader = await leader_of(nodes)
    await leader.commit(b"with all")
    others = [node for node in nodes[:3] if node is not leader]
    for node in others:
        await node.stop()

    with pytest.raises(RequestTimedOutError):
        await leader.driver.propose(b"alone", timeout_ms=200)

    assert leader.machine.entries == [b"with all"]


async def test_observers_of_a_lone_voter_get_the_log(lone: list[Voting]) -> None:
    voter, *observers = lone
    await until(lambda: voter.leads)

    await voter.commit(b"an entry")

    await until(lambda: all(node.machine.entries == [b"an entry"] for node in observers))


async def test_log_that_is_far_ahead_reaches_a_node_that_comes_late(tmp_path: Path) -> None:
    quorum = Quorum(voters=3)
    zero, one, two = quorum.prepare_to_vote(tmp_path)
    try:
        await asyncio.gather(zero.start(), one.start())
        leader = await leader_of([zero, one])
        entries = [bytes([65 + number]) * 500_000 for number in range(20)]
        await asyncio.gather(*map(leader.commit, entries))

        await two.start()

        await until(lambda: two.machine.entries == entries)
    finally:
        await quorum.stop()
