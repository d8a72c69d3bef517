"""``ottla cluster``: what its subcommands take.

The work of ``status`` is in :mod:`ottla.cli.cluster_work`, that of moves between brokers in
:mod:`ottla.cli.cluster_moving`, the rest in :mod:`ottla.cli.cluster_admin`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from ottla.cli.arguments import parse_broker_ids, parse_configs
from ottla.cli.connection import Connection, connection_options

INTERVAL_DEFAULT_S: Final = 1.0
INTERVAL_MIN_S: Final = 0.1

AT_ONCE_DEFAULT: Final = 4
"""Enough to keep a disk and a network busy while one move ends and the next begins."""

_broker_argument = click.argument("broker_id", metavar="BROKER", type=click.IntRange(min=0))
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")
_dry_run_option = click.option("--dry-run", is_flag=True, help="Show the plan, and do nothing.")
_at_once_option = click.option(
    "--at-once",
    type=click.IntRange(min=1),
    default=AT_ONCE_DEFAULT,
    show_default=True,
    metavar="N",
    help="Partitions that one broker sends or receives at the same time.",
)


def _broker_ids(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...]:
    del context, parameter
    return parse_broker_ids(text)


@click.group
def cluster() -> None:
    """See how a cluster is, move partitions between brokers, look after brokers."""


@cluster.command
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(min=INTERVAL_MIN_S),
    default=INTERVAL_DEFAULT_S,
    show_default=True,
    metavar="SECONDS",
    help="With --watch, how often.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one line each time.")
@connection_options
def status(*, watch: bool, interval_s: float, as_json: bool, connection: Connection) -> int:
    """Show how brokers and partitions are.

    Brokers, controller, quorum, and partitions in trouble.

    The exit status is 1 if a partition is offline, or if there is no controller or no majority
    of the voters. Where standard output is no terminal, each line begins with what it is about,
    and columns are separated by tabs.
    """
    from ottla.cli import cluster_work  # noqa: PLC0415 -- brings gRPC along

    if watch:
        cluster_work.watch(connection, interval_s=interval_s, as_json=as_json)
    return cluster_work.status(connection, as_json=as_json)


# --- Moves between brokers ------------------------------------------------------------


@cluster.command
@click.option(
    "--brokers",
    metavar="ID,...",
    callback=_broker_ids,
    help="Only moves from or to these brokers.",
)
@_at_once_option
@_dry_run_option
@_yes_option
@click.option("--cancel", is_flag=True, help="Take back every move that is under way.")
@_json_option
@connection_options
def rebalance(
    *,
    brokers: Sequence[int],
    at_once: int,
    dry_run: bool,
    yes: bool,
    cancel: bool,
    as_json: bool,
    connection: Connection,
) -> None:
    """Move partitions so that every broker has its share.

    Shows what it would move, asks, and waits until all has moved. Partitions are written and read
    meanwhile. Ctrl-C ends the waiting; what has begun is finished all the same.
    """
    from ottla.cli import cluster_moving  # noqa: PLC0415 -- brings gRPC along

    if cancel:
        cluster_moving.cancel(connection, as_json=as_json)
        return
    cluster_moving.rebalance(
        connection, brokers=brokers, at_once=at_once, dry_run=dry_run, yes=yes, as_json=as_json
    )


@cluster.command
@_broker_argument
@_at_once_option
@_dry_run_option
@_yes_option
@_json_option
@connection_options
def drain(
    broker_id: int,
    *,
    at_once: int,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    connection: Connection,
) -> None:
    """Move everything off a broker.

    Like rebalance, it shows its plan first, and can be interrupted. The broker gets nothing new,
    also after a restart, until 'ottla cluster undrain'.
    """
    from ottla.cli import cluster_moving  # noqa: PLC0415 -- brings gRPC along

    cluster_moving.drain(
        connection, broker_id, at_once=at_once, dry_run=dry_run, yes=yes, as_json=as_json
    )


@cluster.command
@_broker_argument
@connection_options
def undrain(broker_id: int, *, connection: Connection) -> None:
    """Let a drained broker have replicas again."""
    from ottla.cli import cluster_moving  # noqa: PLC0415 -- brings gRPC along

    cluster_moving.undrain(connection, broker_id)


@cluster.command
@_broker_argument
@connection_options
def remove(broker_id: int, *, connection: Connection) -> None:
    """Forget a broker that is gone for good.

    It must have been drained and stopped. A voter cannot be removed.
    """
    from ottla.cli import cluster_moving  # noqa: PLC0415 -- brings gRPC along

    cluster_moving.remove(connection, broker_id)


# --- Leaders and voters ---------------------------------------------------------------


@cluster.command
@click.option("--topic", "topics", metavar="NAME", multiple=True, help="Only its partitions.")
@click.option(
    "--unclean",
    is_flag=True,
    help="Elect any replica where there is no leader. LOSES what only the others have.",
)
@_yes_option
@_json_option
@connection_options
def elect_leaders(
    *, topics: Sequence[str], unclean: bool, yes: bool, as_json: bool, connection: Connection
) -> None:
    """Let preferred leaders lead again.

    That is the first replica of each partition. Brokers do it by themselves now and then, unless
    auto.leader.rebalance.enable is false.
    """
    from ottla.cli import cluster_admin  # noqa: PLC0415 -- brings gRPC along

    if unclean:
        cluster_admin.elect_any_leaders(connection, topics, yes=yes, as_json=as_json)
    else:
        cluster_admin.elect_preferred_leaders(connection, topics, as_json=as_json)


@cluster.command
@_broker_argument
@_yes_option
@connection_options
def readmit_voter(broker_id: int, *, yes: bool, connection: Connection) -> None:
    """Let a voter that has lost its data vote again.

    A voter that comes back with an empty directory has forgotten what it voted for, and is refused.
    This says that its former directory is gone for good and will never come back.
    """
    from ottla.cli import cluster_admin  # noqa: PLC0415 -- brings gRPC along

    cluster_admin.readmit_voter(connection, broker_id, yes=yes)


# --- Settings -------------------------------------------------------------------------

_of_broker_option = click.option(
    "--broker",
    "broker_id",
    type=click.IntRange(min=0),
    metavar="ID",
    help="Of this broker.  [default: of all brokers]",
)


@cluster.group
def config() -> None:
    """List and change settings of brokers while they run.

    docs/configuration.md says which can be changed so; the others are in a broker's file.
    """


@config.command(name="list")
@_of_broker_option
@click.option("--all", "everything", is_flag=True, help="With --broker: also the defaults.")
@_json_option
@connection_options
def list_configs(
    *, broker_id: int | None, everything: bool, as_json: bool, connection: Connection
) -> None:
    """List settings that differ from the defaults, and where they were set.

    Without --broker, those that were set for all brokers while they ran.
    """
    from ottla.cli import cluster_admin  # noqa: PLC0415 -- brings gRPC along

    cluster_admin.list_configs(connection, broker_id, everything=everything, as_json=as_json)


@config.command(name="set")
@click.argument("texts", metavar="KEY=VALUE...", nargs=-1, required=True)
@_of_broker_option
@connection_options
def set_configs(texts: Sequence[str], *, broker_id: int | None, connection: Connection) -> None:
    """Change settings. If one is refused, none is changed."""
    from ottla.cli import cluster_admin  # noqa: PLC0415 -- brings gRPC along

    cluster_admin.set_configs(connection, broker_id, parse_configs(texts))


@config.command(name="unset")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True)
@_of_broker_option
@connection_options
def unset_configs(keys: Sequence[str], *, broker_id: int | None, connection: Connection) -> None:
    """Take changes back: what the broker was started with counts again."""
    from ottla.cli import cluster_admin  # noqa: PLC0415 -- brings gRPC along

    cluster_admin.unset_configs(connection, broker_id, keys)
