"""What an application does with kafka-python 3, step by step.

Run it with ``python -m compat.clients.kafka_python.scenario 127.0.0.1:9092``.
"""

from __future__ import annotations

import sys
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic
from kafka.errors import TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata

from compat.clients.steps import (
    CODECS,
    FIRST_TIMESTAMP_MS,
    PARTITIONS,
    PATIENCE_S,
    RECORDS,
    REPETITIVE,
    Steps,
    new_name,
    wait_until,
)

_POLL_MS = 1_000


class Scenario:
    """The steps, in order; they share one topic."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.topic = new_name("kafka-python")
        self.admin = KafkaAdminClient(bootstrap_servers=bootstrap)

    def run(self) -> int:
        steps = Steps()
        with steps("create a topic"):
            self.create()
        with steps("describe cluster, topic and configuration"):
            self.describe()
        with steps("produce with keys, headers and timestamps"):
            self.produce()
        with steps("consume from the beginning, in order"):
            self.consume()
        for codec in CODECS:
            with steps(f"compression {codec}"):
                self.compress(codec)
        with steps("commit and resume"):
            self.commit_and_resume()
        with steps("two members share partitions, one leaves"):
            self.share()
        with steps("offsets by timestamp"):
            self.offsets_by_timestamp()
        with steps("groups are listed, described and deleted"):
            self.groups()
        with steps("add partitions"):
            self.alter()
        with steps("produce to a topic that is not there yet"):
            self.auto_create()
        with steps("delete the topic"):
            self.delete()
        self.admin.close()
        return steps.status()

    def consumer(self, group: str | None, *topics: str) -> KafkaConsumer:
        return KafkaConsumer(
            *topics,
            bootstrap_servers=self.bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=500,
        )

    def create(self) -> None:
        wanted = NewTopic(self.topic, PARTITIONS, -1, topic_configs={"retention.ms": "-1"})
        self.admin.create_topics([wanted])
        # Any broker may answer, and learns of the topic a moment later.
        wait_until(lambda: self.topic in self.admin.list_topics(), lambda: "it is not listed")
        try:
            self.admin.create_topics([wanted])
        except TopicAlreadyExistsError:
            return
        raise AssertionError("the topic could be created twice")

    def describe(self) -> None:
        cluster = self.admin.describe_cluster()
        assert cluster["brokers"]
        assert cluster["cluster_id"]
        (topic,) = self.admin.describe_topics([self.topic])
        assert len(topic["partitions"]) == PARTITIONS
        told = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, self.topic)])
        assert "retention.ms" in str(told)

    def producer(self, **settings: Any) -> KafkaProducer:  # noqa: ANN401 -- as the client's own
        # Idempotent and acks=all by default.
        return KafkaProducer(bootstrap_servers=self.bootstrap, **settings)

    def produce(self) -> None:
        with self.producer() as producer:
            sent = [
                producer.send(
                    self.topic,
                    key=b"key-%d" % i,
                    value=b"value-%d" % i,
                    partition=i % PARTITIONS,
                    timestamp_ms=FIRST_TIMESTAMP_MS + i,
                    headers=[("number", b"%d" % i), ("empty", b"")],
                )
                for i in range(RECORDS)
            ]
            for i, future in enumerate(sent):
                assert future.get(PATIENCE_S).offset == i // PARTITIONS

    def read(self, consumer: KafkaConsumer, count: int) -> list[Any]:
        records: list[Any] = []

        def enough() -> bool:
            for some in consumer.poll(_POLL_MS).values():
                records.extend(some)
            return len(records) >= count

        wait_until(enough, lambda: f"only {len(records)} of {count} records came")
        return records

    def consume(self) -> None:
        with self.consumer(f"{self.topic}-all", self.topic) as consumer:
            following = dict.fromkeys(range(PARTITIONS), 0)
            for record in self.read(consumer, RECORDS):
                assert record.offset == following[record.partition], "out of order"
                following[record.partition] += 1
                i = record.offset * PARTITIONS + record.partition
                assert (record.key, record.value) == (b"key-%d" % i, b"value-%d" % i)
                assert record.timestamp == FIRST_TIMESTAMP_MS + i
                assert list(record.headers) == [("number", b"%d" % i), ("empty", b"")]

    def compress(self, codec: str) -> None:
        topic = f"{self.topic}-{codec}"
        self.admin.create_topics([NewTopic(topic, 1, -1)])
        with self.producer(compression_type=codec, linger_ms=100) as producer:
            for i in range(50):
                producer.send(topic, f"{i}{REPETITIVE}".encode())
        with self.consumer(None) as consumer:
            consumer.assign([TopicPartition(topic, 0)])
            values = [record.value for record in self.read(consumer, 50)]
        assert values == [f"{i}{REPETITIVE}".encode() for i in range(50)]

    def commit_and_resume(self) -> None:
        group = f"{self.topic}-resume"
        with self.consumer(group, self.topic) as consumer:
            before = {record.key for record in self.read(consumer, 1)}
            consumer.commit()
        with self.consumer(group, self.topic) as consumer:
            after = {record.key for record in self.read(consumer, RECORDS - len(before))}
            assert not before & after, f"read twice: {sorted(before & after)}"
            assert len(before | after) == RECORDS
            partition = TopicPartition(self.topic, 0)
            consumer.commit({partition: OffsetAndMetadata(20, "back to 20", -1)})
            told = consumer.committed(partition, metadata=True)
            assert (told.offset, told.metadata) == (20, "back to 20")

    def share(self) -> None:
        group = f"{self.topic}-shared"
        members = [self.consumer(group, self.topic) for _ in range(2)]

        def sizes() -> list[int]:
            for member in members:
                member.poll(_POLL_MS)
            return [len(member.assignment()) for member in members]

        wait_until(lambda: sizes() == [2, 2], lambda: f"partitions of each: {sizes()}")
        members.pop().close()
        wait_until(lambda: sizes() == [PARTITIONS], lambda: f"after one left: {sizes()}")
        members.pop().close()

    def offsets_by_timestamp(self) -> None:
        first, second = (TopicPartition(self.topic, number) for number in (0, 1))
        with self.consumer(None) as consumer:
            found = consumer.offsets_for_times(
                {first: FIRST_TIMESTAMP_MS + 41, second: FIRST_TIMESTAMP_MS + 10_000}
            )
            assert found[first].offset == 11
            assert found[first].timestamp == FIRST_TIMESTAMP_MS + 44
            assert found[second] is None
            assert consumer.beginning_offsets([first]) == {first: 0}
            assert consumer.end_offsets([first]) == {first: 25}

    def groups(self) -> None:
        group = f"{self.topic}-resume"
        assert group in str(self.admin.list_groups())
        assert "Empty" in str(self.admin.describe_groups([group]))
        assert "20" in str(self.admin.list_group_offsets([group]))
        self.admin.delete_groups([group])

    def alter(self) -> None:
        self.admin.create_partitions({self.topic: NewPartitions(PARTITIONS + 2)})

        def shown() -> bool:
            (topic,) = self.admin.describe_topics([self.topic])
            return len(topic["partitions"]) == PARTITIONS + 2

        wait_until(shown, lambda: "the change does not show")

    def auto_create(self) -> None:
        with self.producer() as producer:
            producer.send(f"{self.topic}-auto", b"first").get(PATIENCE_S)
        wait_until(
            lambda: f"{self.topic}-auto" in self.admin.list_topics(), lambda: "it is not listed"
        )

    def delete(self) -> None:
        self.admin.delete_topics([self.topic])
        wait_until(lambda: self.topic not in self.admin.list_topics(), lambda: "it is still listed")


if __name__ == "__main__":
    sys.exit(Scenario(sys.argv[1]).run())
