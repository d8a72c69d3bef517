"""Taking a data directory, for one broker of one cluster, and nobody else.

Two brokers that write to one directory destroy each other's logs; a broker that serves the
directory of another cluster, or of another node of its own, serves records that nobody sent to
it. So a directory is locked while a broker runs, and ``meta.properties`` says whose it is. It is
written before anything else; a directory that has partitions and no such file is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId
from ottla.runtime.files import DirectoryLock, FileSystem
from ottla.storage.checkpoints import META_PROPERTIES_FILE, MetaProperties, read_meta_properties
from ottla.storage.partition_directories import parse_partition_directory


class DataDirectoryError(StorageError):
    """A broker cannot use its data directory. For the operator: the message says what to do."""


class DirectoryInUseError(DataDirectoryError):
    """Another process holds the directory."""


class ForeignDirectoryError(DataDirectoryError):
    """The directory belongs to another cluster or node, or nobody knows to whom."""


def claim_directory(
    directory: Path,
    *,
    file_system: FileSystem,
    cluster_id: str,
    node_id: BrokerId,
    new_directory_id: UUID,
) -> tuple[DirectoryLock, MetaProperties]:
    """Lock a directory and see to it that it is ours; a new one becomes ours. Waits for the disk.

    ``new_directory_id`` is for a directory that has none.

    Raises:
        DirectoryInUseError: another process holds it.
        ForeignDirectoryError: it belongs to another cluster or node, or has partitions and
            does not say whose they are.
        DamagedCheckpointError: its ``meta.properties`` cannot be read.
        DataDirectoryError: it cannot be made, or not be written to.
    """
    with _told_to_the_operator(directory):
        _make_durably(directory, file_system)
        try:
            lock = file_system.lock(directory)
        except BlockingIOError as error:
            raise DirectoryInUseError(
                f"{directory} is {error.strerror}; stop that broker, or give this one a data "
                "directory of its own"
            ) from None
    claimed = False
    try:
        with _told_to_the_operator(directory):
            present = read_meta_properties(file_system, directory)
            if present is None:
                _refuse_orphaned_partitions(directory, file_system)
                present = MetaProperties(
                    cluster_id=cluster_id, node_id=node_id, directory_id=new_directory_id
                )
                file_system.replace(directory / META_PROPERTIES_FILE, present.encode())
        _refuse_foreign(directory, present, cluster_id, node_id)
        claimed = True
    finally:
        if not claimed:
            lock.release()
    return lock, present


def _refuse_foreign(
    directory: Path, present: MetaProperties, cluster_id: str, node_id: BrokerId
) -> None:
    if present.cluster_id != cluster_id:
        raise ForeignDirectoryError(
            f"{directory} belongs to cluster {present.cluster_id!r}, but this broker to cluster "
            f"{cluster_id!r}; give it another data directory, or correct its cluster id"
        )
    if present.node_id != node_id:
        raise ForeignDirectoryError(
            f"{directory} belongs to node {present.node_id}, but this broker is node {node_id}; "
            "give it another data directory, or correct its node id"
        )


def _refuse_orphaned_partitions(directory: Path, file_system: FileSystem) -> None:
    for name in file_system.list(directory):
        if parse_partition_directory(name) is not None:
            raise ForeignDirectoryError(
                f"{directory} has partitions ({name}) but no {META_PROPERTIES_FILE}, so nobody "
                "knows whose they are; restore that file, or use another data directory"
            )


def _make_durably(directory: Path, file_system: FileSystem) -> None:
    """Make a directory whose name, with those of the parents made for it, survives a crash."""
    missing = []
    path = directory
    while not file_system.exists(path):
        missing.append(path)
        path = path.parent
    file_system.make_directory(directory)
    for path in reversed(missing):
        file_system.sync_directory(path.parent)


@contextmanager
def _told_to_the_operator(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataDirectoryError(
            f"{directory} cannot be used as a data directory ({error.strerror}); check that it "
            "is a directory that the broker may write to, on a disk that is not full"
        ) from error
