"""A member of a group with confluent-kafka: processes, then commits, and tells of both.

python member.py BOOTSTRAP GROUP TOPIC classic|cooperative|consumer SESSION_MS NAME
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

RECORDS_MAX = 50

bootstrap, group, topic, protocol, session_ms, name = sys.argv[1:]
stopping = threading.Event()
pending: dict[int, int] = {}
"""By partition: the offset to commit next."""


def tell(event: str, **what: object) -> None:
    print(json.dumps({"at": time.monotonic(), "event": event, **what}), flush=True)


def commit() -> None:
    if not pending:
        return
    offsets = dict(pending)
    pending.clear()
    asked = [TopicPartition(topic, *place, metadata=name) for place in offsets.items()]
    try:
        results = consumer.commit(offsets=asked, asynchronous=False)
    except KafkaException as error:
        tell("not committed", offsets=offsets, why=str(error.args[0]))
        return
    bad = {one.partition: str(one.error) for one in results if one.error}
    if bad:
        tell("not committed", offsets=offsets, why=str(bad))
    tell("committed", offsets={one.partition: one.offset for one in results if not one.error})


def revoked(_consumer: Consumer, partitions: list[TopicPartition]) -> None:
    tell("revoked", partitions=[one.partition for one in partitions])
    commit()


def lost(_consumer: Consumer, partitions: list[TopicPartition]) -> None:
    tell("lost", partitions=[one.partition for one in partitions])
    for one in partitions:
        pending.pop(one.partition, None)


settings: dict[str, object] = {
    "bootstrap.servers": bootstrap,
    "group.id": group,
    "client.id": "python",
    "auto.offset.reset": "earliest",
    "enable.auto.commit": False,
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.refresh.interval.ms": 2000,
}
if protocol == "consumer":
    settings["group.protocol"] = "consumer"
else:
    settings |= {
        "session.timeout.ms": int(session_ms),
        "heartbeat.interval.ms": 500,
        "partition.assignment.strategy": (
            "cooperative-sticky" if protocol == "cooperative" else "range,roundrobin"
        ),
    }
signal.signal(signal.SIGTERM, lambda *_: stopping.set())
consumer = Consumer(settings)
consumer.subscribe([topic], on_revoke=revoked, on_lost=lost)
told: list[int] | None = None
while not stopping.is_set():
    for number in range(RECORDS_MAX):
        message = consumer.poll(0.1 if number == 0 else 0)
        if message is None:
            break
        if message.error():
            tell("error", why=str(message.error()))
            continue
        partition, offset = message.partition(), message.offset()
        tell("processed", partition=partition, offset=offset, value=message.value().decode())
        pending[partition] = offset + 1
    commit()
    assigned = sorted(one.partition for one in consumer.assignment())
    if assigned != told:
        told = assigned
        tell("assigned", partitions=assigned)
consumer.close()
tell("left")
