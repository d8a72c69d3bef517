"""A deadline comes when it was set for last, and costs nothing until then."""

from __future__ import annotations

import random

from ottla.coordinator.timers import Timers


def due(timers: Timers[str], now_ms: int) -> list[str]:
    found = []
    while (key := timers.pop_due(now_ms)) is not None:
        found.append(key)
    return found


def test_no_deadline_is_never_due() -> None:
    timers: Timers[str] = Timers()

    assert timers.deadline_ms() is None
    assert due(timers, 10**9) == []


def test_keys_are_due_in_the_order_of_their_deadlines() -> None:
    timers: Timers[str] = Timers()
    for key, at_ms in [("c", 30), ("a", 10), ("b", 20)]:
        timers.set(key, at_ms)

    assert timers.deadline_ms() == 10
    assert due(timers, 20) == ["a", "b"]
    assert due(timers, 30) == ["c"]


def test_deadline_that_was_put_off_does_not_come_before() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 10)
    timers.set("a", 50)

    assert due(timers, 49) == []
    assert timers.deadline_ms() == 50
    assert due(timers, 50) == ["a"]


def test_deadline_that_was_brought_forward_comes_once() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 50)
    timers.set("a", 10)

    assert due(timers, 10) == ["a"]
    assert due(timers, 100) == []


def test_cancelled_deadline_does_not_come() -> None:
    timers: Timers[str] = Timers()
    timers.set("a", 10)
    timers.cancel("a")
    timers.cancel("b")

    assert "a" not in timers
    assert timers.deadline_ms() is None
    assert due(timers, 10) == []


def test_deadlines_that_change_all_the_time_do_not_pile_up() -> None:
    timers: Timers[str] = Timers()
    for at_ms in range(100_000, 0, -1):
        timers.set("a", at_ms)

    assert len(timers._heap) < 100
    assert due(timers, 1) == ["a"]


def test_random_changes_leave_what_a_table_of_deadlines_would() -> None:
    chance = random.Random(1)
    timers: Timers[int] = Timers()
    table: dict[int, int] = {}
    for now_ms in range(3_000):
        key = chance.randrange(20)
        if chance.random() < 0.7:
            table[key] = now_ms + chance.randrange(50)
            timers.set(key, table[key])
        else:
            table.pop(key, None)
            timers.cancel(key)
        expected = {key for key, at_ms in table.items() if at_ms <= now_ms}
        found = set()
        while (late := timers.pop_due(now_ms)) is not None:
            found.add(late)
            del table[late]
        assert found == expected
        deadline_ms = timers.deadline_ms()
        assert (deadline_ms is None) == (not table)
        assert deadline_ms is None or deadline_ms <= min(table.values())
