"""``ottla log``: what its subcommand takes; the work is in :mod:`ottla.cli.log_work`."""

from __future__ import annotations

from pathlib import Path

import click


@click.group
def log() -> None:
    """Look into the files of a log."""


@log.command
@click.argument("path", type=click.Path(path_type=Path), metavar="DIR-or-FILE")
@click.option("--records", is_flag=True, help="Show and check every record, not only batches.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
def dump(path: Path, *, records: bool, as_json: bool) -> int:
    """Show what is in the files of a log, and whether they are sound.

    Takes a segment, an index, a checkpoint, the directory of a partition, or a whole data
    directory. Changes nothing, and may be used while a broker runs. Exit status 1 if something is
    not sound.
    """
    from ottla.cli.log_work import dump_log  # noqa: PLC0415 -- brings the storage code along

    return dump_log(path, records=records, as_json=as_json)
