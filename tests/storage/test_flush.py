"""A flush makes durable what is there when it begins, and says how far; it works beside appends."""

from __future__ import annotations

import errno
from dataclasses import replace
from threading import Event, Thread

import pytest

from ottla.model.errors import StorageError
from ottla.model.ids import Offset
from ottla.simulation.disk import SimulatedDisk
from ottla.storage.log_config import INT64_MAX
from tests.storage.world import DIRECTORY, NOW_MS, World, values_in


def test_flush_returns_the_end_that_is_durable() -> None:
    world = World()
    world.append_each(3)

    assert world.log.recovery_point == 0
    assert world.log.unflushed_records == 3
    assert world.log.flush() == 3
    assert world.log.recovery_point == 3
    assert world.log.unflushed_records == 0


def test_flushed_records_survive_any_crash() -> None:
    for seed in range(30):
        world = World(SimulatedDisk(seed), segment_bytes=400)
        world.append_each(20)
        world.log.flush()
        world.append_each(5)

        world.crash()

        assert [offset for offset, _ in values_in(world.log)][:20] == list(range(20))


def test_flush_of_nothing_new_touches_no_disk() -> None:
    world = World()
    world.append_each(3)
    world.log.flush()
    operations = world.disk.operations

    assert world.log.flush() == 3
    assert world.disk.operations == operations


def test_one_sync_covers_many_appends() -> None:
    world = World()
    world.append_each(1)
    world.log.flush()
    before = world.disk.counts.copy()

    world.append_each(500)
    world.log.flush()

    assert world.disk.counts["sync"] - before["sync"] == 1
    assert world.disk.counts["sync_directory"] == before["sync_directory"]


def test_new_segments_are_synced_by_name_once() -> None:
    world = World(segment_bytes=400)
    world.append_each(1)
    world.log.flush()
    before = world.disk.counts["sync_directory"]

    world.append_each(20)
    world.log.flush()
    world.append_each(1)
    world.log.flush()

    assert world.disk.counts["sync_directory"] - before == 1


def test_indexes_of_closed_segments_are_synced_once_and_of_the_active_one_never() -> None:
    world = World(segment_bytes=400)
    world.append_each(20)
    world.log.flush()
    closed = world.log.segment_count - 1

    # Each closed segment: log, offset index, time index, and the snapshot at its end.
    assert world.disk.counts["sync"] == closed * 4 + 1 + 1  # and active log, and epochs


def test_epochs_are_durable_with_the_records_they_wrote() -> None:
    world = World()
    world.append_each(3, epoch=5)
    world.log.flush()

    assert world.disk.read(DIRECTORY / "leader-epoch-checkpoint") == b"0\n1\n5 0\n"


class PausingDisk(SimulatedDisk):
    """A disk whose syncs of logs take until they are let go."""

    def __init__(self) -> None:
        super().__init__(seed=1)
        self.syncing, self.go_on = Event(), Event()
        self.pausing = False

    def sync(self, path: object, node: object) -> None:
        if self.pausing and str(path).endswith(".log"):
            self.syncing.set()
            assert self.go_on.wait(10)
        super().sync(path, node)  # type: ignore[arg-type]


def flush_beside(world: World, disk: PausingDisk, meanwhile: object) -> list[int]:
    """Flush on another thread, do something while it syncs, and return what it returned."""
    ends: list[int] = []
    disk.pausing = True
    thread = Thread(target=lambda: ends.append(world.log.flush()))
    thread.start()
    assert disk.syncing.wait(10)
    disk.pausing = False
    assert callable(meanwhile)
    meanwhile()
    disk.go_on.set()
    thread.join(10)
    return ends


def test_appends_go_on_while_a_flush_waits_and_are_not_counted_as_durable() -> None:
    disk = PausingDisk()
    world = World(disk, segment_bytes=400)
    world.append_each(3)

    ends = flush_beside(world, disk, lambda: world.append_each(20))

    assert ends == [3]
    assert world.log.recovery_point == 3
    assert world.log.flush() == 23


def test_truncation_during_a_flush_is_not_overruled_by_it() -> None:
    disk = PausingDisk()
    world = World(disk)
    world.append_each(10)

    def truncate_and_append() -> None:
        world.log.truncate_to(Offset(4), now_ms=NOW_MS)
        world.append_each(3)

    ends = flush_beside(world, disk, truncate_and_append)

    assert ends[0] <= 4
    assert world.log.recovery_point <= 4


# --- When a flush is due -------------------------------------------------------------------------


def test_flush_is_due_after_so_many_records() -> None:
    world = World(flush_messages=3)

    world.append_each(2)
    assert not world.log.flush_due(now_ms=NOW_MS)
    world.append_each(1)
    assert world.log.flush_due(now_ms=NOW_MS)
    world.log.flush()
    assert not world.log.flush_due(now_ms=NOW_MS)


def test_flush_is_due_after_so_long() -> None:
    world = World(flush_ms=500)

    assert not world.log.flush_due(now_ms=NOW_MS + 10_000)
    world.append_each(1)
    assert not world.log.flush_due(now_ms=NOW_MS + 499)
    assert world.log.flush_due(now_ms=NOW_MS + 500)
    world.log.flush()
    assert not world.log.flush_due(now_ms=NOW_MS + 501)
    world.append(now_ms=NOW_MS + 600)
    assert not world.log.flush_due(now_ms=NOW_MS + 1_000)
    assert world.log.flush_due(now_ms=NOW_MS + 1_100)


def test_flush_is_never_due_by_default() -> None:
    world = World()
    world.append_each(1_000)

    assert not world.log.flush_due(now_ms=NOW_MS + 10**12)
    assert (world.config.flush_messages, world.config.flush_ms) == (INT64_MAX, INT64_MAX)


def test_what_was_appended_during_a_flush_is_due_in_its_turn() -> None:
    disk = PausingDisk()
    world = World(disk)
    world.log.reconfigure(replace(world.config, flush_ms=500))
    world.append_each(1)

    flush_beside(world, disk, lambda: world.append_each(1))

    assert not world.log.flush_due(now_ms=NOW_MS + 400)
    assert world.log.flush_due(now_ms=NOW_MS + 900)


# --- Failure ----------------------------------------------------------------------------------


def test_failed_sync_stops_every_write_until_the_log_is_opened_again() -> None:
    world = World()
    world.append_each(3)
    world.log.flush()
    world.append_each(2)
    world.disk.fail("sync", errno.EIO, name_suffix=".log")

    with pytest.raises(StorageError, match="syncing web-0 failed"):
        world.log.flush()

    assert world.log.recovery_point == 3
    for write in (world.append, world.log.flush, world.log.close):
        with pytest.raises(StorageError):
            write()
    world.log = world.open(clean=False)
    assert world.append().base_offset == 5
