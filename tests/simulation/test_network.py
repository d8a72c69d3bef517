"""Links of the simulated network keep order, hold up what is blocked, and end as a whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ottla.simulation.network import SILENCE_MAX_MS, LinkEnd, Network
from ottla.simulation.process import Process, ProcessClock
from ottla.simulation.world import World


class Peer:
    """A process that takes every link, notes what arrives, and answers with what it was asked."""

    def __init__(self, network: Network, number: int) -> None:
        world = network.world
        clock = ProcessClock(world, rate=1.0, wall_offset_ms=0)
        self.process = Process(world, number, f"peer {number}", clock)
        self.arrived: list[object] = []
        self.ended = 0
        self.end: LinkEnd | None = None
        network.listen(self.process, self)

    def accept(self, service: str, end: LinkEnd, hello: object) -> bool:
        del service, hello
        self.opened(end)
        return True

    def opened(self, end: LinkEnd) -> None:
        self.end = end
        end.on_message = self.arrived.append
        end.on_end = self.note_end

    def note_end(self) -> None:
        self.ended += 1

    def answer(self, request: object, respond: Callable[[object], None]) -> None:
        respond(request)

    def send(self, *messages: object) -> None:
        assert self.end is not None
        for message in messages:
            self.end.send(message)


class Two:
    """Two peers with a link."""

    def __init__(self) -> None:
        self.world = World(1)
        self.network = Network(self.world)
        self.one, self.other = Peer(self.network, 1), Peer(self.network, 2)
        self.network.dial(
            self.one.process, 2, service="", hello="", opened=self.one.opened, failed=pytest.fail
        )
        self.run(100)

    def run(self, milliseconds: int) -> None:
        self.world.run_until(self.world.now_ms + milliseconds)


@pytest.fixture
def two() -> Two:
    return Two()


def test_messages_arrive_once_and_in_order(two: Two) -> None:
    two.one.send(*range(50))
    two.run(100)

    assert two.other.arrived == list(range(50))


def test_what_is_blocked_arrives_when_the_way_is_free_again(two: Two) -> None:
    two.network.block(1, 2)
    two.one.send("late", "later")
    two.run(200)
    assert two.other.arrived == []

    two.network.heal()
    two.run(100)

    assert two.other.arrived == ["late", "later"]
    assert (two.one.ended, two.other.ended) == (0, 0)


def test_a_link_that_stays_blocked_ends_for_both(two: Two) -> None:
    two.network.block(1, 2)
    two.one.send("lost")
    two.run(3 * SILENCE_MAX_MS)

    assert (two.one.ended, two.other.ended) == (1, 1)
    assert two.other.arrived == []


def test_a_paused_process_gets_everything_when_it_goes_on(two: Two) -> None:
    two.other.process.pause()
    two.one.send(1, 2, 3)
    two.run(1_000)
    assert two.other.arrived == []

    two.other.process.resume()

    assert two.other.arrived == [1, 2, 3]


def test_the_peer_of_a_dead_process_is_told(two: Two) -> None:
    two.other.process.die()
    two.network.died(two.other.process, silence=False)
    two.run(100)

    assert two.one.ended == 1


def test_a_call_is_answered_or_given_up(two: Two) -> None:
    answers: list[object] = []
    two.network.call(two.one.process, 2, "first", replied=answers.append, timeout_ms=50)
    two.run(100)
    two.network.block(2, 1)
    two.network.call(two.one.process, 2, "second", replied=answers.append, timeout_ms=50)
    two.run(100)

    assert answers == ["first", None]
