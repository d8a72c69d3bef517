"""The text format that all of Kafka's checkpoint files share.

    0            the version
    2            how many entries follow
    orders 0 17  one entry a line, words parted by white space
    orders 1 23

A file that was cut short is recognised by the number of its lines. Errors are
:exc:`ValueError`; the caller knows the path and what can be done about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

VERSION: Final = 0
_HEADER_LINES: Final = 2

T = TypeVar("T")


def encode_lines(entries: Iterable[str]) -> bytes:
    """Put version and count before the entries, one a line."""
    lines = list(entries)
    return "\n".join([str(VERSION), str(len(lines)), *lines, ""]).encode()


def decode_lines(content: bytes, as_entry: Callable[[Sequence[str]], T]) -> list[T]:
    """Read every entry; ``as_entry`` gets a line's words and raises :exc:`ValueError` at bad ones.

    An empty file has no entries: Kafka creates files so before it first writes them.
    """
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not text") from None
    if not lines:
        return []
    if lines[0].strip() != str(VERSION):
        raise ValueError(f"version {lines[0][:20]!r} is not {VERSION}, the only one known")
    entries = []
    for number, line in enumerate(lines[_HEADER_LINES:]):
        try:
            entries.append(as_entry(line.split()))
        except ValueError as error:
            raise malformed(number, f"{line[:100]!r}: {error}") from None
    count = lines[1].strip() if len(lines) > 1 else "nothing"
    if count != str(len(entries)):
        raise ValueError(f"line 2 announces {count[:20]} entries, but {len(entries)} follow")
    return entries


def malformed(entry_number: int, complaint: str) -> ValueError:
    """Make the error that names the line of an entry."""
    return ValueError(f"line {entry_number + _HEADER_LINES + 1}, {complaint}")
