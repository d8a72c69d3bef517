"""A disk that a test can fill."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


class SmallDisk:
    """A file system in memory, 16 MiB large until it grows."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", directory)

    def fill(self) -> None:
        """Leave not one byte."""
        with (self.directory / "filler").open("wb", buffering=0) as filler:
            while self.free_bytes:
                filler.write(bytes(min(self.free_bytes, 1 << 20)))

    @property
    def free_bytes(self) -> int:
        """What files can still get."""
        usage = os.statvfs(self.directory)
        return usage.f_bavail * usage.f_frsize

    def clear(self) -> None:
        """Take back what :meth:`fill` took."""
        (self.directory / "filler").unlink()

    def grow(self) -> None:
        """Make it 64 MiB large."""
        self._run("mount", "-o", "remount,size=64m", self.directory)

    def unmount(self) -> None:
        """Take it away with all that is on it."""
        self._run("umount", self.directory)

    def _run(self, *command: str | Path) -> None:
        subprocess.run(command, check=True, capture_output=True)
