"""One segment: a file of record batches with its indexes.

The last segment of a log is written to; the others never change until they are removed. One
thread appends while others read, without locks. That works because what is below the end never
changes, and because the end is published last, in one step: ``extent`` is a tuple of the next
offset and the size that belongs to it, and a reader looks at it once.

Positions that were met lately are remembered (:class:`KnownPositions`), so that a consumer that
reads on where it stopped, or a high watermark that lags a little behind the end, needs no index.

The indexes of a closed segment are looked at when they are first needed, not when the log is
opened. If they are missing or damaged they are made anew, in memory, from the headers of the log,
and a reader that found them wrong tries again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ottla.model.errors import CorruptMessageError, StorageError
from ottla.model.ids import NO_TIMESTAMP_MS
from ottla.record.batch import HEADER_BYTES, BatchHeader, read_header
from ottla.runtime.files import Buffer, File, FileSystem
from ottla.storage.batch_scan import read_bytes, walk_headers
from ottla.storage.damage import DamagedLogError, find_damage
from ottla.storage.entry_file import WouldWaitError
from ottla.storage.format import LOG_SUFFIX, POSITION_MAX, RELATIVE_OFFSET_MAX, segment_file
from ottla.storage.log_config import LogConfig
from ottla.storage.segment_indexes import SegmentIndexes, Span
from ottla.storage.transaction_index import TransactionIndex


class Extent(NamedTuple):
    """How far a segment goes."""

    next_offset: int
    """Exclusive end; the base offset of the next segment, if there is one."""
    size_bytes: int


class KnownPositions:
    """Where some batches begin: the last hundred or so that were appended or read up to.

    Two generations of bounded size; the older is dropped when the younger is full. Every
    operation is a single one on a dictionary, so any number of threads may use it. A log has
    one of these for each segment, so they are small.
    """

    __slots__ = ("_older", "_younger")

    _GENERATION: Final = 64

    def __init__(self) -> None:
        self._younger: dict[int, int] = {}
        self._older: dict[int, int] = {}

    def note(self, offset: int, position: int) -> None:
        """Remember that the batch with base offset ``offset`` is, or will be, at ``position``."""
        if len(self._younger) >= self._GENERATION:
            self._older, self._younger = self._younger, {}
        self._younger[offset] = position

    def find(self, offset: int) -> int | None:
        """Return the position of the batch with base offset ``offset`` if it is remembered."""
        position = self._younger.get(offset)
        return self._older.get(offset) if position is None else position


class Segment:
    """The records from ``base_offset`` to the base offset of the next segment."""

    __slots__ = (
        "_file_system",
        "_first_timestamp_ms",
        "_indexes_checked",
        "base_offset",
        "created_ms",
        "directory",
        "extent",
        "indexes",
        "log",
        "positions",
        "synced",
        "transactions",
    )

    def __init__(
        self,
        directory: Path,
        base_offset: int,
        *,
        file_system: FileSystem,
        index_interval_bytes: int,
        created_ms: int,
        has_transactions: bool = False,
    ) -> None:
        """Open the log of the segment, making it if it is missing; the indexes open when needed.

        Args:
            directory: of the partition.
            base_offset: of the segment.
            file_system: where the directory is.
            index_interval_bytes: of log between two index entries.
            created_ms: when the segment was begun, or first seen if that is not known.
            has_transactions: whether it has a transaction index.
        """
        self.directory = directory
        self.base_offset = base_offset
        self._file_system = file_system
        self.log: File = file_system.open(
            segment_file(directory, base_offset, LOG_SUFFIX), create=True
        )
        self.indexes = SegmentIndexes(
            directory, base_offset, file_system=file_system, interval_bytes=index_interval_bytes
        )
        self.transactions = TransactionIndex(
            directory, base_offset, file_system=file_system, exists=has_transactions
        )
        self.extent = Extent(base_offset, 0)
        self.positions = KnownPositions()
        self.synced = False
        """Whether all of it, indexes included, was synced after it was closed."""
        self.created_ms = created_ms
        """When it was begun, or first seen by this process if that is not known."""
        self._first_timestamp_ms: int | None = None
        self._indexes_checked = False

    def __repr__(self) -> str:
        end, size = self.extent
        return f"<Segment [{self.base_offset},{end}) {size} bytes in {self.directory.name}>"

    # --- Opening ----------------------------------------------------------------------

    def begin(self) -> None:
        """Forget all indexes: the segment is new, or every batch is about to be noted again."""
        self.indexes.discard()
        self.transactions.reset()
        self._indexes_checked = True

    def adopt(self, next_offset: int) -> None:
        """Take the log as it is, up to ``next_offset``: the segment is closed."""
        self.extent = Extent(next_offset, self.log.size)

    def adopt_tail(self) -> None:
        """Take the log as it is and find its end: the segment was written to until a clean stop.

        Reads what follows the last index entry only, unless the indexes are wrong.

        Raises:
            DamagedLogError: the log does not end with a whole batch.
        """
        self.extent = Extent(self.base_offset, self.log.size)
        next_offset = self._catch_up()
        self.extent = Extent(next_offset, self.log.size)
        self.positions.note(next_offset, self.log.size)

    def checked_indexes(self, *, cached_only: bool = False) -> SegmentIndexes:
        """Return the indexes, having looked at them once and made them anew if they are unsound.

        Raises:
            WouldWaitError: ``cached_only``, and nobody has looked at them yet.
            DamagedLogError: they are unsound and the log is, too.
        """
        if not self._indexes_checked:
            if cached_only:
                raise WouldWaitError
            if self.indexes.unsound(self.log, size_bytes=self.extent.size_bytes) is not None:
                self.rebuild_indexes()
            self._indexes_checked = True
        return self.indexes

    def rebuild_indexes(self) -> None:
        """Make the indexes anew from the headers of the log; the files stay as they are for now.

        Raises:
            DamagedLogError: the log is not a sequence of sound batches.
        """
        fresh = SegmentIndexes(
            self.directory,
            self.base_offset,
            file_system=self._file_system,
            interval_bytes=self.indexes.interval_bytes,
        )
        try:
            fresh.rebuild(self.log, size_bytes=self.extent.size_bytes)
        except CorruptMessageError as error:
            raise self.damaged() or error from None
        # Readers hold either the old ones or the new.
        self.indexes = fresh
        self._indexes_checked = True

    def damaged(self) -> DamagedLogError | None:
        """Read the whole log and say what is wrong with it; ``None`` if nothing is."""
        end_offset, size = self.extent
        damage = find_damage(self.log, self.base_offset, end=size, end_offset=end_offset)
        return None if damage is None else DamagedLogError(damage)

    def headers(self, position: int = 0) -> Iterator[tuple[int, BatchHeader]]:
        """Yield (position, header) of every batch from ``position``, a batch boundary, on.

        Raises:
            DamagedLogError: there are no sound batches where they should be.
        """
        try:
            yield from walk_headers(self.log, position=position, end=self.extent.size_bytes)
        except CorruptMessageError as error:
            raise self.damaged() or StorageError(str(error)) from None

    # --- Writing ----------------------------------------------------------------------

    def has_room_for(self, span: Span, *, now_ms: int, config: LogConfig) -> bool:
        """Whether batches may be appended that together have the properties of ``span``.

        An empty segment has room for anything. Time is measured as in Kafka: from the first
        batch to this one, or by the clock where batches have no timestamps.
        """
        size = self.extent.size_bytes
        if size == 0:
            return True
        first = self._first_timestamp_ms
        if first is None:
            first = self._first_timestamp()
        if first == NO_TIMESTAMP_MS:
            age_ms = now_ms - self.created_ms
        else:
            age_ms = span.max_timestamp_ms - first
        return (
            size + span.size_bytes <= config.segment_bytes
            and size + span.size_bytes <= POSITION_MAX
            and age_ms <= config.segment_ms
            and span.last_offset - self.base_offset <= RELATIVE_OFFSET_MAX
            and not self.indexes.is_full(config.segment_index_bytes)
        )

    def is_older_than(self, age_ms: int, *, now_ms: int) -> bool:
        """Whether it has records and has been there for longer than ``age_ms``.

        Unlike :meth:`has_room_for` this goes by the clock alone, from the first record or from when
        this process first saw the segment, whichever is later: old records that are being loaded
        now must not each get a segment of their own.
        """
        if self.extent.size_bytes == 0:
            return False
        return now_ms - max(self._first_timestamp(), self.created_ms) > age_ms

    def append(self, buffers: Sequence[Buffer], spans: Sequence[Span], next_offset: int) -> None:
        """Append batches, whose bytes are ``buffers``, with one write.

        Raises:
            OSError: nothing was appended.
        """
        # Whatever else may fail comes before the log is touched.
        self.indexes.spill_if_due()
        self.log.append(buffers)
        position = self.extent.size_bytes
        for span in spans:
            self.indexes.note(span, position)
            position += span.size_bytes
        self.positions.note(next_offset, position)
        self.extent = Extent(next_offset, position)

    def truncate_to(self, next_offset: int, position: int) -> None:
        """Cut the log at ``position``, where the batch with ``next_offset`` begins; sync it.

        Synced because bytes that come back after a crash could be taken for part of what was
        appended in their place.

        Raises:
            OSError: the disk failed; what the log holds now is not known.
        """
        self.synced = False
        self.checked_indexes().truncate_to(next_offset)
        self.transactions.truncate_to(next_offset)
        self.positions = KnownPositions()
        self.positions.note(next_offset, position)
        self.extent = Extent(next_offset, position)
        self._first_timestamp_ms = None
        self.log.truncate(position)
        self.log.sync()
        self._catch_up()

    def finish(self) -> None:
        """Write the indexes: the segment is not appended to from here on. Does not sync.

        Raises:
            OSError: they are not written, or not whole; calling it again goes on.
        """
        self.indexes.finish()
        self.transactions.finish()
        self.positions = KnownPositions()

    def sync_indexes(self) -> None:
        """Return once the indexes, as far as they are written, survive a crash."""
        self.indexes.sync()
        self.transactions.sync()

    def close(self) -> None:
        """Give the descriptors back."""
        self.log.close()
        self.indexes.close()
        self.transactions.close()

    def _catch_up(self) -> int:
        size = self.extent.size_bytes
        try:
            return self.checked_indexes().catch_up(self.log, size_bytes=size)
        except CorruptMessageError:
            self.rebuild_indexes()
            return self.indexes.catch_up(self.log, size_bytes=size)

    def _first_timestamp(self) -> int:
        if self._first_timestamp_ms is None:
            content = read_bytes(self.log, 0, HEADER_BYTES)
            self._first_timestamp_ms = read_header(content).max_timestamp
        return self._first_timestamp_ms
