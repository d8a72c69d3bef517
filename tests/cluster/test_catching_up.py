"""Who catches up is sent no more in a second than it wants, and others do not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from ottla.cluster.byte_rate import FILL_S, PORTION_BYTES, ByteRate
from ottla.cluster.replica_fetcher import share_of
from ottla.model.errors import InvalidRequestError
from tests.cluster.copying import Pair
from tests.cluster.following import Leading
from tests.cluster.world import ME, OTHER, batch, partition, until

RATE = 2_000_000
BATCH_BYTES = 100_000

# --- The bucket -----------------------------------------------------------------------


def test_without_a_limit_there_is_any_number_of_bytes() -> None:
    rate = ByteRate()
    rate.spend(10**9)

    assert rate.available(now_s=0) is None


@pytest.mark.parametrize("bytes_per_second", [1, 1_000, RATE, 10**9])
def test_in_the_long_run_the_rate_is_kept(bytes_per_second: int) -> None:
    rate = ByteRate()
    now_s, spent = 5.0, 0
    rate.limit(bytes_per_second, now_s)
    while now_s < 5 + 20 or spent == 0:
        available = rate.available(now_s)
        assert available is not None
        if available:
            rate.spend(BATCH_BYTES)
            spent += BATCH_BYTES
        now_s += max(rate.wait_s(), 0.001)

    at_most = bytes_per_second * (now_s - 5) + bytes_per_second * FILL_S + BATCH_BYTES
    assert spent <= at_most
    if bytes_per_second > 1_000:
        assert spent >= 0.9 * min(at_most, 20 / 0.001 * BATCH_BYTES)


def test_who_was_idle_may_not_make_up_for_it() -> None:
    rate = ByteRate()
    rate.limit(RATE, 0)

    assert rate.available(now_s=3_600) == RATE * FILL_S


def test_what_is_not_worth_a_message_is_not_given() -> None:
    rate = ByteRate()
    rate.limit(10**9, 0)
    rate.available(now_s=1)
    rate.spend(10**8)

    assert rate.available(now_s=1 + 1e-6) == 0
    assert rate.wait_s() == pytest.approx(PORTION_BYTES / 10**9, rel=0.01)


# --- The leader's side ----------------------------------------------------------------


@pytest.fixture
async def leading() -> AsyncIterator[Leading]:
    running = Leading()
    await running.start()
    yield running
    await running.stop()


def append(leading: Leading, count: int, *, number: int = 0) -> None:
    for _ in range(count):
        leading.begin(("orders", number, batch(bytes(BATCH_BYTES))), acks=1)


async def test_who_catches_up_is_sent_what_it_wants_in_a_second(leading: Leading) -> None:
    append(leading, 8)
    follower = leading.follower()
    follower.say(catch_up_bytes_per_second=RATE)
    began_s = asyncio.get_running_loop().time()

    follower.begin(0, catching_up=True)
    await follower.has(8)

    # A bucket and a batch are ahead of the rate.
    least_s = (8 * BATCH_BYTES - RATE * FILL_S - BATCH_BYTES) / RATE
    assert asyncio.get_running_loop().time() - began_s >= least_s


async def test_those_in_step_are_not_held_back(leading: Leading) -> None:
    append(leading, 3)
    follower = leading.follower()
    follower.say(catch_up_bytes_per_second=1)
    follower.begin(0, catching_up=True)
    follower.begin(1)

    append(leading, 5, number=1)

    await follower.has(5, 1)
    assert follower.end_offset(0) <= 1


async def test_limit_is_lifted_at_once(leading: Leading) -> None:
    append(leading, 5)
    follower = leading.follower()
    follower.say(catch_up_bytes_per_second=1)
    follower.begin(0, catching_up=True)
    append(leading, 1, number=1)
    follower.begin(1)
    await follower.has(1, 1)

    follower.say(catch_up_bytes_per_second=0)

    await follower.has(5)


async def test_rate_that_nobody_can_mean_ends_the_call(leading: Leading) -> None:
    follower = leading.follower()
    follower.say(catch_up_bytes_per_second=-1)

    assert isinstance(await follower.ended(), InvalidRequestError)


# --- The follower's side --------------------------------------------------------------


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.start()
    yield pair
    await pair.stop()


@dataclass
class Link:
    is_behind: bool


@pytest.mark.parametrize(
    ("rate", "behind", "share"), [(900, 3, 300), (900, 1, 900), (900, 0, 900), (2, 3, 1)]
)
def test_links_that_are_behind_share_the_rate(rate: int, behind: int, share: int) -> None:
    links = [Link(is_behind=False)] * 5 + [Link(is_behind=True)] * behind

    assert share_of(rate, links) == share


async def test_link_says_the_rate_with_its_first_message(pair: Pair) -> None:
    pair.two.catch_up_rate = RATE
    await pair.put_orders(part=partition((ME, OTHER), isr=(ME,)))
    await until(lambda: pair.two.pipes and pair.two.pipes[0].requests)

    assert pair.two.pipes[0].requests[0].catch_up_bytes_per_second == RATE


async def test_link_without_a_limit_says_nothing_of_it(pair: Pair) -> None:
    await pair.put_orders()
    await until(lambda: pair.two.pipes and pair.two.pipes[0].requests)

    assert not pair.two.pipes[0].requests[0].HasField("catch_up_bytes_per_second")


async def test_changed_rate_is_said_with_the_image_that_changes_it(pair: Pair) -> None:
    await pair.put_orders()
    await until(lambda: pair.two.pipes and pair.two.pipes[0].requests)

    for rate, said in ((7, 7), (None, 0)):
        pair.two.catch_up_rate = rate
        await pair.put()
        await _said(pair, said)


async def _said(pair: Pair, rate: int) -> None:
    def is_said() -> bool:
        return any(
            request.HasField("catch_up_bytes_per_second")
            and request.catch_up_bytes_per_second == rate
            for request in pair.two.pipes[0].requests
        )

    await until(is_said)
