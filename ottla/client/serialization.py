"""From what an application has to the bytes of keys and values, and back.

Without a serializer these must be bytes already. Text is refused instead of encoded: whoever
reads the topic needs to know how.
"""

from __future__ import annotations

from ottla.client.errors import DeserializationError
from ottla.client.settings import Deserializer, Serializer
from ottla.model.ids import TopicPartition


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


def from_bytes(
    name: str,
    content: bytes | None,
    deserializer: Deserializer | None,
    place: tuple[TopicPartition, int],
) -> object:
    """Return what the deserializer makes of a key or a value; null stays null.

    Raises :exc:`DeserializationError`, with the place of the record, from whatever the
    deserializer raises.
    """
    if content is None or deserializer is None:
        return content
    try:
        return deserializer(content)
    except Exception as error:
        # The application's own code may raise anything. Records decoded before this one must
        # still be delivered, so it becomes an error that knows its place.
        topic_partition, offset = place
        raise DeserializationError(
            f"{name}_deserializer failed on the record of {topic_partition} at offset {offset}: "
            f"{error!r}; seek to {offset + 1} to leave it out",
            topic_partition=topic_partition,
            offset=offset,
        ) from error
