"""Batches of a partition are settled once, in order, whatever the broker answers or does not."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

import pytest

from ottla.client.delivery import Appended, Outcome, ProducerBatch
from ottla.client.errors import ClientClosedError, DeliveryTimeoutError
from ottla.client.partition_queue import PRODUCER_EPOCH_MAX, PartitionQueue
from ottla.model.errors import (
    InvalidTimestampError,
    NotLeaderOrFollowerError,
    OttlaError,
    OutOfOrderSequenceError,
    RequestTimedOutError,
)
from ottla.model.ids import TopicPartition
from ottla.record.batch import read_header
from ottla.record.builder import BatchBuilder
from tests.client.fake_log import FakePartition

WEB_0 = TopicPartition("web", 0)
LATE = DeliveryTimeoutError("too late")
LOST = RequestTimedOutError("no answer")


class Desk:
    """A queue, what it settled, and short words for what happens to it."""

    def __init__(self, *, producer_id: int = 7, producer_epoch: int = 0) -> None:
        self.outcomes: dict[int, Outcome] = {}
        self.queue = PartitionQueue(
            WEB_0, producer_id=producer_id, producer_epoch=producer_epoch, settled=self.settle
        )
        self.batches: list[ProducerBatch] = []

    def settle(self, batch: ProducerBatch, outcome: Outcome) -> None:
        assert batch.serial not in self.outcomes, "settled twice"
        self.outcomes[batch.serial] = outcome

    def open(self, *, records: int = 1, due: bool = False) -> ProducerBatch:
        """Put records into a new batch that stays open."""
        serial = len(self.batches)
        builder = BatchBuilder()
        for number in range(records):
            builder.append(key=None, value=b"%d.%d" % (serial, number), timestamp_ms=1)
        batch = ProducerBatch(WEB_0, builder, serial=serial, created_ms=0, reserved_bytes=1)
        batch.is_due = due
        self.batches.append(batch)
        self.queue.open_batch = batch
        return batch

    def add(self, count: int = 1, *, records: int = 1) -> None:
        """Close so many batches."""
        for _ in range(count):
            self.open(records=records)
            self.queue.close_open_batch()

    def send(self) -> list[int]:
        """Send all that may be sent; return the serials."""
        sent = []
        while (batch := self.queue.next_to_send()) is not None:
            batch.seal()
            sent.append(batch.serial)
        return sent

    def acknowledge(self, serial: int) -> None:
        self.queue.acknowledged(self.batches[serial], Appended(serial * 10, -1))

    def refuse(self, serial: int, error: type[OttlaError]) -> None:
        self.queue.refused(self.batches[serial], error("no"))

    def lose(self, *serials: int) -> None:
        for serial in serials:
            self.queue.lost(self.batches[serial], LOST)

    def numbers(self, serial: int) -> tuple[int, int]:
        """Epoch and first sequence number in the bytes of a batch."""
        header = read_header(self.batches[serial].seal())
        return header.producer_epoch, header.base_sequence


@pytest.fixture
def desk() -> Desk:
    """A queue whose first batch was acknowledged, so that five may be in flight."""
    desk = Desk()
    desk.add()
    assert desk.send() == [0]
    desk.acknowledge(0)
    return desk


def test_only_one_batch_is_in_flight_until_the_first_is_acknowledged() -> None:
    desk = Desk()
    desk.add(3)

    assert desk.send() == [0]
    desk.acknowledge(0)
    assert desk.send() == [1, 2]


def test_at_most_five_batches_are_in_flight(desk: Desk) -> None:
    desk.add(8)

    assert desk.send() == [1, 2, 3, 4, 5]
    desk.acknowledge(1)
    assert desk.send() == [6]


def test_sequence_numbers_count_records(desk: Desk) -> None:
    desk.add(2, records=3)
    desk.send()

    assert [desk.numbers(serial) for serial in (0, 1, 2)] == [(0, 0), (0, 1), (0, 4)]


def test_open_batch_is_sent_only_once_it_is_due(desk: Desk) -> None:
    batch = desk.open()
    assert desk.send() == []

    batch.is_due = True

    assert desk.send() == [1]


def test_due_batch_goes_on_filling_while_five_are_in_flight(desk: Desk) -> None:
    desk.add(5)
    desk.send()
    batch = desk.open(due=True)

    assert desk.queue.next_to_send() is None
    assert desk.queue.open_batch is batch


def test_lost_batches_are_sent_again_unchanged_one_at_a_time_in_order(desk: Desk) -> None:
    desk.add(3)
    desk.send()
    before = [batch.seal() for batch in desk.batches]
    desk.lose(1, 2, 3)

    assert desk.send() == [1]
    desk.acknowledge(1)
    assert desk.send() == [2]
    desk.acknowledge(2)
    assert desk.send() == [3]
    assert [batch.seal() for batch in desk.batches] == before


def test_nothing_overtakes_a_batch_that_has_to_be_sent_again(desk: Desk) -> None:
    desk.add(3)
    desk.send()
    desk.refuse(1, NotLeaderOrFollowerError)
    desk.add()

    assert desk.send() == []
    desk.refuse(2, OutOfOrderSequenceError)
    assert desk.send() == []
    desk.refuse(3, OutOfOrderSequenceError)
    assert desk.send() == [1]


def test_nothing_new_follows_a_repeated_batch_until_it_is_answered(desk: Desk) -> None:
    desk.add()
    desk.send()
    desk.refuse(1, NotLeaderOrFollowerError)
    desk.add(2)

    assert desk.send() == [1]
    desk.refuse(1, NotLeaderOrFollowerError)
    assert desk.send() == [1]
    desk.acknowledge(1)
    assert desk.send() == [2, 3]


def test_out_of_order_behind_a_failed_batch_only_means_to_send_again(desk: Desk) -> None:
    desk.add(2)
    desk.send()
    desk.refuse(1, NotLeaderOrFollowerError)
    desk.refuse(2, OutOfOrderSequenceError)

    for serial in (1, 2):
        desk.send()
        desk.acknowledge(serial)

    assert all(isinstance(outcome, Appended) for outcome in desk.outcomes.values())
    assert desk.numbers(2) == (0, 2)


def test_new_connection_begins_with_one_batch(desk: Desk) -> None:
    desk.add(3)
    desk.queue.move_to("another stream")

    assert desk.send() == [1]
    desk.acknowledge(1)
    assert desk.send() == [2, 3]


def test_refused_batch_fails_and_the_next_begins_a_new_epoch(desk: Desk) -> None:
    desk.add(2)
    desk.send()
    desk.refuse(1, InvalidTimestampError)
    assert isinstance(desk.outcomes[1], InvalidTimestampError)
    desk.refuse(2, OutOfOrderSequenceError)

    assert desk.send() == [2]
    assert desk.numbers(2) == (1, 0)


def test_batch_renumbered_for_a_new_epoch_has_a_valid_checksum(desk: Desk) -> None:
    desk.add(2, records=2)
    desk.send()
    desk.refuse(1, InvalidTimestampError)
    desk.refuse(2, OutOfOrderSequenceError)
    desk.send()

    partition = FakePartition(leader=1)
    partition.append(desk.batches[2].seal())

    assert partition.values() == [b"2.0", b"2.1"]


def test_batches_of_unknown_fate_are_settled_before_a_new_epoch_begins(desk: Desk) -> None:
    desk.add(3)
    desk.send()
    desk.refuse(1, InvalidTimestampError)
    desk.lose(2, 3)
    desk.add()

    assert desk.send() == [2]
    assert desk.numbers(2) == (0, 2)
    desk.acknowledge(2)
    assert desk.send() == [3]
    desk.refuse(3, OutOfOrderSequenceError)
    assert desk.send() == [3]
    assert desk.numbers(3) == (1, 0)
    desk.acknowledge(3)
    assert desk.send() == [4]
    assert desk.numbers(4) == (1, 1)


def test_order_of_sending_survives_a_new_epoch(desk: Desk) -> None:
    desk.add(5)
    desk.send()
    desk.add(2)
    desk.refuse(1, InvalidTimestampError)
    for serial in (2, 3, 4, 5):
        desk.refuse(serial, OutOfOrderSequenceError)

    sent = []
    for _ in range(6):
        for serial in desk.send():
            sent.append(serial)
            desk.acknowledge(serial)

    assert sent == [2, 3, 4, 5, 6, 7]


def test_records_that_a_broker_lost_after_acknowledging_are_reported(desk: Desk) -> None:
    desk.add()
    desk.send()
    desk.refuse(1, OutOfOrderSequenceError)

    assert isinstance(desk.outcomes[1], OutOfOrderSequenceError)


def test_partition_goes_on_under_a_new_epoch_after_a_broker_lost_records(desk: Desk) -> None:
    desk.add()
    desk.send()
    desk.refuse(1, OutOfOrderSequenceError)
    desk.add()

    assert desk.send() == [2]
    assert desk.numbers(2) == (1, 0)


def test_batch_that_expires_in_flight_fails_but_its_answer_still_counts(desk: Desk) -> None:
    desk.add()
    desk.send()
    desk.queue.expire(desk.batches[1], LATE)
    assert desk.outcomes[1] is LATE
    desk.acknowledge(1)
    desk.add()

    assert desk.send() == [2]
    assert desk.numbers(2) == (0, 2), "no hole, hence no new epoch"


def test_batch_that_expired_in_flight_and_was_lost_leaves_a_hole(desk: Desk) -> None:
    desk.add()
    desk.send()
    desk.queue.expire(desk.batches[1], LATE)
    desk.lose(1)
    desk.add()

    assert desk.send() == [2]
    assert desk.numbers(2) == (1, 0)


def test_batch_that_expires_before_it_was_sent_leaves_no_hole(desk: Desk) -> None:
    desk.add()
    desk.queue.expire(desk.batches[1], LATE)
    desk.add()

    assert desk.send() == [2]
    assert desk.numbers(2) == (0, 1)


def test_open_batch_that_expires_is_gone(desk: Desk) -> None:
    desk.open()
    desk.queue.expire(desk.batches[1], LATE)

    assert (desk.queue.open_batch, desk.queue.can_send()) == (None, False)


def test_batch_that_expires_while_it_waits_to_be_sent_again_leaves_a_hole(desk: Desk) -> None:
    desk.add(2)
    desk.send()
    desk.lose(1, 2)
    desk.queue.expire(desk.batches[1], LATE)

    assert desk.send() == [2]
    desk.refuse(2, OutOfOrderSequenceError)
    assert desk.send() == [2]
    assert desk.numbers(2) == (1, 0)


def test_timed_out_request_may_have_been_appended_so_it_is_sent_again(desk: Desk) -> None:
    desk.add()
    desk.send()
    desk.refuse(1, RequestTimedOutError)

    assert desk.send() == [1]


def test_without_idempotence_one_batch_is_in_flight_at_a_time() -> None:
    desk = Desk(producer_id=-1, producer_epoch=-1)
    desk.add(3)

    assert desk.send() == [0]
    desk.acknowledge(0)
    assert desk.send() == [1]
    assert desk.numbers(1) == (-1, -1)


def test_without_idempotence_a_refused_batch_does_not_stop_the_others() -> None:
    desk = Desk(producer_id=-1, producer_epoch=-1)
    desk.add(2)
    desk.send()
    desk.refuse(0, InvalidTimestampError)

    assert desk.send() == [1]


def test_sequence_numbers_wrap_to_zero() -> None:
    desk = Desk()
    desk.add(2, records=4)
    desk.queue._next_sequence = 2**31 - 4
    desk.send()
    desk.acknowledge(0)
    desk.send()

    assert desk.numbers(1) == (0, 0)


def test_producer_whose_epochs_are_used_up_says_so() -> None:
    desk = Desk(producer_epoch=PRODUCER_EPOCH_MAX)
    desk.add()
    desk.send()
    desk.refuse(0, InvalidTimestampError)
    desk.add()

    with pytest.raises(OttlaError, match="start a new producer"):
        desk.send()


def test_end_of_the_producer_settles_every_batch_once(desk: Desk) -> None:
    desk.add(6)
    desk.send()
    desk.lose(1, 2)
    desk.queue.expire(desk.batches[3], LATE)
    desk.open()

    desk.queue.fail_all(ClientClosedError("end"))

    assert sorted(desk.outcomes) == list(range(8))


# --- Random lives --------------------------------------------------------------------------


@dataclass
class World:
    """One partition's queue against a broker that dedupes, over a wire that breaks."""

    random_source: random.Random
    fault_rate: float
    may_fail_for_good: bool
    desk: Desk = field(default_factory=Desk)
    broker: FakePartition = field(default_factory=lambda: FakePartition(leader=1))
    wire: deque[tuple[ProducerBatch, bytes]] = field(default_factory=deque)
    answers: deque[tuple[ProducerBatch, int | OttlaError]] = field(default_factory=deque)

    def run(self, steps: int) -> None:
        actions = [self.add, self.send, self.send, self.serve, self.serve, self.answer, self.answer]
        for _ in range(steps):
            if self.random_source.random() < self.fault_rate / 4:
                self.break_connection()
            elif self.may_fail_for_good and self.random_source.random() < self.fault_rate / 20:
                self.expire()
            else:
                self.random_source.choice(actions)()

    def drain(self) -> None:
        """Let all faults end and everything arrive."""
        self.fault_rate = 0
        while len(self.desk.outcomes) < len(self.desk.batches):
            self.send()
            self.serve()
            self.answer()

    def add(self) -> None:
        self.desk.add(records=self.random_source.randint(1, 3))

    def send(self) -> None:
        batch = self.desk.queue.next_to_send()
        if batch is not None:
            self.wire.append((batch, batch.seal()))

    def serve(self) -> None:
        if not self.wire:
            return
        batch, content = self.wire.popleft()
        answer: int | OttlaError
        try:
            self.refuse_perhaps()
            answer = self.broker.append(content)
            if self.random_source.random() < self.fault_rate / 2:
                answer = RequestTimedOutError("appended, but late")
        except OttlaError as error:
            answer = error
        self.answers.append((batch, answer))

    def refuse_perhaps(self) -> None:
        if self.random_source.random() < self.fault_rate:
            raise NotLeaderOrFollowerError("for a while")
        if self.may_fail_for_good and self.random_source.random() < self.fault_rate / 3:
            raise InvalidTimestampError("for good")

    def answer(self) -> None:
        if not self.answers:
            return
        batch, answer = self.answers.popleft()
        if isinstance(answer, int):
            self.desk.queue.acknowledged(batch, Appended(answer, -1))
        else:
            self.desk.queue.refused(batch, answer)

    def break_connection(self) -> None:
        """Some of what is on the wire still arrives; no answer does."""
        for _ in range(self.random_source.randint(0, len(self.wire))):
            self.serve()
        unanswered = [batch for batch, _ in (*self.answers, *self.wire)]
        self.answers.clear()
        self.wire.clear()
        for batch in sorted(unanswered, key=lambda batch: batch.serial):
            self.desk.queue.lost(batch, LOST)
        self.desk.queue.move_to(object())

    def expire(self) -> None:
        unsettled = [b for b in self.desk.batches if b.serial not in self.desk.outcomes]
        if unsettled:
            self.desk.queue.expire(unsettled[0], LATE)


@pytest.mark.parametrize("seed", range(150))
def test_acknowledged_batches_are_in_the_log_once_and_in_order(seed: int) -> None:
    source = random.Random(seed)
    world = World(
        source, fault_rate=source.choice([0.02, 0.1, 0.3]), may_fail_for_good=seed % 3 > 0
    )
    world.run(600)
    world.drain()

    outcomes = world.desk.outcomes
    offsets = [
        outcome.base_offset
        for _, outcome in sorted(outcomes.items())
        if isinstance(outcome, Appended)
    ]
    values = world.broker.values()
    assert len(values) == len(set(values)), "a record is in the log twice"
    assert offsets == sorted(offsets), "order was lost"
    for serial, outcome in outcomes.items():
        if isinstance(outcome, Appended):
            assert values[outcome.base_offset] == b"%d.0" % serial
    if not world.may_fail_for_good:
        assert len(offsets) == len(outcomes), "a batch failed that need not have"


def test_what_keeps_a_partition_from_taking_batches_is_known_until_it_takes_one(desk: Desk) -> None:
    desk.add(2)
    desk.send()
    desk.refuse(1, NotLeaderOrFollowerError)
    desk.refuse(2, OutOfOrderSequenceError)  # follows from the first, and says nothing
    seen = [desk.queue.hindrance]
    desk.send()
    desk.lose(1)
    seen.append(desk.queue.hindrance)
    desk.send()
    desk.acknowledge(1)
    seen.append(desk.queue.hindrance)

    assert [type(each) for each in seen] == [
        NotLeaderOrFollowerError, RequestTimedOutError, type(None),
    ]  # fmt: skip
