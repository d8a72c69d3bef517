"""The files of one partition: their names and the layouts of what is in them.

A partition is a directory, ``orders-0``. Its log is cut into *segments*; each is named by the
offset of its first record, in twenty digits, and has up to five files:

==============  ================================================================================
``.log``        record batches, one after another, as the wire has them
``.index``      every few kilobytes of log: (offset - base, position), two int32
``.timeindex``  likewise: (largest timestamp so far, offset of its batch - base), int64 and int32
``.txnindex``   one entry for each aborted transaction that ends in the segment; mostly absent
``.snapshot``   what was known of the producers at this offset, where a segment begins or the log
                ended when it was closed
==============  ================================================================================

All integers are big-endian and signed. The layouts are Kafka's, so that its tools can read our
files. Two habits differ, both of them invisible to a reader: Kafka makes the indexes of the
last segment as large as they may become and cuts them when the segment is closed, while ours only
ever hold what was written; and the indexes of the last segment may lag behind its log, because
recovery makes them anew.
"""

from __future__ import annotations

import re
from pathlib import Path
from struct import Struct
from typing import Final

LOG_SUFFIX: Final = ".log"
OFFSET_INDEX_SUFFIX: Final = ".index"
TIME_INDEX_SUFFIX: Final = ".timeindex"
TRANSACTION_INDEX_SUFFIX: Final = ".txnindex"
SNAPSHOT_SUFFIX: Final = ".snapshot"
SEGMENT_SUFFIXES: Final = (
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    SNAPSHOT_SUFFIX,
)
"""The log first: whoever removes a segment removes its log first, so that what a crash leaves
behind is an index without a log, which is rubbish, and never a log without an index."""

DELETED_SUFFIX: Final = ".deleted"
"""Added to the name of a file that is no longer part of the log and waits for its removal."""

OFFSET_ENTRY: Final = Struct(">ii")
TIME_ENTRY: Final = Struct(">qi")
TRANSACTION_ENTRY: Final = Struct(">hqqqq")
TRANSACTION_ENTRY_VERSION: Final = 0

RELATIVE_OFFSET_MAX: Final = 2**31 - 1
"""What an index entry can hold; a segment ends before its offsets go further."""
POSITION_MAX: Final = 2**31 - 1
"""Likewise for the position, and so the largest size of a segment."""

_NAME: Final = re.compile(r"([0-9]{20})(\.[a-z]+)\Z")


def segment_file(directory: Path, base_offset: int, suffix: str) -> Path:
    """Return the path of one file of the segment that begins at ``base_offset``."""
    return directory / f"{base_offset:020d}{suffix}"


def parse_name(name: str) -> tuple[int, str] | None:
    """Return (base offset, suffix) if ``name`` is that of a file of a segment, else ``None``."""
    match = _NAME.match(name)
    if match is None or match[2] not in SEGMENT_SUFFIXES:
        return None
    return int(match[1]), match[2]
