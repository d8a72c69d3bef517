"""A segment is closed when it is full, old, or its indexes can take no more; then it is whole."""

from __future__ import annotations

from struct import iter_unpack

from ottla.model.ids import LeaderEpoch, Offset
from ottla.storage.segment_indexes import Span
from tests.storage.world import DIRECTORY, NOW_MS, World, batch, values_in

HOUR_MS = 3_600_000


def test_batch_that_does_not_fit_goes_to_a_new_segment() -> None:
    size = len(batch(b"x" * 100).view)
    world = World(segment_bytes=3 * size)

    world.append_each(7, size=100)

    assert world.segment_bases() == [0, 3, 6]
    assert len(world.content(0, ".log")) == 3 * size


def test_segment_takes_records_of_segment_ms_and_no_more() -> None:
    world = World(segment_ms=HOUR_MS)

    world.append(batch(at_ms=NOW_MS))
    world.append(batch(at_ms=NOW_MS + HOUR_MS))
    world.append(batch(at_ms=NOW_MS + HOUR_MS + 1))

    assert world.segment_bases() == [0, 2]


def test_age_goes_by_the_records_and_not_by_the_clock() -> None:
    world = World(segment_ms=HOUR_MS)

    world.append(batch(at_ms=NOW_MS), now_ms=NOW_MS)
    world.append(batch(at_ms=NOW_MS), now_ms=NOW_MS + 5 * HOUR_MS)

    assert world.segment_bases() == [0]


def test_age_goes_by_the_clock_where_records_have_no_time() -> None:
    world = World(segment_ms=HOUR_MS)

    world.append(batch(at_ms=-1), now_ms=NOW_MS + HOUR_MS)
    world.append(batch(at_ms=-1), now_ms=NOW_MS + HOUR_MS + 1)

    assert world.segment_bases() == [0, 1]


def test_age_of_a_segment_is_known_after_a_restart() -> None:
    world = World(segment_ms=HOUR_MS)
    world.append(batch(at_ms=NOW_MS))
    world.restart()

    world.append(batch(at_ms=NOW_MS + HOUR_MS + 1))

    assert world.segment_bases() == [0, 1]


def test_age_of_a_truncated_segment_goes_by_its_new_first_record() -> None:
    world = World(segment_ms=HOUR_MS)
    world.append(batch(at_ms=NOW_MS))
    world.append(batch(at_ms=NOW_MS))
    world.log.truncate_to(Offset(0), now_ms=NOW_MS)

    world.append(batch(at_ms=NOW_MS + 5 * HOUR_MS))
    world.append(batch(at_ms=NOW_MS + 6 * HOUR_MS))

    assert world.segment_bases() == [0]


def test_full_offset_index_closes_the_segment() -> None:
    world = World(index_interval_bytes=0, segment_index_bytes=5 * 8)

    world.append_each(20)

    # The first batch of a segment has no entry.
    assert world.segment_bases() == [0, 6, 12, 18]


def test_full_time_index_closes_the_segment() -> None:
    world = World(index_interval_bytes=0, segment_index_bytes=4 * 12)

    for number in range(12):
        world.append(batch(at_ms=NOW_MS + number))

    # Three entries, and one that closing the segment adds.
    assert world.segment_bases() == [0, 4, 8]


def test_segment_ends_before_its_offsets_need_more_than_31_bits() -> None:
    world = World()
    world.log.start_at(Offset(10), now_ms=NOW_MS)
    world.append(batch())
    last = 10 + 2**31 - 1

    def has_room_up_to(offset: int) -> bool:
        segment = world.log._state.segments.active
        return segment.has_room_for(Span(offset, 70, NOW_MS), now_ms=0, config=world.config)

    assert has_room_up_to(last)
    assert not has_room_up_to(last + 1)


def test_idle_segment_is_closed_when_its_time_has_come() -> None:
    world = World(segment_ms=HOUR_MS)
    world.append(batch())

    assert not world.log.roll_if_due(now_ms=NOW_MS + HOUR_MS)
    assert world.log.roll_if_due(now_ms=NOW_MS + HOUR_MS + 1)
    assert not world.log.roll_if_due(now_ms=NOW_MS + 9 * HOUR_MS)
    assert world.segment_bases() == [0, 1]


def test_segment_without_records_is_not_closed() -> None:
    world = World()

    assert not world.log.roll(now_ms=NOW_MS)
    assert world.segment_bases() == [0]


def test_new_settings_hold_from_the_next_append() -> None:
    world = World()
    world.append_each(5)

    world.log.reconfigure(World(segment_bytes=100).config)
    world.append_each(2)

    assert world.segment_bases() == [0, 5, 6]


def test_closed_segment_has_its_indexes_and_a_snapshot_at_its_end() -> None:
    world = World(segment_bytes=1_000, index_interval_bytes=200)
    world.append_each(20)
    end = world.segment_bases()[1]

    names = world.disk.list(DIRECTORY)

    for suffix in (".log", ".index", ".timeindex"):
        assert world.file(0, suffix).name in names
    assert world.file(end, ".snapshot").name in names
    assert world.file(0, ".txnindex").name not in names


def test_entry_of_the_offset_index_is_last_offset_and_position_of_a_batch() -> None:
    world = World(segment_bytes=1_000, index_interval_bytes=200)
    size = len(batch(b"x", b"y").view)
    for _ in range(20):
        world.append(batch(b"x", b"y"))

    entries = list(iter_unpack(">ii", world.content(0, ".index")))

    # Due at the first batch that begins more than 200 bytes after the one of the last entry ends.
    every = 200 // size + 1
    first = [number for number in range(1, 1_000 // size) if number % every == 0]
    assert entries == [(2 * number + 1, number * size) for number in first]


def test_time_index_ends_with_the_largest_timestamp() -> None:
    world = World(index_interval_bytes=100_000)
    for at_ms in (5, 90, 30):
        world.append(batch(at_ms=at_ms))
    world.log.roll(now_ms=NOW_MS)

    assert list(iter_unpack(">qi", world.content(0, ".timeindex"))) == [(90, 1)]


def test_time_index_has_rising_timestamps_only() -> None:
    world = World(index_interval_bytes=0)
    for at_ms in (10, 20, 15, 20, 40, 1):
        world.append(batch(at_ms=at_ms))
    world.log.roll(now_ms=NOW_MS)

    assert list(iter_unpack(">qi", world.content(0, ".timeindex"))) == [(20, 1), (40, 4)]


def test_rolled_log_reads_as_before() -> None:
    world = World()
    world.append_each(3)
    before = values_in(world.log)

    assert world.log.roll(now_ms=NOW_MS)

    assert values_in(world.log) == before
    assert world.log.append([batch()], leader_epoch=LeaderEpoch(1), now_ms=NOW_MS).base_offset == 3
