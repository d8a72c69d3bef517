"""Fetch of Kafka gives batches as they are stored, waits as asked, and fails by partitions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ottla.cluster.fetch import BrokerFetchService
from ottla.cluster.read_replicas import ReadReplicas
from ottla.kafka.fetch_shares import FetchShares
from ottla.kafka.handling import Throttled
from ottla.model.ids import Offset, TopicPartition
from ottla.model.limits import FETCH_RESPONSE_BYTES_MAX, KAFKA_FETCH_SHARE_MS, MIB
from ottla.record.batch import TRANSACTIONAL_BIT, split_batches, with_header
from ottla.wire.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchTopic,
    PartitionData,
    ReplicaState,
)
from tests.cluster.following import THIRD, Leading
from tests.cluster.world import ME, OTHER, batch, until
from tests.kafka.data.door import DataDoor, begun, context, in_rack

NONE, OUT_OF_RANGE, UNKNOWN_TOPIC, NOT_LEADER, INVALID_REQUEST = 0, 1, 3, 6, 42
FENCED_EPOCH, UNKNOWN_EPOCH, OFFSET_NOT_AVAILABLE, UNKNOWN_TOPIC_ID = 74, 75, 78, 100
VERSIONS = range(4, 19)


def base_offsets(answer: PartitionData) -> list[int]:
    assert answer.records is not None
    return [one.header.base_offset for one in split_batches(answer.records)]


async def filled(door: DataDoor, *batches: bytes) -> None:
    for one in batches or (batch(b"a"), batch(b"b", b"c"), batch(b"d")):
        await door.produced(one)


# --- What is read -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_version_reads_whole_batches_with_the_partitions_bounds(
    door: DataDoor, version: int
) -> None:
    await filled(door)

    answer = await door.fetched(version=version)

    assert answer.error_code == NONE
    assert base_offsets(answer) == [0, 1, 3]
    assert (answer.high_watermark, answer.last_stable_offset) == (4, 4)
    assert answer.log_start_offset == (0 if version >= 5 else -1)
    assert answer.aborted_transactions is None
    assert answer.preferred_read_replica == -1


async def test_statement_21_an_offset_within_a_batch_gives_that_batch(door: DataDoor) -> None:
    await filled(door)

    assert base_offsets(await door.fetched(2)) == [1, 3]


async def test_statement_22_the_first_batch_comes_even_if_it_is_too_large(door: DataDoor) -> None:
    await filled(door)

    answer = await door.fetched(1, partition={"partition_max_bytes": 1}, max_bytes=1)

    assert base_offsets(answer) == [1]


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_of_nothing_still_gives_the_first_batch(door: DataDoor, limit: int) -> None:
    await filled(door)

    answer = await door.fetched(partition={"partition_max_bytes": limit}, max_bytes=limit)

    assert base_offsets(answer) == [0]


async def test_later_partitions_get_what_room_is_left(door: DataDoor) -> None:
    await door.produced(batch(b"a"), index=0)
    await door.produced(batch(b"b"), index=1)
    both = [
        ("web", FetchPartition(partition=n, fetch_offset=0, partition_max_bytes=MIB))
        for n in (0, 1)
    ]

    response = await door.fetch(*both, max_bytes=len(batch(b"a")))

    first, second = response.responses[0].partitions
    assert (base_offsets(first), base_offsets(second)) == ([0], [])
    assert (first.high_watermark, second.high_watermark) == (1, 1)


async def test_an_answer_may_be_larger_than_a_message_of_the_other_door(door: DataDoor) -> None:
    await door.world.create_topic("big", max_message_bytes="4000000")
    one = batch(bytes(3_000_000))
    for _ in range(4):
        await door.produced(one, name="big")

    answer = await door.fetched(
        name="big", partition={"partition_max_bytes": 2**31 - 1}, max_bytes=2**31 - 1
    )

    assert answer.records is not None
    assert len(answer.records) == 4 * len(one) > FETCH_RESPONSE_BYTES_MAX


# --- Waiting ----------------------------------------------------------------------------------


async def test_statement_23_a_reader_at_the_end_waits_and_then_gets_nothing(
    door: DataDoor,
) -> None:
    waiting = asyncio.ensure_future(door.fetched(max_wait_ms=500))
    await begun(waiting)
    door.world.clock.passed_ms += 501
    door.world.waiters.reads.expire_due()

    answer = await waiting
    assert (answer.error_code, answer.high_watermark, base_offsets(answer)) == (NONE, 0, [])


async def test_statement_23_new_records_wake_a_reader_at_the_end(door: DataDoor) -> None:
    waiting = asyncio.ensure_future(door.fetched(max_wait_ms=60_000))
    await begun(waiting)

    await door.produced()

    assert base_offsets(await waiting) == [0]


async def test_a_reader_that_needs_no_bytes_does_not_wait(door: DataDoor) -> None:
    answer = await door.fetched(max_wait_ms=60_000, min_bytes=0)

    assert base_offsets(answer) == []


async def test_a_wait_longer_than_the_broker_waits_is_taken(door: DataDoor) -> None:
    waiting = asyncio.ensure_future(door.fetched(max_wait_ms=2**31 - 1))
    await begun(waiting)
    door.world.clock.passed_ms += 60_001
    door.world.waiters.reads.expire_due()

    assert base_offsets(await waiting) == []


async def test_an_error_is_told_without_waiting(door: DataDoor) -> None:
    response = await door.fetch(
        ("web", FetchPartition(partition=0, partition_max_bytes=MIB)),
        ("gone", FetchPartition(partition=0, partition_max_bytes=MIB)),
        max_wait_ms=60_000,
    )

    codes = [topic.partitions[0].error_code for topic in response.responses]
    assert codes == [NONE, UNKNOWN_TOPIC_ID]


async def test_a_loss_of_leadership_ends_the_wait(door: DataDoor) -> None:
    waiting = asyncio.ensure_future(door.fetched(max_wait_ms=60_000))
    await begun(waiting)

    await door.lose_leadership()

    assert (await waiting).error_code == NOT_LEADER


async def test_statement_12_a_reader_that_waits_for_a_topic_gets_nothing_of_its_successor(
    door: DataDoor,
) -> None:
    waiting = asyncio.ensure_future(door.fetched(max_wait_ms=60_000))
    await begun(waiting)

    await door.world.delete_topic("web")
    await door.world.create_topic("web")
    await door.produced()

    answer = await waiting
    assert answer.error_code in (NOT_LEADER, UNKNOWN_TOPIC_ID)
    assert base_offsets(answer) == []


async def test_too_many_waiting_readers_are_told_to_slow_down(door: DataDoor) -> None:
    reads = door.world.waiters.reads
    reads._waiters_max = 0

    handled = await door.fetch_handler(
        context(12),
        FetchRequest(
            max_wait_ms=500,
            min_bytes=1,
            topics=[FetchTopic(topic="web", partitions=[FetchPartition(partition_max_bytes=MIB)])],
        ),
    )

    assert isinstance(handled, Throttled)
    assert handled.response.throttle_time_ms == handled.mute_ms > 0
    assert handled.response.responses == []


# --- Errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-1, 1, 5])
async def test_statement_26_offsets_outside_the_log_are_out_of_range(
    door: DataDoor, offset: int
) -> None:
    await filled(door)
    await door.world.offsets.delete_records([(TopicPartition("web", 0), Offset(2))])

    answer = await door.fetched(offset)

    assert answer.error_code == OUT_OF_RANGE
    assert (answer.high_watermark, answer.last_stable_offset, answer.log_start_offset) == (
        -1, -1, -1,
    )  # fmt: skip
    assert answer.records == b""


async def test_statement_26_what_is_not_committed_yet_is_nothing_and_no_error(
    door: DataDoor,
) -> None:
    door.world.disk.hold()
    door.world.begin(("web", 0, batch(b"a", b"b")))
    await until(lambda: door.world.disk.waiting)

    for offset in (0, 1, 2):
        answer = await door.fetched(offset)
        assert (answer.error_code, base_offsets(answer)) == (NONE, [])


@pytest.mark.parametrize(
    ("version", "code"), [(4, UNKNOWN_TOPIC), (12, UNKNOWN_TOPIC), (13, UNKNOWN_TOPIC_ID)]
)
async def test_a_topic_that_is_not_there_is_said_by_name_or_by_id(
    door: DataDoor, version: int, code: int
) -> None:
    assert (await door.fetched(name="gone", version=version)).error_code == code


@pytest.mark.parametrize(
    ("epoch", "code"), [(-1, NONE), (2, FENCED_EPOCH), (3, NONE), (4, UNKNOWN_EPOCH)]
)
async def test_a_leader_epoch_that_is_not_ours_is_an_error(
    door: DataDoor, epoch: int, code: int
) -> None:
    await door.lead_in_epoch(3)

    answer = await door.fetched(partition={"current_leader_epoch": epoch}, version=9)

    assert answer.error_code == code


@pytest.mark.parametrize(("version", "code"), [(10, NOT_LEADER), (11, OFFSET_NOT_AVAILABLE)])
async def test_a_new_leader_that_does_not_know_what_is_committed_asks_for_patience(
    door: DataDoor, version: int, code: int
) -> None:
    await door.world.change_partition("web", 0, replicas=(ME, OTHER), in_sync_replicas=(ME, OTHER))
    door.world.disk.hold()
    door.world.begin(("web", 0, batch()), acks=1)
    await door.lead_in_epoch(1)

    assert (await door.fetched(version=version)).error_code == code


@pytest.mark.parametrize("version", [14, 15])
async def test_a_follower_of_kafka_is_refused(door: DataDoor, version: int) -> None:
    who = {"replica_id": 4} if version < 15 else {"replica_state": ReplicaState(replica_id=4)}

    assert (await door.fetched(version=version, **who)).error_code == INVALID_REQUEST


async def test_a_partition_named_twice_is_read_once(door: DataDoor) -> None:
    await filled(door)

    response = await door.fetch(
        ("web", FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=MIB)),
        ("web", FetchPartition(partition=0, fetch_offset=3, partition_max_bytes=MIB)),
    )

    (topic,) = response.responses
    assert [base_offsets(answer) for answer in topic.partitions] == [[3]]


# --- Transactions, as far as readers of none know -----------------------------------------------


async def test_statement_24_read_committed_reaches_the_end_and_is_told_of_no_aborts(
    door: DataDoor,
) -> None:
    await filled(door)

    answer = await door.fetched(isolation_level=1)

    assert base_offsets(answer) == [0, 1, 3]
    assert answer.aborted_transactions == []
    end = (await door.listed(-1, isolation_level=1)).offset
    assert answer.last_stable_offset == answer.high_watermark == end


async def open_transaction(door: DataDoor) -> None:
    """Have a record of a transaction that is open at offset 1, behind a plain one."""
    await door.produced(batch(b"plain"))
    (open_,) = split_batches(batch(b"open", producer_id=7, producer_epoch=0, sequence=0))
    header = open_.header._replace(attributes=TRANSACTIONAL_BIT)
    door.world.partition().append([with_header(header, open_.records)], acks=1)
    await door.world.flushed()


async def test_statement_24_read_committed_ends_where_a_transaction_is_open(
    door: DataDoor,
) -> None:
    await open_transaction(door)

    committed = await door.fetched(isolation_level=1)
    everything = await door.fetched(isolation_level=0)

    assert (base_offsets(committed), base_offsets(everything)) == ([0], [0, 1])
    assert (committed.high_watermark, committed.last_stable_offset) == (2, 1)
    assert (await door.listed(-1, isolation_level=1)).offset == 1
    assert (await door.listed(-1, isolation_level=0)).offset == 2


async def test_statement_24_a_reader_at_an_open_transaction_waits(door: DataDoor) -> None:
    await open_transaction(door)

    waiting = asyncio.ensure_future(door.fetched(1, isolation_level=1, max_wait_ms=500))
    await begun(waiting)
    door.world.clock.passed_ms += 501
    door.world.waiters.reads.expire_due()

    assert base_offsets(await waiting) == []


# --- Epochs -----------------------------------------------------------------------------------


async def test_a_reader_whose_records_were_cut_away_is_told_where(door: DataDoor) -> None:
    await filled(door)
    await door.lead_in_epoch(5)
    await filled(door)

    answer = await door.fetched(6, partition={"last_fetched_epoch": 0}, max_wait_ms=60_000)

    assert answer.diverging_epoch is not None
    assert (answer.diverging_epoch.epoch, answer.diverging_epoch.end_offset) == (0, 4)
    assert base_offsets(answer) == []


async def test_a_reader_whose_records_are_the_leaders_reads_on(door: DataDoor) -> None:
    await filled(door)
    await door.lead_in_epoch(5)
    await filled(door)

    answer = await door.fetched(4, partition={"last_fetched_epoch": 0})

    assert answer.diverging_epoch is None
    assert base_offsets(answer) == [4, 5, 7]


# --- Whom to ask instead ------------------------------------------------------------------------


@pytest.mark.parametrize("version", [15, 16, 18])
async def test_a_refusal_names_the_leader_from_version_16_on(door: DataDoor, version: int) -> None:
    await door.lose_leadership()

    response = await door.fetch(
        ("web", FetchPartition(partition=0, partition_max_bytes=MIB)), version=version
    )

    (answer,) = response.responses[0].partitions
    assert answer.error_code == NOT_LEADER
    if version < 16:
        assert (answer.current_leader, response.node_endpoints) == (None, [])
        return
    assert answer.current_leader is not None
    assert (answer.current_leader.leader_id, answer.current_leader.leader_epoch) == (OTHER, 1)
    assert [endpoint.node_id for endpoint in response.node_endpoints] == [OTHER]


# --- Racks ------------------------------------------------------------------------------------


class Racks(Leading):
    """Broker 1 leads ``orders`` in one rack; brokers 2 and 3 are in another."""

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
        await self.publish(
            brokers={ME: in_rack(ME, "a"), OTHER: in_rack(OTHER, "b"), THIRD: in_rack(THIRD, "b")}
        )

    async def commit(self) -> None:
        """Append a record, and let brokers 2 and 3 have it."""
        self.begin(*(("orders", number, batch()) for number in range(3)), acks=1)
        for broker_id in (OTHER, THIRD):
            follower = self.follower(broker_id)
            follower.begin(0)
            await follower.has(1)
            follower.acknowledge(1)
        await self.flushed()
        await asyncio.sleep(0)


@pytest.fixture
async def racks() -> AsyncIterator[DataDoor]:
    world = Racks()
    await world.start()
    await world.commit()
    yield DataDoor(world)
    await world.stop()


@pytest.mark.parametrize("version", [11, 18])
async def test_a_reader_in_another_rack_is_sent_there_at_once_and_without_records(
    racks: DataDoor, version: int
) -> None:
    answer = await racks.fetched(name="orders", rack_id="b", max_wait_ms=60_000, version=version)

    assert (answer.error_code, answer.preferred_read_replica) == (NONE, 2)
    assert base_offsets(answer) == []


@pytest.mark.parametrize(("version", "rack"), [(10, "b"), (11, "a"), (11, "")])
async def test_a_reader_in_the_leaders_rack_or_in_none_stays(
    racks: DataDoor, version: int, rack: str
) -> None:
    answer = await racks.fetched(name="orders", rack_id=rack, version=version)

    assert answer.preferred_read_replica == -1
    assert base_offsets(answer) == [0]


@pytest.mark.parametrize(("version", "code"), [(10, NOT_LEADER), (11, NONE)])
async def test_a_follower_serves_readers_from_version_11_on(
    door: DataDoor, version: int, code: int
) -> None:
    await door.follow()

    assert (await door.fetched(version=version)).error_code == code


# --- Memory -----------------------------------------------------------------------------------


def test_connections_share_what_answers_may_hold_together() -> None:
    shares = FetchShares(answer_bytes_max=55 * MIB, bytes_max=100 * MIB)

    alone = shares.share_of(1, now_ms=0)
    with_another = shares.share_of(2, now_ms=0)
    with_many = [shares.share_of(number, now_ms=0) for number in range(3, 1_000)][-1]

    assert (alone, with_another, with_many) == (55 * MIB, 50 * MIB, MIB)


def test_a_connection_that_fetches_no_more_gives_its_share_back() -> None:
    shares = FetchShares(answer_bytes_max=55 * MIB, bytes_max=10 * MIB)
    shares.share_of(1, now_ms=0)
    shares.share_of(2, now_ms=1)

    assert shares.share_of(3, now_ms=KAFKA_FETCH_SHARE_MS + 1) == 5 * MIB


def test_of_connections_that_come_and_go_no_more_are_remembered_than_matter() -> None:
    shares = FetchShares(answer_bytes_max=55 * MIB, bytes_max=10 * MIB)
    for number in range(10_000):
        assert shares.share_of(number, now_ms=0) >= MIB

    assert len(shares._fetched_ms) == 10
