"""A disk that is full or fails stops all writes from then on, and costs no record."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from ottla.simulation.disk import SimulatedDisk
from tests.storage.crash_script import SETTINGS, Life, check, check_that_life_goes_on, script
from tests.storage.world import World, batch, values_in


class FailingDisk(SimulatedDisk):
    """A disk that fails in the operation of one number, and in none after it."""

    fail_at_operation = -1
    error_number = errno.EIO
    failed: str | None = None

    def _raise_fault(self, operation: str, path: Path) -> None:
        if self.operations == self.fail_at_operation and operation != "read":
            self.fail_at_operation = -1
            self.failed = operation
            raise OSError(self.error_number, "as the test wants", str(path))
        super()._raise_fault(operation, path)


def lives_with_failure(error_number: int, *, step: int, first: int) -> Iterator[tuple[int, Life]]:
    """Play the script once for each operation, failing that one; yield what is left."""
    number = first
    while True:
        disk = FailingDisk(seed=number)
        life = Life(disk)
        disk.error_number = error_number
        disk.fail_at_operation = disk.operations + number
        try:
            for operation in script(life):
                operation()
        except StorageError:
            assert disk.failed is not None
            yield number, life
        else:
            assert disk.failed is None, f"{disk.failed} failed in operation {number}, unnoticed"
            return
        number += step


@pytest.mark.parametrize("error_number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("first", [1, 2])
def test_failure_of_any_operation_loses_nothing_and_stops_writes(
    error_number: int, first: int
) -> None:
    met = 0
    for number, life in lives_with_failure(error_number, step=2, first=first):
        met += 1
        try:
            _check_stopped_and_whole(life)
        except AssertionError as error:
            raise AssertionError(f"operation {number}") from error
    assert met > 100


def _check_stopped_and_whole(life: Life) -> None:
    opened = hasattr(life.world, "log") and life.world.log.failure is not None
    if opened:
        with pytest.raises(StorageError):
            life.world.append()
        with pytest.raises(StorageError):
            life.world.log.flush()
        life.world.log.abandon()
    life.start()
    check(life)
    check_that_life_goes_on(life)


def test_append_to_a_full_disk_leaves_the_log_as_it_was() -> None:
    world = World(**SETTINGS)
    world.append_each(5)
    before = values_in(world.log)
    free, total = world.disk.usable_bytes(Path("/"))
    world.disk.capacity_bytes = total - free + 50

    with pytest.raises(StorageError, match="the disk that holds /data/web-0 is full"):
        world.append(batch(b"x" * 100))

    assert values_in(world.log) == before
    assert world.log.log_end_offset == 5
    world.disk.capacity_bytes = 1 << 30
    with pytest.raises(StorageError, match="is full; free some space, then restart the broker"):
        world.append()
    assert values_in(world.log) == before
    world.kill()
    assert world.append().base_offset == 5


def test_retry_after_a_failed_append_is_no_duplicate() -> None:
    world = World()
    sent = batch(b"a", producer=7, sequence=0)
    world.disk.fail("append", errno.EIO, name_suffix=".log")
    with pytest.raises(StorageError):
        world.append(sent)
    world.kill()

    assert not world.append(sent).duplicate


def test_failed_append_leaves_epochs_as_they_were() -> None:
    world = World()
    world.append_each(1, epoch=1)
    world.disk.fail("append", errno.EIO, name_suffix=".log")

    with pytest.raises(StorageError):
        world.append(epoch=2)

    assert [entry.epoch for entry in world.log.leader_epochs.entries] == [1]


def test_failed_read_is_a_storage_error_and_does_not_stop_appends() -> None:
    world = World()
    world.append_each(3)
    world.disk.fail("read", errno.EIO, name_suffix=".log")

    with pytest.raises(StorageError, match="reading web-0"):
        world.log.read(Offset(1), max_bytes=10, end_offset=Offset(3))

    assert world.append().base_offset == 3
    assert len(values_in(world.log)) == 4


def test_failure_while_opening_is_a_storage_error() -> None:
    world = World()
    world.append_each(3)
    world.log.abandon()
    world.disk.fail("read", errno.EIO, name_suffix=".log")

    with pytest.raises(StorageError, match="opening web-0 in /data/web-0 failed"):
        world.open(clean=False)
