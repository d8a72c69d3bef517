"""Requests are cut out of a stream of bytes wherever it is cut itself, and claim no memory."""

from __future__ import annotations

import random
import struct

import pytest

from ottla.kafka.framing import FrameReader
from ottla.kafka.handling import DisconnectError
from ottla.kafka.request_memory import RequestMemory
from ottla.model.limits import KAFKA_RECEIVE_BYTES

BYTES_MAX = 10 << 20


def frame(size: int, *, api_key: int = 0, seed: int = 0) -> bytes:
    """A request of ``size`` bytes, of version 7."""
    body = struct.pack(">hh", api_key, 7) + random.Random(seed).randbytes(size - 4)
    return struct.pack(">i", size) + body


class Receiving:
    """A reader that is given bytes as a socket gives them."""

    def __init__(self, memory: RequestMemory | None = None) -> None:
        self.memory = memory or RequestMemory(None)
        self.resumed = False
        self.checked: list[tuple[int, int, int]] = []
        self.claim = self.memory.claim(self._resume)
        self.reader = FrameReader(
            memoryview(bytearray(KAFKA_RECEIVE_BYTES)),
            self.claim,
            bytes_max=BYTES_MAX,
            check_size=lambda *asked: self.checked.append(asked),
        )

    def _resume(self) -> None:
        self.resumed = True
        self.reader.grow()

    def feed(self, content: bytes, *, at_most: int = KAFKA_RECEIVE_BYTES) -> bool:
        """Receive ``content``, so much at a time; ``False`` if it had to stop."""
        while content:
            room = self.reader.room()
            count = min(len(room), len(content), at_most)
            room[:count] = content[:count]
            content = content[count:]
            if not self.reader.received(count):
                return False
        return True

    def taken(self) -> list[bytes]:
        frames, self.reader.frames = self.reader.frames, []
        return [bytes(one.content) for one in frames]


SIZES = [8, 9, 100, 5_000, 66_000, 300_000, 12, 1_000_000, 20]


@pytest.mark.parametrize("at_most", [1, 3, 7, 4_096, 65_536])
def test_requests_are_whole_however_their_bytes_come(at_most: int) -> None:
    sizes = [size for size in SIZES if size <= 70_000 or at_most > 100]
    sent = [frame(size, seed=size) for size in sizes]
    receiving = Receiving()

    assert receiving.feed(b"".join(sent), at_most=at_most)

    assert receiving.taken() == [one[4:] for one in sent]
    assert not receiving.reader.is_within_a_request


def test_kind_and_version_are_known_with_each_request() -> None:
    receiving = Receiving()
    receiving.feed(frame(100_000, api_key=3) + frame(10, api_key=18))

    assert [(one.api_key, one.api_version) for one in receiving.reader.frames] == [(3, 7), (18, 7)]


def test_size_is_checked_as_soon_as_kind_and_version_are_there() -> None:
    receiving = Receiving()

    receiving.feed(frame(5_000_000, api_key=1)[:8])

    assert receiving.checked == [(5_000_000, 1, 7)]


@pytest.mark.parametrize("size", [-(2**31), -1, 0, 1, 7, BYTES_MAX + 1, 2**31 - 1])
def test_size_that_no_request_has_is_refused(size: int) -> None:
    receiving = Receiving()

    with pytest.raises(DisconnectError, match=f"cannot have {size} bytes"):
        receiving.feed(struct.pack(">ihh", size, 0, 0))

    assert receiving.memory.used_bytes == 0


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "TLS, and this listener speaks plain text"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n", "gRPC"),
    ],
)
def test_other_protocols_are_recognised(sent: bytes, what: str) -> None:
    with pytest.raises(DisconnectError, match=f"looks like {what}"):
        Receiving().feed(sent)


def test_claimed_size_takes_no_memory_before_bytes_come() -> None:
    receiving = Receiving()

    receiving.feed(frame(BYTES_MAX)[:100])

    assert receiving.memory.used_bytes <= 4_096


def test_memory_follows_what_has_come() -> None:
    receiving = Receiving()
    content = frame(BYTES_MAX)

    for stop in (10_000, 100_000, 1_000_000):
        receiving = Receiving()
        receiving.feed(content[:stop])
        assert receiving.memory.used_bytes <= 4 * stop + KAFKA_RECEIVE_BYTES


def test_sender_of_large_requests_gets_memory_for_the_next_at_once() -> None:
    receiving = Receiving()
    receiving.feed(frame(1_000_000))
    (first,) = receiving.reader.frames
    receiving.claim.give_back(first.size)

    receiving.feed(frame(1_000_000)[:100])

    assert receiving.memory.used_bytes == 1_000_000


def test_buffer_of_a_request_is_never_used_again() -> None:
    receiving = Receiving()
    receiving.feed(frame(200_000, seed=1))
    (first,) = receiving.reader.frames
    receiving.reader.frames = []

    receiving.feed(frame(200_000, seed=2) + frame(100, seed=3))

    assert bytes(first.content) == frame(200_000, seed=1)[4:]


def test_memory_is_given_back_to_the_byte() -> None:
    receiving = Receiving()
    receiving.feed(b"".join(frame(size) for size in SIZES))

    for one in receiving.reader.frames:
        receiving.claim.give_back(one.size)

    assert receiving.memory.used_bytes == 0


def test_request_waits_for_memory_and_goes_on_when_there_is_some() -> None:
    memory = RequestMemory(1_000_000)
    others = memory.claim(lambda: None)
    others.add(1_000_000)
    memory.claim(lambda: None).ask(1)  # takes the place of the one that may always go on
    receiving = Receiving(memory)
    content = frame(500_000)

    assert not receiving.feed(content[:200_000])
    others.give_all_back()

    assert receiving.resumed
    assert receiving.feed(content[KAFKA_RECEIVE_BYTES:])
    assert receiving.taken() == [content[4:]]
