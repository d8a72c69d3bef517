"""What a consumer hands out."""

from __future__ import annotations

from typing import Any, NamedTuple

from ottla.model.ids import TopicPartition
from ottla.record.batch import TimestampType


class ConsumerRecord(NamedTuple):
    """One record and its place in the log."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    """Milliseconds since 1970; -1 if the producer gave none."""

    timestamp_type: TimestampType
    """Whether the producer stamped the record, or the broker when it appended it."""

    key: Any
    """``bytes`` or ``None``, or what ``key_deserializer`` made of the bytes."""

    value: Any
    """``bytes`` or ``None``, or what ``value_deserializer`` made of the bytes."""

    headers: tuple[tuple[str, bytes | None], ...]
    """In the producer's order; names may repeat."""

    @property
    def topic_partition(self) -> TopicPartition:
        """Topic and partition as one value."""
        return TopicPartition(self.topic, self.partition)

    @property
    def timestamp(self) -> int:
        """``timestamp_ms`` under the name that other Python clients give it."""
        return self.timestamp_ms


class OffsetAndTimestamp(NamedTuple):
    """Where a search by time ended."""

    offset: int
    timestamp_ms: int
    """Of the record at ``offset``."""
