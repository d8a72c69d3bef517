"""``ottla group``: what its subcommands take; the work is in :mod:`ottla.cli.group_work`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ottla.cli.arguments import time_option
from ottla.cli.connection import Connection, connection_options
from ottla.cli.starting_point import AtTime, Beginning, End

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group
def group() -> None:
    """See how far consumer groups are, and set them back or forward."""


@group.command(name="list")
@click.option("--state", "states", multiple=True, metavar="STATE", help="Only these, e.g. Stable.")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(("classic", "consumer")),
    help="Only groups of this protocol.",
)
@_json_option
@connection_options
def list_(
    *, states: Sequence[str], types: Sequence[str], as_json: bool, connection: Connection
) -> None:
    """List groups: name, protocol, state."""
    from ottla.cli import group_work  # noqa: PLC0415 -- brings gRPC along

    group_work.list_(connection, states=states, types=types, as_json=as_json)


@group.command
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@_json_option
@connection_options
def describe(names: Sequence[str], *, as_json: bool, connection: Connection) -> None:
    """Show who is in groups, and who reads what."""
    from ottla.cli import group_work  # noqa: PLC0415 -- brings gRPC along

    group_work.describe(connection, names, as_json=as_json)


@group.command
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_json_option
@connection_options
def lag(names: Sequence[str], *, as_json: bool, connection: Connection) -> None:
    """Show how far groups are behind.

    Committed offset, end and difference, by partition. Without a NAME, one line for each group.
    """
    from ottla.cli import group_lag  # noqa: PLC0415 -- brings gRPC along

    if names:
        group_lag.of_groups(connection, names, as_json=as_json)
    else:
        group_lag.of_all(connection, as_json=as_json)


@group.command
@click.argument("name")
@click.option(
    "--topic",
    "topics",
    multiple=True,
    metavar="TOPIC[:P,P-P]",
    help="Only this topic, or some of its partitions; may be repeated.  [default: every partition "
    "that the group has committed]",
)
@click.option("--to-earliest", is_flag=True, help="To the first record.")
@click.option("--to-latest", is_flag=True, help="Behind the last record.")
@click.option("--to-offset", type=click.IntRange(min=0), metavar="N", help="To this offset.")
@click.option(
    "--to-timestamp",
    metavar="TIME",
    callback=time_option,
    help="To the first record of this time or later: milliseconds since 1970, or "
    "2026-01-31T12:00:00Z.",
)
@click.option("--shift-by", type=int, metavar="N", help="So many offsets forward; -N goes N back.")
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json_option
@connection_options
def reset_offsets(
    name: str,
    *,
    topics: Sequence[str],
    to_earliest: bool,
    to_latest: bool,
    to_offset: int | None,
    to_timestamp: AtTime | None,
    shift_by: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    connection: Connection,
) -> None:
    """Have a group go on elsewhere, after asking.

    Shows what changes, asks, and commits. The group must have no members. Offsets outside of what a
    partition has become its first or its end.
    """
    from ottla.cli.group_reset import Shift, ToOffset, reset  # noqa: PLC0415 -- brings gRPC along

    goals = [
        goal
        for goal in (
            Beginning() if to_earliest else None,
            End() if to_latest else None,
            None if to_offset is None else ToOffset(to_offset),
            to_timestamp,
            None if shift_by is None else Shift(shift_by),
        )
        if goal is not None
    ]
    if len(goals) != 1:
        raise click.UsageError(
            "say where to, once: --to-earliest, --to-latest, --to-offset, --to-timestamp or "
            "--shift-by"
        )
    reset(connection, name, topics=topics, goal=goals[0], dry_run=dry_run, yes=yes, as_json=as_json)


@group.command
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--if-exists", is_flag=True, help="It is no error if a group is not there.")
@connection_options
def delete(names: Sequence[str], *, if_exists: bool, connection: Connection) -> None:
    """Forget groups and what they have committed. They must have no members."""
    from ottla.cli import group_work  # noqa: PLC0415 -- brings gRPC along

    group_work.delete(connection, names, if_exists=if_exists)
