"""Taking a data directory, for one broker of one cluster, and nobody else.

Two brokers that write to one directory destroy each other's logs; a broker that serves the
directory of another cluster, or of another node of its own, serves records that nobody sent to
it. So a directory is locked while a broker runs, and ``meta.properties`` says whose it is. It is
written before anything else; a directory that has partitions and no such file is refused.

A broker of several learns which cluster it belongs to from the others, after it has claimed its
directory: until then a new directory belongs to its node and to no cluster (:func:`join_cluster`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
    cluster_id: str | None,
    node_id: BrokerId,
    new_directory_id: UUID,
) -> tuple[DirectoryLock, MetaProperties]:
    """Lock a directory and see to it that it is ours; a new one becomes ours. Waits for the disk.

    ``cluster_id`` is ``None`` if the broker belongs to whatever cluster its directory belongs to.
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
                    cluster_id=cluster_id or "", node_id=node_id, directory_id=new_directory_id
                )
                file_system.replace(directory / META_PROPERTIES_FILE, present.encode())
        if present.node_id != node_id:
            raise ForeignDirectoryError(
                f"{directory} belongs to node {present.node_id}, but this broker is node "
                f"{node_id}; give it another data directory, or correct its node id"
            )
        if cluster_id is not None:
            present = join_cluster(directory, present, cluster_id, file_system=file_system)
        claimed = True
    finally:
        if not claimed:
            lock.release()
    return lock, present


def join_cluster(
    directory: Path, meta: MetaProperties, cluster_id: str, *, file_system: FileSystem
) -> MetaProperties:
    """Note which cluster a claimed directory belongs to, once for all; return what is noted.

    Waits for the disk if the directory is new.

    Raises:
        ForeignDirectoryError: it belongs to another cluster.
        DataDirectoryError: it cannot be written to.
    """
    assert cluster_id, "a cluster has an id"
    if meta.cluster_id == cluster_id:
        return meta
    if meta.cluster_id:
        raise ForeignDirectoryError(
            f"{directory} belongs to cluster {meta.cluster_id!r}, but this broker to cluster "
            f"{cluster_id!r}; give it another data directory, or correct its cluster id"
        )
    joined = replace(meta, cluster_id=cluster_id)
    with _told_to_the_operator(directory):
        file_system.replace(directory / META_PROPERTIES_FILE, joined.encode())
    return joined


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
