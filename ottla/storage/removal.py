"""Segments that are no longer part of a log, and the files that they leave.

Giving back the space of a large file takes the file system a while, and readers may still be at
it. So a removed segment keeps its descriptors until :meth:`RemovedSegments.remove` is called, off
the event loop, after ``file.delete.delay.ms``.

At the *front* of the log, files are first renamed to ``….deleted``, oldest first, which is quick
and not synced. A crash may then undo some of the renames and keep others, and nobody could tell the
gap from a loss. Therefore the rule for opening a log: where a segment is marked as deleted, so are
all before it. The marks are durable before the first of them is removed.

At the *end* of the log new segments will take the names, so files lose them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ottla.runtime.files import FileSystem
from ottla.storage.format import DELETED_SUFFIX, SEGMENT_SUFFIXES, segment_file
from ottla.storage.segment import Segment


class RemovedSegments:
    """What is left to do for segments that are no longer part of the log."""

    __slots__ = ("_directory", "_file_system", "paths", "segments")

    def __init__(
        self,
        directory: Path,
        segments: Sequence[Segment],
        paths: Sequence[Path],
        *,
        file_system: FileSystem,
    ) -> None:
        """Args: ``paths``: files that are still there, under names that no log uses."""
        self._directory = directory
        self._file_system = file_system
        self.segments = segments
        self.paths = paths

    def __bool__(self) -> bool:
        return bool(self.segments)

    @property
    def size_bytes(self) -> int:
        """Of the records removed."""
        return sum(segment.extent.size_bytes for segment in self.segments)

    def remove(self) -> None:
        """Give back descriptors and space. Waits for the disk; may be called again after an error.

        Raises:
            OSError: some of it could not be done.
        """
        if self.paths:
            self._file_system.sync_directory(self._directory)
        for path in self.paths:
            if self._file_system.exists(path):
                self._file_system.remove(path)
        for segment in self.segments:
            segment.close()


def mark_deleted(
    directory: Path, segments: Sequence[Segment], *, file_system: FileSystem
) -> RemovedSegments:
    """Rename the files of the first segments of a log. Does not sync.

    Raises:
        OSError: some are renamed and some are not; opening the log again puts it right.
    """
    paths = []
    for segment in segments:
        for path in _files_of(directory, segment, file_system=file_system):
            marked = path.with_name(path.name + DELETED_SUFFIX)
            file_system.rename(path, marked)
            paths.append(marked)
    return RemovedSegments(directory, segments, paths, file_system=file_system)


def unlink(
    directory: Path, segments: Sequence[Segment], *, file_system: FileSystem
) -> RemovedSegments:
    """Take the files of segments away at once, newest first, and sync that.

    Raises:
        OSError: some are gone and some are not; opening the log again puts it right.
    """
    for segment in reversed(segments):
        for path in _files_of(directory, segment, file_system=file_system):
            file_system.remove(path)
    if segments:
        file_system.sync_directory(directory)
    return RemovedSegments(directory, segments, (), file_system=file_system)


def _files_of(directory: Path, segment: Segment, *, file_system: FileSystem) -> list[Path]:
    paths = (segment_file(directory, segment.base_offset, suffix) for suffix in SEGMENT_SUFFIXES)
    return [path for path in paths if file_system.exists(path)]
