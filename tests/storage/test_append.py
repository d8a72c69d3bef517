"""The leader's append gives contiguous offsets, stamps every batch, and is done whole or not."""

from __future__ import annotations

import pytest

from ottla.model.errors import (
    InvalidRecordError,
    OffsetOutOfRangeError,
    OutOfOrderSequenceError,
    RecordListTooLargeError,
)
from ottla.model.ids import LeaderEpoch, Offset
from ottla.record.batch import (
    CONTROL_BIT,
    HEADER_BYTES,
    RecordBatch,
    TimestampType,
    crc_matches,
    restamped,
    with_header,
)
from tests.storage.world import NOW_MS, World, batch, batches_in, values_in


def stamped(original: RecordBatch, offset: int, epoch: int) -> RecordBatch:
    """Place a batch as a leader would, for a follower to append."""
    parts = restamped(original, base_offset=offset, leader_epoch=epoch)
    return RecordBatch.at(b"".join(parts))


def test_offsets_follow_each_other() -> None:
    world = World()

    first = world.append(batch(b"a", b"b"), batch(b"c"))
    second = world.append(batch(b"d"))

    assert (first.base_offset, first.end_offset) == (0, 3)
    assert (second.base_offset, second.end_offset) == (3, 4)
    assert values_in(world.log) == [(0, b"a"), (1, b"b"), (2, b"c"), (3, b"d")]


def test_file_holds_the_producers_bytes_with_a_new_stamp() -> None:
    world = World()
    sent = batch(b"a", b"b")

    world.append(batch(b"first"), sent, epoch=7)

    stored = list(batches_in(world.log))[1]
    assert stored.view[16:] == sent.view[16:]
    assert (stored.header.base_offset, stored.header.partition_leader_epoch) == (1, 7)
    assert crc_matches(stored)


def test_all_batches_of_a_call_are_one_write() -> None:
    world = World()
    before = world.disk.counts["append"]

    world.append(*[batch(b"%d" % number) for number in range(20)])

    assert world.disk.counts["append"] == before + 1


def test_append_waits_for_no_sync() -> None:
    world = World(segment_bytes=500)
    before = world.disk.counts["sync"] + world.disk.counts["sync_directory"]

    world.append_each(50)

    assert world.log.segment_count > 5
    assert world.disk.counts["sync"] + world.disk.counts["sync_directory"] == before


def test_batches_larger_together_than_a_segment_are_refused() -> None:
    world = World(segment_bytes=500)

    with pytest.raises(RecordListTooLargeError, match="do not fit into a segment of web-0"):
        world.append(batch(b"x" * 300), batch(b"x" * 300))

    assert world.log.log_end_offset == 0


def test_log_append_time_stamps_the_batch() -> None:
    world = World()
    world.log.reconfigure(world.config.__class__(timestamp_type=TimestampType.LOG_APPEND_TIME))

    appended = world.append(batch(at_ms=5), now_ms=NOW_MS + 77)

    (stored,) = batches_in(world.log)
    assert appended.log_append_time_ms == NOW_MS + 77
    assert stored.header.max_timestamp == NOW_MS + 77
    assert stored.header.timestamp_type is TimestampType.LOG_APPEND_TIME
    assert crc_matches(stored)


def test_leader_epoch_is_entered_where_it_begins() -> None:
    world = World()

    world.append_each(3, epoch=4)
    world.append_each(2, epoch=6)

    assert world.epochs() == [(4, 0), (6, 3)]


# --- Idempotent producers -------------------------------------------------------------------


def test_retried_batch_keeps_its_first_offset() -> None:
    world = World()
    sent = batch(b"a", b"b", producer=7, sequence=0)
    world.append(batch(), sent)
    world.append(batch())

    again = world.append(sent)

    assert again.duplicate
    assert (again.base_offset, again.end_offset) == (1, 3)
    assert world.log.log_end_offset == 4


def test_retry_together_with_something_new_appends_only_that() -> None:
    world = World()
    sent = batch(b"a", b"b", producer=7, sequence=0)
    world.append(sent)
    world.append(batch(b"other"))

    appended = world.append(sent, batch(b"c", producer=7, sequence=2))

    assert not appended.duplicate
    assert (appended.base_offset, appended.end_offset) == (0, 4)
    assert values_in(world.log)[2:] == [(2, b"other"), (3, b"c")]


def test_retry_that_comes_after_something_new_does_not_hide_it() -> None:
    world = World()
    sent = batch(b"a", producer=7, sequence=0)
    world.append(sent)

    appended = world.append(batch(b"new"), sent)

    assert (appended.base_offset, appended.end_offset) == (1, 2)
    assert values_in(world.log) == [(0, b"a"), (1, b"new")]


def test_batches_of_one_producer_in_one_call_must_follow_each_other() -> None:
    world = World()

    with pytest.raises(OutOfOrderSequenceError):
        world.append(
            batch(b"a", producer=7, sequence=0),
            batch(b"b", producer=7, sequence=5),
        )

    assert world.log.log_end_offset == 0
    world.append(
        batch(b"a", producer=7, sequence=0),
        batch(b"b", producer=7, sequence=1),
    )
    assert world.log.log_end_offset == 2


def test_control_batch_without_a_marker_is_refused_and_nothing_appended() -> None:
    world = World()
    plain = batch(b"not a marker", producer=7)
    header = plain.header._replace(attributes=plain.header.attributes | CONTROL_BIT)

    with pytest.raises(InvalidRecordError, match="a transaction marker has"):
        world.append(batch(), with_header(header, plain.view[HEADER_BYTES:]))

    assert world.log.log_end_offset == 0
    world.append(batch(b"good"))
    assert values_in(world.log) == [(0, b"good")]
    assert len(world.content(0, ".log")) == len(batch(b"good").view)


# --- The follower ------------------------------------------------------------------------------


def test_follower_keeps_offsets_and_epochs() -> None:
    world = World()
    sent = [stamped(batch(b"a", b"b"), 0, 3), stamped(batch(b"c"), 2, 5)]

    end = world.log.append_replicated(sent, now_ms=NOW_MS)

    assert end == 3
    assert [bytes(stored.view) for stored in batches_in(world.log)] == [
        bytes(original.view) for original in sent
    ]
    assert world.epochs() == [(3, 0), (5, 2)]


@pytest.mark.parametrize("offset", [1, 5])
def test_follower_refuses_what_does_not_follow_on(offset: int) -> None:
    world = World()
    world.append(batch(b"a", b"b"))

    with pytest.raises(OffsetOutOfRangeError, match="goes on at offset 2"):
        world.log.append_replicated([stamped(batch(), offset, 1)], now_ms=NOW_MS)

    assert world.log.log_end_offset == 2


def test_follower_rolls_between_batches_of_one_call() -> None:
    world = World(segment_bytes=300)
    sent = [stamped(batch(b"x" * 150), offset, 1) for offset in range(6)]

    world.log.append_replicated(sent, now_ms=NOW_MS)

    assert world.segment_bases() == [0, 1, 2, 3, 4, 5]
    assert [offset for offset, _ in values_in(world.log)] == [0, 1, 2, 3, 4, 5]


def test_follower_learns_the_producers() -> None:
    leader, follower = World(), World()
    leader.append(batch(b"a", producer=7, sequence=0))
    follower.log.append_replicated(list(batches_in(leader.log)), now_ms=NOW_MS)

    again = follower.log.append(
        [batch(b"a", producer=7, sequence=0)], leader_epoch=LeaderEpoch(2), now_ms=NOW_MS
    )

    assert again.duplicate
    assert again.base_offset == Offset(0)
