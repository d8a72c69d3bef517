"""A read returns whole batches from the one that holds the offset, within its bounds."""

from __future__ import annotations

from random import Random
from struct import iter_unpack, pack

import pytest

from ottla.model.errors import OffsetOutOfRangeError
from ottla.model.ids import Offset
from ottla.record.batch import split_batches
from tests.storage.world import EVERYTHING, NOW_MS, World, batch, batches_in, values_in

END = Offset(1 << 60)


def offsets_read(
    world: World,
    offset: int,
    *,
    max_bytes: int = EVERYTHING,
    end_offset: int = END,
    minimum_one: bool = True,
) -> list[tuple[int, int]]:
    """Read once; return (base offset, last offset) of each batch."""
    read = world.log.read(
        Offset(offset),
        max_bytes=max_bytes,
        end_offset=Offset(end_offset),
        minimum_one=minimum_one,
    )
    assert read is not None
    batches = split_batches(read.records)
    if batches:
        assert read.base_offset == batches[0].header.base_offset
        assert read.next_offset == batches[-1].header.next_offset
    else:
        assert read.next_offset == offset
    return [(each.header.base_offset, each.header.last_offset) for each in batches]


@pytest.fixture
def world() -> World:
    """Batches 0-1, 2-4, 5-5 and 6-9 in one segment."""
    world = World()
    for count in (2, 3, 1, 4):
        world.append(batch(*[b"v"] * count))
    return world


def test_offset_within_a_batch_gets_the_whole_batch(world: World) -> None:
    assert offsets_read(world, 3) == [(2, 4), (5, 5), (6, 9)]


def test_nothing_of_a_batch_that_reaches_the_end_offset(world: World) -> None:
    assert offsets_read(world, 0, end_offset=6) == [(0, 1), (2, 4), (5, 5)]
    assert offsets_read(world, 0, end_offset=8) == [(0, 1), (2, 4), (5, 5)]
    assert offsets_read(world, 7, end_offset=8) == []


def test_read_at_the_end_is_empty(world: World) -> None:
    assert offsets_read(world, 10) == []
    assert offsets_read(world, 5, end_offset=5) == []


@pytest.mark.parametrize("offset", [-1, 11])
def test_offset_outside_the_log_is_refused(world: World, offset: int) -> None:
    with pytest.raises(OffsetOutOfRangeError, match=r"web-0 is out of range.*from 0 to 10"):
        offsets_read(world, offset)


def test_max_bytes_cut_back_to_whole_batches(world: World) -> None:
    sizes = [len(each.view) for each in batches_in(world.log)]

    assert offsets_read(world, 0, max_bytes=sizes[0] + sizes[1]) == [(0, 1), (2, 4)]
    assert offsets_read(world, 0, max_bytes=sizes[0] + sizes[1] - 1) == [(0, 1)]
    assert offsets_read(world, 0, max_bytes=sum(sizes) - 1) == [(0, 1), (2, 4), (5, 5)]


def test_first_batch_comes_even_if_it_is_larger_than_asked_for(world: World) -> None:
    assert offsets_read(world, 2, max_bytes=1) == [(2, 4)]
    assert offsets_read(world, 2, max_bytes=0) == [(2, 4)]


def test_first_batch_does_not_come_if_not_even_one_is_wanted(world: World) -> None:
    assert offsets_read(world, 2, max_bytes=70, minimum_one=False) == []
    assert offsets_read(world, 2, max_bytes=1, minimum_one=False) == []


def test_read_goes_on_in_the_next_segment() -> None:
    world = World(segment_bytes=200)
    world.append_each(7)

    assert world.log.segment_count == 4
    assert offsets_read(world, 0) == [(0, 0), (1, 1)]
    assert [offset for offset, _ in values_in(world.log)] == list(range(7))


def test_read_of_cold_bytes_says_so_instead_of_waiting(world: World) -> None:
    world.disk.make_cold(world.file(0, ".log"))

    cold = world.log.read(Offset(0), max_bytes=100, end_offset=END, cached_only=True)
    waiting = world.log.read(Offset(0), max_bytes=100, end_offset=END)
    warm = world.log.read(Offset(0), max_bytes=100, end_offset=END, cached_only=True)

    assert cold is None
    assert warm == waiting


def test_positions_of_before_a_truncation_are_forgotten(world: World) -> None:
    world.log.truncate_to(Offset(2), now_ms=NOW_MS)
    world.append(batch(*[b"v"] * 8))

    assert offsets_read(world, 5) == [(2, 9)]
    assert offsets_read(world, 6) == [(2, 9)]


def test_index_entry_that_points_into_a_record_misleads_nobody() -> None:
    world = World(index_interval_bytes=100)
    for number in range(12):
        hidden = bytes(batch(b"not in the log").view)
        world.append(batch(hidden if number == 6 else b"v" * len(hidden)))
    before = values_in(world.log)
    world.restart()
    log, path = world.content(0, ".log"), world.file(0, ".index")
    inside = log.index(bytes(batch(b"not in the log").view))
    entries = list(iter_unpack(">ii", world.disk.read(path)))
    wrong = [(offset, inside if offset == 6 else position) for offset, position in entries]
    file = world.disk.open(path)
    file.truncate(0)
    file.append([b"".join(pack(">ii", *entry) for entry in wrong)])

    for offset in range(12):
        for max_bytes in (1, 500, 1_300):
            offsets = offsets_read(world, offset, max_bytes=max_bytes)
            assert offsets[0] == (offset, offset)
    assert values_in(world.log, max_bytes=500) == before


def test_reader_never_sees_past_the_end_offset_it_gives(world: World) -> None:
    assert offsets_read(world, 0, end_offset=10_000)[-1] == (6, 9)


@pytest.mark.parametrize("seed", range(5))
def test_every_read_agrees_with_a_walk_over_all_batches(seed: int) -> None:
    random = Random(seed)
    world = World(segment_bytes=random.choice([2_000, 20_000]), index_interval_bytes=300)
    for _ in range(120):
        values = [b"v" * random.randint(0, 60) for _ in range(random.randint(1, 5))]
        world.append(batch(*values))
    if random.random() < 0.5:
        world.restart()
    bases = world.segment_bases()
    batches = list(batches_in(world.log))

    for _ in range(300):
        offset = random.randrange(world.log.log_end_offset)
        max_bytes = random.choice([0, 100, 1_000, 5_000])
        end_offset = random.randint(offset, world.log.log_end_offset)
        segment_end = min([base for base in bases if base > offset], default=END)
        expected: list[tuple[int, int]] = []
        size = 0
        for each in batches:
            header = each.header
            if header.next_offset <= offset:
                continue
            size += len(each.view)
            if header.next_offset > min(end_offset, segment_end) or (size > max_bytes and expected):
                break
            expected.append((header.base_offset, header.last_offset))
        got = offsets_read(world, offset, max_bytes=max_bytes, end_offset=end_offset)
        assert got == expected, (offset, max_bytes, end_offset)
