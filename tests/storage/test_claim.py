"""A data directory has one owner, who is told clearly when it is not him."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest

from ottla.model.ids import BrokerId
from ottla.runtime.posix import PosixFileSystem
from ottla.simulation.disk import SimulatedDisk
from ottla.storage.checkpoints import DamagedCheckpointError
from ottla.storage.claim import DataDirectoryError, DirectoryInUseError, ForeignDirectoryError
from ottla.storage.log_manager import LogManager
from tests.storage.data_directories import (
    CONFIG,
    DATA,
    TOPIC,
    WALL_MS,
    WEB,
    claim,
    new_disk,
    started,
)


@pytest.fixture
def disk() -> SimulatedDisk:
    return new_disk()


def test_new_directory_becomes_ours(disk: SimulatedDisk) -> None:
    manager = claim(disk)

    assert (manager.meta.cluster_id, manager.meta.node_id) == ("c", 1)
    assert manager.meta.directory_id == UUID(int=5)


def test_new_directory_and_its_owner_survive_a_crash(disk: SimulatedDisk) -> None:
    claim(disk)
    disk.crash()

    with pytest.raises(ForeignDirectoryError):
        claim(disk, cluster_id="other")


def test_directory_keeps_its_id(disk: SimulatedDisk) -> None:
    claim(disk).abandon()
    manager = LogManager.claim(
        DATA,
        file_system=disk,
        cluster_id="c",
        node_id=BrokerId(1),
        new_directory_id=UUID(int=6),
    )

    assert manager.meta.directory_id == UUID(int=5)


def claim_of_any_cluster(disk: SimulatedDisk) -> LogManager:
    return LogManager.claim(
        DATA,
        file_system=disk,
        cluster_id=None,
        node_id=BrokerId(1),
        new_directory_id=UUID(int=5),
    )


def test_new_directory_belongs_to_no_cluster_until_its_broker_has_heard_of_one(
    disk: SimulatedDisk,
) -> None:
    manager = claim_of_any_cluster(disk)

    assert (manager.meta.cluster_id, manager.meta.directory_id) == ("", UUID(int=5))


def test_id_of_a_directory_without_cluster_survives_a_crash(disk: SimulatedDisk) -> None:
    claim_of_any_cluster(disk)
    disk.crash()

    assert claim_of_any_cluster(disk).meta.directory_id == UUID(int=5)


def test_directory_belongs_for_ever_to_the_cluster_that_it_joined(disk: SimulatedDisk) -> None:
    claim_of_any_cluster(disk).join_cluster("c")
    disk.crash()
    manager = claim_of_any_cluster(disk)

    assert manager.meta.cluster_id == "c"
    with pytest.raises(ForeignDirectoryError, match=r"cluster .c., but this broker to .*other"):
        manager.join_cluster("other")


def test_held_directory_is_refused(disk: SimulatedDisk) -> None:
    claim(disk)

    with pytest.raises(DirectoryInUseError, match=r"/var/data is held by .*stop that broker"):
        claim(disk)


def test_holder_of_a_real_directory_is_named(tmp_path: Path) -> None:
    def claim_real() -> LogManager:
        return LogManager.claim(
            tmp_path,
            file_system=PosixFileSystem(),
            cluster_id="c",
            node_id=BrokerId(1),
            new_directory_id=UUID(int=5),
        )

    manager = claim_real()
    with pytest.raises(DirectoryInUseError, match=r"is held by process [0-9]+; stop that broker"):
        claim_real()
    manager.abandon()


@pytest.mark.parametrize(
    ("claiming", "message"),
    [
        (lambda disk: claim(disk, cluster_id="other"), "cluster 'c', but this broker to .*'other'"),
        (lambda disk: claim(disk, node_id=2), "node 1, but this broker is node 2"),
    ],
)
def test_directory_of_another_cluster_or_node_is_refused(
    disk: SimulatedDisk, claiming: Callable[[SimulatedDisk], object], message: str
) -> None:
    claim(disk).abandon()

    with pytest.raises(ForeignDirectoryError, match=message):
        claiming(disk)


def test_refused_directory_is_not_held(disk: SimulatedDisk) -> None:
    claim(disk).abandon()
    with pytest.raises(ForeignDirectoryError):
        claim(disk, node_id=2)

    claim(disk)


def test_partitions_that_are_nobodys_are_refused(disk: SimulatedDisk) -> None:
    manager = started(disk)
    manager.create(WEB, TOPIC, CONFIG, wall_ms=WALL_MS)
    manager.abandon()
    disk.remove(DATA / "meta.properties")

    with pytest.raises(ForeignDirectoryError, match=r"\(web-0\) but no meta.properties"):
        claim(disk)


def test_unreadable_owner_is_refused(disk: SimulatedDisk) -> None:
    claim(disk).abandon()
    disk.replace(DATA / "meta.properties", b"garbage")

    with pytest.raises(DamagedCheckpointError, match=r"meta.properties is damaged"):
        claim(disk)


def test_directory_that_cannot_be_written_to_is_refused(disk: SimulatedDisk) -> None:
    disk.fail("sync", errno.EROFS)

    with pytest.raises(DataDirectoryError, match=r"Read-only file system.*check that it"):
        claim(disk)


def test_file_in_the_place_of_the_directory_is_refused(disk: SimulatedDisk) -> None:
    disk.replace(DATA, b"")

    with pytest.raises(DataDirectoryError, match="cannot be used as a data directory"):
        claim(disk)
