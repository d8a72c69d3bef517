"""The numbers of a fetch, checked, with the defaults that 0 stands for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from ottla.model.errors import InvalidRequestError
from ottla.model.limits import (
    FETCH_PARTITION_BYTES_DEFAULT,
    FETCH_RESPONSE_BYTES_DEFAULT,
    FETCH_RESPONSE_BYTES_MAX,
    FETCH_WAIT_MAX_MS,
)

_MIN_BYTES_DEFAULT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """How long to wait for how much, and how much is too much."""

    max_wait_ms: int
    min_bytes: int
    """Never more than ``max_bytes``: nobody waits for what would not fit."""
    max_bytes: int

    @classmethod
    def checked(
        cls,
        *,
        max_wait_ms: int,
        min_bytes: int,
        max_bytes: int,
        response_bytes_max: int = FETCH_RESPONSE_BYTES_MAX,
    ) -> Self:
        """Take the numbers of a request; :exc:`InvalidRequestError` if one is out of range."""
        if not 0 <= max_wait_ms <= FETCH_WAIT_MAX_MS:
            raise InvalidRequestError(f"max_wait_ms is {max_wait_ms}; use 0 to {FETCH_WAIT_MAX_MS}")
        if min_bytes < 0:
            raise InvalidRequestError(
                f"min_bytes is {min_bytes}; use 0 (which means {_MIN_BYTES_DEFAULT}) or more"
            )
        if not 0 <= max_bytes <= response_bytes_max:
            raise InvalidRequestError(
                f"max_bytes is {max_bytes}; use 0 (which means {FETCH_RESPONSE_BYTES_DEFAULT}) to "
                f"{response_bytes_max}"
            )
        max_bytes = max_bytes or FETCH_RESPONSE_BYTES_DEFAULT
        return cls(
            max_wait_ms=max_wait_ms,
            min_bytes=min(min_bytes or _MIN_BYTES_DEFAULT, max_bytes),
            max_bytes=max_bytes,
        )


def partition_max_bytes(max_bytes: int) -> int:
    """Return how much of one partition a response may hold; :exc:`InvalidRequestError` if < 0."""
    if max_bytes < 0:
        raise InvalidRequestError(
            f"a partition's max_bytes is {max_bytes}; use 0 (which means "
            f"{FETCH_PARTITION_BYTES_DEFAULT}) or more"
        )
    return max_bytes or FETCH_PARTITION_BYTES_DEFAULT
