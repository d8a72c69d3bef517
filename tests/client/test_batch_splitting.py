"""A batch that is too large is sent in halves, in its place, and each record has its own fate."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

import pytest

from ottla.client.delivery import Appended, ProducerBatch, RecordHandle, SplitOutcome
from ottla.client.errors import ClientClosedError
from ottla.client.producer import Producer
from ottla.model.errors import MessageTooLargeError, OttlaError, OutOfOrderSequenceError
from ottla.record.batch import RecordBatch
from ottla.record.records import iterate_records
from tests.client.fake_broker import FakeCluster
from tests.client.fake_log import FakePartition
from tests.client.test_partition_queue import LATE, LOST, Desk, World

TOO_LARGE = MessageTooLargeError("too large")


@pytest.fixture
def desk() -> Desk:
    """A queue whose first batch was acknowledged, so that five may be in flight."""
    desk = Desk()
    desk.add()
    assert desk.send() == [0]
    desk.acknowledge(0)
    return desk


def content(batch: ProducerBatch) -> tuple[int, int, list[bytes | None]]:
    """Epoch, first sequence number, and values."""
    sent = RecordBatch.at(batch.seal())
    values = [record.value for record in iterate_records(sent)]
    return sent.header.producer_epoch, sent.header.base_sequence, values


def next_batch(desk: Desk) -> ProducerBatch:
    batch = desk.queue.next_to_send()
    assert batch is not None
    batch.seal()
    return batch


def send_alone(desk: Desk, outcome: Appended | OttlaError) -> tuple[int, int, list[bytes | None]]:
    """Send one batch, which must be all that may be sent, and answer it."""
    batch = next_batch(desk)
    sent = content(batch)
    assert desk.queue.next_to_send() is None
    answer(desk, batch, outcome)
    return sent


def answer(desk: Desk, batch: ProducerBatch, outcome: Appended | OttlaError) -> None:
    if isinstance(outcome, OttlaError):
        desk.queue.refused(batch, outcome)
    else:
        desk.queue.acknowledged(batch, outcome)


def numbered(serial: int, *numbers: int) -> list[bytes]:
    return [b"%d.%d" % (serial, number) for number in numbers]


def test_halves_take_the_place_and_the_numbers_of_the_batch(desk: Desk) -> None:
    desk.add(1, records=5)
    answer(desk, next_batch(desk), TOO_LARGE)

    assert send_alone(desk, Appended(10, -1)) == (0, 1, numbered(1, 0, 1, 2))
    assert 1 not in desk.outcomes
    assert send_alone(desk, Appended(20, -1)) == (0, 4, numbered(1, 3, 4))
    assert desk.outcomes[1] == SplitOutcome(((0, Appended(10, -1)), (3, Appended(20, -1))))


def test_half_that_is_still_too_large_is_split_again(desk: Desk) -> None:
    desk.add(1, records=4)
    for outcome in (TOO_LARGE, TOO_LARGE):
        answer(desk, next_batch(desk), outcome)

    assert [send_alone(desk, Appended(offset, -1)) for offset in (7, 8, 9)] == [
        (0, 1, numbered(1, 0)),
        (0, 2, numbered(1, 1)),
        (0, 3, numbered(1, 2, 3)),
    ]
    assert isinstance(desk.outcomes[1], SplitOutcome)


def test_batches_in_flight_behind_it_follow_the_halves_under_their_old_numbers(desk: Desk) -> None:
    desk.add(1, records=2)
    desk.add(2, records=3)
    large, second, third = (next_batch(desk) for _ in range(3))
    answer(desk, large, TOO_LARGE)
    assert desk.queue.next_to_send() is None
    answer(desk, second, OutOfOrderSequenceError("behind"))
    answer(desk, third, OutOfOrderSequenceError("behind"))
    desk.add(1)

    assert [send_alone(desk, Appended(1, -1)) for _ in range(4)] == [
        (0, 1, numbered(1, 0)),
        (0, 2, numbered(1, 1)),
        (0, 3, numbered(2, 0, 1, 2)),
        (0, 6, numbered(3, 0, 1, 2)),
    ]
    assert desk.send() == [4]


def test_nothing_new_follows_before_the_halves_are_acknowledged(desk: Desk) -> None:
    desk.add(1, records=2)
    answer(desk, next_batch(desk), TOO_LARGE)
    desk.add(3)
    send_alone(desk, Appended(1, -1))
    send_alone(desk, Appended(2, -1))

    assert desk.send() == [2, 3, 4]


def test_record_that_is_too_large_by_itself_fails_and_its_neighbours_do_not(desk: Desk) -> None:
    desk.add(1, records=3)
    answer(desk, next_batch(desk), TOO_LARGE)
    send_alone(desk, TOO_LARGE)  # records 0 and 1
    send_alone(desk, TOO_LARGE)  # record 0
    # What follows a hole is refused, which proves that it is not there.
    send_alone(desk, OutOfOrderSequenceError("hole"))
    send_alone(desk, OutOfOrderSequenceError("hole"))

    assert send_alone(desk, Appended(5, -1)) == (1, 0, numbered(1, 1))
    assert content(next_batch(desk)) == (1, 1, numbered(1, 2))


def test_single_record_fails_with_the_error(desk: Desk) -> None:
    desk.add(1)
    answer(desk, next_batch(desk), TOO_LARGE)

    assert desk.outcomes[1] is TOO_LARGE


def test_without_idempotence_the_order_is_kept_as_well() -> None:
    desk = Desk(producer_id=-1, producer_epoch=-1)
    desk.add(2, records=2)
    answer(desk, next_batch(desk), TOO_LARGE)

    assert [send_alone(desk, Appended(1, -1))[2] for _ in range(3)] == [
        numbered(0, 0),
        numbered(0, 1),
        numbered(1, 0, 1),
    ]


def test_halves_are_sent_without_delay_and_what_is_behind_them_asks_for_none(desk: Desk) -> None:
    desk.add(2, records=2)
    large, second = next_batch(desk), next_batch(desk)

    assert not desk.queue.refused(large, TOO_LARGE)
    assert not desk.queue.refused(second, OutOfOrderSequenceError("behind"))
    answer(desk, next_batch(desk), TOO_LARGE)
    for _ in range(2):
        assert not desk.queue.refused(next_batch(desk), OutOfOrderSequenceError("hole"))


def test_time_that_is_over_fails_what_is_not_acknowledged_yet(desk: Desk) -> None:
    desk.add(1, records=4)
    answer(desk, next_batch(desk), TOO_LARGE)
    send_alone(desk, Appended(3, -1))
    half = next_batch(desk)

    desk.queue.expire(desk.batches[1], LATE)

    assert desk.outcomes[1] == SplitOutcome(((0, Appended(3, -1)), (2, LATE)))
    answer(desk, half, Appended(5, -1))


def test_end_of_the_producer_settles_the_whole_once(desk: Desk) -> None:
    desk.add(2, records=4)
    answer(desk, next_batch(desk), TOO_LARGE)
    next_batch(desk)
    end = ClientClosedError("end")

    desk.queue.fail_all(end)

    assert desk.outcomes[1] == SplitOutcome(((0, end), (2, end)))
    assert desk.outcomes[2] is end


def test_batch_that_may_be_in_the_log_already_is_not_put_there_a_second_time(desk: Desk) -> None:
    desk.add(1, records=4)
    desk.queue.lost(next_batch(desk), LOST)
    answer(desk, next_batch(desk), TOO_LARGE)  # the setting was lowered meanwhile
    gone = OutOfOrderSequenceError("not the next one")
    send_alone(desk, gone)
    send_alone(desk, gone)

    assert desk.outcomes[1] == SplitOutcome(((0, gone), (2, gone)))
    assert desk.queue.next_to_send() is None


def test_record_has_the_place_that_its_part_got(desk: Desk) -> None:
    desk.add(1, records=3)
    batch = desk.batches[1]
    batch.complete(SplitOutcome(((0, Appended(10, 77)), (2, TOO_LARGE))))

    handles = [RecordHandle(batch, index, 5) for index in range(3)]

    assert [handle.result().offset for handle in handles[:2]] == [10, 11]
    assert [handle.exception() for handle in handles] == [None, None, TOO_LARGE]


# --- Random lives --------------------------------------------------------------------------


@dataclass
class CrampedWorld(World):
    """A broker that takes batches up to a limit, which may change from one to the next."""

    limits: tuple[int, ...] = (95,)

    def add(self) -> None:
        self.desk.add(records=self.random_source.randint(1, 9))

    def serve(self) -> None:
        self.broker.max_message_bytes = self.random_source.choice(self.limits)
        super().serve()


@pytest.mark.parametrize("seed", range(60))
def test_parts_are_in_the_log_once_and_in_order(seed: int) -> None:
    source = random.Random(seed)
    limits = [(95,), (120,), (10_000, 90), (10_000, 120, 60)][seed % 4]
    world = CrampedWorld(
        source,
        fault_rate=source.choice([0.0, 0.05, 0.2]),
        may_fail_for_good=seed % 3 == 0,
        limits=limits,
    )
    world.run(400)
    world.limits = limits[:1]
    world.drain()

    values = world.broker.values()
    assert len(values) == len(set(values)), "a record is in the log twice"
    offsets = []
    for serial, batch in enumerate(world.desk.batches):
        batch.complete(world.desk.outcomes[serial])
        for index in range(batch.record_count):
            handle = RecordHandle(batch, index, 1)
            if handle.exception() is None:
                offsets.append(handle.result().offset)
                assert values[offsets[-1]] == b"%d.%d" % (serial, index)
            else:
                assert world.may_fail_for_good or len(limits) > 1, handle.exception()
    assert offsets == sorted(offsets), "order was lost"


# --- Over the network ------------------------------------------------------------------------


async def send_all(producer: Producer, values: list[bytes]) -> list[RecordHandle]:
    handles = [await producer.send("web", value) for value in values]
    await producer.flush()
    return handles


def limit(cluster: FakeCluster, size_bytes: int) -> FakePartition:
    partition = cluster.topics["web"][0]
    partition.max_message_bytes = size_bytes
    return partition


@pytest.mark.parametrize("acks", ["all", 1])
async def test_batches_larger_than_the_topic_takes_arrive_in_order(
    cluster: FakeCluster, acks: str | int
) -> None:
    partition = limit(cluster, 300)
    values = [b"%d" % number for number in range(500)]
    async with (
        Producer(cluster.bootstrap, batch_size=1_000, acks=acks) as producer,
        asyncio.timeout(10),
    ):
        handles = await send_all(producer, values)

        assert producer.statistics().records_acknowledged == 500
    assert partition.values() == values
    assert [handle.result().offset for handle in handles] == list(range(500))


async def test_record_larger_than_the_topic_takes_fails_alone(cluster: FakeCluster) -> None:
    partition = limit(cluster, 300)
    values = [b"%d" % number if number != 20 else bytes(500) for number in range(100)]
    # Nothing is to wait for: a pause would be longer than the test may take.
    async with (
        Producer(cluster.bootstrap, batch_size=2_000, retry_backoff_ms=9_000) as producer,
        asyncio.timeout(8),
    ):
        handles = await send_all(producer, values)

        assert producer.statistics().records_failed == 1
    assert isinstance(handles[20].exception(), MessageTooLargeError)
    assert partition.values() == [value for value in values if len(value) < 500]
