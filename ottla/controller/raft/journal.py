"""The journal: everything a node of the quorum must not forget, in one append-only file.

It holds the entries of the log that no snapshot contains yet, the term, the vote, and (at
leisure) the commit index. All of it is in memory too; the file is read once, when it is opened.

Rules
-----
* Changes are only noted until :meth:`Journal.sync`, which writes them as one group with one
  fdatasync. The engine calls it before any message leaves and before any entry is applied;
  nothing else may look at an entry and act on it.
* A failed write or sync stops the node. It is never tried again: after a failed fsync the
  kernel may call lost pages clean (PostgreSQL, 2018).
* The file is replaced as a whole, atomically, when a snapshot has made its beginning
  superfluous, *and whenever it is opened*. The latter cuts a torn tail, brings the log in
  line with the snapshot, and puts on the disk what the last process may have left in the
  page cache only.

Positions: ``base_index`` is the last entry before the log, known by its term only; a snapshot
contains it (a log that has never been compacted begins after entry 1 of term 0, which
is the same empty entry on every node). Ranges exclude their end::

    base_index = 40      entries 41 42 43      last_index = 43     end_index = 44

The file's format is in :mod:`ottla.controller.raft.journal_format`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ottla.controller.raft.fatal import Fatal, stop_on_disk_error
from ottla.controller.raft.journal_format import (
    FILE_HEADER,
    Base,
    Committed,
    Record,
    TermBegan,
    Truncated,
    decode_records,
    encode_group,
    encode_record,
    split_groups,
)
from ottla.controller.raft.messages import NO_OPERATION, Entry
from ottla.controller.raft.snapshots import SnapshotId
from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId
from ottla.runtime.files import File, FileSystem

ENTRY_OVERHEAD_BYTES: Final = 32
"""Counted for each entry besides its command, so that a million empty ones are not free."""

FIRST_BASE: Final = SnapshotId(index=1, term=0)
"""Where every log begins: pysyncobj's first entry, which is applied by definition."""


class Journal:
    """The log, the term and the vote of one node. One thread only."""

    def __init__(self, path: Path, *, file_system: FileSystem, fatal: Fatal) -> None:
        """Make an empty one that is not on the disk yet; use :meth:`open`."""
        self._path = path
        self._file_system = file_system
        self._fatal = fatal
        self._file: File | None = None
        self._noted: list[bytes] = []
        self._durable_end = 0
        self._failed = False
        self._syncs = 0
        self._term = 0
        self._voted_for: BrokerId | None = None
        self._commit_index = 0
        self._written_commit_index = 0
        self._entries: list[Entry] = []
        self._bytes_through: list[int] = []
        self._begin_after(FIRST_BASE)

    @classmethod
    def open(
        cls, path: Path, *, file_system: FileSystem, snapshot: SnapshotId | None, fatal: Fatal
    ) -> Journal:
        """Read the journal at ``path``, or begin one, and bring it in line with ``snapshot``.

        Raises :exc:`StorageError` if the file is damaged, or if it and the snapshot cannot be
        of one log; :exc:`OSError` if the disk cannot be read. Stops the node if it cannot be
        written.
        """
        journal = cls(path, file_system=file_system, fatal=fatal)
        if file_system.exists(path):
            journal._replay(file_system.read(path))
        elif snapshot is not None:
            raise StorageError(
                f"{path} is missing beside a snapshot of entry {snapshot.index}: this node has "
                "forgotten its vote; give it an empty directory and a new id"
            )
        journal._align_with(snapshot)
        journal._rewrite()
        return journal

    # --- What it holds ---

    @property
    def term(self) -> int:
        """The latest term this node has been in."""
        return self._term

    @property
    def voted_for(self) -> BrokerId | None:
        """Who has this node's vote in :attr:`term`."""
        return self._voted_for

    @property
    def commit_index(self) -> int:
        """The last entry known to be committed; after a restart, possibly an earlier one."""
        return self._commit_index

    @property
    def base_index(self) -> int:
        """The last entry before the log."""
        return self._entries[0].index

    @property
    def last_index(self) -> int:
        """The last entry of the log, or :attr:`base_index` if it has none."""
        return self._entries[-1].index

    @property
    def last_term(self) -> int:
        """The term of the last entry."""
        return self._entries[-1].term

    @property
    def end_index(self) -> int:
        """The index of the next entry."""
        return self._entries[-1].index + 1

    @property
    def durable_end_index(self) -> int:
        """Entries below this survive a crash."""
        return self._durable_end

    @property
    def dirty(self) -> bool:
        """Whether something noted is not durable yet."""
        return bool(self._noted)

    @property
    def syncs(self) -> int:
        """How often anything was made durable, for statistics."""
        return self._syncs

    def term_at(self, index: int) -> int:
        """Return the term of an entry between the base and the last one, both included."""
        assert self.base_index <= index <= self.last_index, f"no entry {index} in {self!r}"
        return self._entries[index - self.base_index].term

    def entries(self, start: int, end: int) -> list[Entry]:
        """Return the entries from ``start`` on, below ``end``."""
        assert self.base_index < start <= end <= self.end_index, f"{start}..{end} of {self!r}"
        return self._entries[start - self.base_index : end - self.base_index]

    def batch(self, start: int, *, bytes_max: int) -> tuple[Entry, ...]:
        """Return entries from ``start`` on: what fits in ``bytes_max``, at least one if any."""
        first = start - self.base_index
        assert 0 < first <= len(self._entries), f"no entry {start} in {self!r}"
        fits = bisect_right(self._bytes_through, self._bytes_through[first - 1] + bytes_max)
        return tuple(self._entries[first : max(fits, first + 1)])

    def bytes_between(self, start: int, end: int) -> int:
        """Return how large the entries from ``start`` on, below ``end``, are together."""
        base = self.base_index
        return self._bytes_through[end - 1 - base] - self._bytes_through[start - 1 - base]

    def rows(self) -> Sequence[Entry]:
        """Return the base and all entries, as pysyncobj sees the log. Not a copy."""
        return self._entries

    # --- Changes ---

    def append(self, entry: Entry) -> None:
        """Note one more entry."""
        assert entry.index == self.end_index, f"{entry.index} does not follow {self!r}"
        assert self.last_term <= entry.term <= self._term, f"term {entry.term} in {self!r}"
        self._push(entry)
        self._note(entry)

    def truncate(self, index: int) -> None:
        """Note that the entries from ``index`` on are taken back.

        ::

            41 42 43   truncate(42)   41 | 42 43
        """
        assert self._commit_index < index <= self.last_index, f"truncate {index} of {self!r}"
        self._drop_from(index)
        self._durable_end = min(self._durable_end, index)
        self._note(Truncated(index))

    def set_term(self, term: int, voted_for: BrokerId | None) -> None:
        """Note a new term, or a vote in this one."""
        assert term > self._term or (term == self._term and self._voted_for in (None, voted_for))
        if (term, voted_for) != (self._term, self._voted_for):
            self._term, self._voted_for = term, voted_for
            self._note(TermBegan(term, voted_for))

    def set_commit_index(self, index: int) -> None:
        """Remember how far the log is committed; written along with the next change."""
        assert self._commit_index <= index <= self.last_index, f"commit {index} of {self!r}"
        self._commit_index = index

    def sync(self) -> None:
        """Return once everything noted survives a crash: one append, one fdatasync, or nothing.

        Waits for the disk. Stops the node if it fails.
        """
        if not self._noted:
            return
        assert not self._failed, "a failed journal is never written again"
        assert self._file is not None, "closed"
        self._note_commit_index()
        group = encode_group(b"".join(self._noted), position=self._file.size)
        self._failed = True  # until it is known to have succeeded
        with stop_on_disk_error(self._fatal, f"writing the metadata journal {self._path}"):
            self._file.append([group])
            self._file.sync()
        self._all_is_durable()

    def compact(self, index: int) -> None:
        """Drop the entries up to ``index``, which a durable snapshot contains. Waits for the disk.

        ::

            40 | 41 42 43 44   compact(42)   42 | 43 44
        """
        assert index <= self._commit_index, f"{index} is not committed in {self!r}"
        if index <= self.base_index:
            return
        dropped = index - self.base_index
        self._entries = self._entries[dropped:]
        self._bytes_through = self._bytes_through[dropped:]
        self._rewrite()

    def restart_after(self, snapshot: SnapshotId) -> None:
        """Begin again, empty, after ``snapshot``, which is durable. Waits for the disk."""
        assert snapshot.index > self._commit_index, f"{snapshot} would undo {self!r}"
        assert snapshot.term <= self._term
        self._begin_after(snapshot)
        self._rewrite()

    def close(self) -> None:
        """Make everything durable, the commit index too, and let go of the file."""
        try:
            self._note_commit_index()
            self.sync()
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Let go of the file without writing anything more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __repr__(self) -> str:
        return (
            f"<Journal {self.base_index} | {self.base_index + 1}..{self.last_index} "
            f"committed {self._commit_index} term {self._term} vote {self._voted_for}>"
        )

    # --- In memory ---

    def _begin_after(self, base: SnapshotId) -> None:
        self._entries = [Entry(NO_OPERATION, base.index, base.term)]
        self._bytes_through = [0]
        self._commit_index = max(self._commit_index, base.index)

    def _push(self, entry: Entry) -> None:
        self._entries.append(entry)
        size = len(entry.command) + ENTRY_OVERHEAD_BYTES
        self._bytes_through.append(self._bytes_through[-1] + size)

    def _drop_from(self, index: int) -> None:
        kept = index - self.base_index
        del self._entries[kept:]
        del self._bytes_through[kept:]

    # --- On the disk ---

    def _note(self, record: Record) -> None:
        self._noted.append(encode_record(record))

    def _note_commit_index(self) -> None:
        if self._commit_index != self._written_commit_index:
            self._note(Committed(self._commit_index))
            self._written_commit_index = self._commit_index

    def _all_is_durable(self) -> None:
        self._failed = False
        self._noted.clear()
        self._durable_end = self.end_index
        self._syncs += 1

    def _rewrite(self) -> None:
        """Replace the file by one that holds what is in memory, noted or not, as one group."""
        base = self._entries[0]
        records: list[Record] = [
            Base(base.index, base.term),
            TermBegan(self._term, self._voted_for),
        ]
        records += self._entries[1:]
        records.append(Committed(self._commit_index))
        encoded = b"".join(map(encode_record, records))
        content = FILE_HEADER + encode_group(encoded, position=len(FILE_HEADER))
        assert not self._failed, "a failed journal is never written again"
        self._failed = True
        with stop_on_disk_error(self._fatal, f"rewriting the metadata journal {self._path}"):
            self._file_system.replace(self._path, content)
            if self._file is not None:
                self._file.close()
            self._file = self._file_system.open(self._path)
        self._written_commit_index = self._commit_index
        self._all_is_durable()

    def _replay(self, content: bytes) -> None:
        try:
            payloads, _ = split_groups(content)
            for payload in payloads:
                for record in decode_records(payload):
                    self._replay_record(record)
        except StorageError as error:
            raise StorageError(f"the metadata journal {self._path} {error}") from error
        if not payloads:
            raise StorageError(f"the metadata journal {self._path} holds nothing; it was cut off")
        self._commit_index = min(max(self._commit_index, self.base_index), self.last_index)

    def _replay_record(self, record: Record) -> None:
        match record:
            case Base(index, term):
                self._begin_after(SnapshotId(index, term))
            case Entry(_, index, _):
                if index != self.end_index:
                    raise StorageError(f"has entry {index} where {self.end_index} belongs")
                self._push(record)
            case Truncated(index):
                if not self.base_index < index <= self.last_index:
                    raise StorageError(f"takes back entry {index}, which it does not have")
                self._drop_from(index)
            case TermBegan(term, voted_for):
                self._term, self._voted_for = term, voted_for
            case Committed(index):
                self._commit_index = index

    def _align_with(self, snapshot: SnapshotId | None) -> None:
        """Let the log follow on the snapshot.

        A snapshot that was installed or written just before a crash is ahead of the journal's
        base. What the journal has beyond it is kept if it is of the same history, and only
        then: an entry that follows one which lost to the snapshot was never committed.
        """
        base = snapshot or FIRST_BASE
        if self.base_index > base.index:
            raise StorageError(
                f"the metadata journal {self._path} begins after entry {self.base_index}, but the "
                f"snapshot ends with {base.index}: entries between them are gone; restore the "
                "snapshot, or give this node an empty directory and a new id"
            )
        same_history = base.index <= self.last_index and self.term_at(base.index) == base.term
        if not same_history:
            if self._commit_index >= base.index:
                raise StorageError(
                    f"the metadata journal {self._path} and the snapshot disagree about entry "
                    f"{base.index}, which is committed; they belong to different nodes or logs"
                )
            self._begin_after(base)
        if base.term > self._term or self.last_term > self._term:
            raise StorageError(
                f"the metadata journal {self._path} is in term {self._term}, older than its "
                "entries or its snapshot; it was replaced by an earlier copy"
            )
        self._commit_index = max(self._commit_index, base.index)
