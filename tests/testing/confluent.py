"""A client of Kafka for tests of faults: librdkafka, quiet and quick to give up."""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, Producer

LONG_S = 15.0
QUIET = {"log_level": 0, "socket.timeout.ms": 2_000, "reconnect.backoff.max.ms": 200}


def produce(servers: str, topic: str, *values: bytes, **settings: Any) -> list[int | None]:
    """Produce, and return what became of each: the code of an error, or ``None``."""
    outcomes: list[int | None] = []

    def delivered(error: KafkaError | None, _: object) -> None:
        outcomes.append(None if error is None else error.code())

    dotted = {key.replace("_", "."): value for key, value in settings.items()}
    producer = Producer({"bootstrap.servers": servers, **QUIET, **dotted})
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=delivered)
    assert producer.flush(LONG_S) == 0
    return outcomes


def consume(servers: str, topic: str, count: int, group: str) -> list[bytes]:
    """Consume ``count`` records as the only member of a group, from the beginning on."""
    consumer = Consumer(
        {
            **QUIET,
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    deadline_s = time.monotonic() + LONG_S
    while len(values) < count and time.monotonic() < deadline_s:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            value = message.value()
            assert value is not None
            values.append(value)
    consumer.close()
    return values
