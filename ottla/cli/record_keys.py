"""Key and value in one line, with a separator between them."""

from __future__ import annotations

from collections.abc import Callable

from ottla.cli.record_json import InputRecord


def key_parser(separator: bytes | None) -> Callable[[bytes], InputRecord] | None:
    """Return what splits a line at the first ``separator``; ``None`` if there is none to split at.

    What is returned raises :exc:`ValueError`, with a sentence, for a line that has no separator.
    """
    if separator is None:
        return None

    def parse(line: bytes) -> InputRecord:
        key, found, value = line.partition(separator)
        if not found:
            raise ValueError(
                f"has no key separator {separator.decode(errors='replace')!r}; put a key before "
                "each value, or leave out --key-separator"
            )
        return InputRecord(value=value, key=key, headers=(), partition=None, timestamp_ms=None)

    return parse
