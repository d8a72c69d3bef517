"""A partition of ``__consumer_offsets``, as the coordinator uses it that leads it in one epoch.

It appends records, says up to where they are committed, reads them back, and deletes what it does
not need any more. Nobody else appends to the partition: clients are refused.

The coordinator's right ends with the epoch. A partition that this broker leads again, in a later
one, may have got records from another leader in between, of which a machine that was loaded before
knows nothing. So every step looks whether the epoch is still the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final, NamedTuple

from ottla.cluster.offsets import RemoveLater
from ottla.cluster.partition import Partition
from ottla.coordinator.effects import GroupRecord
from ottla.model.errors import (
    CoordinatorNotAvailableError,
    CorruptMessageError,
    NotCoordinatorError,
    NotEnoughReplicasError,
    OttlaError,
    StorageError,
)
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition
from ottla.model.limits import BATCH_BYTES_MAX, GROUP_LOG_READ_BYTES
from ottla.record.batch import RecordBatch, crc_matches, split_batches
from ottla.record.builder import BatchBuilder
from ottla.record.records import iterate_records
from ottla.replication.leader import ACKS_ALL
from ottla.runtime.clock import Clock
from ottla.runtime.purgatory import Outcome, Purgatory


class LoggedValue(NamedTuple):
    """What a record says of its key."""

    value: bytes | None
    timestamp_ms: int


class LogPiece(NamedTuple):
    """What some records say in the end, and where to read on."""

    latest: Mapping[bytes, LoggedValue]
    """By key, in the order of the last records of each."""
    record_count: int
    next_offset: Offset


class GroupLogContext(NamedTuple):
    """What the group logs of one broker have in common."""

    commits: Purgatory[TopicPartition]
    readers: Executor
    """For reads that wait for the disk, and for decoding."""
    clock: Clock
    remove_later: RemoveLater


class GroupLog:
    """The log of one shard, in one leader epoch. Used on the event loop."""

    def __init__(self, partition: Partition, context: GroupLogContext) -> None:
        """Use ``partition``, which this broker leads."""
        self._partition: Final = partition
        self._context: Final = context
        self.leader_epoch: Final[LeaderEpoch] = partition.leader.leader_epoch

    def __repr__(self) -> str:
        return f"<GroupLog {self.topic_partition} in epoch {self.leader_epoch}>"

    @property
    def topic_partition(self) -> TopicPartition:
        """Whose log it is."""
        return self._partition.topic_partition

    @property
    def is_ours(self) -> bool:
        """Whether this broker still leads, in the same epoch."""
        partition = self._partition
        return partition.is_leader and partition.leader.leader_epoch == self.leader_epoch

    @property
    def start_offset(self) -> Offset:
        """Where reading begins."""
        return self._partition.log.log_start_offset

    @property
    def end_offset(self) -> Offset:
        """Exclusive end of what was appended."""
        return self._partition.log.log_end_offset

    @property
    def committed_offset(self) -> Offset:
        """Exclusive end of what is known to be committed."""
        return self._partition.high_watermark

    def check_ours(self) -> None:
        """Raise :exc:`NotCoordinatorError` unless :attr:`is_ours`."""
        if not self.is_ours:
            raise NotCoordinatorError(
                f"this broker leads {self.topic_partition} no more in epoch {self.leader_epoch}; "
                "find the coordinator again"
            )

    def check_writable(self) -> None:
        """Raise unless the next append is going to be taken, as far as can be known.

        Raises:
            NotCoordinatorError: the epoch is over.
            CoordinatorNotAvailableError: too few replicas are in sync, or the disk failed.
        """
        self.check_ours()
        try:
            self._partition.check_can_append(ACKS_ALL)
        except (NotEnoughReplicasError, StorageError) as error:
            raise CoordinatorNotAvailableError(
                f"{self.topic_partition}, the log of this group, takes no records: {error}"
            ) from error

    @property
    def is_writable(self) -> bool:
        """Whether :meth:`check_writable` has nothing to say."""
        try:
            self.check_writable()
        except OttlaError:
            return False
        return True

    # --- Writing ---

    def append(self, records: Sequence[GroupRecord]) -> None:
        """Append ``records``, all or none. They are committed later.

        They make one batch unless they are too large for that.

        Raises:
            NotCoordinatorError: the epoch is over.
            OttlaError: the log did not take them.
        """
        self.check_ours()
        batches = _batches(records, timestamp_ms=self._context.clock.wall_ms())
        self._partition.append(batches, acks=ACKS_ALL)

    def when_committed(
        self, *, end_offset: Offset, timeout_ms: int, done: Callable[[Outcome | OttlaError], None]
    ) -> None:
        """Call ``done`` when everything below ``end_offset`` is committed, or will not be in time.

        Like :meth:`Purgatory.watch`, and raises as it does.
        """
        self._context.commits.watch(
            ((self.topic_partition, end_offset),),
            deadline_ms=self._context.clock.now_ms() + timeout_ms,
            done=done,
        )

    async def wait_committed(self, *, end_offset: Offset, timeout_ms: int) -> None:
        """Wait until everything below ``end_offset`` is committed.

        Raises:
            CoordinatorNotAvailableError: it was not in time.
            OttlaError: it never will be.
        """
        if self.committed_offset >= end_offset:
            return
        outcome = await self._context.commits.wait(
            ((self.topic_partition, end_offset),),
            deadline_ms=self._context.clock.now_ms() + timeout_ms,
        )
        if outcome is Outcome.EXPIRED:
            raise CoordinatorNotAvailableError(
                f"records in {self.topic_partition} were not committed within {timeout_ms} ms"
            )

    def delete_before(self, offset: Offset) -> None:
        """Forget what lies below ``offset``, which is committed.

        Raises:
            NotCoordinatorError: the epoch is over.
            StorageError: the disk failed.
        """
        self.check_ours()
        removed = self._partition.delete_records_before(offset)
        if removed:
            delay_ms = self._partition.settings.log.file_delete_delay_ms
            self._context.remove_later(removed, delay_ms)

    # --- Reading ---

    async def read(self, offset: Offset) -> LogPiece:
        """Read and decode some records from ``offset``; none only at the end of the log.

        Beyond what is committed, too: everything in the log of a leader will be, or it does not
        remain the leader.

        Raises:
            NotCoordinatorError: the epoch is over.
            CorruptMessageError, InvalidRecordError: the log is damaged.
            OffsetOutOfRangeError: ``offset`` was deleted.
            StorageError: the disk failed.
        """
        self.check_ours()
        end_offset = self.end_offset
        if offset >= end_offset:
            return LogPiece({}, 0, offset)
        return await asyncio.get_running_loop().run_in_executor(
            self._context.readers, partial(self._read, offset, end_offset)
        )

    def _read(self, offset: Offset, end_offset: Offset) -> LogPiece:
        read = self._partition.log.read(
            offset, max_bytes=GROUP_LOG_READ_BYTES, end_offset=end_offset
        )
        assert read is not None, "a read that may wait does not give up"
        latest: dict[bytes, LoggedValue] = {}
        count = 0
        for batch in split_batches(read.records):
            if _checked(batch).header.is_control:
                continue
            for record in iterate_records(batch):
                if record.offset >= offset and record.key is not None:
                    count += 1
                    latest.pop(record.key, None)
                    latest[record.key] = LoggedValue(record.value, record.timestamp_ms)
        return LogPiece(latest, count, Offset(read.next_offset))


def _checked(batch: RecordBatch) -> RecordBatch:
    if not crc_matches(batch):
        raise CorruptMessageError(
            f"the batch at offset {batch.header.base_offset} does not have its checksum"
        )
    return batch


def _batches(records: Sequence[GroupRecord], *, timestamp_ms: int) -> list[RecordBatch]:
    """Make batches of records; :exc:`MessageTooLargeError` if one is too large by itself."""
    built: list[RecordBatch] = []
    builder = BatchBuilder(size_bytes_max=BATCH_BYTES_MAX)
    for record in records:
        added = builder.try_append(key=record.key, value=record.value, timestamp_ms=timestamp_ms)
        if added is None:
            built += split_batches(builder.build())
            builder = BatchBuilder(size_bytes_max=BATCH_BYTES_MAX)
            builder.append(key=record.key, value=record.value, timestamp_ms=timestamp_ms)
    return [*built, *split_batches(builder.build())]
