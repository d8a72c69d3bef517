"""``ottla simulate``: what it takes; the work is in :mod:`ottla.cli.simulate_work`."""

from __future__ import annotations

import re

import click

_SEEDS = re.compile(r"(\d+)(?:-(\d+))?\Z")


def _as_seeds(context: click.Context, parameter: click.Parameter, value: str) -> range:
    match = _SEEDS.match(value)
    if match is None or int(match[1]) > int(match[2] or match[1]):
        raise click.BadParameter("give a seed, or a range as 1-200", context, parameter)
    return range(int(match[1]), int(match[2] or match[1]) + 1)


@click.command
@click.option(
    "--seeds",
    default="1-20",
    show_default=True,
    callback=_as_seeds,
    metavar="A-B",
    help="Which histories to play; each number gives the same one again.",
)
@click.option("--verbose", is_flag=True, help="Show what happened in every history.")
@click.option(
    "--fault",
    metavar="NAME",
    help="Plant a known fault in the brokers, to see that it is found; 'list' names them.",
)
def simulate(seeds: range, *, verbose: bool, fault: str | None) -> int:
    """Play whole clusters through crashes, partitions and full disks, in virtual time.

    Every broker runs its real state machines on a simulated disk, network and clock. Exit status 1
    if any history broke a promise; the last events and the command that plays it again are shown.
    """
    from ottla.cli.simulate_work import play  # noqa: PLC0415 -- brings the whole broker along

    return play(seeds, verbose=verbose, fault=fault)
