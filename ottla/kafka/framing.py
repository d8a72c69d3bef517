"""From bytes as they arrive to whole requests, without a socket.

Requests that are small are received, several at a time, into a buffer that all connections share,
and each is copied out of it once. A request that is larger gets a buffer of its own as soon as its
first bytes are there, and the rest is received right into that; the records of a Produce are
handled as views of it. Its buffer is never used again, because nobody knows who still looks at it.

Nobody's word is taken for a size. The first eight bytes of a request say how large it is, which
kind and which version; with these the size is refused or accepted before anything is allocated,
and even then the buffer grows only as bytes come. Only a connection that has sent large requests
before gets the memory for the next one at once.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final, NamedTuple

from ottla.kafka.handling import DisconnectError
from ottla.kafka.request_memory import Claim
from ottla.model.limits import (
    KAFKA_FRAME_GROWTH,
    KAFKA_RECEIVE_BYTES,
    KAFKA_TRUSTED_REQUEST_BYTES_MAX,
)

SIZE_BYTES: Final = 4
START_BYTES: Final = 8
"""Size, kind and version."""
_START: Final = Struct(">ihh")
_FRAME_BYTES_MIN: Final = 8
"""Kind, version and correlation id."""

_CAPACITY_MIN: Final = 2_048

_OF_OTHER_PROTOCOLS: Final = (
    (b"\x16\x03", "TLS, and this listener speaks plain text"),
    (b"GET ", "HTTP, which is served on another port"),
    (b"POST", "HTTP, which is served on another port"),
    (b"PRI ", "gRPC, which is served on another port"),
)


class Frame(NamedTuple):
    """One whole request, without its size."""

    api_key: int
    api_version: int
    content: memoryview
    size: int
    """To be given back to the :class:`~ottla.kafka.request_memory.Claim`."""


CheckSize = Callable[[int, int, int], None]
"""Raises :exc:`DisconnectError` for a kind or version of request that is not served, or may not
have this size."""


class FrameReader:
    """Of one connection."""

    __slots__ = (
        "_api",
        "_buffer",
        "_bytes_max",
        "_check_size",
        "_claim",
        "_filled",
        "_shared",
        "_size",
        "_start",
        "_trusted",
        "frames",
    )

    def __init__(
        self, shared: memoryview, claim: Claim, *, bytes_max: int, check_size: CheckSize
    ) -> None:
        """``shared`` is used by other readers between two calls."""
        self._shared = shared
        self._claim = claim
        self._bytes_max = bytes_max
        self._check_size = check_size
        self._start = b""
        """The first bytes of a request, if there are too few to know its size."""
        self._size = 0
        """Of the request in ``_buffer``."""
        self._api = (0, 0)
        self._buffer: bytearray | None = None
        self._filled = 0
        self._trusted = _CAPACITY_MIN
        self.frames: list[Frame] = []
        """What is whole; whoever takes it leaves an empty list."""

    @property
    def is_within_a_request(self) -> bool:
        """Whether a request has begun and is not whole."""
        return self._buffer is not None or bool(self._start)

    @property
    def expected_bytes(self) -> int:
        """Of the request that has begun; 0 if that is not known, or none has."""
        return self._size if self._buffer is not None else 0

    def room(self) -> memoryview:
        """Return where to receive the next bytes."""
        if self._buffer is None:
            return self._shared
        assert self._filled < len(self._buffer), "received although it had to wait"
        return memoryview(self._buffer)[self._filled :]

    def received(self, count: int) -> bool:
        """Look at ``count`` bytes in :meth:`room`.

        Returns whether to go on receiving; if not, there is no memory for the rest of the request,
        and :meth:`grow` must be called when the claim says that there is.

        Raises:
            DisconnectError: what has come is no request that is served; receive no more.
        """
        if self._buffer is None:
            return self._cut(self._shared[:count])
        self._filled += count
        if self._filled == self._size:
            self._finish_large()
            return True
        return self._filled < len(self._buffer) or self._extend()

    def grow(self) -> None:
        """Use the memory that was waited for."""
        begun = self._buffer
        assert begun is not None
        self._buffer = bytearray(self._next_capacity())
        self._buffer[: self._filled] = memoryview(begun)[: self._filled]

    def forget(self) -> None:
        """Nothing more will come."""
        self._buffer = None
        self._start = b""
        self.frames = []

    def _cut(self, view: memoryview) -> bool:
        """Take whole requests out of the shared buffer, and begin the one that is not whole."""
        position = 0
        if self._start:
            view = memoryview(self._start + view)
            self._start = b""
        end = len(view)
        while end - position >= START_BYTES:
            size, api_key, api_version = _START.unpack_from(view, position)
            if not _FRAME_BYTES_MIN <= size <= self._bytes_max:
                raise _refusal(size, view[position : position + START_BYTES])
            self._check_size(size, api_key, api_version)
            position += SIZE_BYTES
            if end - position < size:
                return self._begin(size, (api_key, api_version), view[position:])
            content = memoryview(bytes(view[position : position + size]))
            position += size
            self._claim.add(size)
            self.frames.append(Frame(api_key, api_version, content, size))
        self._start = bytes(view[position:])
        return True

    def _begin(self, size: int, api: tuple[int, int], begun: memoryview) -> bool:
        """Give a request a buffer of its own."""
        self._size, self._api = size, api
        self._buffer = bytearray(begun)
        self._filled = len(begun)
        self._claim.add(self._filled)
        return self._extend()

    def _extend(self) -> bool:
        """Make the buffer larger, or begin to wait for the memory."""
        assert self._buffer is not None
        capacity = self._next_capacity()
        more = capacity - len(self._buffer)
        if capacity <= KAFKA_RECEIVE_BYTES:
            self._claim.add(more)
        elif not self._claim.ask(more):
            return False
        self.grow()
        return True

    def _next_capacity(self) -> int:
        return min(self._size, max(self._trusted, KAFKA_FRAME_GROWTH * self._filled))

    def _finish_large(self) -> None:
        assert self._buffer is not None
        self.frames.append(Frame(*self._api, memoryview(self._buffer), self._size))
        self._buffer = None
        self._trusted = max(self._trusted, min(self._size, KAFKA_TRUSTED_REQUEST_BYTES_MAX))
        self._claim.received()


def _refusal(size: int, start: memoryview) -> DisconnectError:
    """Say what kind of bytes these might be, if they are no request."""
    content = bytes(start)
    for prefix, what in _OF_OTHER_PROTOCOLS:
        if content.startswith(prefix):
            return DisconnectError(f"what the client sends looks like {what}")
    return DisconnectError(f"a request cannot have {size} bytes")
