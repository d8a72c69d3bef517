"""kio's messages, made at random, and their counterparts of ours.

kio is another implementation of the same definitions, written by others and tested by them
against Kafka's own; it says what the bytes should be.
"""

from __future__ import annotations

import dataclasses
import io
import types
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from kio.index import load_entity_schema
from kio.schema.errors import ErrorCode
from kio.schema.index import schema_name_map
from kio.serial import entity_reader, entity_writer
from kio.static.constants import EntityType

from ottla.wire import codec
from ottla.wire.messages.catalogue import APIS
from ottla.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from ottla.wire.messages.consumer_protocol_subscription import ConsumerProtocolSubscription
from ottla.wire.schema import Message

_BITS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64}
_UNSIGNED_BITS = {"uint16": 16, "uint32": 32}
_MILLISECOND = timedelta(milliseconds=1)
_NONE = {"int64": -1, "uuid": UUID(int=0)}  # no time, no id


class Kind(NamedTuple):
    """One message at one version, theirs and ours."""

    theirs: Any
    ours: type[Message]
    version: int

    def __str__(self) -> str:
        return f"{self.ours.__name__} v{self.version}"


def all_kinds() -> Iterator[Kind]:
    """Every request and response at every version."""
    for api in APIS.values():
        for version in range(api.version_first, api.version_last + 1):
            request = load_entity_schema(api.module, version, EntityType.request)
            yield Kind(request, codec.request_class(api.key), version)
            response = load_entity_schema(api.module, version, EntityType.response)
            yield Kind(response, codec.response_class(api.key), version)
    for ours in (ConsumerProtocolSubscription, ConsumerProtocolAssignment):
        name = ours.__module__.rpartition(".")[-1]
        for version in schema_name_map[name]:
            yield Kind(load_entity_schema(name, version, EntityType.data), ours, version)


class Shape(NamedTuple):
    """What an annotation of kio says."""

    kind: Any
    array: bool
    nullable: bool
    tagged: bool


def shape_of(field: dataclasses.Field[Any]) -> Shape:
    kind: Any = field.type
    nullable = isinstance(kind, types.UnionType)
    if nullable:
        (kind,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
    array = typing.get_origin(kind) is tuple
    if array:
        kind = typing.get_args(kind)[0]
    return Shape(kind, array, nullable, "tag" in field.metadata)


class Maker:
    """Makes messages of kio from a seed, with everything in them that can be in them."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self._fields: dict[Any, list[tuple[str, Shape, str]]] = {}

    def make(self, entity: Any) -> Any:
        if entity not in self._fields:
            self._fields[entity] = [
                (field.name, shape_of(field), field.metadata.get("kafka_type", ""))
                for field in dataclasses.fields(entity)
            ]
        values = {}
        for name, shape, kafka_type in self._fields[entity]:
            values[name] = self._value(shape, kafka_type)
        return entity(**values)

    def _value(self, shape: Shape, kafka_type: str) -> Any:
        if shape.nullable and self._random.random() < 0.3 and not (shape.tagged and not kafka_type):
            return None
        if shape.array:
            return tuple(self._one(shape, kafka_type) for _ in range(self._random.randrange(4)))
        return self._one(shape, kafka_type)

    def _one(self, shape: Shape, kafka_type: str) -> Any:
        return PRIMITIVES[kafka_type](self._random) if kafka_type else self.make(shape.kind)


def _signed(bits: int) -> Callable[[Random], int]:
    return lambda random: random.getrandbits(bits) - 2 ** (bits - 1)


def _unsigned(bits: int) -> Callable[[Random], int]:
    return lambda random: random.getrandbits(bits)


def _text(random: Random) -> str:
    return "é" * random.randrange(3) + "x" * random.choice((0, 5, 130))


_ERRORS = list(ErrorCode)

PRIMITIVES: dict[str, Callable[[Random], Any]] = {
    **{name: _signed(bits) for name, bits in _BITS.items()},
    **{name: _unsigned(bits) for name, bits in _UNSIGNED_BITS.items()},
    "bool": lambda random: random.random() < 0.5,
    "bytes": lambda random: random.randbytes(random.choice((0, 7, 200))),
    "datetime_i64": lambda random: datetime.fromtimestamp(random.getrandbits(30), UTC),
    "error_code": lambda random: random.choice(_ERRORS),
    "float64": lambda random: random.random(),
    "records": lambda random: random.randbytes(random.choice((0, 7, 5000))),
    "string": _text,
    "timedelta_i32": lambda random: random.getrandbits(30) * _MILLISECOND,
    "timedelta_i64": lambda random: random.getrandbits(40) * _MILLISECOND,
    "uuid": lambda random: UUID(int=random.getrandbits(128)),
}


def to_ours(entity: Any, ours: type[Message]) -> Message:
    """Return our message with the same content."""
    fields = {field.name: field for field in ours.FIELDS}
    values = {}
    for name in type(entity).__slots__:
        value = getattr(entity, name)
        field = fields.get(name) or fields[f"{name}_ms"]
        values[field.name] = _to_ours(value, field.kind)
        is_tagged_structure = field.tag >= 0 and isinstance(values[field.name], Message)
        if is_tagged_structure and values[field.name] == type(values[field.name])():
            values[field.name] = None
    return ours(**values)


def _to_ours(value: Any, kind: str | type[Message]) -> Any:
    if isinstance(value, tuple):
        return [_to_ours(element, kind) for element in value]
    if value is None:
        return _NONE.get(str(kind))
    if isinstance(kind, type):
        return to_ours(value, kind)
    if isinstance(value, timedelta):
        return value // _MILLISECOND
    if isinstance(value, datetime):
        return int(value.timestamp() * 1000)
    return value.value if isinstance(value, ErrorCode) else value


def write(entity: Any) -> bytes:
    """Return what kio writes."""
    output = io.BytesIO()
    entity_writer(type(entity))(output, entity)
    return output.getvalue()


def read(entity: Any, content: bytes) -> Any:
    """Return what kio reads; it is safe to let it, for the bytes are ours."""
    message, size = entity_reader(entity)(content, 0)
    assert size == len(content)
    return message
