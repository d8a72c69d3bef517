"""A log on a simulated disk, for tests that speak of records, offsets and crashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from struct import pack
from typing import Any

from ottla.model.ids import LeaderEpoch, Offset, TopicPartition
from ottla.record.batch import CONTROL_BIT, HEADER_BYTES, RecordBatch, split_batches, with_header
from ottla.record.builder import BatchBuilder
from ottla.record.compression import Codec
from ottla.record.records import iterate_records
from ottla.simulation.disk import SimulatedDisk
from ottla.storage.appending import Appended
from ottla.storage.dump import dump
from ottla.storage.dump_items import Finding
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import LogConfig

PARTITION = TopicPartition("web", 0)
DIRECTORY = Path("/data/web-0")
EVERYTHING = 1 << 30
NOW_MS = 1_700_000_000_000


def batch(
    *values: bytes,
    at_ms: int = NOW_MS,
    producer: int = -1,
    sequence: int = 0,
    transactional: bool = False,
    codec: Codec = Codec.NONE,
) -> RecordBatch:
    """Make a batch as a producer sends it; one record ``x`` if no values are given."""
    return batch_at(
        [(value, at_ms) for value in values or (b"x",)],
        producer=producer,
        sequence=sequence,
        transactional=transactional,
        codec=codec,
    )


def batch_at(
    records: list[tuple[bytes, int]],
    *,
    producer: int = -1,
    sequence: int = 0,
    transactional: bool = False,
    codec: Codec = Codec.NONE,
) -> RecordBatch:
    """Make a batch of records with timestamps of their own."""
    known = producer >= 0
    builder = BatchBuilder(
        codec,
        producer_id=producer,
        producer_epoch=0 if known else -1,
        base_sequence=sequence if known else -1,
        is_transactional=transactional,
    )
    for value, at_ms in records:
        builder.append(key=None, value=value, timestamp_ms=at_ms)
    return RecordBatch.at(builder.build())


def marker(*, producer: int, aborted: bool) -> RecordBatch:
    """Make the control batch with which a coordinator ends a transaction."""
    builder = BatchBuilder(producer_id=producer, producer_epoch=0, is_transactional=True)
    key, value = pack(">hh", 0, 0 if aborted else 1), pack(">hi", 0, 3)
    builder.append(key=key, value=value, timestamp_ms=NOW_MS)
    plain = RecordBatch.at(builder.build())
    header = plain.header._replace(attributes=plain.header.attributes | CONTROL_BIT)
    return with_header(header, plain.view[HEADER_BYTES:])


class UnopenedWorld:
    """One log, its disk, and what the broker's checkpoints say of it; not opened yet."""

    log: PartitionLog

    def __init__(self, disk: SimulatedDisk | None = None, /, **settings: Any) -> None:
        self.disk = SimulatedDisk(seed=1) if disk is None else disk
        self.config = replace(LogConfig(index_interval_bytes=200), **settings)
        self.recovery_point = 0
        self.log_start = 0
        self.disk.make_directory(DIRECTORY)
        self.disk.sync_directory(DIRECTORY.parent)
        self.disk.sync_directory(DIRECTORY.parent.parent)

    def open(self, *, clean: bool) -> PartitionLog:
        """Open the log as a broker does when it starts."""
        return PartitionLog.open(
            DIRECTORY,
            file_system=self.disk,
            config=self.config,
            topic_partition=PARTITION,
            recovery_point=Offset(self.recovery_point),
            log_start_offset=Offset(self.log_start),
            clean=clean,
            now_ms=NOW_MS,
        )

    def append(self, *batches: RecordBatch, epoch: int = 1, now_ms: int = NOW_MS) -> Appended:
        """Append as the leader."""
        return self.log.append(
            batches or (batch(),), leader_epoch=LeaderEpoch(epoch), now_ms=now_ms
        )

    def append_each(self, count: int, *, size: int = 1, epoch: int = 1) -> None:
        """Append ``count`` batches of one record, whose values tell their offset."""
        for _ in range(count):
            value = b"%d" % self.log.log_end_offset
            self.append(batch(value.ljust(size, b".")), epoch=epoch)

    def checkpoint(self) -> None:
        """Write down how far recovery may believe the log."""
        self.log_start = self.log.log_start_offset
        self.recovery_point = self.log.recovery_point

    def restart(self) -> None:
        """Stop cleanly and start again."""
        self.log.close()
        self.checkpoint()
        self.log = self.open(clean=True)

    def kill(self) -> None:
        """Let the process die, but not the machine, and start again."""
        self.log.abandon()
        self.log = self.open(clean=False)

    def crash(self) -> None:
        """Cut the power and start again."""
        self.disk.crash()
        self.log = self.open(clean=False)

    def epochs(self) -> list[tuple[int, int]]:
        """The leader epochs: (epoch, start offset)."""
        return [(entry.epoch, entry.start_offset) for entry in self.log.leader_epochs.entries]

    def segment_bases(self) -> list[int]:
        """The base offsets of the segments, from the names of their files."""
        names = self.disk.list(DIRECTORY)
        return [int(name.removesuffix(".log")) for name in names if name.endswith(".log")]

    def file(self, base_offset: int, suffix: str) -> Path:
        """The path of a segment's file."""
        return DIRECTORY / f"{base_offset:020d}{suffix}"

    def content(self, base_offset: int, suffix: str) -> bytes:
        """The bytes of a segment's file."""
        return self.disk.read(self.file(base_offset, suffix))

    def findings(self) -> list[str]:
        """What a dump of the directory finds wrong."""
        items = dump(DIRECTORY, file_system=self.disk, records=True)
        return [str(item) for item in items if isinstance(item, Finding)]


class World(UnopenedWorld):
    """The same, opened for the first time."""

    def __init__(self, disk: SimulatedDisk | None = None, /, **settings: Any) -> None:
        super().__init__(disk, **settings)
        self.log = self.open(clean=False)


def batches_in(log: PartitionLog, *, max_bytes: int = EVERYTHING) -> Iterator[RecordBatch]:
    """Read a log from start to end."""
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        read = log.read(offset, max_bytes=max_bytes, end_offset=log.log_end_offset)
        assert read is not None
        assert read.next_offset > offset
        yield from split_batches(read.records)
        offset = Offset(read.next_offset)


def values_in(log: PartitionLog, *, max_bytes: int = EVERYTHING) -> list[tuple[int, bytes | None]]:
    """Read all records of a log: (offset, value)."""
    return [
        (record.offset, record.value)
        for read in batches_in(log, max_bytes=max_bytes)
        for record in iterate_records(read)
    ]
