"""A member without an event loop keeps what it was not done with, whatever goes on behind it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from ottla.client.blocking import Consumer as BlockingConsumer
from ottla.client.blocking import Producer, RebalanceListener
from ottla.client.consumer_record import ConsumerRecord
from ottla.client.group_offsets import OffsetAndMetadata
from ottla.model.errors import FencedMemberEpochError
from ottla.model.ids import TopicPartition
from tests.client.served import ServedCluster
from tests.client.test_consumer import WEB_0, WEB_1
from tests.client.test_groups import _fail_at

BOTH = {WEB_0, WEB_1}


def reader(served: ServedCluster, *topics: str, **options: object) -> BlockingConsumer:
    return BlockingConsumer(
        *topics,
        bootstrap_servers=served.bootstrap,
        **{  # type: ignore[arg-type]
            "group_id": "mine",
            "auto_offset_reset": "earliest",
            "auto_commit_interval_ms": 3_600_000,
            "retry_backoff_ms": 2,
            "retry_backoff_max_ms": 10,
            **options,
        },
    )


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)


def committed(served: ServedCluster) -> dict[TopicPartition, int]:
    with BlockingConsumer(bootstrap_servers=served.bootstrap, group_id="mine") as asking:
        return {each: found.offset for each, found in asking.committed().items() if found}


class Listener(RebalanceListener):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(f"assigned {len(partitions)}")

    def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(f"revoked {len(partitions)}")

    def on_partitions_lost(self, partitions: Sequence[TopicPartition]) -> None:
        self.told.append(f"lost {len(partitions)}")


def test_records_that_wait_in_the_thread_are_read_by_whoever_gets_the_partition() -> None:
    with ServedCluster() as served:
        served.do(lambda cluster: cluster.create("web", 2))
        _fill(served, 5, partition=0)
        _fill(served, 5, partition=1)
        with reader(served, "web") as one:
            until(lambda: one.assignment() == BOTH)
            time.sleep(0.05)  # for both to be fetched: then one call brings both over
            mine = one.getone()
            with reader(served, "web") as other:
                until(other.assignment)
                (theirs,) = other.assignment()
                taken: list[ConsumerRecord] = []
                while len(taken) < 5:
                    taken += other.getmany(timeout_ms=1_000).get(theirs, [])

    assert theirs != mine.topic_partition
    assert [record.offset for record in taken] == [0, 1, 2, 3, 4]


def test_partition_with_a_record_in_hand_stays() -> None:
    with ServedCluster() as served:
        _fill(served, 5)
        with reader(served, "web", group_instance_id="one") as one:
            one.getone()
            with reader(served, "web") as other:
                served.do(lambda cluster: cluster.groups.topics_changed())
                assert other.getmany(timeout_ms=50) == {}
            assert one.getone().offset == 1


def test_piece_that_was_not_handed_out_is_not_committed() -> None:
    with ServedCluster() as served:
        served.do(lambda cluster: cluster.create("web", 2))
        _fill(served, 5, partition=0)
        _fill(served, 5, partition=1)
        with reader(served, "web") as consumer:
            until(lambda: consumer.assignment() == BOTH)
            time.sleep(0.05)
            (record, *_) = next(consumer.batches())

        found = committed(served)
        assert {each: offset for each, offset in found.items() if offset} == {
            record.topic_partition: 5
        }


def test_application_that_takes_waiting_records_one_by_one_is_not_overdue() -> None:
    with ServedCluster() as served:
        _fill(served, 20)
        listener = Listener()
        consumer = reader(served, max_poll_interval_ms=200)
        consumer.subscribe("web", listener=listener)
        with consumer:
            for _ in range(20):
                consumer.getone()
                time.sleep(0.02)
            told = list(listener.told)

    assert told == ["assigned 1"]


def test_application_that_does_not_come_back_is_waited_for() -> None:
    with ServedCluster() as served:
        _fill(served, 5)
        listener = Listener()
        consumer = reader(served, max_poll_interval_ms=30)
        consumer.subscribe("web", listener=listener)
        with consumer:
            assert consumer.getone().offset == 0
            until(lambda: "lost 1" in listener.told)
            time.sleep(0.1)
            assert listener.told == ["assigned 1", "lost 1"]

            assert consumer.getone().offset == 0
            assert listener.told[:3] == ["assigned 1", "lost 1", "assigned 1"]


def test_seeking_drops_what_waits_in_the_thread() -> None:
    with ServedCluster() as served:
        _fill(served, 10)
        with reader(served, "web") as consumer:
            consumer.getone()
            consumer.seek(WEB_0, 7)
            assert consumer.getone().offset == 7
            assert consumer.lag() == {WEB_0: 2}
            assert consumer.position(WEB_0) == 8


def test_partition_that_was_paused_and_lost_is_read_when_it_comes_back() -> None:
    with ServedCluster() as served:
        _fill(served, 5)
        with reader(served, "web") as consumer:
            consumer.getone()
            consumer.pause(WEB_0)
            served.do(lambda cluster: cluster.groups.expire_members())
            until(lambda: not consumer.assignment())
            assert consumer.getone().offset == 0


def test_member_that_was_lost_learns_it_when_it_commits() -> None:
    with ServedCluster() as served:
        _fill(served, 5)
        with reader(served, "web", enable_auto_commit=False) as consumer:
            consumer.getone()
            served.do(lambda cluster: cluster.groups.expire_members())
            until(lambda: not consumer.assignment())
            with pytest.raises(FencedMemberEpochError):
                consumer.commit()


def test_listener_uses_the_consumer_from_its_own_thread() -> None:
    class Using(Listener):
        def on_partitions_assigned(self, partitions: Sequence[TopicPartition]) -> None:
            super().on_partitions_assigned(partitions)
            assert threading.current_thread() is not threading.main_thread()
            for partition in partitions:
                consumer.seek(partition, 3)

        def on_partitions_revoked(self, partitions: Sequence[TopicPartition]) -> None:
            super().on_partitions_revoked(partitions)
            consumer.commit()

    with ServedCluster() as served:
        _fill(served, 5)
        listener = Using()
        consumer = reader(served, enable_auto_commit=False)
        consumer.subscribe("web", listener=listener)
        with consumer:
            assert consumer.getone().offset == 3

        assert listener.told == ["assigned 1", "revoked 1"]
        assert committed(served) == {WEB_0: 4}


def test_blocking_member_commits_what_it_was_done_with() -> None:
    with ServedCluster() as served:
        _fill(served, 10)
        with BlockingConsumer(
            "web",
            bootstrap_servers=served.bootstrap,
            group_id="mine",
            auto_offset_reset="earliest",
        ) as consumer:
            records = [consumer.getone() for _ in range(4)]
        with BlockingConsumer(
            "web", bootstrap_servers=served.bootstrap, group_id="mine"
        ) as consumer:
            again = consumer.getone()

    assert [record.offset for record in records] == [0, 1, 2, 3]
    assert again.offset == 4


def test_blocking_member_that_fails_reads_the_record_again() -> None:
    with ServedCluster() as served:
        _fill(served, 10)
        with pytest.raises(ZeroDivisionError):
            _read_until_it_fails(served)
        with BlockingConsumer(
            "web", bootstrap_servers=served.bootstrap, group_id="mine"
        ) as consumer:
            assert consumer.getone().offset == 3


def test_blocking_member_commits_by_hand_where_the_application_is() -> None:
    with ServedCluster() as served:
        _fill(served, 10)
        with BlockingConsumer(
            "web",
            bootstrap_servers=served.bootstrap,
            group_id="mine",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        ) as consumer:
            for _ in range(4):
                consumer.getone()
            consumer.commit()

            assert consumer.committed() == {WEB_0: OffsetAndMetadata(4)}
            assert consumer.positions() == {WEB_0: 4}


def _fill(served: ServedCluster, count: int, *, partition: int = 0) -> None:
    with Producer(served.bootstrap) as producer:
        for number in range(count):
            producer.send("web", b"%d" % number, partition=partition)


def _read_until_it_fails(served: ServedCluster) -> None:
    with BlockingConsumer(
        "web", bootstrap_servers=served.bootstrap, group_id="mine", auto_offset_reset="earliest"
    ) as consumer:
        for record in consumer:
            _fail_at(record, 3)
