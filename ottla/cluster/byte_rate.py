"""A limit of bytes a second: a bucket of bytes that fills steadily and is emptied in portions.

What is spent may be more than there is, for batches are not divided; the debt is then waited off,
so that the rate is kept in the long run. The bucket holds what flows in ``FILL_S`` and no more:
whoever was idle may not make up for it.

    rate ──► [ bucket ] ──► a portion, as soon as there are PORTION_BYTES (or the bucket is full)
"""

from __future__ import annotations

from typing import Final

from ottla.model.limits import KIB

FILL_S: Final = 0.1

PORTION_BYTES: Final = 256 * KIB
"""Worth reading and sending."""


class ByteRate:
    """See the module. Times are seconds of any clock that never goes back."""

    def __init__(self) -> None:
        """Begin without a limit."""
        self._bytes_per_second: int | None = None
        self._bytes = 0.0
        self._filled_at_s = 0.0

    def __repr__(self) -> str:
        rate = self._bytes_per_second
        return f"<ByteRate: {'no limit' if rate is None else f'{rate} bytes a second'}>"

    def limit(self, bytes_per_second: int | None, now_s: float) -> None:
        """Allow so many from now on; ``None``: any number."""
        self._fill(now_s)
        self._bytes_per_second = bytes_per_second
        if bytes_per_second is not None:
            self._bytes = min(self._bytes, self._size)

    def available(self, now_s: float) -> int | None:
        """Return how many bytes may be spent now: none, or a portion; ``None``: any number."""
        if self._bytes_per_second is None:
            return None
        self._fill(now_s)
        return int(self._bytes) if self._bytes >= self._portion else 0

    def spend(self, size_bytes: int) -> None:
        """Take bytes out."""
        if self._bytes_per_second is not None:
            self._bytes -= size_bytes

    def wait_s(self) -> float:
        """Return how long after the last look there will be something; 0 without a limit."""
        if self._bytes_per_second is None:
            return 0.0
        return max(0.0, (self._portion - self._bytes) / self._bytes_per_second)

    @property
    def _size(self) -> float:
        assert self._bytes_per_second is not None
        return max(1.0, self._bytes_per_second * FILL_S)

    @property
    def _portion(self) -> float:
        # Less than the bucket: it is never seen to be quite full.
        return min(PORTION_BYTES, self._size / 2)

    def _fill(self, now_s: float) -> None:
        passed_s, self._filled_at_s = now_s - self._filled_at_s, now_s
        if self._bytes_per_second is not None:
            flowed = passed_s * self._bytes_per_second
            self._bytes = min(self._size, self._bytes + flowed)
