"""What command lines write in a form of their own: settings, lists of brokers, times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from ottla.cli.starting_point import AtTime


def parse_configs(texts: Sequence[str]) -> dict[str, str]:
    """Return the settings by key; raises :exc:`click.BadParameter` for what is none."""
    configs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise click.BadParameter(f"{text!r} is not KEY=VALUE, e.g. retention.ms=604800000")
        configs[key.strip()] = value
    return configs


def parse_broker_ids(text: str | None) -> tuple[int, ...]:
    """Return the ids in ``0,3``; raises :exc:`click.BadParameter` for what is no such list."""
    try:
        return tuple(int(each) for each in text.split(",")) if text else ()
    except ValueError:
        raise click.BadParameter(f"{text!r} is no list of broker ids, such as 0,3") from None


def time_option(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> AtTime | None:
    """Read milliseconds since 1970, or ISO 8601 (local time unless it names a zone).

    For ``callback=``; raises :exc:`click.BadParameter` for what is no time.
    """
    del context, parameter
    if text is None:
        return None
    try:
        timestamp_ms = int(text) if text.isdigit() else _iso_ms(text)
    except (ValueError, OverflowError):
        timestamp_ms = -1
    if not 0 <= timestamp_ms < 1 << 63:
        raise click.BadParameter(
            f"{text!r} is neither milliseconds since 1970 nor a time such as 2026-01-31T12:00:00Z"
        )
    return AtTime(timestamp_ms)


def _iso_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)
