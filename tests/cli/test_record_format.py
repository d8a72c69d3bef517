"""What a format writes for a record is every byte of what it names, and one line a record."""

from __future__ import annotations

import json

import pytest

from ottla.cli.escapes import unescape
from ottla.cli.record_format import format_writer, json_writer, values_writer
from ottla.client.consumer_record import ConsumerRecord
from ottla.record.batch import TimestampType


def record(
    value: bytes | None = b"v",
    key: bytes | None = b"k",
    headers: tuple[tuple[str, bytes | None], ...] = (),
) -> ConsumerRecord:
    return ConsumerRecord("web", 2, 7, 1_000, TimestampType.CREATE_TIME, key, value, headers)


@pytest.mark.parametrize(
    ("template", "written"),
    [
        ("%o %k %v", b"7 k v\n"),
        ("%t-%p@%T", b"web-2@1000\n"),
        ("100%% %v", b"100% v\n"),
        (r"%k\t%v", b"k\tv\n"),
        (r"%v\n", b"v\n"),
        (r"%v\0", b"v\0"),
        (r"\x41%v", b"Av\n"),
        ("plain", b"plain\n"),
    ],
)
def test_format_writes_what_it_names(template: str, written: bytes) -> None:
    assert format_writer(template)([record()]) == written


def test_each_record_is_written_in_order() -> None:
    assert format_writer("%v")([record(b"a"), record(b"b")]) == b"a\nb\n"


def test_bytes_are_written_as_they_are() -> None:
    value = bytes(range(256))

    assert format_writer("%v")([record(value)]) == value + b"\n"


def test_null_is_nothing() -> None:
    assert format_writer("<%k|%v>")([record(None, None)]) == b"<|>\n"


def test_headers_are_listed() -> None:
    headers = (("a", b"1"), ("b", None), ("a", b"2"))

    assert format_writer("%h")([record(headers=headers)]) == b"a=1,b=,a=2\n"


@pytest.mark.parametrize(("template", "field"), [("%q", "%q"), ("%v %", "%"), ("%é", "%")])
def test_unknown_field_is_refused_with_the_known_ones(template: str, field: str) -> None:
    with pytest.raises(ValueError, match="there is %v, %k, %o, %p, %t, %T, %h, %%") as refused:
        format_writer(template)

    assert field in str(refused.value)


def test_values_alone_are_what_the_format_of_values_writes() -> None:
    records = [record(b"a\nb"), record(None), record(b"")]

    assert values_writer(records) == format_writer("%v")(records)


def test_no_records_are_no_bytes() -> None:
    assert values_writer([]) == b""
    assert json_writer([]) == b""


def test_json_is_one_object_a_line() -> None:
    lines = json_writer([record(b"a\nb"), record(None)]).splitlines()

    assert [json.loads(line)["value"] for line in lines] == ["a\nb", None]


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\n\t\r\0\\", b"\n\t\r\0\\"),
        (r"\x00\xff", b"\x00\xff"),
        (r"\q\x1", rb"\q\x1"),
        ("ü", "ü".encode()),
        ("\\", b"\\"),
        ("\udcff", b"\xff"),
    ],
)
def test_escape_stands_for_its_byte_and_anything_else_for_itself(text: str, content: bytes) -> None:
    assert unescape(text) == content
