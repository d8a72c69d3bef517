"""Which partition a record goes to.

Records with a key go where the Java client sends them: murmur2 of the key's bytes, the
sign bit cleared, modulo the number of partitions. Clients in every language agree on this,
so that records with one key meet in one partition whoever sent them -- as long as the number
of partitions does not change.

Records without a key stick to one partition until its batch is full, then move on
(KIP-480): spreading them one by one would fill many small batches slowly instead of few
large ones quickly.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import unpack_from

Partitioner = Callable[[bytes | None, Sequence[int], Sequence[int]], int]
"""``partitioner(key, all_partitions, available_partitions) -> partition``, as in kafka-python and
aiokafka. Called for every record that names no partition; must return a member of
``all_partitions``. ``available_partitions`` are those that have a leader at the moment."""

KEYS_REMEMBERED = 16_384
"""Hashes kept: keys repeat, and a lookup costs a tenth of hashing 16 bytes in Python. At most
some megabytes for keys of ordinary length; longer keys are hashed each time."""

KEY_BYTES_REMEMBERED_MAX = 256

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """Return the 32-bit MurmurHash2 of ``data``, unsigned, with the seed the Java client uses.

    Source: Austin Appleby's MurmurHash2 (public domain), as fixed for Kafka's keys by its Java
    client's default partitioner.
    """
    length = len(data)
    words = length >> 2
    h = _SEED ^ length
    for word in unpack_from(f"<{words}I", data):
        k = (word * _MULTIPLIER) & _MASK
        k = ((k ^ (k >> 24)) * _MULTIPLIER) & _MASK
        h = ((h * _MULTIPLIER) & _MASK) ^ k
    tail = data[words << 2 :]
    if tail:
        h = ((h ^ int.from_bytes(tail, "little")) * _MULTIPLIER) & _MASK
    h = ((h ^ (h >> 13)) * _MULTIPLIER) & _MASK
    return h ^ (h >> 15)


_murmur2_remembered = lru_cache(maxsize=KEYS_REMEMBERED)(murmur2)


def partition_for_key(key: bytes, partition_count: int) -> int:
    """Return the partition that every client's default partitioner gives ``key``."""
    hashed = _murmur2_remembered(key) if len(key) <= KEY_BYTES_REMEMBERED_MAX else murmur2(key)
    return (hashed & 0x7FFFFFFF) % partition_count


def next_sticky_partition(
    previous: int, available: Sequence[int], everyone: Sequence[int], random_source: random.Random
) -> int:
    """Choose where keyless records go next: any partition with a leader but the present one.

    If none has a leader, any of ``everyone``: its records wait until there is one.
    """
    candidates = available or everyone
    if len(candidates) == 1:
        return candidates[0]
    # One draw among all but the last; the last stands in for the one not wanted.
    chosen = candidates[random_source.randrange(len(candidates) - 1)]
    return candidates[-1] if chosen == previous else chosen
