"""What several processes say on one stream can be told apart, by people and by programs."""

from __future__ import annotations

import io
import json
import os

from ottla.cli.child_output import ChildOutput


def shown(*lines: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    output = ChildOutput(stream, ["broker-0", "broker-10"])
    for name, line in lines:
        output.show(name, line)
    return stream.getvalue()


def test_text_has_the_name_in_front_and_stands_aligned() -> None:
    assert shown(("broker-0", b"hello"), ("broker-10", b"")) == (
        b"broker-0  | hello\nbroker-10 | \n"
    )


def test_json_stays_json_and_has_the_name_in_it() -> None:
    line = shown(("broker-0", b'{"ts":"t","event":"started"}'))

    assert json.loads(line) == {"process": "broker-0", "ts": "t", "event": "started"}


def test_bytes_that_are_no_text_pass_as_they_are() -> None:
    assert shown(("broker-0", b"\xff{}")) == b"broker-0  | \xff{}\n"


def test_reader_that_has_gone_away_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb", buffering=0) as stream:
        output = ChildOutput(stream, ["broker-0"])

        output.show("broker-0", b"hello")
        output.say("broker-0 has died")
