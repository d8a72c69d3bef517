"""Requests of all connections together take the memory that they may, and none waits for ever."""

from __future__ import annotations

from ottla.kafka.request_memory import Claim, RequestMemory


class Connections:
    """Claims by name, and who went on."""

    def __init__(self, bytes_max: int | None) -> None:
        self.memory = RequestMemory(bytes_max)
        self.resumed: list[str] = []

    def claim(self, name: str) -> Claim:
        return self.memory.claim(lambda: self.resumed.append(name))


def test_what_there_is_room_for_is_granted_at_once() -> None:
    connections = Connections(100)

    assert connections.claim("a").ask(60)
    assert connections.claim("b").ask(40)


def test_without_a_bound_everything_is_granted() -> None:
    assert Connections(None).claim("a").ask(1 << 40)


def test_first_that_finds_no_room_goes_on_all_the_same() -> None:
    connections = Connections(100)
    connections.claim("a").ask(90)

    assert connections.claim("b").ask(50)


def test_second_that_finds_no_room_waits_until_there_is() -> None:
    connections = Connections(100)
    first, second, third = map(connections.claim, "abc")
    first.ask(90)
    second.ask(50)

    assert not third.ask(30)
    second.give_back(50)
    assert connections.resumed == []
    first.give_back(90)
    assert connections.resumed == ["c"]
    assert connections.memory.used_bytes == 30


def test_those_that_wait_go_on_in_the_order_in_which_they_came() -> None:
    connections = Connections(100)
    claims = {name: connections.claim(name) for name in "abcd"}
    claims["a"].ask(100)
    claims["b"].ask(100)
    claims["c"].ask(80)
    claims["d"].ask(1)

    claims["a"].give_back(100)
    claims["b"].give_all_back()

    assert connections.resumed == ["c", "d"]


def test_one_goes_on_when_the_one_before_has_been_received() -> None:
    connections = Connections(100)
    claims = {name: connections.claim(name) for name in "abc"}
    claims["a"].ask(100)
    claims["b"].ask(100)
    claims["c"].ask(100)

    claims["b"].received()

    assert connections.resumed == ["c"]


def test_requests_that_are_all_half_received_do_not_wait_for_each_other_for_ever() -> None:
    connections = Connections(100)
    claims = {name: connections.claim(name) for name in "abcde"}
    waiting = [name for name, claim in claims.items() if not claim.ask(60)]
    done = [name for name in claims if name not in waiting]

    for _ in claims:  # each in its turn: received, handled, gone
        name = done.pop(0)
        claims[name].received()
        claims[name].give_back(60)
        done += connections.resumed
        connections.resumed.clear()

    assert connections.memory.used_bytes == 0
    assert not done


def test_connection_that_goes_while_it_waits_is_forgotten() -> None:
    connections = Connections(100)
    claims = {name: connections.claim(name) for name in "abc"}
    claims["a"].ask(100)
    claims["b"].ask(100)
    claims["c"].ask(10)

    claims["c"].give_all_back()
    claims["b"].give_all_back()
    claims["a"].give_all_back()

    assert connections.resumed == []
    assert connections.memory.used_bytes == 0


def test_small_buffers_are_counted_and_never_wait() -> None:
    connections = Connections(100)
    claim = connections.claim("a")

    claim.add(500)

    assert connections.memory.used_bytes == 500
