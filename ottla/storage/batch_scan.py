"""Two ways through the batches of a segment file: trusting, and not.

:func:`walk_headers` reads headers only. It is for finding a place in a log that is known to be
sound, and raises where that proves wrong.

:class:`BatchScan` reads everything and believes nothing: it checks each batch's length, its
checksum and that it follows the one before, and stops at the first that fails, saying why. It is
for recovery and for looking at files of unknown health.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ottla.model.errors import CorruptMessageError
from ottla.model.limits import MIB
from ottla.record.batch import (
    HEADER,
    HEADER_BYTES,
    MAGIC,
    BatchHeader,
    RecordBatch,
    crc_matches,
    read_header,
)
from ottla.runtime.files import File
from ottla.storage.entry_file import WouldWaitError

_WALK_BYTES: Final = 16 * 1024
"""Read at a time when walking: the way between two index entries, several times over."""
_SCAN_BYTES: Final = 4 * MIB
"""Read at a time when scanning: large enough for a disk to stream."""


def read_bytes(file: File, position: int, size: int, *, cached_only: bool = False) -> bytes:
    """Read ``size`` bytes at ``position``, which must be there.

    Raises:
        WouldWaitError: ``cached_only``, and they have to come from the disk.
        CorruptMessageError: the file is shorter.
    """
    content = file.read_cached(position, size) if cached_only else file.read_at(position, size)
    if content is None:
        raise WouldWaitError
    if len(content) != size:
        raise CorruptMessageError(
            f"{file.path} gave {len(content)} bytes at position {position}, not {size}"
        )
    return content


def walk_headers(
    file: File, *, position: int, end: int, cached_only: bool = False
) -> Iterator[tuple[int, BatchHeader]]:
    """Yield (position, header) of each batch in ``[position, end)``, both batch boundaries.

    Raises:
        WouldWaitError: ``cached_only``, and a header has to come from the disk.
        CorruptMessageError: there is no batch where one should be, or it does not follow on.
    """
    next_offset: int | None = None
    window, window_start, window_bytes = b"", position, _WALK_BYTES
    while position < end:
        if position - window_start + HEADER_BYTES > len(window):
            size = min(window_bytes, end - position)
            window = read_bytes(file, position, size, cached_only=cached_only)
            window_start = position
        header = read_header(window, position - window_start)
        if position + header.size_bytes > end:
            raise CorruptMessageError(
                f"{file.path}: the batch at position {position} claims {header.size_bytes} bytes, "
                f"which is beyond {end}"
            )
        if next_offset is not None and header.base_offset != next_offset:
            raise CorruptMessageError(
                f"{file.path}: the batch at position {position} has base offset "
                f"{header.base_offset}, not {next_offset}"
            )
        next_offset = header.base_offset + header.last_offset_delta + 1
        yield position, header
        position += header.size_bytes
        # Batches larger than the window are stepped over: only their headers are worth reading.
        window_bytes = HEADER_BYTES if header.size_bytes > _WALK_BYTES else _WALK_BYTES


class BatchScan:
    """Iterates over (position, batch) of a file, up to the first batch that is not sound.

    Afterwards ``position`` and ``next_offset`` say how far it got, and ``unsound`` why it did not
    get to ``end``; ``None`` if it did.
    """

    __slots__ = ("_content", "_content_start", "_file", "end", "next_offset", "position", "unsound")

    def __init__(
        self, file: File, *, next_offset: int | None, position: int = 0, end: int | None = None
    ) -> None:
        """Begin at ``position``, where the batch with ``next_offset`` must be (``None``: any)."""
        self.position = position
        self.next_offset = next_offset
        self.end = file.size if end is None else end
        self.unsound: str | None = None
        self._file = file
        self._content = memoryview(b"")
        self._content_start = position

    def __iter__(self) -> Iterator[tuple[int, RecordBatch]]:
        while self.position < self.end:
            try:
                batch = self._next()
            except CorruptMessageError as error:
                self.unsound = str(error)
                return
            position = self.position
            self.position += len(batch.view)
            self.next_offset = batch.header.next_offset
            yield position, batch

    def size_claimed(self) -> int | None:
        """Return the size of the batch at ``position`` if its header can be read at all."""
        try:
            header = _parse(self._read(self.position, HEADER_BYTES))
        except CorruptMessageError:
            return None
        return header.size_bytes

    def _next(self) -> RecordBatch:
        header = _parse(self._at(HEADER_BYTES))
        if self.position + header.size_bytes > self.end:
            raise CorruptMessageError(
                f"the batch claims {header.size_bytes} bytes, but the log has only "
                f"{self.end - self.position} more"
            )
        if self.next_offset is not None and header.base_offset != self.next_offset:
            raise CorruptMessageError(
                f"the batch has base offset {header.base_offset}, not {self.next_offset}"
            )
        if header.last_offset_delta < 0:
            raise CorruptMessageError(f"the batch has last offset delta {header.last_offset_delta}")
        batch = RecordBatch(header, self._at(header.size_bytes))
        if not crc_matches(batch):
            raise CorruptMessageError(
                f"the batch at offset {header.base_offset} does not have the checksum in its header"
            )
        return batch

    def _at(self, size: int) -> memoryview:
        """Return the ``size`` bytes at ``position``, or the fewer that there are."""
        inside = self.position - self._content_start
        if inside + size > len(self._content):
            self._content = self._read(self.position, max(size, _SCAN_BYTES))
            self._content_start, inside = self.position, 0
        return self._content[inside : inside + size]

    def _read(self, position: int, size: int) -> memoryview:
        return memoryview(self._file.read_at(position, min(size, self.end - position)))


def _parse(content: memoryview) -> BatchHeader:
    """Like ``read_header``, with reasons that leave the position to whoever knows it."""
    if len(content) < HEADER_BYTES:
        raise CorruptMessageError(f"{len(content)} bytes are too few for a batch header")
    header = BatchHeader._make(HEADER.unpack_from(content))
    if header.magic != MAGIC:
        raise CorruptMessageError(f"the batch has magic {header.magic}, not {MAGIC}")
    if header.size_bytes < HEADER_BYTES:
        raise CorruptMessageError(f"the batch claims {header.size_bytes} bytes, less than a header")
    return header
