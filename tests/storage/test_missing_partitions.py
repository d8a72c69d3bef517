"""A partition that had records and has no directory is offline, until its topic is deleted."""

from __future__ import annotations

import pytest

from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from ottla.simulation.disk import SimulatedDisk
from tests.storage.data_directories import (
    CONFIG,
    DATA,
    OTHER_TOPIC,
    TOPIC,
    WALL_MS,
    WEB,
    append,
    new_disk,
    started,
    stop,
)


@pytest.fixture
def disk() -> SimulatedDisk:
    return new_disk()


def test_partition_whose_directory_is_gone_stays_offline_until_it_is_deleted(
    disk: SimulatedDisk,
) -> None:
    manager = started(disk)
    append(manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS), 9)
    stop(manager, web=9)
    disk.remove(DATA / "web-0")

    for _ in range(2):
        manager = started(disk)
        with pytest.raises(StorageError, match=r"web-0 is missing, .* up to offset 9; restore"):
            manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
        assert manager.missing == {WEB}
        stop(manager)
    manager = started(disk)
    manager.delete(WEB, now_ms=0)

    assert manager.create(WEB, OTHER_TOPIC, CONFIG, wall_ms=WALL_MS).log_end_offset == 0
    assert manager.missing == frozenset()


def test_partition_whose_files_were_removed_after_its_deletion_is_not_missing(
    disk: SimulatedDisk,
) -> None:
    manager = started(disk)
    log = manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    append(log, 9)
    log.flush()
    manager.checkpoint({WEB: Offset(9)})
    manager.delete(WEB, now_ms=0)
    for removal in manager.take_due_removals(now_ms=CONFIG.file_delete_delay_ms):
        removal.run()
    disk.settle()
    manager.abandon()

    assert started(disk).missing == frozenset()


def test_empty_partition_whose_directory_is_gone_is_made_again(disk: SimulatedDisk) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    stop(manager)
    disk.remove(DATA / "web-0")

    assert started(disk).create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS).log_end_offset == 0
