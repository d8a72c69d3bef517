"""Snapshots of the producers' states: ``.snapshot`` files.

Each is named after the offset up to which it holds. One is taken when a segment is closed, so that
recovery can begin with the next segment, and one when the log is closed, so that opening it again
reads no batches at all.

A snapshot is a shortcut. It is written without waiting for the disk, and one that is damaged or
missing only makes recovery read more.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Collection, Iterable
from pathlib import Path

from ottla.runtime.files import FileSystem
from ottla.storage.format import SNAPSHOT_SUFFIX, segment_file
from ottla.storage.producer_state import ProducerStates


class ProducerSnapshots:
    """The snapshots of one partition."""

    __slots__ = ("_directory", "_file_system", "_offsets")

    def __init__(self, directory: Path, offsets: Iterable[int], *, file_system: FileSystem) -> None:
        """Args: ``offsets``: of the snapshots that are there."""
        self._directory = directory
        self._file_system = file_system
        self._offsets = sorted(offsets)

    def write(self, offset: int, producers: ProducerStates) -> Path:
        """Write what is known of the producers at ``offset``, in place of any other; not synced.

        Raises:
            OSError: the file cannot be written; what there is of it will not be believed.
        """
        path = self._path(offset)
        file = self._file_system.open(path, create=True)
        try:
            file.truncate(0)
            file.append([producers.encode()])
        finally:
            file.close()
        if offset not in self._offsets:
            insort(self._offsets, offset)
        return path

    def load(self, producers: ProducerStates, *, offset_max: int) -> int | None:
        """Load the newest sound snapshot at or below ``offset_max``; return its offset.

        ``None``, and no producers, if there is none. Damaged ones are removed.
        """
        while index := bisect_right(self._offsets, offset_max):
            offset = self._offsets[index - 1]
            try:
                producers.load(self._file_system.read(self._path(offset)))
            except ValueError:
                self._remove([offset])
            else:
                return offset
        producers.clear()
        return None

    def remove_above(self, offset: int) -> None:
        """Remove the snapshots of a part of the log that is gone."""
        self._remove([known for known in self._offsets if known > offset])

    def remove_all_but(self, offsets: Collection[int]) -> None:
        """Remove the snapshots that no segment begins with, but the newest."""
        self._remove([known for known in self._offsets[:-1] if known not in offsets])

    def forget(self, offsets: Collection[int]) -> None:
        """Take note that these are removed together with their segments."""
        self._offsets = [known for known in self._offsets if known not in offsets]

    def _remove(self, offsets: Iterable[int]) -> None:
        for offset in offsets:
            self._offsets.remove(offset)
            self._file_system.remove(self._path(offset))

    def _path(self, offset: int) -> Path:
        return segment_file(self._directory, offset, SNAPSHOT_SUFFIX)
