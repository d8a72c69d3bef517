"""Opening a log: after a clean stop, and after any other.

After a clean stop everything is as it was left. The names of the files give the segments; of the
last one the end is read; the producers come from the snapshot taken at the stop. Of closed segments
only names and sizes are looked at, so opening costs the same however much is in them; whether each
goes as far as the next one is seen when it is read.

After any other stop, the checkpoint names a *recovery point*, below which everything had been
synced. The segments that end there or later are scanned: every batch, with its checksum.

    recovery point              v
    [ segment 0 ][ segment 40 ......... ][ segment 80 ..... x??????? ]
      believed     scanned                 scanned up to x

From the scan come the indexes of these segments, the leader epochs and the producers. Bytes that
are not sound at ``x`` were torn by the crash, if ``x`` is not below the recovery point: the log is
cut there, and the cut reported (:class:`TailCut`). The checkpoint may be a minute old, so the
report also says whether sound batches followed, which hints at damage rather than a torn write.

If ``x`` is below the recovery point, records are lost that were safe once. Then nothing is
changed, and :exc:`~ottla.storage.damage.DamagedLogError` says where.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ottla.model.errors import StorageError
from ottla.model.ids import Offset, TopicPartition
from ottla.runtime.files import FileSystem
from ottla.storage.batch_scan import BatchScan
from ottla.storage.cut_mark import CutMark, read_cut_mark, remove_cut_mark
from ottla.storage.damage import Damage, DamagedLogError
from ottla.storage.durability import Durability
from ottla.storage.format import LOG_SUFFIX, segment_file
from ottla.storage.leader_epochs import FILE_NAME as EPOCHS_FILE
from ottla.storage.leader_epochs import EpochStart, LeaderEpochs
from ottla.storage.listing import tidy_directory
from ottla.storage.log_config import INT64_MAX, LogConfig
from ottla.storage.log_state import LogState
from ottla.storage.producer_history import replay
from ottla.storage.producer_snapshots import ProducerSnapshots
from ottla.storage.producer_state import ProducerStates
from ottla.storage.removal import unlink
from ottla.storage.segment import Segment
from ottla.storage.segment_recovery import enter_epoch, scan_segment, sound_batches_follow
from ottla.storage.segments import Segments


@dataclass(frozen=True, slots=True, kw_only=True)
class TailCut:
    """What recovery took off the end of a log."""

    path: Path
    position: int
    """In the file, from which on it was cut."""
    offset: int
    """The end of the log since then."""
    removed_bytes: int
    """Including those of later segments."""
    reason: str
    sound_batches_follow: bool
    """Whether something sound was cut off with the rest. Then it may not have been a torn write."""

    def __str__(self) -> str:
        return (
            f"{self.path} was cut at position {self.position} (offset {self.offset}), "
            f"{self.removed_bytes} bytes in all: {self.reason}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryReport:
    """What opening a log took."""

    clean: bool
    """Whether the log was found as a clean stop leaves it, so that nothing was scanned."""
    segments_scanned: int = 0
    bytes_scanned: int = 0
    cut: TailCut | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What the broker knows of a log when it opens it."""

    directory: Path
    file_system: FileSystem
    config: LogConfig
    topic_partition: TopicPartition
    recovery_point: Offset
    log_start_offset: Offset
    clean: bool
    now_ms: int


def open_log(opening: Opening) -> tuple[LogState, RecoveryReport]:
    """Open a log and put right what a crash has left.

    Raises:
        DamagedLogError: records are lost that were durable.
        StorageError: the disk failed, or is full.
    """
    with ExitStack() as stack:
        recovery = _Recovery(opening, stack)
        try:
            state = recovery.run()
        except OSError as error:
            raise StorageError(
                f"opening {opening.topic_partition} in {opening.directory} failed ({error}); "
                "check the disk, then restart the broker"
            ) from error
        stack.pop_all()
    return state, recovery.report()


class _Recovery:
    """One opening of one log; see the module."""

    def __init__(self, opening: Opening, stack: ExitStack) -> None:
        """Args: ``stack`` closes the segments if it comes to nothing."""
        self._opening = opening
        self._stack = stack
        self._directory = opening.directory
        self._file_system = opening.file_system
        self._recovery_point: int = opening.recovery_point
        self._log_start_offset: int = opening.log_start_offset
        self._mark: CutMark | None = None
        self._segments: list[Segment] = []
        self._is_new = False
        self._epochs = LeaderEpochs()
        self._epochs_written: Sequence[EpochStart] = ()
        self._producers = ProducerStates(expiration_ms=opening.config.producer_id_expiration_ms)
        self._snapshots = ProducerSnapshots(self._directory, (), file_system=self._file_system)
        self._snapshots_written: list[Path] = []
        self._scans: list[BatchScan] = []
        self._cut: TailCut | None = None

    def run(self) -> LogState:
        """Open everything, scan what must be, and put it together."""
        self._heed_cut_mark()
        self._open_segments()
        if self._opening.clean:
            self._take_as_it_is()
        else:
            self._recover()
        return self._state()

    def report(self) -> RecoveryReport:
        """Say what it took."""
        return RecoveryReport(
            clean=self._opening.clean,
            segments_scanned=len(self._scans),
            bytes_scanned=sum(scan.position for scan in self._scans),
            cut=self._cut,
        )

    # --- What is there ------------------------------------------------------------------

    def _heed_cut_mark(self) -> None:
        try:
            mark = read_cut_mark(self._directory, file_system=self._file_system)
        except ValueError:
            # Whatever it said: nothing may be believed, until the next clean stop.
            mark = CutMark(0, INT64_MAX, 0, INT64_MAX)
        if mark is None:
            return
        if self._opening.clean:
            # The checkpoints were written after every cut.
            remove_cut_mark(self._directory, file_system=self._file_system)
            return
        self._mark = mark
        self._recovery_point = mark.recovery_point(self._recovery_point)
        self._log_start_offset = mark.log_start_offset(self._log_start_offset)

    def _open_segments(self) -> None:
        listing = tidy_directory(self._directory, file_system=self._file_system)
        self._snapshots = ProducerSnapshots(
            self._directory, listing.snapshot_offsets, file_system=self._file_system
        )
        for base_offset in listing.base_offsets:
            has_transactions = base_offset in listing.transaction_index_offsets
            self._open_segment(base_offset, has_transactions=has_transactions)
        if not self._segments:
            self._refuse_if_durable(
                self._directory, 0, self._log_start_offset, "there is no segment"
            )
            self._open_segment(self._log_start_offset).begin()
            self._is_new = True
        for segment, successor in pairwise(self._segments):
            segment.adopt(successor.base_offset)

    def _open_segment(self, base_offset: int, *, has_transactions: bool = False) -> Segment:
        segment = Segment(
            self._directory,
            base_offset,
            file_system=self._file_system,
            index_interval_bytes=self._opening.config.index_interval_bytes,
            created_ms=self._opening.now_ms,
            has_transactions=has_transactions,
        )
        self._stack.callback(segment.close)
        self._segments.append(segment)
        return segment

    def _take_as_it_is(self) -> None:
        active = self._segments[-1]
        active.adopt_tail()
        self._recovery_point = active.extent.next_offset
        for segment in self._segments[:-1]:
            segment.synced = True
        self._refuse_if_emptied(self._segments[:-1])
        self._derive(self._segments, end_offset=self._recovery_point)
        self._refuse_if_beheaded()

    # --- After a crash --------------------------------------------------------------------

    def _recover(self) -> None:
        ends = [segment.extent.next_offset for segment in self._segments[:-1]]
        # A segment that ends at the recovery point may have been closed after the last sync.
        first = bisect_left(ends, self._recovery_point)
        believed = self._segments[:first]
        for segment in believed:
            segment.synced = True
        self._refuse_if_emptied(believed)
        scan_start = self._segments[first].base_offset
        self._derive(believed, end_offset=scan_start)
        # Later ones may be of records that were cut off since.
        self._snapshots.remove_above(scan_start)
        for index in range(first, len(self._segments)):
            scan = scan_segment(
                self._segments[index], leader_epochs=self._epochs, producers=self._producers
            )
            self._scans.append(scan)
            if not self._accept(index, scan):
                return

    def _derive(self, believed: Sequence[Segment], *, end_offset: int) -> None:
        """Find leader epochs and producers as of ``end_offset``, which ends ``believed``."""
        if self._is_new:
            return
        if not self._load_epochs():
            for segment in believed:
                for _, header in segment.headers():
                    enter_epoch(self._epochs, header)
        self._epochs.truncate_to_end(Offset(end_offset))
        known = self._snapshots.load(self._producers, offset_max=end_offset)
        replay(self._producers, believed, start_offset=known or 0, end_offset=end_offset)

    def _load_epochs(self) -> bool:
        """Return whether there was a sound file of them that lists any."""
        path = self._directory / EPOCHS_FILE
        if not self._file_system.exists(path):
            return False
        try:
            self._epochs = LeaderEpochs.decode(self._file_system.read(path))
        except ValueError:
            return False
        self._epochs_written = self._epochs.entries
        return bool(self._epochs_written)

    def _accept(self, index: int, scan: BatchScan) -> bool:
        """Decide what the end of a scan means; return whether the next segment follows on."""
        segment, later = self._segments[index], self._segments[index + 1 :]
        end_offset = segment.extent.next_offset
        reason = scan.unsound
        if reason is None and later and later[0].base_offset != end_offset:
            reason = f"the next segment begins at offset {later[0].base_offset}, not {end_offset}"
        if reason is not None or not later:
            self._refuse_if_durable(
                segment.log.path, scan.position, end_offset, reason or "the log ends there"
            )
        if reason is not None:
            self._cut_tail(segment, later, scan, reason)
            return False
        if later:
            segment.finish()
            self._snapshots_written.append(self._snapshots.write(end_offset, self._producers))
        return True

    def _refuse_if_durable(self, path: Path, position: int, offset: int, reason: str) -> None:
        if offset < self._recovery_point:
            raise DamagedLogError(
                Damage(
                    path=path,
                    position=position,
                    offset=offset,
                    reason=f"{reason}, but everything below {self._recovery_point} was synced",
                )
            )

    def _refuse_if_emptied(self, closed: Sequence[Segment]) -> None:
        for segment in closed:
            if segment.extent.size_bytes == 0:
                base_offset = segment.base_offset
                reason = f"it is empty, but the next segment begins at {segment.extent.next_offset}"
                raise DamagedLogError(
                    Damage(path=segment.log.path, position=0, offset=base_offset, reason=reason)
                )

    def _refuse_if_beheaded(self) -> None:
        """After a clean stop: the first segment must not begin after the log does.

        The leader epochs begin where the log does, too; without them there is nothing to hold
        against a checkpoint that may have been damaged.
        """
        if not self._epochs_written:
            return
        start_offset = max(self._log_start_offset, self._epochs_written[0].start_offset)
        first = self._segments[0].base_offset
        if first > start_offset:
            path = segment_file(self._directory, start_offset, LOG_SUFFIX)
            reason = (
                f"the segment that holds offset {start_offset}, where the log starts, is missing; "
                f"the first one begins at {first}"
            )
            raise DamagedLogError(Damage(path=path, position=0, offset=start_offset, reason=reason))

    def _cut_tail(
        self, segment: Segment, later: Sequence[Segment], scan: BatchScan, reason: str
    ) -> None:
        self._cut = TailCut(
            path=segment.log.path,
            position=scan.position,
            offset=segment.extent.next_offset,
            removed_bytes=scan.end - scan.position + sum(other.log.size for other in later),
            reason=reason,
            sound_batches_follow=sound_batches_follow(scan, segment, later),
        )
        unlink(self._directory, later, file_system=self._file_system).remove()
        segment.log.truncate(scan.position)
        # What comes back after the next crash could be taken for part of what is written now.
        segment.log.sync()
        del self._segments[self._segments.index(segment) + 1 :]

    # --- Putting it together ------------------------------------------------------------------

    def _state(self) -> LogState:
        end_offset = self._segments[-1].extent.next_offset
        start_offset = max(self._log_start_offset, self._segments[0].base_offset)
        if self._epochs.entries and self._epochs.entries[0].start_offset <= end_offset:
            # Epochs begin where the log does. They may have been written after the checkpoint.
            start_offset = max(start_offset, self._epochs.entries[0].start_offset)
        if start_offset > end_offset:
            # What was left of the log had been deleted by request.
            self._begin_anew(start_offset)
            end_offset = start_offset
        self._epochs.truncate_to_start(Offset(start_offset))
        self._producers.delete_before(Offset(start_offset))
        self._snapshots.remove_above(end_offset)
        self._snapshots.remove_all_but({segment.base_offset for segment in self._segments})
        durability = Durability(
            self._directory,
            file_system=self._file_system,
            leader_epochs=self._epochs,
            epochs_written=self._epochs_written,
            durable_end=min(self._recovery_point, end_offset),
            cut_mark=self._mark,
        )
        for path in self._snapshots_written:
            durability.file_made(unsynced=path)
        return LogState(
            topic_partition=self._opening.topic_partition,
            directory=self._directory,
            file_system=self._file_system,
            config=self._opening.config,
            segments=Segments(self._segments),
            leader_epochs=self._epochs,
            producers=self._producers,
            snapshots=self._snapshots,
            durability=durability,
            start_offset=start_offset,
            end_offset=end_offset,
        )

    def _begin_anew(self, offset: int) -> None:
        unlink(self._directory, self._segments, file_system=self._file_system).remove()
        self._segments.clear()
        self._open_segment(offset).begin()
        self._epochs.clear()
        self._producers.clear()
        self._snapshots.remove_above(-1)
