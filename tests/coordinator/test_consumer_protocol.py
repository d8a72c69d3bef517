"""Of a consumer's subscription its topics are read, and nothing that it may claim does harm."""

from __future__ import annotations

import random
import struct

import pytest

from ottla.coordinator.consumer_protocol import subscribed_topics
from tests.coordinator.shell import subscription


def test_topics_of_all_members_are_read() -> None:
    found = subscribed_topics([subscription("t", "ü"), subscription(), subscription("t", "u")])

    assert found == frozenset({"t", "u", "ü"})


def test_nobody_reads_nothing() -> None:
    assert subscribed_topics([]) == frozenset()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x01\x00\x00",
        struct.pack(">hi", 0, 2**31 - 1),
        struct.pack(">hi", 0, -1),
        struct.pack(">hih", 0, 1, -1),
        struct.pack(">hih", 0, 1, 5) + b"t",
        struct.pack(">hih", 0, 1, 1) + b"\xff",
        struct.pack(">hi", 0, 99_999),
    ],
)
def test_what_is_no_subscription_is_not_understood(content: bytes) -> None:
    assert subscribed_topics([subscription("t"), content]) is None


def test_any_bytes_are_read_or_not_understood() -> None:
    chance = random.Random(1)
    for _ in range(2_000):
        content = bytearray(subscription("topic", "other"))
        for _ in range(chance.randrange(4)):
            content[chance.randrange(len(content))] = chance.randrange(256)
        found = subscribed_topics([bytes(content[: chance.randrange(len(content) + 1)])])
        assert found is None or len(found) <= 2
