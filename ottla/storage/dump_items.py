"""What :mod:`ottla.storage.dump` says: the things that files hold, and what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ottla.record.batch import BatchHeader
from ottla.record.records import Record
from ottla.storage.offset_index import OffsetPosition
from ottla.storage.producer_state import ProducerEntry
from ottla.storage.time_index import TimestampOffset
from ottla.storage.transaction_index import AbortedTransaction


@dataclass(frozen=True, slots=True)
class FileItem:
    """A file begins."""

    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A batch of a log."""

    position: int
    header: BatchHeader
    records: tuple[Record, ...] | None
    """``None`` if they were not asked for, or cannot be read."""


@dataclass(frozen=True, slots=True)
class TextLine:
    """A line of a file of text."""

    number: int
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong."""

    path: Path
    position: int | None
    """Where in the file; ``None`` if it concerns the file as a whole."""
    message: str

    def __str__(self) -> str:
        where = "" if self.position is None else f" at position {self.position}"
        return f"{self.path}{where}: {self.message}"


Entry = OffsetPosition | TimestampOffset | AbortedTransaction | ProducerEntry
Item = FileItem | BatchItem | Entry | TextLine | Finding
