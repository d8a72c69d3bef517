"""A data directory knows which brokers keep its cluster's metadata, and is refused to others."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from ottla.model.ids import BrokerId
from ottla.simulation.disk import SimulatedDisk
from ottla.storage.checkpoints import META_PROPERTIES_FILE, DamagedCheckpointError, MetaProperties
from ottla.storage.quorum_voters import (
    METADATA_DIRECTORY,
    VOTERS_FILE,
    OtherVotersError,
    as_text,
    read_voters,
    remember_voters,
)

DATA = Path("/data")
ALONE = frozenset({BrokerId(0)})
THREE = frozenset(map(BrokerId, range(3)))


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk(0)
    disk.make_directory(DATA)
    return disk


def write_meta(disk: SimulatedDisk, node_id: int) -> None:
    meta = MetaProperties(cluster_id="c", node_id=BrokerId(node_id), directory_id=UUID(int=1))
    disk.replace(DATA / META_PROPERTIES_FILE, meta.encode())


def test_new_directory_has_no_voters(disk: SimulatedDisk) -> None:
    assert read_voters(DATA, file_system=disk) is None


def test_directory_that_was_claimed_and_never_used_has_no_voters(disk: SimulatedDisk) -> None:
    write_meta(disk, 0)

    assert read_voters(DATA, file_system=disk) is None


def test_voters_survive_a_crash(disk: SimulatedDisk) -> None:
    remember_voters(DATA, THREE, file_system=disk)

    disk.crash()

    assert read_voters(DATA, file_system=disk) == THREE


def test_same_voters_may_start_again(disk: SimulatedDisk) -> None:
    remember_voters(DATA, THREE, file_system=disk)

    remember_voters(DATA, THREE, file_system=disk)


@pytest.mark.parametrize(("before", "told"), [(ALONE, THREE), (THREE, ALONE)])
def test_other_voters_are_refused_and_nothing_changes(
    disk: SimulatedDisk, before: frozenset[BrokerId], told: frozenset[BrokerId]
) -> None:
    remember_voters(DATA, before, file_system=disk)

    with pytest.raises(OtherVotersError, match=f"kept by {as_text(before)}, but .*{as_text(told)}"):
        remember_voters(DATA, told, file_system=disk)

    assert read_voters(DATA, file_system=disk) == before


def test_metadata_from_before_voters_were_written_down_is_of_its_broker_alone(
    disk: SimulatedDisk,
) -> None:
    write_meta(disk, 4)
    disk.make_directory(DATA / METADATA_DIRECTORY)

    assert read_voters(DATA, file_system=disk) == frozenset({BrokerId(4)})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"version=2\nvoters=0\n",
        b"version=1\nvoters=\n",
        b"version=1\nvoters=0,x\n",
        b"\xff\n\xff",
    ],
)
def test_damaged_file_is_refused_with_its_name(disk: SimulatedDisk, content: bytes) -> None:
    disk.replace(DATA / VOTERS_FILE, content)

    with pytest.raises(DamagedCheckpointError, match=VOTERS_FILE):
        read_voters(DATA, file_system=disk)


def test_voters_are_said_as_people_do() -> None:
    assert as_text(ALONE) == "broker 0 alone"
    assert as_text(THREE) == "brokers 0, 1 and 2"
