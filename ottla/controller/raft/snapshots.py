"""Snapshots of the state machine: one file each, whole or absent.

A snapshot is the state after one entry of the log. It replaces everything up to that entry:
at a restart, and for a peer so far behind that the log no longer reaches back.

::

    snapshots/00000000000000005120-0000000007.snapshot      entry 5120, of term 7
    file = "OTTLASN" version, sha256, index, term, state     the checksum covers the rest

Rules
-----
* A file appears under its name only when it is complete and durable, so one that does not
  match its checksum is damaged, and the node refuses to start on it.
* The name says which entry it is, so a snapshot that is written in the background cannot
  replace a newer one that was installed meanwhile. Only the newest counts; others are removed.
* While one is written, the one before is served.
* The file is what travels: the receiver checks the same checksum before it installs.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from ottla.controller.raft.fatal import Fatal, stop_on_disk_error
from ottla.model.errors import StorageError
from ottla.runtime.files import FileSystem

FILE_HEADER: Final = b"OTTLASN\x01"
CHECKSUM_BYTES: Final = 32
_IDENTITY = struct.Struct("<QQ")
_STATE_AT = len(FILE_HEADER) + CHECKSUM_BYTES + _IDENTITY.size

_NAME = re.compile(r"(\d{20})-(\d{10})\.snapshot\Z")
_UNFINISHED = re.compile(r"\d{20}-\d{10}\.snapshot\..+\Z")

RunInBackground = Callable[[Callable[[], None]], None]
"""Run a job that waits for the disk, now or on another thread."""


def run_at_once(job: Callable[[], None]) -> None:
    """Run a job where it is: the engine waits for the disk."""
    job()


@dataclass(frozen=True, slots=True, order=True)
class SnapshotId:
    """The last entry that a snapshot contains."""

    index: int
    term: int

    @property
    def file_name(self) -> str:
        """The name of its file, which sorts by index."""
        return f"{self.index:020}-{self.term:010}.snapshot"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole snapshot whose checksum is right."""

    id: SnapshotId
    content: bytes
    """The file."""

    @property
    def checksum(self) -> bytes:
        """Tells this snapshot from every other one."""
        return self.content[len(FILE_HEADER) : len(FILE_HEADER) + CHECKSUM_BYTES]

    @property
    def state(self) -> bytes:
        """What the state machine gave."""
        return self.content[_STATE_AT:]

    @classmethod
    def of(cls, snapshot_id: SnapshotId, state: bytes) -> Snapshot:
        """Wrap a state up."""
        identity = _IDENTITY.pack(snapshot_id.index, snapshot_id.term)
        checksum = sha256(identity)
        checksum.update(state)
        content = b"".join((FILE_HEADER, checksum.digest(), identity, state))
        return cls(snapshot_id, content)

    @classmethod
    def parse(cls, content: bytes) -> Snapshot:
        """Check a file. Raises :exc:`StorageError` unless it is a whole, undamaged snapshot."""
        if content[: len(FILE_HEADER)] != FILE_HEADER or len(content) < _STATE_AT:
            raise StorageError(f"{len(content)} bytes beginning {content[:8]!r} are no snapshot")
        covered = memoryview(content)[len(FILE_HEADER) + CHECKSUM_BYTES :]
        snapshot = cls(SnapshotId(*_IDENTITY.unpack_from(covered)), content)
        if sha256(covered).digest() != snapshot.checksum:
            raise StorageError(f"the snapshot of entry {snapshot.id.index} has the wrong checksum")
        return snapshot


class SnapshotStore:
    """The snapshots of one node. Methods are called on the engine's thread."""

    def __init__(
        self,
        directory: Path,
        *,
        file_system: FileSystem,
        run_in_background: RunInBackground,
        fatal: Fatal,
    ) -> None:
        """See what there is. Waits for the disk."""
        self._directory = directory
        self._file_system = file_system
        self._run_in_background = run_in_background
        self._fatal = fatal
        self._writing: SnapshotId | None = None
        self._written: SnapshotId | OSError | None = None
        file_system.make_directory(directory)
        file_system.sync_directory(directory.parent)
        self._latest = max(self._stored(), default=None)
        self._remove_unfinished()

    @property
    def latest(self) -> SnapshotId | None:
        """The newest durable snapshot, if there is any."""
        return self._latest

    @property
    def writing(self) -> bool:
        """Whether one is being written, or has been and :meth:`finished` has not been asked."""
        return self._writing is not None

    def load(self) -> Snapshot | None:
        """Read the newest one. Raises :exc:`StorageError` if it is damaged. Waits for the disk."""
        if self._latest is None:
            return None
        path = self._directory / self._latest.file_name
        try:
            snapshot = Snapshot.parse(self._file_system.read(path))
        except StorageError as error:
            raise StorageError(f"{path}: {error}; give this node an empty directory") from error
        if snapshot.id != self._latest:
            raise StorageError(f"{path} contains the snapshot of entry {snapshot.id.index}")
        self._remove_superseded()  # not before it is known to be sound
        return snapshot

    def load_to_serve(self) -> Snapshot:
        """Read the newest one, to send it. Waits for the disk; stops the node if it is damaged."""
        reason = f"there is no snapshot in {self._directory}"
        try:
            with stop_on_disk_error(self._fatal, f"reading a snapshot from {self._directory}"):
                snapshot = self.load()
        except StorageError as error:
            reason, snapshot = str(error), None
        if snapshot is None:
            self._fatal(f"a peer needs a snapshot: {reason}")
        return snapshot

    def write(self, snapshot_id: SnapshotId, state: bytes) -> None:
        """Begin to write a snapshot; ask :meth:`finished` for the end. One at a time."""
        assert self._writing is None
        assert self._latest is None or snapshot_id > self._latest
        self._writing, self._written = snapshot_id, None

        def write() -> None:
            path = self._directory / snapshot_id.file_name
            try:
                self._file_system.replace(path, Snapshot.of(snapshot_id, state).content)
            except OSError as error:
                self._written = error
            else:
                self._written = snapshot_id

        self._run_in_background(write)

    def finished(self) -> bool:
        """Whether one has become durable since the last call. Stops the node if that failed."""
        written = self._written
        if written is None:
            return False
        self._writing = self._written = None
        with stop_on_disk_error(self._fatal, f"writing a snapshot to {self._directory}"):
            if isinstance(written, OSError):
                raise written
        self._advance_to(written)
        return True

    def install(self, snapshot: Snapshot) -> None:
        """Make a received snapshot durable. Waits for the disk; stops the node if it fails."""
        path = self._directory / snapshot.id.file_name
        with stop_on_disk_error(self._fatal, f"installing the snapshot {path}"):
            self._file_system.replace(path, snapshot.content)
        self._advance_to(snapshot.id)

    def _advance_to(self, snapshot_id: SnapshotId) -> None:
        self._latest = snapshot_id if self._latest is None else max(self._latest, snapshot_id)
        with stop_on_disk_error(self._fatal, f"removing old snapshots from {self._directory}"):
            self._remove_superseded()

    def _remove_superseded(self) -> None:
        for stored in self._stored():
            if stored not in (self._latest, self._writing):
                self._file_system.remove(self._directory / stored.file_name)

    def _remove_unfinished(self) -> None:
        """Remove what a crash left of a snapshot on its way to its name."""
        for name in self._file_system.list(self._directory):
            if _UNFINISHED.match(name):
                self._file_system.remove(self._directory / name)

    def _stored(self) -> list[SnapshotId]:
        names = map(_NAME.match, self._file_system.list(self._directory))
        return [SnapshotId(int(name[1]), int(name[2])) for name in names if name]
