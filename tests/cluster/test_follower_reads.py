"""A reader is sent to a replica in its rack, which serves what it knows to be committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ottla.cluster.fetch import BrokerFetchService
from ottla.cluster.read_replicas import ReadReplicas
from ottla.cluster.services import FetchFailed, PartitionFetched, PartitionToFetch
from ottla.model.errors import (
    FencedLeaderEpochError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    OffsetOutOfRangeError,
    UnknownLeaderEpochError,
)
from ottla.model.ids import BrokerId, LeaderEpoch, Offset, TopicPartition
from ottla.record.batch import HEADER_BYTES, split_batches, with_header
from ottla.replication.follower import LinkOpened
from tests.cluster.following import THIRD, Leading
from tests.cluster.world import ME, OTHER, batch, broker, error_of

ORDERS_0 = TopicPartition("orders", 0)
HERE, THERE = "rack-1", "rack-2"


class Reading(Leading):
    """Broker 1 is in one rack, brokers 2 and 3 are in another."""

    async def start(self) -> None:
        await super().start()
        self.fetch = BrokerFetchService(
            self.replicas,
            reads=self.waiters.reads,
            readers=self.readers,
            clock=self.clock,
            gate=self.gate,
            replicas=ReadReplicas(self.metadata, broker_id=ME),
        )
        racks = {ME: HERE, OTHER: THERE, THIRD: THERE}
        await self.publish(
            brokers={id_: replace(broker(id_), rack=rack) for id_, rack in racks.items()}
        )

    async def read(
        self,
        offset: int = 0,
        *,
        epoch: int | None = None,
        from_follower: bool = False,
        rack: str = "",
        max_wait_ms: int = 0,
    ) -> PartitionFetched | FetchFailed:
        asked = PartitionToFetch(
            ORDERS_0,
            Offset(offset),
            leader_epoch=None if epoch is None else LeaderEpoch(epoch),
            from_follower=from_follower,
            rack=rack,
        )
        (result,) = await self.fetch.fetch(
            [asked], max_wait_ms=max_wait_ms, min_bytes=0, max_bytes=0
        )
        return result

    async def preferred(self, offset: int = 0, *, rack: str = THERE) -> BrokerId | None:
        result = await self.read(offset, rack=rack)
        assert isinstance(result, PartitionFetched), result
        return result.preferred_read_replica

    async def commit(self, **ends: int) -> None:
        """Append two records, and let brokers 2 and 3 acknowledge them as far as the test says."""
        ends = {"second": 2, "third": 2} | ends
        self.begin(("orders", 0, batch(b"a")), ("orders", 1, batch(b"x")), acks=1)
        self.begin(("orders", 0, batch(b"b")), acks=1)
        for id_, end in ((OTHER, ends["second"]), (THIRD, ends["third"])):
            follower = self.follower(id_)
            follower.begin(0)
            await follower.has(2)
            follower.acknowledge(end)
        await self.flushed()
        await asyncio.sleep(0)

    # --- As a follower ---

    async def follow(self) -> None:
        await self.change_partition("orders", 0, leader=OTHER)
        following = self.partition("orders").following
        assert following is not None
        following.step(LinkOpened())

    def receive(self, *values: bytes, high_watermark: int) -> None:
        """Get batches of one record each, and a high watermark, from the leader."""
        end = self.log_end("orders")
        sent = bytearray()
        for number, value in enumerate(values):
            (plain,) = split_batches(batch(value))
            header = plain.header._replace(base_offset=end + number, partition_leader_epoch=1)
            sent += with_header(header, plain.view[HEADER_BYTES:]).view
        following = self.partition("orders").following
        assert following is not None
        following.received(
            bytes(sent),
            generation=following.next_generation - 1,
            high_watermark=high_watermark,
            log_start_offset=0,
        )


@pytest.fixture
async def world() -> AsyncIterator[Reading]:
    running = Reading()
    await running.start()
    yield running
    await running.stop()


# --- Where a reader is sent ---


async def test_reader_in_another_rack_is_told_of_the_replica_there_that_is_furthest(
    world: Reading,
) -> None:
    await world.commit(second=1)

    assert await world.preferred(1) == THIRD


async def test_reader_is_given_records_all_the_same(world: Reading) -> None:
    await world.commit()

    result = await world.read(0, rack=THERE)

    assert isinstance(result, PartitionFetched)
    assert result.next_offset == 2


@pytest.mark.parametrize("rack", ["", HERE, "rack-3"])
async def test_reader_stays_where_nobody_is_nearer(world: Reading, rack: str) -> None:
    await world.commit()

    assert await world.preferred(rack=rack) is None


async def test_reader_stays_while_nobody_nearer_has_what_it_asks_for(world: Reading) -> None:
    world.begin(("orders", 0, batch(b"a")), acks=1)

    assert await world.preferred(0) is None


async def test_replica_that_is_not_in_sync_is_not_named(world: Reading) -> None:
    await world.commit()
    await world.change_partition("orders", 0, in_sync_replicas=(ME, OTHER))

    assert await world.preferred(0) == OTHER


@pytest.mark.parametrize("state", ["fenced", "shutting_down"])
async def test_replica_that_serves_no_more_is_not_named(world: Reading, state: str) -> None:
    await world.commit()
    brokers = world.image.brokers
    gone = {id_: replace(brokers[id_], **{state: True}) for id_ in (OTHER, THIRD)}  # type: ignore[arg-type]

    await world.publish(brokers={**brokers, **gone})

    assert await world.preferred(0) is None


# --- What a follower serves ---


async def test_follower_serves_nobody_who_does_not_ask_for_it(world: Reading) -> None:
    await world.follow()

    result = await world.read()

    assert isinstance(result, FetchFailed)
    assert error_of(result.error) is NotLeaderOrFollowerError


async def test_follower_serves_what_it_knows_to_be_committed(world: Reading) -> None:
    await world.follow()
    world.receive(b"a", b"b", b"c", high_watermark=2)

    result = await world.read(from_follower=True)

    assert isinstance(result, PartitionFetched)
    assert (result.next_offset, result.high_watermark) == (2, 2)


async def test_what_is_not_known_to_be_committed_is_waited_for(world: Reading) -> None:
    await world.follow()
    world.receive(b"a", b"b", high_watermark=1)
    reading = asyncio.create_task(world.read(1, from_follower=True, max_wait_ms=10_000))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not reading.done()

    world.receive(high_watermark=2)

    result = await reading
    assert isinstance(result, PartitionFetched)
    assert result.next_offset == 2


async def test_offset_that_the_follower_does_not_have_yet_is_to_be_asked_for_again(
    world: Reading,
) -> None:
    await world.follow()
    world.receive(b"a", high_watermark=1)

    result = await world.read(5, from_follower=True)

    assert isinstance(result, FetchFailed)
    assert error_of(result.error) is OffsetNotAvailableError


async def test_offset_below_the_followers_log_is_out_of_range(world: Reading) -> None:
    await world.follow()
    world.receive(b"a", b"b", high_watermark=2)
    world.partition("orders").log.delete_records_before(Offset(1))

    result = await world.read(0, from_follower=True)

    assert isinstance(result, FetchFailed)
    assert error_of(result.error) is OffsetOutOfRangeError


@pytest.mark.parametrize(
    ("epoch", "error"), [(0, FencedLeaderEpochError), (2, UnknownLeaderEpochError)]
)
async def test_reader_of_another_leader_epoch_is_refused(
    world: Reading, epoch: int, error: type[Exception]
) -> None:
    await world.follow()

    result = await world.read(epoch=epoch, from_follower=True)

    assert isinstance(result, FetchFailed)
    assert error_of(result.error) is error
    assert isinstance(await world.read(epoch=1, from_follower=True), PartitionFetched)


async def test_leader_serves_a_reader_that_takes_it_for_a_follower(world: Reading) -> None:
    await world.commit()

    assert isinstance(await world.read(from_follower=True), PartitionFetched)
