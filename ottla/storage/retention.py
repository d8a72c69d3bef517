"""Which segments of a log may go.

Records leave a log from its old end, a segment at a time; the active segment never goes. A
closed segment may go for one of three reasons:

* *start*: all of its records lie before the log start offset, so nobody may read them;
* *time*: its newest record is older than ``retention.ms``;
* *size*: the log without it is still no smaller than ``retention.bytes``.

Segments go in order: the first that has no reason to go keeps all after it. None goes that
reaches beyond the high watermark, because what is not yet committed may be truncated, and a
log cannot be truncated to before its start.

    segments       [0 .. 99][100 .. 199][200 .. 299][300 .. active
    may go          time     size       |
    stay                                [200 .. 299][300 .. active

The age of records is what their timestamps say (KIP-32), not when the file was last written: a
copied or restored log keeps its age, and records that are brought in late leave early. A
segment whose records have no timestamps is as old as the next one that has; it lies before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from ottla.model.ids import NO_TIMESTAMP_MS

UNLIMITED = -1
"""``retention.ms`` and ``retention.bytes`` that keep everything."""


class SegmentSummary(NamedTuple):
    """What retention must know of a closed segment."""

    base_offset: int
    next_offset: int
    """The exclusive end: where the next segment begins."""
    size_bytes: int
    largest_timestamp_ms: int
    """``NO_TIMESTAMP_MS`` if no record has one."""


class Reason(Enum):
    """Why a segment may go."""

    START = "before the log start offset"
    TIME = "older than retention.ms"
    SIZE = "beyond retention.bytes"


class Deletable(NamedTuple):
    """A segment that may go, and why."""

    segment: SegmentSummary
    reason: Reason


class RetentionRules(NamedTuple):
    """What is to be kept."""

    retention_ms: int
    """``UNLIMITED``, or the age above which records may go."""
    retention_bytes: int
    """``UNLIMITED``, or the size of the log, its active segment included, that is kept."""


def deletable_segments(
    closed: Sequence[SegmentSummary],
    rules: RetentionRules,
    *,
    active_size_bytes: int,
    log_start_offset: int,
    high_watermark: int,
    now_ms: int,
) -> list[Deletable]:
    """Return the closed segments, given oldest first, that may go; ``now_ms`` is wall time."""
    size_bytes = active_size_bytes + sum(segment.size_bytes for segment in closed)
    deletable: list[Deletable] = []
    for segment, timestamp_ms in zip(closed, _timestamps(closed), strict=True):
        rest_bytes = size_bytes - segment.size_bytes
        if segment.next_offset > high_watermark:
            break
        if segment.next_offset <= log_start_offset:
            reason = Reason.START
        elif is_expired(timestamp_ms, rules, now_ms=now_ms):
            reason = Reason.TIME
        elif rules.retention_bytes != UNLIMITED and rest_bytes >= rules.retention_bytes:
            reason = Reason.SIZE
        else:
            break
        deletable.append(Deletable(segment, reason))
        size_bytes = rest_bytes
    return deletable


def is_expired(largest_timestamp_ms: int, rules: RetentionRules, *, now_ms: int) -> bool:
    """Whether records up to this timestamp are all too old; not if they have none.

    An active segment of which this is true is rolled, so that it can go as a closed one.
    """
    return (
        rules.retention_ms != UNLIMITED
        and largest_timestamp_ms != NO_TIMESTAMP_MS
        and now_ms - largest_timestamp_ms > rules.retention_ms
    )


def _timestamps(closed: Iterable[SegmentSummary]) -> list[int]:
    """The largest timestamp of each, or else of the next that has one."""
    timestamps: list[int] = []
    following = NO_TIMESTAMP_MS
    for segment in reversed(list(closed)):
        if segment.largest_timestamp_ms != NO_TIMESTAMP_MS:
            following = segment.largest_timestamp_ms
        timestamps.append(following)
    return timestamps[::-1]
