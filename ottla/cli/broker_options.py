"""What every command that starts brokers takes: where settings come from.

``ottla broker`` and ``ottla up`` share these options and what becomes of them, so that a broker is
told the same by either.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from ottla.cli.failure import CommandError
from ottla.config.broker_config import BadConfigurationError, BrokerConfig
from ottla.config.sources import Found, load_broker_config

R = TypeVar("R")


class Sources(NamedTuple):
    """What the command line says about settings."""

    config_file: Path | None
    settings: Sequence[Found]
    """``--set`` and what other flags stand for, in the order given."""
    data: Path | None
    """Directory of all brokers' data; ``None``: what the settings say, or the default."""


def _parse_settings(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> list[Found]:
    del context, parameter
    found = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not KEY=VALUE")
        found.append(Found(key.strip(), value, "--set"))
    return found


_CONFIG = click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TOML file with settings; the environment and flags outrank it.",
)
_SET = click.option(
    "--set",
    "settings",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_parse_settings,
    help="Any setting of docs/configuration.md; may be repeated.",
)
_JSON = click.option(
    "--json", "as_json", is_flag=True, help="When ready, print one line of JSON instead of text."
)


def source_options(function: Callable[..., R]) -> Callable[..., R]:
    """Give a command ``--config``, ``--set`` and ``--json``."""
    decorated: Any = function
    for option in (_JSON, _SET, _CONFIG):
        decorated = option(decorated)
    chosen: Callable[..., R] = decorated
    return chosen


def data_option(text: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Give a command ``--data``; ``text`` says what is kept where."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"{text}  [default: $XDG_DATA_HOME/ottla or ~/.local/share/ottla]",
        metavar="DIR",
    )


def load(
    sources: Sources, *, flags: Sequence[Found] = (), defaults: Sequence[Found] = ()
) -> BrokerConfig:
    """Read file, environment and command line; ``flags`` outrank all, ``defaults`` nothing.

    Raises :exc:`CommandError` with every problem that there is.
    """
    try:
        return load_broker_config(
            file=sources.config_file,
            environment=os.environ,
            flags=[*sources.settings, *flags],
            defaults=defaults,
            data_directory=sources.data,
        )
    except BadConfigurationError as error:
        raise CommandError(str(error)) from error
