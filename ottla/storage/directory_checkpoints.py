"""The three offsets of each partition that a directory keeps in files of its own.

They are read once, at the start, and written from time to time and at the stop. What they said at
the start is kept for partitions of which nothing newer is known: those that could not be
opened, and those whose high watermark nobody has found out yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ottla.model.ids import Offset, TopicPartition
from ottla.runtime.files import FileSystem
from ottla.storage.checkpoints import (
    HIGH_WATERMARK_FILE,
    LOG_START_OFFSET_FILE,
    RECOVERY_POINT_FILE,
    DamagedCheckpointError,
    OffsetCheckpoint,
)

_ZERO = Offset(0)


class PartitionOffsets(NamedTuple):
    """What the three files say of one partition; 0 where they say nothing."""

    recovery_point: Offset = _ZERO
    log_start_offset: Offset = _ZERO
    high_watermark: Offset = _ZERO


class DirectoryCheckpoints:
    """The three files of one directory."""

    def __init__(self, directory: Path, *, file_system: FileSystem) -> None:
        names = (RECOVERY_POINT_FILE, LOG_START_OFFSET_FILE, HIGH_WATERMARK_FILE)
        self._files = [OffsetCheckpoint(file_system, directory / name) for name in names]
        self._found: dict[TopicPartition, PartitionOffsets] = {}

    def read(self) -> list[DamagedCheckpointError]:
        """Read the files; return what is wrong with those that had to be done without.

        Raises :exc:`OSError`.
        """
        damaged: list[DamagedCheckpointError] = []
        self._found.clear()
        for file, field in zip(self._files, PartitionOffsets._fields, strict=True):
            try:
                offsets = file.read()
            except DamagedCheckpointError as error:
                damaged.append(error)
                continue
            for partition, offset in offsets.items():
                self._found[partition] = self.found(partition)._replace(**{field: offset})
        return damaged

    def found(self, topic_partition: TopicPartition) -> PartitionOffsets:
        """Return what the files said when they were read."""
        return self._found.get(topic_partition, PartitionOffsets())

    @property
    def with_records(self) -> list[TopicPartition]:
        """The partitions that had durable or committed records when the files were written."""
        return [
            partition
            for partition, found in self._found.items()
            if found.recovery_point > 0 or found.high_watermark > 0
        ]

    def forget(self, topic_partition: TopicPartition) -> None:
        """Let nothing of this partition live on in one that comes to have its name."""
        self._found.pop(topic_partition, None)

    def erase(self, topic_partition: TopicPartition) -> None:
        """Forget a partition, and take it out of the files, durably, where they name it.

        A new log gets its name. A crash must not find the old offsets and take the new log for
        damaged, or for deleted up to there. Waits for the disk if there is something to erase;
        raises :exc:`OSError`.
        """
        self.forget(topic_partition)
        for file in self._files:
            file.forget(topic_partition)

    def write(
        self, present: Mapping[TopicPartition, PartitionOffsets], *, kept: Iterable[TopicPartition]
    ) -> None:
        """Replace the files by what is known at ``present``, and what was found of the ``kept``.

        A log start of 0 goes without saying. Waits for the disk; raises :exc:`OSError`, and each
        of the files is the old one or the new then.
        """
        offsets = {partition: self.found(partition) for partition in kept} | dict(present)
        recovery_points, log_starts, high_watermarks = self._files
        recovery_points.write({p: each.recovery_point for p, each in offsets.items()})
        log_starts.write(
            {p: each.log_start_offset for p, each in offsets.items() if each.log_start_offset}
        )
        high_watermarks.write({p: each.high_watermark for p, each in offsets.items()})
