"""A diagnostic is one line that a person and a program can read, whatever its values hold."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Callable, Iterator

import pytest

from ottla.model.ids import TopicPartition
from ottla.model.limits import DIAGNOSTICS_PER_EVENT_MAX
from ottla.runtime.logging import Event, Format, Severity, configure, emit

RECOVERED = Event("log.recovered", Severity.WARNING)
STARTED = Event("broker.started")
DETAIL = Event("fetch.detail", Severity.DEBUG)

Lines = Callable[[], list[str]]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("ottla").setLevel(logging.NOTSET)
    logging.raiseExceptions = raising


@pytest.fixture
def text() -> Lines:
    stream = io.StringIO()
    configure(form=Format.TEXT, stream=stream)
    return lambda: stream.getvalue().splitlines()


@pytest.fixture
def json_lines() -> Callable[[], list[dict[str, object]]]:
    stream = io.StringIO()
    configure(form=Format.JSON, stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_text_line_has_time_severity_event_and_fields(text: Lines) -> None:
    emit(RECOVERED, partition=TopicPartition("web", 0), truncated_bytes=4096)

    [line] = text()
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d\.\d{3} WARNING log.recovered partition=web-0 truncated_bytes=4096", line
    )


def test_json_line_has_time_severity_event_and_fields(
    json_lines: Callable[[], list[dict[str, object]]],
) -> None:
    emit(RECOVERED, partition=TopicPartition("web", 0), clean=False, offset=17, leader=None)

    [line] = json_lines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", str(line.pop("ts")))
    assert line == {
        "level": "warning",
        "event": "log.recovered",
        "partition": "web-0",
        "clean": False,
        "offset": 17,
        "leader": None,
    }


@pytest.mark.parametrize("value", ["two words", "a=b", 'quo"te', "", "line\nbreak", "\x1b[31mred"])
def test_value_that_could_be_misread_is_quoted(text: Lines, value: str) -> None:
    emit(STARTED, value=value)

    [line] = text()
    assert line.endswith("value=" + json.dumps(value))
    assert line.isprintable()


def test_long_value_is_cut(text: Lines) -> None:
    emit(STARTED, value="x" * 100_000)

    assert len(text()[0]) < 2000
    assert "(100000 characters)" in text()[0]


def test_error_is_told_with_its_traceback(
    json_lines: Callable[[], list[dict[str, object]]],
) -> None:
    try:
        dict[str, int]()["lost"]
    except KeyError as error:
        emit(RECOVERED, error=error)

    [line] = json_lines()
    assert line["error"] == "KeyError: 'lost'"
    assert "test_logging.py" in str(line["traceback"])


def test_traceback_in_text_is_a_marked_block_without_control_characters(text: Lines) -> None:
    try:
        int("evil \x1b[2J text")
    except ValueError as error:
        emit(RECOVERED, error=error)

    first, *rest = text()
    assert "log.recovered" in first
    assert all(line.startswith("  | ") for line in rest)
    assert all(line.isprintable() for line in rest)


def test_event_below_the_severity_is_not_written(text: Lines) -> None:
    emit(DETAIL)

    assert text() == []


def test_event_of_the_severity_is_written() -> None:
    stream = io.StringIO()
    configure(form=Format.TEXT, severity=Severity.DEBUG, stream=stream)
    emit(DETAIL)

    assert "fetch.detail" in stream.getvalue()


def test_warning_of_a_library_has_the_same_form(
    json_lines: Callable[[], list[dict[str, object]]],
) -> None:
    logging.getLogger("grpc").warning("port %d is odd", 7093)

    [line] = json_lines()
    assert (line["event"], line["logger"], line["message"]) == (
        "library",
        "grpc",
        "port 7093 is odd",
    )


def test_chatter_of_a_library_is_not_written(text: Lines) -> None:
    logging.getLogger("asyncio").info("using selector")

    assert text() == []


def test_configuring_again_does_not_write_lines_twice() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure(form=Format.TEXT, stream=first)
    configure(form=Format.JSON, stream=second)
    emit(STARTED)

    assert first.getvalue() == ""
    assert len(second.getvalue().splitlines()) == 1


def test_flood_of_one_event_is_dropped_and_counted(text: Lines) -> None:
    for _ in range(3 * DIAGNOSTICS_PER_EVENT_MAX):
        emit(STARTED)
    emitted = 3 * DIAGNOSTICS_PER_EVENT_MAX

    # The second may turn once while this runs.
    assert DIAGNOSTICS_PER_EVENT_MAX <= len(text()) <= 2 * DIAGNOSTICS_PER_EVENT_MAX < emitted


def test_next_line_after_a_flood_tells_how_many_were_dropped(text: Lines) -> None:
    for second in [100.0] * (DIAGNOSTICS_PER_EVENT_MAX + 7) + [101.0]:
        fields = {"ottla_event": STARTED, "created": second, "levelno": logging.INFO}
        logging.getLogger("ottla").handle(logging.makeLogRecord(fields))

    assert len(text()) == DIAGNOSTICS_PER_EVENT_MAX + 1
    assert text()[-1].endswith("broker.started suppressed=7")


def test_flood_of_one_event_does_not_silence_another(text: Lines) -> None:
    for _ in range(3 * DIAGNOSTICS_PER_EVENT_MAX):
        emit(STARTED)
    emit(RECOVERED)

    assert "log.recovered" in text()[-1]


def test_broken_stream_does_not_reach_who_emits() -> None:
    stream = io.StringIO()
    configure(form=Format.TEXT, stream=stream)
    stream.close()

    emit(STARTED)
