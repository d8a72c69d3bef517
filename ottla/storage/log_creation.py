"""Making the directories of new partitions, many at a time.

What is made must survive a crash before anybody hears of it, and must not be taken for damage if
the crash comes first. So each directory gets its ``partition.metadata`` in three steps, written
beside, synced, renamed, and its own name is synced last, in the data directory.

Each step is done for all partitions before the next is begun. A file system with a journal writes
down at the first sync what was done to all of them, so that most of the others find nothing
left to do; and the data directory is synced once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ottla.model.ids import TopicId, TopicPartition
from ottla.runtime.files import File, FileSystem
from ottla.storage.log_config import LogConfig
from ottla.storage.partition_metadata import FILE_NAME as PARTITION_METADATA_FILE
from ottla.storage.partition_metadata import encode_partition_metadata

_UNFINISHED: Final = PARTITION_METADATA_FILE + ".tmp"


@dataclass(frozen=True, slots=True)
class NewLog:
    """A log to be made."""

    topic_partition: TopicPartition
    topic_id: TopicId
    config: LogConfig


def make_partition_directories(
    wanted: Mapping[Path, TopicId], *, parent: Path, file_system: FileSystem
) -> dict[Path, OSError]:
    """Make the directories with their topic's ids, durably. Waits for the disk.

    Returns those that could not be made, and why; the others are there. ``parent`` holds them all.
    """
    files: dict[Path, File] = {}
    failed: dict[Path, OSError] = {}

    def write(directory: Path) -> None:
        file_system.make_directory(directory)
        files[directory] = file = file_system.open(directory / _UNFINISHED, create=True)
        file.truncate(0)
        file.append([encode_partition_metadata(wanted[directory])])

    def publish(directory: Path) -> None:
        file_system.rename(directory / _UNFINISHED, directory / PARTITION_METADATA_FILE)

    try:
        _each(write, wanted, failed)
        _each(lambda directory: files[directory].sync(), wanted, failed)
    finally:
        for file in files.values():
            file.close()
    _each(publish, wanted, failed)
    _each(file_system.sync_directory, wanted, failed)
    try:
        file_system.sync_directory(parent)
    except OSError as error:
        return dict.fromkeys(wanted, error) | failed
    return failed


def _each(
    step: Callable[[Path], None], directories: Iterable[Path], failed: dict[Path, OSError]
) -> None:
    """Take a step for all directories for which none has failed."""
    for directory in directories:
        if directory not in failed:
            try:
                step(directory)
            except OSError as error:
                failed[directory] = error
