"""What files are in a partition's directory, and which of them are leftovers.

Leftovers are of four kinds: files that a crash interrupted in the making (``.tmp``), files that
wait for their removal (``.deleted``), segments older than one that waits (see
:mod:`ottla.storage.removal`), and indexes whose log is gone. All are removed before the log is
opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ottla.runtime.files import FileSystem
from ottla.storage.format import (
    DELETED_SUFFIX,
    LOG_SUFFIX,
    SNAPSHOT_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    parse_name,
)

_TEMPORARY_SUFFIX: Final = ".tmp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of one log."""

    base_offsets: tuple[int, ...]
    """Of the segments, in order."""
    snapshot_offsets: tuple[int, ...]
    transaction_index_offsets: frozenset[int]
    """Base offsets of the segments that have a transaction index."""

    @classmethod
    def of(cls, names: Iterable[str]) -> Listing:
        """Sort ``names`` out; those that no log uses are ignored."""
        found: dict[str, set[int]] = {}
        for name in names:
            parsed = parse_name(name)
            if parsed is not None:
                found.setdefault(parsed[1], set()).add(parsed[0])
        return cls(
            base_offsets=tuple(sorted(found.get(LOG_SUFFIX, ()))),
            snapshot_offsets=tuple(sorted(found.get(SNAPSHOT_SUFFIX, ()))),
            transaction_index_offsets=frozenset(found.get(TRANSACTION_INDEX_SUFFIX, ())),
        )


def tidy_directory(directory: Path, *, file_system: FileSystem) -> Listing:
    """Remove the leftovers in a partition's directory, and return what is there besides.

    Raises:
        OSError: the disk failed.
    """
    names = file_system.list(directory)
    older = _older_than_deleted(names)
    for name in older:
        file_system.remove(directory / name)
    if older:
        # Before the marks go that say why.
        file_system.sync_directory(directory)
    names = [name for name in names if name not in older]
    leftovers = _leftovers(names)
    for name in leftovers:
        file_system.remove(directory / name)
    return Listing.of(name for name in names if name not in leftovers)


def _older_than_deleted(names: Sequence[str]) -> set[str]:
    """Return the files of segments before one whose log is marked as deleted."""
    mark = LOG_SUFFIX + DELETED_SUFFIX
    bases = [int(name.removesuffix(mark)) for name in names if name.endswith(mark)]
    newest = max(bases, default=-1)
    parsed = {name: parse_name(name) for name in names}
    return {name for name, found in parsed.items() if found is not None and found[0] <= newest}


def _leftovers(names: Sequence[str]) -> set[str]:
    """Return the files that no log uses: half made, marked as deleted, or without their log."""
    logs = Listing.of(names).base_offsets
    leftovers = set()
    for name in names:
        found = parse_name(name)
        if found is None:
            if name.endswith((DELETED_SUFFIX, _TEMPORARY_SUFFIX)):
                leftovers.add(name)
        elif found[1] != SNAPSHOT_SUFFIX and found[0] not in logs:
            leftovers.add(name)
    return leftovers
