"""A dump shows what is in every file, and finds what is wrong without believing any of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla.storage.dump import dump
from ottla.storage.dump_items import BatchItem, FileItem, Finding, Item, TextLine
from ottla.storage.offset_index import OffsetPosition
from ottla.storage.producer_state import ProducerEntry
from ottla.storage.time_index import TimestampOffset
from ottla.storage.transaction_index import AbortedTransaction
from tests.storage.world import DIRECTORY, World, batch, marker

SMALL = {"segment_bytes": 1_000, "index_interval_bytes": 100}


@pytest.fixture
def world() -> World:
    """A log of several segments with a bit of everything, stopped cleanly."""
    world = World(**SMALL)
    world.append_each(20)
    world.append(batch(b"p", producer=7, transactional=True))
    world.append(marker(producer=7, aborted=True))
    world.append_each(20)
    world.log.close()
    return world


def items_of(world: World, path: Path, *, records: bool = False) -> list[Item]:
    return list(dump(path, file_system=world.disk, records=records))


def findings_of(world: World) -> list[Finding]:
    return [item for item in items_of(world, DIRECTORY) if isinstance(item, Finding)]


def test_sound_directory_has_no_findings(world: World) -> None:
    items = items_of(world, DIRECTORY, records=True)

    assert findings_of(world) == []
    files = [item.path.name for item in items if isinstance(item, FileItem)]
    assert sorted(files) == list(world.disk.list(DIRECTORY))
    kinds = {type(item) for item in items}
    assert kinds == {
        FileItem, BatchItem, OffsetPosition, TimestampOffset, AbortedTransaction, ProducerEntry,
        TextLine,
    }  # fmt: skip


def test_batches_come_with_their_positions_and_records(world: World) -> None:
    items = items_of(world, world.file(0, ".log"), records=True)

    batches = [item for item in items if isinstance(item, BatchItem)]
    assert [item.header.base_offset for item in batches[:3]] == [0, 1, 2]
    assert batches[1].position == batches[0].header.size_bytes
    assert batches[2].records is not None
    assert batches[2].records[0].value == b"2"


def test_records_are_not_read_unless_asked_for(world: World) -> None:
    items = items_of(world, world.file(0, ".log"))

    assert all(item.records is None for item in items if isinstance(item, BatchItem))


def test_bad_checksum_is_found_and_the_batch_stepped_over(world: World) -> None:
    world.disk.flip_bit(world.file(0, ".log"), 2 * 69 + 65)

    items = items_of(world, world.file(0, ".log"))

    (finding,) = [item for item in items if isinstance(item, Finding)]
    assert finding.position == 2 * 69
    assert "checksum" in finding.message
    offsets = [item.header.base_offset for item in items if isinstance(item, BatchItem)]
    assert offsets[:4] == [0, 1, 3, 4]


def test_torn_end_is_found(world: World) -> None:
    file = world.disk.open(world.file(0, ".log"))
    file.truncate(file.size - 5)

    messages = [finding.message for finding in findings_of(world)]

    assert any("the log has only" in message for message in messages)
    assert any("cannot be read" in message for message in messages)


def test_missing_segment_is_found(world: World) -> None:
    _, second, third, *_ = world.segment_bases()
    world.disk.remove(world.file(second, ".log"))

    assert any(
        f"the segment at {third} does not follow the one before, which ends at {second}"
        in finding.message
        for finding in findings_of(world)
    )


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
def test_entry_that_contradicts_the_log_is_found(world: World, suffix: str) -> None:
    path = world.file(0, suffix)
    world.disk.flip_bit(path, 7)

    (finding, *_) = findings_of(world)
    assert (finding.path, finding.position) == (path, 0)


@pytest.mark.parametrize("suffix", [".index", ".timeindex", ".txnindex", ".snapshot"])
def test_file_of_a_wrong_size_is_found(world: World, suffix: str) -> None:
    (path, *_) = [DIRECTORY / name for name in world.disk.list(DIRECTORY) if name.endswith(suffix)]
    world.disk.open(path).append([b"abc"])

    assert path in {finding.path for finding in findings_of(world)}


def test_index_beyond_the_log_is_found(world: World) -> None:
    file = world.disk.open(world.file(0, ".log"))
    file.truncate(69)

    assert any("is beyond the log" in finding.message for finding in findings_of(world))


def test_damaged_checkpoint_is_found(world: World) -> None:
    path = DIRECTORY / "leader-epoch-checkpoint"
    world.disk.replace(path, b"0\n7\n1 0\n")

    (finding,) = findings_of(world)
    assert (finding.path, "announces 7 entries" in finding.message) == (path, True)


def test_index_alone_can_be_looked_at(world: World) -> None:
    world.disk.remove(world.file(0, ".log"))

    items = items_of(world, world.file(0, ".index"))

    assert isinstance(items[1], OffsetPosition)
    assert not [item for item in items if isinstance(item, Finding)]


def test_file_of_a_live_log_whose_index_lags_behind_is_sound() -> None:
    world = World(**SMALL)
    world.append_each(30)

    assert findings_of(world) == []


def test_what_does_not_exist_is_an_error(world: World) -> None:
    with pytest.raises(FileNotFoundError):
        items_of(world, DIRECTORY / "nothing")


def test_data_directory_is_dumped_partition_by_partition(world: World) -> None:
    items = items_of(world, DIRECTORY.parent)

    assert {item.path.parent for item in items if isinstance(item, FileItem)} == {DIRECTORY}
