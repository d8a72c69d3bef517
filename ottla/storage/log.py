"""One partition's log: records in order, numbered by offset, in files.

    log start offset         recovery point           log end offset
    v                        v                        v
    [ whole segments ][ ... ][ .. active segment .... ]
    |<----- survives a crash ------>|<--- may not --->|

The unit of everything is the record batch, as it came from its producer: 61 bytes of header and a
rest that nobody here looks at. The leader writes base offset and leader epoch into the header
(:mod:`ottla.record.batch`); files are Kafka's (:mod:`ottla.storage.format`).

Threads
-------
* One thread appends, cuts, rolls, reconfigures and closes; none of that waits for the disk, unless
  it says so.
* Any thread may read meanwhile. What is below the log's end never changes, except when a follower
  truncates, and then nobody reads there.
* One thread at a time flushes, while all that goes on.

Errors
------
A disk that fails, or is full, is remembered: everything that writes raises
:exc:`~ottla.model.errors.StorageError` from then on, until the log is opened again. Reading goes
on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ottla.model.errors import StorageError
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition
from ottla.record.batch import RecordBatch
from ottla.runtime.files import FileSystem
from ottla.storage import appending, closing, cutting, reading
from ottla.storage.appending import Appended
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.log_config import LogConfig
from ottla.storage.log_state import LogState
from ottla.storage.producer_state import ProducerStates
from ottla.storage.recovery import Opening, RecoveryReport, open_log
from ottla.storage.removal import RemovedSegments
from ottla.storage.retention import SegmentSummary
from ottla.storage.roll import roll
from ottla.storage.segment_reader import LogRead
from ottla.storage.time_lookup import FoundRecord
from ottla.storage.transaction_index import AbortedTransaction


class PartitionLog:
    """The log of one partition; see the module."""

    __slots__ = ("_state", "recovery")

    def __init__(self, state: LogState, recovery: RecoveryReport) -> None:
        """Not for callers: :meth:`open` makes one."""
        self._state = state
        self.recovery = recovery
        """What opening took."""

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        file_system: FileSystem,
        config: LogConfig,
        topic_partition: TopicPartition,
        recovery_point: Offset,
        log_start_offset: Offset,
        clean: bool,
        now_ms: int,
    ) -> PartitionLog:
        """Open the log in ``directory``, or begin one at ``log_start_offset``. Waits for the disk.

        Args:
            directory: of the partition; must exist, and its name be durable.
            file_system: where it is.
            config: settings of the topic.
            topic_partition: for messages.
            recovery_point: everything below was synced. An older one than the last is safe,
                and means more to read.
            log_start_offset: everything below was deleted. The files may begin later.
            clean: whether the log was closed by :meth:`close`. Then nothing is recovered and
                ``recovery_point`` does not matter.
            now_ms: wall time.

        Raises:
            DamagedLogError: records are lost that were durable; the message says where.
            StorageError: the disk failed, or is full.
        """
        state, report = open_log(
            Opening(
                directory=directory,
                file_system=file_system,
                config=config,
                topic_partition=topic_partition,
                recovery_point=recovery_point,
                log_start_offset=log_start_offset,
                clean=clean,
                now_ms=now_ms,
            )
        )
        return cls(state, report)

    def __repr__(self) -> str:
        state = self._state
        return (
            f"<PartitionLog {state.topic_partition} [{state.start_offset},{state.end_offset}) "
            f"durable to {self.recovery_point}, {len(state.segments)} segments"
            f"{', failed' if state.failure else ''}>"
        )

    # --- What there is ------------------------------------------------------------------

    @property
    def directory(self) -> Path:
        """Where its files are."""
        return self._state.directory

    @property
    def topic_partition(self) -> TopicPartition:
        """Whose log it is."""
        return self._state.topic_partition

    @property
    def config(self) -> LogConfig:
        """The settings in force."""
        return self._state.config

    @property
    def log_start_offset(self) -> Offset:
        """The offset of the first record that may be read."""
        return Offset(self._state.start_offset)

    @property
    def log_end_offset(self) -> Offset:
        """The offset of the next record."""
        return Offset(self._state.end_offset)

    @property
    def recovery_point(self) -> Offset:
        """Everything below survives a crash."""
        return Offset(self._state.durability.durable_end)

    @property
    def unflushed_records(self) -> int:
        """How many records a crash would lose."""
        return max(0, self._state.end_offset - self._state.durability.durable_end)

    @property
    def size_bytes(self) -> int:
        """Size of the records, deleted ones included as far as their segment is there."""
        return sum(segment.extent.size_bytes for segment in self._state.segments)

    @property
    def segment_count(self) -> int:
        """How many segments there are; at least one."""
        return len(self._state.segments)

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is written any more; ``None`` while all is well."""
        return self._state.failure

    @property
    def leader_epochs(self) -> LeaderEpochs:
        """Which leader epochs wrote the log. Written to disk by :meth:`flush`."""
        return self._state.leader_epochs

    @property
    def producer_states(self) -> ProducerStates:
        """What is known of the idempotent producers."""
        return self._state.producers

    def last_stable_offset(self, high_watermark: Offset) -> Offset:
        """Return where the oldest open transaction begins, or ``high_watermark`` if that is less.

        ``high_watermark`` must not be ahead of the true one.
        """
        unstable = self._state.producers.first_unstable_offset(high_watermark)
        return high_watermark if unstable is None else min(unstable, high_watermark)

    # --- Appending ----------------------------------------------------------------------

    def append(
        self, batches: Sequence[RecordBatch], *, leader_epoch: LeaderEpoch, now_ms: int
    ) -> Appended:
        """Append as the leader: give the batches their offsets and write them, all or none.

        Batches that are in the log already, as idempotent producers' retries are, are not
        appended again. With LogAppendTime the batches are stamped with ``now_ms``. Rolls the
        active segment if they do not fit. Does not wait for the disk; see :meth:`flush`.

        Args:
            batches: at least one, checked by the caller (:mod:`ottla.record.validation`).
            leader_epoch: ours.
            now_ms: wall time.

        Raises:
            RecordListTooLargeError: together they are larger than a segment may be.
            OutOfOrderSequenceError, InvalidProducerEpochError, InvalidTransactionStateError: an
                idempotent producer's batch does not follow its last one.
            InvalidRecordError: a control batch is not a transaction marker.
            StorageError: the disk failed or is full, now or earlier.
        """
        return appending.append(self._state, batches, leader_epoch=leader_epoch, now_ms=now_ms)

    def append_replicated(self, batches: Sequence[RecordBatch], *, now_ms: int) -> Offset:
        """Append as a follower: batches keep their offsets and epochs. Return the log's new end.

        Rolls as :meth:`append` does. If a roll comes between them and the disk fails then, the
        batches before it are appended; within a segment it is all or none.

        Args:
            batches: contiguous, and beginning where the log ends; checksums were checked.
            now_ms: wall time.

        Raises:
            OffsetOutOfRangeError: they do not follow on; nothing was appended.
            InvalidRecordError: a control batch is not a transaction marker.
            StorageError: the disk failed or is full, now or earlier.
        """
        return appending.append_replicated(self._state, batches, now_ms=now_ms)

    def roll(self, *, now_ms: int) -> bool:
        """Close the active segment if it has records; return whether it had.

        Appends do that by themselves where it is due. Retention does it to an active segment that
        is old enough to go. Does not wait for the disk.

        Raises:
            StorageError: the disk failed or is full, now or earlier.
        """
        state = self._state
        state.check_writable()
        if state.segments.active.extent.size_bytes == 0:
            return False
        try:
            roll(state, now_ms=now_ms)
        except OSError as error:
            raise state.failed(error, "rolling") from error
        return True

    def roll_if_due(self, *, now_ms: int) -> bool:
        """Close the active segment if it is older than ``segment.ms``; return whether it was.

        For logs that get no appends. Does not wait for the disk.

        Raises:
            StorageError: the disk failed or is full, now or earlier.
        """
        state = self._state
        due = state.segments.active.is_older_than(state.config.segment_ms, now_ms=now_ms)
        return due and self.roll(now_ms=now_ms)

    def flush(self) -> Offset:
        """Make everything that is in the log now durable; return the end of what is.

        Waits for the disk, beside appends, on another thread; one thread at a time. If the log
        is truncated meanwhile, the result is what is durable of the rest.

        Raises:
            StorageError: the disk failed, now or earlier. What was not durable before may be
                lost, and a second sync would not say so.
        """
        state = self._state
        state.check_writable()
        attempt = state.durability.begin_sync()
        end_offset = state.end_offset
        if end_offset > state.durability.durable_end:
            try:
                state.durability.sync(attempt, state.unsynced_segments(), end_offset)
            except OSError as error:
                raise state.failed(error, "syncing") from error
        return self.recovery_point

    def flush_due(self, *, now_ms: int) -> bool:
        """Whether ``flush.messages`` or ``flush.ms`` asks for a :meth:`flush`."""
        state = self._state
        return (
            self.unflushed_records >= state.config.flush_messages
            or state.durability.waited_ms(state.end_offset, now_ms=now_ms) >= state.config.flush_ms
        )

    # --- Reading ------------------------------------------------------------------------

    def read(
        self,
        offset: Offset,
        *,
        max_bytes: int,
        end_offset: Offset,
        minimum_one: bool = True,
        cached_only: bool = False,
    ) -> LogRead | None:
        """Read whole batches from the one that holds ``offset``.

        Stops after ``max_bytes``, before ``end_offset``, or at the end of a segment. Nothing to
        read gives an empty result. With ``minimum_one`` the first batch comes even if it is larger
        than ``max_bytes``. With ``cached_only`` it never waits for the disk: ``None`` says that it
        would have to.

        Raises:
            OffsetOutOfRangeError: ``offset`` is before the log start or after the log end.
            DamagedLogError: there are no sound batches where they should be.
            StorageError: the disk failed.
        """
        return reading.read(
            self._state,
            offset,
            max_bytes=max_bytes,
            end_offset=end_offset,
            minimum_one=minimum_one,
            cached_only=cached_only,
        )

    def offset_for_timestamp(self, timestamp_ms: int, *, end_offset: Offset) -> FoundRecord | None:
        """Find the first record below ``end_offset`` that is not before ``timestamp_ms``.

        ``None`` if there is none. May wait for the disk.

        Raises:
            CorruptMessageError, InvalidRecordError: the records of a batch cannot be read.
            DamagedLogError: there are no sound batches where they should be.
        """
        return reading.offset_for_timestamp(self._state, timestamp_ms, end_offset=end_offset)

    def record_with_max_timestamp(self, *, end_offset: Offset) -> FoundRecord | None:
        """Find the record below ``end_offset`` with the largest timestamp; the first if several.

        ``None`` if there are no records, or none with a timestamp. May wait for the disk.

        Raises:
            CorruptMessageError, InvalidRecordError: the records of a batch cannot be read.
            DamagedLogError: there are no sound batches where they should be.
        """
        return reading.record_with_max_timestamp(self._state, end_offset=end_offset)

    def aborted_transactions(
        self, *, start_offset: Offset, end_offset: Offset
    ) -> list[AbortedTransaction]:
        """Return the aborted transactions with records in the range, by their first offsets.

        May wait for the disk.

        Raises:
            StorageError: the disk failed.
        """
        return reading.aborted_transactions(
            self._state, start_offset=start_offset, end_offset=end_offset
        )

    # --- Taking parts of it away ----------------------------------------------------------

    def truncate_to(self, offset: Offset, *, now_ms: int) -> RemovedSegments:
        """Remove the record at ``offset`` and all after it, and what is in one batch with it.

        Then the log ends at ``offset``, or where that batch began. Leader epochs, producers
        and the recovery point go back with it. Nothing happens if it ends there already. To an
        offset before the first segment, this is :meth:`start_at`.

            truncate to 60        [0 .. 39][40 .. 59 | 60 .. 79][80 .. 99]

        Waits for the disk: when it returns, what was removed does not come back after a crash,
        and the checkpoints need not be written to say so. The result gives the space back, off
        the event loop, at any time.

        Raises:
            DamagedLogError: there are no sound batches where they should be.
            StorageError: the disk failed, now or earlier; what the log holds is not known.
        """
        return cutting.truncate_to(self._state, offset, now_ms=now_ms)

    def delete_records_before(self, offset: Offset) -> RemovedSegments:
        """Let the log start at ``offset``, and remove the segments that lie before it.

            delete before 45      [0 .. 39][40 .. 44 | 45 .. 79][80 .. 99]

        Retention calls this with the base offset of a segment. Does not wait for the disk: a
        crash may undo it, unless the log start checkpoint has been written since. The result
        removes the files, off the event loop, after ``file.delete.delay.ms``.

        Raises:
            OffsetOutOfRangeError: the log ends before ``offset``.
            StorageError: the disk failed, now or earlier.
        """
        return cutting.delete_records_before(self._state, offset)

    def start_at(self, offset: Offset, *, now_ms: int) -> RemovedSegments:
        """Remove everything; the next record takes ``offset``.

            start at 500          [0 .. 39][40 .. 79][80 .. 99]     ->     [500

        Waits for the disk, and survives a crash, as :meth:`truncate_to`.

        Raises:
            StorageError: the disk failed, now or earlier; what the log holds is not known.
        """
        return cutting.start_at(self._state, offset, now_ms=now_ms)

    def closed_segments(self) -> list[SegmentSummary]:
        """Describe the segments that retention may choose from, oldest first.

        May wait for the disk, to read one index entry of each, the first time.
        """
        return [
            SegmentSummary(
                segment.base_offset,
                segment.extent.next_offset,
                segment.extent.size_bytes,
                segment.checked_indexes().largest().timestamp_ms,
            )
            for segment in self._state.segments.all[:-1]
        ]

    def active_segment(self) -> SegmentSummary:
        """Describe the segment that is appended to; see :meth:`roll`."""
        active = self._state.segments.active
        return SegmentSummary(
            active.base_offset,
            active.extent.next_offset,
            active.extent.size_bytes,
            active.indexes.largest().timestamp_ms,
        )

    # --- The rest of its life --------------------------------------------------------------

    def reconfigure(self, config: LogConfig) -> None:
        """Follow new settings from the next append on."""
        state = self._state
        state.config = config
        state.segments.active.indexes.interval_bytes = config.index_interval_bytes
        state.producers.set_expiration(config.producer_id_expiration_ms)

    def close(self) -> None:
        """Make everything durable, so that the log can be opened as clean, and let go of the files.

        Waits for the disk. Nobody else may be using the log. The files are let go in any case.

        Raises:
            StorageError: the disk failed, now or earlier; the log must be recovered.
        """
        state = self._state
        try:
            state.check_writable()
            closing.finish(state)
        except OSError as error:
            raise state.failed(error, "closing") from error
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the files and write nothing: the log is about to be deleted, or has failed."""
        for segment in self._state.segments:
            segment.close()
