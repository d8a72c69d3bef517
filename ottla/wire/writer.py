"""Compiles the writer of a class at a version.

A writer reads attributes by name, so that one object serves all versions: what a version does not
have is not looked at, and null is written as empty where only other versions have null. Small
things are gathered in a ``bytearray``; records from :data:`BY_REFERENCE_BYTES_MIN` on are handed
on as they are, for a socket can send many buffers in one call, and copying megabytes is what a
broker must not do.

The function made has the form ``write(m, o, parts)``: the message, the output so far, and a list
to which full outputs and records go; it returns the output that is being written at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from struct import Struct, pack
from typing import Final, TypeAlias

from ottla.wire.plan import FORMATS, Step, make_plan
from ottla.wire.schema import NO_UUID, Buffer, Message
from ottla.wire.source import Source
from ottla.wire.varint import put_tags

Writer: TypeAlias = Callable[[Message, bytearray, list[Buffer]], bytearray]

BY_REFERENCE_BYTES_MIN: Final = 2_048
"""Below it, copying costs less than one more buffer in a list that a socket is given."""

_SHORT_ARRAY_END: Final = 32
_MINUS_ONE: Final = b"\xff\xff\xff\xff"


@cache
def short_array_packers(count: str, number: str) -> tuple[Callable[..., bytes], ...]:
    """Return what writes a count and as many numbers, by the number of numbers."""
    return tuple(Struct(f">{count}{n}{number}").pack for n in range(_SHORT_ARRAY_END))


def compile_writer(kind: type[Message], version: int, *, flexible: bool) -> Writer:
    """Return the function that writes ``kind`` at ``version``."""
    return _WriterCompiler(version, flexible=flexible).compile(kind)


class _WriterCompiler:
    def __init__(self, version: int, *, flexible: bool) -> None:
        self._version = version
        self._flexible = flexible
        self._source = Source(
            NO_UUID=NO_UUID,
            pack=pack,
            put_tags=put_tags,
        )

    def compile(self, kind: type[Message]) -> Writer:
        with self._source.block("def write(m, o, parts):"):
            self._source("put = o.append")
            self._structure("m", kind)
            self._source("return o")
        return self._source.compile("write", f"write {kind.__name__} {self._version}")

    def _structure(self, source_name: str, kind: type[Message]) -> None:
        source = self._source
        plan = make_plan(kind, self._version)
        plain = list(plan.plain)
        is_closed = False
        while plain:
            run = []
            while plain and plain[0].is_fixed:
                run.append(plain.pop(0))
            if run:
                letters = "".join(FORMATS[step.kind] for step in run)
                if not plain and self._flexible and not plan.tagged:
                    letters += "x"  # a zero: no tagged fields
                    is_closed = True
                values = ", ".join(f"{source_name}.{step.name}" for step in run)
                source(f"o += {source.packer(letters)}({values})")
            else:
                step = plain.pop(0)
                value = source.variable("v")
                source(f"{value} = {source_name}.{step.name}")
                self._value(value, step)
        if self._flexible and not is_closed:
            self._tags(source_name, plan.tagged)

    def _tags(self, source_name: str, tagged: tuple[Step, ...]) -> None:
        source = self._source
        if not tagged:
            source("put(0)")
            return
        quiet = " and ".join(self._is_surely_default(f"{source_name}.{s.name}", s) for s in tagged)
        with source.block(f"if {quiet}:"):
            source("put(0)")
        with source.block("else:"):
            tags, outer = source.variable("tags"), source.variable("outer")
            source(f"{tags} = []")
            source(f"{outer} = o")
            for step in tagged:
                value = source.variable("v")
                source(f"{value} = {source_name}.{step.name}")
                default = self._default(step)
                present = f" and {value} is not None" if step.structure and not step.array else ""
                with source.block(f"if {value} != {default}{present}:"):
                    source("o = bytearray()")
                    source("put = o.append")
                    self._value(value, step)
                    source(f"{tags}.append(({step.tag}, o))")
            source(f"o = {outer}")
            source("put = o.append")
            source(f"put_tags(o, {tags})")

    def _default(self, step: Step) -> str:
        if step.structure is not None and not step.array and step.default is None:
            if step.nullable:
                return "None"
            return self._source.constant("default", step.structure())
        return self._source.constant("default", step.default)

    def _is_surely_default(self, value: str, step: Step) -> str:
        if step.default is None:
            return f"{value} is None"
        if step.kind == "uuid" and not step.array:
            return f"{value} is NO_UUID"
        if step.array:
            return f"{value} == []"
        return f"{value} == {self._default(step)}"

    def _count(self, count: str, letter: str) -> None:
        """Write a length or a count."""
        source = self._source
        if self._flexible:
            rest = source.variable("rest")
            source(f"{rest} = {count} + 1")
            with source.block(f"while {rest} > 127:"):
                source(f"put({rest} & 127 | 128)")
                source(f"{rest} >>= 7")
            source(f"put({rest})")
        else:
            source(f"o += {source.packer(letter)}({count})")

    def _value(self, value: str, step: Step) -> None:
        source = self._source
        if step.null_is_empty:
            with source.block(f"if {value} is None:"):
                source(
                    f"{value} = ''" if step.kind == "string" and not step.array else f"{value} = ()"
                )
        if not step.nullable:
            self._present(value, step)
            return
        with source.block(f"if {value} is None:"):
            if step.structure is not None and not step.array:
                source("put(255)")
            elif self._flexible:
                source("put(0)")
            else:
                size = 2 if step.kind == "string" and not step.array else 4
                source(f"o += {_MINUS_ONE[:size]!r}")
        with source.block("else:"):
            if step.structure is not None and not step.array:
                source("put(1)")
            self._present(value, step)

    def _present(self, value: str, step: Step) -> None:
        if step.array:
            self._array(value, step)
        else:
            self._element(value, step)

    def _array(self, value: str, step: Step) -> None:
        source = self._source
        count = source.variable("n")
        source(f"{count} = len({value})")
        letter = FORMATS.get(step.kind)
        if letter and step.kind != "bool":
            # Replicas and the like: a few numbers, a thousand times.
            packers = source.constant(
                "short", short_array_packers("B" if self._flexible else "i", letter)
            )
            plus = " + 1" if self._flexible else ""
            with source.block(f"if {count} < {_SHORT_ARRAY_END}:"):
                source(f"o += {packers}[{count}]({count}{plus}, *{value})")
            with source.block("else:"):
                self._count(count, "i")
                source(f"o += pack(f'>{{{count}}}{letter}', *{value})")
            return
        self._count(count, "i")
        element = source.variable("x")
        with source.block(f"for {element} in {value}:"):
            self._element(element, step._replace(array=False))

    def _element(self, value: str, step: Step) -> None:
        source = self._source
        if step.structure is not None:
            self._structure(value, step.structure)
        elif step.kind in FORMATS:
            source(f"o += {source.packer(FORMATS[step.kind])}({value})")
        elif step.kind == "uuid":
            source(f"o += {value}.bytes")
        else:
            content = value
            if step.kind == "string":
                content = source.variable("text")
                source(f"{content} = {value}.encode()")
            length = source.variable("n")
            source(f"{length} = len({content})")
            self._count(length, "h" if step.kind == "string" else "i")
            if step.kind == "records":
                self._records(content, length)
            else:
                source(f"o += {content}")

    def _records(self, content: str, length: str) -> None:
        source = self._source
        with source.block(f"if {length} < {BY_REFERENCE_BYTES_MIN}:"):
            source(f"o += {content}")
        with source.block("else:"):
            source("parts.append(o)")
            source(f"parts.append({content})")
            source("o = bytearray()")
            source("put = o.append")
