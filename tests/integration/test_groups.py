"""Unchanged clients of Kafka share the partitions of a topic, and go on where they were.

The numbers are those of the statements that any broker must satisfy.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from ottla.testing.broker_process import BrokerProcess
from tests.integration.group_members import (
    AioKafka,
    Client,
    Confluent,
    ConfluentConsumerProtocol,
    Crew,
    KafkaPython,
    Member,
    shared,
    wait_until,
)

pytestmark = [pytest.mark.integration, pytest.mark.faults, pytest.mark.timeout(120)]

CLIENTS = [Confluent, ConfluentConsumerProtocol, KafkaPython, AioKafka]
PARTITIONS = 4
SETTINGS = ["--set", "group.consumer.heartbeat.interval.ms=200", "--set", "num.partitions=4"]


@pytest.fixture(scope="module")
def kafka() -> Iterator[str]:
    """The address of an ephemeral broker."""
    with BrokerProcess(arguments=SETTINGS) as process:
        yield process.kafka_address


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.disband()


def produced(bootstrap: str, *, count: int = 40) -> str:
    """Make a topic with records in all of its partitions, and return its name."""
    topic = f"topic-{uuid4().hex[:8]}"
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    produce(producer, topic, count)
    return topic


def produce(producer: confluent_kafka.Producer, topic: str, count: int) -> None:
    # Until the topic is known, librdkafka takes it to have one partition.
    producer.produce(topic, b"value")
    assert producer.flush(10) == 0
    for number in range(count - 1):
        producer.produce(topic, b"value", partition=number % PARTITIONS)
    assert producer.flush(10) == 0


def new_group() -> str:
    return f"group-{uuid4().hex[:8]}"


def admin_of(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap})


@pytest.mark.parametrize("kind", CLIENTS)
def test_members_share_a_topic_and_one_takes_over_from_the_other(
    kafka: str, crew: Crew, kind: type[Any]
) -> None:
    topic, group = produced(kafka), new_group()

    def member() -> Client:
        client: Client = kind(kafka, group, topic)
        return client

    one, other = crew.add(member), crew.add(member)
    wait_until(lambda: shared(PARTITIONS, one, other), one, other)
    other.leave()
    wait_until(lambda: shared(PARTITIONS, one), one)
    wait_until(lambda: len(set(one.polled + other.polled)) == 40, one)
    one.leave()

    again = crew.add(member)
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka})
    producer.produce(topic, b"new", partition=0)
    producer.flush(10)
    wait_until(lambda: bool(again.polled), again)
    again.leave()
    assert len(again.polled) == 1, "it begins where the others ended"


def test_statement_31_metadata_and_leader_epoch_come_back_after_a_crash(tmp_path: Path) -> None:
    with BrokerProcess(data_directory=tmp_path, arguments=SETTINGS) as broker:
        topic, group = produced(broker.kafka_address), new_group()
        settings = {"bootstrap.servers": broker.kafka_address, "group.id": group}
        consumer = confluent_kafka.Consumer(settings)
        place = TopicPartition(topic, 1, 5, metadata="so far", leader_epoch=0)
        consumer.commit(offsets=[place], asynchronous=False)
        consumer.close()
        broker.kill()
        broker.start()
        consumer = confluent_kafka.Consumer(settings)
        asked = [TopicPartition(topic, 1), TopicPartition(topic, 2)]
        found, nothing = consumer.committed(asked, timeout=20)
        assert (found.offset, found.metadata, found.leader_epoch) == (5, "so far", 0)
        assert nothing.offset == confluent_kafka.OFFSET_INVALID
        consumer.close()


def test_statement_32_members_that_join_at_once_each_get_their_share(
    kafka: str, crew: Crew
) -> None:
    topic, group = produced(kafka), new_group()
    members = [crew.add(lambda: Confluent(kafka, group, topic)) for _ in range(3)]
    wait_until(lambda: shared(PARTITIONS, *members), *members)
    for member in members:
        member.leave()


def test_statement_33_offsets_are_committed_without_being_a_member(kafka: str) -> None:
    topic, group = produced(kafka), new_group()
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": kafka, "group.id": group, "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, 0, 0)])
    assert consumer.consume(1, 10)
    (committed,) = consumer.commit(asynchronous=False)
    assert (committed.error, committed.offset) == (None, 1)
    consumer.close()


def test_statement_34_a_cooperative_rebalance_leaves_a_member_what_it_keeps(
    kafka: str, crew: Crew
) -> None:
    topic, group = produced(kafka), new_group()

    def member() -> Client:
        return Confluent(kafka, group, topic, partition_assignment_strategy="cooperative-sticky")

    one = crew.add(member)
    wait_until(lambda: shared(PARTITIONS, one), one)
    other = crew.add(member)
    wait_until(lambda: shared(PARTITIONS, one, other), one, other)
    assert all(assigned for assigned in one.assignments), "it never stopped reading them all"
    one.leave()
    other.leave()


def test_statement_34_members_meet_on_a_protocol_that_all_know(kafka: str, crew: Crew) -> None:
    topic, group = produced(kafka), new_group()

    def member(strategies: str) -> Member:
        return crew.add(
            lambda: Confluent(kafka, group, topic, partition_assignment_strategy=strategies)
        )

    both, one = member("range,roundrobin"), member("roundrobin")
    wait_until(lambda: shared(PARTITIONS, both, one), both, one)
    stranger = confluent_kafka.Consumer(
        {
            "bootstrap.servers": kafka,
            "group.id": group,
            "partition.assignment.strategy": "cooperative-sticky",
        }
    )
    stranger.subscribe([topic])
    error = None
    deadline = time.monotonic() + 20
    while error is None and time.monotonic() < deadline:
        message = stranger.poll(0.5)
        error = None if message is None else message.error()
    assert error is not None
    assert error.code() == confluent_kafka.KafkaError.INCONSISTENT_GROUP_PROTOCOL
    stranger.close()
    both.leave()
    one.leave()


def test_statement_35_a_static_member_that_comes_back_disturbs_nobody(
    kafka: str, crew: Crew
) -> None:
    topic, group = produced(kafka), new_group()

    def member(name: str) -> Member:
        return crew.add(lambda: Confluent(kafka, group, topic, group_instance_id=name))

    one, other = member("one"), member("other")
    wait_until(lambda: shared(PARTITIONS, one, other), one, other)
    seen, had = len(other.assignments), set(one.assigned)
    one.leave()
    again = member("one")
    wait_until(lambda: shared(PARTITIONS, again, other), again, other)
    assert again.assigned == had
    assert len(other.assignments) == seen
    admin = admin_of(kafka)
    described = admin.describe_consumer_groups([group])[group].result(10)
    assert sorted(one.group_instance_id for one in described.members) == ["one", "other"]
    again.leave()
    other.leave()


def test_statement_36_groups_are_listed_described_and_deleted(kafka: str, crew: Crew) -> None:
    topic, group, unknown = produced(kafka), new_group(), new_group()
    admin = admin_of(kafka)
    member = crew.add(lambda: Confluent(kafka, group, topic))
    wait_until(lambda: shared(PARTITIONS, member), member)

    assert group in {one.group_id for one in admin.list_consumer_groups().result(10).valid}
    described = admin.describe_consumer_groups([group])[group].result(10)
    assert described.state == confluent_kafka.ConsumerGroupState.STABLE
    nobody = admin.describe_consumer_groups([unknown])[unknown].result(10)
    assert nobody.state == confluent_kafka.ConsumerGroupState.DEAD

    assert code_of(admin.delete_consumer_groups([group])[group]) == "NON_EMPTY_GROUP"
    assert code_of(admin.delete_consumer_groups([unknown])[unknown]) == "GROUP_ID_NOT_FOUND"
    member.leave()
    admin.delete_consumer_groups([group])[group].result(10)
    assert group not in {one.group_id for one in admin.list_consumer_groups().result(10).valid}


def code_of(future: Any) -> str:
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        future.result(10)
    name: str = refused.value.args[0].name()
    return name
