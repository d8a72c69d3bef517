"""A disk in memory that keeps exactly what the port promises, and not a byte more on purpose.

Theory of operation
-------------------
Every file knows how much of it is *stable*: its length at the last sync, less what was cut
off since. Every directory knows its names twice: as the program sees them, and as they are
*durable*; what lies between is a list of pending changes in the order they were made.

:meth:`SimulatedDisk.crash` decides, with the seed, what the power failure left:

    content    [ stable ........ ][ not synced ............ ]
    kept       [ stable ........ ][ nothing | a part | all | torn: sectors whole, zeroed, garbled ]
               or what an unsynced truncation had cut off is back

and of the pending changes of names: none, the first few, all, or any of them that are
possible without the others. A rename happens or does not; it never loses both names.

Operations that change something are counted. ``crash_at_operation=N`` raises
:exc:`SimulatedCrash` before operation N or, by the seed, when it is half done, and after it
whatever is tried raises again, so that no ``finally`` of the dying program reaches the disk.
A test that wants to see every crash point runs once to learn :attr:`~SimulatedDisk.operations`
and then once for each number.

Rules for tests
---------------
1. After a crash call :meth:`~SimulatedDisk.crash`; handles and locks of before are dead.
2. The root and the current directory exist and are durable. Everything else must be made,
   and *its parent* synced, or it is gone after a crash, with all that is in it.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import RLock
from typing import Final

from ottla.runtime.files import Buffer
from ottla.simulation.inodes import Change, Directory, Entry, FileNode, Link, Move, Unlink

CAPACITY_BYTES_DEFAULT: Final = 1 << 40
_LOCK_FILE_NAME: Final = ".lock"
_TEMPORARY_SUFFIX: Final = ".tmp"


class SimulatedCrash(BaseException):
    """The power failed. Not an :exc:`Exception`: no handler of the program may outlive it."""


@dataclass(slots=True)
class _Fault:
    """An error to be raised by the operations that match."""

    operation: str
    number: int
    name_suffix: str
    times: int


class SimulatedFile:
    """An open file of a simulated disk; see :class:`ottla.runtime.files.File`."""

    def __init__(self, disk: SimulatedDisk, path: Path, node: FileNode, life: int) -> None:
        self._disk = disk
        self._path = path
        self._node = node
        self._life = life
        self._closed = False

    def __repr__(self) -> str:
        return f"SimulatedFile({self._path}, {self.size} bytes{', closed' * self._closed})"

    @property
    def path(self) -> Path:
        return self._path

    @property
    def size(self) -> int:
        return len(self._node.content)

    def append(self, buffers: Sequence[Buffer]) -> None:
        self._check_open()
        self._disk.append(self._path, self._node, b"".join(buffers))

    def read_at(self, position: int, size: int) -> bytes:
        assert position >= 0, position
        assert size >= 0, size
        self._check_open()
        return self._disk.read_node(self._path, self._node, position, size)

    def read_cached(self, position: int, size: int) -> bytes | None:
        assert position >= 0, position
        assert size >= 0, size
        self._check_open()
        if self._node.cold:
            return None
        return self._disk.read_node(self._path, self._node, position, size)

    def sync(self) -> None:
        self._check_open()
        self._disk.sync(self._path, self._node)

    def truncate(self, size: int) -> None:
        assert 0 <= size <= self.size, f"{self} cannot be cut to {size} bytes"
        self._check_open()
        self._disk.truncate(self._path, self._node, size)

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self._path} is closed")
        if self._life != self._disk.life:
            raise ValueError(f"{self._path} was opened before the crash")


class SimulatedDirectoryLock:
    """A held directory; see :class:`ottla.runtime.files.DirectoryLock`."""

    def __init__(self) -> None:
        self.is_held = True

    def release(self) -> None:
        self.is_held = False


@dataclass(eq=False)
class SimulatedDisk:
    """A tree of files that forgets; see :class:`ottla.runtime.files.FileSystem`."""

    seed: int
    crash_at_operation: int | None = None
    """Raise :exc:`SimulatedCrash` in the operation of this number, counted from 1."""
    capacity_bytes: int = CAPACITY_BYTES_DEFAULT
    """All files together; beyond it, writes raise ``ENOSPC``. May be changed at any time."""

    operations: int = 0
    """How many changing operations were begun."""
    counts: Counter[str] = field(default_factory=Counter)
    """The same by kind: append, sync, truncate, create, make_directory, rename, remove,
    sync_directory. ``replace`` is made of create, append, sync, rename and sync_directory."""
    life: int = 0
    """How many crashes there were."""

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 - a seed must give the same again
        self._top = Directory()
        self._top.entries["/"] = self._top.durable["/"] = Directory()
        self._pending: list[Change] = []
        self._faults: list[_Fault] = []
        self._locks: dict[Directory, SimulatedDirectoryLock] = {}
        self._crashed = False
        self._mutex = RLock()

    # --- The port -------------------------------------------------------------------

    def open(self, path: Path, *, create: bool = False) -> SimulatedFile:
        with self._mutex:
            self._refuse_after_crash()
            parent = self._parent(path)
            entry = parent.entries.get(path.name)
            if entry is None and create:
                self._begin("create", path)
                entry = FileNode()
                self._change(Link(parent, path.name, entry))
            return SimulatedFile(self, path, _as_file(path, entry), self.life)

    def read(self, path: Path) -> bytes:
        with self._mutex:
            self._refuse_after_crash()
            node = _as_file(path, self._find(path))
            return self.read_node(path, node, 0, len(node.content))

    def replace(self, path: Path, content: bytes) -> None:
        with self._mutex:
            temporary = path.with_name(path.name + _TEMPORARY_SUFFIX)
            try:
                file = self.open(temporary, create=True)
                if file.size:
                    file.truncate(0)
                file.append([content])
                file.sync()
                self.rename(temporary, path)
            except OSError:
                entry = self._find(temporary)
                if entry is not None:
                    self._change(Unlink(self._parent(path), temporary.name, entry))
                raise
            self.sync_directory(path.parent)

    def exists(self, path: Path) -> bool:
        with self._mutex:
            self._refuse_after_crash()
            return self._find(path) is not None

    def list(self, path: Path) -> Sequence[str]:
        with self._mutex:
            self._refuse_after_crash()
            return sorted(_as_directory(path, self._find(path)).entries)

    def make_directory(self, path: Path) -> None:
        with self._mutex:
            self._refuse_after_crash()
            directory = self._top
            for depth, name in enumerate(path.parts, start=1):
                entry = directory.entries.get(name)
                if entry is None:
                    self._begin("make_directory", path)
                    entry = Directory()
                    self._change(Link(directory, name, entry))
                if not isinstance(entry, Directory):
                    last = depth == len(path.parts)
                    raise _error(errno.EEXIST if last else errno.ENOTDIR, path)
                directory = entry

    def rename(self, source: Path, target: Path) -> None:
        with self._mutex:
            self._refuse_after_crash()
            source_parent, target_parent = self._parent(source), self._parent(target)
            entry = source_parent.entries.get(source.name)
            if entry is None:
                raise _error(errno.ENOENT, source)
            _check_replaceable(target, entry, target_parent.entries.get(target.name))
            self._begin("rename", source)
            self._change(Move(source_parent, source.name, target_parent, target.name, entry))

    def remove(self, path: Path) -> None:
        with self._mutex:
            self._refuse_after_crash()
            parent = self._parent(path)
            entry = parent.entries.get(path.name)
            if entry is None:
                raise _error(errno.ENOENT, path)
            if isinstance(entry, Directory):
                for name in sorted(entry.entries):
                    self.remove(path / name)
            self._begin("remove", path)
            self._change(Unlink(parent, path.name, entry))

    def sync_directory(self, path: Path) -> None:
        with self._mutex:
            self._refuse_after_crash()
            directory = _as_directory(path, self._find(path))
            needed = _changes_needed(self._pending, directory)
            self._begin("sync_directory", path, midway=lambda: self._settle_some(needed))
            self._settle_changes(needed)

    def lock(self, directory: Path) -> SimulatedDirectoryLock:
        with self._mutex:
            node = _as_directory(directory, self._find(directory))
            self.open(directory / _LOCK_FILE_NAME, create=True)
            if node in self._locks and self._locks[node].is_held:
                raise BlockingIOError(errno.EWOULDBLOCK, "held by another", str(directory))
            self._locks[node] = lock = SimulatedDirectoryLock()
            return lock

    def usable_bytes(self, path: Path) -> tuple[int, int]:
        with self._mutex:
            self._refuse_after_crash()
            if self._find(path) is None:
                raise _error(errno.ENOENT, path)
            return max(0, self.capacity_bytes - self._top.content_bytes()), self.capacity_bytes

    # --- The files' half --------------------------------------------------------------

    def append(self, path: Path, node: FileNode, content: bytes) -> None:
        """Do :meth:`SimulatedFile.append`."""

        def tear() -> None:
            node.content += content[: self._random.randint(0, len(content))]

        with self._mutex:
            try:
                self._begin("append", path, midway=tear)
            except OSError:
                _write_and_cut(node, content[: self._random.randint(0, len(content))])
                raise
            if self.capacity_bytes < CAPACITY_BYTES_DEFAULT:
                self._refuse_beyond_capacity(path, node, content)
            node.content += content

    def read_node(self, path: Path, node: FileNode, position: int, size: int) -> bytes:
        """Do :meth:`SimulatedFile.read_at`."""
        with self._mutex:
            self._refuse_after_crash()
            self._raise_fault("read", path)
            node.cold = False
            return bytes(node.content[position : position + size])

    def sync(self, path: Path, node: FileNode) -> None:
        """Do :meth:`SimulatedFile.sync`."""

        def sync_part() -> None:
            node.sync_to(self._random.randint(node.stable, len(node.content)))

        with self._mutex:
            self._begin("sync", path, midway=sync_part)
            node.sync_to(len(node.content))

    def truncate(self, path: Path, node: FileNode, size: int) -> None:
        """Do :meth:`SimulatedFile.truncate`."""
        with self._mutex:
            self._begin("truncate", path)
            node.truncate(size)

    # --- What a test does to the disk -----------------------------------------------------

    def crash(self) -> None:
        """Cut the power, and switch it on again: only what survived is there afterwards."""
        with self._mutex:
            self._settle_some(self._pending)
            self._pending.clear()
            self._locks.clear()
            self._top.reboot(self._random)
            self.life += 1
            self.crash_at_operation = None
            self._crashed = False

    def settle(self) -> None:
        """Make everything durable, as if the machine had been left alone for a minute."""
        with self._mutex:
            self._settle_changes(list(self._pending))
            for node in self._top.files():
                node.sync_to(len(node.content))

    def fail(
        self, operation: str, error_number: int, *, name_suffix: str = "", times: int = 1
    ) -> None:
        """Let the next ``times`` operations of a kind raise :exc:`OSError` and do nothing.

        ``operation`` is a key of :attr:`counts`, or ``read``; ``name_suffix`` is how the path
        ends. A failed append writes a part and cuts it off; a failed sync leaves the file's
        unsynced bytes as uncertain as before.
        """
        self._faults.append(_Fault(operation, error_number, name_suffix, times))

    def flip_bit(self, path: Path, position: int, bit: int = 0) -> None:
        """Damage a byte where it lies, without anybody noticing."""
        with self._mutex:
            _as_file(path, self._find(path)).content[position] ^= 1 << bit

    def make_cold(self, path: Path) -> None:
        """Drop a file from the page cache: the next :meth:`SimulatedFile.read_cached` is None."""
        with self._mutex:
            _as_file(path, self._find(path)).cold = True

    # --- Inside --------------------------------------------------------------------------

    def _begin(self, operation: str, path: Path, midway: Callable[[], None] = lambda: None) -> None:
        self._refuse_after_crash()
        self.operations += 1
        self.counts[operation] += 1
        if self.operations == self.crash_at_operation:
            self._crashed = True
            if self._random.getrandbits(1):
                midway()
            raise SimulatedCrash(f"in operation {self.operations}, {operation} of {path}")
        self._raise_fault(operation, path)

    def _raise_fault(self, operation: str, path: Path) -> None:
        for fault in self._faults:
            if fault.operation == operation and str(path).endswith(fault.name_suffix):
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                raise _error(fault.number, path)

    def _refuse_beyond_capacity(self, path: Path, node: FileNode, content: bytes) -> None:
        room = max(0, self.capacity_bytes - self._top.content_bytes())
        if len(content) > room:
            _write_and_cut(node, content[:room])
            raise _error(errno.ENOSPC, path)

    def _refuse_after_crash(self) -> None:
        if self._crashed:
            raise SimulatedCrash("the power failed a while ago")

    def _find(self, path: Path) -> Entry | None:
        entry: Entry | None = self._top
        for name in path.parts:
            if not isinstance(entry, Directory):
                return None
            entry = entry.entries.get(name)
        return entry

    def _parent(self, path: Path) -> Directory:
        return _as_directory(path, self._find(path.parent))

    def _change(self, change: Change) -> None:
        change.apply_to(lambda directory: directory.entries)
        self._pending.append(change)

    def _settle_changes(self, changes: Sequence[Change]) -> None:
        for change in changes:
            change.apply_to(lambda directory: directory.durable)
            self._pending.remove(change)

    def _settle_some(self, changes: Sequence[Change]) -> None:
        match self._random.randrange(4):
            case 0:
                chosen: Sequence[Change] = ()
            case 1:
                chosen = changes
            case 2:
                chosen = changes[: self._random.randint(0, len(changes))]
            case _:
                chosen = [change for change in changes if self._random.getrandbits(1)]
        self._settle_changes(list(chosen))


def _write_and_cut(node: FileNode, part: bytes) -> None:
    """What a failed write does: until the cut is synced, a crash may bring the part back."""
    end = len(node.content)
    node.content += part
    node.truncate(end)


def _changes_needed(pending: Sequence[Change], directory: Directory) -> list[Change]:
    """Find the pending changes of ``directory``, and the earlier ones that they build on."""
    needed: list[Change] = []
    directories = {directory}
    for change in reversed(pending):
        if not directories.isdisjoint(change.directories):
            needed.append(change)
            directories.update(change.directories)
    return needed[::-1]


def _check_replaceable(target: Path, entry: Entry, present: Entry | None) -> None:
    if present is None or present is entry:
        return
    if isinstance(present, Directory):
        if not isinstance(entry, Directory):
            raise _error(errno.EISDIR, target)
        if present.entries:
            raise _error(errno.ENOTEMPTY, target)
    elif isinstance(entry, Directory):
        raise _error(errno.ENOTDIR, target)


def _as_file(path: Path, entry: Entry | None) -> FileNode:
    if entry is None:
        raise _error(errno.ENOENT, path)
    if isinstance(entry, Directory):
        raise _error(errno.EISDIR, path)
    return entry


def _as_directory(path: Path, entry: Entry | None) -> Directory:
    if entry is None:
        raise _error(errno.ENOENT, path)
    if not isinstance(entry, Directory):
        raise _error(errno.ENOTDIR, path)
    return entry


def _error(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))
