"""Responses that their readers do not take, over all connections of a broker.

A response waits in the memory of the broker until the kernel has taken all of it. One that is
not taken is no harm, for its connection begins nothing new until it is. But many are: who asks for
megabytes on a thousand connections and reads none of them. So beyond a bound nobody's request is
begun, until some of what is there has been taken, or those who take nothing are cut off.
"""

from __future__ import annotations

from collections.abc import Callable


class UnsentResponses:
    """Counts bytes; one for a broker, on its event loop."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._by_connection: dict[int, int] = {}
        self._waiting: dict[int, Callable[[], None]] = {}
        self.total_bytes = 0

    def has_room(self, number: int, notify: Callable[[], None]) -> bool:
        """Return whether a request may begin; if not, connection ``number`` is notified once."""
        if self.total_bytes <= self._bytes_max:
            return True
        self._waiting[number] = notify
        return False

    def changed(self, number: int, size: int) -> None:
        """So much waits to be taken on a connection."""
        self.total_bytes += size - self._by_connection.pop(number, 0)
        if size:
            self._by_connection[number] = size
        if self._waiting and self.total_bytes <= self._bytes_max:
            waiting, self._waiting = self._waiting, {}
            for notify in waiting.values():
                notify()

    def forget(self, number: int) -> None:
        """The connection is gone."""
        self._waiting.pop(number, None)
        self.changed(number, 0)
