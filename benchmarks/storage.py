"""How close does the log alone come to plain ``write()`` calls, and how fast is it read?

Both sides write the same bytes, to new files, in turn: a few calls of the one, a few of the other.
What the page cache and the disk behind it do at a moment therefore meets both, and they stay
below what makes the kernel hold writers back.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.batches import ready_made_batch
from benchmarks.machine import BATCH_BYTES, MIB
from benchmarks.report import Figure
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition
from ottla.record.batch import split_batches
from ottla.runtime.posix import PosixFileSystem
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import LogConfig

ROUNDS = 15
ROUND_BYTES = 64 * MIB
CALLS_IN_TURN = 16


def measure(directory: Path) -> list[Figure]:
    """With one batch a call, as a lone producer sends, and with four, as busy ones gather."""
    return [*_measure(directory, batches=1), *_measure(directory, batches=4)]


def _measure(directory: Path, *, batches: int) -> list[Figure]:
    """Append and write 64 MiB each, in turn, then read the log; several rounds."""
    appended: list[float] = []
    share: list[float] = []
    read: list[float] = []
    for number in range(ROUNDS + 1):
        with tempfile.TemporaryDirectory(dir=directory) as inside:
            append_rate, plain_rate, read_rate = _one_round(Path(inside), batches=batches)
        if number == 0:
            continue  # warm-up
        appended.append(append_rate)
        read.append(read_rate)
        share.append(100 * append_rate / plain_rate)
    return [
        Figure(name=f"log append, {batches} x 64 KiB a call", unit="MB/s", rounds=appended),
        Figure(name="... as a share of write() of the same size", unit="%", rounds=share, goal=70),
        Figure(name="log read, 1 MiB at a time", unit="MB/s", rounds=read),
    ]


def _one_round(directory: Path, *, batches: int) -> tuple[float, float, float]:
    """MB/s of the log's append, of plain writes, and of the log's read."""
    log = _new_log(directory / "bench-0")
    append_seconds, plain_seconds = _append_and_write(log, directory / "plain", batches)
    started = time.perf_counter()
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        result = log.read(offset, max_bytes=MIB, end_offset=log.log_end_offset)
        assert result is not None
        offset = Offset(result.next_offset)
    read_seconds = time.perf_counter() - started
    size = log.size_bytes
    log.close()
    return size / append_seconds / 1e6, size / plain_seconds / 1e6, size / read_seconds / 1e6


def _append_and_write(log: PartitionLog, plain: Path, batches: int) -> tuple[float, float]:
    """Seconds that each side took."""
    batch, _ = ready_made_batch(batch_bytes=BATCH_BYTES, record_bytes=100)
    batch *= batches
    parsed = split_batches(batch)  # before the clock starts: whoever appends has parsed them
    now_ms = int(time.time() * 1000)
    append_seconds = plain_seconds = 0.0
    descriptor = os.open(plain, os.O_WRONLY | os.O_CREAT)
    try:
        for _ in range(ROUND_BYTES // (CALLS_IN_TURN * len(batch))):
            started = time.perf_counter()
            for _ in range(CALLS_IN_TURN):
                log.append(parsed, leader_epoch=LeaderEpoch(0), now_ms=now_ms)
            turned = time.perf_counter()
            for _ in range(CALLS_IN_TURN):
                os.write(descriptor, batch)
            append_seconds += turned - started
            plain_seconds += time.perf_counter() - turned
    finally:
        os.close(descriptor)
    return append_seconds, plain_seconds


def _new_log(directory: Path) -> PartitionLog:
    file_system = PosixFileSystem()
    file_system.make_directory(directory)
    return PartitionLog.open(
        directory,
        file_system=file_system,
        config=LogConfig(),
        topic_partition=TopicPartition("bench", 0),
        recovery_point=Offset(0),
        log_start_offset=Offset(0),
        clean=True,
        now_ms=int(time.time() * 1000),
    )
