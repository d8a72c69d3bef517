"""One topic, two doors: what confluent-kafka writes Ottla's client reads, and the reverse.

Run it with ``python -m compat.clients.grpc.scenario KAFKA_ADDRESSES GRPC_ADDRESSES``.
"""

from __future__ import annotations

import sys
import uuid
from typing import Final

import confluent_kafka as kafka

from compat.clients.steps import (
    CODECS,
    FIRST_TIMESTAMP_MS,
    PATIENCE_S,
    RECORDS,
    REPETITIVE,
    Steps,
    new_name,
    wait_until,
)
from ottla.client import NewTopic, TopicPartition, blocking

Row = tuple[int, bytes | None, bytes | None, int, tuple[tuple[str, bytes | None], ...]]
"""Offset, key, value, timestamp in milliseconds, headers."""

_POLL_MS: Final = 200


def rows() -> list[Row]:
    """Records with everything that must arrive as it was sent, nulls and empty bytes included."""
    made: list[Row] = []
    for i in range(RECORDS):
        key = None if i % 7 == 3 else b"" if i % 7 == 4 else b"key-%d" % i
        value = None if i % 5 == 2 else f"{i} {REPETITIVE}".encode()
        headers = (("number", b"%d" % i), ("null", None), ("number", uuid.uuid4().bytes))
        made.append((i, key, value, FIRST_TIMESTAMP_MS + i, headers))
    return made


class Scenario:
    """Every step makes a topic of its own."""

    def __init__(self, bootstrap: str, grpc: str) -> None:
        self.bootstrap = bootstrap
        self.grpc = grpc

    def run(self) -> int:
        steps = Steps()
        for codec in ("none", *CODECS):
            with steps(f"written through Kafka, read through gRPC, {codec}"):
                topic = self.new_topic()
                written = rows()
                self.write_kafka(topic, written, codec)
                assert self.read_grpc(topic) == written
            with steps(f"written through gRPC, read through Kafka, {codec}"):
                topic = self.new_topic()
                written = rows()
                self.write_grpc(topic, written, codec)
                assert self.read_kafka(topic) == written
        with steps("both doors write to one partition, both read the same"):
            self.write_both()
        with steps("a group commits through Kafka and goes on through gRPC"):
            self.share_group(kafka_first=True)
        with steps("a group commits through gRPC and goes on through Kafka"):
            self.share_group(kafka_first=False)
        return steps.status()

    def new_topic(self) -> str:
        name = new_name("doors")
        with blocking.Admin(self.grpc) as admin:
            admin.create_topics([NewTopic(name, 1, configs={"retention.ms": "-1"})])
        return name

    def write_kafka(self, topic: str, written: list[Row], codec: str) -> None:
        settings = {"bootstrap.servers": self.bootstrap, "compression.codec": codec}
        producer = kafka.Producer({**settings, "linger.ms": 50})
        for _, key, value, timestamp_ms, headers in written:
            producer.produce(
                topic,
                key=key,
                value=value,
                partition=0,
                timestamp=timestamp_ms,
                headers=list(headers),
            )
        assert producer.flush(PATIENCE_S) == 0

    def write_grpc(self, topic: str, written: list[Row], codec: str) -> None:
        compression = None if codec == "none" else codec
        with blocking.Producer(self.grpc, compression_type=compression) as producer:
            for _, key, value, timestamp_ms, headers in written:
                producer.send(
                    topic, value, key=key, headers=headers, partition=0, timestamp_ms=timestamp_ms
                )
            producer.flush(PATIENCE_S)

    def read_grpc(self, topic: str, group: str | None = None, count: int = RECORDS) -> list[Row]:
        found: list[Row] = []
        settings = {"bootstrap_servers": self.grpc, "auto_offset_reset": "earliest"}
        with blocking.Consumer(topic, group_id=group, **settings) as consumer:  # type: ignore[arg-type]  # both are what it takes

            def enough() -> bool:
                for some in consumer.getmany(timeout_ms=_POLL_MS).values():
                    found.extend(
                        (each.offset, each.key, each.value, each.timestamp_ms, each.headers)
                        for each in some
                    )
                return len(found) >= count

            wait_until(enough, lambda: f"{len(found)} of {count} records came")
            if group is not None:
                consumer.commit()
        return found

    def read_kafka(self, topic: str, group: str | None = None, count: int = RECORDS) -> list[Row]:
        found: list[Row] = []
        consumer = kafka.Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group or new_name("doors"),
                "group.protocol": "consumer",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )
        consumer.subscribe([topic])

        def enough() -> bool:
            message = consumer.poll(_POLL_MS / 1000)
            if message is not None:
                assert message.error() is None, message.error()
                headers = tuple(message.headers() or ())
                found.append(
                    (
                        message.offset(), message.key(), message.value(),
                        message.timestamp()[1], headers,
                    )
                )  # fmt: skip
            return len(found) >= count

        wait_until(enough, lambda: f"{len(found)} of {count} records came")
        if group is not None:
            consumer.commit(asynchronous=False)
        consumer.close()
        return found

    def write_both(self) -> None:
        topic = self.new_topic()
        halves = rows()[: RECORDS // 2], rows()[RECORDS // 2 :]
        self.write_kafka(topic, halves[0], "lz4")
        self.write_grpc(topic, halves[1], "zstd")
        assert self.read_grpc(topic) == self.read_kafka(topic) == [*halves[0], *halves[1]]

    def share_group(self, *, kafka_first: bool) -> None:
        topic, group = self.new_topic(), new_name("doors-group")
        halves = rows()[: RECORDS // 2], rows()[RECORDS // 2 :]
        readers = [self.read_kafka, self.read_grpc]
        if not kafka_first:
            readers.reverse()
        for half, read in zip(halves, readers, strict=True):
            self.write_kafka(topic, half, "none")
            assert read(topic, group, RECORDS // 2) == half
        with blocking.Admin(self.grpc) as admin:
            offsets = admin.group_offsets(group)
        assert offsets[TopicPartition(topic, 0)].offset == RECORDS


if __name__ == "__main__":
    sys.exit(Scenario(sys.argv[1], sys.argv[2]).run())
