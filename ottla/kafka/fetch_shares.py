"""How much one answer to a fetch may hold, so that all of them together fit into memory.

An answer is in memory from when it is read until its reader has taken it, which a slow one does
when it likes. A connection has one answer at a time, so memory is bounded by what one answer may
hold times the connections that fetch. The more there are, the less each gets; readers notice
nothing, for they fetch on.
"""

from __future__ import annotations

from ottla.model.limits import (
    KAFKA_FETCH_BYTES_MAX,
    KAFKA_FETCH_SHARE_BYTES_MIN,
    KAFKA_FETCH_SHARE_MS,
)


class FetchShares:
    """Which connections fetch."""

    def __init__(self, *, answer_bytes_max: int, bytes_max: int = KAFKA_FETCH_BYTES_MAX) -> None:
        """No answer holds more than ``answer_bytes_max``, and all of them ``bytes_max``."""
        self._answer_bytes_max = answer_bytes_max
        self._bytes_max = bytes_max
        # Were there more, each would get the least there is all the same.
        self._connections_max = max(1, bytes_max // KAFKA_FETCH_SHARE_BYTES_MIN)
        self._fetched_ms: dict[int, int] = {}  # by connection, the longest ago first

    def share_of(self, connection: int, now_ms: int) -> int:
        """Return how many bytes the answer to a connection that fetches now may hold."""
        fetched_ms = self._fetched_ms
        fetched_ms.pop(connection, None)
        fetched_ms[connection] = now_ms
        while (
            now_ms - next(iter(fetched_ms.values())) > KAFKA_FETCH_SHARE_MS
            or len(fetched_ms) > self._connections_max
        ):
            del fetched_ms[next(iter(fetched_ms))]
        share = max(self._bytes_max // len(fetched_ms), KAFKA_FETCH_SHARE_BYTES_MIN)
        return min(share, self._answer_bytes_max)
