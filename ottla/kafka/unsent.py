"""Responses that their readers do not take, over all connections of a broker.

A response waits in the memory of the broker until the kernel has taken all of it. One that is not
taken is no harm: its connection begins nothing new until it is, and is cut off after a minute.
Many are: somebody asks for megabytes on hundreds of connections and reads none of them. Beyond a
bound, whoever has taken nothing for some seconds is cut off, so that nobody else has to wait.
"""

from __future__ import annotations

from ottla.model.limits import KAFKA_STALLED_CROWDED_TIME_MAX_MS, KAFKA_STALLED_TIME_MAX_MS


class UnsentResponses:
    """Counts bytes; one for a broker, on its event loop."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._by_connection: dict[int, int] = {}
        self.total_bytes = 0

    @property
    def stalled_max_ms(self) -> int:
        """How long a reader may take nothing of its response at the moment."""
        is_crowded = self.total_bytes > self._bytes_max
        return KAFKA_STALLED_CROWDED_TIME_MAX_MS if is_crowded else KAFKA_STALLED_TIME_MAX_MS

    def changed(self, number: int, size: int) -> None:
        """So much waits to be taken on a connection; 0 as well if it is gone."""
        self.total_bytes += size - self._by_connection.pop(number, 0)
        if size:
            self._by_connection[number] = size
