"""Data directories on a simulated disk, and logs in them, for tests that speak of both."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.record.batch import RecordBatch, split_batches
from ottla.record.builder import BatchBuilder
from ottla.simulation.disk import SimulatedDisk
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import LogConfig
from ottla.storage.log_manager import LogManager, OpeningReport

DATA = Path("/var/data")
WEB = TopicPartition("web", 0)
ORDERS = TopicPartition("orders", 0)
TOPIC = TopicId(UUID(int=7))
OTHER_TOPIC = TopicId(UUID(int=8))
CONFIG = LogConfig(segment_bytes=1000, file_delete_delay_ms=60)
WALL_MS = 1_000_000


def claim(
    disk: SimulatedDisk, *, cluster_id: str = "c", node_id: int = 1, logs_max: int = 100
) -> LogManager:
    return LogManager.claim(
        DATA,
        file_system=disk,
        cluster_id=cluster_id,
        node_id=BrokerId(node_id),
        new_directory_id=UUID(int=5),
        logs_max=logs_max,
    )


def start(disk: SimulatedDisk, config: LogConfig = CONFIG) -> tuple[LogManager, OpeningReport]:
    manager = claim(disk)
    return manager, manager.open_all(lambda _: config, wall_ms=WALL_MS)


def started(disk: SimulatedDisk, config: LogConfig = CONFIG) -> LogManager:
    return start(disk, config)[0]


def batches(count: int = 1, *, size: int = 100, timestamp_ms: int = WALL_MS) -> list[RecordBatch]:
    """Make ``count`` batches of one record and at least ``size`` bytes each."""
    made = []
    for _ in range(count):
        builder = BatchBuilder()
        builder.append(key=None, value=b"v" * size, timestamp_ms=timestamp_ms)
        made += split_batches(builder.build())
    return made


def append(log: PartitionLog, count: int = 1, *, age_ms: int = 0, size: int = 100) -> None:
    """Append records, one append each, so that segments roll between them."""
    for batch in batches(count, timestamp_ms=WALL_MS - age_ms, size=size):
        log.append([batch], leader_epoch=LeaderEpoch(0), now_ms=WALL_MS)


def stop(manager: LogManager, *, epoch: int | None = 3, **high_watermarks: int) -> None:
    watermarks = {TopicPartition(t, 0): Offset(o) for t, o in high_watermarks.items()}
    manager.close(watermarks, broker_epoch=None if epoch is None else BrokerEpoch(epoch))


def new_disk() -> SimulatedDisk:
    """Make a disk with room for a data directory."""
    disk = SimulatedDisk(seed=1)
    disk.make_directory(DATA.parent)
    disk.settle()
    return disk
