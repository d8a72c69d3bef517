"""One read of one partition for a consumer: committed batches, from wherever they are.

What is in the page cache is read on the event loop, which takes microseconds. What is not would
stall everybody for as long as the disk takes, so the log says "would wait" and the same read is
done again on a thread. A consumer that reads old data is slow; those who read the newest are not.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

from ottla.cluster.partition import Partition
from ottla.cluster.produce import LedPartitions
from ottla.cluster.services import PartitionFetched
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition


class ReadLimits(NamedTuple):
    """How much one read may return."""

    max_bytes: int
    minimum_one: bool
    """Return a batch even if it is larger than ``max_bytes``."""


class ConsumerReader:
    """Reads from the partitions that this broker leads."""

    def __init__(self, partitions: LedPartitions, *, readers: Executor) -> None:
        """Read on the threads of ``readers`` what has to wait for the disk."""
        self._partitions = partitions
        self._readers = readers

    def committed_end(self, topic_partition: TopicPartition) -> Offset:
        """Return up to where consumers may read; raises what :meth:`read_cached` raises."""
        return self._partitions.led(topic_partition).served_high_watermark

    async def read(
        self,
        topic_partition: TopicPartition,
        offset: Offset,
        leader_epoch: LeaderEpoch | None,
        limits: ReadLimits,
    ) -> PartitionFetched:
        """Read committed batches from ``offset``; does not wait if they are in memory.

        Nothing committed at ``offset`` yet gives an empty result.

        Raises:
            UnknownTopicOrPartitionError, NotLeaderOrFollowerError: not here.
            FencedLeaderEpochError, UnknownLeaderEpochError: ``leader_epoch`` is not ours.
            OffsetNotAvailableError: a new leader does not know yet what is committed.
            OffsetOutOfRangeError: ``offset`` is outside the log.
            StorageError: the disk failed.
        """
        partition = self._partitions.led(topic_partition)
        partition.check_leader_epoch(leader_epoch)
        high_watermark = partition.served_high_watermark
        read_log = partial(
            partition.log.read,
            offset,
            max_bytes=limits.max_bytes,
            minimum_one=limits.minimum_one,
            end_offset=high_watermark,
        )
        read = read_log(cached_only=True)
        if read is None:
            read = await asyncio.get_running_loop().run_in_executor(self._readers, read_log)
            assert read is not None, "a read that may wait does not give up"
        return _fetched(partition, offset, read.records, read.next_offset, high_watermark)


def _fetched(
    partition: Partition,
    offset: Offset,
    records: bytes | memoryview,
    next_offset: int,
    high_watermark: Offset,
) -> PartitionFetched:
    if records:
        partition.instruments.fetched(len(records))
    return PartitionFetched(
        partition.topic_partition,
        offset,
        records,
        # Past what was asked for, even if a batch in the middle of which it lies is the last.
        Offset(max(offset, next_offset)),
        high_watermark,
        partition.log.last_stable_offset(high_watermark),
        partition.log.log_start_offset,
        partition.settings.log.timestamp_type,
    )
