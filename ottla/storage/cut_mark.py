"""A note that a log was cut back below what the broker's checkpoints say of it.

Recovery believes whatever lies below the recovery point, which the broker writes down once in a
while for all its logs. If a log is cut to offset 50 while the checkpoint says 100, and new records
take the place of the old ones, a crash must not find 100 and believe in records that were never
synced. So before anything is cut, the log itself writes down how far the checkpoints may be
believed:

    recovery point at most 50, log start at most 50, until everything below 100 is durable again

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


class CutMark(NamedTuple):
    """How far the checkpoints may be believed."""

    recovery_point_max: int
    log_start_offset_max: int
    until: int
    """The note is void once everything below this offset is durable."""


def write_cut_mark(directory: Path, mark: CutMark, *, file_system: FileSystem) -> None:
    """Write the note down; it survives a crash when this returns."""
    line = f"{mark.recovery_point_max} {mark.log_start_offset_max} {mark.until}"
    file_system.replace(directory / FILE_NAME, encode_lines([line]))


def read_cut_mark(directory: Path, *, file_system: FileSystem) -> CutMark | None:
    """Read the note, if there is one.

    Raises:
        ValueError: the file is not what :func:`write_cut_mark` writes.
    """
    path = directory / FILE_NAME
    if not file_system.exists(path):
        return None
    marks = decode_lines(file_system.read(path), _as_mark)
    if len(marks) != 1:
        raise ValueError(f"{len(marks)} entries where there must be one")
    return marks[0]


def remove_cut_mark(directory: Path, *, file_system: FileSystem) -> None:
    """Remove the note. Not synced: if it comes back, recovery reads more than it had to."""
    file_system.remove(directory / FILE_NAME)


def _as_mark(words: Sequence[str]) -> CutMark:
    recovery_point_max, log_start_offset_max, until = map(int, words)
    return CutMark(recovery_point_max, log_start_offset_max, until)
