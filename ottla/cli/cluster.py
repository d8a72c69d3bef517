"""``ottla cluster``: what its subcommands take; the work is in :mod:`ottla.cli.cluster_work`."""

from __future__ import annotations

from typing import Final

import click

from ottla.cli.connection import Connection, connection_options

INTERVAL_DEFAULT_S: Final = 1.0
INTERVAL_MIN_S: Final = 0.1


@click.group
def cluster() -> None:
    """See how a cluster is."""


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
    """Show brokers, controller, quorum, and partitions in trouble.

    The exit status is 1 if a partition is offline or there is no controller. Where standard output
    is no terminal, each line begins with what it is about, and columns are separated by tabs.
    """
    from ottla.cli import cluster_work  # noqa: PLC0415 -- brings gRPC along

    if watch:
        cluster_work.watch(connection, interval_s=interval_s, as_json=as_json)
    return cluster_work.status(connection, as_json=as_json)
