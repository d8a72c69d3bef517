"""How a command ends that could not do its work."""

from __future__ import annotations

from typing import Final

import click

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C: 128 and the number of SIGINT, as shells report it."""


class CommandError(click.ClickException):
    """The message says, in one sentence, why it could not be done and what to do; status 1."""
