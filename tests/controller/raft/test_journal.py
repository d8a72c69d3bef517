"""What the journal has synced is there when it is opened again, and nothing else is."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.controller.raft.fatal import NodeStoppedError, raise_node_stopped
from ottla.controller.raft.journal import Journal
from ottla.controller.raft.journal_format import (
    FILE_HEADER,
    GROUP_HEADER_BYTES,
    Base,
    Record,
    Truncated,
    encode_group,
    encode_record,
    split_groups,
)
from ottla.controller.raft.messages import Entry
from ottla.controller.raft.snapshots import SnapshotId
from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId
from ottla.simulation.disk import SimulatedCrash, SimulatedDisk

PATH = Path("/metadata/journal")


def new_disk(seed: int = 0) -> SimulatedDisk:
    disk = SimulatedDisk(seed=seed)
    disk.make_directory(PATH.parent)
    disk.sync_directory(PATH.parent.parent)
    return disk


def open_journal(disk: SimulatedDisk, snapshot: SnapshotId | None = None) -> Journal:
    return Journal.open(PATH, file_system=disk, snapshot=snapshot, fatal=raise_node_stopped)


def grow(journal: Journal, *commands: bytes, term: int = 1) -> None:
    """Append one entry for each command, in ``term``, and sync."""
    if term > journal.term:
        journal.set_term(term, None)
    for command in commands:
        journal.append(Entry(b"\x00" + command, journal.end_index, term))
    journal.sync()


def commands(journal: Journal) -> list[bytes]:
    entries = journal.entries(journal.base_index + 1, journal.end_index)
    return [entry.command[1:] for entry in entries]


def contents(journal: Journal) -> tuple[object, ...]:
    entries = tuple(journal.entries(journal.base_index + 1, journal.end_index))
    return journal.base_index, journal.term, journal.voted_for, entries


# --- What survives ----------------------------------------------------------------


def test_new_journal_begins_after_the_first_entry() -> None:
    journal = open_journal(new_disk())

    assert (journal.base_index, journal.last_index, journal.term) == (1, 1, 0)
    assert (journal.voted_for, journal.commit_index) == (None, 1)


def test_synced_entries_term_and_vote_survive_a_crash() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a", b"b")
    journal.set_term(2, BrokerId(3))
    journal.sync()
    disk.crash()

    again = open_journal(disk)

    assert commands(again) == [b"a", b"b"]
    assert (again.term, again.voted_for) == (2, BrokerId(3))


def test_vote_for_broker_zero_is_not_taken_for_no_vote() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    journal.set_term(1, BrokerId(0))
    journal.sync()

    assert open_journal(disk).voted_for == BrokerId(0)


def test_unsynced_entries_are_lost_whole() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a")
    journal.append(Entry(b"\x00b", journal.end_index, 1))
    assert journal.dirty
    disk.crash()

    assert commands(open_journal(disk)) == [b"a"]


def test_truncation_and_new_entries_in_its_place_survive_together() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a", b"b", b"c")
    journal.truncate(3)
    grow(journal, b"x", term=2)
    disk.crash()

    assert commands(open_journal(disk)) == [b"a", b"x"]


def test_commit_index_is_written_with_the_next_sync() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a", b"b")
    journal.set_commit_index(3)
    assert not journal.dirty
    grow(journal, b"c")

    assert open_journal(disk).commit_index == 3


def test_closing_writes_the_commit_index() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a")
    journal.set_commit_index(2)
    journal.close()

    assert open_journal(disk).commit_index == 2


def test_whatever_is_noted_between_two_syncs_costs_one_write_and_one_fdatasync() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    before = disk.counts.copy()

    grow(journal, *(b"%d" % n for n in range(500)))

    assert disk.counts - before == {"append": 1, "sync": 1}


def test_sync_of_nothing_costs_nothing() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    before = disk.operations

    journal.sync()

    assert disk.operations == before


def test_compacted_journal_keeps_what_follows() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a", b"b", b"c")
    journal.set_commit_index(4)
    journal.compact(3)
    disk.crash()

    again = open_journal(disk, SnapshotId(3, 1))

    assert (again.base_index, again.term_at(3)) == (3, 1)
    assert commands(again) == [b"c"]


def test_compaction_bounds_the_file() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    for _ in range(50):
        grow(journal, b"x" * 1_000)
        journal.set_commit_index(journal.last_index)
        journal.compact(journal.last_index - 1)

    assert len(disk.read(PATH)) < 3_000


def test_batch_holds_what_fits_and_at_least_one_entry() -> None:
    journal = open_journal(new_disk())
    grow(journal, b"x" * 99, b"y" * 99, b"z" * 99)

    assert [len(journal.batch(2, bytes_max=size)) for size in (1, 263, 264, 10_000)] == [1, 1, 2, 3]
    assert journal.batch(journal.end_index, bytes_max=1) == ()


# --- Crashes ------------------------------------------------------------------------


def life(disk: SimulatedDisk, stable: Callable[[Journal], None]) -> None:
    """Do everything a journal does; call ``stable`` whenever something has become durable."""
    journal = open_journal(disk)
    stable(journal)
    grow(journal, b"a" * 700, b"b")
    stable(journal)
    journal.set_term(2, BrokerId(2))
    journal.sync()
    stable(journal)
    journal.truncate(3)
    grow(journal, b"c", b"d" * 900, b"e", term=2)
    stable(journal)
    journal.set_commit_index(4)
    journal.compact(3)
    stable(journal)
    grow(journal, b"f", term=3)
    stable(journal)
    journal.restart_after(SnapshotId(20, 3))
    stable(journal)
    grow(journal, b"g", term=4)
    stable(journal)


def states_of_a_life() -> list[tuple[object, ...]]:
    states: list[tuple[object, ...]] = []
    life(new_disk(), lambda journal: states.append(contents(journal)))
    return states


def operations_of_a_life() -> int:
    disk = new_disk()
    life(disk, lambda _journal: None)
    return disk.operations


@pytest.mark.parametrize("operation", range(3, operations_of_a_life() + 1))
def test_crash_at_any_point_leaves_the_last_durable_state_or_the_next(operation: int) -> None:
    states = states_of_a_life()
    for seed in range(8):
        disk = new_disk(seed=seed)
        reached: list[tuple[object, ...]] = []
        disk.crash_at_operation = operation
        with suppress(SimulatedCrash):
            life(disk, lambda journal, to=reached: to.append(contents(journal)))  # type: ignore[misc]
        disk.crash()

        # The store's snapshots go with it: the log may begin after entry 3, or 20.
        if disk.exists(PATH):
            found = contents(_reopened(disk))
            assert found in states[max(len(reached) - 1, 0) : len(reached) + 1]
        else:
            assert not reached


def _reopened(disk: SimulatedDisk) -> Journal:
    for snapshot in (None, SnapshotId(3, 2), SnapshotId(20, 3)):
        with suppress(StorageError):
            return open_journal(disk, snapshot)
    raise AssertionError("no snapshot fits")


def three_groups() -> tuple[bytes, list[int]]:
    """Return a journal of four groups, and where each of them ends."""
    disk = new_disk()
    journal = open_journal(disk)
    ends = []
    for command in (b"first", b"second", b"third"):
        ends.append(len(disk.read(PATH)))
        grow(journal, command)
    content = disk.read(PATH)
    return content, [*ends, len(content)]


CONTENT, ENDS = three_groups()


def reopen_bytes(content: bytes) -> Journal:
    disk = new_disk()
    disk.replace(PATH, content)
    return open_journal(disk)


@pytest.mark.parametrize("size", range(ENDS[0], ENDS[-1] + 1))
def test_file_cut_at_any_byte_keeps_the_whole_groups(size: int) -> None:
    whole_groups = sum(end <= size for end in ENDS[1:])

    assert commands(reopen_bytes(CONTENT[:size])) == [b"first", b"second", b"third"][:whole_groups]


@pytest.mark.parametrize("zeros", [1, 8, 512, 4096])
def test_zeros_after_the_end_are_cut(zeros: int) -> None:
    assert commands(reopen_bytes(CONTENT + bytes(zeros))) == [b"first", b"second", b"third"]


def test_last_group_full_of_zeros_is_cut() -> None:
    content = CONTENT[: ENDS[2]] + bytes(ENDS[3] - ENDS[2])

    assert commands(reopen_bytes(content)) == [b"first", b"second"]


def test_what_was_cut_does_not_come_back() -> None:
    disk = new_disk()
    disk.replace(PATH, CONTENT[:-1])
    open_journal(disk)

    assert split_groups(disk.read(PATH))[1] == len(disk.read(PATH))


# --- Damage ------------------------------------------------------------------------


@pytest.mark.parametrize("position", range(ENDS[2]))
def test_flipped_bit_before_the_last_group_is_refused(position: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[position] ^= 1 << Random(position).randrange(8)

    with pytest.raises(StorageError, match=r"/metadata/journal (is damaged at byte|begins with)"):
        reopen_bytes(bytes(damaged))


@pytest.mark.parametrize("position", range(ENDS[2], ENDS[3]))
def test_flipped_bit_in_the_last_group_cannot_be_told_from_a_torn_tail(position: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[position] ^= 1

    assert commands(reopen_bytes(bytes(damaged))) == [b"first", b"second"]


def test_hole_in_the_middle_is_refused() -> None:
    content = CONTENT[: ENDS[0]] + bytes(ENDS[1] - ENDS[0]) + CONTENT[ENDS[1] :]

    with pytest.raises(StorageError, match="a sound group follows"):
        reopen_bytes(content)


@pytest.mark.parametrize("size", [0, 5, 8, 8 + GROUP_HEADER_BYTES, ENDS[0] - 1])
def test_file_that_lost_its_first_group_is_refused(size: int) -> None:
    with pytest.raises(StorageError, match="/metadata/journal"):
        reopen_bytes(CONTENT[:size])


def test_group_that_looks_like_one_inside_a_torn_entry_is_not_taken_for_proof() -> None:
    # An entry that contains a journal: its groups name other positions.
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"first")
    grow(journal, b"x" * 10 + CONTENT)
    content = disk.read(PATH)

    assert commands(reopen_bytes(content[:-1])) == [b"first"]


def sealed(*records: Record | bytes) -> bytes:
    """Return a journal of one group with the right checksum, whatever is in it."""
    encoded = b"".join(r if isinstance(r, bytes) else encode_record(r) for r in records)
    return FILE_HEADER + encode_group(encoded, position=len(FILE_HEADER))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(sealed(Base(1, 0), Entry(b"x", 9, 1)), "has entry 9 where 2", id="gap"),
        pytest.param(sealed(Base(1, 0), Truncated(5)), "takes back entry 5", id="truncation"),
        pytest.param(sealed(Base(1, 0), b"\x09"), "of kind 9", id="newer version"),
        pytest.param(sealed(Base(1, 0), b"\x04\x01"), "ends too early", id="short record"),
        pytest.param(
            sealed(Base(1, 0), encode_record(Entry(b"xyz", 2, 1))[:-1]), "2 of 3", id="short entry"
        ),
        pytest.param(sealed(Base(1, 0), Entry(b"x", 2, 1)), "older than its entries", id="term"),
    ],
)
def test_content_that_no_writer_made_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(StorageError, match=reason):
        reopen_bytes(content)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_cut_and_never_believed(garbage: bytes) -> None:
    assert commands(reopen_bytes(CONTENT + garbage)) == [b"first", b"second", b"third"]
    with pytest.raises(StorageError):
        reopen_bytes(FILE_HEADER + garbage)


def test_journal_is_looked_at_in_one_line() -> None:
    journal = open_journal(new_disk())
    grow(journal, b"a", b"b")

    assert repr(journal) == "<Journal 1 | 2..3 committed 1 term 1 vote None>"


# --- The disk fails ------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("operation", ["append", "sync"])
def test_failed_write_stops_the_node_and_is_never_tried_again(operation: str, number: int) -> None:
    disk = new_disk()
    journal = open_journal(disk)
    journal.set_term(1, None)
    disk.fail(operation, number)

    with pytest.raises(NodeStoppedError, match="writing the metadata journal"):
        journal.sync()
    before = disk.operations
    with pytest.raises(AssertionError):
        journal.sync()
    with pytest.raises(AssertionError):
        journal.close()
    journal.let_go()

    assert disk.operations == before


@pytest.mark.parametrize("operation", ["create", "append", "sync", "rename", "sync_directory"])
def test_failed_rewrite_stops_the_node(operation: str) -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a")
    journal.set_commit_index(2)
    disk.fail(operation, errno.EIO)

    with pytest.raises(NodeStoppedError, match="rewriting the metadata journal"):
        journal.compact(2)


def test_full_disk_stops_the_node_and_what_was_synced_is_there_afterwards() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a")
    disk.capacity_bytes = len(disk.read(PATH)) + 40

    with pytest.raises(NodeStoppedError, match=r"No space left.*the disk is full: free some"):
        grow(journal, b"b" * 100)
    disk.capacity_bytes = 10**6
    disk.crash()

    assert commands(open_journal(disk)) == [b"a"]


def test_opening_makes_durable_what_a_failed_sync_may_have_left_in_the_page_cache() -> None:
    disk = new_disk()
    journal = open_journal(disk)
    grow(journal, b"a")
    disk.fail("sync", errno.EIO)
    with suppress(NodeStoppedError):
        grow(journal, b"b")

    seen = commands(open_journal(disk))
    disk.crash()

    assert commands(open_journal(disk)) == seen


# --- Beside a snapshot ------------------------------------------------------------------


def journal_of(*terms: int, commit: int) -> SimulatedDisk:
    """Return a disk with entries 2, 3, ... of these terms."""
    disk = new_disk()
    journal = open_journal(disk)
    for term in terms:
        grow(journal, b"%d" % journal.end_index, term=term)
    journal.set_commit_index(commit)
    journal.close()
    return disk


def test_snapshot_of_our_history_keeps_what_follows_it() -> None:
    journal = open_journal(journal_of(1, 1, 2, 2, commit=3), SnapshotId(3, 1))

    assert commands(journal) == [b"2", b"3", b"4", b"5"]
    assert journal.commit_index == 3


def test_snapshot_beyond_the_log_replaces_it() -> None:
    journal = open_journal(journal_of(1, 1, 2, commit=3), SnapshotId(9, 2))

    assert (journal.base_index, journal.last_index, journal.last_term) == (9, 9, 2)
    assert (journal.commit_index, journal.term) == (9, 2)


def test_snapshot_of_another_history_replaces_a_log_that_was_never_committed() -> None:
    journal = open_journal(journal_of(1, 1, 1, 3, commit=2), SnapshotId(4, 2))

    assert (journal.base_index, journal.last_index, journal.last_term) == (4, 4, 2)


def test_snapshot_that_contradicts_a_committed_entry_is_refused() -> None:
    with pytest.raises(StorageError, match="disagree about entry 4"):
        open_journal(journal_of(1, 1, 1, 3, commit=5), SnapshotId(4, 2))


def test_log_that_begins_after_its_snapshot_ends_is_refused() -> None:
    disk = journal_of(1, 1, 1, commit=4)
    open_journal(disk).compact(4)

    with pytest.raises(StorageError, match="entries between them are gone"):
        open_journal(disk, SnapshotId(3, 1))
    with pytest.raises(StorageError, match="entries between them are gone"):
        open_journal(disk, None)


def test_missing_journal_beside_a_snapshot_is_refused() -> None:
    with pytest.raises(StorageError, match="forgotten its vote"):
        open_journal(new_disk(), SnapshotId(3, 1))


def test_journal_of_an_older_term_than_its_snapshot_is_refused() -> None:
    with pytest.raises(StorageError, match="replaced by an earlier copy"):
        open_journal(journal_of(1, commit=2), SnapshotId(9, 7))


# --- Our own mistakes -------------------------------------------------------------------


def test_entry_that_does_not_follow_is_a_bug() -> None:
    journal = open_journal(new_disk())
    journal.set_term(1, None)

    with pytest.raises(AssertionError, match="does not follow"):
        journal.append(Entry(b"\x00", 9, 1))


def test_taking_back_a_committed_entry_is_a_bug() -> None:
    journal = open_journal(new_disk())
    grow(journal, b"a")
    journal.set_commit_index(2)

    with pytest.raises(AssertionError, match="truncate 2"):
        journal.truncate(2)


def test_second_vote_in_one_term_is_a_bug() -> None:
    journal = open_journal(new_disk())
    journal.set_term(1, BrokerId(1))

    with pytest.raises(AssertionError):
        journal.set_term(1, BrokerId(2))
