"""A record as one JSON object on one line, the same for ``produce --json`` and ``consume --json``.

::

    {"topic": "web", "partition": 0, "offset": 7, "timestamp_ms": 1767225600000,
     "key": "alice", "value": "login", "headers": [{"key": "source", "value": "tour"}]}

Bytes that are not UTF-8 stand under ``key_base64`` and ``value_base64`` instead, so that nothing is
lost on the way from one topic to another. ``null`` is null, which is not the empty string.

In the other direction ``value`` or ``value_base64`` must be there, everything else may be missing.
``topic`` and ``offset`` are accepted and ignored: ``consume --json`` writes them.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from ottla.model.ids import NO_TIMESTAMP_MS
from ottla.record.builder import Headers

TIMESTAMP_MS_MAX: Final = 2**63 - 1
PARTITION_MAX: Final = 2**31 - 1

_FIELDS: Final = frozenset({
    "topic", "partition", "offset", "timestamp_ms", "key", "key_base64", "value", "value_base64",
    "headers",
})  # fmt: skip
_HEADER_FIELDS: Final = frozenset({"key", "value", "value_base64"})


class InputRecord(NamedTuple):
    """A record to send; ``None`` leaves a partition or time to the producer."""

    value: bytes | None
    key: bytes | None
    headers: Headers
    partition: int | None
    timestamp_ms: int | None


def encode_record(
    *,
    topic: str,
    partition: int,
    offset: int,
    timestamp_ms: int,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
) -> str:
    """Return the JSON of a record that was read."""
    document: dict[str, object] = {
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp_ms": timestamp_ms,
        **encode_fields(key, value, headers),
    }
    return json.dumps(document, ensure_ascii=False)


def encode_fields(key: bytes | None, value: bytes | None, headers: Headers) -> dict[str, object]:
    """Return what JSON has for the content of a record."""
    document: dict[str, object] = {}
    _put(document, "key", key)
    _put(document, "value", value)
    document["headers"] = [_header(name, content) for name, content in headers]
    return document


def decode_record(line: bytes) -> InputRecord:
    """Return the record to send; :exc:`ValueError` with a sentence if ``line`` is none."""
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise ValueError(  # noqa: TRY004 -- the line is wrong, not a type
            'is not a JSON object such as {"key": "k", "value": "v"}; without --json, lines are '
            "sent as they are"
        )
    _check_fields(document, _FIELDS)
    if "value" not in document and "value_base64" not in document:
        raise ValueError('has no "value"; give one, or null')
    headers = document.get("headers", [])
    if not isinstance(headers, list) or not all(isinstance(item, dict) for item in headers):
        raise ValueError('has "headers" that are not a list of {"key": ..., "value": ...}')
    return InputRecord(
        value=_take(document, "value"),
        key=_take(document, "key"),
        headers=tuple(map(_take_header, headers)),
        partition=_take_number(document, "partition", minimum=0, maximum=PARTITION_MAX),
        timestamp_ms=_take_number(
            document, "timestamp_ms", minimum=NO_TIMESTAMP_MS, maximum=TIMESTAMP_MS_MAX
        ),
    )


def _put(document: dict[str, object], name: str, content: bytes | None) -> None:
    try:
        document[name] = None if content is None else content.decode()
    except UnicodeDecodeError:
        assert content is not None
        document[f"{name}_base64"] = base64.b64encode(content).decode()


def _header(name: str, content: bytes | None) -> dict[str, object]:
    document: dict[str, object] = {"key": name}
    _put(document, "value", content)
    return document


def _check_fields(document: Mapping[str, object], known: frozenset[str]) -> None:
    unknown = sorted(document.keys() - known)
    if unknown:
        raise ValueError(f'has a field "{unknown[0]}"; there is {", ".join(sorted(known))}')


def _take(document: Mapping[str, object], name: str) -> bytes | None:
    encoded_name = f"{name}_base64"
    if name in document and encoded_name in document:
        raise ValueError(f'has both "{name}" and "{encoded_name}"; give one')
    if encoded_name in document:
        encoded = document[encoded_name]
        try:
            return base64.b64decode(encoded if isinstance(encoded, str) else "?", validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f'has a "{encoded_name}" that is not base64') from None
    content = document.get(name)
    if content is None:
        return None
    if not isinstance(content, str):
        raise ValueError(f'has a "{name}" that is not a string; put it in quotes')  # noqa: TRY004
    try:
        return content.encode()
    except UnicodeEncodeError:
        raise ValueError(f'has a "{name}" with half a surrogate pair') from None


def _take_header(document: Mapping[str, object]) -> tuple[str, bytes | None]:
    _check_fields(document, _HEADER_FIELDS)
    name = document.get("key")
    if not isinstance(name, str):
        raise ValueError('has a header without a "key"')  # noqa: TRY004
    return name, _take(document, "value")


def _take_number(
    document: Mapping[str, object], name: str, *, minimum: int, maximum: int
) -> int | None:
    number = document.get(name)
    if number is None:
        return None
    if isinstance(number, bool) or not isinstance(number, int) or not minimum <= number <= maximum:
        raise ValueError(f'has a "{name}" that is not a whole number from {minimum} to {maximum}')
    return number
