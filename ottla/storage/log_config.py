"""What one partition's log must know of its topic's settings, as numbers.

Settings have names, texts, defaults and sources; all that is settled before it gets here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla.model.limits import GIB, MIB
from ottla.record.batch import TimestampType

INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LogConfig:
    """The settings of one log; the defaults are Kafka's."""

    segment_bytes: int = GIB
    """A segment is closed before a batch that would make it larger than this."""
    segment_ms: int = 7 * 24 * 3_600_000
    """A segment is closed when it spans more time than this."""
    segment_index_bytes: int = 10 * MIB
    """A segment is closed when one of its indexes is this large."""
    index_interval_bytes: int = 4096
    """Bytes of log between two index entries."""
    retention_ms: int = 7 * 24 * 3_600_000
    """Age above which segments are deleted; -1: any age."""
    retention_bytes: int = -1
    """Size above which the oldest segments are deleted; -1: any size."""
    file_delete_delay_ms: int = 60_000
    """How long the files of a deleted segment stay."""
    flush_messages: int = INT64_MAX
    """A sync is due when this many records wait for it."""
    flush_ms: int = INT64_MAX
    """A sync is due when a record has waited for it this long."""
    write_caching: bool = False
    """Whether an append counts as done before it is synced. The log itself does not care."""
    max_message_bytes: int = MIB + 12
    """Largest batch a client may send; checked before it gets here."""
    timestamp_type: TimestampType = TimestampType.CREATE_TIME
    """``LOG_APPEND_TIME``: the leader stamps batches when it appends them."""
    timestamp_before_max_ms: int = INT64_MAX
    timestamp_after_max_ms: int = 3_600_000
    producer_id_expiration_ms: int = 24 * 3_600_000
    """An idempotent producer that wrote nothing for this long is forgotten."""
