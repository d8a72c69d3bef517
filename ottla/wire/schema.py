"""What the classes of Kafka's messages have in common, and how they describe themselves.

Kafka's protocol is defined by tables: every message is a sequence of fields, and every field
says in which versions of the message it is sent, in which it may be null, and whether it is
*tagged* (KIP-482: sent behind the others, with a number and a length, and only if it differs from
its default). A class below ``ottla.wire.messages`` is one such table, :attr:`Message.FIELDS`,
with the union of the fields of all versions as its attributes, so that a handler is written once
and ignores versions unless they differ in meaning. The codec is compiled from the table.

The classes are written out, slots and ``__init__`` and all, instead of being decorated with
``dataclass``: that costs nothing when they are imported, where the decorator takes half a
millisecond a class, which is the whole start of a broker for three hundred of them.
"""

from __future__ import annotations

from typing import ClassVar, Final, NamedTuple, TypeAlias
from uuid import UUID

Buffer: TypeAlias = bytes | bytearray | memoryview

NO_UUID: Final = UUID(int=0)
"""No id, on the wire sixteen zeroes."""


class Api(NamedTuple):
    """What is known of a kind of request without importing its messages."""

    key: int
    module: str
    """Below ``ottla.wire.messages``."""

    name: str
    """As Kafka writes it; the classes are ``<name>Request`` and ``<name>Response``."""

    version_first: int
    version_last: int
    version_flexible: int
    """The first with compact lengths, tagged fields and the headers that go with them."""


class Field(NamedTuple):
    """One field of a message, over all versions; versions are written as Kafka writes them.

    ``"4+"`` means from 4 on, ``"4-7"`` both included, ``"4"`` that one alone, ``""`` never.
    """

    name: str
    kind: str | type[Message]
    """``int8``, ``int16``, ``uint16``, ``int32``, ``uint32``, ``int64``, ``float64``, ``bool``,
    ``uuid``, ``string``, ``bytes``, ``records``, or the class of a structure."""

    versions: str
    nullable: str = ""
    """The versions in which null may be sent."""

    array: bool = False
    tag: int = -1
    tagged: str = ""
    """The versions in which it is sent with the number ``tag``, behind the others."""


class Message:  # noqa: PLW1641 -- what can be changed is not hashed
    """A message of Kafka's protocol, or a structure inside one: slots and a table.

    Milliseconds, error codes and enumerations are plain integers. A UUID is never ``None``: no id
    is ``UUID(int=0)``. A structure that is sent as a tagged field is ``None`` if it is not sent.
    Messages are equal if they are of one class and all their fields are; they can be changed, so
    that they cannot be hashed.
    """

    __slots__ = ()

    FIELDS: ClassVar[tuple[Field, ...]] = ()
    """In the order in which they are sent."""

    API_KEY: ClassVar[int] = -1
    """Of a request or a response."""

    VERSIONS: ClassVar[str] = ""
    """That exist, for a whole message; empty for a structure inside one."""

    FLEXIBLE: ClassVar[str] = ""
    """The versions with compact lengths and tagged fields (KIP-482), for a whole message."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in self.FIELDS)

    def __repr__(self) -> str:
        values = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in self.FIELDS)
        return f"{type(self).__name__}({values})"
