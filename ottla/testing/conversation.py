"""One connection of Kafka's protocol as somebody in the middle sees it, without any I/O.

Bytes are passed on as they come. What is followed is where frames begin, and of a request the
first bytes: its kind, and for Produce whether it wants a response at all. A request that a fault is
about is set aside until it is whole; nothing else is held, and nothing is copied or decoded.

Kafka answers the requests of a connection in their order, and clients insist on that. So for each
request that waits for its response there is an entry in a queue, and a response that is made here
waits behind those that the broker owes. It is sent between two frames of the broker, never within.

What does not look like the protocol is passed on as it is, to the end of the connection: the broker
may say what it thinks of it.
"""

from __future__ import annotations

from collections import deque
from enum import Enum, auto
from struct import Struct
from struct import error as StructError  # noqa: N812 -- it is an exception
from typing import Final, Protocol

from ottla.model.errors import OttlaError
from ottla.model.limits import WIRE_REQUEST_ELEMENTS_MAX
from ottla.testing.faults import Fate, Faults, Order, Refused
from ottla.testing.kafka_errors import (
    FETCH_SESSION_ID_NOT_FOUND,
    failed_response,
    names_what_it_asks,
)
from ottla.testing.kafka_names import api_name, error_name
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import is_supported, read_request
from ottla.wire.frames import read_request_header, write_response_frame
from ottla.wire.messages.catalogue import APIS
from ottla.wire.schema import Buffer
from ottla.wire.varint import read_uvarint, skip_tags

FRAME_BYTES_MAX: Final = 2**30
"""What claims to be longer is not the protocol; responses of Kafka are at most this long."""

_SIZE: Final = Struct(">i")
_HEAD: Final = Struct(">ihhih")  # size, kind, version, correlation id, bytes of the client's name
_SHORT: Final = Struct(">h")
_HEADER_BYTES_MIN: Final = _HEAD.size - _SIZE.size
_PRODUCE_HEAD_BYTES_MAX: Final = 128 * 1024
"""Names of clients and transactions have up to 32 KiB."""


class _NotRefusedError(Exception):
    """A request was set aside and is the broker's to answer."""


class _Owed(Enum):
    """A response that the broker owes."""

    PASS = auto()
    LOSE = auto()


class Sides(Protocol):
    """The two ends of the connection."""

    def to_broker(self, content: Buffer) -> None:
        """Send to the broker."""

    def to_client(self, content: Buffer) -> None:
        """Send to the client."""

    def hang_up(self) -> None:
        """Close both, when what was sent has left."""


class Conversation:
    """See the top of this module."""

    def __init__(self, faults: Faults, sides: Sides) -> None:
        self._faults = faults
        self._sides = sides
        self._owed: deque[_Owed | list[Buffer]] = deque()
        """In the order of the requests: a response made here, or one of the broker's."""
        self._head = b""
        """The beginning of a request that is not decided yet."""
        self._left = 0
        """Bytes of the request that are still to come."""
        self._aside: bytearray | None = None
        """A request that a fault is about, as far as it has come."""
        self._order: Order | None = None
        self._response_head = b""
        self._response_left = 0
        self._is_foreign = False
        """Whether it is not Kafka's protocol, or not any more."""

    def from_client(self, chunk: bytes) -> None:
        """Take what the client sent."""
        if self._is_foreign and self._aside is not None:
            self._sides.to_broker(self._aside)
            self._aside = None
        if self._head:
            chunk, self._head = self._head + chunk, b""
        view = memoryview(chunk)
        begin = position = 0  # what is to be passed on stands between the two
        while position < len(view) and not self._is_foreign:
            if self._left:
                step = min(self._left, len(view) - position)
                self._left -= step
                position += step
                if self._aside is not None:
                    self._aside += view[begin:position]
                    begin = position
                    if not self._left:
                        self._decide()
                continue
            if not self._begin(view[position:]):
                self._pass_on(view[begin:position])
                self._head = bytes(view[position:])
                return
            if self._aside is not None:
                self._pass_on(view[begin:position])
                begin = position
        self._pass_on(view[begin:])

    def from_broker(self, chunk: bytes) -> None:
        """Take what the broker sent."""
        if self._response_head:
            chunk, self._response_head = self._response_head + chunk, b""
        view = memoryview(chunk)
        begin = position = 0
        while position < len(view) and not self._is_foreign:
            if not self._response_left:
                if len(view) - position < _SIZE.size:
                    self._response_head = bytes(view[position:])
                    self._reply(view[begin:position])
                    return
                if not self._begin_response(view[position:]):
                    self._reply(view[begin:position])
                    self._sides.hang_up()
                    return
            step = min(self._response_left, len(view) - position)
            self._response_left -= step
            position += step
            if not self._response_left and self._owed and isinstance(self._owed[0], list):
                self._reply(view[begin:position])
                begin = position
                self._send_made()
        self._reply(view[begin:])

    # --- Requests ---

    def _begin(self, view: memoryview) -> bool:
        """Decide what becomes of the request that begins here; ``False``: not all is there yet."""
        if len(view) < _HEAD.size:
            return False
        size, api_key, version, _, name_bytes = _HEAD.unpack_from(view)
        if not _HEADER_BYTES_MIN <= size <= FRAME_BYTES_MAX:
            self._is_foreign = True
            return True
        order = self._faults.order_for(api_key)
        if order is not None and order.fate is Fate.REFUSE and is_supported(api_key, version):
            self._aside = bytearray()
            self._order = order
        elif api_key == ApiKey.PRODUCE:
            acks = _acks(view, version, name_bytes)
            if acks is None and len(view) < min(size + _SIZE.size, _PRODUCE_HEAD_BYTES_MAX):
                return False
            if acks != 0:
                self._expect(api_key, order)
        else:
            self._expect(api_key, order)
        self._faults.requests[api_key] += 1
        self._left = _SIZE.size + size
        return True

    def _expect(self, api_key: int, order: Order | None) -> None:
        if order is not None and order.fate is Fate.LOSE:
            self._faults.carried_out(api_key, order)
            self._owed.append(_Owed.LOSE)
        else:
            self._owed.append(_Owed.PASS)

    def _decide(self) -> None:
        """Answer the request that was set aside, or pass it on after all."""
        assert self._aside is not None
        assert self._order is not None
        frame, order = self._aside, self._order
        self._aside = self._order = None
        try:
            made = self._made(memoryview(frame)[_SIZE.size :], order)
        except _NotRefusedError:
            self._pass_aside(frame)
            return
        if made is None:
            # So do brokers, which have no other way to say it.
            self._sides.hang_up()
            return
        self._owed.append(made)
        if not self._response_left:
            self._send_made()

    def _pass_aside(self, frame: bytearray) -> None:
        """Pass on a request that was set aside and is not refused."""
        view = memoryview(frame)
        _, api_key, version, _, name_bytes = _HEAD.unpack_from(view)
        if api_key != ApiKey.PRODUCE or _acks(view, version, name_bytes) != 0:
            self._owed.append(_Owed.PASS)
        self._sides.to_broker(frame)

    def _made(self, frame: memoryview, order: Order) -> list[Buffer] | None:
        """Return the response to a request that is refused; ``None`` if none is wanted.

        Raises :exc:`_NotRefusedError` if it is not refused.
        """
        try:
            header, position = read_request_header(frame)
            version = header.api_version
            request = read_request(header.api_key, version, frame, position)
        except OttlaError as error:
            # The broker may say what it thinks of it.
            raise _NotRefusedError from error
        if self._faults.order_for(header.api_key) is not order:
            # Meanwhile others were refused, as often as was asked for, or all is well again.
            raise _NotRefusedError
        error_code = order.error_code
        if names_what_it_asks(request, error_code):
            self._faults.note_refused(Refused(api_name(header.api_key), error_name(error_code)))
            self._faults.carried_out(header.api_key, order)
        else:
            error_code = FETCH_SESSION_ID_NOT_FOUND
        if header.api_key == ApiKey.PRODUCE and getattr(request, "acks", 1) == 0:
            return None
        response = failed_response(version, request, error_code, self._faults.brokers)
        return write_response_frame(header.api_key, version, header.correlation_id, response)

    def _pass_on(self, content: memoryview) -> None:
        if content:
            self._sides.to_broker(content)

    # --- Responses ---

    def _begin_response(self, view: memoryview) -> bool:
        """Follow the response that begins here; ``False`` if it is not to be delivered."""
        (size,) = _SIZE.unpack_from(view)
        if not 0 <= size <= FRAME_BYTES_MAX or not self._owed:
            self._is_foreign = True
            self._response_left = len(view)
            return True
        self._response_left = _SIZE.size + size
        return self._owed.popleft() is not _Owed.LOSE

    def _send_made(self) -> None:
        while self._owed and isinstance(made := self._owed[0], list):
            self._owed.popleft()
            for part in made:
                self._sides.to_client(part)

    def _reply(self, content: memoryview) -> None:
        if content:
            self._sides.to_client(content)


def _acks(view: memoryview, version: int, name_bytes: int) -> int | None:
    """Return how many acknowledgements a Produce wants; ``None`` if that is not there yet."""
    position = _HEAD.size + max(name_bytes, 0)
    try:
        if version >= APIS[ApiKey.PRODUCE].version_flexible:
            position, _ = skip_tags(view, position, len(view), WIRE_REQUEST_ELEMENTS_MAX)
            length, position = read_uvarint(view, position)
            position += max(length - 1, 0)
        else:
            (length,) = _SHORT.unpack_from(view, position)
            position += _SHORT.size + max(length, 0)
        (acks,) = _SHORT.unpack_from(view, position)
    except (IndexError, StructError, OttlaError):
        return None
    return int(acks)
