"""The files of a data directory are Kafka's, replaced whole, and not believed when damaged."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.ids import BrokerEpoch, BrokerId, Offset, TopicId, TopicPartition
from ottla.simulation.disk import SimulatedDisk
from ottla.storage.checkpoints import (
    CleanShutdownMarker,
    DamagedCheckpointError,
    MetaProperties,
    OffsetCheckpoint,
    read_meta_properties,
)
from ottla.storage.partition_metadata import decode_partition_metadata, encode_partition_metadata
from ottla.storage.uuid_text import uuid_from_text, uuid_to_text

DATA = Path("/data")
FILE = DATA / "recovery-point-offset-checkpoint"
UUID_IN_BYTES = UUID("abcdef12-3456-7890-abcd-ef1234567890")
OFFSETS = {TopicPartition("web", 1): Offset(23), TopicPartition("orders", 0): Offset(17)}
META = MetaProperties(cluster_id="c-1", node_id=BrokerId(3), directory_id=UUID_IN_BYTES)


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk(seed=1)
    disk.make_directory(DATA)
    disk.settle()
    return disk


# --- Offsets ----------------------------------------------------------------------------


def test_offset_checkpoint_is_kafkas_byte_for_byte(disk: SimulatedDisk) -> None:
    OffsetCheckpoint(disk, FILE).write(OFFSETS)

    assert disk.read(FILE) == b"0\n2\norders 0 17\nweb 1 23\n"


def test_offsets_are_read_as_they_were_written(disk: SimulatedDisk) -> None:
    OffsetCheckpoint(disk, FILE).write(OFFSETS)

    assert OffsetCheckpoint(disk, FILE).read() == OFFSETS


def test_missing_checkpoint_has_no_offsets(disk: SimulatedDisk) -> None:
    assert OffsetCheckpoint(disk, FILE).read() == {}


def test_checkpoint_survives_a_crash(disk: SimulatedDisk) -> None:
    OffsetCheckpoint(disk, FILE).write(OFFSETS)
    disk.crash()

    assert OffsetCheckpoint(disk, FILE).read() == OFFSETS


def test_unchanged_offsets_are_not_written_again(disk: SimulatedDisk) -> None:
    checkpoint = OffsetCheckpoint(disk, FILE)
    checkpoint.write(OFFSETS)
    operations = disk.operations
    checkpoint.write(dict(OFFSETS))

    assert disk.operations == operations


def test_changed_offsets_are_written_again(disk: SimulatedDisk) -> None:
    checkpoint = OffsetCheckpoint(disk, FILE)
    checkpoint.write(OFFSETS)
    checkpoint.write({})

    assert checkpoint.read() == {}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"0\n2\nweb 0 1\n", "announces 2 entries"),
        (b"0\n1\nweb 0\n", "line 3"),
        (b"0\n1\nweb -1 1\n", "not negative"),
        (b"0\n1\nweb 0 -1\n", "not negative"),
        (b"7\n0\n", "version '7'"),
    ],
)
def test_damaged_checkpoint_is_refused_with_file_and_line(
    disk: SimulatedDisk, content: bytes, complaint: str
) -> None:
    disk.replace(FILE, content)

    with pytest.raises(DamagedCheckpointError, match=f"recovery-point.*{complaint}"):
        OffsetCheckpoint(disk, FILE).read()


@given(
    st.dictionaries(
        st.builds(
            TopicPartition,
            st.from_regex(r"[A-Za-z0-9._-]{1,30}", fullmatch=True),
            st.integers(0, 2**31 - 1),
        ),
        st.integers(0, 2**63 - 1).map(Offset),
    )
)
def test_any_offsets_are_read_as_they_were_written(offsets: dict[TopicPartition, Offset]) -> None:
    disk = SimulatedDisk(seed=0)
    OffsetCheckpoint(disk, Path("checkpoint")).write(offsets)

    assert OffsetCheckpoint(disk, Path("checkpoint")).read() == offsets


# --- The clean stop ------------------------------------------------------------------------


def test_clean_shutdown_marker_is_kafkas_byte_for_byte(disk: SimulatedDisk) -> None:
    CleanShutdownMarker(disk, DATA).write(BrokerEpoch(41))

    assert disk.read(DATA / ".kafka_cleanshutdown") == b'{"version":0,"brokerEpoch":41}'


def test_marker_tells_the_epoch_of_the_broker_that_stopped(disk: SimulatedDisk) -> None:
    CleanShutdownMarker(disk, DATA).write(BrokerEpoch(41))

    assert CleanShutdownMarker(disk, DATA).read() == 41


def test_missing_marker_tells_of_no_clean_stop(disk: SimulatedDisk) -> None:
    assert CleanShutdownMarker(disk, DATA).read() is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"version":1,"brokerEpoch":4}', b'{"version":0}', b"\xff", b"null"],
)
def test_unreadable_marker_tells_of_no_clean_stop(disk: SimulatedDisk, content: bytes) -> None:
    disk.replace(DATA / ".kafka_cleanshutdown", content)

    assert CleanShutdownMarker(disk, DATA).read() is None


@pytest.mark.parametrize("seed", range(8))
def test_removed_marker_does_not_come_back_in_a_crash(seed: int) -> None:
    disk = SimulatedDisk(seed)
    disk.make_directory(DATA)
    disk.settle()
    CleanShutdownMarker(disk, DATA).write(BrokerEpoch(41))
    CleanShutdownMarker(disk, DATA).remove()
    disk.crash()

    assert CleanShutdownMarker(disk, DATA).read() is None


def test_removing_a_missing_marker_is_no_error(disk: SimulatedDisk) -> None:
    CleanShutdownMarker(disk, DATA).remove()


# --- Whose directory it is --------------------------------------------------------------------


def test_meta_properties_are_a_java_properties_file() -> None:
    assert META.encode() == (
        b"#\ncluster.id=c-1\ndirectory.id=q83vEjRWeJCrze8SNFZ4kA\nnode.id=3\nversion=1\n"
    )


def test_meta_properties_that_kafka_wrote_are_understood() -> None:
    content = (
        b"#\n#Sat Aug 22 17:34:22 UTC 2026\nnode.id=3\ndirectory.id=q83vEjRWeJCrze8SNFZ4kA\n"
        b"version=1\ncluster.id=c-1\n"
    )

    assert MetaProperties.decode(content) == META


def test_nobody_owns_a_new_directory(disk: SimulatedDisk) -> None:
    assert read_meta_properties(disk, DATA) is None


def test_owner_of_a_directory_is_read(disk: SimulatedDisk) -> None:
    disk.replace(DATA / "meta.properties", META.encode())

    assert read_meta_properties(disk, DATA) == META


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "version None is not 1"),
        (b"version=0\nbroker.id=1\n", "version 0 is not 1"),
        (b"version=1\ncluster.id=c\nnode.id=1\n", "does not say directory.id"),
        (b"version=1\ncluster.id=c\nnode.id=x\ndirectory.id=y\n", "'x' is not a number"),
        (b"version=1\ncluster.id=c\nnode.id=1\ndirectory.id=y\n", "'y' is not a UUID"),
    ],
)
def test_damaged_meta_properties_are_refused(
    disk: SimulatedDisk, content: bytes, complaint: str
) -> None:
    disk.replace(DATA / "meta.properties", content)

    with pytest.raises(DamagedCheckpointError, match=f"meta.properties.*{complaint}"):
        read_meta_properties(disk, DATA)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1), st.uuids())
def test_any_cluster_id_is_read_as_it_was_written(cluster_id: str, directory_id: UUID) -> None:
    meta = MetaProperties(cluster_id=cluster_id, node_id=BrokerId(0), directory_id=directory_id)

    assert MetaProperties.decode(meta.encode()) == meta


# --- Partitions -------------------------------------------------------------------------------


def test_partition_metadata_is_kafkas_byte_for_byte() -> None:
    content = encode_partition_metadata(TopicId(UUID_IN_BYTES))

    assert content == b"version: 0\ntopic_id: q83vEjRWeJCrze8SNFZ4kA"


def test_partition_metadata_is_read_as_it_was_written() -> None:
    content = encode_partition_metadata(TopicId(UUID_IN_BYTES))

    assert decode_partition_metadata(content) == UUID_IN_BYTES


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "version None"),
        (b"version: 1\ntopic_id: q83vEjRWeJCrze8SNFZ4kA", "version 1"),
        (b"version: 0\n", "no line with topic_id"),
        (b"version: 0\ntopic_id: short", "not a UUID"),
        (b"\xff\xfe", "version None"),
    ],
)
def test_damaged_partition_metadata_is_refused(content: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode_partition_metadata(content)


@given(st.uuids())
def test_uuid_is_read_from_its_22_characters(value: UUID) -> None:
    assert len(uuid_to_text(value)) == 22
    assert uuid_from_text(uuid_to_text(value)) == value
