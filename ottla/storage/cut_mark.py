"""A note that a log was cut back below what the broker's checkpoints say of it.

Recovery believes whatever lies below the recovery point, which the broker writes down once in a
while for all its logs. If a log is cut to offset 50 while the checkpoint says 100, and new records
take the place of the old ones, a crash must not find 100 and believe in records that were never
synced. So before anything is cut, the log itself writes down how far the checkpoints may be
believed. The second line is for a log that starts again before its old start:

    50 100    the recovery point counts as 50, until everything below 100 is durable again
    20 30     the log start counts as 20 at most, unless the checkpoint has one above 30

The file lies in the partition's directory, in the format of Kafka's checkpoints; Kafka ignores it.
It goes when the log is durable up to where the checkpoint may say it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ottla.runtime.files import FileSystem
from ottla.storage.text_checkpoint import decode_lines, encode_lines

FILE_NAME: Final = "log-cut-checkpoint"
_LINES: Final = 2


class CutMark(NamedTuple):
    """How far the checkpoints may be believed."""

    recovery_point_max: int
    until: int
    """The note is void once everything below this offset is durable."""
    log_start_offset_max: int
    log_start_offset_before: int
    """A checkpoint with a larger one was written after the cut."""

    def recovery_point(self, checkpoint: int) -> int:
        """Return what to take for the recovery point."""
        return min(checkpoint, self.recovery_point_max)

    def log_start_offset(self, checkpoint: int) -> int:
        """Return what to take for the log start offset."""
        if checkpoint > self.log_start_offset_before:
            return checkpoint
        return min(checkpoint, self.log_start_offset_max)

    def together_with(self, older: CutMark) -> CutMark:
        """Return the note that is as careful as both."""
        return CutMark(
            min(self.recovery_point_max, older.recovery_point_max),
            max(self.until, older.until),
            min(self.log_start_offset_max, older.log_start_offset_max),
            max(self.log_start_offset_before, older.log_start_offset_before),
        )


def write_cut_mark(directory: Path, mark: CutMark, *, file_system: FileSystem) -> None:
    """Write the note down; it survives a crash when this returns."""
    lines = [
        f"{mark.recovery_point_max} {mark.until}",
        f"{mark.log_start_offset_max} {mark.log_start_offset_before}",
    ]
    file_system.replace(directory / FILE_NAME, encode_lines(lines))


def read_cut_mark(directory: Path, *, file_system: FileSystem) -> CutMark | None:
    """Read the note, if there is one.

    Raises:
        ValueError: the file is not what :func:`write_cut_mark` writes.
    """
    path = directory / FILE_NAME
    if not file_system.exists(path):
        return None
    return decode_cut_mark(file_system.read(path))


def decode_cut_mark(content: bytes) -> CutMark:
    """Read the file's content; :exc:`ValueError`, saying what is wrong, if it is damaged."""
    lines = decode_lines(content, _as_pair)
    if len(lines) != _LINES:
        raise ValueError(f"it has {len(lines)} entries, not {_LINES}")
    return CutMark(*lines[0], *lines[1])


def remove_cut_mark(directory: Path, *, file_system: FileSystem) -> None:
    """Remove the note. Not synced: if it comes back, recovery reads more than it had to."""
    file_system.remove(directory / FILE_NAME)


def _as_pair(words: Sequence[str]) -> tuple[int, int]:
    first, second = map(int, words)
    return first, second
