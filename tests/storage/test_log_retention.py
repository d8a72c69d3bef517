"""Old segments leave a log that is in use, at once, and the disk after the delay."""

from __future__ import annotations

import pytest

from ottla.model.ids import Offset
from ottla.simulation.disk import SimulatedDisk
from ottla.storage.log_config import LogConfig
from ottla.storage.log_manager import LogManager
from tests.storage.data_directories import DATA, TOPIC, WALL_MS, WEB, append, new_disk, started


@pytest.fixture
def disk() -> SimulatedDisk:
    return new_disk()


def retain(manager: LogManager, *, high_watermark: int) -> int:
    """Do what a broker does from time to time; return how many logs lost something."""
    plans = manager.plan_retention({WEB: Offset(high_watermark)}, wall_ms=WALL_MS)
    for plan in plans:
        removed = manager.retain(plan, wall_ms=WALL_MS)
        assert removed is not None
        manager.remove_later(removed, due_ms=60)
    return len(plans)


def log_files(disk: SimulatedDisk) -> list[str]:
    return [name for name in disk.list(DATA / "web-0") if ".log" in name]


def test_old_segments_leave_the_log_at_once_and_the_disk_after_the_delay(
    disk: SimulatedDisk,
) -> None:
    manager = started(disk)
    config = LogConfig(segment_bytes=1000, retention_ms=500)
    log = manager.create(WEB, TOPIC, config, wall_ms=WALL_MS)
    append(log, 10, age_ms=1000)
    append(log, 10, age_ms=0)
    before = len(log_files(disk))

    assert retain(manager, high_watermark=20) == 1

    assert 0 < log.log_start_offset <= 10
    assert len(log_files(disk)) == before
    for removal in manager.take_due_removals(now_ms=60):
        removal.run()
    assert len(log_files(disk)) == log.segment_count < before


def test_log_too_large_loses_its_oldest_segments(disk: SimulatedDisk) -> None:
    manager = started(disk)
    config = LogConfig(segment_bytes=1000, retention_bytes=2000)
    log = manager.create(WEB, TOPIC, config, wall_ms=WALL_MS)
    append(log, 100)

    retain(manager, high_watermark=100)

    assert 2000 <= log.size_bytes < 3000


def test_active_segment_whose_records_are_all_old_is_rolled_and_goes(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, LogConfig(retention_ms=500), wall_ms=WALL_MS)
    append(log, 5, age_ms=1000)

    retain(manager, high_watermark=5)

    assert (log.log_start_offset, log.log_end_offset, log.segment_count) == (5, 5, 1)


def test_active_segment_that_was_appended_to_since_the_plan_stays(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, LogConfig(retention_ms=500), wall_ms=WALL_MS)
    append(log, 5, age_ms=1000)
    [plan] = manager.plan_retention({WEB: Offset(5)}, wall_ms=WALL_MS)
    append(log)

    assert manager.retain(plan, wall_ms=WALL_MS) is None
    assert log.log_start_offset == 0


def test_uncommitted_records_stay_however_old(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, LogConfig(retention_ms=500), wall_ms=WALL_MS)
    append(log, 5, age_ms=1000)

    assert retain(manager, high_watermark=4) == 0


def test_log_deleted_since_the_plan_is_left_alone(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, LogConfig(retention_ms=500), wall_ms=WALL_MS)
    append(log, 5, age_ms=1000)
    [plan] = manager.plan_retention({WEB: Offset(5)}, wall_ms=WALL_MS)
    manager.delete(WEB, now_ms=0)

    assert manager.retain(plan, wall_ms=WALL_MS) is None


def test_log_whose_high_watermark_is_unknown_is_left_alone(disk: SimulatedDisk) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, LogConfig(retention_ms=0), wall_ms=WALL_MS), age_ms=9)

    assert manager.plan_retention({}, wall_ms=WALL_MS) == []


def test_retained_log_starts_there_after_a_crash_too(disk: SimulatedDisk) -> None:
    manager = started(disk)
    log = manager.create(
        WEB, TOPIC, LogConfig(segment_bytes=1000, retention_bytes=2000), wall_ms=WALL_MS
    )
    append(log, 100)
    log.flush()
    retain(manager, high_watermark=100)
    for removal in manager.take_due_removals(now_ms=60):
        removal.run()
    start_offset = log.log_start_offset
    disk.crash()

    assert started(disk).logs[WEB].log_start_offset == start_offset
