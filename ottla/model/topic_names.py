"""Which names a topic may have.

A topic's name is the name of a directory, and of a metric in which ``.`` turns into ``_``.
"""

from __future__ import annotations

import re
from typing import Final

from ottla.model.errors import InvalidTopicError
from ottla.model.limits import TOPIC_NAME_CHARACTERS_MAX

CONSUMER_OFFSETS: Final = "__consumer_offsets"
"""The log of the group coordinators."""

INTERNAL_TOPICS: Final = frozenset({CONSUMER_OFFSETS, "__transaction_state"})
"""Brokers keep them for themselves; clients may read them."""

_LEGAL = re.compile(r"[A-Za-z0-9._-]+\Z")


def check_topic_name(name: str) -> None:
    """Raise :exc:`InvalidTopicError`, saying why, unless ``name`` may name a topic."""
    if not name:
        raise InvalidTopicError("a topic's name is empty; give it one")
    if name in {".", ".."}:
        raise InvalidTopicError(f"a topic cannot be named {name!r}: that is a directory")
    if len(name) > TOPIC_NAME_CHARACTERS_MAX:
        raise InvalidTopicError(
            f"a topic's name of {len(name)} characters is too long; use at most "
            f"{TOPIC_NAME_CHARACTERS_MAX}"
        )
    if not _LEGAL.match(name):
        raise InvalidTopicError(
            f"topic name {name!r} has a character that is none of a-z, A-Z, 0-9, '.', '_' and '-'"
        )
