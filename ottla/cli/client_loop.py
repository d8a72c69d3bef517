"""Runs what a command asks of a broker: an event loop, and silence about retries.

The client library tells its story to the standard library's logging. A command says one sentence
when it fails and nothing while it may still succeed, so that story is not shown. And the library
speaks of its arguments, where a person at a command line knows options.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import click
import uvloop

from ottla.cli.failure import INTERRUPTED, CommandError
from ottla.cli.output import say
from ottla.model.errors import OttlaError

T = TypeVar("T")

_OPTIONS: Final = {
    "bootstrap_servers": "--bootstrap",
    "ssl_ca_location": "--ssl-ca-location",
    "ssl_certificate_location": "--ssl-certificate-location",
    "ssl_key_location": "--ssl-key-location",
}


def run_client(main: Coroutine[Any, Any, T]) -> T:
    """Run ``main`` and return what it returns; Ctrl-C cancels it.

    Raises :exc:`CommandError` for an error of the client or the broker, and
    :exc:`click.exceptions.Exit` after Ctrl-C.
    """
    logger = logging.getLogger("ottla.client")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    try:
        result: T = uvloop.run(main)
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            say("")  # the terminal shows ^C, and the prompt should not stand beside it
        raise click.exceptions.Exit(INTERRUPTED) from None
    except OttlaError as error:
        raise CommandError(in_words_of_the_command_line(str(error))) from error
    return result


def in_words_of_the_command_line(text: str) -> str:
    """Replace the names of the library's arguments by those of options."""
    for argument, option in _OPTIONS.items():
        text = text.replace(argument, option)
    return text
