"""Looking into the files of a log: what is in them, and whether it is sound.

:func:`dump` yields what a file holds, entry by entry and in its order, mixed with findings: what
is wrong, and where. Nothing is believed and nothing is changed. A batch that is not sound is
stepped over if the length that it claims leads to one that is.

Of a directory everything is dumped, each index is compared with its log, and each segment with
the one before it. The indexes of the last segment lag behind while a broker has the log open; an
index that lacks entries is therefore no finding, one that contradicts its log is.

======================================  ==========================================================
``.log``                                ``BatchItem``
``.index``, ``.timeindex``              ``OffsetPosition``, ``TimestampOffset``
``.txnindex``, ``.snapshot``            ``AbortedTransaction``, ``ProducerEntry``
any other                               ``TextLine``
======================================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from ottla.runtime.files import FileSystem
from ottla.storage.checkpoints import (
    CLEAN_SHUTDOWN_FILE,
    HIGH_WATERMARK_FILE,
    LOG_START_OFFSET_FILE,
    META_PROPERTIES_FILE,
    RECOVERY_POINT_FILE,
    MetaProperties,
)
from ottla.storage.cut_mark import FILE_NAME as CUT_MARK_FILE
from ottla.storage.cut_mark import decode_cut_mark
from ottla.storage.dump_items import FileItem, Finding, Item, TextLine
from ottla.storage.dump_segment import SegmentDump
from ottla.storage.format import SEGMENT_SUFFIXES, parse_name
from ottla.storage.leader_epochs import FILE_NAME as EPOCHS_FILE
from ottla.storage.leader_epochs import LeaderEpochs
from ottla.storage.listing import Listing
from ottla.storage.partition_metadata import FILE_NAME as PARTITION_METADATA_FILE
from ottla.storage.partition_metadata import decode_partition_metadata
from ottla.storage.text_checkpoint import decode_lines

_TEXT_BYTES_MAX: Final = 1024 * 1024
"""A file of text that is larger is none of ours."""


def dump(path: Path, *, file_system: FileSystem, records: bool = False) -> Iterator[Item]:
    """Yield what is in a file or, file by file, in a directory. Waits for the disk.

    Args:
        path: of a file, of a partition's directory, or of a directory of those.
        file_system: where it is.
        records: whether to read the records of each batch, too.

    Raises:
        OSError: there is no such file, or the disk failed.
    """
    try:
        names = file_system.list(path)
    except NotADirectoryError:
        yield from _dump_file(path, file_system=file_system, records=records)
        return
    yield from _dump_segments(path, names, file_system=file_system, records=records)
    for name in names:
        if parse_name(name) is None:
            yield from dump(path / name, file_system=file_system, records=records)


def is_dumpable(name: str) -> bool:
    """Whether a file of this name is one of a log's, rather than just any file."""
    return parse_name(name) is not None or name in _CHECKS or name == CLEAN_SHUTDOWN_FILE


def _dump_segments(
    directory: Path, names: Sequence[str], *, file_system: FileSystem, records: bool
) -> Iterator[Item]:
    """Dump the files of segments, by segment, and compare each with its predecessor."""
    parsed = sorted(filter(None, map(parse_name, names)))
    listing = Listing.of(names)
    expected: int | None = None
    for base_offset in dict.fromkeys(offset for offset, _ in parsed):
        segment = SegmentDump(directory, base_offset, file_system=file_system, records=records)
        for suffix in SEGMENT_SUFFIXES:
            if (base_offset, suffix) in parsed:
                yield from segment.items(suffix)
        if base_offset in listing.base_offsets:
            if expected is not None and expected != base_offset:
                yield Finding(
                    directory,
                    None,
                    f"the segment at {base_offset} does not follow the one before, which ends at "
                    f"{expected}",
                )
            expected = segment.next_offset


def _dump_file(path: Path, *, file_system: FileSystem, records: bool) -> Iterator[Item]:
    parsed = parse_name(path.name)
    if parsed is not None:
        base_offset, suffix = parsed
        segment = SegmentDump(path.parent, base_offset, file_system=file_system, records=records)
        yield from segment.items(suffix)
        return
    file = file_system.open(path)
    size = file.size
    file.close()
    yield FileItem(path, size)
    if size > _TEXT_BYTES_MAX:
        yield Finding(path, None, f"{size} bytes are too many for a file of text; it is not ours")
        return
    content = file_system.read(path)
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
        yield TextLine(number, line)
    check = _CHECKS.get(path.name)
    if check is not None:
        try:
            check(content)
        except ValueError as error:
            yield Finding(path, None, str(error))


def _check_offsets(content: bytes) -> None:
    def as_offset(words: Sequence[str]) -> int:
        _, _, offset = words
        return int(offset)

    decode_lines(content, as_offset)


_CHECKS: Final[dict[str, Callable[[bytes], object]]] = {
    EPOCHS_FILE: LeaderEpochs.decode,
    PARTITION_METADATA_FILE: decode_partition_metadata,
    META_PROPERTIES_FILE: MetaProperties.decode,
    RECOVERY_POINT_FILE: _check_offsets,
    LOG_START_OFFSET_FILE: _check_offsets,
    HIGH_WATERMARK_FILE: _check_offsets,
    CUT_MARK_FILE: decode_cut_mark,
}
