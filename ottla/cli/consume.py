"""``ottla consume``: what it takes; the work is in :mod:`ottla.cli.reading`.

Where reading begins and ends follows from what a person asks for:

* With a place to begin (``--from-beginning``, ``--offset``, ``--from-timestamp``) there is
  something to read, so reading ends where the topic ended when it started; ``--follow`` goes on.
* Without one there is nothing yet: the command waits for new records, as with ``--follow``.
"""

from __future__ import annotations

import click

from ottla.cli.arguments import time_option
from ottla.cli.connection import Connection, connection_options
from ottla.cli.record_format import Writer, format_writer, json_writer, values_writer
from ottla.cli.starting_point import AtOffset, AtTime, Beginning, End, StartingPoint


def _parse_format(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> Writer | None:
    del context, parameter
    try:
        return None if text is None else format_writer(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command
@click.argument("topic")
@click.option("--from-beginning", is_flag=True, help="Begin at the first record.")
@click.option(
    "--offset",
    type=int,
    metavar="N",
    help="Begin at this offset of --partition; -N begins N records before the end, of every "
    "partition read.",
)
@click.option(
    "--from-timestamp",
    metavar="TIME",
    callback=time_option,
    help="Begin at the first record of this time or later: milliseconds since 1970, or "
    "2026-01-31T12:00:00Z.",
)
@click.option(
    "--partition",
    type=click.IntRange(min=0),
    metavar="N",
    help="Only this one.  [default: all]",
)
@click.option(
    "--max", "records_max", type=click.IntRange(min=1), help="End after N records.", metavar="N"
)
@click.option("--follow", is_flag=True, help="Wait for more at the end.")
@click.option(
    "--format",
    "template",
    metavar="TEXT",
    callback=_parse_format,
    help="What to write for each record: %v value, %k key, %o offset, %p partition, %t topic, "
    r"%T timestamp, %h headers, %% percent; \n, \t.  [default: '%v']",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Write each record as JSON; `produce --json` reads it."
)
@click.option(
    "--rack",
    metavar="NAME",
    help="Where this command runs, as in the brokers' broker.rack: it reads from replicas there, "
    "if there are any in sync.",
)
@click.option(
    "--group",
    metavar="NAME",
    help="Read as a member of this consumer group: share the partitions with other members, go on "
    "where the group has committed, and commit.",
)
@connection_options
def consume(
    topic: str,
    *,
    from_beginning: bool,
    offset: int | None,
    from_timestamp: AtTime | None,
    partition: int | None,
    records_max: int | None,
    follow: bool,
    template: Writer | None,
    as_json: bool,
    rack: str | None,
    group: str | None,
    connection: Connection,
) -> int:
    """Write the records of TOPIC to standard output, as they are, each followed by a newline.

    With --from-beginning, --offset or --from-timestamp: from there to the end as it is now, or on
    and on with --follow. Without any of them: whatever comes from now on, until Ctrl-C.

    Records of one partition come in order; partitions come as they come.

    With --group: from where the group has committed, on and on; --from-beginning counts where it
    has not committed anything.
    """
    starts = [
        start
        for start in (
            Beginning() if from_beginning else None,
            None if offset is None else AtOffset(offset),
            from_timestamp,
        )
        if start is not None
    ]
    if len(starts) > 1:
        raise click.UsageError("--from-beginning, --offset and --from-timestamp exclude each other")
    if offset is not None and offset >= 0 and partition is None:
        raise click.UsageError("--offset needs --partition, because each partition has its own")
    if group is not None and (
        partition is not None or any(start != Beginning() for start in starts)
    ):
        raise click.UsageError(
            "--group excludes --partition, --offset and --from-timestamp; 'ottla group "
            "reset-offsets' moves a group"
        )
    if as_json and template is not None:
        raise click.UsageError("--json and --format exclude each other")
    start: StartingPoint = starts[0] if starts else End()
    from ottla.cli.reading import Reading, run_reading  # noqa: PLC0415 -- brings gRPC along

    reading = Reading(
        topic=topic,
        partition=partition,
        start=start,
        follow=follow or not starts or group is not None,
        records_max=records_max,
        write=json_writer if as_json else template or values_writer,
        rack=rack,
        group=group,
    )
    return run_reading(reading, connection)
