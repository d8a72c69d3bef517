"""Lookup by time finds the first record at or after it, and the latest record of all."""

from __future__ import annotations

from random import Random

import pytest

from ottla.model.ids import Offset
from ottla.record.compression import Codec
from tests.storage.world import NOW_MS, World, batch, batch_at

END = Offset(1 << 60)


def first_after(world: World, timestamp_ms: int, end_offset: int = END) -> tuple[int, int] | None:
    found = world.log.offset_for_timestamp(timestamp_ms, end_offset=Offset(end_offset))
    return None if found is None else (found.offset, found.timestamp_ms)


def latest(world: World, end_offset: int = END) -> tuple[int, int] | None:
    found = world.log.record_with_max_timestamp(end_offset=Offset(end_offset))
    return None if found is None else (found.offset, found.timestamp_ms)


@pytest.mark.parametrize("codec", list(Codec))
def test_record_inside_a_batch_is_found_exactly(codec: Codec) -> None:
    world = World()
    world.append(batch_at([(b"x" * 50, at) for at in (10, 20, 30)], codec=codec))
    world.append(batch_at([(b"x" * 50, at) for at in (40, 50, 60)], codec=codec), epoch=4)

    assert first_after(world, 0) == (0, 10)
    assert first_after(world, 20) == (1, 20)
    assert first_after(world, 21) == (2, 30)
    assert first_after(world, 45) == (4, 50)
    assert first_after(world, 61) is None
    found = world.log.offset_for_timestamp(45, end_offset=END)
    assert found is not None
    assert found.leader_epoch == 4


def test_record_out_of_order_is_found_where_it_is() -> None:
    world = World()
    world.append(batch_at([(b"", 50), (b"", 90), (b"", 20)]))

    assert first_after(world, 60) == (1, 90)
    assert latest(world) == (1, 90)


def test_first_of_equal_timestamps_is_found() -> None:
    world = World(index_interval_bytes=0)
    for _ in range(5):
        world.append(batch(at_ms=70))

    assert first_after(world, 70) == (0, 70)
    assert latest(world) == (0, 70)


def test_empty_log_has_no_record_at_any_time() -> None:
    world = World()

    assert first_after(world, 0) is None
    assert latest(world) is None


def test_records_without_timestamps_are_found_by_none() -> None:
    world = World()
    world.append(batch(at_ms=-1))

    assert first_after(world, 0) is None
    assert latest(world) is None


def test_records_at_or_beyond_the_end_offset_do_not_exist() -> None:
    world = World()
    for at_ms in (10, 20, 90, 30):
        world.append(batch(at_ms=at_ms))

    assert first_after(world, 50, end_offset=2) is None
    assert first_after(world, 50, end_offset=3) == (2, 90)
    assert latest(world, end_offset=2) == (1, 20)
    assert latest(world, end_offset=4) == (2, 90)


def test_deleted_records_are_not_found() -> None:
    world = World()
    for at_ms in (10, 99, 30):
        world.append(batch(at_ms=at_ms))
    world.log.delete_records_before(Offset(2))

    assert first_after(world, 5) == (2, 30)
    assert latest(world) == (2, 30)


def test_lookup_in_a_large_segment_reads_little_of_it() -> None:
    world = World(index_interval_bytes=4096)
    for number in range(2_000):
        world.append(batch(b"x" * 500, at_ms=NOW_MS + number))
    world.log.roll(now_ms=NOW_MS)
    reads: list[int] = []
    read_node = world.disk.read_node

    def counting(path: object, node: object, position: int, size: int) -> bytes:
        content: bytes = read_node(path, node, position, size)  # type: ignore[arg-type]
        reads.append(len(content))
        return content

    world.disk.read_node = counting  # type: ignore[method-assign]
    assert first_after(world, NOW_MS + 1_500) == (1_500, NOW_MS + 1_500)
    assert sum(reads) < 200_000


@pytest.mark.parametrize("seed", range(6))
def test_every_lookup_agrees_with_a_look_at_all_records(seed: int) -> None:
    random = Random(seed)
    world = World(segment_bytes=random.choice([600, 5_000]), index_interval_bytes=200)
    records: list[int] = []
    for _ in range(80):
        times = [random.randint(0, 300) + len(records) // 2 for _ in range(random.randint(1, 4))]
        world.append(batch_at([(b"v", at_ms) for at_ms in times]))
        records += times
        if random.random() < 0.05:
            world.restart()
    if seed % 2:
        world.kill()
    start = random.randrange(len(records) // 3)
    world.log.delete_records_before(Offset(start))
    ends = [len(records), len(records) * 2 // 3]

    for end in ends:
        found_end = next(
            offset
            for offset in range(end, -1, -1)
            if offset == len(records) or _begins_batch(world, offset)
        )
        alive = [(offset, records[offset]) for offset in range(start, found_end)]
        for timestamp_ms in range(0, 420, 7):
            expected = next((pair for pair in alive if pair[1] >= timestamp_ms), None)
            assert first_after(world, timestamp_ms, found_end) == expected
        expected = max(alive, key=lambda pair: (pair[1], -pair[0]))
        assert latest(world, found_end) == expected


def _begins_batch(world: World, offset: int) -> bool:
    read = world.log.read(Offset(offset), max_bytes=1, end_offset=END)
    assert read is not None
    return read.base_offset == offset
