"""A waiting request wakes once: when its condition is reached, it fails, or its time is up."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from ottla.model.errors import NotLeaderOrFollowerError, OttlaError, ThrottlingQuotaExceededError
from ottla.runtime.purgatory import Outcome, Purgatory, Waiter
from ottla.runtime.system_clock import SystemClock


class HandClock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.ms = 1000

    def now_ms(self) -> int:
        return self.ms

    def wall_ms(self) -> int:
        return self.ms


class Room:
    """A purgatory whose waiters write down what woke them."""

    def __init__(self, waiters_max: int = 100) -> None:
        self.clock = HandClock()
        self.purgatory: Purgatory[str] = Purgatory(self.clock, waiters_max=waiters_max)
        self.woken: list[tuple[str, Outcome | OttlaError]] = []

    def watch(self, name: str, *conditions: tuple[str, int], until_ms: int = 9999) -> Waiter[str]:
        return self.purgatory.watch(
            conditions, deadline_ms=until_ms, done=lambda why: self.woken.append((name, why))
        )

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.woken]


@pytest.fixture
async def room() -> Room:
    return Room()


async def test_waiter_wakes_when_its_threshold_is_reached(room: Room) -> None:
    room.watch("w", ("p", 10))

    room.purgatory.advance("p", 10)

    assert room.woken == [("w", Outcome.REACHED)]


async def test_waiter_sleeps_below_its_threshold(room: Room) -> None:
    room.watch("w", ("p", 10))

    assert room.purgatory.advance("p", 9) == 0
    assert room.woken == []


async def test_waiter_sleeps_while_other_keys_advance(room: Room) -> None:
    room.watch("w", ("p", 10))

    room.purgatory.advance("q", 100)

    assert room.woken == []


async def test_waiters_wake_in_the_order_of_their_thresholds(room: Room) -> None:
    for threshold in (30, 10, 40, 20):
        room.watch(str(threshold), ("p", threshold))

    assert room.purgatory.advance("p", 30) == 3
    assert room.names == ["10", "20", "30"]


async def test_waiters_of_one_threshold_wake_in_the_order_they_came(room: Room) -> None:
    for name in "abc":
        room.watch(name, ("p", 5))

    room.purgatory.advance("p", 5)

    assert room.names == ["a", "b", "c"]


async def test_one_of_several_conditions_is_enough_and_wakes_once(room: Room) -> None:
    room.watch("w", ("p", 10), ("q", 20))

    room.purgatory.advance("q", 20)
    room.purgatory.advance("p", 10)

    assert room.names == ["w"]


async def test_failed_key_wakes_its_waiters_with_the_error(room: Room) -> None:
    error = NotLeaderOrFollowerError("moved")
    room.watch("w", ("p", 10))
    room.watch("other", ("q", 10))

    assert room.purgatory.fail("p", error) == 1
    assert room.woken == [("w", error)]


async def test_everybody_wakes_when_all_fail(room: Room) -> None:
    room.watch("v", ("p", 10), ("q", 1))
    room.watch("w", ("q", 10))

    assert room.purgatory.fail_all(NotLeaderOrFollowerError("stopping")) == 2
    assert len(room.purgatory) == 0


async def test_waiter_expires_at_its_deadline(room: Room) -> None:
    room.watch("w", ("p", 10), until_ms=2000)
    room.clock.ms = 2000

    assert room.purgatory.expire_due() == 1
    assert room.woken == [("w", Outcome.EXPIRED)]


async def test_waiter_does_not_expire_before_its_deadline(room: Room) -> None:
    room.watch("w", ("p", 10), until_ms=2000)
    room.clock.ms = 1999

    assert room.purgatory.expire_due() == 0


async def test_expired_waiter_is_not_woken_again(room: Room) -> None:
    room.watch("w", ("p", 10), until_ms=1000)
    room.purgatory.expire_due()

    room.purgatory.advance("p", 10)

    assert room.names == ["w"]


async def test_cancelled_waiter_does_not_wake(room: Room) -> None:
    room.purgatory.cancel(room.watch("w", ("p", 10), until_ms=1000))

    room.purgatory.advance("p", 10)
    room.purgatory.expire_due()

    assert room.woken == []


async def test_cancelling_a_woken_waiter_changes_nothing(room: Room) -> None:
    waiter = room.watch("w", ("p", 10))
    room.watch("other", ("p", 20))
    room.purgatory.advance("p", 10)

    room.purgatory.cancel(waiter)

    assert len(room.purgatory) == 1


async def test_nothing_is_kept_of_waiters_that_have_ended(room: Room) -> None:
    room.watch("reached", ("p", 1), ("q", 1))
    room.watch("expired", ("p", 9), ("r", 1), until_ms=1000)
    room.purgatory.cancel(room.watch("cancelled", ("q", 9), ("r", 9)))
    room.purgatory.advance("p", 1)
    room.purgatory.expire_due()

    assert not room.purgatory._queues
    assert not room.purgatory._deadlines


async def test_idle_keys_do_not_collect_what_is_left_of_waiters(room: Room) -> None:
    room.watch("patient", ("idle", 1), ("busy", 1 << 60))
    for offset in range(1000):
        room.watch("poll", ("idle", 1), ("busy", offset))
        room.purgatory.advance("busy", offset)

    assert len(room.purgatory._queues["idle"].heap) <= 2


async def test_too_many_waiters_are_refused() -> None:
    room = Room(waiters_max=2)
    room.watch("1", ("p", 1))
    room.watch("2", ("p", 2))

    with pytest.raises(ThrottlingQuotaExceededError, match="2 requests are waiting"):
        room.watch("3", ("p", 3))


async def test_place_of_an_ended_waiter_is_free_again() -> None:
    room = Room(waiters_max=1)
    room.watch("1", ("p", 1))
    room.purgatory.advance("p", 1)

    room.watch("2", ("p", 2))


async def test_waiting_coroutine_returns_when_the_offset_is_reached(room: Room) -> None:
    waiting = asyncio.ensure_future(room.purgatory.wait([("p", 10)], deadline_ms=9999))
    await asyncio.sleep(0)

    room.purgatory.advance("p", 11)

    assert await waiting is Outcome.REACHED


async def test_waiting_coroutine_raises_what_its_key_failed_with(room: Room) -> None:
    waiting = asyncio.ensure_future(room.purgatory.wait([("p", 10)], deadline_ms=9999))
    await asyncio.sleep(0)
    room.purgatory.fail("p", NotLeaderOrFollowerError("moved"))

    with pytest.raises(NotLeaderOrFollowerError, match="moved"):
        await waiting


async def test_cancelled_coroutine_leaves_no_waiter(room: Room) -> None:
    waiting = asyncio.ensure_future(room.purgatory.wait([("p", 10)], deadline_ms=9999))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert len(room.purgatory) == 0


async def test_coroutine_cancelled_in_the_moment_it_is_woken_stays_cancelled(room: Room) -> None:
    waiting = asyncio.ensure_future(room.purgatory.wait([("p", 10)], deadline_ms=9999))
    await asyncio.sleep(0)
    waiting.cancel()
    room.purgatory.advance("p", 10)
    await asyncio.wait([waiting])

    assert waiting.cancelled()


async def test_timer_of_the_event_loop_expires_waiters_in_time() -> None:
    clock = SystemClock()
    purgatory: Purgatory[str] = Purgatory(clock)
    start_ms = clock.now_ms()

    later = purgatory.wait([("p", 1)], deadline_ms=start_ms + 40)
    sooner = purgatory.wait([("p", 1)], deadline_ms=start_ms + 10)
    outcomes = set(await asyncio.gather(later, sooner))

    assert outcomes == {Outcome.EXPIRED}
    assert clock.now_ms() - start_ms >= 40


async def test_timer_is_set_forward_for_a_nearer_deadline() -> None:
    clock = SystemClock()
    purgatory: Purgatory[str] = Purgatory(clock)
    now_ms = clock.now_ms()
    purgatory.watch([("p", 1)], deadline_ms=now_ms + 600_000, done=lambda _: None)

    async with asyncio.timeout(5):
        outcome = await purgatory.wait([("p", 1)], deadline_ms=now_ms + 5)

    assert outcome is Outcome.EXPIRED


async def test_deadline_that_has_passed_already_expires_at_once() -> None:
    purgatory: Purgatory[str] = Purgatory(SystemClock())

    assert await purgatory.wait([("p", 1)], deadline_ms=0) is Outcome.EXPIRED


async def test_ten_thousand_waiters_are_cheap() -> None:
    purgatory: Purgatory[int] = Purgatory(HandClock())
    woken: list[Outcome | OttlaError] = []
    start = time.process_time()
    for number in range(10_000):
        purgatory.watch([(number % 100, number)], deadline_ms=number, done=woken.append)
    for key in range(100):
        purgatory.advance(key, 10_000)

    assert len(woken) == 10_000
    assert time.process_time() - start < 5  # some 50 ms; a quadratic cost takes many times that


@pytest.mark.parametrize("seed", range(20))
async def test_random_history_wakes_exactly_who_should_be(seed: int) -> None:
    randomness = random.Random(seed)
    room = Room(waiters_max=1000)
    waiting: dict[str, tuple[dict[str, int], int, Waiter[str]]] = {}
    expected: list[str] = []
    for step in range(400):
        match randomness.randrange(5):
            case 0 | 1:
                keys = randomness.sample("abcd", randomness.randint(1, 3))
                conditions = {key: step + randomness.randint(1, 40) for key in keys}
                deadline = room.clock.ms + randomness.randint(1, 60)
                waiter = room.watch(str(step), *conditions.items(), until_ms=deadline)
                waiting[str(step)] = (conditions, deadline, waiter)
                ending = set()
            case 2:
                key = randomness.choice("abcd")
                ending = {n for n, (c, _, _) in waiting.items() if c.get(key, 1 << 30) <= step}
                room.purgatory.advance(key, step)
            case 3:
                room.clock.ms += randomness.randint(0, 10)
                ending = {n for n, (_, d, _) in waiting.items() if d <= room.clock.ms}
                room.purgatory.expire_due()
            case _ if waiting:
                room.purgatory.cancel(waiting.pop(randomness.choice(list(waiting)))[2])
                ending = set()
            case _:
                ending = set()
        expected += ending
        for name in ending:
            del waiting[name]
        assert sorted(room.names) == sorted(expected)
        assert len(room.purgatory) == len(waiting)
