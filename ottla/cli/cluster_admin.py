"""The work of ``ottla cluster elect-leaders``, ``readmit-voter`` and ``config``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

from ottla.cli.cluster_moving import with_admin
from ottla.cli.connection import Connection
from ottla.cli.failure import CommandError
from ottla.cli.moves import Picture, picture_of
from ottla.cli.moves_work import ask_to_go_on
from ottla.cli.output import print_json, print_table, say
from ottla.client.admin import Admin
from ottla.client.admin_values import (
    ConfigChange,
    ConfigEntry,
    ConfigOperation,
    ConfigResource,
    ConfigSource,
    QuorumDescription,
    QuorumNode,
)
from ottla.client.errors import PartialFailureError
from ottla.model.errors import OttlaError
from ottla.model.ids import NO_BROKER, TopicPartition

LINKED_WITHIN_S: Final = 10.0
"""A voter asks again every second or so whether it is let in."""

LINKED_POLL_S: Final = 0.1

_PLACES: Final[Mapping[ConfigSource, str]] = {
    ConfigSource.DYNAMIC_BROKER_CONFIG: "set for this broker",
    ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG: "set for all brokers",
    ConfigSource.STATIC_BROKER_CONFIG: "its configuration",
    ConfigSource.DEFAULT_CONFIG: "default",
}


# --- Leaders --------------------------------------------------------------------------


def elect_preferred_leaders(
    connection: Connection, topics: Sequence[str], *, as_json: bool
) -> None:
    """Let first replicas lead where others do."""

    async def ask(admin: Admin) -> tuple[list[TopicPartition], dict[str, OttlaError]]:
        picture = await _picture(admin, topics)
        others = [name for name, part in picture.items() if part.leader != part.replicas[0]]
        return await _elect(admin, sorted(others), unclean=False)

    _report(*with_admin(connection, ask), as_json=as_json)


def elect_any_leaders(
    connection: Connection, topics: Sequence[str], *, yes: bool, as_json: bool
) -> None:
    """Let any replica lead where nobody does, at the cost of records."""

    async def find(admin: Admin) -> list[TopicPartition]:
        picture = await _picture(admin, topics)
        return sorted(name for name, part in picture.items() if part.leader == NO_BROKER)

    leaderless = with_admin(connection, find)
    if leaderless:
        say(
            f"{len(leaderless):,} partition{'' if len(leaderless) == 1 else 's'} without a leader: "
            "no replica that has everything is alive. Electing another one LOSES every record that "
            "it does not have, also acknowledged ones. Wait instead if the others may come back."
        )
        ask_to_go_on("Lose records to have leaders?", yes=yes)

    async def ask(admin: Admin) -> tuple[list[TopicPartition], dict[str, OttlaError]]:
        return await _elect(admin, leaderless, unclean=True)

    _report(*with_admin(connection, ask), as_json=as_json)


async def _picture(admin: Admin, topics: Sequence[str]) -> Picture:
    return picture_of(await admin.describe_topics(topics or None, include_internal=True))


async def _elect(
    admin: Admin, partitions: Sequence[TopicPartition], *, unclean: bool
) -> tuple[list[TopicPartition], dict[str, OttlaError]]:
    """Return where a leader was elected, and elsewhere why not."""
    try:
        return await admin.elect_leaders(partitions, unclean=unclean), {}
    except PartialFailureError as error:
        return list(error.results), dict(error.errors)
    except OttlaError as error:
        if len(partitions) != 1:
            raise
        return [], {str(partitions[0]): error}


def _report(
    elected: Sequence[TopicPartition], errors: Mapping[str, OttlaError], *, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "elected": list(map(str, elected)),
                "errors": {name: str(error) for name, error in errors.items()},
            }
        )
    elif elected:
        print(f"elected {len(elected):,} leader{'' if len(elected) == 1 else 's'}")
    elif not errors:
        print("nothing to elect: every partition has the leader that it should have")
    if errors:
        raise CommandError("\n".join(f"{name}: {error}" for name, error in errors.items()))


# --- Voters ---------------------------------------------------------------------------


def readmit_voter(connection: Connection, broker_id: int, *, yes: bool) -> None:
    """Let a voter with a new directory vote, having said what that means."""
    node = with_admin(connection, lambda admin: _voter(admin, broker_id))
    offered = node.offered_directory_id
    if offered is None:
        how = "it is linked and votes" if node.is_connected else "it asks for nothing; start it"
        raise CommandError(f"broker {broker_id} is not refused: {how}")
    say(
        f"Broker {broker_id} comes with another data directory ({offered.hex()}) than the one it "
        "voted from. It has forgotten its votes and the metadata that it acknowledged, and copies "
        "both anew. That is safe as long as the other voters have all there is: have them serving, "
        "and readmit one voter at a time. The former directory must never come back."
    )
    ask_to_go_on(f"Let broker {broker_id} vote with the directory it has now?", yes=yes)

    async def readmit(admin: Admin) -> bool:
        await admin.readmit_voter(broker_id, offered)
        deadline_s = time.monotonic() + LINKED_WITHIN_S
        while time.monotonic() < deadline_s:
            found = await _voter(admin, broker_id)
            if found.is_connected and found.offered_directory_id is None:
                return True
            await asyncio.sleep(LINKED_POLL_S)
        return False

    if with_admin(connection, readmit):
        print(f"broker {broker_id} votes again")
    else:
        print(f"broker {broker_id} may vote again")
        say("it has not linked with the others yet; 'ottla cluster status' shows when it has")


async def _voter(admin: Admin, broker_id: int) -> QuorumNode:
    quorum = await _quorum(admin)
    for node in quorum.nodes:
        if node.broker_id == broker_id and node.is_voter:
            return node
    voters = ", ".join(str(node.broker_id) for node in quorum.nodes if node.is_voter)
    raise CommandError(
        f"broker {broker_id} is no voter of the metadata quorum; voters are {voters}"
    )


async def _quorum(admin: Admin) -> QuorumDescription:
    """Return the quorum as its leader sees it, which refuses whom it must; else as anybody does."""
    seen = await admin.describe_quorum()
    if seen.leader_id == NO_BROKER:
        return seen
    try:
        return await admin.describe_quorum(seen.leader_id)
    except OttlaError:
        return seen


# --- Settings -------------------------------------------------------------------------


def list_configs(
    connection: Connection, broker_id: int | None, *, everything: bool, as_json: bool
) -> None:
    """List settings of a broker, or those that were changed for all."""
    resource = _resource(broker_id)

    async def ask(admin: Admin) -> list[ConfigEntry]:
        return (await admin.describe_configs([resource]))[resource]

    entries = [
        entry
        for entry in with_admin(connection, ask)
        if everything or entry.source is not ConfigSource.DEFAULT_CONFIG
    ]
    if as_json:
        print_json(
            {
                entry.key: {
                    "value": entry.value,
                    "source": entry.source.name,
                    "default": entry.default_value,
                    "read_only": entry.is_read_only,
                }
                for entry in entries
            }
        )
        return
    print_table(
        ("setting", "value", "from", "default"),
        [
            (
                entry.key,
                entry.value,
                _PLACES.get(entry.source, entry.source.name),
                entry.default_value,
            )
            for entry in entries
        ],
    )


def set_configs(connection: Connection, broker_id: int | None, configs: Mapping[str, str]) -> None:
    """Change settings of a broker, or the default of all."""
    _alter(connection, broker_id, [ConfigChange(key, value) for key, value in configs.items()])


def unset_configs(connection: Connection, broker_id: int | None, keys: Sequence[str]) -> None:
    """Take changes back."""
    deletions = [ConfigChange(key, operation=ConfigOperation.DELETE) for key in keys]
    _alter(connection, broker_id, deletions)


def _alter(connection: Connection, broker_id: int | None, changes: Sequence[ConfigChange]) -> None:
    resource = _resource(broker_id)
    with_admin(connection, lambda admin: admin.alter_configs({resource: changes}))
    print(f"altered settings of {resource}")


def _resource(broker_id: int | None) -> ConfigResource:
    return ConfigResource.all_brokers() if broker_id is None else ConfigResource.broker(broker_id)
