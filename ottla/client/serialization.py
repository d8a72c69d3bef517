"""From what an application has to the bytes of keys and values, and back.

Without a serializer these must be bytes already. Text is refused instead of encoded: whoever
reads the topic needs to know how.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

from ottla.client.errors import DeserializationError
from ottla.client.settings import Serializer
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition
from ottla.record.builder import Headers


def to_bytes(name: str, content: object, serializer: Serializer | None) -> bytes | None:
    """Return the bytes of a key or a value; null stays null.

    Raises :exc:`TypeError`, naming ``name``, if there is no serializer that makes bytes of it.
    What the serializer raises passes through.
    """
    if content is None:
        return None
    made = content if serializer is None else serializer(content)
    if type(made) is bytes or made is None:
        return made
    if isinstance(made, bytes | bytearray | memoryview):
        # The caller may write into it before the batch is sent.
        return bytes(made)
    if serializer is None:
        raise TypeError(
            f"{name} is {type(made).__name__}, not bytes; encode it, or give the producer a "
            f"{name}_serializer"
        )
    raise TypeError(f"{name}_serializer returned {type(made).__name__}; it must return bytes")


def checked_headers(headers: object) -> Headers:
    """Return headers as the builder takes them; :exc:`TypeError` if they are anything else.

    A mistake found later, when the batch is built, would be everybody's in the batch.
    """
    if isinstance(headers, Mapping):
        headers = headers.items()
    if not isinstance(headers, Iterable) or isinstance(headers, str | bytes):
        raise TypeError(f"headers are {type(headers).__name__}; give pairs of a name and bytes")
    checked = []
    for pair in headers:
        name, content = pair
        if not isinstance(name, str) or not isinstance(content, bytes | None):
            raise TypeError(
                f"header {name!r} is {type(content).__name__}; a name is str, what it holds is "
                "bytes or None"
            )
        checked.append((name, content))
    return checked


def check_timestamp(timestamp_ms: object) -> None:
    """Raise :exc:`TypeError` unless this is an integer."""
    if type(timestamp_ms) is not int:
        raise TypeError(
            f"timestamp_ms is {type(timestamp_ms).__name__}; give whole milliseconds since 1970"
        )


class DeserializationPlace:
    """A context that gives whatever a deserializer raises a place in the log.

    Set ``offset`` as the records go by. Errors of our own pass through.
    """

    def __init__(self, topic_partition: TopicPartition) -> None:
        self.offset = -1
        self._topic_partition = topic_partition

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, OttlaError):
            raise DeserializationError(
                f"a deserializer failed on the record of {self._topic_partition} at offset "
                f"{self.offset}: {error!r}; seek to {self.offset + 1} to leave it out",
                topic_partition=self._topic_partition,
                offset=self.offset,
            ) from error
