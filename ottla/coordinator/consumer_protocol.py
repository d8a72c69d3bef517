"""What consumers of a classic group subscribe to, as far as the coordinator looks at it.

To the coordinator the metadata of a member is opaque; its only interest is which topics a group of
protocol type ``consumer`` reads, for their offsets neither expire nor can be deleted. The format
is Kafka's ``ConsumerProtocolSubscription``: a version, then an array of topic names, then what does
not concern us, and is never read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from ottla.model.limits import CONSUMER_PROTOCOL_TOPICS_MAX

CONSUMER_PROTOCOL_TYPE: Final = "consumer"

_HEADER: Final = struct.Struct(">hi")
_LENGTH: Final = struct.Struct(">h")


def subscribed_topics(subscriptions: Iterable[bytes]) -> frozenset[str] | None:
    """Return all topics that somebody subscribes to; ``None`` if one cannot be understood."""
    topics: set[str] = set()
    for subscription in subscriptions:
        try:
            topics.update(_topics(subscription))
        except (struct.error, UnicodeDecodeError, ValueError):
            return None
    return frozenset(topics)


def _topics(subscription: bytes) -> list[str]:
    _, count = _HEADER.unpack_from(subscription)
    if not 0 <= count <= CONSUMER_PROTOCOL_TOPICS_MAX:
        raise ValueError(count)
    topics = []
    position = _HEADER.size
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(subscription, position)
        position += _LENGTH.size
        if not 0 <= length <= len(subscription) - position:
            raise ValueError(length)
        topics.append(subscription[position : position + length].decode())
        position += length
    return topics
