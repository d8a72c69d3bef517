"""Frames of Kafka's protocol: the header of a request, and a response with its header and size.

A frame is its size in four bytes, then that many. A request begins with the number and version of
its kind, a correlation id that its response bears again, and the client's name for itself; from
the first flexible version on, tagged fields follow (header version 2). A response begins with the
correlation id, from the first flexible version on with tagged fields behind it; only the answer
to ``ApiVersions`` never has these, for whoever asks does not know yet what the broker knows
(KIP-511).

Kafka's ``RequestHeader.json`` and ``ResponseHeader.json`` define the layouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from struct import error as StructError  # noqa: N812 -- it is an exception
from typing import Final

from ottla.model.errors import UnsupportedVersionError
from ottla.model.limits import WIRE_REQUEST_ELEMENTS_MAX
from ottla.wire.api_keys import ApiKey
from ottla.wire.codec import write_parts
from ottla.wire.malformed import MalformedError, bad_length
from ottla.wire.messages.catalogue import APIS
from ottla.wire.schema import Buffer, Message
from ottla.wire.varint import skip_tags

_REQUEST: Final = Struct(">hhih")  # kind, version, correlation id, bytes of the client's name
_SIZE: Final = Struct(">i")
_SIZE_AND_ID: Final = Struct(">ii")

_HEADER_1_SIZE: Final = 10


@dataclass(slots=True)
class RequestHeader:
    """What stands before every request."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str
    """Empty if the client gave none."""


class UnsupportedRequestError(UnsupportedVersionError):
    """A well-formed header names a kind or version of request that this code does not know.

    If :attr:`header` asks for ``ApiVersions``, Kafka's brokers answer version 0 with this code and
    the versions they have (KIP-511), so that the client can ask again; otherwise the connection
    is closed, since the client cannot read an answer to what it asked.
    """

    def __init__(self, header: RequestHeader) -> None:
        super().__init__(
            f"the client asks for version {header.api_version} of request {header.api_key},"
            " which this broker does not know; ApiVersions tells what it knows"
        )
        self.header = header


def read_request_header(frame: memoryview) -> tuple[RequestHeader, int]:
    """Return the header of a request (its frame without the size) and where its body begins.

    Raises:
        UnsupportedRequestError: there is no such request, or no such version of it.
        MalformedError: the header is cut short or its strings are none.
    """
    try:
        api_key, version, correlation_id, length = _REQUEST.unpack_from(frame, 0)
        position = _HEADER_1_SIZE
        client_id = ""
        if length > 0:
            position += length
            if position > len(frame):
                raise bad_length(length, len(frame) - _HEADER_1_SIZE)
            client_id = str(frame[_HEADER_1_SIZE:position], "utf-8")
        elif length < -1:
            raise bad_length(length, len(frame) - _HEADER_1_SIZE)
        header = RequestHeader(api_key, version, correlation_id, client_id)
        api = APIS.get(api_key)
        if api is None or not api.version_first <= version <= api.version_last:
            raise UnsupportedRequestError(header)
        if version >= api.version_flexible:
            if frame[position]:
                position, _ = skip_tags(frame, position, len(frame), WIRE_REQUEST_ELEMENTS_MAX)
            else:
                position += 1
    except (IndexError, StructError) as error:
        raise MalformedError(f"the header of a request ends at byte {len(frame)}") from error
    except UnicodeDecodeError as error:
        raise MalformedError(f"the client's name for itself is not UTF-8: {error}") from error
    return header, position


def write_request_frame(
    api_key: int, version: int, correlation_id: int, client_id: str | None, request: Message
) -> list[Buffer]:
    """Return a request as a client sends it, with header and size, for tests and tools."""
    name = b"" if client_id is None else client_id.encode()
    start = bytearray(_SIZE.size)
    length = -1 if client_id is None else len(name)
    start += _REQUEST.pack(api_key, version, correlation_id, length)
    start += name
    if version >= APIS[api_key].version_flexible:
        start.append(0)
    return _with_size(write_parts(request, version, start))


def write_response_frame(
    api_key: int, version: int, correlation_id: int, response: Message
) -> list[Buffer]:
    """Return a response with header and size, as buffers to be sent one after another.

    Big records among them are those of the message, not copies.
    """
    start = bytearray(_SIZE_AND_ID.pack(0, correlation_id))
    if version >= APIS[api_key].version_flexible and api_key != ApiKey.API_VERSIONS:
        start.append(0)
    return _with_size(write_parts(response, version, start))


def read_response_header(api_key: int, version: int, frame: memoryview) -> tuple[int, int]:
    """Return the correlation id of a response (without the size) and where its body begins.

    Raises:
        MalformedError: the header is cut short.
    """
    try:
        (correlation_id,) = _SIZE.unpack_from(frame, 0)
        position = _SIZE.size
        if version >= APIS[api_key].version_flexible and api_key != ApiKey.API_VERSIONS:
            position, _ = skip_tags(frame, position, len(frame), WIRE_REQUEST_ELEMENTS_MAX)
    except (IndexError, StructError) as error:
        raise MalformedError(f"the header of a response ends at byte {len(frame)}") from error
    return correlation_id, position


def _with_size(parts: list[Buffer]) -> list[Buffer]:
    first = parts[0]
    assert isinstance(first, bytearray)
    _SIZE.pack_into(first, 0, sum(map(len, parts)) - _SIZE.size)
    return parts
