"""Opening, appending and reading cost the same however much is in the log."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import pytest

from ottla.model.ids import Offset
from ottla.simulation.disk import SimulatedDisk
from ottla.simulation.inodes import FileNode
from ottla.storage.entry_file import TAIL_ENTRIES
from tests.storage.world import World, batch


class CountingDisk(SimulatedDisk):
    """A disk that lists what is read from it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reads: list[tuple[str, int]] = []

    def read_node(self, path: Path, node: FileNode, position: int, size: int) -> bytes:
        content = super().read_node(path, node, position, size)
        self.reads.append((path.name, len(content)))
        return content

    def read_of(self, name: str) -> int:
        return sum(size for read_name, size in self.reads if read_name == name)


def filled(batches: int, **settings: int) -> tuple[World, CountingDisk]:
    disk = CountingDisk(seed=1)
    world = World(disk, **settings)
    for _ in range(batches // 100):
        world.append(*[batch(b"x" * 20)] * 100)
    disk.reads.clear()
    return world, disk


@pytest.mark.parametrize("batches", [1_000, 10_000])
def test_clean_start_reads_nothing_of_closed_segments(batches: int) -> None:
    world, disk = filled(batches, segment_bytes=20_000)
    world.log.close()
    world.checkpoint()
    disk.reads.clear()

    world.log = world.open(clean=True)

    active = f"{world.segment_bases()[-1]:020d}"
    assert world.log.segment_count >= batches // 250
    assert {name[:20] for name, _ in disk.reads if name[0] == "0"} <= {
        active,
        f"{world.log.log_end_offset:020d}",  # its producers' snapshot
    }
    assert len(disk.reads) < 20


def test_clean_start_reads_little_of_the_active_segment() -> None:
    world, disk = filled(10_000)
    world.log.close()
    world.checkpoint()
    disk.reads.clear()

    world.log = world.open(clean=True)

    assert world.log.log_end_offset == 10_000
    assert sum(size for _, size in disk.reads) < 40_000  # of 900,000


def test_recovery_reads_only_segments_past_the_recovery_point() -> None:
    world, disk = filled(5_000, segment_bytes=20_000)
    world.log.flush()
    world.append(batch())
    world.checkpoint()
    world.log.abandon()
    active = world.segment_bases()[-1]
    disk.reads.clear()

    world.log = world.open(clean=False)

    read = {name[:20] for name, _ in disk.reads if name.endswith((".log", "index"))}
    assert read == {f"{active:020d}"}


@pytest.mark.parametrize("batches", [1_000, 20_000])
def test_append_reads_nothing_and_writes_once(batches: int) -> None:
    world, disk = filled(batches)
    before = disk.counts["append"]

    for _ in range(10):
        world.append(batch())

    assert disk.counts["append"] - before == 10
    assert disk.reads == []


def test_index_entries_are_written_together() -> None:
    world, disk = filled(0, index_interval_bytes=0)
    before = disk.counts["append"]

    for _ in range(TAIL_ENTRIES + 2):
        world.append(batch())

    # One write each, and one of each index.
    assert disk.counts["append"] - before == TAIL_ENTRIES + 2 + 2


@pytest.mark.parametrize("batches", [1_000, 20_000])
def test_first_read_anywhere_costs_a_search_of_the_index_and_two_reads(batches: int) -> None:
    world, disk = filled(batches, index_interval_bytes=4_096)
    world.restart()
    log_name = f"{0:020d}.log"
    world.log.read(Offset(5), max_bytes=1_000, end_offset=Offset(batches))
    disk.reads.clear()

    world.log.read(Offset(batches // 2), max_bytes=5_000, end_offset=Offset(batches))

    of_log = [size for name, size in disk.reads if name == log_name]
    assert len(of_log) == 2
    assert len(disk.reads) - len(of_log) <= 40  # two bisections of at most 2^20 entries


def test_reading_on_costs_one_read() -> None:
    world, disk = filled(20_000, index_interval_bytes=4_096)
    read = world.log.read(Offset(9_000), max_bytes=50_000, end_offset=Offset(20_000))
    assert read is not None
    disk.reads.clear()

    world.log.read(Offset(read.next_offset), max_bytes=50_000, end_offset=Offset(20_000))

    assert [size for name, size in disk.reads if name.endswith(".log")] == [50_000]


def test_reading_the_newest_batches_costs_one_read_and_no_index() -> None:
    world, disk = filled(10_000)
    end = world.log.log_end_offset
    world.append(batch(b"a"))
    world.append(batch(b"b"))

    world.log.read(end, max_bytes=1 << 20, end_offset=Offset(end + 1))

    assert len(disk.reads) == 1


def test_large_read_of_tiny_batches_does_not_look_at_them_all() -> None:
    world, _ = filled(20_000, index_interval_bytes=4_096)
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        read = world.log.read(Offset(7), max_bytes=1 << 20, end_offset=Offset(19_999))
    finally:
        sys.setprofile(None)

    assert read is not None
    assert read.next_offset - 7 > 10_000
    assert calls < 2_000
