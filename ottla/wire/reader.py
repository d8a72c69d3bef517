"""Compiles the reader of a class at a version.

A reader walks over a buffer once. It believes nothing: a count is compared with the bytes that
remain, before anything is made of it, and with a budget of elements for the whole message; lengths
are compared with what remains; null is accepted only where the protocol has it. Records are
slices of the buffer; strings and other bytes are copied out of it, so that a group's
assignment that is kept for days does not keep the frame that brought it.

The function made has the form ``read(b, p, end, left)``: the buffer (``end`` is its length), a
position in it, and the budget; it returns the message and the position after it. It may raise
``IndexError``, ``struct.error`` and ``UnicodeDecodeError`` if the buffer ends early or holds no
text, which its caller turns into :exc:`ottla.wire.malformed.MalformedError`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import unpack_from
from typing import Final, TypeAlias
from uuid import UUID

from ottla.wire.malformed import bad_count, bad_flag, bad_length, bad_null, too_many
from ottla.wire.plan import FORMATS, SIZES, Step, element_size_min, make_plan
from ottla.wire.schema import Message
from ottla.wire.source import Source
from ottla.wire.varint import read_uvarint, skip_tags

Reader: TypeAlias = Callable[[memoryview, int, int, int], tuple[Message, int]]

STRING_BYTES_MAX: Final = 32_767
"""The protocol's own bound, also where a varint could say more."""

_UUIDS_REMEMBERED: Final = 4_096


@lru_cache(_UUIDS_REMEMBERED)
def make_uuid(content: bytes) -> UUID:
    """Return the UUID of sixteen bytes. Topics' ids come again and again, and this is slow."""
    return UUID(bytes=content)


def compile_reader(kind: type[Message], version: int, *, flexible: bool) -> Reader:
    """Return the function that reads ``kind`` at ``version``."""
    return _ReaderCompiler(version, flexible=flexible).compile(kind)


class _ReaderCompiler:
    def __init__(self, version: int, *, flexible: bool) -> None:
        self._version = version
        self._flexible = flexible
        self._source = Source(
            bad_count=bad_count,
            bad_flag=bad_flag,
            bad_length=bad_length,
            bad_null=bad_null,
            make_uuid=make_uuid,
            new=object.__new__,
            read_uvarint=read_uvarint,
            skip_tags=skip_tags,
            too_many=too_many,
            unpack_from=unpack_from,
        )

    def compile(self, kind: type[Message]) -> Reader:
        with self._source.block("def read(b, p, end, left):"):
            self._structure("message", kind)
            with self._source.block("if p > end:"):
                self._source("raise bad_length(p, end)")
            self._source("return message, p")
        return self._source.compile("read", f"read {kind.__name__} {self._version}")

    def _structure(self, target: str, kind: type[Message]) -> None:
        source = self._source
        plan = make_plan(kind, self._version)
        source(f"{target} = new({source.constant(kind.__name__, kind)})")
        for step in plan.absent + plan.tagged:
            self._default(target, step)
        count = ""
        plain = list(plan.plain)
        while plain:
            run = []
            while plain and plain[0].is_fixed:
                run.append(plain.pop(0))
            if run:
                if not plain and self._flexible:
                    # The count of the tagged fields stands right behind: read it along.
                    count = source.variable("tags")
                self._run(target, run, count)
            else:
                step = plain.pop(0)
                self._value(f"{target}.{step.name}", step)
        if self._flexible:
            if not count:
                count = source.variable("tags")
                source(f"{count} = b[p]")
                source("p += 1")
            self._tags(target, plan.tagged, count)

    def _default(self, target: str, step: Step) -> None:
        if isinstance(step.default, list):
            value = "[]"
        elif isinstance(step.default, Message):
            value = f"{self._source.constant('default', type(step.default))}()"
        elif step.default is None or isinstance(step.default, bool | int):
            value = repr(step.default)
        else:
            value = self._source.constant("default", step.default)
        self._source(f"{target}.{step.name} = {value}")

    def _run(self, target: str, run: list[Step], count: str) -> None:
        """Numbers that stand side by side are read at once."""
        source = self._source
        names = []
        flags = []
        for step in run:
            name = f"{target}.{step.name}"
            if step.kind == "bool":
                flags.append((name, step.name, source.variable("flag")))
                name = flags[-1][-1]
            names.append(name)
        letters = "".join(FORMATS[step.kind] for step in run)
        if count:
            names.append(count)
            letters += "B"
        source(f"{', '.join(names)}, = {source.unpacker(letters)}(b, p)")
        source(f"p += {sum(SIZES[letter] for letter in letters)}")
        for name, field, flag in flags:
            with source.block(f"if {flag} > 1:"):
                source(f"raise bad_flag({field!r}, {flag})")
            source(f"{name} = {flag} == 1")

    def _tags(self, target: str, tagged: tuple[Step, ...], count: str) -> None:
        source = self._source
        with source.block(f"if {count}:"):
            if not tagged:
                source("p, left = skip_tags(b, p - 1, end, left)")
                return
            with source.block(f"if {count} > 127:"):
                source(f"{count}, p = read_uvarint(b, p - 1)")
            with source.block(f"if {count} * 2 > end - p:"):
                source(f"raise bad_count({count}, end - p)")
            self._spend(count)
            tag, size, stop = (source.variable(name) for name in ("tag", "size", "stop"))
            with source.block(f"for _ in range({count}):"):
                source(f"{tag}, p = read_uvarint(b, p)")
                source(f"{size}, p = read_uvarint(b, p)")
                source(f"{stop} = p + {size}")
                with source.block(f"if {stop} > end:"):
                    source(f"raise bad_length({size}, end - p)")
                for step in tagged:
                    with source.block(f"if {tag} == {step.tag}:"):
                        self._value(f"{target}.{step.name}", step)
                        with source.block(f"if p != {stop}:"):
                            source(f"raise bad_length({size}, {size} + p - {stop})")
                        source("continue")
                source(f"p = {stop}")

    def _spend(self, count: str) -> None:
        self._source(f"left -= {count}")
        with self._source.block("if left < 0:"):
            self._source("raise too_many()")

    def _count(self, letter: str) -> str:
        """Read a length or a count, -1 for null."""
        source = self._source
        count = source.variable("n")
        if self._flexible:
            source(f"{count} = b[p] - 1")
            source("p += 1")
            with source.block(f"if {count} > 126:"):
                source(f"{count}, p = read_uvarint(b, p - 1)")
                source(f"{count} -= 1")
        else:
            source(f"{count}, = {source.unpacker(letter)}(b, p)")
            source(f"p += {SIZES[letter]}")
        return count

    def _value(self, target: str, step: Step) -> None:
        if step.array:
            self._array(target, step)
        else:
            self._element(target, step)

    @staticmethod
    def _null(target: str, step: Step) -> str:
        return f"{target} = None" if step.nullable else f"raise bad_null({step.name!r})"

    def _array(self, target: str, step: Step) -> None:
        source = self._source
        count = self._count("i")
        minimum = element_size_min(step, self._version, flexible=self._flexible)
        with source.block(f"if {count} == -1:"):
            source(self._null(target, step))
        with source.block("else:"):
            with source.block(f"if {count} < 0 or {count} * {minimum} > end - p:"):
                source(f"raise bad_count({count}, end - p)")
            self._spend(count)
            letter = FORMATS.get(step.kind)
            if letter and step.kind != "bool":
                source(f"{target} = list(unpack_from(f'>{{{count}}}{letter}', b, p))")
                source(f"p += {count} * {minimum}")
                return
            elements = source.variable("list")
            element = source.variable("x")
            source(f"{target} = {elements} = []")
            with source.block(f"for _ in range({count}):"):
                self._element(element, step._replace(array=False, nullable=False))
                source(f"{elements}.append({element})")

    def _element(self, target: str, step: Step) -> None:
        source = self._source
        if step.structure is not None:
            self._nested(target, step, step.structure)
        elif step.kind in FORMATS:
            letter = FORMATS[step.kind]
            source(f"{target}, = {source.unpacker(letter)}(b, p)")
            source(f"p += {SIZES[letter]}")
            if step.kind == "bool":
                with source.block(f"if {target} > 1:"):
                    source(f"raise bad_flag({step.name!r}, {target})")
                source(f"{target} = {target} == 1")
        elif step.kind == "uuid":
            source("p += 16")
            with source.block("if p > end:"):
                source("raise bad_length(16, end - p + 16)")
            source(f"{target} = make_uuid(bytes(b[p - 16 : p]))")
        else:
            self._text_or_bytes(target, step)

    def _nested(self, target: str, step: Step, kind: type[Message]) -> None:
        source = self._source
        inner = source.variable("s")
        if step.nullable:
            flag = source.variable("flag")
            source(f"{flag} = b[p]")
            source("p += 1")
            with source.block(f"if {flag} == 255:"):
                source(f"{target} = None")
            with source.block("else:"):
                with source.block(f"if {flag} != 1:"):
                    source(f"raise bad_flag({step.name!r}, {flag})")
                self._structure(inner, kind)
                source(f"{target} = {inner}")
        else:
            self._structure(inner, kind)
            source(f"{target} = {inner}")

    def _text_or_bytes(self, target: str, step: Step) -> None:
        source = self._source
        is_text = step.kind == "string"
        length = self._count("h" if is_text else "i")
        with source.block(f"if {length} == -1:"):
            source(self._null(target, step))
        with source.block("else:"):
            stop = source.variable("stop")
            source(f"{stop} = p + {length}")
            excess = f" or {length} > {STRING_BYTES_MAX}" if is_text and self._flexible else ""
            with source.block(f"if {length} < 0 or {stop} > end{excess}:"):
                source(f"raise bad_length({length}, end - p)")
            if is_text:
                source(f"{target} = str(b[p:{stop}], 'utf-8')")
            elif step.kind == "bytes":
                source(f"{target} = bytes(b[p:{stop}])")
            else:
                source(f"{target} = b[p:{stop}]")
            source(f"p = {stop}")
