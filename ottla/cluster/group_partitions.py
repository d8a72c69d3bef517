"""Which partition of ``__consumer_offsets`` a group belongs to; its leader coordinates the group.

As in Kafka, so that its tools find a group's records: the hash of the id as Java computes it, its
absolute value, modulo the number of partitions. So that number must never change.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ottla.model.ids import TopicPartition
from ottla.model.image import ClusterImage
from ottla.model.topic_names import CONSUMER_OFFSETS

_HASHES_REMEMBERED: Final = 4096
_INT32_MIN: Final = -(2**31)


def group_partition(group_id: str, image: ClusterImage) -> TopicPartition | None:
    """Return the partition that ``group_id`` belongs to; ``None`` while there is none at all."""
    topic = image.topics.get(CONSUMER_OFFSETS)
    if topic is None:
        return None
    return TopicPartition(CONSUMER_OFFSETS, partition_number(group_id, len(topic.partitions)))


def partition_number(group_id: str, count: int) -> int:
    """Return which of ``count`` partitions ``group_id`` belongs to."""
    value = java_hash_code(group_id)
    return 0 if value == _INT32_MIN else abs(value) % count


@lru_cache(_HASHES_REMEMBERED)
def java_hash_code(text: str) -> int:
    """Return ``String.hashCode()`` of Java, which counts UTF-16 code units."""
    value = 0
    units = text.encode("utf-16-be", "surrogatepass")
    for high, low in zip(units[::2], units[1::2], strict=True):
        value = (31 * value + (high << 8 | low)) & 0xFFFFFFFF
    return value - 2**32 if value >= 2**31 else value
