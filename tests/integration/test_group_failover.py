"""A group goes on when its coordinator dies, and what it committed never goes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from ottla.testing.cluster_processes import ClusterProcesses
from tests.integration.cluster_requests import QUICK
from tests.integration.group_members import (
    DEADLINE_S,
    AioKafka,
    Client,
    Confluent,
    ConfluentConsumerProtocol,
    Crew,
    KafkaPython,
    shared,
    wait_until,
)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.faults,
    pytest.mark.timeout(180),
    # aiokafka leaves tasks behind whose errors nobody fetches when a broker goes.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PARTITIONS = 4
SETTINGS = {
    **QUICK,
    "num.partitions": str(PARTITIONS),
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.assignment.interval.ms": "0",
    "group.consumer.heartbeat.interval.ms": "200",
}
RECORDS = 40


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterProcesses]:
    directory = tmp_path_factory.mktemp("cluster")
    with ClusterProcesses(data_directory=directory, settings=SETTINGS) as processes:
        yield processes


@pytest.fixture
def cluster(running: ClusterProcesses) -> ClusterProcesses:
    """Three brokers that run, whatever the test before did to them."""
    return running.start()


@pytest.fixture
def crew() -> Iterator[Crew]:
    crew = Crew()
    yield crew
    crew.disband()


class Offsets:
    """Looks at what a group has committed, again and again; none of it may ever go back."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self.committed = [0] * PARTITIONS
        self.looks = 0
        self.went_back: list[str] = []
        self._topic = topic
        self._consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False}
        )
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ends.set()
        self._thread.join(30)
        self._consumer.close()

    def _run(self) -> None:
        places = [TopicPartition(self._topic, number) for number in range(PARTITIONS)]
        while not self._ends.wait(0.02):
            try:
                found = self._consumer.committed(places, timeout=1)
            except confluent_kafka.KafkaException:
                continue
            self.looks += 1
            for place in found:
                before = self.committed[place.partition]
                if place.error is None and max(place.offset, 0) < before:
                    self.went_back.append(f"{place.partition}: {before} to {place.offset}")
                self.committed[place.partition] = max(before, place.offset)


def produce(producer: confluent_kafka.Producer, topic: str) -> None:
    for number in range(RECORDS):
        producer.produce(topic, b"value", partition=number % PARTITIONS)
    assert producer.flush(30) == 0


def new_producer(bootstrap: str) -> confluent_kafka.Producer:
    return confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})


def coordinator_of(bootstrap: str, group: str) -> int:
    """Find the coordinator; it may be another one by the time that it is asked."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        # A new one each time: librdkafka 2.16 waits in vain for a broker that was gone for a while.
        admin = AdminClient({"bootstrap.servers": bootstrap})
        try:
            described = admin.describe_consumer_groups([group])[group].result(30)
            return int(described.coordinator.id)
        except confluent_kafka.KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("kind", [Confluent, ConfluentConsumerProtocol, KafkaPython, AioKafka])
def test_a_group_survives_its_coordinators(
    cluster: ClusterProcesses, crew: Crew, kind: type[Any]
) -> None:
    bootstrap = cluster.kafka_bootstrap
    topic, group = f"topic-{uuid4().hex[:8]}", f"group-{uuid4().hex[:8]}"
    producer, admin = new_producer(bootstrap), AdminClient({"bootstrap.servers": bootstrap})
    new_topic = NewTopic(topic, PARTITIONS, 3)
    admin.create_topics([new_topic])[topic].result(30)
    produce(producer, topic)

    def member() -> Client:
        client: Client = kind(bootstrap, group, topic)
        return client

    members = [crew.add(member), crew.add(member)]
    offsets = Offsets(bootstrap, group, topic)
    wait_until(lambda: shared(PARTITIONS, *members), *members)
    wait_until(lambda: sum(offsets.committed) == RECORDS, *members)

    for round_number, stop in enumerate(("kill", "stop"), start=2):
        broker = cluster.brokers[coordinator_of(bootstrap, group)]
        getattr(broker, stop)()
        produce(producer, topic)
        wait_until(lambda: sum(offsets.committed) == round_number * RECORDS, *members)  # noqa: B023
        broker.start()

    for one in members:
        one.leave()
    offsets.end()
    assert offsets.went_back == []
    polled = {record for one in members for record in one.polled}
    assert len(polled) == 3 * RECORDS
