"""The end of a history: is everything there that was promised, once, and in order?

Everything has healed and all replicas agree. What is in the logs now is held against what
producers were told and what consumers saw on the way.
"""

from __future__ import annotations

from collections.abc import Sequence

from ottla.model.ids import Offset, TopicPartition
from ottla.record.batch import RecordBatch, split_batches
from ottla.record.records import iterate_records
from ottla.simulation.history import PartitionHistory
from ottla.simulation.world import Violation
from ottla.storage.log import PartitionLog

READ_BYTES: int = 1 << 20


def values_of(batch: RecordBatch) -> list[tuple[Offset, bytes]]:
    """Return the offsets and values of a batch."""
    base_offset = batch.header.base_offset
    return [
        (Offset(base_offset + number), record.value or b"")
        for number, record in enumerate(iterate_records(batch))
    ]


def read_whole_log(log: PartitionLog) -> list[RecordBatch]:
    """Return all batches of a log."""
    batches: list[RecordBatch] = []
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        read = log.read(offset, max_bytes=READ_BYTES, end_offset=log.log_end_offset)
        assert read is not None
        batches += split_batches(read.records)
        offset = Offset(read.next_offset)
    return batches


def check_partition(
    topic_partition: TopicPartition,
    history: PartitionHistory,
    logs: Sequence[PartitionLog],
) -> None:
    """Raise :exc:`Violation` unless the replicas' logs are what clients were promised."""
    start_offset = max(log.log_start_offset for log in logs)
    contents = [
        b"".join(b.view for b in read_whole_log(log) if b.header.base_offset >= start_offset)
        for log in logs
    ]
    if any(content != contents[0] for content in contents):
        raise Violation("ReplicasAreEqual", f"the logs of {topic_partition} differ: {logs}")
    values: dict[Offset, bytes] = {}
    for batch in read_whole_log(logs[0]):
        values.update(values_of(batch))
    values = {offset: value for offset, value in values.items() if offset >= start_offset}
    _check_offsets(topic_partition, history, values, start_offset)
    _check_order(topic_partition, history, values)


def _check_offsets(
    topic_partition: TopicPartition,
    history: PartitionHistory,
    values: dict[Offset, bytes],
    start_offset: Offset,
) -> None:
    for value, offset in history.acknowledged.items():
        if offset >= start_offset and values.get(offset) != value:
            where = [at for at, other in values.items() if other == value]
            raise Violation(
                "NoLostWrite",
                f"{value!r} was acknowledged at {offset} of {topic_partition}; there is "
                f"{values.get(offset)!r} now, and {value!r} is at {where}",
            )
    for offset, value in history.seen.items():
        if offset >= start_offset and values.get(offset) != value:
            raise Violation(
                "ConsistentOffsets",
                f"{value!r} was read at {offset} of {topic_partition}, where "
                f"{values.get(offset)!r} is now",
            )
    for offset, value in values.items():
        if offset >= history.skipped_to and history.seen.get(offset) != value:
            raise Violation(
                "NothingUnseen", f"{value!r} at {offset} of {topic_partition} was never read"
            )


def _check_order(
    topic_partition: TopicPartition, history: PartitionHistory, values: dict[Offset, bytes]
) -> None:
    """A value is there once, and values of one producer are in the order of their sending."""
    seen: set[bytes] = set()
    latest: dict[bytes, int] = {}
    for offset, value in sorted(values.items()):
        if value in history.perhaps_twice:
            continue
        if value in seen:
            raise Violation("NoDuplicate", f"{value!r} is in {topic_partition} twice")
        seen.add(value)
        producer, _, number = value.partition(b":")
        if int(number) <= latest.get(producer, -1):
            raise Violation("NoReorder", f"{value!r} at {offset} of {topic_partition} is late")
        latest[producer] = int(number)
