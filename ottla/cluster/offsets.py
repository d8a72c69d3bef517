"""Offsets: find positions in partitions, and delete what lies before one.

Clients see what is committed and nothing else, so every answer lies between the log start and the
high watermark; ``latest`` *is* the high watermark. A look-up by time may have to read indexes and
one batch from the disk, so it runs on a worker thread, beside appends; the end it may look at is
fixed before.

Deleting a prefix raises the log start at once and hides what is below. Whole segments below it go
from the disk later, off the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Final

from ottla.cluster.partition import Partition
from ottla.cluster.produce import LedPartitions, check_partitions
from ottla.cluster.services import (
    EpochToFind,
    OffsetFound,
    OffsetToFind,
    Result,
    SpecialPosition,
)
from ottla.model.errors import (
    OffsetOutOfRangeError,
    OttlaError,
    PolicyViolationError,
    UnsupportedVersionError,
)
from ottla.model.ids import NO_OFFSET, NO_TIMESTAMP_MS, LeaderEpoch, Offset, TopicPartition
from ottla.model.topic_names import INTERNAL_TOPICS
from ottla.storage.leader_epochs import EpochEnd
from ottla.storage.removal import RemovedSegments
from ottla.storage.time_lookup import FoundRecord

HIGH_WATERMARK: Final = Offset(-1)
"""In a request to delete: everything that is committed."""

RemoveLater = Callable[[RemovedSegments, int], None]
"""Give back the files of removed segments, after that many milliseconds and off the event loop."""


class BrokerOffsetsService:
    """See :class:`~ottla.cluster.services.OffsetsService`."""

    def __init__(
        self, partitions: LedPartitions, *, readers: Executor, remove_later: RemoveLater
    ) -> None:
        """Wire it; ``readers`` are the threads for reads that may wait for the disk."""
        self._partitions = partitions
        self._readers = readers
        self._remove_later = remove_later

    async def list_offsets(self, queries: Sequence[OffsetToFind]) -> list[Result[OffsetFound]]:
        """Answer each query.

        Raises:
            InvalidRequestError: too many partitions, or one named twice.
        """
        check_partitions([query.topic_partition for query in queries])
        return [await self._answer(query) for query in queries]

    async def delete_records(
        self, before: Sequence[tuple[TopicPartition, Offset]]
    ) -> list[Result[Offset]]:
        """Delete below each offset; raises as :meth:`list_offsets`."""
        check_partitions([topic_partition for topic_partition, _ in before])
        return [self._delete(topic_partition, offset) for topic_partition, offset in before]

    def end_offsets_of_epochs(
        self, queries: Sequence[EpochToFind]
    ) -> list[Result[EpochEnd | None]]:
        check_partitions([query.topic_partition for query in queries])
        return [self._end_of_epoch(query) for query in queries]

    # --- Finding ---

    async def _answer(self, query: OffsetToFind) -> Result[OffsetFound]:
        try:
            partition = self._partitions.led(query.topic_partition)
            partition.check_leader_epoch(query.leader_epoch)
            return await self._find(partition, query)
        except OttlaError as error:
            return error

    async def _find(self, partition: Partition, query: OffsetToFind) -> OffsetFound:
        log, position = partition.log, query.position
        current_epoch = partition.leader.leader_epoch
        if position is SpecialPosition.EARLIEST:
            # Known even to a new leader that does not know yet how much is committed.
            epoch = log.leader_epochs.epoch_at(log.log_start_offset)
            return OffsetFound(
                log.log_start_offset, NO_TIMESTAMP_MS, current_epoch if epoch is None else epoch
            )
        end_offset = partition.served_high_watermark
        if query.read_committed:
            end_offset = log.last_stable_offset(end_offset)
        if position is SpecialPosition.LATEST:
            return OffsetFound(end_offset, NO_TIMESTAMP_MS, current_epoch)
        if position is SpecialPosition.MAX_TIMESTAMP:
            look_up = partial(log.record_with_max_timestamp, end_offset=end_offset)
        else:
            assert isinstance(position, int), position
            if position < 0:
                raise UnsupportedVersionError(
                    f"{position} is no timestamp; use earliest, latest or max_timestamp for a "
                    "special position, and milliseconds since 1970 for a time"
                )
            look_up = partial(log.offset_for_timestamp, position, end_offset=end_offset)
        found: FoundRecord | None = await asyncio.get_running_loop().run_in_executor(
            self._readers, look_up
        )
        if found is None:
            return OffsetFound(NO_OFFSET, NO_TIMESTAMP_MS, current_epoch)
        return OffsetFound(
            Offset(found.offset), found.timestamp_ms, LeaderEpoch(found.leader_epoch)
        )

    def _end_of_epoch(self, query: EpochToFind) -> Result[EpochEnd | None]:
        try:
            partition = self._partitions.led(query.topic_partition)
            partition.check_leader_epoch(query.leader_epoch)
        except OttlaError as error:
            return error
        log = partition.log
        epoch, end_offset = query.epoch, log.log_end_offset
        current_epoch = partition.leader.leader_epoch
        if not 0 <= epoch <= current_epoch:
            return None
        latest = log.leader_epochs.latest
        if epoch == current_epoch:
            return EpochEnd(epoch, end_offset)
        if latest is None or epoch <= latest.epoch:
            return log.leader_epochs.end_offset_for(epoch, end_offset) or EpochEnd(
                epoch, end_offset
            )
        # Of the epochs since then nothing is in the log, and we have not begun to write: the last
        # one that did ends where the log does.
        return EpochEnd(latest.epoch, end_offset)

    # --- Deleting ---

    def _delete(self, topic_partition: TopicPartition, offset: Offset) -> Result[Offset]:
        try:
            partition = self._partitions.led(topic_partition)
            if topic_partition.topic in INTERNAL_TOPICS:
                raise PolicyViolationError(
                    f"{topic_partition} is the broker's own; it deletes there what it needs no more"
                )
            settings = partition.settings
            if settings.is_compacted and not settings.deletes:
                raise PolicyViolationError(
                    f"{topic_partition} is compacted: records go when others with their keys come; "
                    "add delete to its cleanup.policy to delete them"
                )
            high_watermark = partition.served_high_watermark
            if offset == HIGH_WATERMARK:
                offset = high_watermark
            log = partition.log
            if not 0 <= offset <= high_watermark:
                raise OffsetOutOfRangeError(
                    f"{topic_partition}: offset {offset} is not committed; records below offsets "
                    f"{log.log_start_offset} to {high_watermark} can be deleted"
                )
            if offset > log.log_start_offset:
                removed = partition.delete_records_before(offset)
                if removed:
                    self._remove_later(removed, partition.settings.log.file_delete_delay_ms)
        except OttlaError as error:
            return error
        return partition.log.log_start_offset
