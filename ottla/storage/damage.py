"""Damage: bytes that were there and sound once, and are not any more.

A torn tail is not damage: it was never acknowledged, and recovery cuts it off. Everything else
that is wrong with a log is, and nothing in this package steps over it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ottla.model.errors import StorageError
from ottla.runtime.files import File
from ottla.storage.batch_scan import BatchScan


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Where a log is not what it should be, and how that shows."""

    path: Path
    position: int
    """In the file."""
    offset: int
    """Of the first record that is lost, or may be."""
    reason: str

    def __str__(self) -> str:
        return (
            f"{self.path} is damaged at position {self.position} (offset {self.offset}): "
            f"{self.reason}"
        )


class DamagedLogError(StorageError):
    """A log lost records that were safely on disk.

    The partition must not be served from it: delete the directory to copy the partition from
    another replica, or look at it with ``ottla log dump``.
    """

    def __init__(self, damage: Damage) -> None:
        super().__init__(
            f"{damage}; the records from there on were on disk once, so the partition stays "
            "offline: restore the file, or remove the directory if another replica has the records"
        )
        self.damage = damage


def find_damage(log: File, base_offset: int, *, end: int, end_offset: int) -> Damage | None:
    """Read a segment up to ``end``, where ``end_offset`` must be, and report what is wrong.

    Returns ``None`` if all of it is sound. Waits for the disk.
    """
    scan = BatchScan(log, next_offset=base_offset, end=end)
    next_offset = base_offset
    for _, batch in scan:
        next_offset = batch.header.next_offset
    reason = scan.unsound
    if reason is None and next_offset != end_offset:
        reason = f"it ends there, but what follows it begins at offset {end_offset}"
    if reason is None:
        return None
    return Damage(path=log.path, position=scan.position, offset=next_offset, reason=reason)
