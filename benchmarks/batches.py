"""Ready-made batches of a given size, for the benchmarks that do not measure building them."""

from __future__ import annotations

import os
import time

from ottla.record.builder import BatchBuilder


def ready_made_batch(*, batch_bytes: int, record_bytes: int) -> tuple[bytes, int]:
    """Return an uncompressed batch just under ``batch_bytes`` and its number of records."""
    now_ms = int(time.time() * 1000)
    value = os.urandom(record_bytes)
    builder = BatchBuilder()
    while builder.size_bytes + record_bytes + 20 < batch_bytes:
        builder.append(key=None, value=value, timestamp_ms=now_ms)
    return builder.build(), builder.record_count
