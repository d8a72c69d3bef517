"""Three engines on real links elect, commit, and go on without the one that led."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ottla.controller.raft.consensus import Role
from tests.client.waiting import until
from tests.cluster.quorum_nodes import Quorum, Voting, leaders


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
