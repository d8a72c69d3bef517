"""How close does the log alone come to plain ``write()`` calls, and how fast is it read?"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.batches import ready_made_batch
from benchmarks.machine import BATCH_BYTES, MIB, page_cache_write
from benchmarks.report import Figure
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition
from ottla.record.batch import split_batches
from ottla.runtime.posix import PosixFileSystem
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import LogConfig

TOTAL_BYTES = 256 * MIB


def measure(directory: Path) -> list[Figure]:
    """Append and read 256 MiB of 64 KiB batches; pairs of (log, plain write) rounds."""
    appended: list[float] = []
    share: list[float] = []
    read: list[float] = []
    for number in range(6):
        plain = page_cache_write(directory)
        with tempfile.TemporaryDirectory(dir=directory) as inside:
            append_rate, read_rate = _one_round(Path(inside))
        if number == 0:
            continue  # warm-up
        appended.append(append_rate)
        read.append(read_rate)
        share.append(100 * append_rate / plain)
    return [
        Figure(name="log append, 64 KiB batches", unit="MB/s", rounds=appended),
        Figure(name="... as a share of plain write()", unit="%", rounds=share, goal=70),
        Figure(name="log read, 1 MiB at a time", unit="MB/s", rounds=read),
    ]


def _one_round(directory: Path) -> tuple[float, float]:
    batch, _ = ready_made_batch(batch_bytes=BATCH_BYTES, record_bytes=100)
    now_ms = int(time.time() * 1000)
    file_system = PosixFileSystem()
    file_system.make_directory(directory / "bench-0")
    log = PartitionLog.open(
        directory / "bench-0",
        file_system=file_system,
        config=LogConfig(),
        topic_partition=TopicPartition("bench", 0),
        recovery_point=Offset(0),
        log_start_offset=Offset(0),
        clean=True,
        now_ms=now_ms,
    )
    count = TOTAL_BYTES // len(batch)
    started = time.perf_counter()
    for _ in range(count):
        log.append(split_batches(batch), leader_epoch=LeaderEpoch(0), now_ms=now_ms)
    append_seconds = time.perf_counter() - started

    started = time.perf_counter()
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        result = log.read(offset, max_bytes=MIB, end_offset=log.log_end_offset)
        assert result is not None
        offset = Offset(result.next_offset)
    read_seconds = time.perf_counter() - started
    size = count * len(batch)
    log.close()
    return size / append_seconds / 1e6, size / read_seconds / 1e6
