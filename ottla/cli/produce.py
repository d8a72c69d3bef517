"""``ottla produce``: a record for each line of standard input.

Only what the command takes; the work is in :mod:`ottla.cli.sending`, which brings gRPC along and
is imported when there is work to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import click

from ottla.cli.connection import Connection, connection_options
from ottla.cli.escapes import unescape
from ottla.cli.record_json import decode_record
from ottla.cli.record_keys import key_parser
from ottla.record.builder import Headers

COMPRESSIONS: Final = ("none", "gzip", "snappy", "lz4", "zstd")


def _parse_header(
    context: click.Context, parameter: click.Parameter, texts: Sequence[str]
) -> Headers:
    del context, parameter
    headers = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        headers.append((name, value.encode(errors="surrogateescape")))
    return tuple(headers)


def _parse_separator(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> bytes | None:
    del context, parameter
    if text == "":
        raise click.BadParameter("it takes at least one character")
    return None if text is None else unescape(text)


@click.command
@click.argument("topic")
@click.option(
    "--key-separator",
    metavar="TEXT",
    callback=_parse_separator,
    help=r"What stands between key and value in each line, e.g. ':' or '\t'.  [default: no keys]",
)
@click.option(
    "--header",
    "headers",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parse_header,
    help="Header of every record; may be repeated.",
)
@click.option(
    "--partition",
    type=click.IntRange(min=0),
    metavar="N",
    help="Partition for every record.  [default: by key; without one, spread evenly]",
)
@click.option(
    "--acks",
    type=click.Choice(["all", "1", "0"]),
    default="all",
    show_default=True,
    help="all: committed and synced to disk; 1: appended by the leader; 0: no promise.",
)
@click.option("--compression", type=click.Choice(COMPRESSIONS), default="none", show_default=True)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Each line is a record as `consume --json` writes it; the final count is JSON, too, on "
    "standard output.",
)
@connection_options
def produce(
    topic: str,
    *,
    key_separator: bytes | None,
    headers: Headers,
    partition: int | None,
    acks: str,
    compression: str,
    as_json: bool,
    connection: Connection,
) -> int:
    """Send each line of standard input to TOPIC as one record.

    Lines may hold any bytes. A topic that does not exist is created if the broker allows it
    (auto.create.topics.enable). The end of the input or Ctrl-C ends the work, when everything read
    so far has been acknowledged.
    """
    if as_json and key_separator is not None:
        raise click.UsageError("--json and --key-separator exclude each other")
    from ottla.cli.sending import Sending, run_sending  # noqa: PLC0415 -- see above

    sending = Sending(
        topic=topic,
        partition=partition,
        headers=headers,
        acks=acks,
        compression=compression,
        parse=decode_record if as_json else key_parser(key_separator),
        reports_json=as_json,
    )
    return run_sending(sending, connection)
