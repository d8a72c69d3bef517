"""One look for everything that is printed.

A person at a terminal gets tables, drawn by rich; a pipe gets the same cells separated by tabs,
one line a row, without a heading; ``--json`` gets a JSON document. What is *about* the work
(progress, counts, advice) goes to standard error, so that standard output is the result alone.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from ottla.cli.failure import CommandError

_THOUSAND: Final = 1_000
_TABS: Final = str.maketrans("\t\n\r", "   ")


class ByteCount(int):
    """A number of bytes: people see ``1.5 MB``, programs the number."""


def print_json(document: object) -> None:
    """Print a result for programs, on one line, now."""
    print(json.dumps(document, ensure_ascii=False), flush=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows of cells; numbers stand to the right."""
    if not sys.stdout.isatty():
        for row in rows:
            print("\t".join(str(cell).translate(_TABS) for cell in row))
        return
    from rich import box  # noqa: PLC0415 -- a fifth of the time that a command takes
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, highlight=False)
    for index, column in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[index], int) for row in rows)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row))
    Console(highlight=False, markup=False).print(table)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    if not sys.stdout.isatty():
        print_table((), list(facts.items()))
        return
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        print(f"{name:<{width}}  {_cell(value)}")


def write_output(content: bytes) -> None:
    """Write all of ``content`` to standard output, waiting for whoever reads it.

    Not by way of :mod:`io`: where somebody has made the pipe non-blocking, which the other end of
    it can do, that loses bytes and says nothing.

    Raises :exc:`BrokenPipeError` if nobody reads any more, :exc:`CommandError` if it cannot be
    written for another reason.
    """
    sys.stdout.flush()
    descriptor = sys.stdout.fileno()
    rest = memoryview(content)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:
            select.select((), (descriptor,), ())
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(f"cannot write to standard output: {error.strerror}") from error


def say(text: str) -> None:
    """Tell a person something about the work."""
    print(text, file=sys.stderr)


def as_size(size_bytes: float) -> str:
    """Return a number of bytes as people read it: ``1.5 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size_bytes < _THOUSAND:
            return f"{size_bytes:,.0f} {unit}" if unit == "bytes" else f"{size_bytes:,.1f} {unit}"
        size_bytes /= _THOUSAND
    return f"{size_bytes:,.1f} TB"


def _cell(value: object) -> str:
    if isinstance(value, ByteCount):
        return as_size(value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
