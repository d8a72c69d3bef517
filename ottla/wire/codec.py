"""Messages to bytes and back, at any version.

For each class and version that is met, a reader or a writer is compiled once, in about a
millisecond, and kept (:mod:`ottla.wire.reader`, :mod:`ottla.wire.writer`). Which versions exist
stands in :data:`ottla.wire.messages.catalogue.APIS`; to ask for another is a bug of the caller,
since headers are looked at first (:mod:`ottla.wire.frames`).

Nothing is written by hand, not even for Produce and Fetch: what is compiled is what a hand would
write, and one path is tested for all (docs/decisions/0009).
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from struct import error as StructError  # noqa: N812 -- it is an exception
from typing import Final, TypeVar

from ottla.model.limits import WIRE_ELEMENTS_READ_MAX, WIRE_REQUEST_ELEMENTS_MAX
from ottla.wire.malformed import MalformedError
from ottla.wire.messages.catalogue import APIS
from ottla.wire.plan import is_within
from ottla.wire.reader import Reader, compile_reader
from ottla.wire.schema import Buffer, Message
from ottla.wire.writer import Writer, compile_writer

M = TypeVar("M", bound=Message)

_READERS: Final[dict[tuple[type[Message], int], Reader]] = {}
_WRITERS: Final[dict[tuple[type[Message], int], Writer]] = {}


def is_supported(api_key: int, version: int) -> bool:
    """Whether this code can read and write the request of this number at this version."""
    api = APIS.get(api_key)
    return api is not None and api.version_first <= version <= api.version_last


def read_request(api_key: int, version: int, frame: memoryview, offset: int) -> Message:
    """Return the request that fills ``frame`` from ``offset`` on, behind its header.

    Records are slices of the frame; nothing else refers to it.

    Raises:
        MalformedError: the bytes are not this request, or it has more elements than
            :data:`~ottla.model.limits.WIRE_REQUEST_ELEMENTS_MAX`.
    """
    reader = _reader_of(request_class(api_key), version)
    # Something may stand behind it, as in Kafka: librdkafka asks for all topics in more bytes than
    # its request has.
    return _read(reader, frame, offset, WIRE_REQUEST_ELEMENTS_MAX)[0]


def write_request(api_key: int, version: int, request: Message) -> list[Buffer]:
    """Return the bytes of a request without its header, for tests and tools."""
    assert type(request) is request_class(api_key), request
    return write_parts(request, version, bytearray())


def read_response(api_key: int, version: int, frame: memoryview, offset: int) -> Message:
    """Return the response that fills ``frame`` from ``offset`` on, for tests and tools.

    Raises:
        MalformedError: the bytes are not this response, or something stands behind it.
    """
    reader = _reader_of(response_class(api_key), version)
    return _read_all(reader, frame, offset, WIRE_ELEMENTS_READ_MAX)


def read_message(kind: type[M], version: int, content: Buffer) -> M:
    """Return the message of ``kind`` that ``content`` begins with; more may stand behind it.

    For what travels inside requests and records. Those who wrote it with a newer version of the
    protocol may have added something, and it is for them to know that it can be left out.

    Raises:
        MalformedError: the bytes are not this message.
    """
    reader = _reader_of(kind, version)
    view = memoryview(content)
    message, _ = _read(reader, view, 0, WIRE_REQUEST_ELEMENTS_MAX)
    assert isinstance(message, kind)
    return message


def write_message(message: Message, version: int) -> bytes:
    """Return a message as bytes by itself."""
    return b"".join(write_parts(message, version, bytearray()))


def write_parts(message: Message, version: int, start: bytearray) -> list[Buffer]:
    """Append a message to ``start``; return that and what does not fit into one output.

    Fields that the version does not have are left out. Records are not copied if they are big.
    """
    parts: list[Buffer] = []
    parts.append(_writer_of(type(message), version)(message, start, parts))
    return parts


@cache
def request_class(api_key: int) -> type[Message]:
    """Return the class of a request, from a module that is imported now if it was not yet."""
    return _class_of(api_key, "Request")


@cache
def response_class(api_key: int) -> type[Message]:
    """Return the class of a response, from a module that is imported now if it was not yet."""
    return _class_of(api_key, "Response")


def _class_of(api_key: int, suffix: str) -> type[Message]:
    api = APIS[api_key]
    module = import_module(f"ottla.wire.messages.{api.module}")
    found: type[Message] = getattr(module, api.name + suffix)
    return found


def _reader_of(kind: type[Message], version: int) -> Reader:
    reader = _READERS.get((kind, version))
    if reader is None:
        flexible = is_flexible(kind, version)
        reader = _READERS[kind, version] = compile_reader(kind, version, flexible=flexible)
    return reader


def _writer_of(kind: type[Message], version: int) -> Writer:
    writer = _WRITERS.get((kind, version))
    if writer is None:
        flexible = is_flexible(kind, version)
        writer = _WRITERS[kind, version] = compile_writer(kind, version, flexible=flexible)
    return writer


def is_flexible(kind: type[Message], version: int) -> bool:
    """Whether a message has compact lengths and tagged fields at a version that exists."""
    assert is_within(version, kind.VERSIONS), f"{kind.__name__} has no version {version}"
    return is_within(version, kind.FLEXIBLE)


def _read_all(reader: Reader, frame: memoryview, offset: int, elements_max: int) -> Message:
    message, stop = _read(reader, frame, offset, elements_max)
    if stop != len(frame):
        raise MalformedError(
            f"the sender put {len(frame) - stop} bytes behind the end of {type(message).__name__}"
        )
    return message


def _read(reader: Reader, view: memoryview, offset: int, elements_max: int) -> tuple[Message, int]:
    try:
        return reader(view, offset, len(view), elements_max)
    except (IndexError, StructError) as error:
        raise MalformedError(f"the message ends within a field, at byte {len(view)}") from error
    except UnicodeDecodeError as error:
        raise MalformedError(f"the sender wrote a string that is not UTF-8: {error}") from error
