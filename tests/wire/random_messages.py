"""Messages of ours, made at random from their own tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from ottla.wire import codec
from ottla.wire.messages.catalogue import APIS
from ottla.wire.plan import FORMATS, SIZES, is_within
from ottla.wire.schema import Field, Message


class Kind(NamedTuple):
    """A message at a version."""

    message: type[Message]
    version: int

    def __str__(self) -> str:
        return f"{self.message.__name__} v{self.version}"


def all_requests() -> Iterator[Kind]:
    for api in APIS.values():
        for version in range(api.version_first, api.version_last + 1):
            yield Kind(codec.request_class(api.key), version)


def all_responses() -> Iterator[Kind]:
    for api in APIS.values():
        for version in range(api.version_first, api.version_last + 1):
            yield Kind(codec.response_class(api.key), version)


def make(kind: Kind, random: Random) -> Message:
    """Return a message in which all fields have values, also those that the version lacks."""
    return make_of(kind.message, kind.version, random)


def make_of(kind: type[Message], version: int, random: Random) -> Message:
    return kind(**{field.name: make_value(field, version, random) for field in kind.FIELDS})


def make_value(field: Field, version: int, random: Random) -> Any:
    if is_within(version, field.nullable) and random.random() < 0.2:
        return None
    if field.array:
        return [make_one(field, version, random) for _ in range(random.randrange(4))]
    return make_one(field, version, random)


def make_one(field: Field, version: int, random: Random) -> Any:
    if not isinstance(field.kind, str):
        return make_of(field.kind, version, random)
    if field.kind in VALUES:
        return VALUES[field.kind](random)
    letter = FORMATS[field.kind]
    number = random.getrandbits(8 * SIZES[letter])
    return number - (2 ** (8 * SIZES[letter] - 1) if letter.islower() else 0)


VALUES: dict[str, Callable[[Random], Any]] = {
    "bool": lambda random: random.random() < 0.5,
    "bytes": lambda random: random.randbytes(random.choice((0, 7, 200, 3000))),
    "float64": lambda random: random.random(),
    "records": lambda random: random.randbytes(random.choice((0, 7, 200, 3000))),
    "string": lambda random: "ü" * random.randrange(3) + "x" * random.choice((0, 5, 130)),
    "uuid": lambda random: UUID(int=random.getrandbits(128)),
}
