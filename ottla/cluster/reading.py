"""One read of one partition for a consumer: committed batches, from wherever they are.

What is in the page cache is read on the event loop, which takes microseconds. What is not would
stall everybody for as long as the disk takes, so the log says "would wait" and the same read is
done again on a thread. A consumer that reads old data is slow; those who read the newest are not.

A consumer that says so may read from a follower (KIP-392), up to the high watermark that the
follower has heard of. That comes a little later than the leader's, and it is the only difference:

=========================  ===================================================================
the offset asked for is    the answer of a follower
=========================  ===================================================================
below the log start        OFFSET_OUT_OF_RANGE; the leader's log may start earlier, or later
not known to be committed  nothing yet, as at the end of a leader's log
beyond the end of the log  OFFSET_NOT_AVAILABLE: the follower is behind whoever served it before
=========================  ===================================================================
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple, Protocol

from ottla.cluster.log_comparison import divergence
from ottla.cluster.partition import Partition
from ottla.cluster.read_replicas import ReadReplicas
from ottla.cluster.services import PartitionFetched, PartitionToFetch
from ottla.model.errors import (
    FencedLeaderEpochError,
    NotLeaderOrFollowerError,
    OffsetNotAvailableError,
    UnknownLeaderEpochError,
    UnknownTopicIdError,
)
from ottla.model.ids import BrokerId, LeaderEpoch, Offset, TopicPartition
from ottla.runtime.files import Buffer
from ottla.storage.leader_epochs import EpochEnd
from ottla.storage.log import PartitionLog
from ottla.storage.segment_reader import LogRead


class ReadLimits(NamedTuple):
    """How much one read may return."""

    max_bytes: int
    minimum_one: bool
    """Return a batch even if it is larger than ``max_bytes``."""


class ReadablePartitions(Protocol):
    """Where partitions are found; the replica manager is one."""

    @property
    def partitions(self) -> Mapping[TopicPartition, Partition]:
        """Those that are hosted here."""

    def led(self, topic_partition: TopicPartition) -> Partition:
        """Return a partition that this broker leads, or raise why it is not to be had here."""


class ConsumerReader:
    """Reads from the partitions that this broker leads, or follows."""

    def __init__(
        self,
        partitions: ReadablePartitions,
        *,
        readers: Executor,
        replicas: ReadReplicas | None = None,
    ) -> None:
        """Read on the threads of ``readers`` what has to wait for the disk.

        ``replicas`` says where else a reader might read; ``None``: nowhere.
        """
        self._partitions = partitions
        self._readers = readers
        self._replicas = replicas

    def committed_end(self, asked: PartitionToFetch) -> Offset:
        """Return up to where consumers may read; raises what :meth:`read` raises."""
        partition = self._find(asked)
        end = partition.served_high_watermark if partition.is_leader else partition.high_watermark
        return partition.log.last_stable_offset(end) if asked.read_committed else end

    async def read(
        self, asked: PartitionToFetch, offset: Offset, limits: ReadLimits
    ) -> PartitionFetched:
        """Read committed batches from ``offset``; does not wait if they are in memory.

        Nothing committed at ``offset`` yet gives an empty result.

        Raises:
            UnknownTopicOrPartitionError, UnknownTopicIdError, NotLeaderOrFollowerError: not here.
            FencedLeaderEpochError, UnknownLeaderEpochError: the leader epoch is not ours.
            OffsetNotAvailableError: a new leader does not know yet what is committed, or a
                follower does not have what is.
            OffsetOutOfRangeError: ``offset`` is outside the log.
            StorageError: the disk failed.

        Where the reader's records differ from the log, or another replica is preferred and the
        reader goes there, the result says so and is empty.
        """
        partition = self._find(asked)
        preferred: BrokerId | None = None
        if partition.is_leader:
            partition.check_leader_epoch(asked.leader_epoch)
            high_watermark = partition.served_high_watermark
            if self._replicas is not None and asked.rack:
                preferred = self._replicas.preferred(partition, rack=asked.rack, offset=offset)
        else:
            _check_follower(partition, asked.leader_epoch, offset)
            high_watermark = partition.high_watermark
        log = partition.log
        last_stable_offset = log.last_stable_offset(high_watermark)
        diverging: EpochEnd | None = None
        if asked.last_fetched_epoch is not None and offset == asked.offset:
            diverging = divergence(
                log, fetch_offset=offset, last_fetched_epoch=asked.last_fetched_epoch
            )
        records: Buffer = b""
        next_offset = offset
        if diverging is None and (preferred is None or not asked.goes_to_preferred):
            read = await self._read_log(
                log, offset, limits, last_stable_offset if asked.read_committed else high_watermark
            )
            records = read.records
            # Past what was asked for, even if a batch in the middle of which it lies is the last.
            next_offset = Offset(max(offset, read.next_offset))
        if records:
            partition.instruments.fetched(len(records))
        return PartitionFetched(
            partition.topic_partition,
            offset,
            records,
            next_offset,
            high_watermark,
            last_stable_offset,
            log.log_start_offset,
            partition.settings.log.timestamp_type,
            preferred,
            diverging,
        )

    async def _read_log(
        self, log: PartitionLog, offset: Offset, limits: ReadLimits, end_offset: Offset
    ) -> LogRead:
        read_log = partial(
            log.read,
            offset,
            max_bytes=limits.max_bytes,
            minimum_one=limits.minimum_one,
            end_offset=end_offset,
        )
        read = read_log(cached_only=True)
        if read is None:
            read = await asyncio.get_running_loop().run_in_executor(self._readers, read_log)
            assert read is not None, "a read that may wait does not give up"
        return read

    def _find(self, asked: PartitionToFetch) -> Partition:
        partition = self._find_by_name(asked)
        if asked.topic_id is not None and partition.topic_id != asked.topic_id:
            raise UnknownTopicIdError(
                f"no topic has the id {asked.topic_id}; {asked.topic_partition.topic!r}, which had "
                f"it, was created again and is {partition.topic_id} now; ask for metadata again"
            )
        return partition

    def _find_by_name(self, asked: PartitionToFetch) -> Partition:
        try:
            return self._partitions.led(asked.topic_partition)
        except NotLeaderOrFollowerError:
            partition = self._partitions.partitions.get(asked.topic_partition)
            if not asked.from_follower or partition is None or not partition.is_follower:
                raise
            return partition


def _check_follower(partition: Partition, leader_epoch: LeaderEpoch | None, offset: Offset) -> None:
    """Raise unless a follower follows the leader that is meant, and can say what is at ``offset``.

    As :meth:`ConsumerReader.read` does.
    """
    following = partition.following
    assert following is not None, partition
    log_end_offset = partition.log.log_end_offset
    if leader_epoch is not None and leader_epoch < following.leader_epoch:
        raise FencedLeaderEpochError(
            f"{partition.topic_partition} is followed here in epoch {following.leader_epoch}, and "
            f"the request is of epoch {leader_epoch}; ask for metadata again"
        )
    if leader_epoch is not None and leader_epoch > following.leader_epoch:
        raise UnknownLeaderEpochError(
            f"{partition.topic_partition} is followed here in epoch {following.leader_epoch} as "
            f"far as this broker knows, and the request is of epoch {leader_epoch}; try again"
        )
    if partition.is_cutting or offset > log_end_offset:
        raise OffsetNotAvailableError(
            f"this follower of {partition.topic_partition} has what is below {log_end_offset}, and "
            f"offset {offset} is asked for; try again, or ask the leader"
        )
