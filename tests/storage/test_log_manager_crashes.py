"""Wherever the power fails, the next start finds every record that was acknowledged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import pytest

from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.record.batch import split_batches
from ottla.record.builder import BatchBuilder
from ottla.record.records import iterate_records
from ottla.simulation.disk import SimulatedCrash, SimulatedDisk
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import LogConfig
from ottla.storage.log_manager import LogManager

DATA = Path("/data")
WEB, ORDERS, GONE = (TopicPartition(topic, 0) for topic in ("web", "orders", "gone"))
CONFIG = LogConfig(segment_bytes=600, retention_bytes=1200, file_delete_delay_ms=0)


@dataclass
class Acknowledged:
    """What the outside world has been told, and must find again."""

    created: set[TopicPartition] = field(default_factory=set)
    durable: dict[TopicPartition, int] = field(default_factory=dict)
    start: dict[TopicPartition, int] = field(default_factory=dict)
    """Where a log may start at most."""
    values: dict[tuple[TopicPartition, int], bytes] = field(default_factory=dict)
    stopped: int | None = None


class Broker:
    """Lives on a simulated disk, and writes down what it acknowledges."""

    def __init__(self, disk: SimulatedDisk, told: Acknowledged) -> None:
        self.told = told
        self.manager = LogManager.claim(
            DATA,
            file_system=disk,
            cluster_id="c",
            node_id=BrokerId(1),
            new_directory_id=UUID(int=1),
        )
        self.report = self.manager.open_all(lambda _: CONFIG, wall_ms=0)

    def create(self, partition: TopicPartition) -> None:
        self.manager.create(partition, TopicId(UUID(int=9)), CONFIG, wall_ms=0)
        self.told.created.add(partition)

    def produce(self, partition: TopicPartition, count: int) -> None:
        log = self.manager.logs[partition]
        for _ in range(count):
            value = b"%s %d" % (partition.topic.encode(), log.log_end_offset)
            builder = BatchBuilder()
            builder.append(key=None, value=value, timestamp_ms=0)
            batches = split_batches(builder.build())
            appended = log.append(batches, leader_epoch=LeaderEpoch(0), now_ms=0)
            self.told.values[partition, appended.base_offset] = value
        self.told.durable[partition] = log.flush()

    def maintain(self) -> None:
        ends = {partition: log.recovery_point for partition, log in self.manager.logs.items()}
        for plan in self.manager.plan_retention(ends, wall_ms=0):
            self.told.start[plan.log.topic_partition] = plan.log_start_offset
            removed = self.manager.retain(plan, wall_ms=0)
            assert removed is not None
            self.manager.remove_later(removed, due_ms=0)
        self.manager.checkpoint(ends)
        for removal in self.manager.take_due_removals(now_ms=0):
            removal.run()

    def delete(self, partition: TopicPartition) -> None:
        self.told.created.discard(partition)
        self.manager.delete(partition, now_ms=0)

    def stop(self, epoch: int) -> None:
        self.manager.close({}, broker_epoch=BrokerEpoch(epoch))
        self.told.stopped = epoch


def run(disk: SimulatedDisk, told: Acknowledged) -> None:
    """Live two lives of a broker."""
    broker = Broker(disk, told)
    broker.create(WEB)
    broker.create(GONE)
    broker.produce(WEB, 10)
    broker.produce(GONE, 3)
    broker.maintain()
    broker.delete(GONE)
    broker.create(ORDERS)
    broker.produce(ORDERS, 4)
    broker.stop(5)
    told.stopped = None
    broker = Broker(disk, told)
    broker.produce(WEB, 10)
    broker.maintain()
    broker.produce(ORDERS, 4)
    broker.stop(6)


def values_in(log: PartitionLog) -> dict[int, bytes | None]:
    found: dict[int, bytes | None] = {}
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        read = log.read(offset, max_bytes=1 << 20, end_offset=log.log_end_offset)
        assert read is not None
        for batch in split_batches(read.records):
            found |= {record.offset: record.value for record in iterate_records(batch)}
        offset = Offset(max(found) + 1)
    return found


def operations_of_a_whole_run() -> int:
    disk = SimulatedDisk(seed=0)
    run(disk, Acknowledged())
    return disk.operations


@pytest.mark.parametrize("seed", range(4))
def test_acknowledged_records_survive_a_crash_at_every_point(seed: int) -> None:
    for point in range(1, operations_of_a_whole_run() + 1):
        disk, told = SimulatedDisk(seed * 10_000 + point, crash_at_operation=point), Acknowledged()
        with pytest.raises(SimulatedCrash):
            run(disk, told)
        disk.crash()

        manager = Broker(disk, Acknowledged()).manager

        assert not manager.offline, (point, manager.offline)
        assert told.created <= manager.logs.keys(), point
        for partition in told.created:
            log = manager.logs[partition]
            values = values_in(log)
            assert list(values) == list(range(log.log_start_offset, log.log_end_offset)), point
            assert log.log_end_offset >= told.durable.get(partition, 0), point
            if partition in told.durable:
                assert log.log_start_offset <= told.start.get(partition, 0), point
            for offset, value in values.items():
                assert value == told.values[partition, offset], (point, offset)


@pytest.mark.parametrize("seed", range(4))
def test_broker_that_crashed_once_can_go_on_and_stop_cleanly(seed: int) -> None:
    for point in range(1, operations_of_a_whole_run() + 1, 7):
        disk = SimulatedDisk(seed * 10_000 + point, crash_at_operation=point)
        with pytest.raises(SimulatedCrash):
            run(disk, Acknowledged())
        disk.crash()
        told = Acknowledged()
        broker = Broker(disk, told)
        broker.create(WEB)
        before = broker.manager.logs[WEB].log_end_offset
        broker.produce(WEB, 3)
        broker.stop(7)
        disk.crash()

        again = Broker(disk, Acknowledged())

        assert again.report.clean, point
        assert again.manager.logs[WEB].log_end_offset == before + 3, point
