"""Diagnostics: what the broker tells its operator, one line an event, on stderr.

An event has a constant name and fields, never a sentence with values inside: people read
the line, and programs group by the name. Events are declared beside the code that emits them::

    PARTITION_RECOVERED = Event("log.partition_recovered", Severity.WARNING)
    ...
    emit(PARTITION_RECOVERED, partition=topic_partition, truncated_bytes=4096)

in one of two forms::

    {"ts":"2026-11-20T10:03:01.127Z","level":"warning","event":"log.partition_recovered",...}
    10:03:01.127 WARNING log.partition_recovered partition=web-0 truncated_bytes=4096

Beneath is the standard library's logging, so that what libraries log arrives on the same stream
in the same form, as the event ``library`` with the fields ``logger`` and ``message``.

A line never holds a line break or a terminal's control character, whatever a value contains:
names come from clients. An event that repeats more than ``DIAGNOSTICS_PER_EVENT_MAX`` times
within a second is dropped; how often is told as ``suppressed`` by the next one.

State machines emit nothing; their effects and errors say it, and the shell emits.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from dataclasses import dataclass
from enum import Enum, IntEnum
from threading import Lock
from typing import Final, TextIO

from ottla.model.limits import DIAGNOSTICS_FIELD_CHARACTERS_MAX, DIAGNOSTICS_PER_EVENT_MAX

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:/+@[],*#")
_LOGGER: Final = logging.getLogger("ottla")

Value = object
"""Numbers, booleans and ``None`` stay what they are; everything else is told as its ``str()``."""


class Severity(IntEnum):
    """How urgently an event wants to be read; the numbers are the standard library's."""

    DEBUG = logging.DEBUG
    INFO = logging.INFO
    WARNING = logging.WARNING
    """Something is not as it should be, and was dealt with."""
    ERROR = logging.ERROR
    """Something does not work, and somebody should look."""


class Format(Enum):
    """How a line looks."""

    JSON = "json"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of event; ``name`` is lower case, ``part.what_happened``."""

    name: str
    severity: Severity = Severity.INFO


LIBRARY: Final = Event("library")
"""What a library logged."""


def emit(event: Event, *, error: BaseException | None = None, **fields: Value) -> None:
    """Tell the operator that ``event`` happened. Never raises; waits for stderr at worst.

    ``error`` is told with its traceback, which is what a bug needs; for an error of the world,
    pass its text as a field instead.
    """
    if _LOGGER.isEnabledFor(event.severity):
        extra = {"ottla_event": event, "ottla_fields": fields}
        _LOGGER.log(event.severity, event.name, extra=extra, exc_info=error)


def configure(
    *, form: Format, severity: Severity = Severity.INFO, stream: TextIO | None = None
) -> None:
    """Write events of ``severity`` and above to ``stream``, stderr by default.

    Libraries are heard from ``WARNING`` on. Replaces what an earlier call set up. Until the
    first call, the standard library prints the names of warnings and errors, without fields.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_JsonFormatter() if form is Format.JSON else _TextFormatter())
    handler.addFilter(_RateLimit())
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old.formatter, (_JsonFormatter, _TextFormatter)):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(severity, Severity.WARNING))
    _LOGGER.setLevel(severity)
    # Diagnostics must not take the broker down, nor bury its events under complaints.
    logging.raiseExceptions = False


class _RateLimit(logging.Filter):
    """Lets each event pass so many times a second, and counts the rest."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = Lock()
        self._second = 0
        self._passed: dict[str, int] = {}
        self._suppressed: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        name = _event_of(record).name
        with self._lock:
            if int(record.created) != self._second:
                self._second = int(record.created)
                self._passed.clear()
            self._passed[name] = self._passed.get(name, 0) + 1
            if self._passed[name] > DIAGNOSTICS_PER_EVENT_MAX:
                self._suppressed[name] = self._suppressed.get(name, 0) + 1
                return False
            suppressed = self._suppressed.pop(name, 0)
        if suppressed:
            record.ottla_suppressed = suppressed
        return True


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "ts": _time_of(record, "%Y-%m-%dT%H:%M:%S") + "Z",
            "level": record.levelname.lower(),
            "event": _event_of(record).name,
            **_fields_of(record),
        }
        return json.dumps(line, separators=(",", ":"))


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = _fields_of(record)
        trace = fields.pop("traceback", None)
        words = [_time_of(record, "%H:%M:%S"), f"{record.levelname:<7}", _event_of(record).name]
        words += [f"{name}={_quoted(value)}" for name, value in fields.items()]
        line = " ".join(words)
        if trace is None:
            return line
        # The one thing that is read as a block; each of its lines is marked as such.
        return "\n  | ".join([line, *(_printable(part) for part in str(trace).splitlines())])


def _event_of(record: logging.LogRecord) -> Event:
    event = getattr(record, "ottla_event", LIBRARY)
    assert isinstance(event, Event)
    return event


def _fields_of(record: logging.LogRecord) -> dict[str, Value]:
    fields: dict[str, Value] = {}
    if hasattr(record, "ottla_event"):
        for name, value in getattr(record, "ottla_fields", {}).items():
            fields[name] = _limited(value)
    else:
        fields |= {"logger": record.name, "message": _limited(record.getMessage())}
    suppressed = getattr(record, "ottla_suppressed", 0)
    if suppressed:
        fields["suppressed"] = suppressed
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        fields["error"] = _limited(f"{type(error).__name__}: {error}")
        fields["traceback"] = "".join(traceback.format_exception(error))
    return fields


def _limited(value: Value) -> Value:
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    if len(text) <= DIAGNOSTICS_FIELD_CHARACTERS_MAX:
        return text
    return f"{text[:DIAGNOSTICS_FIELD_CHARACTERS_MAX]}... ({len(text)} characters)"


def _quoted(value: Value) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return json.dumps(value)
    text = str(value)
    if text and _PLAIN.issuperset(text):
        return text
    return json.dumps(text)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _time_of(record: logging.LogRecord, form: str) -> str:
    return f"{time.strftime(form, time.gmtime(record.created))}.{int(record.msecs):03d}"
