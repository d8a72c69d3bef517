"""Where ``ottla consume`` begins to read."""

from __future__ import annotations

from typing import NamedTuple


class Beginning(NamedTuple):
    """At the first record that is there."""


class End(NamedTuple):
    """Behind the last record."""


class AtOffset(NamedTuple):
    """At an offset; negative: so many before the end, or at the beginning if there are fewer."""

    offset: int


class AtTime(NamedTuple):
    """At the first record of that time or later; behind the last record if there is none."""

    timestamp_ms: int


StartingPoint = Beginning | End | AtOffset | AtTime
