"""The log knows which transactions are open, and which were aborted where."""

from __future__ import annotations

from struct import unpack

from ottla.model.ids import Offset
from ottla.storage.transaction_index import AbortedTransaction
from tests.storage.world import NOW_MS, World, batch, marker


def aborted(world: World, start: int, end: int) -> list[AbortedTransaction]:
    return world.log.aborted_transactions(start_offset=Offset(start), end_offset=Offset(end))


def begin(world: World, producer: int) -> None:
    world.append(batch(b"t", producer=producer, transactional=True))


def test_open_transaction_holds_the_last_stable_offset_back() -> None:
    world = World()
    world.append_each(2)
    begin(world, producer=7)
    world.append_each(2)

    assert world.log.last_stable_offset(Offset(5)) == 2
    world.append(marker(producer=7, aborted=False))
    assert world.log.last_stable_offset(Offset(5)) == 2  # the marker is not committed yet
    assert world.log.last_stable_offset(Offset(6)) == 6


def test_last_stable_offset_is_never_beyond_the_high_watermark() -> None:
    world = World()
    world.append_each(5)

    assert world.log.last_stable_offset(Offset(3)) == 3


def test_aborted_transaction_is_listed_where_it_has_records() -> None:
    world = World()
    world.append_each(2)
    begin(world, producer=7)
    world.append(marker(producer=7, aborted=True))
    world.append_each(5)

    expected = AbortedTransaction(7, first_offset=2, last_offset=3, last_stable_offset=4)
    assert aborted(world, 0, 9) == [expected]
    assert aborted(world, 3, 9) == [expected]
    assert aborted(world, 0, 2) == []
    assert aborted(world, 4, 9) == []


def test_committed_transaction_is_not_listed() -> None:
    world = World()
    begin(world, producer=7)
    world.append(marker(producer=7, aborted=False))

    assert aborted(world, 0, 9) == []


def test_transactions_are_listed_by_their_first_offsets_across_segments() -> None:
    world = World()
    begin(world, producer=7)
    begin(world, producer=8)
    world.log.roll(now_ms=NOW_MS)
    world.append(marker(producer=8, aborted=True))
    world.log.roll(now_ms=NOW_MS)
    world.append(marker(producer=7, aborted=True))
    world.restart()

    assert [entry.producer_id for entry in aborted(world, 0, 2)] == [7, 8]
    assert [entry.last_stable_offset for entry in aborted(world, 0, 2)] == [4, 0]


def test_transaction_index_is_kafkas() -> None:
    world = World()
    begin(world, producer=7)
    world.append(marker(producer=7, aborted=True))
    world.log.roll(now_ms=NOW_MS)

    content = world.content(0, ".txnindex")

    # Version, producer id, first offset, offset of the marker, last stable offset.
    assert unpack(">hqqqq", content) == (0, 7, 0, 1, 2)


def test_truncated_marker_leaves_the_transaction_open_again() -> None:
    world = World()
    begin(world, producer=7)
    world.append(marker(producer=7, aborted=True))

    world.log.truncate_to(Offset(1), now_ms=NOW_MS)

    assert aborted(world, 0, 9) == []
    assert world.log.last_stable_offset(Offset(1)) == 0
    world.append(marker(producer=7, aborted=True))
    assert [entry.first_offset for entry in aborted(world, 0, 9)] == [0]
