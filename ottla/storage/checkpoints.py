"""The small files of a data directory that concern all of its partitions.

====================================  =====================================================
``recovery-point-offset-checkpoint``  up to where each log is durable: recovery starts there
``log-start-offset-checkpoint``       where each log starts, if records were deleted before it
``replication-offset-checkpoint``     the high watermark, so that a restart knows a lower bound
``.kafka_cleanshutdown``              there after a clean stop only: nothing needs recovery
``meta.properties``                   whose directory this is
====================================  =====================================================

All are Kafka's, byte for byte but for the date in ``meta.properties``, and all are replaced
atomically.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from ottla.model.errors import StorageError
from ottla.model.ids import BrokerEpoch, BrokerId, Offset, TopicPartition
from ottla.runtime.files import FileSystem
from ottla.storage.text_checkpoint import decode_lines, encode_lines
from ottla.storage.uuid_text import uuid_from_text, uuid_to_text

RECOVERY_POINT_FILE: Final = "recovery-point-offset-checkpoint"
LOG_START_OFFSET_FILE: Final = "log-start-offset-checkpoint"
HIGH_WATERMARK_FILE: Final = "replication-offset-checkpoint"
CLEAN_SHUTDOWN_FILE: Final = ".kafka_cleanshutdown"
META_PROPERTIES_FILE: Final = "meta.properties"

_CLEAN_SHUTDOWN_VERSION: Final = 0
_META_PROPERTIES_VERSION: Final = "1"


class DamagedCheckpointError(StorageError):
    """A checkpoint file does not say what such a file says; the message names file and line."""

    def __init__(self, path: Path, reason: str, remedy: str) -> None:
        super().__init__(f"{path} is damaged: {reason}; {remedy}")
        self.path = path


# --- Offsets of all partitions -------------------------------------------------------------


class OffsetCheckpoint:
    """One of the three files that give each partition an offset."""

    def __init__(self, file_system: FileSystem, path: Path) -> None:
        self._file_system = file_system
        self._path = path
        self._written: bytes | None = None
        self._offsets: dict[TopicPartition, Offset] = {}
        """What the file says, as far as it was read or written here."""

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._path

    def read(self) -> dict[TopicPartition, Offset]:
        """Read all offsets; none if there is no such file.

        Raises:
            DamagedCheckpointError: it is not such a file, or is cut short.
        """
        if not self._file_system.exists(self._path):
            return {}
        content = self._file_system.read(self._path)
        try:
            self._offsets = dict(decode_lines(content, _as_offset))
        except ValueError as error:
            remedy = "it can be removed; what it says is then found out by reading the logs"
            raise DamagedCheckpointError(self._path, str(error), remedy) from None
        return dict(self._offsets)

    def write(self, offsets: Mapping[TopicPartition, Offset]) -> None:
        """Replace the file, durably; does nothing if it was last written with the same offsets.

        Waits for the disk. Raises :exc:`OSError`; the old file is there then.
        """
        content = encode_lines(
            f"{topic} {partition} {offset}"
            for (topic, partition), offset in sorted(offsets.items())
        )
        if content != self._written:
            self._file_system.replace(self._path, content)
            self._written = content
            self._offsets = dict(offsets)

    def forget(self, topic_partition: TopicPartition) -> None:
        """Take one partition out of the file, durably, if it is in it.

        Waits for the disk then. Raises :exc:`OSError`; the old file is there then.
        """
        if topic_partition in self._offsets:
            rest = dict(self._offsets)
            del rest[topic_partition]
            self.write(rest)


def _as_offset(words: Sequence[str]) -> tuple[TopicPartition, Offset]:
    topic, partition, offset = words
    if int(partition) < 0 or int(offset) < 0:
        raise ValueError("partitions and offsets are not negative")
    return TopicPartition(topic, int(partition)), Offset(int(offset))


# --- The clean stop ----------------------------------------------------------------------


class CleanShutdownMarker:
    """The file that is there from the end of a clean stop to the next start."""

    def __init__(self, file_system: FileSystem, directory: Path) -> None:
        self._file_system = file_system
        self._path = directory / CLEAN_SHUTDOWN_FILE

    def read(self) -> BrokerEpoch | None:
        """Return the epoch of the broker that stopped cleanly; ``None`` if none did.

        A marker that cannot be read counts as none: to recover without need costs time only.
        """
        if not self._file_system.exists(self._path):
            return None
        try:
            document = json.loads(self._file_system.read(self._path))
        except ValueError:
            return None
        if not isinstance(document, dict) or document.get("version") != _CLEAN_SHUTDOWN_VERSION:
            return None
        epoch = document.get("brokerEpoch")
        return BrokerEpoch(epoch) if isinstance(epoch, int) else None

    def write(self, broker_epoch: BrokerEpoch) -> None:
        """Say, durably, that everything is on disk and closed. Raises :exc:`OSError`."""
        document = {"version": _CLEAN_SHUTDOWN_VERSION, "brokerEpoch": broker_epoch}
        content = json.dumps(document, separators=(",", ":")).encode()
        self._file_system.replace(self._path, content)

    def remove(self) -> None:
        """Take it back, durably, before anything is written. Raises :exc:`OSError`."""
        if self._file_system.exists(self._path):
            self._file_system.remove(self._path)
            self._file_system.sync_directory(self._path.parent)


# --- Whose directory it is ------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MetaProperties:
    """Who writes to a data directory."""

    cluster_id: str
    """Empty in a new directory, until its broker has heard which cluster it belongs to."""
    node_id: BrokerId
    directory_id: UUID
    """Tells this directory from others of the same node (KIP-858)."""

    def encode(self) -> bytes:
        """Write the content of ``meta.properties``, a Java properties file."""
        fields = {
            "cluster.id": self.cluster_id,
            "directory.id": uuid_to_text(self.directory_id),
            "node.id": str(self.node_id),
            "version": _META_PROPERTIES_VERSION,
        }
        lines = [f"{name}={_escaped(value)}" for name, value in fields.items() if value]
        return "\n".join(["#", *lines, ""]).encode()

    @classmethod
    def decode(cls, content: bytes) -> MetaProperties:
        """Read the file's content; :exc:`ValueError`, saying what is wrong, if it is damaged."""
        fields = dict(_properties(content.decode("utf-8", "replace")))
        if fields.get("version") != _META_PROPERTIES_VERSION:
            raise ValueError(
                f"version {fields.get('version')} is not {_META_PROPERTIES_VERSION}, the only one "
                "known"
            )
        missing = {"node.id", "directory.id"} - fields.keys()
        if missing:
            raise ValueError(f"it does not say {', '.join(sorted(missing))}")
        if not fields["node.id"].isdecimal():
            raise ValueError(f"node.id {fields['node.id'][:20]!r} is not a number")
        return cls(
            cluster_id=fields.get("cluster.id", ""),
            node_id=BrokerId(int(fields["node.id"])),
            directory_id=uuid_from_text(fields["directory.id"]),
        )


def read_meta_properties(file_system: FileSystem, directory: Path) -> MetaProperties | None:
    """Read whose directory this is; ``None`` if nobody has written to it yet.

    Raises:
        DamagedCheckpointError: the file does not say it.
    """
    path = directory / META_PROPERTIES_FILE
    if not file_system.exists(path):
        return None
    try:
        return MetaProperties.decode(file_system.read(path))
    except ValueError as error:
        remedy = "write down cluster.id, node.id and directory.id again as they were"
        raise DamagedCheckpointError(path, str(error), remedy) from None


def _properties(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if line.strip() and line.lstrip()[0] not in "#!":
            name, _, value = line.partition("=")
            yield name.strip(), re.sub(r"\\(.)", r"\1", value.strip())


def _escaped(value: str) -> str:
    return re.sub(r"([\\:=#!])", r"\\\1", value)
