"""A file of entries of one size, in order: what every index is made of.

Entries are written at the end and searched by bisection *in the file*. An index is not held in
memory: a partition has two for each segment, together easily larger than the machine, while one
search costs some twenty reads of a few bytes that the page cache answers. Only the newest
entries, up to ``TAIL_ENTRIES``, wait in memory to be written together: an index entry is due
every few kilobytes of log and must not cost a system call each time.

Entries that were never written are lost in a crash. That is no loss: what follows the recovery
point of the log is read again after a crash, and its indexes with it.

One thread writes, any number may read meanwhile. The written count and the tail behind it
therefore change together, as one tuple.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from typing import Final

from ottla.runtime.files import File, FileSystem

TAIL_ENTRIES: Final = 512
"""Entries waiting in memory: at most 6 KiB of a time index for each partition."""

Entry = tuple[int, ...]


class WouldWaitError(Exception):
    """The bytes are not in the page cache, and the caller asked not to wait for the disk.

    Never leaves the storage package: a read turns it into ``None``.
    """


class EntryFile:
    """An append-only sequence of fixed-size entries, backed by the file at ``path``."""

    __slots__ = ("_discarded", "_entry", "_file_system", "_opened", "_state", "path")

    def __init__(self, path: Path, entry: Struct, *, file_system: FileSystem) -> None:
        """Take the file as it is; one that is missing is an empty index and made when needed."""
        self.path = path
        self._entry = entry
        self._file_system = file_system
        self._opened: dict[str, File] = {}
        self._state: tuple[int, bytearray] | None = None
        self._discarded = False

    def __len__(self) -> int:
        written, tail = self._loaded()
        return written + len(tail) // self._entry.size

    @property
    def size_bytes(self) -> int:
        """What the file has, or will have once everything is written."""
        written, tail = self._state or self._loaded()
        return written * self._entry.size + len(tail)

    @property
    def has_unwritten(self) -> bool:
        """Whether the file is not what it should be until :meth:`spill`. Does not open the file."""
        return self._discarded or (self._state is not None and bool(self._state[1]))

    def is_whole(self) -> bool:
        """Whether the file exists and is made of whole entries. May wait for the disk."""
        if self._discarded:
            return True
        if not self._file_system.exists(self.path):
            return False
        return self._file().size % self._entry.size == 0

    def at(self, index: int, *, cached_only: bool = False) -> Entry:
        """Return the entry number ``index``.

        Raises:
            WouldWaitError: ``cached_only``, and it has to come from the disk.
        """
        written, tail = self._loaded()
        size = self._entry.size
        if index >= written:
            return self._entry.unpack_from(tail, (index - written) * size)
        file = self._file()
        if cached_only:
            content = file.read_cached(index * size, size)
            if content is None:
                raise WouldWaitError
        else:
            content = file.read_at(index * size, size)
        return self._entry.unpack(content)

    def last(self) -> Entry | None:
        """Return the last entry; ``None`` if there are none."""
        count = len(self)
        return self.at(count - 1) if count else None

    def count_at_most(
        self, key: Callable[[Entry], int], bound: int, *, cached_only: bool = False
    ) -> int:
        """Return how many entries have a ``key`` of at most ``bound``; keys must not decrease."""
        return bisect_right(
            range(len(self)), bound, key=lambda i: key(self.at(i, cached_only=cached_only))
        )

    def last_at_most(
        self, key: Callable[[Entry], int], bound: int, *, cached_only: bool = False
    ) -> Entry | None:
        """Return the last entry whose ``key`` is at most ``bound``; keys must not decrease."""
        count = self.count_at_most(key, bound, cached_only=cached_only)
        return self.at(count - 1, cached_only=cached_only) if count else None

    # --- Writing --------------------------------------------------------------------

    def append(self, *entry: int) -> None:
        """Add an entry, in memory; never waits."""
        _, tail = self._state or self._loaded()
        tail += self._entry.pack(*entry)

    def spill(self) -> None:
        """Write what waits in memory. :exc:`OSError` leaves it there."""
        written, tail = self._loaded()
        if tail or self._discarded:
            file = self._file(create=True)
            if self._discarded:
                file.truncate(0)
                self._discarded = False
            if tail:
                file.append([tail])
            self._state = (written + len(tail) // self._entry.size, bytearray())

    def create(self) -> None:
        """Make the file if it is missing."""
        self._file(create=True)

    def keep(self, count: int) -> None:
        """Forget every entry but the first ``count``."""
        written, tail = self._loaded()
        if count < written:
            self._file().truncate(count * self._entry.size)
            self._state = (count, bytearray())
        else:
            self._state = (written, tail[: (count - written) * self._entry.size])

    def discard(self) -> None:
        """Begin anew, without touching the file until the next write."""
        self._state = (0, bytearray())
        self._discarded = True

    def sync(self) -> None:
        """Return once what was written survives a crash."""
        self._file(create=True).sync()

    def close(self) -> None:
        """Give the descriptor back; later calls open the file again."""
        file = self._opened.pop("file", None)
        if file is not None:
            file.close()

    # --- The file, opened when first needed -------------------------------------------

    def _loaded(self) -> tuple[int, bytearray]:
        state = self._state
        if state is None:
            exists = self._file_system.exists(self.path)
            count = self._file().size // self._entry.size if exists else 0
            state = self._state = (count, bytearray())
        return state

    def _file(self, *, create: bool = False) -> File:
        file = self._opened.get("file")
        if file is None:
            opened = self._file_system.open(self.path, create=create)
            # Two readers may get here at once; the one that comes second uses the first's.
            file = self._opened.setdefault("file", opened)
            if file is not opened:
                opened.close()
        return file
