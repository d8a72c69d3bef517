"""``ottla certs``: what its subcommand takes; the work is in :mod:`ottla.cli.certs_work`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

BROKERS_MAX: Final = 1_000
DAYS_DEFAULT: Final = 365
DAYS_MAX: Final = 36_500


@click.group
def certs() -> None:
    """Make certificates for mutual TLS."""


@certs.command
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Where the files go. An authority that is there already signs the new ones.",
)
@click.option(
    "--brokers",
    type=click.IntRange(min=1, max=BROKERS_MAX),
    default=3,
    show_default=True,
    metavar="N",
    help="Certificates for broker-0 and so on.",
)
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help="Name or address that brokers are found at, besides localhost and this machine's name; "
    "may be repeated.",
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    metavar="NAME",
    help="A certificate for a client of that name; may be repeated.  [default: client]",
)
@click.option(
    "--days",
    type=click.IntRange(min=1, max=DAYS_MAX),
    default=DAYS_DEFAULT,
    show_default=True,
    metavar="N",
    help="How long they are good for.",
)
def create(
    *, out: Path, brokers: int, hosts: Sequence[str], clients: Sequence[str], days: int
) -> None:
    """Create an authority, and certificates for brokers and clients.

    Good for a test or a small cluster. Nothing is overwritten: what is there already is kept, and
    what is missing is added.
    """
    from ottla.cli.certs_work import create_certificates  # noqa: PLC0415 -- brings OpenSSL along

    create_certificates(
        out, brokers=brokers, hosts=hosts, clients=clients or ("client",), days=days
    )
