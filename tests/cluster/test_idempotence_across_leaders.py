"""A retry that reaches the next leader is acknowledged once what it repeats is committed there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.model.errors import InvalidProducerEpochError, OutOfOrderSequenceError
from ottla.model.ids import Offset
from ottla.record.batch import HEADER_BYTES, split_batches, with_header
from tests.cluster.following import Leading
from tests.cluster.world import ME, OTHER, START_MS, batch, error_of, until

FIRST = batch(b"a", b"b", producer_id=7, producer_epoch=1, sequence=0)
SECOND = batch(b"c", producer_id=7, producer_epoch=1, sequence=2)
ZOMBIE = batch(b"z", producer_id=7, producer_epoch=0, sequence=0)


@pytest.fixture
async def next_leader() -> AsyncIterator[Leading]:
    """This broker, which has copied one batch from broker 2 and then follows it as the leader."""
    world = Leading()
    await world.start()
    await world.change_partition("orders", 0, leader=OTHER)
    (sent,) = split_batches(FIRST)
    written = with_header(sent.header._replace(partition_leader_epoch=1), sent.view[HEADER_BYTES:])
    world.partition("orders").log.append_replicated([written], now_ms=START_MS)
    await world.change_partition("orders", 0, leader=ME)
    yield world
    await world.stop()


async def test_retry_waits_until_what_it_repeats_is_committed(next_leader: Leading) -> None:
    followers = [next_leader.follower(id_) for id_ in (2, 3)]
    for follower in followers:
        follower.begin(0, leader_epoch=2)
    retried = asyncio.create_task(next_leader.appended(FIRST, name="orders"))
    for follower in followers:
        await follower.has(2)
    await next_leader.flushed()
    assert not retried.done()

    for follower in followers:
        follower.acknowledge(2)

    assert (await retried).base_offset == Offset(0)
    assert next_leader.log_end("orders") == 2


async def test_producer_goes_on_with_its_next_batch(next_leader: Leading) -> None:
    (result,) = await next_leader.begin(("orders", 0, SECOND), acks=1).wait()

    assert not isinstance(result, Exception)
    assert result.base_offset == 2


async def test_gap_is_refused(next_leader: Leading) -> None:
    late = batch(b"d", producer_id=7, producer_epoch=1, sequence=3)

    (result,) = await next_leader.begin(("orders", 0, late), acks=1).wait()

    assert error_of(result) is OutOfOrderSequenceError


async def test_zombie_is_fenced(next_leader: Leading) -> None:
    (result,) = await next_leader.begin(("orders", 0, ZOMBIE), acks=1).wait()

    assert error_of(result) is InvalidProducerEpochError


async def test_producer_that_waited_at_the_old_leader_is_sent_to_the_new_one(
    next_leader: Leading,
) -> None:
    waiting = next_leader.begin(("orders", 0, SECOND))
    await next_leader.change_partition("orders", 0, leader=OTHER)

    await until(lambda: waiting.results() is not None)

    (result,) = waiting.results() or []
    assert error_of(result).refreshes_metadata
