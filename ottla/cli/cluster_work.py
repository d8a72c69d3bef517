"""The work of ``ottla cluster``: asking the brokers and printing."""

from __future__ import annotations

import asyncio
import sys
from typing import Final, Never

from ottla.cli.client_loop import in_words_of_the_command_line, run_client
from ottla.cli.cluster_print import print_status, print_status_json
from ottla.cli.cluster_status import ClusterStatus, cluster_status
from ottla.cli.connection import Connection
from ottla.cli.output import say
from ottla.client.admin import Admin
from ottla.model.errors import OttlaError

_HOME_AND_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


def status(connection: Connection, *, as_json: bool) -> int:
    """Print how the cluster is; return the exit status."""

    async def ask() -> ClusterStatus:
        async with _admin(connection) as admin:
            return await _ask(admin)

    found = run_client(ask())
    _print(found, as_json=as_json)
    return 0 if found.is_available else 1


def watch(connection: Connection, *, interval_s: float, as_json: bool) -> Never:
    """Print how the cluster is, again and again; Ctrl-C ends it.

    A cluster that does not answer is told and asked again: that is when somebody watches.
    """

    async def keep_asking() -> Never:
        async with _admin(connection) as admin:
            while True:
                try:
                    found = await _ask(admin)
                except OttlaError as error:
                    say(f"ottla: {in_words_of_the_command_line(str(error))}")
                else:
                    if sys.stdout.isatty() and not as_json:
                        sys.stdout.write(_HOME_AND_CLEAR)
                    _print(found, as_json=as_json)
                    sys.stdout.flush()
                await asyncio.sleep(interval_s)

    run_client(keep_asking())


def _admin(connection: Connection) -> Admin:
    return Admin(connection.servers, **connection.options())


async def _ask(admin: Admin) -> ClusterStatus:
    cluster = await admin.describe_cluster()
    topics = await admin.describe_topics(include_internal=True)
    try:
        # It has links with all voters; another one may have none but with it.
        quorum = await admin.describe_quorum(cluster.controller_id)
    except OttlaError:
        quorum = await admin.describe_quorum()
    return cluster_status(cluster, topics, quorum)


def _print(found: ClusterStatus, *, as_json: bool) -> None:
    if as_json:
        print_status_json(found)
    else:
        print_status(found)
