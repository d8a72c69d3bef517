"""The real disk.

Two choices carry this end of the port:

* Writes name their position (``pwritev``), they do not append. What a failed write left
  beyond the end is cut off; should even that fail, it is cut before the next write, and
  no reader ever looks beyond ``size``.
* A descriptor is borrowed for the length of one system call. Closing a file while
  another thread reads or syncs it takes effect when that thread is done: otherwise the
  number could already belong to another file, and the read would return its bytes.

``sync=False`` makes every sync a no-op, for clusters whose data nobody will miss.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ottla.runtime.files import Buffer

LOCK_FILE_NAME: Final = ".lock"
"""The name that Kafka gives it."""

TEMPORARY_SUFFIX: Final = ".tmp"
"""What :meth:`PosixFileSystem.replace` adds to the name of the file it prepares."""

_BUFFERS_PER_WRITE_MAX: Final = os.sysconf("SC_IOV_MAX") if "SC_IOV_MAX" in os.sysconf_names else 16
_FILE_MODE: Final = 0o644
_NOWAIT_REFUSALS: Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
"""What file systems (and emulated kernels) answer that do not know ``RWF_NOWAIT``."""

_OPEN_FILES_MAX_DARWIN: Final = 10_240
"""``OPEN_MAX`` of macOS, which refuses more however high the hard limit is."""

_thread = threading.local()


class PosixFile:
    """A file of the operating system; see :class:`ottla.runtime.files.File`."""

    __slots__ = (
        "_closed",
        "_descriptor",
        "_lock",
        "_path",
        "_size",
        "_syncs",
        "_trailing",
        "_users",
    )

    def __init__(self, path: Path, descriptor: int, *, sync: bool) -> None:
        self._path = path
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._syncs = sync
        self._trailing = False  # bytes of a failed write may lie beyond the end
        self._lock = threading.Lock()
        self._users = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"PosixFile({self._path}, {self._size} bytes{', closed' if self._closed else ''})"

    @property
    def path(self) -> Path:
        return self._path

    @property
    def size(self) -> int:
        return self._size

    def append(self, buffers: Sequence[Buffer]) -> None:
        descriptor = self._borrow()
        try:
            if self._trailing:
                os.ftruncate(descriptor, self._size)
                self._trailing = False
            self._size += _write(descriptor, buffers, self._size)
        except OSError:
            self._cut_trailing(descriptor)
            raise
        finally:
            self._give_back()

    def read_at(self, position: int, size: int) -> bytes:
        assert position >= 0, position
        assert size >= 0, size
        descriptor = self._borrow()
        try:
            return _read(descriptor, position, min(size, self._size - position))
        finally:
            self._give_back()

    def read_cached(self, position: int, size: int) -> bytes | None:
        assert position >= 0, position
        assert size >= 0, size
        descriptor = self._borrow()
        try:
            return _read_cached(descriptor, position, min(size, self._size - position))
        finally:
            self._give_back()

    def sync(self) -> None:
        descriptor = self._borrow()
        try:
            if self._syncs:
                _sync_data(descriptor)
        finally:
            self._give_back()

    def truncate(self, size: int) -> None:
        assert 0 <= size <= self._size, f"{self} cannot be cut to {size} bytes"
        descriptor = self._borrow()
        try:
            os.ftruncate(descriptor, size)
            self._size = size
            self._trailing = False
        finally:
            self._give_back()

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            unused = self._users == 0
        if unused:
            os.close(self._descriptor)

    def _borrow(self) -> int:
        with self._lock:
            if self._closed:
                raise ValueError(f"{self._path} is closed")
            self._users += 1
        return self._descriptor

    def _give_back(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._closed and self._users == 0
        if last:
            os.close(self._descriptor)

    def _cut_trailing(self, descriptor: int) -> None:
        try:
            os.ftruncate(descriptor, self._size)
        except OSError:
            self._trailing = True


class PosixDirectoryLock:
    """Holds ``flock`` on the lock file; see :class:`ottla.runtime.files.DirectoryLock`."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class PosixFileSystem:
    """The operating system's tree of files; see :class:`ottla.runtime.files.FileSystem`."""

    def __init__(self, *, sync: bool = True) -> None:
        self._syncs = sync

    def open(self, path: Path, *, create: bool = False) -> PosixFile:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return PosixFile(path, os.open(path, flags, _FILE_MODE), sync=self._syncs)

    def read(self, path: Path) -> bytes:
        return path.read_bytes()

    def replace(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, _FILE_MODE)
        try:
            try:
                _write(descriptor, [content], 0)
                if self._syncs:
                    _sync_data(descriptor)
            finally:
                os.close(descriptor)
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        self.sync_directory(path.parent)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def list(self, path: Path) -> Sequence[str]:
        return sorted(entry.name for entry in path.iterdir())

    def make_directory(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def remove(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def sync_directory(self, path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if self._syncs:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, directory: Path) -> PosixDirectoryLock:
        """Hold ``directory``, and leave our process id in its lock file.

        Raises :class:`BlockingIOError` with the holder's process id in its message.
        """
        path = directory / LOCK_FILE_NAME
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise BlockingIOError(error.errno, f"held by process {holder}", str(path)) from None
        except OSError:
            os.close(descriptor)
            raise
        return PosixDirectoryLock(descriptor)

    def usable_bytes(self, path: Path) -> tuple[int, int]:
        status = os.statvfs(path)
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize


def raise_open_files_limit() -> int:
    """Let this process open as many files as its hard limit allows; return that number.

    The usual soft limit of 1024 is for programs that use ``select``. A log keeps a few files
    open for each segment.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if sys.platform == "darwin" and hard == resource.RLIM_INFINITY:
        hard = _OPEN_FILES_MAX_DARWIN
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def open_files_limit() -> int:
    """Return how many files this process may open."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


# --- System calls that may do less than they were asked to -------------------------


def _write(descriptor: int, buffers: Sequence[Buffer], position: int) -> int:
    """Write all of ``buffers`` at ``position``; return how many bytes that was."""
    total = sum(map(len, buffers))
    if len(buffers) <= _BUFFERS_PER_WRITE_MAX:
        written = os.pwritev(descriptor, buffers, position)
        if written == total:
            return total
    else:
        written = 0
    rest = _skip(buffers, written)
    while rest:
        count = os.pwritev(descriptor, rest[:_BUFFERS_PER_WRITE_MAX], position + written)
        if count == 0:
            raise OSError(errno.EIO, "the disk takes no more bytes and does not say why")
        written += count
        rest = _skip(rest, count)
    return total


def _skip(buffers: Sequence[Buffer], count: int) -> list[Buffer]:
    """Drop the first ``count`` bytes of ``buffers``."""
    for index, buffer in enumerate(buffers):
        if count < len(buffer):
            return [memoryview(buffer)[count:], *buffers[index + 1 :]]
        count -= len(buffer)
    return []


def _read(descriptor: int, position: int, size: int) -> bytes:
    if size <= 0:
        return b""
    content = os.pread(descriptor, size, position)
    if len(content) == size:
        return content
    parts = [content]
    while content and (size := size - len(content)) > 0:
        position += len(content)
        content = os.pread(descriptor, size, position)
        parts.append(content)
    return b"".join(parts)


if sys.platform == "linux" and hasattr(os, "RWF_NOWAIT"):

    def _read_cached(descriptor: int, position: int, size: int) -> bytes | None:
        """Read without waiting, by way of a buffer that the thread keeps.

        The kernel says only while copying whether it would have to wait. Copying to
        pages that are mapped already and from there to the result costs less than a
        fresh buffer and its page faults.
        """
        if size <= 0:
            return b""
        scratch: bytearray | None = getattr(_thread, "scratch", None)
        if scratch is None or len(scratch) < size:
            _thread.scratch = scratch = bytearray(size)
        target = memoryview(scratch)[:size]
        try:
            count = os.preadv(descriptor, [target], position, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno not in _NOWAIT_REFUSALS:
                raise
            return _read(descriptor, position, size)
        return bytes(target) if count == size else None

else:

    def _read_cached(descriptor: int, position: int, size: int) -> bytes | None:
        return _read(descriptor, position, size)


if sys.platform == "darwin":

    def _sync_data(descriptor: int) -> None:
        # fsync of macOS stops at the drive's volatile cache.
        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)

else:

    def _sync_data(descriptor: int) -> None:
        os.fdatasync(descriptor)
