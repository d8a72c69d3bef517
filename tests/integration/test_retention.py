"""Segments are rolled and deleted, files included, as the settings say, once they say so."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ottla.client.admin_values import ConfigChange, ConfigResource, ConfigResourceType, NewTopic
from ottla.client.blocking import Admin, Consumer, Producer
from ottla.model.ids import TopicPartition
from ottla.testing.broker_process import BrokerProcess

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

VALUE = bytes(600_000)
"""One fills more than half of the smallest segment, so each gets a segment of its own."""

SMALL = {"segment.bytes": "1048576"}
DAY_MS = 86_400_000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker that looks after its logs all the time, and whose deleted files go at once."""
    with BrokerProcess(
        data_directory=tmp_path_factory.mktemp("retention"),
        environment={
            "OTTLA_LOG_RETENTION_CHECK_INTERVAL_MS": "50",
            "OTTLA_LOG_SEGMENT_DELETE_DELAY_MS": "50",
        },
    ) as process:
        yield process


@pytest.fixture(scope="module")
def admin(broker: BrokerProcess) -> Iterator[Admin]:
    with Admin(broker.grpc_address) as client:
        yield client


class Topic:
    """A topic of one partition with a record a segment."""

    def __init__(self, broker: BrokerProcess, admin: Admin, name: str, **configs: str) -> None:
        self.name = name
        self._broker, self._admin = broker, admin
        settings = {key.replace("_", "."): value for key, value in configs.items()}
        admin.create_topics([NewTopic(name, partitions=1, configs={**SMALL, **settings})])
        self.directory = Path(str(broker.ready_line["data"])) / f"{name}-0"

    def fill(self, records: int, *, age_ms: int = 0) -> None:
        timestamp_ms = time.time_ns() // 1_000_000 - age_ms
        with Producer(self._broker.grpc_address) as producer:
            for _ in range(records):
                producer.send_and_wait(self.name, VALUE, timestamp_ms=timestamp_ms)

    def alter(self, key: str, value: str) -> None:
        resource = ConfigResource(ConfigResourceType.TOPIC, self.name)
        self._admin.alter_configs({resource: [ConfigChange(key, value)]})

    @property
    def offsets(self) -> tuple[int, int]:
        """From where to where the log goes."""
        (described,) = self._admin.describe_topics([self.name])
        (partition,) = described.partitions
        return partition.log_start_offset, partition.high_watermark

    @property
    def segment_files(self) -> list[str]:
        return sorted(file.name for file in self.directory.iterdir() if ".log" in file.name)


def eventually(condition: Callable[[], bool]) -> bool:
    """Ask again and again for ten seconds; every question goes to the broker, none is a rest."""
    deadline = time.monotonic() + 10
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


def segment(offset: int) -> str:
    return f"{offset:020d}.log"


def test_retention_by_size_deletes_the_oldest_segments_and_their_files(
    broker: BrokerProcess, admin: Admin
) -> None:
    topic = Topic(broker, admin, "by-size", retention_bytes="1300000")
    topic.fill(6)

    # No more than what leaves at least retention.bytes.
    assert eventually(lambda: topic.offsets == (3, 6))
    assert eventually(lambda: topic.segment_files == [segment(3), segment(4), segment(5)])


def test_retention_by_time_deletes_what_is_older_than_its_newest_record(
    broker: BrokerProcess, admin: Admin
) -> None:
    topic = Topic(broker, admin, "by-time")
    topic.fill(3, age_ms=6 * DAY_MS)
    topic.fill(2)

    topic.alter("retention.ms", str(DAY_MS))

    assert eventually(lambda: topic.offsets == (3, 5))
    assert eventually(lambda: topic.segment_files == [segment(3), segment(4)])


def test_age_rolls_a_segment_so_that_retention_can_take_it(
    broker: BrokerProcess, admin: Admin
) -> None:
    topic = Topic(broker, admin, "rolled", segment_ms="100", retention_ms="200")
    topic.fill(1)

    assert eventually(lambda: topic.offsets == (1, 1))
    assert eventually(lambda: topic.segment_files == [segment(1)])


def test_reader_of_what_retention_took_begins_at_what_is_left(
    broker: BrokerProcess, admin: Admin
) -> None:
    topic = Topic(broker, admin, "read-late", retention_bytes="700000")
    topic.fill(4)
    assert eventually(lambda: topic.offsets == (2, 4))

    with Consumer(bootstrap_servers=broker.grpc_address, auto_offset_reset="earliest") as consumer:
        partition = TopicPartition("read-late", 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)

        assert consumer.getone().offset == 2


def test_deleted_topic_gives_its_disk_back(broker: BrokerProcess, admin: Admin) -> None:
    topic = Topic(broker, admin, "deleted")
    topic.fill(2)
    data = topic.directory.parent

    admin.delete_topics(["deleted"])

    assert eventually(lambda: not list(data.glob("deleted-0*")))


def test_topic_of_a_deleted_name_begins_empty(broker: BrokerProcess, admin: Admin) -> None:
    topic = Topic(broker, admin, "again")
    topic.fill(2)
    admin.delete_topics(["again"])

    topic = Topic(broker, admin, "again")

    assert topic.offsets == (0, 0)
    topic.fill(1)
    assert topic.offsets == (0, 1)


def test_log_append_time_takes_effect_at_once(broker: BrokerProcess, admin: Admin) -> None:
    topic = Topic(broker, admin, "stamped")
    before_ms = time.time_ns() // 1_000_000
    topic.fill(1, age_ms=DAY_MS)
    topic.alter("message.timestamp.type", "LogAppendTime")
    topic.fill(1, age_ms=DAY_MS)

    with Consumer(
        "stamped", bootstrap_servers=broker.grpc_address, auto_offset_reset="earliest"
    ) as consumer:
        created, appended = consumer.getone(), consumer.getone()

    assert created.timestamp < before_ms <= appended.timestamp
