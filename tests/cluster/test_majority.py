"""A broker knows whether it reaches a majority of the voters, and when it does no more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

import pytest

from ottla.cluster.majority import Majority
from ottla.model.ids import BrokerId


class FakeLinks:
    """Links that come and go as a test says."""

    def __init__(self) -> None:
        self.present: frozenset[BrokerId] = frozenset()
        self._listeners: list[Callable[[frozenset[BrokerId]], None]] = []

    def subscribe(self, listener: Callable[[frozenset[BrokerId]], None]) -> None:
        self._listeners.append(listener)

    def link(self, *peers: int) -> None:
        self.present = frozenset(map(BrokerId, peers))
        for listener in self._listeners:
            listener(self.present)


def majority(links: FakeLinks, voters: Collection[int] = (0, 1, 2)) -> Majority:
    return Majority(
        broker_id=BrokerId(0), voters=[BrokerId(voter) for voter in voters], links=links
    )


@pytest.mark.parametrize(
    ("voters", "linked", "reached"),
    [
        ((0, 1, 2), (), False),
        ((0, 1, 2), (1,), True),
        ((0, 1, 2), (7,), False),
        ((0, 1, 2, 3, 4), (1,), False),
        ((0, 1, 2, 3, 4), (1, 2), True),
        ((0,), (), True),
        ((1, 2, 3), (), False),
        ((1, 2, 3), (2,), True),
    ],
)
async def test_majority_counts_the_broker_itself_if_it_votes(
    voters: Collection[int], linked: Collection[int], *, reached: bool
) -> None:
    links = FakeLinks()
    watched = majority(links, voters)
    links.link(*linked)

    assert watched.is_reached is reached


async def test_loss_of_the_majority_is_waited_for() -> None:
    links = FakeLinks()
    watched = majority(links)
    links.link(1)
    waiting = asyncio.create_task(watched.wait_lost())
    await asyncio.sleep(0)
    links.link()

    await asyncio.wait_for(waiting, 5)
