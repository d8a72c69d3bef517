"""Generate ``ottla/wire/messages`` from the schema that kio carries, or check that it is fresh.

kio has one class for each version of each message, generated from Kafka's own definitions. Here
they are folded into one class a message with the union of the fields; how they differ becomes
the table from which ``ottla.wire.codec`` compiles. kio itself is needed only here and in tests
(docs/decisions/0009-kio-is-a-source-not-a-dependency.md).

Names differ from kio's in two ways: times end in ``_ms``, as in Kafka's definitions, and if a
request and its response have structures of one name, those are prefixed with ``Request`` and
``Response``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import types
import typing
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from kio.index import load_entity_schema
from kio.schema.index import api_key_map, schema_name_map
from kio.static.constants import EntityType

ROOT = Path(__file__).resolve().parent.parent
GENERATED = ROOT / "ottla" / "wire" / "messages"

CLIENT_APIS = (
    *range(4),
    *range(8, 27),
    *range(28, 38),
    *range(42, 52),
    *(55, 57, 60, 61, 64, 65, 66, 68, 69, 71, 72, 74, 75, 76, 77, 78, 79, 90, 91, 92),
)
"""What clients and tools send; what Kafka's brokers and controllers send each other is left out."""

DATA = ("consumer_protocol_subscription", "consumer_protocol_assignment")
"""Messages that travel as bytes inside others."""

KINDS = {
    "error_code": "int16",
    "timedelta_i32": "int32",
    "timedelta_i64": "int64",
    "datetime_i64": "int64",
}
TYPES = {"bool": "bool", "float64": "float", "string": "str", "uuid": "UUID", "bytes": "bytes"}
ZEROES = {"bool": False, "float64": 0.0, "string": "", "bytes": b""}
LINE_MAX = 100

Entity: TypeAlias = type[Any]


class Shape(NamedTuple):
    """A field of one class of kio."""

    kind: str
    """Of its elements, if it is an array."""

    structure: Entity | None
    array: bool
    nullable: bool
    tag: int
    default: object


@dataclasses.dataclass
class FieldHistory:
    """A field over the versions of a message."""

    name: str
    shapes: dict[int, Shape] = dataclasses.field(default_factory=dict)

    @property
    def newest(self) -> Shape:
        return self.shapes[max(self.shapes)]


@dataclasses.dataclass
class Structure:
    """A class of ours: the fields of all versions, in the order in which they are sent."""

    name: str
    fields: list[FieldHistory] = dataclasses.field(default_factory=list)
    versions: set[int] = dataclasses.field(default_factory=set)

    def merge(self, entity: Entity, version: int) -> None:
        """Add one version; a field that is new stands behind its predecessor of that version."""
        if version in self.versions:
            return  # a structure that is used twice
        self.versions.add(version)
        position = 0
        for field in dataclasses.fields(entity):
            shape = shape_of(field)
            name = field.name
            if str(field.metadata.get("kafka_type")).startswith(("timedelta", "datetime")):
                name += "_ms"
            names = [known.name for known in self.fields]
            if name in names:
                assert names.index(name) >= position, (self.name, name)
                position = names.index(name)
            else:
                self.fields.insert(position, FieldHistory(name))
            self.fields[position].shapes[version] = shape
            position += 1


@dataclasses.dataclass
class Definition:
    """A message with its structures, the inner ones first."""

    root: str
    api_key: int
    versions: list[int]
    flexible: list[int]
    structures: dict[str, Structure]

    def inner_first(self) -> list[Structure]:
        """Return the structures so that each stands behind those that it contains."""
        ordered: dict[str, Structure] = {}

        def visit(structure: Structure) -> None:
            for field in structure.fields:
                if field.newest.structure is not None:
                    visit(self.structures[field.newest.structure.__name__])
            ordered.setdefault(structure.name, structure)

        visit(self.structures[self.root])
        assert len(ordered) == len(self.structures), self.root
        return list(ordered.values())


def shape_of(field: dataclasses.Field[Any]) -> Shape:
    """Read what kio's annotations say."""
    kind: Any = field.type
    nullable = isinstance(kind, types.UnionType)
    if nullable:
        (kind,) = (part for part in typing.get_args(kind) if part is not types.NoneType)
    array = typing.get_origin(kind) is tuple
    if array:
        kind = typing.get_args(kind)[0]
    tag = field.metadata.get("tag", -1)
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        return Shape("", kind, array, nullable, tag, field.default)
    wire_kind = field.metadata["kafka_type"]
    if wire_kind == "datetime_i64":
        # kio's way to say that -1 stands for no time.
        default = -1 if nullable else 0
        return Shape("int64", None, array, nullable=False, tag=tag, default=default)
    nullable = nullable and wire_kind != "uuid"  # no id is sent as sixteen zeroes
    kind = KINDS.get(wire_kind, wire_kind)
    return Shape(kind, None, array, nullable, tag, field.default)


def load(name: str, entity_type: EntityType, api_key: int) -> Definition:
    """Fold all versions of one message into one definition."""
    versions = sorted(schema_name_map[name])
    definition = Definition("", api_key, versions, [], {})
    for version in versions:
        entity: Entity = load_entity_schema(name, version, entity_type)  # type: ignore[arg-type]
        definition.root = entity.__name__
        if entity.__flexible__:
            definition.flexible.append(version)
        for inner in structures_of(entity):
            known = definition.structures.setdefault(inner.__name__, Structure(inner.__name__))
            known.merge(inner, version)
    return definition


def structures_of(entity: Entity) -> Iterator[Entity]:
    """Yield the structures in a message, inner ones first, the message last."""
    for field in dataclasses.fields(entity):
        inner = shape_of(field).structure
        if inner is not None:
            yield from structures_of(inner)
    yield entity


def prefixed(definitions: list[Definition]) -> dict[tuple[str, str], str]:
    """Name every structure so that a module with all of these definitions can hold it."""
    names: dict[tuple[str, str], str] = {}
    for definition in definitions:
        others = {
            name for other in definitions if other is not definition for name in other.structures
        }
        for name in definition.structures:
            prefix = "Request" if definition.root.endswith("Request") else "Response"
            names[definition.root, name] = prefix + name if name in others else name
    return names


def span(present: list[int], all_versions: list[int]) -> str:
    """Write versions as Kafka does: "4+" if open at the end, "4-7", "4", or nothing."""
    if not present:
        return ""
    first, last = present[0], present[-1]
    assert present == list(range(first, last + 1)), present
    if last == all_versions[-1]:
        return f"{first}+"
    return str(first) if first == last else f"{first}-{last}"


def default_of(shape: Shape, structure: str, *, always_nullable: bool) -> tuple[str, str, str]:
    """Return the type, the parameter's default and the value of an attribute, as source text."""
    if shape.array:
        element = structure or TYPES.get(shape.kind, "int")
        if shape.nullable:
            return f"list[{element}] | None", "None", ""
        return f"list[{element}] | None", "None", "[]"
    if structure:
        empty = "" if shape.nullable or shape.tag >= 0 else f"{structure}()"
        return f"{structure} | None", "None", empty
    if shape.kind == "records":
        return "Buffer | None", "None", ""
    name = TYPES.get(shape.kind, "int")
    if shape.kind == "uuid":
        return name, "NO_UUID", ""
    default: Any = shape.default
    if default is dataclasses.MISSING:
        default = None if always_nullable else ZEROES.get(shape.kind, 0)
    if isinstance(default, timedelta):
        default = default // timedelta(milliseconds=1)
    assert not isinstance(default, datetime)
    if default is not None:
        default = {"bool": bool, "float": float, "str": str, "bytes": bytes}.get(name, int)(default)
    text = json.dumps(default) if isinstance(default, str) else repr(default)
    return name + (" | None" if shape.nullable else ""), text, ""


def source_of(definition: Definition, names: dict[tuple[str, str], str]) -> Iterator[str]:
    """Yield the lines of the classes of one message."""
    for structure in definition.inner_first():
        is_root = structure.name == definition.root
        versions = definition.versions
        yield ""
        yield ""
        yield f"class {names[definition.root, structure.name]}(Message):"
        if is_root:
            flexible = span(definition.flexible, versions)
            yield f'    """Versions {versions[0]} to {versions[-1]}."""'
        else:
            yield f'    """Inside :class:`{definition.root}`."""'
        yield ""
        slots = [f'"{field.name}",' for field in structure.fields]
        yield from wrapped("    __slots__ = (", slots, ")")
        if is_root:
            yield f"    API_KEY = {definition.api_key}"
            yield f'    VERSIONS = "{versions[0]}-{versions[-1]}"'
            yield f'    FLEXIBLE = "{flexible}"'
        rows = []
        parameters = []
        assignments = []
        for field in structure.fields:
            shape = field.newest
            assert all(
                (old.kind, old.array, old.structure and old.structure.__name__)
                == (shape.kind, shape.array, shape.structure and shape.structure.__name__)
                for old in field.shapes.values()
            ), field
            inner = names[definition.root, shape.structure.__name__] if shape.structure else ""
            rows.append(row_of(field, inner, versions))
            always = all(old.nullable for old in field.shapes.values())
            annotation, default, empty = default_of(widest(field), inner, always_nullable=always)
            parameters.append(f"{field.name}: {annotation} = {default},")
            value = f"{empty} if {field.name} is None else {field.name}" if empty else field.name
            assignments.append(f"        self.{field.name} = {value}")
        yield from wrapped("    FIELDS = (", rows, ")", always=True)
        yield ""
        if parameters:
            yield "    def __init__("
            yield "        self,"
            yield "        *,"
            yield from (f"        {parameter}" for parameter in parameters)
            yield "    ) -> None:"
            yield from assignments


def widest(field: FieldHistory) -> Shape:
    """Return the newest shape of a field, nullable if it was so in any version."""
    return field.newest._replace(nullable=any(s.nullable for s in field.shapes.values()))


def row_of(field: FieldHistory, inner: str, versions: list[int]) -> str:
    """Return a field's row in the table."""
    shape = field.newest
    present = sorted(field.shapes)
    parts = [f'"{field.name}"', inner or f'"{shape.kind}"', f'"{span(present, versions)}"']
    nullable = [version for version in present if field.shapes[version].nullable]
    if nullable:
        parts.append(f'nullable="{span(nullable, versions)}"')
    if shape.array:
        parts.append("array=True")
    tagged = [version for version in present if field.shapes[version].tag >= 0]
    if tagged:
        (tag,) = {field.shapes[version].tag for version in tagged}
        parts.append(f'tag={tag}, tagged="{span(tagged, versions)}"')
    return f"Field({', '.join(parts)}),"


def wrapped(opening: str, parts: list[str], closing: str, *, always: bool = False) -> Iterator[str]:
    """Yield a bracket on one line if it fits, else one part a line."""
    line = opening + (" ".join(parts) if len(parts) == 1 else " ".join(parts).rstrip(",")) + closing
    if len(line) <= LINE_MAX and not (always and parts):
        yield line
        return
    yield opening
    yield from (f"        {part}" for part in parts)
    yield f"    {closing}"


def module_of(definitions: list[Definition]) -> str:
    """Return the text of one module."""
    names = prefixed(definitions)
    body = [line for definition in definitions for line in source_of(definition, names)]
    text = "\n".join(body)
    buffer = "Buffer, " if "Buffer" in text else ""
    title = " and ".join(f"``{definition.root}``" for definition in definitions)
    lines = [f'"""{title}, all versions. Generated by scripts/generate_messages.py."""', ""]
    lines += ["from __future__ import annotations", ""]
    if "UUID" in text:
        lines += ["from uuid import UUID", ""]
    no_uuid = "NO_UUID, " if "NO_UUID" in text else ""
    imported = f"{no_uuid}{buffer}Field, Message"
    lines += [f"from ottla.wire.schema import {imported}"]
    return "\n".join([*lines, text, ""])


def catalogue_of(apis: dict[int, tuple[str, Definition, Definition]]) -> str:
    """Return the text of the module that lists all requests."""
    lines = [
        '"""Which requests there are. Generated by scripts/generate_messages.py."""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Final",
        "",
        "from ottla.wire.schema import Api",
        "",
        "APIS: Final = {",
    ]
    for key, (name, request, response) in sorted(apis.items()):
        assert request.versions == response.versions, name
        first, last = request.versions[0], request.versions[-1]
        flexible = [*request.flexible, last + 1][0]
        assert [*response.flexible, last + 1][0] == flexible, name
        prefix = request.root.removesuffix("Request")
        lines.append(f'    {key}: Api({key}, "{name}", "{prefix}", {first}, {last}, {flexible}),')
    return "\n".join([*lines, "}", ""])


def generate() -> dict[str, str]:
    """Return the text of every generated module by its file name."""
    files = {"__init__.py": '"""Kafka\'s messages, one module an API, imported when needed."""\n'}
    apis = {}
    for key in CLIENT_APIS:
        name = api_key_map[key]
        request = load(name, EntityType.request, key)
        response = load(name, EntityType.response, key)
        apis[key] = (name, request, response)
        files[f"{name}.py"] = module_of([request, response])
    for name in DATA:
        files[f"{name}.py"] = module_of([load(name, EntityType.data, -1)])
    files["catalogue.py"] = catalogue_of(apis)
    return files


def main() -> int:
    """Write the generated package, or with ``--check`` compare it; 1 if it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare and change nothing")
    check: bool = parser.parse_args().check
    files = generate()
    present = {path.name: path.read_text() for path in GENERATED.glob("*.py")}
    stale = sorted(
        name for name in files.keys() | present.keys() if files.get(name) != present.get(name)
    )
    if check and stale:
        print(
            f"stale in ottla/wire/messages: {', '.join(stale)}; run `make proto`", file=sys.stderr
        )
        return 1
    GENERATED.mkdir(exist_ok=True)
    for name in stale:
        if name in files:
            (GENERATED / name).write_text(files[name])
        else:
            (GENERATED / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
