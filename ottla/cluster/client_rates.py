"""How much clients have sent or been sent lately, and how long they have to keep quiet for it.

A quota is a rate, so what it allows is told in time: each byte takes ``1 / rate`` seconds. Of all
who share a quota one number is kept, the time by which every byte so far has got through::

          back              now                  ahead
    ├─────────────────────────┼─────────────────────────┤
    (samples - 1) windows            samples windows
                 ▲                          ▲
        may go on at once         waits until then

Whoever was idle may make up for so many windows and no more. Whoever got more through than that
waits; and what would make him wait longer than for all windows is forgiven, or one request that
is large beside its quota would keep its client away for hours. In the long run the rate is kept,
unless single requests carry more than all windows allow.

Kafka measures a rate over the same windows (``quota.window.num``, ``quota.window.size.seconds``)
and waits for as long as brings it down to the quota, which comes to the same without the samples.

This machine touches nothing: time comes from whoever uses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from ottla.model.image import QuotaEntity
from ottla.model.limits import CLIENT_RATES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaWindows:
    """Over how long a rate is kept."""

    samples: int
    size_ms: int

    @property
    def back_ms(self) -> int:
        """For how much idleness a client may make up."""
        return (self.samples - 1) * self.size_ms

    @property
    def ahead_ms(self) -> int:
        """For how long a client waits at most."""
        return self.samples * self.size_ms


class Quota(NamedTuple):
    """A rate, and who has it together."""

    bytes_per_second: float
    shared_by: QuotaEntity
    """A user, a client id, or both; never a default."""


class _Account:
    __slots__ = ("bytes_per_second", "through_ms")

    def __init__(self, bytes_per_second: float, through_ms: float) -> None:
        self.bytes_per_second = bytes_per_second
        self.through_ms = through_ms


class ClientRates:
    """Of everybody, for one direction. Times are milliseconds of a clock that never goes back."""

    def __init__(self, windows: QuotaWindows, *, entities_max: int = CLIENT_RATES_MAX) -> None:
        """Keep the rates of at most so many; of more, those used last."""
        self._windows = windows
        self._entities_max = entities_max
        self._accounts: dict[QuotaEntity, _Account] = {}  # the longest unused first

    def __len__(self) -> int:
        return len(self._accounts)

    def spend(self, quota: Quota, size_bytes: int, now_ms: int) -> None:
        """Take note of bytes that got through, or will at once."""
        account = self._account(quota, now_ms)
        account.through_ms = min(
            account.through_ms + size_bytes * 1000 / quota.bytes_per_second,
            now_ms + self._windows.ahead_ms,
        )

    def wait_ms(self, quota: Quota, now_ms: int) -> int:
        """Return for how long those who share the quota should get nothing through; mostly 0."""
        return max(0, math.ceil(self._account(quota, now_ms).through_ms - now_ms))

    def portion_bytes(self, quota: Quota) -> int:
        """Return how much may get through at a time, to be waited off afterwards; at least 1."""
        windows_ms = max(self._windows.back_ms, self._windows.size_ms)
        return max(1, int(quota.bytes_per_second * windows_ms / 1000))

    def _account(self, quota: Quota, now_ms: int) -> _Account:
        account = self._accounts.pop(quota.shared_by, None)
        earliest_ms = now_ms - self._windows.back_ms
        if account is None:
            self._make_room(now_ms)
            account = _Account(quota.bytes_per_second, earliest_ms)
        elif account.bytes_per_second != quota.bytes_per_second:
            # The bytes stay what they were, and take another time.
            ratio = account.bytes_per_second / quota.bytes_per_second
            ahead_ms = min((account.through_ms - now_ms) * ratio, self._windows.ahead_ms)
            account.through_ms = now_ms + ahead_ms
            account.bytes_per_second = quota.bytes_per_second
        account.through_ms = max(account.through_ms, earliest_ms)
        self._accounts[quota.shared_by] = account
        return account

    def _make_room(self, now_ms: int) -> None:
        """Forget who is as good as unknown, and whoever is too many."""
        while self._accounts:
            longest_unused = next(iter(self._accounts))
            is_idle = self._accounts[longest_unused].through_ms <= now_ms - self._windows.back_ms
            if not is_idle and len(self._accounts) < self._entities_max:
                return
            del self._accounts[longest_unused]
