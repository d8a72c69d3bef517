"""The names of partitions' directories, as Kafka gives them.

    web-0                                            a partition
    web-0.0f8fad5bd9cb469fa16570867728950e-delete    one that waits for its removal
    web-0.0f8fad5bd9cb469fa16570867728950e-stray     one whose topic nobody knows
    orders-eu-12                                     partition 12 of topic orders-eu

A deleted partition gets the second name at once, so that a topic of the same name can be
created again before the old files are gone. A stray one is kept until the operator removes it.

The first thing a new directory gets, and durably, is the file with its topic's id. One that has
neither that nor a log was never quite created: whoever crashed then has not answered to anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from ottla.model.ids import TopicPartition
from ottla.runtime.files import FileSystem
from ottla.storage.format import LOG_SUFFIX
from ottla.storage.partition_metadata import FILE_NAME as PARTITION_METADATA_FILE

_NAME_CHARACTERS_MAX: Final = 255
_PARTITION_NUMBER_MAX: Final = 2**31 - 1
_DELETED: Final = re.compile(r".*\.[0-9a-f]{32}-delete\Z")
_PARTITION: Final = re.compile(r"([A-Za-z0-9._-]+)-(0|[1-9][0-9]{0,9})\Z")


def parse_partition_directory(name: str) -> TopicPartition | None:
    """Return the partition whose directory has this name; ``None`` if it is something else's."""
    match = _PARTITION.match(name)
    if match is None or int(match[2]) > _PARTITION_NUMBER_MAX:
        return None
    return TopicPartition(match[1], int(match[2]))


def is_deleted_directory(name: str) -> bool:
    """Whether a directory of this name waits for its removal."""
    return _DELETED.match(name) is not None


def was_deleted(topic_partition: TopicPartition, names: Iterable[str]) -> bool:
    """Whether one of these directories was this partition's until it was deleted."""
    deleted = [name for name in names if is_deleted_directory(name)]
    uniques = (UUID(name.removesuffix("-delete")[-32:]) for name in deleted)
    return any(
        name == deleted_directory(topic_partition, unique)
        for name, unique in zip(deleted, uniques, strict=True)
    )


def deleted_directory(topic_partition: TopicPartition, unique: UUID) -> str:
    """Return the name for a deleted partition; a long topic's name is cut to make room."""
    return _set_aside(topic_partition, f"{unique.hex}-delete")


def stray_directory(topic_partition: TopicPartition, unique: UUID) -> str:
    """Return the name for a partition of an unknown topic, likewise cut."""
    return _set_aside(topic_partition, f"{unique.hex}-stray")


def _set_aside(topic_partition: TopicPartition, why: str) -> str:
    suffix = f"-{topic_partition.partition}.{why}"
    return topic_partition.topic[: _NAME_CHARACTERS_MAX - len(suffix)] + suffix


class DirectoryListing(NamedTuple):
    """What is in a data directory."""

    partitions: dict[TopicPartition, Path]
    removed: tuple[str, ...]
    """Directories that were there and are not any more."""
    ignored: tuple[str, ...]
    """Files with the names of partitions."""


def tidy_data_directory(directory: Path, *, file_system: FileSystem) -> DirectoryListing:
    """Remove deleted partitions, and such as were never quite created; return what is left.

    Waits for the disk, perhaps long. Raises :exc:`OSError`.
    """
    partitions: dict[TopicPartition, Path] = {}
    removed: list[str] = []
    ignored: list[str] = []
    for name in file_system.list(directory):
        path = directory / name
        topic_partition = parse_partition_directory(name)
        if is_deleted_directory(name):
            file_system.remove(path)
            removed.append(name)
        elif topic_partition is not None:
            try:
                files = file_system.list(path)
            except NotADirectoryError:
                ignored.append(name)
                continue
            if PARTITION_METADATA_FILE in files or any(f.endswith(LOG_SUFFIX) for f in files):
                partitions[topic_partition] = path
            else:
                file_system.remove(path)
                removed.append(name)
    return DirectoryListing(partitions, tuple(removed), tuple(ignored))
