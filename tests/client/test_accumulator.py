"""Records wait in batches that are closed by size, by time or by need, within a bounded memory."""

from __future__ import annotations

from itertools import pairwise

import pytest

from ottla.client.accumulator import Accumulator, TopicQueues
from ottla.client.delivery import Appended, RecordHandle
from ottla.client.errors import BufferFullError, DeliveryTimeoutError
from ottla.client.partitioners import partition_for_key
from ottla.client.settings import ProducerSettings
from ottla.model.errors import MessageTooLargeError, UnknownTopicOrPartitionError
from ottla.record.batch import RecordBatch
from ottla.record.records import iterate_records


class Desk:
    """An accumulator with a topic, and short words for using it."""

    def __init__(
        self, *, partitions: int = 1, available: list[int] | None = None, **options: object
    ) -> None:
        self.wakes = 0
        self.settled = 0
        settings = ProducerSettings(**{"batch_size": 1000, **options})  # type: ignore[arg-type]
        self.accumulator = Accumulator(
            settings, wake=self.wake, settled=self.count_settled, handle_type=RecordHandle
        )
        self.topic: TopicQueues = self.accumulator.update_topic(
            "web",
            partition_count=partitions,
            available=list(range(partitions)) if available is None else available,
        )

    def wake(self) -> None:
        self.wakes += 1

    def count_settled(self) -> None:
        self.settled += 1

    def add(
        self, value: bytes = bytes(100), *, key: bytes | None = None, partition: int | None = None
    ) -> RecordHandle:
        return self.accumulator.append(
            self.topic, key, value, headers=(), partition=partition, timestamp_ms=5
        )

    def now_ms(self) -> float:
        """The time when the oldest batch was opened."""
        return next(iter(self.accumulator.unsettled.values())).created_ms

    def send(self, partition: int = 0) -> list[bytes]:
        """Take what can be sent from a partition."""
        queue = self.topic.queues[partition]
        sent = []
        while (batch := queue.next_to_send()) is not None:
            sent.append(batch.seal())
            queue.acknowledged(batch, Appended(0, -1))
        return sent

    def partitions_used(self) -> list[int]:
        return [batch.topic_partition.partition for batch in self.accumulator.unsettled.values()]


def count(content: bytes) -> int:
    return len(list(iterate_records(RecordBatch.at(content))))


def test_batch_is_closed_when_the_next_record_would_pass_its_size() -> None:
    desk = Desk()
    for _ in range(8):
        desk.add()
    assert desk.send() == []

    desk.add()

    (content,) = desk.send()
    assert len(content) <= 1000 < len(content) + 110


def test_open_batch_lingers() -> None:
    desk = Desk(linger_ms=20)
    desk.add()
    desk.accumulator.make_due(desk.now_ms() + 19)
    assert desk.send() == []

    desk.accumulator.make_due(desk.now_ms() + 20)

    assert len(desk.send()) == 1


def test_lingering_batch_tells_when_it_will_be_due() -> None:
    desk = Desk(linger_ms=20)
    desk.add()

    assert desk.accumulator.next_due_ms() == desk.now_ms() + 20


def test_sender_is_woken_once_a_batch_and_not_once_a_record() -> None:
    desk = Desk()
    for _ in range(8):
        desk.add()

    assert desk.wakes == 1


def test_record_larger_than_a_batch_travels_alone() -> None:
    desk = Desk()
    desk.add(bytes(5000))
    desk.add()

    (content,) = desk.send()
    assert count(content) == 1


def test_memory_is_counted_in_batches_and_given_back_when_they_are_settled() -> None:
    desk = Desk(buffer_memory=10_000, max_request_size=9_000)
    desk.add()
    desk.add()
    assert desk.accumulator.available_bytes == 9_000

    desk.accumulator.make_everything_due()
    desk.send()

    assert desk.accumulator.available_bytes == 10_000


def test_large_record_counts_with_its_own_size() -> None:
    desk = Desk(buffer_memory=10_000, max_request_size=9_000)
    desk.add(bytes(5_000))

    assert 4_800 < desk.accumulator.available_bytes < 5_000
    desk.accumulator.make_everything_due()
    desk.send()
    assert desk.accumulator.available_bytes == 10_000


def test_record_is_refused_when_memory_is_used_up() -> None:
    desk = Desk(buffer_memory=3_000, partitions=4)
    for partition in range(3):
        desk.add(partition=partition)

    with pytest.raises(BufferFullError):
        desk.add(partition=3)
    assert desk.accumulator.available_bytes == 0


def test_bound_holds_however_many_records_are_pushed() -> None:
    desk = Desk(buffer_memory=5_500, partitions=3)
    accepted = 0
    for _ in range(1_000):
        try:
            desk.add()
        except BufferFullError:
            continue
        accepted += 1

    assert accepted * 100 <= 5_500
    assert 0 <= desk.accumulator.available_bytes < 1_000


def test_refused_record_leaves_nothing_behind() -> None:
    desk = Desk(buffer_memory=1_000)
    for _ in range(8):
        desk.add()
    for _ in range(3):
        with pytest.raises(BufferFullError):
            desk.add()

    assert sum(count(content) for content in desk.send()) == 8


def test_used_up_memory_makes_every_open_batch_due_at_once() -> None:
    desk = Desk(buffer_memory=3_000, partitions=4, linger_ms=10_000)
    for partition in range(3):
        desk.add(partition=partition)
    with pytest.raises(BufferFullError):
        desk.add(partition=3)

    desk.accumulator.make_due(desk.now_ms())

    assert [len(desk.send(partition)) for partition in range(3)] == [1, 1, 1]


def test_record_above_max_request_size_is_refused() -> None:
    desk = Desk(max_request_size=2_000)

    with pytest.raises(MessageTooLargeError, match="max_request_size"):
        desk.add(bytes(2_000))


def test_record_that_could_never_fit_the_memory_is_refused_at_once() -> None:
    desk = Desk(buffer_memory=2_000, max_request_size=9_000)

    with pytest.raises(MessageTooLargeError, match="buffer_memory"):
        desk.add(bytes(5_000))


def test_key_decides_the_partition() -> None:
    desk = Desk(partitions=6)
    desk.add(key=b"abc")

    assert desk.partitions_used() == [partition_for_key(b"abc", 6)]


def test_keyless_records_stay_until_a_batch_is_full_and_then_move_on() -> None:
    desk = Desk(partitions=6)
    for _ in range(24):
        desk.add()

    used = desk.partitions_used()
    assert len(used) == 3
    assert used[0] != used[1] != used[2]


def test_keyless_records_stay_over_batches_that_were_not_full() -> None:
    desk = Desk(partitions=6, linger_ms=0)
    for _ in range(5):
        handle = desk.add()
        desk.accumulator.make_due(desk.now_ms())
        desk.send(handle.topic_partition.partition)
    first = handle.topic_partition

    assert desk.add().topic_partition == first


def test_keyless_records_move_on_after_a_batchs_worth_in_small_batches() -> None:
    desk = Desk(partitions=6, linger_ms=0)
    used = []
    for _ in range(60):
        partition = desk.add().topic_partition.partition
        used.append(partition)
        desk.accumulator.make_due(desk.now_ms())
        desk.send(partition)

    moves = sum(1 for here, there in pairwise(used) if here != there)
    assert 5 <= moves <= 12


def test_keyless_records_leave_a_partition_without_leader() -> None:
    desk = Desk(partitions=3)
    partition = desk.add().topic_partition.partition
    desk.accumulator.make_everything_due()
    desk.send(partition)
    others = [number for number in range(3) if number != partition]

    desk.accumulator.update_topic("web", partition_count=3, available=others)

    assert desk.add().topic_partition.partition in others


def test_own_partitioner_is_asked_with_key_all_and_available_partitions() -> None:
    asked = []

    def choose(key: bytes | None, everyone: object, available: object) -> int:
        asked.append((key, everyone, available))
        return 2

    desk = Desk(partitions=3, available=[0, 2], partitioner=choose)
    desk.add(key=b"k")
    desk.add()

    assert asked == [(b"k", range(3), [0, 2]), (None, range(3), [0, 2])]
    assert desk.partitions_used() == [2]


@pytest.mark.parametrize("partition", [-1, 3])
def test_partition_that_does_not_exist_is_refused(partition: int) -> None:
    desk = Desk(partitions=3)

    with pytest.raises(UnknownTopicOrPartitionError, match="has no partition"):
        desk.add(partition=partition)


def test_new_partitions_are_used_when_metadata_shows_them() -> None:
    desk = Desk(partitions=1)
    desk.accumulator.update_topic("web", partition_count=2, available=[0, 1])

    assert desk.add(partition=1).topic_partition.partition == 1


def test_batch_that_is_not_settled_in_time_expires() -> None:
    desk = Desk(delivery_timeout_ms=40_000)
    handle = desk.add()
    desk.accumulator.expire(desk.now_ms() + 39_999)
    assert not handle.done()

    desk.accumulator.expire(desk.now_ms() + 40_000)

    with pytest.raises(DeliveryTimeoutError, match="it was never sent"):
        handle.result()


def test_statistics_count_what_was_acknowledged_and_what_failed() -> None:
    desk = Desk(delivery_timeout_ms=40_000)
    desk.add()
    desk.add()
    desk.accumulator.make_everything_due()
    desk.send()
    desk.add()
    desk.accumulator.expire(desk.now_ms() + 40_000)

    statistics = desk.accumulator.statistics()
    assert (statistics.records_acknowledged, statistics.records_failed) == (2, 1)
    assert isinstance(statistics.last_error, DeliveryTimeoutError)
