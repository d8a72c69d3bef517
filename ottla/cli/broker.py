"""``ottla broker``: one broker in this process, told everything by settings.

For servers and containers, where something else starts, watches and stops processes; on one
machine ``ottla up`` does that. The work is in :mod:`ottla.cli.serving`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ottla.cli.broker_options import Sources, data_option, load, source_options
from ottla.config.sources import Found


@click.command
@data_option("Keep data in DIR/broker-<node.id>.")
@source_options
@click.option("--supervised", is_flag=True, hidden=True)
def broker(
    *,
    data: Path | None,
    config_file: Path | None,
    settings: Sequence[Found],
    as_json: bool,
    supervised: bool,
) -> int:
    """Run one broker until stopped with SIGTERM or Ctrl-C.

    Settings come from a file, from the environment (OTTLA_NODE_ID=1) and from --set, the later
    outranking the earlier; docs/configuration.md lists them. A broker of several needs at least
    node.id and controller.quorum.voters.
    """
    config = load(Sources(config_file, settings, data))
    from ottla.cli.serving import serve  # noqa: PLC0415 -- brings the broker along

    return serve(config, as_json=as_json, by_flags=False, supervised=supervised)
