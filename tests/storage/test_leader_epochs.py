"""Leader epochs tell where each leader's records begin and end, through truncation and restart."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.model.ids import LeaderEpoch, Offset
from ottla.storage.leader_epochs import EpochEnd, EpochStart, LeaderEpochs


def epochs(*entries: tuple[int, int]) -> LeaderEpochs:
    return LeaderEpochs(start(*entry) for entry in entries)


def start(epoch: int, start_offset: int) -> EpochStart:
    return EpochStart(LeaderEpoch(epoch), Offset(start_offset))


def pairs(leader_epochs: LeaderEpochs) -> list[tuple[int, int]]:
    return [(entry.epoch, entry.start_offset) for entry in leader_epochs.entries]


def end_of(leader_epochs: LeaderEpochs, epoch: int, *, log_end: int) -> EpochEnd | None:
    return leader_epochs.end_offset_for(LeaderEpoch(epoch), Offset(log_end))


# --- Assigning ----------------------------------------------------------------------------


def test_empty_log_has_no_latest_epoch() -> None:
    assert LeaderEpochs().latest is None


def test_epoch_begins_where_it_is_assigned() -> None:
    leader_epochs = LeaderEpochs()

    assert leader_epochs.assign(LeaderEpoch(3), Offset(10))
    assert leader_epochs.latest == (3, 10)


def test_epoch_keeps_its_first_start() -> None:
    leader_epochs = epochs((3, 10))

    assert not leader_epochs.assign(LeaderEpoch(3), Offset(15))
    assert pairs(leader_epochs) == [(3, 10)]


def test_latest_epoch_that_turns_out_to_begin_earlier_does() -> None:
    leader_epochs = epochs((3, 10))

    assert leader_epochs.assign(LeaderEpoch(3), Offset(8))
    assert pairs(leader_epochs) == [(3, 8)]


def test_epoch_under_which_nothing_was_written_is_dropped() -> None:
    assert pairs(epochs((3, 10), (4, 20), (5, 20))) == [(3, 10), (5, 20)]


def test_entries_of_an_abandoned_branch_are_dropped() -> None:
    assert pairs(epochs((3, 10), (7, 20), (8, 30), (5, 15))) == [(3, 10), (5, 15)]


@pytest.mark.parametrize(("epoch", "offset"), [(-1, 0), (0, -1)])
def test_negative_epochs_and_offsets_are_bugs(epoch: int, offset: int) -> None:
    with pytest.raises(AssertionError):
        epochs((epoch, offset))


# --- Ends -----------------------------------------------------------------------------------


def test_epoch_ends_where_its_successor_begins() -> None:
    assert end_of(epochs((3, 10), (5, 20)), 3, log_end=42) == (3, 20)


def test_latest_epoch_ends_at_the_log_end() -> None:
    assert end_of(epochs((3, 10), (5, 20)), 5, log_end=42) == (5, 42)


def test_epoch_unknown_here_gives_the_one_below_it() -> None:
    assert end_of(epochs((3, 10), (5, 20), (9, 30)), 7, log_end=42) == (5, 30)


def test_epoch_newer_than_all_has_no_end_here() -> None:
    assert end_of(epochs((3, 10)), 4, log_end=42) is None


def test_epoch_whose_records_are_deleted_ends_where_the_log_begins_to_know() -> None:
    assert end_of(epochs((3, 10), (5, 20)), 1, log_end=42) == (1, 10)


def test_no_epoch_ends_in_an_empty_log() -> None:
    assert end_of(LeaderEpochs(), 0, log_end=0) is None


def test_undefined_epoch_has_no_end() -> None:
    assert end_of(epochs((3, 10)), -1, log_end=42) is None


# --- Which epoch wrote an offset --------------------------------------------------------------


@pytest.mark.parametrize(("offset", "epoch"), [(9, None), (10, 3), (19, 3), (20, 5), (1000, 5)])
def test_offset_is_of_the_epoch_that_began_last_at_or_before_it(
    offset: int, epoch: int | None
) -> None:
    assert epochs((3, 10), (5, 20)).epoch_at(Offset(offset)) == epoch


# --- Truncating -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "left"),
    [
        (41, [(1, 0), (2, 20), (3, 40)]),
        (40, [(1, 0), (2, 20)]),
        (21, [(1, 0), (2, 20)]),
        (20, [(1, 0)]),
        (0, []),
    ],
)
def test_truncated_end_forgets_the_epochs_that_began_there_or_later(
    end: int, left: list[tuple[int, int]]
) -> None:
    leader_epochs = epochs((1, 0), (2, 20), (3, 40))

    assert leader_epochs.truncate_to_end(Offset(end)) == (len(left) < 3)
    assert pairs(leader_epochs) == left


@pytest.mark.parametrize(
    ("begin", "left"),
    [
        (0, [(1, 0), (2, 20), (3, 40)]),
        (10, [(1, 10), (2, 20), (3, 40)]),
        (20, [(2, 20), (3, 40)]),
        (30, [(2, 30), (3, 40)]),
        (99, [(3, 99)]),
    ],
)
def test_truncated_start_keeps_the_epoch_that_holds_it(
    begin: int, left: list[tuple[int, int]]
) -> None:
    leader_epochs = epochs((1, 0), (2, 20), (3, 40))

    assert leader_epochs.truncate_to_start(Offset(begin)) == (begin > 0)
    assert pairs(leader_epochs) == left


def test_start_before_the_first_epoch_changes_nothing() -> None:
    leader_epochs = epochs((3, 10))

    assert not leader_epochs.truncate_to_start(Offset(5))
    assert pairs(leader_epochs) == [(3, 10)]


def test_cleared_epochs_are_gone() -> None:
    leader_epochs = epochs((3, 10))
    leader_epochs.clear()

    assert leader_epochs.entries == ()


# --- The file ---------------------------------------------------------------------------------


def test_file_is_kafkas_byte_for_byte() -> None:
    assert epochs((0, 0), (7, 12345678901)).encode() == b"0\n2\n0 0\n7 12345678901\n"


def test_file_of_an_empty_log_has_no_entries() -> None:
    assert LeaderEpochs().encode() == b"0\n0\n"


def test_file_that_kafka_has_created_and_not_written_is_empty() -> None:
    assert LeaderEpochs.decode(b"").entries == ()


def test_any_white_space_parts_the_words() -> None:
    assert pairs(LeaderEpochs.decode(b"0\r\n1\r\n3   10\r\n")) == [(3, 10)]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"1\n0\n", "version '1' is not 0"),
        (b"0", "announces nothing entries, but 0 follow"),
        (b"0\n2\n0 0\n", "announces 2 entries, but 1 follow"),
        (b"0\n1\n0 0\n1 5\n", "announces 1 entries, but 2 follow"),
        (b"0\n1\n0\n", "line 3"),
        (b"0\n1\n0 0 0\n", "line 3"),
        (b"0\n1\n0 x\n", "line 3"),
        (b"0\n1\n-1 0\n", "line 3.*not negative"),
        (b"0\n2\n5 0\n5 7\n", "line 4.*does not follow"),
        (b"0\n2\n5 9\n6 9\n", "line 4.*does not follow"),
        (b"0\n1\n\xff 0\n", "byte 4 is not text"),
    ],
)
def test_damaged_file_is_refused_with_its_line(content: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        LeaderEpochs.decode(content)


# --- Properties -------------------------------------------------------------------------------

assignments = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 100)), max_size=30)


@given(assignments)
def test_epochs_and_offsets_always_rise(entries: list[tuple[int, int]]) -> None:
    found = pairs(epochs(*entries))

    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(found))
    if entries:
        assert found[-1][0] == entries[-1][0]


@given(assignments)
def test_file_gives_back_what_was_written(entries: list[tuple[int, int]]) -> None:
    leader_epochs = epochs(*entries)

    assert LeaderEpochs.decode(leader_epochs.encode()).entries == leader_epochs.entries


@given(assignments, st.integers(0, 100))
def test_nothing_that_was_truncated_is_remembered(
    entries: list[tuple[int, int]], offset: int
) -> None:
    leader_epochs = epochs(*entries)
    leader_epochs.truncate_to_end(Offset(offset))

    assert all(start_offset < offset for _, start_offset in leader_epochs.entries)


@given(assignments, st.integers(0, 100), st.integers(0, 100))
def test_offsets_behind_a_new_start_stay_of_their_epoch(
    entries: list[tuple[int, int]], begin: int, offset: int
) -> None:
    leader_epochs = epochs(*entries)
    before = leader_epochs.epoch_at(Offset(max(begin, offset)))
    leader_epochs.truncate_to_start(Offset(begin))

    assert leader_epochs.epoch_at(Offset(max(begin, offset))) == before
