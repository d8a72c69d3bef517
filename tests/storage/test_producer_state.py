"""A retry is recognised, a gap refused, a zombie fenced, and a restart changes none of it."""

from __future__ import annotations

import struct

import pytest
from crc32c import crc32c

from ottla.model.errors import (
    InvalidProducerEpochError,
    InvalidTransactionStateError,
    OutOfOrderSequenceError,
)
from ottla.model.ids import Offset
from ottla.model.limits import SEQUENCE_MAX
from ottla.record.batch import CONTROL_BIT, TRANSACTIONAL_BIT, BatchHeader
from ottla.storage.producer_state import Duplicate, ProducerStates, decode_entries

DAY_MS = 86_400_000


def batch(
    sequence: int,
    count: int = 1,
    *,
    producer: int = 7,
    epoch: int = 0,
    offset: int = 0,
    at_ms: int = 1000,
    transactional: bool = False,
    control: bool = False,
) -> BatchHeader:
    """Make the header of a batch of ``count`` records."""
    attributes = TRANSACTIONAL_BIT * transactional | CONTROL_BIT * control
    return BatchHeader(
        base_offset=offset,
        batch_length=100,
        partition_leader_epoch=0,
        magic=2,
        crc=0,
        attributes=attributes,
        last_offset_delta=count - 1,
        base_timestamp=at_ms,
        max_timestamp=at_ms,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        record_count=count,
    )


def marker(*, offset: int, producer: int = 7, epoch: int = 0, at_ms: int = 1000) -> BatchHeader:
    """Make the header of a control batch."""
    return batch(
        -1,
        producer=producer,
        epoch=epoch,
        offset=offset,
        at_ms=at_ms,
        transactional=True,
        control=True,
    )


@pytest.fixture
def states() -> ProducerStates:
    return ProducerStates(expiration_ms=DAY_MS)


def append_five(states: ProducerStates) -> None:
    """Append batches of ten records, sequences 0, 10, ... 40, at offsets 100, 110, ... 140."""
    for number in range(5):
        states.append(batch(10 * number, 10, offset=100 + 10 * number, at_ms=1000 + number))


# --- Idempotence ---------------------------------------------------------------------------


def test_batch_without_a_producer_is_not_looked_at(states: ProducerStates) -> None:
    states.append(batch(-1, producer=-1, epoch=-1))

    assert states.check(batch(-1, producer=-1, epoch=-1)) is None
    assert len(states) == 0


@pytest.mark.parametrize("sequence", [0, 1, 12345, SEQUENCE_MAX])
def test_unknown_producer_may_begin_with_any_sequence(
    states: ProducerStates, sequence: int
) -> None:
    assert states.check(batch(sequence)) is None


def test_next_sequence_is_accepted(states: ProducerStates) -> None:
    append_five(states)

    assert states.check(batch(50, 3)) is None


@pytest.mark.parametrize("sequence", [51, 60, 49, 45, 1000])
def test_any_other_sequence_is_out_of_order(states: ProducerStates, sequence: int) -> None:
    append_five(states)

    with pytest.raises(OutOfOrderSequenceError, match="50 is next"):
        states.check(batch(sequence, 10))


@pytest.mark.parametrize("number", range(5))
def test_retry_of_one_of_the_last_five_batches_keeps_its_first_offsets(
    states: ProducerStates, number: int
) -> None:
    append_five(states)

    duplicate = states.check(batch(10 * number, 10))

    assert duplicate == Duplicate(
        Offset(100 + 10 * number), Offset(109 + 10 * number), 1000 + number
    )


def test_retry_of_an_older_batch_is_out_of_order(states: ProducerStates) -> None:
    append_five(states)
    states.append(batch(50, 10, offset=150))

    with pytest.raises(OutOfOrderSequenceError, match="retry older than the last 5"):
        states.check(batch(0, 10))


def test_batch_that_overlaps_but_differs_is_not_taken_for_a_retry(states: ProducerStates) -> None:
    append_five(states)

    with pytest.raises(OutOfOrderSequenceError):
        states.check(batch(40, 9))


def test_checking_changes_nothing(states: ProducerStates) -> None:
    append_five(states)
    before = states.encode()
    states.check(batch(50))
    states.check(batch(0, producer=8))

    assert states.encode() == before


def test_sequence_zero_follows_the_largest(states: ProducerStates) -> None:
    states.append(batch(SEQUENCE_MAX - 1, 2, offset=0))

    assert states.check(batch(0, offset=2)) is None
    with pytest.raises(OutOfOrderSequenceError, match=" 0 is next"):
        states.check(batch(1, offset=2))


def test_batch_may_wrap_in_its_middle_and_is_recognised_again(states: ProducerStates) -> None:
    wrapping = batch(SEQUENCE_MAX - 1, 5, offset=30)
    states.append(wrapping)

    assert states.check(wrapping) == Duplicate(Offset(30), Offset(34), 1000)
    assert states.check(batch(3)) is None


def test_producers_are_told_apart(states: ProducerStates) -> None:
    append_five(states)

    assert states.check(batch(0, producer=8)) is None


# --- Epochs ---------------------------------------------------------------------------------


def test_zombie_producer_is_fenced_by_its_successor(states: ProducerStates) -> None:
    states.append(batch(0, epoch=3))

    with pytest.raises(InvalidProducerEpochError, match="epoch 2, but this partition has seen"):
        states.check(batch(1, epoch=2))


def test_retry_of_a_zombie_is_fenced_too(states: ProducerStates) -> None:
    states.append(batch(0, epoch=2))
    states.append(batch(0, epoch=3, offset=1))

    with pytest.raises(InvalidProducerEpochError):
        states.check(batch(0, epoch=2))


def test_new_epoch_begins_with_sequence_zero(states: ProducerStates) -> None:
    append_five(states)

    assert states.check(batch(0, epoch=1)) is None


def test_new_epoch_may_not_begin_elsewhere(states: ProducerStates) -> None:
    append_five(states)

    with pytest.raises(OutOfOrderSequenceError, match="must begin with 0"):
        states.check(batch(50, epoch=1))


def test_batches_of_the_old_epoch_are_forgotten(states: ProducerStates) -> None:
    append_five(states)
    states.append(batch(0, 10, epoch=1, offset=150))

    assert states.check(batch(0, 10, epoch=1)) == Duplicate(Offset(150), Offset(159), 1000)
    with pytest.raises(OutOfOrderSequenceError):
        states.check(batch(20, 10, epoch=1))


# --- Several batches in one append ----------------------------------------------------------


def test_batches_of_one_append_follow_each_other(states: ProducerStates) -> None:
    append_five(states)

    assert states.check_all([batch(50, 5), batch(55, 5), batch(0, producer=8)]) is None


def test_gap_within_one_append_is_out_of_order(states: ProducerStates) -> None:
    with pytest.raises(OutOfOrderSequenceError, match="5 is next"):
        states.check_all([batch(0, 5), batch(6, 5)])


def test_same_batch_twice_in_one_append_is_out_of_order(states: ProducerStates) -> None:
    with pytest.raises(OutOfOrderSequenceError):
        states.check_all([batch(0, 5), batch(0, 5)])


def test_append_with_a_retry_in_it_is_a_duplicate(states: ProducerStates) -> None:
    append_five(states)

    duplicate = states.check_all([batch(40, 10), batch(50, 10)])

    assert duplicate is not None
    assert duplicate.base_offset == 140


# --- Transactions ---------------------------------------------------------------------------


def test_first_batch_of_a_transaction_makes_its_offset_unstable(states: ProducerStates) -> None:
    states.append(batch(0, 3, offset=10, transactional=True))
    states.append(batch(3, 3, offset=13, transactional=True))

    assert states.first_unstable_offset(Offset(16)) == 10


def test_plain_batches_are_stable(states: ProducerStates) -> None:
    append_five(states)

    assert states.first_unstable_offset(Offset(150)) is None


def test_plain_batch_is_refused_while_a_transaction_is_open(states: ProducerStates) -> None:
    states.append(batch(0, offset=10, transactional=True))

    with pytest.raises(InvalidTransactionStateError, match="since offset 10"):
        states.check(batch(1))


def test_plain_batch_is_refused_behind_a_transactional_one_of_the_same_append(
    states: ProducerStates,
) -> None:
    with pytest.raises(InvalidTransactionStateError):
        states.check_all([batch(0, transactional=True), batch(1)])


def test_plain_batch_is_accepted_after_the_transaction_has_ended(states: ProducerStates) -> None:
    states.append(batch(0, offset=10, transactional=True))
    states.end_transaction(marker(offset=11), coordinator_epoch=4, aborted=False)

    assert states.check(batch(1)) is None


def test_marker_ends_the_transaction_that_is_open(states: ProducerStates) -> None:
    states.append(batch(0, offset=10, transactional=True))

    completed = states.end_transaction(marker(offset=20), coordinator_epoch=4, aborted=True)

    assert completed == (7, 10, 20, True)


def test_marker_without_a_transaction_ends_none(states: ProducerStates) -> None:
    assert states.end_transaction(marker(offset=20), coordinator_epoch=4, aborted=True) is None


def test_ended_transaction_is_unstable_until_its_marker_is_committed(
    states: ProducerStates,
) -> None:
    states.append(batch(0, offset=10, transactional=True))
    states.end_transaction(marker(offset=20), coordinator_epoch=4, aborted=False)

    assert states.first_unstable_offset(Offset(20)) == 10
    assert states.first_unstable_offset(Offset(21)) is None


def test_oldest_of_several_transactions_counts(states: ProducerStates) -> None:
    states.append(batch(0, offset=10, transactional=True, producer=1))
    states.append(batch(0, offset=11, transactional=True, producer=2))
    states.end_transaction(marker(offset=12, producer=1), coordinator_epoch=4, aborted=False)

    assert states.first_unstable_offset(Offset(12)) == 10
    assert states.first_unstable_offset(Offset(13)) == 11


def test_aborted_transaction_made_the_log_stable_up_to_the_next_open_one(
    states: ProducerStates,
) -> None:
    states.append(batch(0, offset=10, transactional=True, producer=1))
    states.append(batch(0, offset=11, transactional=True, producer=2))
    first = states.end_transaction(marker(offset=12, producer=1), coordinator_epoch=4, aborted=True)
    assert first is not None
    assert states.last_stable_offset_after(first) == 11

    second = states.end_transaction(
        marker(offset=13, producer=2), coordinator_epoch=4, aborted=True
    )
    assert second is not None
    assert states.last_stable_offset_after(second) == 14


def test_marker_of_a_newer_epoch_fences_the_producer(states: ProducerStates) -> None:
    states.append(batch(0, offset=10, transactional=True))
    states.end_transaction(marker(offset=11, epoch=1), coordinator_epoch=4, aborted=True)

    with pytest.raises(InvalidProducerEpochError):
        states.check(batch(1, transactional=True))
    assert states.check(batch(0, epoch=1, transactional=True)) is None


def test_transaction_that_ended_before_the_log_start_is_stable(states: ProducerStates) -> None:
    states.append(batch(0, offset=10, transactional=True))
    states.end_transaction(marker(offset=20), coordinator_epoch=4, aborted=False)
    states.delete_before(Offset(21))

    assert states.first_unstable_offset(Offset(0)) is None


def test_producer_outlives_the_deletion_of_its_records(states: ProducerStates) -> None:
    append_five(states)
    states.delete_before(Offset(1000))

    with pytest.raises(OutOfOrderSequenceError):
        states.check(batch(51))


# --- Forgetting -----------------------------------------------------------------------------


def test_silent_producer_is_forgotten_and_may_begin_anywhere(states: ProducerStates) -> None:
    states.append(batch(0, at_ms=1000))

    assert states.expire(1000 + DAY_MS) == 1
    assert states.check(batch(77)) is None


def test_producer_is_remembered_until_it_has_been_silent_long_enough(
    states: ProducerStates,
) -> None:
    states.append(batch(0, at_ms=1000))

    assert states.expire(999 + DAY_MS) == 0


def test_producer_with_an_open_transaction_is_not_forgotten(states: ProducerStates) -> None:
    states.append(batch(0, at_ms=1000, transactional=True))

    assert states.expire(1000 * DAY_MS) == 0


def test_changed_expiration_holds_from_then_on(states: ProducerStates) -> None:
    states.append(batch(0, at_ms=1000))
    states.set_expiration(10)

    assert states.expire(1010) == 1


def test_cleared_states_hold_nothing(states: ProducerStates) -> None:
    states.append(batch(0, transactional=True))
    states.clear()

    assert len(states) == 0
    assert states.first_unstable_offset(Offset(0)) is None


def test_longest_silent_producer_without_a_transaction_makes_room() -> None:
    states = ProducerStates(expiration_ms=DAY_MS, producers_max=3)
    states.append(batch(0, producer=1, transactional=True))
    states.append(batch(0, producer=2, offset=1))
    states.append(batch(0, producer=3, offset=2))
    states.append(batch(1, producer=2, offset=3))

    states.append(batch(0, producer=4, offset=4))

    assert [entry.producer_id for entry in states.entries()] == [1, 2, 4]


# --- Snapshots --------------------------------------------------------------------------------


def test_snapshot_is_kafkas_byte_for_byte(states: ProducerStates) -> None:
    states.append(batch(5, 3, producer=0x0102030405060708, epoch=9, offset=100, at_ms=0x1122))
    states.append(batch(0, 1, producer=2, epoch=1, offset=200, at_ms=77, transactional=True))
    states.end_transaction(
        marker(offset=300, producer=3, at_ms=88), coordinator_epoch=6, aborted=True
    )

    content = states.encode()

    entries = bytes.fromhex(
        "0102030405060708 0009 00000007 0000000000000066 00000002 0000000000001122 ffffffff"
        "ffffffffffffffff"
        "0000000000000002 0001 00000000 00000000000000c8 00000000 000000000000004d ffffffff"
        "00000000000000c8"
        "0000000000000003 0000 ffffffff ffffffffffffffff 00000000 0000000000000058 00000006"
        "ffffffffffffffff"
    )
    body = bytes.fromhex("00000003") + entries
    assert content == bytes.fromhex("0001") + struct.pack(">I", crc32c(body)) + body


def test_empty_snapshot_has_no_entries(states: ProducerStates) -> None:
    assert states.encode() == bytes.fromhex("0001 48674bc7 00000000")


def reopened(states: ProducerStates) -> ProducerStates:
    return ProducerStates.decode(states.encode(), expiration_ms=DAY_MS)


def test_snapshot_remembers_the_last_batch_of_each_producer(states: ProducerStates) -> None:
    append_five(states)
    again = reopened(states)

    assert again.check(batch(40, 10)) == Duplicate(Offset(140), Offset(149), 1004)
    assert again.check(batch(50)) is None
    with pytest.raises(OutOfOrderSequenceError):
        again.check(batch(30, 10))


def test_snapshot_remembers_open_transactions(states: ProducerStates) -> None:
    states.append(batch(0, offset=10, transactional=True))
    again = reopened(states)

    assert again.first_unstable_offset(Offset(99)) == 10
    assert again.end_transaction(marker(offset=20), coordinator_epoch=1, aborted=True) == (
        7,
        10,
        20,
        True,
    )


def test_snapshot_remembers_a_producer_of_which_only_a_marker_is_known(
    states: ProducerStates,
) -> None:
    states.end_transaction(marker(offset=20, epoch=5), coordinator_epoch=6, aborted=False)
    again = reopened(states)

    assert again.entries() == states.entries()
    with pytest.raises(InvalidProducerEpochError):
        again.check(batch(0, epoch=4))


def test_loading_a_snapshot_replaces_everything(states: ProducerStates) -> None:
    snapshot = states.encode()
    states.append(batch(0, transactional=True))
    states.load(snapshot)

    assert len(states) == 0
    assert states.first_unstable_offset(Offset(1)) is None


def test_damaged_snapshot_leaves_the_states_as_they_were(states: ProducerStates) -> None:
    append_five(states)
    with pytest.raises(ValueError, match="too few"):
        states.load(b"")

    assert len(states) == 1


@pytest.mark.parametrize("position", range(6, 56))
def test_every_flipped_bit_behind_the_checksum_is_noticed(
    states: ProducerStates, position: int
) -> None:
    append_five(states)
    content = bytearray(states.encode())
    content[position] ^= 1 << position % 8

    with pytest.raises(ValueError, match="checksum"):
        decode_entries(bytes(content))


def test_snapshot_cut_short_is_noticed(states: ProducerStates) -> None:
    append_five(states)
    content = states.encode()

    for size in range(len(content)):
        with pytest.raises(ValueError, match=r"too few|checksum"):
            decode_entries(content[:size])


def test_snapshot_of_another_version_is_refused(states: ProducerStates) -> None:
    content = bytearray(states.encode())
    content[1] = 2

    with pytest.raises(ValueError, match="version 2 is not 1"):
        decode_entries(bytes(content))


@pytest.mark.parametrize("count", [-1, 1, 1 << 30])
def test_snapshot_whose_count_is_wrong_is_refused(count: int) -> None:
    body = struct.pack(">i", count)
    content = struct.pack(">hI", 1, crc32c(body)) + body

    with pytest.raises(ValueError, match="do not hold"):
        decode_entries(content)
