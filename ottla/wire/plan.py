"""A message at one version: which fields are sent, how, and what stands in for the others."""

from __future__ import annotations

from typing import Final, NamedTuple

from ottla.wire.schema import Message

FORMATS: Final = {
    "bool": "B",
    "int8": "b",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "float64": "d",
}
"""Fields of a fixed size, as ``struct`` writes them."""

SIZES: Final = {"B": 1, "b": 1, "h": 2, "H": 2, "i": 4, "I": 4, "q": 8, "d": 8}

_UUID_SIZE: Final = 16


class Step(NamedTuple):
    """One field as it is at this version."""

    name: str
    kind: str
    """As in :class:`ottla.wire.schema.Field`; ``struct`` for a structure."""

    structure: type[Message] | None
    array: bool
    nullable: bool
    null_is_empty: bool
    """Other versions have null and this one does not; what is nothing there is empty here."""

    tag: int
    default: object
    """Belongs to the class: it must be neither changed nor handed out if it can be changed."""

    @property
    def is_fixed(self) -> bool:
        """Whether every value takes the same number of bytes that ``struct`` understands."""
        return self.kind in FORMATS and not self.array


class Plan(NamedTuple):
    """One class at one version."""

    plain: tuple[Step, ...]
    tagged: tuple[Step, ...]
    """By ascending tag."""

    absent: tuple[Step, ...]
    """Fields that this version does not have."""


def is_within(version: int, span: str) -> bool:
    """Whether a version is one of those that Kafka's notation names, e.g. "4-7", "4+" or ""."""
    if not span:
        return False
    if span.endswith("+"):
        return version >= int(span[:-1])
    first, _, last = span.partition("-")
    return int(first) <= version <= int(last or first)


def make_plan(kind: type[Message], version: int) -> Plan:
    """Return how a class is sent at a version."""
    defaults = kind()
    plain, tagged, absent = [], [], []
    for field in kind.FIELDS:
        structure = None if isinstance(field.kind, str) else field.kind
        is_tagged = is_within(version, field.tagged)
        step = Step(
            field.name,
            field.kind if isinstance(field.kind, str) else "struct",
            structure,
            field.array,
            is_within(version, field.nullable),
            bool(field.nullable) and not is_within(version, field.nullable),
            field.tag if is_tagged else -1,
            getattr(defaults, field.name),
        )
        if is_tagged:
            tagged.append(step)
        elif is_within(version, field.versions):
            plain.append(step)
        else:
            absent.append(step)
    return Plan(tuple(plain), tuple(sorted(tagged, key=lambda step: step.tag)), tuple(absent))


def size_min(kind: type[Message], version: int, *, flexible: bool) -> int:
    """Return the fewest bytes that a structure can take."""
    total = 1 if flexible else 0
    for step in make_plan(kind, version).plain:
        total += value_size_min(step, version, flexible=flexible)
    return total


def value_size_min(step: Step, version: int, *, flexible: bool) -> int:
    """Return the fewest bytes that a field can take."""
    if step.array:
        return 1 if flexible else 4
    return element_size_min(step, version, flexible=flexible)


def element_size_min(step: Step, version: int, *, flexible: bool) -> int:
    """Return the fewest bytes that one value can take, or one element of an array."""
    if step.structure is not None:
        return (
            1
            if step.nullable and not step.array
            else size_min(step.structure, version, flexible=flexible)
        )
    if step.kind in FORMATS:
        return SIZES[FORMATS[step.kind]]
    if step.kind == "uuid":
        return _UUID_SIZE
    if flexible:
        return 1
    return 2 if step.kind == "string" else 4
