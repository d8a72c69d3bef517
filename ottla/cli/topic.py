"""``ottla topic``: what its subcommands take; the work is in :mod:`ottla.cli.topic_work`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

from ottla.cli.arguments import parse_broker_ids, parse_configs
from ottla.cli.connection import Connection, connection_options


def _parse_configs(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> dict[str, str]:
    del context, parameter
    return parse_configs(texts)


def _broker_ids(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[int, ...]:
    del context, parameter
    return parse_broker_ids(text)


_config_option = click.option(
    "--config",
    "configs",
    metavar="KEY=VALUE",
    multiple=True,
    callback=_parse_configs,
    help="Setting of the topic, e.g. retention.ms=604800000; may be repeated.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group
def topic() -> None:
    """Create, list, describe, alter, move and delete topics."""


@topic.command
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many.  [default: the broker's num.partitions]",
)
@click.option(
    "--replication-factor",
    type=click.IntRange(min=1),
    metavar="N",
    help="Replicas of each partition.  [default: the broker's default.replication.factor]",
)
@_config_option
@click.option("--if-not-exists", is_flag=True, help="It is no error if a topic is there already.")
@_json_option
@connection_options
def create(
    names: Sequence[str],
    *,
    partitions: int | None,
    replication_factor: int | None,
    configs: Mapping[str, str],
    if_not_exists: bool,
    as_json: bool,
    connection: Connection,
) -> None:
    """Create topics.

    docs/configuration.md lists the settings that --config takes.
    """
    from ottla.cli import topic_work  # noqa: PLC0415 -- brings gRPC along

    topic_work.create(
        connection,
        names,
        partitions=partitions or 0,
        replication_factor=replication_factor or 0,
        configs=configs,
        if_not_exists=if_not_exists,
        as_json=as_json,
    )


@topic.command(name="list")
@click.option("--internal", is_flag=True, help="Also those that brokers keep for themselves.")
@_json_option
@connection_options
def list_(*, internal: bool, as_json: bool, connection: Connection) -> None:
    """List topics: name, partitions, replicas, records, bytes.

    Where standard output is no terminal, columns are separated by tabs, without a heading.
    """
    from ottla.cli import topic_work  # noqa: PLC0415 -- brings gRPC along

    topic_work.list_(connection, internal=internal, as_json=as_json)


@topic.command
@click.argument("names", metavar="[NAME]...", nargs=-1)
@_json_option
@connection_options
def describe(names: Sequence[str], *, as_json: bool, connection: Connection) -> None:
    """Describe topics: settings that differ from the defaults, and every partition.

    Without a NAME, all topics. Replicas are brokers, the preferred leader first; +4 is on its way
    to be one, -1 on its way out.
    """
    from ottla.cli import topic_work  # noqa: PLC0415 -- brings gRPC along

    topic_work.describe(connection, names, as_json=as_json)


@topic.command
@click.argument("name")
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="New total. Records stay where they are, so keys may map to other partitions.",
)
@_config_option
@click.option(
    "--delete-config",
    "deleted_configs",
    metavar="KEY",
    multiple=True,
    help="Set back to the default; may be repeated.",
)
@connection_options
def alter(
    name: str,
    *,
    partitions: int | None,
    configs: Mapping[str, str],
    deleted_configs: Sequence[str],
    connection: Connection,
) -> None:
    """Add partitions to a topic, or change its settings.

    If one change is refused, none is made.
    """
    if not (partitions or configs or deleted_configs):
        raise click.UsageError("nothing to alter; give --partitions, --config or --delete-config")
    both = sorted(set(configs) & set(deleted_configs))
    if both:
        raise click.UsageError(f"{both[0]} is both set and deleted; leave one out")
    from ottla.cli import topic_work  # noqa: PLC0415 -- brings gRPC along

    topic_work.alter(
        connection, name, partitions=partitions, configs=configs, deleted_configs=deleted_configs
    )


@topic.command
@click.argument("name")
@click.option(
    "--partition",
    "partitions",
    type=click.IntRange(min=0),
    metavar="N",
    multiple=True,
    help="Which one; may be repeated.",
)
@click.option(
    "--replicas",
    metavar="ID,...",
    callback=_broker_ids,
    help="The brokers that are to have it, the preferred leader first.",
)
@click.option("--cancel", is_flag=True, help="Take back what is under way; of all partitions.")
@click.option("--no-wait", is_flag=True, help="Do not wait until it has moved.")
@_json_option
@connection_options
def reassign(
    name: str,
    *,
    partitions: Sequence[int],
    replicas: Sequence[int],
    cancel: bool,
    no_wait: bool,
    as_json: bool,
    connection: Connection,
) -> None:
    """Move partitions of a topic to the brokers given.

    'ottla cluster rebalance' finds better places by itself.
    """
    if cancel and replicas:
        raise click.UsageError("--cancel takes no --replicas")
    if not cancel and not (partitions and replicas):
        raise click.UsageError("give --partition and --replicas, or --cancel")
    from ottla.cli import topic_moving  # noqa: PLC0415 -- brings gRPC along

    if cancel:
        topic_moving.cancel(connection, name, partitions, as_json=as_json)
    else:
        topic_moving.reassign(
            connection, name, partitions, replicas, wait=not no_wait, as_json=as_json
        )


@topic.command
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--if-exists", is_flag=True, help="It is no error if a topic is not there.")
@connection_options
def delete(names: Sequence[str], *, if_exists: bool, connection: Connection) -> None:
    """Delete topics with all their records, without asking."""
    from ottla.cli import topic_work  # noqa: PLC0415 -- brings gRPC along

    topic_work.delete(connection, names, if_exists=if_exists)
