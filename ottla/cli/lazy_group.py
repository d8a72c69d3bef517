"""A group of subcommands that are imported when they are called, not when they are listed."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import click


class LazyCommand(NamedTuple):
    """Where a subcommand is, and its line in the list of all."""

    place: str
    """``package.module:name``"""
    short_help: str


class LazyGroup(click.Group):
    """A group that knows its subcommands by :class:`LazyCommand`, in the order given."""

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401 -- click's own, passed through
        commands_by_name: Mapping[str, LazyCommand],
        **keywords: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*arguments, **keywords)
        self._commands_by_name = commands_by_name

    def get_short_help(self, name: str) -> str:
        """Return the line about a subcommand in the list of all."""
        return self._commands_by_name[name].short_help

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order given."""
        del ctx
        return list(self._commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a subcommand; ``None`` if there is none of that name."""
        del ctx
        command = self._commands_by_name.get(cmd_name)
        if command is None:
            return None
        module, _, name = command.place.partition(":")
        found = getattr(importlib.import_module(module), name)
        assert isinstance(found, click.Command), command.place
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or say which one may have been meant."""
        name = args[0]
        if name not in self._commands_by_name and not name.startswith("-"):
            nearest = difflib.get_close_matches(name, self._commands_by_name, n=1)
            known = ", ".join(self._commands_by_name)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there is {known}"
            ctx.fail(f"there is no command {name!r} ({hint})")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.short_help) for name, command in self._commands_by_name.items()]
            )
