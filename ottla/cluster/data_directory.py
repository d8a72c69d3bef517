"""One directory of logs, and whether its disk can be trusted.

After a failed write or sync nobody knows what reached the disk, so the directory takes no more
writes until the broker restarts and recovers it. What is committed can still be read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ottla.model.errors import StorageError
from ottla.runtime.logging import Event, Severity, emit

DIRECTORY_FAILED = Event("storage.directory_failed", Severity.ERROR)


class DataDirectory:
    """What the partitions of one directory share."""

    def __init__(self, path: Path, *, failed: Callable[[], None] = lambda: None) -> None:
        """Trust ``path`` until told otherwise; ``failed`` is called once, when that is over."""
        self.path = path
        self._failed = failed
        self._failure: StorageError | None = None

    def __repr__(self) -> str:
        return f"<DataDirectory {self.path} {'failed' if self._failure else 'healthy'}>"

    @property
    def failure(self) -> StorageError | None:
        """Why nothing is written here any more; ``None`` while all is well."""
        return self._failure

    def check_writable(self) -> None:
        """Raise :exc:`StorageError` if the directory has failed."""
        if self._failure is not None:
            # A new one each time: exceptions collect the tracebacks of those who raise them.
            raise StorageError(str(self._failure))

    def fail(self, error: StorageError) -> None:
        """Stop all writes here because of ``error``; the first one is the reason that is told."""
        if self._failure is None:
            self._failure = error
            emit(DIRECTORY_FAILED, directory=self.path, reason=str(error))
            self._failed()
