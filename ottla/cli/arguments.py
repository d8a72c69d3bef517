"""What command lines write in a form of their own: settings, and lists of brokers."""

from __future__ import annotations

from collections.abc import Sequence

import click


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
