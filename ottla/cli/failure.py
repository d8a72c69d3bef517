"""The error of a command that could not do its work."""

from __future__ import annotations

import click


class CommandError(click.ClickException):
    """The message says, in one sentence, why it could not be done and what to do; status 1."""
