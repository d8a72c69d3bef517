"""How long a client of Kafka's protocol will wait for a change."""

from __future__ import annotations

from ottla.model.limits import ADMIN_TIMEOUT_DEFAULT_MS, ADMIN_TIMEOUT_MAX_MS


def admin_timeout_ms(timeout_ms: int) -> int:
    """Return how long to wait where a request says ``timeout_ms``.

    Some clients say zero and mean that they do not care; in Kafka that ends with a timeout as soon
    as anything has to be waited for.
    """
    if timeout_ms <= 0:
        return ADMIN_TIMEOUT_DEFAULT_MS
    return min(timeout_ms, ADMIN_TIMEOUT_MAX_MS)
