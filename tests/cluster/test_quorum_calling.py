"""Whoever is to call keeps calling, looks at who answers, and tells the operator what is news."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from ottla.cluster.quorum_handshake import Hello, QuorumIdentity
from ottla.cluster.quorum_link import Accepted, Frame, Refusal
from ottla.cluster.quorum_links import QuorumLinks
from ottla.config.addresses import Address
from ottla.model.errors import (
    BrokerNotAvailableError,
    InconsistentClusterIdError,
    InconsistentVoterSetError,
)
from ottla.model.ids import BrokerId
from tests.client.waiting import until
from tests.cluster.quorum_nodes import Listening, a_message, an_id

ME, PEER = BrokerId(1), BrokerId(0)
VOTERS = {PEER: Address("zero", 1), ME: Address("one", 1)}
HELLO = Hello(
    node_id=PEER,
    peer_id=None,
    cluster_id="",
    voters=frozenset(VOTERS),
    directory_id=an_id(1),
    incarnation_id=an_id(2),
)


class Answer:
    """A call whose other end says what a test has written down, then nothing, until it ends."""

    def __init__(self, *frames: Frame, broken: bool = False) -> None:
        self.said: list[Frame] = []
        self.closed = False
        self._frames = list(frames)
        self._broken = broken
        self._hung_up = asyncio.Event()

    async def read(self) -> Frame | None:
        if self._frames:
            return self._frames.pop(0)
        if self._broken:
            raise BrokerNotAvailableError("the network is down")
        await self._hung_up.wait()
        return None

    async def write(self, frame: Frame) -> None:
        self.said.append(frame)

    def close(self) -> None:
        self.closed = True

    def hang_up(self) -> None:
        self._hung_up.set()


class Calls:
    """What the links call with; ``answer`` says what comes of the next ones."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        self.answer = answer
        self.made: list[tuple[Address, Answer]] = []

    async def dial(self, address: Address) -> Answer:
        self.made.append((address, self.answer()))
        return self.made[-1][1]


@asynccontextmanager
async def calling(calls: Calls) -> AsyncIterator[tuple[QuorumLinks, Listening]]:
    listening = Listening()
    links = QuorumLinks(
        node_id=ME,
        voters=VOTERS,
        incarnation_id=an_id(3),
        directory_id=an_id(4),
        identity=lambda: QuorumIdentity(cluster_id="", voters={}),
        dial=calls.dial,
        receiver=listening,
        draw=lambda: 0.0,
    )
    links.identity_changed()
    running = asyncio.create_task(links.run())
    yield links, listening
    running.cancel()
    await asyncio.wait([running])


async def test_call_is_answered_and_becomes_a_link() -> None:
    calls = Calls(lambda: Answer(HELLO, Accepted(), a_message(1)))
    async with calling(calls) as (links, listening):
        await until(lambda: listening.messages)

        [(address, answer)] = calls.made
        assert address == VOTERS[PEER]
        assert links.present == {PEER}
        assert [type(frame) for frame in answer.said] == [Hello, Accepted]


async def test_wrong_broker_that_answers_is_refused_by_the_caller() -> None:
    calls = Calls(lambda: Answer(replace(HELLO, node_id=BrokerId(7)), broken=True))
    async with calling(calls) as (links, listening):
        await until(lambda: len(calls.made) > 1)

        [_, refusal] = calls.made[0][1].said
        assert isinstance(refusal, Refusal)
        assert isinstance(refusal.error, InconsistentVoterSetError)
        assert "at the address of voter 0 answers broker 7" in str(refusal.error)
        assert not links.present
        assert not listening.told


async def test_every_call_that_is_over_is_closed() -> None:
    calls = Calls(lambda: Answer(broken=True))
    async with calling(calls):
        await until(lambda: len(calls.made) == 4)
    assert all(answer.closed for _, answer in calls.made)


async def test_what_is_wrong_is_told_once_and_again_when_it_changes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = Calls(lambda: Answer(HELLO, Refusal(InconsistentClusterIdError("another cluster"))))
    async with calling(calls):
        await until(lambda: len(calls.made) >= 3)
        assert told(caplog) == ["quorum.link_refused"]

        calls.answer = lambda: Answer(broken=True)
        so_far = len(calls.made)
        await until(lambda: len(calls.made) >= so_far + 3)

    assert told(caplog) == ["quorum.link_refused", "quorum.link_not_made"]


async def test_link_that_ended_is_made_again_without_delay_however_long_it_took_before() -> None:
    calls = Calls(lambda: Answer(broken=True))
    loop = asyncio.get_running_loop()
    async with calling(calls) as (links, _):
        await until(lambda: len(calls.made) == 4)  # by now the pauses are long
        calls.answer = lambda: Answer(HELLO, Accepted())
        await until(lambda: links.present)
        so_far = len(calls.made)
        ended_s = loop.time()
        calls.made[-1][1].hang_up()
        await until(lambda: len(calls.made) > so_far)

        assert loop.time() - ended_s < 0.2


async def test_peer_that_never_says_accepted_is_no_link() -> None:
    calls = Calls(lambda: Answer(HELLO, a_message(1), broken=True))
    async with calling(calls) as (links, listening):
        await until(lambda: len(calls.made) > 1)

        assert not links.present
        assert not listening.told


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.message
        for record in caplog.records
        if record.levelno >= logging.WARNING and record.message.startswith("quorum.")
    ]
