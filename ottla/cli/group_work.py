"""The work of ``ottla group list``, ``describe`` and ``delete``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TypeVar

from ottla.cli.client_loop import run_client
from ottla.cli.connection import Connection
from ottla.cli.output import print_facts, print_json, print_table, say
from ottla.client.admin import Admin
from ottla.client.admin_groups import GroupDescription, GroupMemberDescription
from ottla.model.errors import GroupIdNotFoundError
from ottla.model.ids import TopicPartition

T = TypeVar("T")


def list_(
    connection: Connection, *, states: Sequence[str], types: Sequence[str], as_json: bool
) -> None:
    """List groups."""
    groups = with_admin(connection, lambda admin: admin.list_groups(states=states, types=types))
    if as_json:
        print_json([asdict(each) for each in groups])
        return
    print_table(
        ("group", "protocol", "state"), [(each.group_id, each.type, each.state) for each in groups]
    )


def describe(connection: Connection, names: Sequence[str], *, as_json: bool) -> None:
    """Describe groups."""

    async def ask(admin: Admin) -> list[GroupDescription]:
        return [await admin.describe_group(name) for name in names]

    groups = with_admin(connection, ask)
    if as_json:
        print_json([_as_document(each) for each in groups])
        return
    for index, each in enumerate(groups):
        if index:
            print()
        print_facts(_facts(each))
        print_table(
            ("member", "client", "host", "reads"),
            [
                (_name_of(member), member.client_id, member.client_host, _reads(member))
                for member in each.members
            ],
        )


def delete(connection: Connection, names: Sequence[str], *, if_exists: bool) -> None:
    """Delete groups; those before one that cannot be deleted stay deleted."""

    async def ask(admin: Admin) -> None:
        for name in names:
            try:
                await admin.delete_group(name)
            except GroupIdNotFoundError:
                if not if_exists:
                    raise
                say(f"there is no group {name}")
            else:
                print(f"deleted group {name}")

    with_admin(connection, ask)


def with_admin(connection: Connection, ask: Callable[[Admin], Awaitable[T]]) -> T:
    """Run what asks brokers."""

    async def run() -> T:
        async with Admin(connection.servers, **connection.options()) as admin:
            return await ask(admin)

    return run_client(run())


async def existing(admin: Admin, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
    """Return those that exist: a group may have committed for a topic that is gone."""
    counts = {
        topic.name: len(topic.partitions)
        for topic in await admin.describe_topics(None, include_internal=True)
    }
    return [each for each in partitions if each.partition < counts.get(each.topic, 0)]


def partitions_text(partitions: Iterable[TopicPartition]) -> str:
    """Return partitions as people read them: ``web 0-3,5; logs 0``."""
    by_topic: dict[str, list[int]] = defaultdict(list)
    for topic, number in sorted(partitions):
        by_topic[topic].append(number)
    return "; ".join(f"{topic} {_ranges(numbers)}" for topic, numbers in by_topic.items())


def _ranges(numbers: Sequence[int]) -> str:
    pieces: list[list[int]] = []
    for number in numbers:
        if pieces and pieces[-1][1] == number - 1:
            pieces[-1][1] = number
        else:
            pieces.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in pieces)


def _facts(group: GroupDescription) -> dict[str, object]:
    return {
        "group": group.group_id,
        "protocol": group.type,
        "state": group.state,
        "assignor": group.assignor or "none",
        "coordinator": f"broker {group.coordinator_id}",
        "members": len(group.members),
    }


def _name_of(member: GroupMemberDescription) -> str:
    return f"{member.instance_id} ({member.member_id})" if member.instance_id else member.member_id


def _reads(member: GroupMemberDescription) -> str:
    text = partitions_text(member.assignment) or "nothing"
    coming = member.target - member.assignment if member.target else frozenset()
    return f"{text} (soon: {partitions_text(coming)})" if coming else text


def _as_document(group: GroupDescription) -> dict[str, object]:
    document = asdict(group)
    for member, described in zip(document["members"], group.members, strict=True):
        for key in ("assignment", "target"):
            member[key] = [
                {"topic": topic, "partition": number}
                for topic, number in sorted(getattr(described, key))
            ]
    return document
