"""All the logs of one data directory: opened together, kept in bounds, closed together.

    data/
      .lock  meta.properties  .kafka_cleanshutdown
      recovery-point-offset-checkpoint  log-start-offset-checkpoint  replication-offset-checkpoint
      web-0/  web-1/  orders-0/                                  partitions
      web-2.0f8fad5bd9cb469fa16570867728950e-delete/             one that waits for its removal
      web-3.7c9e6679742540de944be07fc1f90ae7-stray/              one of a topic that nobody knows

Life
----
1. :meth:`LogManager.claim` locks the directory and sees whose it is.
2. :meth:`LogManager.open_all` takes the clean-shutdown marker away, before anything can be
   written, and opens every partition: at once if the marker was there, with recovery if not. A
   partition that cannot be opened is *offline*; it does not keep the others from opening. So is
   one that had records, by the checkpoints, and has no directory: it must not begin anew unseen.
3. :meth:`LogManager.checkpoint` from time to time: recovery starts where it says.
4. :meth:`LogManager.close` closes every log, writes the checkpoints, and the marker last of all.
   With an offline or failed log there is no marker: the next start must look at it again.

Threads
-------
Logs are appended to on one thread, the *owner's*; there :meth:`~LogManager.delete`,
:meth:`~LogManager.retain`, :meth:`~LogManager.remove_later` and
:meth:`~LogManager.take_due_removals` are called, none of which waits for the disk. What waits --
:meth:`~LogManager.create`, :meth:`~LogManager.plan_retention`, :meth:`~LogManager.checkpoint` and
the removals -- may be called on another thread, each on one at a time.

Times: ``now_ms`` is monotonic, ``wall_ms`` is what records carry.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from ottla.model.errors import StorageError
from ottla.model.ids import BrokerEpoch, BrokerId, Offset, TopicId, TopicPartition
from ottla.model.limits import LOGS_PER_DIRECTORY_MAX
from ottla.runtime.files import DirectoryLock, FileSystem
from ottla.storage.checkpoints import CleanShutdownMarker, DamagedCheckpointError, MetaProperties
from ottla.storage.claim import claim_directory, join_cluster
from ottla.storage.damage import DamagedLogError
from ottla.storage.directory_checkpoints import DirectoryCheckpoints, PartitionOffsets
from ottla.storage.log import PartitionLog
from ottla.storage.log_config import LogConfig
from ottla.storage.log_creation import NewLog, make_partition_directories
from ottla.storage.log_removals import LogRemovals, Removal
from ottla.storage.partition_directories import (
    deleted_directory,
    stray_directory,
    tidy_data_directory,
    was_deleted,
)
from ottla.storage.partition_metadata import FILE_NAME as PARTITION_METADATA_FILE
from ottla.storage.partition_metadata import decode_partition_metadata
from ottla.storage.removal import RemovedSegments
from ottla.storage.retention_plan import RetentionPlan, carry_out, plan_retention
from ottla.storage.uuid_text import uuid_to_text


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningReport:
    """What :meth:`LogManager.open_all` found."""

    clean: bool
    """Whether the last stop was clean."""
    stopped_broker_epoch: BrokerEpoch | None
    """The epoch of the broker that stopped cleanly; ``None`` if it did not (KIP-966)."""
    opened: int
    removed: tuple[str, ...]
    """Directories of deleted partitions, and of such as were never quite created."""
    ignored: tuple[str, ...]
    """Files with the names of partitions."""
    damaged_checkpoints: tuple[DamagedCheckpointError, ...]
    """Done without; recovery took longer, and records deleted on request may be back."""


Opened = Callable[[TopicPartition, PartitionLog | StorageError], None]
"""Called for each partition when it has been opened, or could not be."""


class LogManager:
    """The logs of one directory; see the module."""

    def __init__(
        self,
        directory: Path,
        *,
        file_system: FileSystem,
        lock: DirectoryLock,
        meta: MetaProperties,
        logs_max: int = LOGS_PER_DIRECTORY_MAX,
    ) -> None:
        """Not for callers: :meth:`claim` makes one."""
        self.directory = directory
        self.meta = meta
        """Whose directory this is."""
        self._file_system = file_system
        self._lock = lock
        self._logs_max = logs_max
        self._logs: dict[TopicPartition, PartitionLog] = {}
        self._topic_ids: dict[TopicPartition, TopicId] = {}
        self._offline: dict[TopicPartition, StorageError] = {}
        self._missing: set[TopicPartition] = set()
        self._removals = LogRemovals()
        self._marker = CleanShutdownMarker(file_system, directory)
        self._checkpoints = DirectoryCheckpoints(directory, file_system=file_system)

    @classmethod
    def claim(
        cls,
        directory: Path,
        *,
        file_system: FileSystem,
        cluster_id: str | None,
        node_id: BrokerId,
        new_directory_id: UUID,
        logs_max: int = LOGS_PER_DIRECTORY_MAX,
    ) -> LogManager:
        """Lock a directory that is ours, or new. Opens no logs yet. Waits for the disk.

        Raises:
            DirectoryInUseError, ForeignDirectoryError, DataDirectoryError,
            DamagedCheckpointError: the broker must not, or cannot, use it; the message is for
                the operator.
        """
        lock, meta = claim_directory(
            directory,
            file_system=file_system,
            cluster_id=cluster_id,
            node_id=node_id,
            new_directory_id=new_directory_id,
        )
        return cls(directory, file_system=file_system, lock=lock, meta=meta, logs_max=logs_max)

    def join_cluster(self, cluster_id: str) -> None:
        """Note which cluster the directory belongs to; see :func:`claim.join_cluster`."""
        self.meta = join_cluster(
            self.directory, self.meta, cluster_id, file_system=self._file_system
        )

    def __repr__(self) -> str:
        return (
            f"<LogManager {self.directory}: {len(self._logs)} logs, {len(self._offline)} offline>"
        )

    # --- What there is --------------------------------------------------------------------

    def get(self, topic_partition: TopicPartition) -> PartitionLog | None:
        """Return the open log of a partition; ``None`` if there is none, or it is offline."""
        return self._logs.get(topic_partition)

    @property
    def logs(self) -> Mapping[TopicPartition, PartitionLog]:
        """A copy of all that are open."""
        return dict(self._logs)

    @property
    def offline(self) -> Mapping[TopicPartition, StorageError]:
        """A copy of those that could not be opened, and why."""
        return dict(self._offline)

    def topic_id(self, topic_partition: TopicPartition) -> TopicId | None:
        """Return which topic a log, open or offline, is of; ``None`` if there is none to tell."""
        return self._topic_ids.get(topic_partition)

    @property
    def missing(self) -> frozenset[TopicPartition]:
        """Those of the offline ones that had records and have no directory."""
        return frozenset(self._missing)

    def known_high_watermark(self, topic_partition: TopicPartition) -> Offset:
        """Return the high watermark that was checkpointed last before the start; 0 if none was.

        It is at or below the true one.
        """
        return self._checkpoints.found(topic_partition).high_watermark

    # --- The start -------------------------------------------------------------------------

    def open_all(
        self,
        config_of: Callable[[TopicPartition], LogConfig],
        *,
        wall_ms: int,
        opened: Opened = lambda _partition, _result: None,
    ) -> OpeningReport:
        """Open every log in the directory, one after another. Waits for the disk, perhaps long.

        ``opened`` is told of each, for showing progress. Raises :exc:`StorageError` if the
        directory itself fails.
        """
        try:
            stopped_broker_epoch = self._marker.read()
            self._marker.remove()
            damaged_checkpoints = self._checkpoints.read()
            listing = tidy_data_directory(self.directory, file_system=self._file_system)
        except OSError as error:
            raise self._failed("opening", error) from error
        clean = stopped_broker_epoch is not None
        for topic_partition in listing.partitions:
            config = config_of(topic_partition)
            result = self._open(topic_partition, config, clean=clean, wall_ms=wall_ms)
            opened(topic_partition, result)
        for topic_partition in self._checkpoints.with_records:
            if topic_partition in listing.partitions:
                continue
            if was_deleted(topic_partition, listing.removed):
                self._checkpoints.forget(topic_partition)
                continue
            gone = self._gone(topic_partition)
            self._missing.add(topic_partition)
            self._offline[topic_partition] = gone
            opened(topic_partition, gone)
        return OpeningReport(
            clean=clean,
            stopped_broker_epoch=stopped_broker_epoch,
            opened=len(self._logs),
            removed=listing.removed,
            ignored=listing.ignored,
            damaged_checkpoints=tuple(damaged_checkpoints),
        )

    def _open(
        self, topic_partition: TopicPartition, config: LogConfig, *, clean: bool, wall_ms: int
    ) -> PartitionLog | StorageError:
        found = self._checkpoints.found(topic_partition)
        try:
            topic_id = self._read_topic_id(topic_partition)
            if topic_id is not None:
                self._topic_ids[topic_partition] = topic_id
            log = PartitionLog.open(
                self._directory_of(topic_partition),
                file_system=self._file_system,
                config=config,
                topic_partition=topic_partition,
                recovery_point=found.recovery_point,
                log_start_offset=found.log_start_offset,
                clean=clean,
                now_ms=wall_ms,
            )
        except StorageError as error:
            self._offline[topic_partition] = error
            return error
        self._logs[topic_partition] = log
        return log

    def _read_topic_id(self, topic_partition: TopicPartition) -> TopicId | None:
        path = self._directory_of(topic_partition) / PARTITION_METADATA_FILE
        try:
            if not self._file_system.exists(path):
                return None
            return decode_partition_metadata(self._file_system.read(path))
        except OSError as error:
            raise self._failed(f"reading {path.name} of", error) from error
        except ValueError as error:
            raise DamagedCheckpointError(
                path, str(error), "restore it, or move the directory away, and restart the broker"
            ) from None

    # --- Single logs ------------------------------------------------------------------------

    def create(
        self, topic_partition: TopicPartition, topic_id: TopicId, config: LogConfig, *, wall_ms: int
    ) -> PartitionLog:
        """Make the log of a new partition, or return it if there is one. Waits for the disk.

        When it returns, the log survives a crash, as an empty one.

        Raises:
            StorageError: the disk failed; a log of another topic, or of nobody knows which, is
                in the way; the log is offline; or the directory holds too many.
        """
        (made,) = self.create_all([NewLog(topic_partition, topic_id, config)], wall_ms=wall_ms)
        if isinstance(made, StorageError):
            raise made
        return made

    def create_all(
        self, wanted: Sequence[NewLog], *, wall_ms: int
    ) -> list[PartitionLog | StorageError]:
        """Do as :meth:`create` for several partitions, in much less time; one result for each.

        What fails for one of them does not keep the others from being made.
        """
        results = {new.topic_partition: self._present(new) for new in wanted}
        assert len(results) == len(wanted), "a partition is asked for twice"
        missing = [new for new in wanted if results[new.topic_partition] is None]
        room = max(0, self._logs_max - len(self._logs))
        failed = make_partition_directories(
            {self._directory_of(new.topic_partition): new.topic_id for new in missing[:room]},
            parent=self.directory,
            file_system=self._file_system,
        )
        for number, new in enumerate(missing):
            partition = new.topic_partition
            error = failed.get(self._directory_of(partition))
            if number >= room:
                results[partition] = self._too_many()
            elif error is not None:
                results[partition] = self._failed(f"creating {partition} in", error)
            else:
                results[partition] = self._begin(new, wall_ms=wall_ms)
        return [result for result in results.values() if result is not None]

    def _present(self, new: NewLog) -> PartitionLog | StorageError | None:
        """Return the log if it is there already, or why it cannot be made."""
        offline = self._offline.get(new.topic_partition)
        if offline is not None:
            return StorageError(str(offline))
        present = self._logs.get(new.topic_partition)
        if present is None:
            return None
        return self._of_other_topic(new) or present

    def _begin(self, new: NewLog, *, wall_ms: int) -> PartitionLog | StorageError:
        """Open a log whose directory has just been made."""
        partition = new.topic_partition
        try:
            self._checkpoints.erase(partition)
            log = PartitionLog.open(
                self._directory_of(partition),
                file_system=self._file_system,
                config=new.config,
                topic_partition=partition,
                recovery_point=Offset(0),
                log_start_offset=Offset(0),
                clean=False,
                now_ms=wall_ms,
            )
        except OSError as error:
            return self._failed(f"creating {partition} in", error)
        except StorageError as error:
            return error
        self._topic_ids[partition] = new.topic_id
        self._logs[partition] = log
        return log

    def _gone(self, topic_partition: TopicPartition) -> StorageError:
        found = self._checkpoints.found(topic_partition)
        end_offset = max(found.recovery_point, found.high_watermark)
        return StorageError(
            f"{self._directory_of(topic_partition)} is missing, and it had records up to offset "
            f"{end_offset}; restore the directory and restart the broker, or delete the topic"
        )

    def _too_many(self) -> StorageError:
        return StorageError(
            f"{self.directory} holds {len(self._logs)} partitions, as many as one broker can; "
            "add a broker, or delete topics"
        )

    def delete(self, topic_partition: TopicPartition, *, now_ms: int) -> None:
        """Give a log up, open or offline; its files go after ``file.delete.delay.ms``.

        Its name is free at once. Nobody may append to the log or flush it any more: its
        directory is not where it was. Readers that are at it may finish. Not synced: after a
        crash it may be back, and must be deleted again.

        Raises:
            StorageError: the disk failed.
        """
        log = self._logs.get(topic_partition)
        if log is None and topic_partition not in self._offline:
            return
        if topic_partition in self._missing:
            self._missing.discard(topic_partition)
            self._offline.pop(topic_partition, None)
            self._checkpoints.forget(topic_partition)
            return
        try:
            target = self._unused_name(topic_partition, deleted_directory)
            self._file_system.rename(self._directory_of(topic_partition), target)
        except OSError as error:
            raise self._failed(f"deleting {topic_partition} from", error) from error
        self._logs.pop(topic_partition, None)
        self._offline.pop(topic_partition, None)
        self._topic_ids.pop(topic_partition, None)
        self._checkpoints.forget(topic_partition)

        def remove() -> None:
            if log is not None:
                log.abandon()
            if self._file_system.exists(target):
                if topic_partition not in self._logs and topic_partition not in self._offline:
                    # When this is gone, nothing tells a deleted partition from a lost one.
                    self._checkpoints.erase(topic_partition)
                self._file_system.remove(target)

        delay_ms = 0 if log is None else log.config.file_delete_delay_ms
        close = (lambda: None) if log is None else log.abandon
        self._removals.add(
            Removal(f"partition {topic_partition}", now_ms + delay_ms, remove, close)
        )

    def set_aside(self, topic_partition: TopicPartition) -> Path:
        """Give a log up whose topic nobody knows, and keep its files; return where they are.

        Nobody may be using it. Its name is free at once, the files are for the operator. Not
        synced: after a crash it may be back, and must be set aside again.

        Raises:
            StorageError: the disk failed.
        """
        try:
            target = self._unused_name(topic_partition, stray_directory)
            self._file_system.rename(self._directory_of(topic_partition), target)
        except OSError as error:
            raise self._failed(f"setting {topic_partition} aside in", error) from error
        log = self._logs.pop(topic_partition, None)
        if log is not None:
            log.abandon()
        self._offline.pop(topic_partition, None)
        self._topic_ids.pop(topic_partition, None)
        self._checkpoints.forget(topic_partition)
        return target

    def _unused_name(
        self, topic_partition: TopicPartition, name: Callable[[TopicPartition, UUID], str]
    ) -> Path:
        # Deterministic, and different for each life of a topic; counted up if a partition
        # went and came back within the delay.
        topic_id = self._topic_ids.get(topic_partition)
        number = 0 if topic_id is None else topic_id.int
        while True:  # ends: there are fewer directories than numbers
            unique = UUID(int=number % (1 << 128))
            target = self.directory / name(topic_partition, unique)
            if not self._file_system.exists(target):
                return target
            number += 1

    def _of_other_topic(self, new: NewLog) -> StorageError | None:
        """Say why a log that is there cannot be the one wanted; ``None`` if it is."""
        path = self._directory_of(new.topic_partition) / PARTITION_METADATA_FILE
        topic_id = self._topic_ids.get(new.topic_partition)
        if topic_id == new.topic_id:
            return None
        ours = uuid_to_text(new.topic_id)
        if topic_id is None:
            return StorageError(
                f"{path} is missing, so nobody knows whose records these are; if they are of topic "
                f"id {ours}, restore the file, else move the directory away, and restart the broker"
            )
        return StorageError(
            f"{path} names topic id {uuid_to_text(topic_id)}, and the topic of this name has "
            f"{ours}; if the file is wrong, restore it, else move the directory away, and restart "
            "the broker"
        )

    # --- Retention and removal -----------------------------------------------------------------

    def plan_retention(
        self, high_watermarks: Mapping[TopicPartition, Offset], *, wall_ms: int
    ) -> list[RetentionPlan]:
        """Find what should leave which log. Changes nothing; may wait for the disk.

        Logs without a high watermark, failed and damaged ones are passed over. Raises
        :exc:`StorageError` if the disk fails.
        """
        plans = []
        for topic_partition, log in list(self._logs.items()):
            high_watermark = high_watermarks.get(topic_partition)
            if high_watermark is None or log.failure is not None:
                continue
            try:
                plan = plan_retention(log, high_watermark=high_watermark, wall_ms=wall_ms)
            except DamagedLogError:
                continue  # Whoever reads there is told.
            except OSError as error:
                raise self._failed(
                    f"looking for old segments of {topic_partition} in", error
                ) from error
            if plan is not None:
                plans.append(plan)
        return plans

    def retain(self, plan: RetentionPlan, *, wall_ms: int) -> RemovedSegments | None:
        """Do what was planned for a log; ``None`` if there is nothing left to do.

        The result is for :meth:`remove_later`. Raises :exc:`StorageError` if the disk fails.
        """
        log = plan.log
        if self._logs.get(log.topic_partition) is not log or log.failure is not None:
            return None
        return carry_out(plan, wall_ms=wall_ms)

    def remove_later(self, removed: RemovedSegments, *, due_ms: int) -> None:
        """Keep segments that are no longer part of a log until their files may go."""
        if removed:

            def close() -> None:
                for segment in removed.segments:
                    segment.close()

            what = f"{len(removed.segments)} segments, {removed.size_bytes} bytes"
            self._removals.add(Removal(what, due_ms, removed.remove, close))

    def take_due_removals(self, *, now_ms: int) -> Sequence[Removal]:
        """Hand out the removals whose time has come; the caller runs them, off the event loop."""
        return self._removals.take_due(now_ms)

    def next_removal_ms(self) -> int | None:
        """Return when the next removal is due; ``None`` if none waits."""
        return self._removals.next_due_ms()

    # --- Checkpoints and the stop -----------------------------------------------------------------

    def checkpoint(self, high_watermarks: Mapping[TopicPartition, Offset]) -> None:
        """Write down up to where each log is durable, where it starts, and its high watermark.

        What is known of offline logs stays as it was. Waits for the disk. Raises
        :exc:`StorageError` if it fails; the old files are there then.
        """
        present = {
            topic_partition: PartitionOffsets(
                log.recovery_point,
                log.log_start_offset,
                high_watermarks.get(topic_partition, self.known_high_watermark(topic_partition)),
            )
            for topic_partition, log in list(self._logs.items())
        }
        try:
            self._checkpoints.write(present, kept=list(self._offline))
        except OSError as error:
            raise self._failed("writing the checkpoints of", error) from error

    def close(
        self,
        high_watermarks: Mapping[TopicPartition, Offset],
        *,
        broker_epoch: BrokerEpoch | None,
    ) -> None:
        """Close every log and let the directory go. Nobody may be using a log. Waits for the disk.

        With a ``broker_epoch``, and if all went well, the stop counts as clean. The directory
        is let go in any case.

        Raises:
            StorageError: the first thing that went wrong; the next start recovers.
        """
        first_error: StorageError | None = None
        try:
            self._removals.close_all()
            for log in self._logs.values():
                try:
                    log.close()
                except StorageError as error:
                    first_error = first_error or error
            self.checkpoint(high_watermarks)
            if first_error is not None:
                raise first_error
            if broker_epoch is not None and not self._offline:
                self._write_marker(broker_epoch)
        finally:
            self._lock.release()

    def abandon(self) -> None:
        """Let go of everything and write nothing, as if the process had died."""
        self._removals.close_all()
        for log in self._logs.values():
            log.abandon()
        self._lock.release()

    def _write_marker(self, broker_epoch: BrokerEpoch) -> None:
        try:
            self._marker.write(broker_epoch)
        except OSError as error:
            raise self._failed("closing", error) from error

    def _directory_of(self, topic_partition: TopicPartition) -> Path:
        return self.directory / str(topic_partition)

    def _failed(self, doing: str, error: OSError) -> StorageError:
        return StorageError(
            f"{doing} {self.directory} failed ({error}); check the disk, then restart the broker"
        )
