"""Which topic a partition's directory belongs to: the file ``partition.metadata``.

A topic may be deleted and created again under its name while a broker is away. The name of a
directory does not tell the two apart; the topic's id does (KIP-516)::

    version: 0
    topic_id: q83vEjRWeJCrze8SNFZ4kA
"""

from __future__ import annotations

from typing import Final

from ottla.model.ids import TopicId
from ottla.storage.uuid_text import uuid_from_text, uuid_to_text

FILE_NAME: Final = "partition.metadata"
_VERSION: Final = 0


def encode_partition_metadata(topic_id: TopicId) -> bytes:
    """Write the content of the file; like Kafka's, its last line does not end."""
    return f"version: {_VERSION}\ntopic_id: {uuid_to_text(topic_id)}".encode()


def decode_partition_metadata(content: bytes) -> TopicId:
    """Read the content of the file; :exc:`ValueError`, saying what is wrong, if it is damaged."""
    fields: dict[str, str] = {}
    for line in content.decode("utf-8", "replace").splitlines():
        name, _, value = line.partition(":")
        fields[name.strip()] = value.strip()
    if fields.get("version") != str(_VERSION):
        raise ValueError(f"version {fields.get('version')} is not {_VERSION}, the only one known")
    if "topic_id" not in fields:
        raise ValueError("it has no line with topic_id")
    return TopicId(uuid_from_text(fields["topic_id"]))
