"""Which transactions were aborted, and where: ``.txnindex``.

A consumer that reads committed records only must be told which producers' records to skip. When
the marker that aborts a transaction is appended, the segment that holds the *marker* gets an entry.
Entries are therefore in the order of their markers.

Most segments have no such entry, and then no such file.
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ottla.runtime.files import FileSystem
from ottla.storage.entry_file import EntryFile
from ottla.storage.format import (
    TRANSACTION_ENTRY,
    TRANSACTION_ENTRY_VERSION,
    TRANSACTION_INDEX_SUFFIX,
    segment_file,
)

_last_offset = itemgetter(3)


class AbortedTransaction(NamedTuple):
    """One aborted transaction of one producer."""

    producer_id: int
    first_offset: int
    last_offset: int
    """Of the marker."""
    last_stable_offset: int
    """Of the log when the marker was appended: no open transaction began before it."""


class TransactionIndex:
    """The aborted transactions whose markers are in one segment."""

    __slots__ = ("_entries", "_exists")

    def __init__(
        self, directory: Path, base_offset: int, *, file_system: FileSystem, exists: bool
    ) -> None:
        """Args: ``exists``: whether the segment has such a file, so that nobody has to look."""
        self._exists = exists
        self._entries = EntryFile(
            segment_file(directory, base_offset, TRANSACTION_INDEX_SUFFIX),
            TRANSACTION_ENTRY,
            file_system=file_system,
        )

    def append(self, transaction: AbortedTransaction) -> None:
        """Add a transaction, in memory; never waits."""
        self._exists = True
        self._entries.append(TRANSACTION_ENTRY_VERSION, *transaction)

    def finish(self) -> None:
        """Write everything: the segment is not appended to from here on. Does not sync."""
        if self._exists:
            self._entries.spill()

    def overlapping(self, *, start_offset: int, end_offset: int) -> Iterator[AbortedTransaction]:
        """Yield the transactions with records in ``[start_offset, end_offset)``; may wait."""
        if not self._exists:
            return
        first = self._entries.count_at_most(_last_offset, start_offset - 1)
        for index in range(first, len(self._entries)):
            transaction = AbortedTransaction._make(self._entries.at(index)[1:])
            if transaction.first_offset < end_offset:
                yield transaction

    def truncate_to(self, end_offset: int) -> None:
        """Forget the transactions whose markers are at or beyond ``end_offset``."""
        if self._exists:
            self._entries.keep(self._entries.count_at_most(_last_offset, end_offset - 1))

    def reset(self) -> None:
        """Forget everything; recovery is about to add it again."""
        if self._exists:
            self._entries.discard()

    def sync(self) -> None:
        """Return once the entries survive a crash."""
        if self._exists:
            self._entries.sync()

    def close(self) -> None:
        """Give the descriptor back."""
        self._entries.close()
