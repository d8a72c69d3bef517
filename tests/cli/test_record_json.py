"""A record survives the way to JSON and back; a line that is no record is refused in a sentence."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.cli.record_json import decode_record, encode_record

content = st.none() | st.binary(max_size=40)


def encode(**changes: object) -> str:
    fields: dict[str, object] = {
        "topic": "web",
        "partition": 2,
        "offset": 7,
        "timestamp_ms": 1_000,
        "key": b"k",
        "value": b"v",
        "headers": (),
    }
    return encode_record(**(fields | changes))  # type: ignore[arg-type]  # one dict for all types


@given(key=content, value=content, headers=st.lists(st.tuples(st.text(max_size=9), content)))
def test_any_bytes_come_back(
    key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    line = encode(key=key, value=value, headers=headers)

    record = decode_record(line.encode())

    assert (record.key, record.value, record.headers) == (key, value, tuple(headers))


def test_text_is_readable() -> None:
    document = json.loads(encode(key="größe".encode(), headers=(("h", b"1"),)))

    assert document == {
        "topic": "web",
        "partition": 2,
        "offset": 7,
        "timestamp_ms": 1_000,
        "key": "größe",
        "value": "v",
        "headers": [{"key": "h", "value": "1"}],
    }


def test_bytes_that_are_not_text_are_base64() -> None:
    assert json.loads(encode(value=b"\xff"))["value_base64"] == "/w=="


def test_record_is_one_line() -> None:
    assert "\n" not in encode(value=b"a\nb")


def test_place_and_time_are_kept_and_the_offset_is_not() -> None:
    record = decode_record(encode(timestamp_ms=-1).encode())

    assert (record.partition, record.timestamp_ms) == (2, -1)


def test_only_a_value_is_needed() -> None:
    record = decode_record(b'{"value": null}')

    assert record == (None, None, (), None, None)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"plain text", "is not a JSON object such as"),
        (b'"text"', "is not a JSON object such as"),
        (b"[" * 100_000, "is not a JSON object such as"),
        (b"\xff", "is not a JSON object such as"),
        (b'{"key": "k"}', 'has no "value"'),
        (b'{"value": "v", "kye": "k"}', 'has a field "kye"'),
        (b'{"value": 1}', 'has a "value" that is not a string'),
        (b'{"value": "v", "value_base64": ""}', 'has both "value" and "value_base64"'),
        (b'{"value_base64": "?"}', "that is not base64"),
        (b'{"value_base64": 1}', "that is not base64"),
        (b'{"value": "\\ud800"}', "half a surrogate pair"),
        (b'{"value": "v", "partition": -1}', 'has a "partition" that is not a whole number'),
        (b'{"value": "v", "partition": true}', 'has a "partition" that is not a whole number'),
        (b'{"value": "v", "timestamp_ms": 1.5}', 'has a "timestamp_ms" that is not a whole number'),
        (b'{"value": "v", "headers": {"a": "b"}}', 'has "headers" that are not a list'),
        (b'{"value": "v", "headers": [1]}', 'has "headers" that are not a list'),
        (b'{"value": "v", "headers": [{"value": "b"}]}', 'has a header without a "key"'),
    ],
)
def test_line_that_is_no_record_is_refused_in_a_sentence(line: bytes, sentence: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        decode_record(line)

    assert sentence in str(refused.value)
