"""What a leader appends is on its follower's disk, and is the same, whoever led when."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ottla.model.errors import OttlaError
from ottla.model.ids import NO_BROKER, BrokerEpoch, Offset
from ottla.record.batch import split_batches
from tests.cluster.copying import Pair
from tests.cluster.world import DIRECTORY, ME, OTHER, batch, broker, partition, until


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    pair = Pair()
    await pair.start()
    yield pair
    await pair.stop()


async def test_what_the_leader_appends_is_copied_and_committed(pair: Pair) -> None:
    await pair.put_orders()

    await pair.one.appended(batch(b"a", b"b"), name="orders")
    await pair.one.appended(batch(b"c"), name="orders")

    await pair.copied()
    assert pair.records(pair.two) == pair.records(pair.one)
    assert pair.two.partition("orders").log.recovery_point == 3


async def test_nothing_is_committed_before_the_followers_disk_has_it(pair: Pair) -> None:
    await pair.put_orders()
    pair.two.disk.hold()

    pending = asyncio.create_task(pair.one.append(name="orders"))
    await until(lambda: pair.two.log_end("orders") == 1 and pair.two.disk.waiting)
    await pair.one.flushed()
    assert pair.one.partition("orders").high_watermark == 0

    pair.two.disk.let_go()
    assert not isinstance(await pending, OttlaError)


async def test_with_write_caching_the_followers_memory_is_enough(pair: Pair) -> None:
    await pair.put_orders(write_caching="true")
    pair.two.disk.hold()

    await pair.one.appended(name="orders")

    assert pair.one.partition("orders").high_watermark == 1


async def test_many_partitions_begin_in_one_message(pair: Pair) -> None:
    await pair.put_orders(partitions=70)
    await until(lambda: sum(len(r.begin) for p in pair.two.pipes for r in p.requests) == 70)
    await pair.two.disconnect()

    pair.two.connected.set()
    await until(lambda: len(pair.two.pipes) > 1 and pair.two.pipes[-1].requests)

    first = pair.two.pipes[-1].requests[0]
    assert len(first.begin) == 70
    assert first.identity.broker_id == OTHER
    assert first.credit_bytes == 16 << 20


async def test_after_a_broken_call_copying_goes_on_where_it_was(pair: Pair) -> None:
    await pair.put_orders()
    await pair.one.appended(name="orders")
    await pair.copied()
    await pair.two.disconnect()
    await pair.one.append(name="orders", acks=1)
    pair.two.connected.set()

    await pair.copied()
    assert pair.two.pipes[-1].requests[0].begin[0].fetch_offset == 1
    assert pair.records(pair.two) == pair.records(pair.one)


async def test_who_followed_leads_with_what_it_has(pair: Pair) -> None:
    await pair.put_orders()
    await pair.one.appended(batch(b"a"), name="orders")
    await pair.copied()

    await pair.change(leader=OTHER)
    await pair.two.appended(batch(b"b"), name="orders")

    await pair.copied()
    assert [b.header.partition_leader_epoch for b in split_batches(pair.records(pair.one))] == [
        0,
        1,
    ]
    assert pair.records(pair.two) == pair.records(pair.one)


async def test_what_a_deposed_leader_alone_had_is_cut_off(pair: Pair) -> None:
    await pair.put_orders()
    await pair.one.appended(batch(b"a"), name="orders")
    await pair.copied()
    await pair.two.disconnect()
    await pair.one.append(batch(b"lost"), name="orders", acks=1)
    await pair.change(leader=OTHER, to=(pair.two,))
    await pair.two.append(batch(b"b"), name="orders", acks=1)
    await pair.change(to=(pair.one,))

    await pair.copied()
    assert pair.records(pair.one) == pair.records(pair.two)
    assert b"lost" not in pair.records(pair.one)


async def test_who_is_elected_while_its_log_is_cut_leads_with_what_is_left(pair: Pair) -> None:
    await pair.put_orders()
    await pair.two.disconnect()
    await pair.one.append(batch(b"lost"), name="orders", acks=1)
    await pair.change(leader=OTHER, to=(pair.two,))
    await pair.two.append(batch(b"b"), name="orders", acks=1)
    # The barrier of the flusher keeps the cut waiting.
    pair.one.disk.hold()
    await pair.one.append(batch(b"lost too"), name="orders", acks=1)
    await pair.change(to=(pair.one,))
    cut = pair.one.partition("orders")
    await until(lambda: cut.is_cutting)

    electing = asyncio.create_task(pair.change(leader=ME))
    pair.one.disk.let_go()
    await electing

    assert cut.is_leader
    pair.two.connected.set()
    await pair.one.appended(batch(b"kept"), name="orders")
    await pair.copied()
    assert b"lost" not in pair.records(pair.one)


async def test_several_quick_elections_end_with_the_same_logs(pair: Pair) -> None:
    await pair.put_orders()
    await pair.two.disconnect()
    pair.one.connected.clear()
    for leader in (OTHER, ME, OTHER, ME, OTHER):
        leading = pair.two if leader == OTHER else pair.one
        await pair.change(leader=leader)
        await leading.append(batch(b"by %d" % leader), name="orders", acks=1)
    pair.one.connected.set()

    await pair.copied()
    assert pair.records(pair.one) == pair.records(pair.two)


async def test_who_starts_empty_begins_where_the_leaders_log_does(pair: Pair) -> None:
    await pair.put_orders(part=partition((ME,)))
    for _ in range(3):
        await pair.one.appended(name="orders")
    pair.one.partition("orders").delete_records_before(Offset(2))

    await pair.change(replicas=(ME, OTHER))

    await until(lambda: pair.two.replicas.partitions and pair.two.log_end("orders") == 3)
    log = pair.two.partition("orders").log
    assert (log.log_start_offset, log.log_end_offset) == (2, 3)


async def test_who_starts_empty_gets_the_batch_in_which_the_leaders_log_starts(
    pair: Pair,
) -> None:
    await pair.put_orders(part=partition((ME,)))
    await pair.one.appended(batch(b"a"), name="orders")
    await pair.one.appended(batch(b"b", b"c", b"d"), name="orders")
    pair.one.partition("orders").delete_records_before(Offset(2))

    await pair.change(replicas=(ME, OTHER))

    await until(lambda: pair.two.replicas.partitions and pair.two.log_end("orders") == 4)
    assert pair.two.partition("orders").log.log_start_offset == 2
    await pair.one.append(batch(b"e"), name="orders", acks=1)
    await until(lambda: pair.two.log_end("orders") == 5)


async def test_the_log_start_follows_the_leaders(pair: Pair) -> None:
    await pair.put_orders()
    await pair.one.appended(batch(b"a"), name="orders")
    await pair.one.appended(batch(b"b"), name="orders")
    await pair.copied()

    pair.one.partition("orders").delete_records_before(Offset(1))
    await pair.one.appended(batch(b"c"), name="orders")

    await until(lambda: pair.two.partition("orders").log.log_start_offset == 1)


async def test_a_partition_that_moved_away_is_deleted_and_others_go_on(pair: Pair) -> None:
    await pair.put_orders(partitions=2)
    await pair.one.appended(name="orders", number=1)
    await pair.copied(1)
    calls = len(pair.two.pipes)

    await pair.change(replicas=(ME,), in_sync_replicas=(ME,))

    assert [tp.partition for tp in pair.two.replicas.partitions] == [1]
    assert "orders-0" not in pair.two.disk.list(DIRECTORY)
    await pair.one.appended(name="orders", number=1)
    await pair.copied(1)
    assert len(pair.two.pipes) == calls


async def test_a_follower_without_a_leader_keeps_its_log_and_waits(pair: Pair) -> None:
    await pair.put_orders()
    await pair.one.appended(name="orders")
    await pair.copied()

    await pair.change(leader=NO_BROKER)
    assert not pair.two.partition("orders").is_follower
    assert pair.two.partition("orders").high_watermark == 1

    await pair.change(leader=ME)
    await pair.one.appended(name="orders")
    await pair.copied()


async def test_a_broker_registered_anew_calls_anew(pair: Pair) -> None:
    await pair.put_orders()
    await until(lambda: pair.two.pipes)
    await pair.register(replace(broker(OTHER), broker_epoch=BrokerEpoch(5)))

    await until(lambda: len(pair.two.pipes) > 1 and pair.two.pipes[-1].requests)
    assert pair.two.pipes[-1].requests[0].identity.broker_epoch == 5


async def test_a_disk_that_fails_ends_copying(pair: Pair) -> None:
    await pair.put_orders()
    await pair.one.appended(name="orders")
    await pair.copied()
    pair.two.disk.fail("sync", errno.EIO, name_suffix=".log")

    await pair.one.append(name="orders", acks=1)
    await until(lambda: pair.two.directory.failure is not None)
    await pair.one.append(name="orders", acks=1)
    await pair.one.flushed()

    assert pair.one.partition("orders").high_watermark == 1
