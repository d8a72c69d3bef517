"""The port to the disk.

Everything that must survive a crash goes through :class:`FileSystem`, so that the
same code runs on a real disk (:mod:`ottla.runtime.posix`) and on a simulated one that
loses what was not synced, tears writes, fills up and fails
(:mod:`ottla.simulation.disk`). One conformance suite holds both to this page.

What survives a crash
---------------------
* The bytes of a file up to its length at the last :meth:`File.sync`, as they were then.
  Anything later may survive whole, in part, or not at all.
* A file's *name* only after :meth:`FileSystem.sync_directory` of its directory. The same
  holds for renames and removals: without it, either state may be found afterwards.

Errors are :class:`OSError` with their ``errno`` (``ENOSPC``, ``EIO``, ``ENOENT``...), as the
operating system gives them. After a failed :meth:`File.sync` nothing is known about what
reached the disk, and a second sync may wrongly report success: callers stop using the
file (PostgreSQL learned this the hard way in 2018).

All methods may block on the disk unless they say otherwise. Paths are absolute or
relative to the process; a simulated disk treats them as plain keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class File(Protocol):
    """An open file: written at its end only, read anywhere.

    Safe for one writer with any number of readers in other threads, because what is
    below ``size`` never changes except by :meth:`truncate`.
    """

    @property
    def path(self) -> Path:
        """Where the file was opened; renaming does not change it."""

    @property
    def size(self) -> int:
        """Bytes in the file, known without asking the disk."""

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write the buffers one after another at the end, in as few system calls as possible.

        All or nothing as far as the caller can see: if it raises, ``size`` is as before and
        what did reach the file beyond it has been cut off, or will be overwritten.
        """

    def read_at(self, position: int, size: int) -> bytes:
        """Read up to ``size`` bytes at ``position``; fewer only at the end of the file."""

    def read_cached(self, position: int, size: int) -> bytes | None:
        """Like :meth:`read_at`, but ``None`` where that would have to wait for the disk."""

    def sync(self) -> None:
        """Return once everything appended so far, and the size, survive a crash (fdatasync)."""

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes, which must not exceed what it has. Not synced."""

    def close(self) -> None:
        """Give the descriptor back; later calls raise :class:`ValueError`. Does not sync."""


class DirectoryLock(Protocol):
    """Held until released or until the process dies."""

    def release(self) -> None:
        """Let another process take the directory."""


class FileSystem(Protocol):
    """A tree of files."""

    def open(self, path: Path, *, create: bool = False) -> File:
        """Open for reading and appending; with ``create``, make the file if it is missing."""

    def read(self, path: Path) -> bytes:
        """Read a whole small file."""

    def replace(self, path: Path, content: bytes) -> None:
        """Put ``content`` at ``path`` so that a crash leaves the old file or the new, whole.

        Writes beside it, syncs, renames over it, syncs the directory.
        """

    def exists(self, path: Path) -> bool:
        """Whether a file or directory is there."""

    def list(self, path: Path) -> Sequence[str]:
        """Names in a directory, sorted."""

    def make_directory(self, path: Path) -> None:
        """Make a directory and its parents; no error if it exists. Not synced."""

    def rename(self, source: Path, target: Path) -> None:
        """Rename a file or directory, replacing a file at ``target``. Not synced."""

    def remove(self, path: Path) -> None:
        """Remove a file, or a directory with everything in it. Not synced."""

    def sync_directory(self, path: Path) -> None:
        """Make creations, renames and removals in this directory survive a crash."""

    def lock(self, directory: Path) -> DirectoryLock:
        """Hold ``directory`` (a ``.lock`` file in it) against other processes.

        Raises :class:`BlockingIOError` if another process holds it.
        """

    def usable_bytes(self, path: Path) -> tuple[int, int]:
        """Return (free for us, total) bytes of the disk that holds ``path``."""
