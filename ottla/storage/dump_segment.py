"""The files of one segment, entry by entry, compared with each other.

An index and its log are both in the order of their offsets, so they are compared by walking along
both at once; neither is held in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct
from typing import Final

from ottla.model.errors import CorruptMessageError, InvalidRecordError
from ottla.model.ids import NO_TIMESTAMP_MS
from ottla.record.batch import BatchHeader, RecordBatch
from ottla.record.records import Record, iterate_records
from ottla.runtime.files import FileSystem
from ottla.storage.batch_scan import BatchScan, walk_headers
from ottla.storage.dump_items import BatchItem, FileItem, Finding, Item
from ottla.storage.format import (
    LOG_SUFFIX,
    OFFSET_ENTRY,
    OFFSET_INDEX_SUFFIX,
    SNAPSHOT_SUFFIX,
    TIME_ENTRY,
    TIME_INDEX_SUFFIX,
    TRANSACTION_ENTRY,
    TRANSACTION_INDEX_SUFFIX,
    segment_file,
)
from ottla.storage.offset_index import OffsetPosition
from ottla.storage.producer_state import decode_entries
from ottla.storage.time_index import TimestampOffset
from ottla.storage.transaction_index import AbortedTransaction

_END: Final[tuple[int, BatchHeader | None]] = (0, None)


class UnsoundFileError(Exception):
    """A file as a whole is not what it should be. Becomes a finding."""


class SegmentDump:
    """Dumps files of the segment at ``base_offset``."""

    def __init__(
        self, directory: Path, base_offset: int, *, file_system: FileSystem, records: bool
    ) -> None:
        self._directory = directory
        self._base_offset = base_offset
        self._file_system = file_system
        self._records = records
        self._comparable = False
        self.next_offset: int | None = None
        """Where the log ends; ``None`` until it was dumped."""

    def items(self, suffix: str) -> Iterator[Item]:
        """Yield what is in the file with ``suffix``, one of those of segments."""
        path = segment_file(self._directory, self._base_offset, suffix)
        dumps: dict[str, Callable[[Path], Iterator[Item]]] = {
            LOG_SUFFIX: self._log,
            OFFSET_INDEX_SUFFIX: self._offset_index,
            TIME_INDEX_SUFFIX: self._time_index,
            TRANSACTION_INDEX_SUFFIX: self._transaction_index,
            SNAPSHOT_SUFFIX: self._snapshot,
        }
        file = self._file_system.open(path)
        yield FileItem(path, file.size)
        file.close()
        try:
            yield from dumps[suffix](path)
        except UnsoundFileError as error:
            yield Finding(path, None, str(error))

    # --- The log --------------------------------------------------------------------------

    def _log(self, path: Path) -> Iterator[Item]:
        file = self._file_system.open(path)
        scan = BatchScan(file, next_offset=self._base_offset)
        try:
            while True:
                for position, batch in scan:
                    yield from self._batch(path, position, batch)
                if scan.unsound is None:
                    break
                yield Finding(path, scan.position, scan.unsound)
                beyond = _next_sound(scan, file.size)
                if beyond is None:
                    rest = file.size - scan.position
                    yield Finding(path, scan.position, f"the last {rest} bytes cannot be read")
                    break
                scan = BatchScan(file, next_offset=None, position=beyond)
        finally:
            file.close()
        self.next_offset = scan.next_offset

    def _batch(self, path: Path, position: int, batch: RecordBatch) -> Iterator[Item]:
        records: tuple[Record, ...] | None = None
        complaint = None
        if self._records:
            try:
                records = tuple(iterate_records(batch))
            except (CorruptMessageError, InvalidRecordError) as error:
                complaint = str(error)
        yield BatchItem(position, batch.header, records)
        if complaint is not None:
            yield Finding(path, position, complaint)

    # --- The indexes ------------------------------------------------------------------------

    def _offset_index(self, path: Path) -> Iterator[Item]:
        headers = self._headers()
        at, header = next(headers, _END)
        last = OffsetPosition(self._base_offset - 1, -1)
        for position, (relative_offset, log_position) in self._entries(path, OFFSET_ENTRY):
            entry = OffsetPosition(relative_offset + self._base_offset, log_position)
            yield entry
            if entry.offset <= last.offset or entry.position <= last.position:
                yield Finding(path, position, f"{entry} does not follow {last}")
            last = entry
            while header is not None and at < entry.position:
                at, header = next(headers, _END)
            if header is not None and (at, header.last_offset) != (entry.position, entry.offset):
                yield Finding(path, position, f"no batch begins and ends where {entry} says")
            elif header is None and self._comparable:
                yield Finding(path, position, f"{entry} is beyond the log")

    def _time_index(self, path: Path) -> Iterator[Item]:
        headers = self._headers()
        _, header = next(headers, _END)
        largest = NO_TIMESTAMP_MS
        last = TimestampOffset(NO_TIMESTAMP_MS, self._base_offset - 1)
        for position, (timestamp_ms, relative_offset) in self._entries(path, TIME_ENTRY):
            entry = TimestampOffset(timestamp_ms, relative_offset + self._base_offset)
            yield entry
            if entry.offset <= last.offset or entry.timestamp_ms <= last.timestamp_ms:
                yield Finding(path, position, f"{entry} does not follow {last}")
            last = entry
            while header is not None and header.last_offset <= entry.offset:
                largest = max(largest, header.max_timestamp)
                _, header = next(headers, _END)
            if self._comparable and largest != entry.timestamp_ms:
                yield Finding(
                    path, position, f"the largest timestamp up to {entry.offset} is {largest}"
                )

    def _transaction_index(self, path: Path) -> Iterator[Item]:
        last_offset = self._base_offset - 1
        for position, (_, *fields) in self._entries(path, TRANSACTION_ENTRY):
            transaction = AbortedTransaction._make(fields)
            yield transaction
            if not last_offset < transaction.last_offset > transaction.first_offset:
                yield Finding(path, position, f"{transaction} ends out of order")
            last_offset = transaction.last_offset

    def _entries(self, path: Path, entry: Struct) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Yield (position, entry) of a file of entries of one size."""
        content = self._file_system.read(path)
        whole = len(content) - len(content) % entry.size
        for position in range(0, whole, entry.size):
            yield position, entry.unpack_from(content, position)
        if whole != len(content):
            raise UnsoundFileError(
                f"its size of {len(content)} bytes is not a multiple of {entry.size}"
            )

    def _headers(self) -> Iterator[tuple[int, BatchHeader | None]]:
        """Yield (position, header) of the log's batches, as far as they can be walked."""
        path = segment_file(self._directory, self._base_offset, LOG_SUFFIX)
        self._comparable = self._file_system.exists(path)
        if self._comparable:
            log = self._file_system.open(path)
            try:
                yield from walk_headers(log, position=0, end=log.size)
            except CorruptMessageError:
                # The log's own dump says so; its indexes cannot be compared beyond this.
                self._comparable = False
            finally:
                log.close()

    def _snapshot(self, path: Path) -> Iterator[Item]:
        try:
            yield from decode_entries(self._file_system.read(path))
        except ValueError as error:
            raise UnsoundFileError(str(error)) from None


def _next_sound(scan: BatchScan, end: int) -> int | None:
    """Return where the next sound batch begins after the one at which ``scan`` stopped."""
    size = scan.size_claimed()
    if size is None or scan.position + size >= end:
        return None
    return scan.position + size
