"""Clients of Kafka's protocol get as many bytes through in a second as their quotas say."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka import Message as Received

from ottla.testing.broker_process import BrokerProcess
from ottla.wire.api_keys import ApiKey
from ottla.wire.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasResponse,
    OpData,
    RequestEntityData,
    RequestEntryData,
)
from tests.integration.kafka_frames import KafkaConnection

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(60)]

BYTES_PER_S = 500_000
VALUE_BYTES = 10_000
VALUES = 200
SECONDS = (VALUES * VALUE_BYTES - BYTES_PER_S) / BYTES_PER_S
"""All but what the one window behind the present allows at once."""


@pytest.fixture(scope="module")
def broker() -> Iterator[BrokerProcess]:
    with BrokerProcess(arguments=["--set", "quota.window.num=2"]) as process:
        with KafkaConnection(process) as connection:
            for client_id, key in (
                ("slow-producer", "producer_byte_rate"),
                ("slow-consumer", "consumer_byte_rate"),
            ):
                set_quota(connection, client_id, key)
        yield process


def set_quota(connection: KafkaConnection, client_id: str, key: str) -> None:
    request = AlterClientQuotasRequest(
        entries=[
            RequestEntryData(
                entity=[RequestEntityData(entity_type="client-id", entity_name=client_id)],
                ops=[OpData(key=key, value=BYTES_PER_S)],
            )
        ]
    )
    response: AlterClientQuotasResponse = connection.ask(ApiKey.ALTER_CLIENT_QUOTAS, 1, request)
    assert [entry.error_code for entry in response.entries] == [0]


def produce(broker: BrokerProcess, client_id: str, topic: str) -> tuple[float, list[float]]:
    """Return how many seconds it takes, and how long the client was told to wait each time."""
    throttled: list[float] = []
    producer = Producer(
        {
            "bootstrap.servers": str(broker.kafka_address),
            "client.id": client_id,
            "batch.size": 5 * VALUE_BYTES,
            "linger.ms": 5,
            "throttle_cb": lambda event: throttled.append(event.throttle_time),
        }
    )
    producer.produce(topic, b"first")  # makes the topic
    assert producer.flush(20) == 0
    value = os.urandom(VALUE_BYTES)
    began = time.monotonic()
    for _ in range(VALUES):
        producer.produce(topic, value)
    assert producer.flush(20) == 0
    return time.monotonic() - began, throttled


def consume(broker: BrokerProcess, client_id: str, topic: str) -> float:
    consumer = Consumer(
        {
            "bootstrap.servers": str(broker.kafka_address),
            "client.id": client_id,
            "group.id": client_id,
            "fetch.message.max.bytes": 5 * VALUE_BYTES,
        }
    )
    consumer.assign([TopicPartition(topic, 0, 1)])
    began = time.monotonic()
    received: list[Received] = []
    while len(received) < VALUES:
        received += consumer.consume(VALUES - len(received), timeout=20)
    seconds = time.monotonic() - began
    consumer.close()
    return seconds


def test_producer_with_a_quota_takes_its_time_and_others_do_not(broker: BrokerProcess) -> None:
    slow, throttled = produce(broker, "slow-producer", "produced")
    fast, _ = produce(broker, "fast-producer", "produced-fast")

    assert slow == pytest.approx(SECONDS, rel=0.2)
    assert max(throttled) > 0
    assert fast < SECONDS / 2


def test_consumer_with_a_quota_takes_its_time_and_others_do_not(broker: BrokerProcess) -> None:
    produce(broker, "fast-producer", "consumed")

    slow = consume(broker, "slow-consumer", "consumed")
    fast = consume(broker, "fast-consumer", "consumed")

    assert slow == pytest.approx(SECONDS, rel=0.2)
    assert fast < SECONDS / 2
