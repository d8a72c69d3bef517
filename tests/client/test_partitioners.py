"""A key goes to the partition where the Java client sends it, and keyless records take turns."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from aiokafka.partitioner import murmur2 as murmur2_of_aiokafka
from hypothesis import given
from hypothesis import strategies as st

from ottla.client.partitioners import murmur2, next_sticky_partition, partition_for_key

# From Kafka's own UtilsTest.testMurmur2, as the signed integers that Java prints.
KNOWN_HASHES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "java_hash"), KNOWN_HASHES.items())
def test_murmur2_agrees_with_the_java_client(key: bytes, java_hash: int) -> None:
    assert murmur2(key) == java_hash & 0xFFFFFFFF


@given(st.binary(max_size=300))
def test_murmur2_agrees_with_an_independent_implementation(key: bytes) -> None:
    assert murmur2(key) == murmur2_of_aiokafka(key)


@given(st.binary(max_size=300), st.integers(1, 1000))
def test_key_goes_to_its_hash_without_the_sign_modulo_the_partitions(
    key: bytes, partitions: int
) -> None:
    assert partition_for_key(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


def test_next_partition_for_keyless_records_is_another_one() -> None:
    source = random.Random(1)

    chosen = [next_sticky_partition(2, range(6), range(6), source) for _ in range(200)]

    assert set(chosen) == {0, 1, 3, 4, 5}


def test_every_other_partition_is_equally_likely_to_be_next() -> None:
    source = random.Random(1)

    counts = Counter(next_sticky_partition(0, range(4), range(4), source) for _ in range(3000))

    assert all(900 < counts[partition] < 1100 for partition in (1, 2, 3))


def test_partition_without_a_leader_is_left_out() -> None:
    source = random.Random(1)

    chosen = {next_sticky_partition(0, [0, 3], range(6), source) for _ in range(50)}

    assert chosen == {3}


def test_only_partition_stays() -> None:
    assert next_sticky_partition(0, [0], range(1), random.Random(1)) == 0


def test_without_any_leader_records_wait_at_any_partition() -> None:
    assert next_sticky_partition(-1, [], range(3), random.Random(1)) in range(3)
