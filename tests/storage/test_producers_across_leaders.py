"""A new leader answers a producer's retries as its predecessor would have, from its own log."""

from __future__ import annotations

import pytest

from ottla.model.errors import InvalidProducerEpochError, OutOfOrderSequenceError
from ottla.model.ids import LeaderEpoch, Offset
from ottla.model.limits import SEQUENCE_MAX
from ottla.record.batch import RecordBatch
from ottla.record.builder import BatchBuilder
from ottla.storage.appending import Appended
from tests.storage.world import NOW_MS, World, batch, batches_in, values_in

PRODUCER = 7


def sent(sequence: int, *, count: int = 1, epoch: int = 0) -> RecordBatch:
    """A batch of the producer, whose values tell its sequences."""
    builder = BatchBuilder(producer_id=PRODUCER, producer_epoch=epoch, base_sequence=sequence)
    for number in range(count):
        builder.append(key=None, value=b"%d" % (sequence + number), timestamp_ms=NOW_MS)
    return RecordBatch.at(builder.build())


class Replicas:
    """Two replicas of one partition, each of which may be the leader."""

    def __init__(self, **settings: int) -> None:
        self.first, self.second = World(**settings), World(**settings)

    def replicate(self, *, source: World | None = None, target: World | None = None) -> None:
        """Let the follower, the second one unless it says otherwise, copy what it lacks."""
        source, target = source or self.first, target or self.second
        end = target.log.log_end_offset
        new = [b for b in batches_in(source.log) if b.header.base_offset >= end]
        target.log.append_replicated(new, now_ms=NOW_MS)


def lead(world: World, *batches: RecordBatch, epoch: int = 2) -> Appended:
    """Append as the leader of a later epoch."""
    return world.log.append(batches, leader_epoch=LeaderEpoch(epoch), now_ms=NOW_MS)


def test_each_of_the_last_five_batches_is_a_duplicate_at_the_offsets_it_has() -> None:
    replicas = Replicas()
    for number in range(5):
        replicas.first.append(sent(2 * number, count=2))
    replicas.replicate()

    for number in range(5):
        again = lead(replicas.second, sent(2 * number, count=2))
        assert again.duplicate
        assert (again.base_offset, again.end_offset) == (2 * number, 2 * number + 2)
    assert replicas.second.log.log_end_offset == 10


def test_producer_goes_on_at_the_new_leader() -> None:
    replicas = Replicas()
    replicas.first.append(sent(0, count=3))
    replicas.replicate()

    assert not lead(replicas.second, sent(3)).duplicate


def test_batch_after_one_that_the_new_leader_lacks_is_out_of_order() -> None:
    replicas = Replicas()
    replicas.first.append(sent(0))
    replicas.replicate()
    replicas.first.append(sent(1))

    with pytest.raises(OutOfOrderSequenceError, match="but 1 is next"):
        lead(replicas.second, sent(2))


def test_producer_fenced_at_one_leader_is_fenced_at_the_next() -> None:
    replicas = Replicas()
    replicas.first.append(sent(0))
    replicas.first.append(sent(0, epoch=1))
    replicas.replicate()

    with pytest.raises(InvalidProducerEpochError, match="seen epoch 1"):
        lead(replicas.second, sent(1))


def test_bumped_epoch_begins_with_zero_at_the_new_leader() -> None:
    """KIP-360: the producer bumps its epoch and numbers its batches anew."""
    replicas = Replicas()
    replicas.first.append(sent(0))
    replicas.replicate()

    with pytest.raises(OutOfOrderSequenceError, match="must begin with 0"):
        lead(replicas.second, sent(1, epoch=1))
    assert not lead(replicas.second, sent(0, epoch=1)).duplicate


def test_retries_of_a_bumped_epoch_are_known_to_the_new_leader() -> None:
    replicas = Replicas()
    replicas.first.append(sent(0))
    replicas.first.append(sent(0, epoch=1))
    replicas.replicate()

    assert lead(replicas.second, sent(0, epoch=1)).base_offset == 1


def test_sequences_wrap_across_leaders() -> None:
    replicas = Replicas()
    replicas.first.append(sent(SEQUENCE_MAX - 1, count=2))
    replicas.replicate()

    assert not lead(replicas.second, sent(0)).duplicate
    assert lead(replicas.second, sent(SEQUENCE_MAX - 1, count=2)).base_offset == 0


def test_batch_that_wraps_in_its_middle_is_known_to_the_new_leader() -> None:
    replicas = Replicas()
    replicas.first.append(sent(SEQUENCE_MAX - 1, count=4))
    replicas.replicate()

    assert lead(replicas.second, sent(SEQUENCE_MAX - 1, count=4)).duplicate
    assert not lead(replicas.second, sent(2)).duplicate


def test_batch_that_was_cut_off_is_appended_when_it_is_sent_again() -> None:
    replicas = Replicas()
    replicas.first.append(sent(0))
    replicas.replicate()
    replicas.first.append(sent(1))  # which nobody else got
    lead(replicas.second, sent(1))
    replicas.first.log.truncate_to(Offset(1), now_ms=NOW_MS)

    assert not lead(replicas.first, sent(1), epoch=3).duplicate
    assert lead(replicas.first, sent(0), epoch=3).base_offset == 0


def test_what_replaced_a_cut_batch_is_what_a_retry_finds() -> None:
    """The retry went to the other leader first, and got another offset there."""
    replicas = Replicas()
    replicas.first.append(sent(0))
    replicas.replicate()
    replicas.first.append(sent(1))
    lead(replicas.second, batch(b"of somebody else"))
    lead(replicas.second, sent(1))
    replicas.first.log.truncate_to(Offset(1), now_ms=NOW_MS)
    replicas.replicate(source=replicas.second, target=replicas.first)

    again = lead(replicas.first, sent(1), epoch=3)

    assert (again.duplicate, again.base_offset) == (True, 2)
    assert values_in(replicas.first.log) == values_in(replicas.second.log)


def test_cut_below_a_snapshot_goes_back_to_an_older_one() -> None:
    replicas = Replicas(segment_bytes=200)
    for number in range(8):
        replicas.first.append(sent(number))
    replicas.replicate()
    assert len(replicas.second.segment_bases()) > 2

    replicas.second.log.truncate_to(Offset(5), now_ms=NOW_MS)

    assert lead(replicas.second, sent(4)).base_offset == 4
    assert not lead(replicas.second, sent(5)).duplicate


def test_cut_takes_a_bumped_epoch_back() -> None:
    replicas = Replicas()
    replicas.first.append(sent(0))
    replicas.first.append(sent(0, epoch=1))
    replicas.replicate()

    replicas.second.log.truncate_to(Offset(1), now_ms=NOW_MS)

    assert not lead(replicas.second, sent(1)).duplicate


def test_follower_that_begins_anew_learns_the_producers_from_what_it_copies() -> None:
    replicas = Replicas(segment_bytes=200)
    for number in range(8):
        replicas.first.append(sent(number))
    replicas.first.log.delete_records_before(Offset(5))
    start = replicas.first.log.log_start_offset
    replicas.second.log.start_at(start, now_ms=NOW_MS)
    replicas.replicate()

    assert lead(replicas.second, sent(6)).base_offset == 6
    with pytest.raises(OutOfOrderSequenceError):
        lead(replicas.second, sent(9))


@pytest.mark.parametrize("how", ["restart", "kill", "crash"])
def test_follower_that_was_restarted_knows_the_last_batch(how: str) -> None:
    replicas = Replicas()
    for number in range(3):
        replicas.first.append(sent(number))
    replicas.replicate()
    replicas.second.log.flush()
    replicas.second.checkpoint()

    getattr(replicas.second, how)()

    assert lead(replicas.second, sent(2)).base_offset == 2
    assert not lead(replicas.second, sent(3)).duplicate
