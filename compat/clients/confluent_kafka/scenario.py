"""What an application does with librdkafka from Python, which is confluent-kafka, step by step.

Run it with ``python -m compat.clients.confluent_kafka.scenario 127.0.0.1:9092``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

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

_POLL_S = 0.2


class Scenario:
    """The steps, in order; they share one topic."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap
        self.topic = new_name("librdkafka")
        self.admin = AdminClient({"bootstrap.servers": bootstrap})

    def run(self) -> int:
        steps = Steps()
        with steps("create a topic"):
            self.create()
        with steps("describe cluster, topic and configuration"):
            self.describe()
        with steps("produce with keys, headers and timestamps"):
            self.produce({})
        for protocol in ("classic", "consumer"):
            with steps(f"consume from the beginning, in order, {protocol} group"):
                self.consume(protocol)
        for codec in CODECS:
            with steps(f"compression {codec}"):
                self.compress(codec)
        for protocol in ("classic", "consumer"):
            with steps(f"commit and resume, {protocol} group"):
                self.commit_and_resume(protocol)
        with steps("idempotent producer"):
            self.produce_idempotently()
        for strategy in ("range", "roundrobin", "cooperative-sticky", "consumer"):
            with steps(f"two members share partitions, one leaves ({strategy})"):
                self.share(strategy)
        with steps("offsets by timestamp"):
            self.offsets_by_timestamp()
        with steps("groups are listed, described and deleted"):
            self.groups()
        with steps("alter configuration and add partitions"):
            self.alter()
        with steps("produce to a topic that is not there yet"):
            self.auto_create()
        with steps("delete the topic"):
            self.delete()
        return steps.status()

    def producer(self, settings: Mapping[str, object]) -> Producer:
        return Producer({"bootstrap.servers": self.bootstrap, **settings})

    def consumer(self, group: str, protocol: str, **settings: object) -> Consumer:
        timeouts = {"session.timeout.ms": 10_000, "heartbeat.interval.ms": 500}
        return Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "group.protocol": protocol,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                **(timeouts if protocol == "classic" else {}),
                **settings,
            }
        )

    def topics(self) -> set[str]:
        return set(self.admin.list_topics(timeout=PATIENCE_S).topics)

    def create(self) -> None:
        wanted = NewTopic(self.topic, PARTITIONS, config={"retention.ms": "-1"})
        self.admin.create_topics([wanted])[self.topic].result(PATIENCE_S)
        # Any broker may answer, and learns of the topic a moment later.
        wait_until(lambda: self.topic in self.topics(), lambda: "it is not listed")
        try:
            self.admin.create_topics([wanted])[self.topic].result(PATIENCE_S)
        except KafkaException as error:
            assert error.args[0].name() == "TOPIC_ALREADY_EXISTS", error
        else:
            raise AssertionError("the topic could be created twice")

    def describe(self) -> None:
        cluster = self.admin.describe_cluster().result(PATIENCE_S)
        assert cluster.nodes
        assert cluster.cluster_id
        topic = self.admin.list_topics(self.topic, timeout=PATIENCE_S).topics[self.topic]
        assert sorted(topic.partitions) == list(range(PARTITIONS))
        assert all(partition.leader >= 0 for partition in topic.partitions.values())
        resource = ConfigResource(ConfigResource.Type.TOPIC, self.topic)
        told = self.admin.describe_configs([resource])[resource].result(PATIENCE_S)
        assert told["retention.ms"].value == "-1"
        assert told["retention.ms"].source == ConfigSource.DYNAMIC_TOPIC_CONFIG.value
        assert told["cleanup.policy"].value == "delete"
        assert told["cleanup.policy"].is_default

    def produce(self, settings: Mapping[str, object]) -> None:
        producer = self.producer(settings)
        delivered: list[tuple[int, int]] = []

        def on_delivery(error: object, message: Message) -> None:
            assert error is None, error
            delivered.append((message.partition(), message.offset()))

        for i in range(RECORDS):
            producer.produce(
                self.topic,
                key=f"key-{i}",
                value=f"value-{i}",
                partition=i % PARTITIONS,
                timestamp=FIRST_TIMESTAMP_MS + i,
                headers=[("number", str(i).encode()), ("null", None)],
                on_delivery=on_delivery,
            )
        assert producer.flush(PATIENCE_S) == 0, "not all was delivered in time"
        expected = [(i % PARTITIONS, i // PARTITIONS) for i in range(RECORDS)]
        assert sorted(delivered) == sorted(expected)

    def read(self, consumer: Consumer, count: int) -> list[Message]:
        messages: list[Message] = []

        def enough() -> bool:
            message = consumer.poll(_POLL_S)
            if message is not None:
                if message.error() is not None:
                    raise KafkaException(message.error())
                messages.append(message)
            return len(messages) >= count

        wait_until(enough, lambda: f"only {len(messages)} of {count} messages came")
        return messages

    def consume(self, protocol: str) -> None:
        consumer = self.consumer(f"{self.topic}-{protocol}", protocol)
        consumer.subscribe([self.topic])
        following = dict.fromkeys(range(PARTITIONS), 0)
        for message in self.read(consumer, RECORDS):
            assert message.offset() == following[message.partition()], "out of order"
            following[message.partition()] += 1
            i = message.offset() * PARTITIONS + message.partition()
            assert (message.key(), message.value()) == (b"key-%d" % i, b"value-%d" % i)
            assert message.timestamp() == (TIMESTAMP_CREATE_TIME, FIRST_TIMESTAMP_MS + i)
            assert message.headers() == [("number", b"%d" % i), ("null", None)]
        consumer.close()

    def compress(self, codec: str) -> None:
        topic = f"{self.topic}-{codec}"
        self.admin.create_topics([NewTopic(topic, 1)])[topic].result(PATIENCE_S)
        producer = self.producer({"compression.codec": codec, "linger.ms": 100})
        for i in range(50):
            producer.produce(topic, value=f"{i}{REPETITIVE}")
        assert producer.flush(PATIENCE_S) == 0
        consumer = self.consumer(topic, "classic")
        consumer.assign([TopicPartition(topic, 0, 0)])
        values = [message.value() for message in self.read(consumer, 50)]
        assert values == [f"{i}{REPETITIVE}".encode() for i in range(50)]
        consumer.close()

    def commit_and_resume(self, protocol: str) -> None:
        group = f"{self.topic}-resume-{protocol}"
        first = self.consumer(group, protocol)
        first.subscribe([self.topic])
        before = {message.key() for message in self.read(first, 30)}
        first.commit(asynchronous=False)
        first.close()
        second = self.consumer(group, protocol)
        second.subscribe([self.topic])
        after = {message.key() for message in self.read(second, RECORDS - len(before))}
        assert not before & after, f"read twice: {sorted(before & after)}"
        assert len(before | after) == RECORDS
        position = TopicPartition(self.topic, 0, 20, metadata="back to 20")
        second.commit(offsets=[position], asynchronous=False)
        (told,) = second.committed([TopicPartition(self.topic, 0)], timeout=PATIENCE_S)
        assert (told.offset, told.metadata) == (20, "back to 20")
        second.close()

    def produce_idempotently(self) -> None:
        topic = f"{self.topic}-idempotent"
        self.admin.create_topics([NewTopic(topic, 1)])[topic].result(PATIENCE_S)
        producer = self.producer({"enable.idempotence": True, "linger.ms": 0})
        for i in range(RECORDS):
            producer.produce(topic, value=f"{i}")
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0
        consumer = self.consumer(topic, "classic")
        consumer.assign([TopicPartition(topic, 0, 0)])
        values = [message.value() for message in self.read(consumer, RECORDS)]
        assert values == [b"%d" % i for i in range(RECORDS)]
        consumer.close()

    def share(self, strategy: str) -> None:
        group = f"{self.topic}-{strategy}"
        if strategy == "consumer":
            members = [self.consumer(group, "consumer") for _ in range(2)]
        else:
            chosen = {"partition.assignment.strategy": strategy}
            members = [self.consumer(group, "classic", **chosen) for _ in range(2)]

        def sizes() -> list[int]:
            for member in members:
                member.poll(_POLL_S)
            return [len(member.assignment()) for member in members]

        for member in members:
            member.subscribe([self.topic])
        wait_until(lambda: sizes() == [2, 2], lambda: f"partitions of each: {sizes()}")
        members.pop().close()
        wait_until(lambda: sizes() == [PARTITIONS], lambda: f"after one left: {sizes()}")
        members.pop().close()

    def offsets_by_timestamp(self) -> None:
        consumer = self.consumer(f"{self.topic}-times", "classic")
        wanted = [
            TopicPartition(self.topic, 0, FIRST_TIMESTAMP_MS + 41),
            TopicPartition(self.topic, 1, FIRST_TIMESTAMP_MS + 10_000),
        ]
        found = consumer.offsets_for_times(wanted, timeout=PATIENCE_S)
        assert [position.offset for position in found] == [11, -1], found
        assert consumer.get_watermark_offsets(TopicPartition(self.topic, 0)) == (0, 25)
        consumer.close()
        partition = TopicPartition(self.topic, 0)
        told = self.admin.list_offsets({partition: OffsetSpec.max_timestamp()})
        assert told[partition].result(PATIENCE_S).offset == 24

    def groups(self) -> None:
        group = f"{self.topic}-resume-classic"
        listed = self.admin.list_consumer_groups().result(PATIENCE_S).valid
        assert group in {entry.group_id for entry in listed}
        described = self.admin.describe_consumer_groups([group])[group].result(PATIENCE_S)
        assert described.state.name == "EMPTY", described.state
        request = ConsumerGroupTopicPartitions(group)
        offsets = self.admin.list_consumer_group_offsets([request])[group].result(PATIENCE_S)
        assert {p.partition: p.offset for p in offsets.topic_partitions}[0] == 20
        self.admin.delete_consumer_groups([group])[group].result(PATIENCE_S)

    def alter(self) -> None:
        entry = ConfigEntry(
            "max.message.bytes", "123456", incremental_operation=AlterConfigOpType.SET
        )
        resource = ConfigResource(
            ConfigResource.Type.TOPIC, self.topic, incremental_configs=[entry]
        )
        self.admin.incremental_alter_configs([resource])[resource].result(PATIENCE_S)
        more = NewPartitions(self.topic, PARTITIONS + 2)
        self.admin.create_partitions([more])[self.topic].result(PATIENCE_S)

        def shown() -> bool:
            told = self.admin.describe_configs([resource])[resource].result(PATIENCE_S)
            topic = self.admin.list_topics(self.topic, timeout=PATIENCE_S).topics[self.topic]
            return told["max.message.bytes"].value == "123456" and len(topic.partitions) == 6

        wait_until(shown, lambda: "the changes do not show")

    def auto_create(self) -> None:
        producer = self.producer({})
        producer.produce(f"{self.topic}-auto", value="first")
        assert producer.flush(PATIENCE_S) == 0
        wait_until(lambda: f"{self.topic}-auto" in self.topics(), lambda: "it is not listed")

    def delete(self) -> None:
        self.admin.delete_topics([self.topic])[self.topic].result(PATIENCE_S)
        wait_until(lambda: self.topic not in self.topics(), lambda: "it is still listed")


if __name__ == "__main__":
    sys.exit(Scenario(sys.argv[1]).run())
