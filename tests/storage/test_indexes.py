"""Indexes are Kafka's bytes, find the last entry not beyond, and say when they are unsound."""

from __future__ import annotations

import errno
from pathlib import Path
from struct import Struct, iter_unpack, pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.simulation.disk import SimulatedDisk
from ottla.storage.entry_file import EntryFile, WouldWaitError
from ottla.storage.format import parse_name, segment_file
from ottla.storage.offset_index import OffsetIndex, OffsetPosition
from ottla.storage.time_index import TimeIndex, TimestampOffset

DIRECTORY = Path("/log")
PAIR = Struct(">ii")


@pytest.fixture
def disk() -> SimulatedDisk:
    disk = SimulatedDisk(seed=1)
    disk.make_directory(DIRECTORY)
    return disk


def pairs(disk: SimulatedDisk) -> EntryFile:
    return EntryFile(DIRECTORY / "pairs", PAIR, file_system=disk)


# --- Files of entries -------------------------------------------------------------


def test_entries_wait_in_memory_until_they_are_spilled(disk: SimulatedDisk) -> None:
    entries = pairs(disk)
    entries.append(1, 2)
    entries.append(3, 4)
    assert not disk.exists(entries.path)

    entries.spill()

    assert disk.read(entries.path) == pack(">iiii", 1, 2, 3, 4)
    assert len(entries) == 2


@pytest.mark.parametrize("spilled", [0, 3, 7, 10])
def test_search_finds_entries_wherever_they_are(disk: SimulatedDisk, spilled: int) -> None:
    entries = pairs(disk)
    for number in range(10):
        if number == spilled:
            entries.spill()
        entries.append(number * 10, number)

    found = [entries.last_at_most(lambda entry: entry[0], bound) for bound in (-1, 0, 9, 55, 900)]

    assert found == [None, (0, 0), (0, 0), (50, 5), (90, 9)]


def test_failed_spill_keeps_the_entries(disk: SimulatedDisk) -> None:
    entries = pairs(disk)
    entries.append(1, 2)
    disk.fail("append", errno.ENOSPC)

    with pytest.raises(OSError, match="No space"):
        entries.spill()

    assert entries.last() == (1, 2)
    entries.spill()
    assert disk.read(entries.path) == PAIR.pack(1, 2)


@pytest.mark.parametrize("count", range(6))
def test_kept_entries_are_the_first(disk: SimulatedDisk, count: int) -> None:
    entries = pairs(disk)
    for number in range(5):
        if number == 3:
            entries.spill()
        entries.append(number, number)

    entries.keep(count)
    entries.append(77, 77)
    entries.spill()

    kept = [(number, number) for number in range(min(count, 5))]
    assert list(PAIR.iter_unpack(disk.read(entries.path))) == [*kept, (77, 77)]


def test_discarded_entries_are_in_the_file_until_something_is_written(disk: SimulatedDisk) -> None:
    entries = pairs(disk)
    entries.append(1, 1)
    entries.spill()

    entries.discard()

    assert len(entries) == 0
    assert entries.has_unwritten
    assert disk.read(entries.path) == PAIR.pack(1, 1)
    entries.spill()
    assert disk.read(entries.path) == b""


def test_cold_entry_says_so_instead_of_waiting(disk: SimulatedDisk) -> None:
    entries = pairs(disk)
    entries.append(1, 1)
    entries.spill()
    disk.make_cold(entries.path)

    with pytest.raises(WouldWaitError):
        entries.at(0, cached_only=True)
    assert entries.at(0) == (1, 1)


# --- The offset index -------------------------------------------------------------


def offset_index(disk: SimulatedDisk, *entries: tuple[int, int], base: int = 100) -> OffsetIndex:
    index = OffsetIndex(DIRECTORY, base, file_system=disk)
    for offset, position in entries:
        index.append(offset, position)
    return index


def test_offset_entry_is_relative_to_the_segment(disk: SimulatedDisk) -> None:
    index = offset_index(disk, (141, 4200), (183, 8470))
    index.entries.spill()

    assert disk.read(DIRECTORY / "00000000000000000100.index") == pack(">iiii", 41, 4200, 83, 8470)


def test_lookup_by_offset_and_by_position(disk: SimulatedDisk) -> None:
    index = offset_index(disk, (141, 4200), (183, 8470))

    assert index.at_or_before(140) is None
    assert index.at_or_before(141) == OffsetPosition(141, 4200)
    assert index.at_or_before(9_999) == OffsetPosition(183, 8470)
    assert index.at_or_before_position(4199) is None
    assert index.at_or_before_position(8469) == OffsetPosition(141, 4200)


@given(st.lists(st.integers(1, 1000), max_size=30), st.integers(0, 30_000))
def test_lookup_agrees_with_a_look_at_all_entries(steps: list[int], offset: int) -> None:
    disk = SimulatedDisk(seed=1)
    disk.make_directory(DIRECTORY)
    entries = [(sum(steps[: n + 1]), 7 * sum(steps[: n + 1])) for n in range(len(steps))]
    index = offset_index(disk, *entries, base=0)

    expected = [entry for entry in entries if entry[0] <= offset]

    assert index.at_or_before(offset) == (expected[-1] if expected else None)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "missing"),
        (b"\0" * 12, "not a multiple of 8"),
        (pack(">ii", -3, 10), "not within the log"),
        (pack(">ii", 3, 500), "not within the log"),
        (pack(">ii", 3, -1), "not within the log"),
        (pack(">ii", 3, 499), None),
        (b"", None),
    ],
)
def test_unsound_offset_index_is_noticed(
    disk: SimulatedDisk, content: bytes | None, complaint: str | None
) -> None:
    if content is not None:
        disk.open(DIRECTORY / "00000000000000000100.index", create=True).append([content])

    reason = offset_index(disk).unsound(log_bytes=500)

    assert reason is None if complaint is None else complaint in str(reason)


# --- The time index ---------------------------------------------------------------


def time_index(disk: SimulatedDisk, *entries: tuple[int, int]) -> TimeIndex:
    index = TimeIndex(DIRECTORY, 100, file_system=disk)
    for timestamp_ms, offset in entries:
        index.append_if_later(TimestampOffset(timestamp_ms, offset))
    return index


def test_time_entry_is_timestamp_and_relative_offset(disk: SimulatedDisk) -> None:
    index = time_index(disk, (5_000_000_000, 141), (5_000_000_001, 183))
    index.entries.spill()

    assert list(iter_unpack(">qi", disk.read(index.entries.path))) == [
        (5_000_000_000, 41),
        (5_000_000_001, 83),
    ]


def test_timestamp_that_is_not_larger_gets_no_entry(disk: SimulatedDisk) -> None:
    index = time_index(disk, (50, 101), (50, 102), (40, 103), (51, 104))

    assert len(index.entries) == 2
    assert index.last() == TimestampOffset(51, 104)


def test_entries_of_before_a_restart_count_for_what_is_later(disk: SimulatedDisk) -> None:
    time_index(disk, (50, 101)).entries.spill()

    index = time_index(disk, (50, 102), (60, 103))

    assert [index.entries.at(n) for n in range(len(index.entries))] == [(50, 1), (60, 3)]


def test_truncated_time_index_takes_earlier_times_again(disk: SimulatedDisk) -> None:
    index = time_index(disk, (50, 101), (90, 105))

    index.truncate_to(105)
    index.append_if_later(TimestampOffset(70, 105))

    assert index.at_or_before(80) == TimestampOffset(70, 105)
    assert index.at_or_before_offset(104) == TimestampOffset(50, 101)


def test_time_index_without_whole_entries_is_unsound(disk: SimulatedDisk) -> None:
    disk.open(DIRECTORY / "00000000000000000100.timeindex", create=True).append([bytes(11)])

    assert "not a multiple of 12" in str(time_index(disk).unsound())


# --- Names ------------------------------------------------------------------------


def test_files_are_named_by_base_offset_in_twenty_digits() -> None:
    path = segment_file(DIRECTORY, 4711, ".log")

    assert path.name == "00000000000000004711.log"
    assert parse_name(path.name) == (4711, ".log")


@pytest.mark.parametrize(
    "name", ["4711.log", "00000000000000004711.log.deleted", "0000000000000000471x.log", "x", ""]
)
def test_other_names_are_nobodys(name: str) -> None:
    assert parse_name(name) is None
