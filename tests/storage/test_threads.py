"""Readers and a flusher in other threads see a log that only grows, whole batches at a time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

from ottla.model.ids import LeaderEpoch, Offset
from ottla.record.batch import split_batches
from ottla.runtime.posix import PosixFileSystem
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import LogConfig
from tests.storage.world import NOW_MS, PARTITION, batch

BATCHES = 4_000


def read_all(log: PartitionLog, stop: Event, max_bytes: int) -> int:
    """Read on until everything appended was read; return how many batches that was."""
    offset = count = 0
    while True:
        finished = stop.is_set()
        end = log.log_end_offset
        read = log.read(Offset(offset), max_bytes=max_bytes, end_offset=end)
        assert read is not None
        for each in split_batches(read.records):
            assert each.header.base_offset == offset
            offset = each.header.next_offset
            count += 1
        if finished and offset == end:
            return count


def flush_all(log: PartitionLog, stop: Event) -> int:
    """Flush on until everything appended was flushed; return the end."""
    end = 0
    while True:
        finished = stop.is_set()
        flushed = log.flush()
        assert flushed >= end
        end = flushed
        if finished:
            return end


def test_reading_and_flushing_beside_appends(tmp_path: Path) -> None:
    log = PartitionLog.open(
        tmp_path,
        file_system=PosixFileSystem(sync=False),
        config=LogConfig(segment_bytes=50_000, index_interval_bytes=500),
        topic_partition=PARTITION,
        recovery_point=Offset(0),
        log_start_offset=Offset(0),
        clean=False,
        now_ms=NOW_MS,
    )
    stop = Event()
    jobs: list[Callable[[], int]] = [
        lambda: read_all(log, stop, 200),
        lambda: read_all(log, stop, 20_000),
        lambda: flush_all(log, stop),
    ]
    sent = [batch(b"x" * 40), batch(b"y", b"z" * 90)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        running = [pool.submit(job) for job in jobs]
        for _ in range(BATCHES // 2):
            log.append(sent, leader_epoch=LeaderEpoch(1), now_ms=NOW_MS)
        stop.set()
        results = [future.result(30) for future in running]

    assert results == [BATCHES, BATCHES, log.log_end_offset]
    log.close()
