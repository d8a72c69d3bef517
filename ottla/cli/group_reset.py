"""The work of ``ottla group reset-offsets``: what would change, a question, a commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ottla.cli.connection import Connection
from ottla.cli.failure import CommandError
from ottla.cli.group_work import existing, with_admin
from ottla.cli.moves_work import ask_to_go_on
from ottla.cli.output import print_json, print_table
from ottla.cli.starting_point import AtTime, Beginning, End
from ottla.client.admin import Admin
from ottla.client.group_offsets import OffsetAndMetadata
from ottla.client.offset_lookup import EARLIEST, LATEST
from ottla.model.errors import GroupIdNotFoundError
from ottla.model.ids import TopicPartition
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX


class ToOffset(NamedTuple):
    """At an offset."""

    offset: int


class Shift(NamedTuple):
    """So far from where the group is; negative: back."""

    offsets: int


Goal = Beginning | End | ToOffset | AtTime | Shift


class Change(NamedTuple):
    """One partition; the field names are the columns."""

    topic: str
    partition: int
    committed: int | None
    new: int
    difference: int | None


def reset(
    connection: Connection,
    name: str,
    *,
    topics: Sequence[str],
    goal: Goal,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Show what would change, ask, and commit."""
    changes = with_admin(connection, lambda admin: plan(admin, name, topics, goal))
    if not changes:
        raise CommandError(
            f"group {name} has committed nothing that could be changed; name a topic with --topic"
        )
    if as_json:
        print_json([change._asdict() for change in changes])
    else:
        print_table(
            Change._fields,
            [["-" if cell is None else cell for cell in change] for change in changes],
        )
    if dry_run:
        return
    ask_to_go_on(f"Commit these {len(changes)} offsets for group {name}?", yes=yes)
    offsets = {TopicPartition(each.topic, each.partition): each.new for each in changes}
    with_admin(connection, lambda admin: admin.alter_group_offsets(name, offsets))
    if not as_json:
        print(f"group {name} goes on at these offsets")


async def plan(admin: Admin, name: str, topics: Sequence[str], goal: Goal) -> list[Change]:
    """Return what would change.

    Raises :exc:`CommandError` if the group has members, or a topic is written in no form that is
    known.
    """
    try:
        members = (await admin.describe_group(name)).members
    except GroupIdNotFoundError:
        members = ()
    if members:
        raise CommandError(
            f"group {name} has members ({len(members)}), who would not notice: stop them first"
        )
    committed = await admin.group_offsets(name)
    if topics:
        partitions = await named(admin, topics)
    else:
        partitions = await existing(admin, sorted(committed))
    if not partitions:
        return []
    goals = await _goals(admin, partitions, goal, committed)
    changes = []
    for partition, new in goals.items():
        before = committed.get(partition)
        offset = None if before is None else before.offset
        difference = None if offset is None else new - offset
        changes.append(Change(partition.topic, partition.partition, offset, new, difference))
    return changes


async def _goals(
    admin: Admin,
    partitions: Sequence[TopicPartition],
    goal: Goal,
    committed: dict[TopicPartition, OffsetAndMetadata | None],
) -> dict[TopicPartition, int]:
    first = await admin.list_offsets(dict.fromkeys(partitions, EARLIEST))
    end = await admin.list_offsets(dict.fromkeys(partitions, LATEST))
    wanted: dict[TopicPartition, int] = {}
    match goal:
        case Beginning():
            wanted = {each: first[each].offset for each in partitions}
        case End():
            wanted = {each: end[each].offset for each in partitions}
        case ToOffset(offset):
            wanted = dict.fromkeys(partitions, offset)
        case AtTime(timestamp_ms):
            found = await admin.list_offsets(dict.fromkeys(partitions, timestamp_ms))
            for each in partitions:
                offset = found[each].offset
                wanted[each] = end[each].offset if offset < 0 else offset
        case Shift(offsets):
            for each in partitions:
                before = committed.get(each)
                if before is None:
                    raise CommandError(
                        f"nothing is committed for {each} that could be shifted; leave it out"
                    )
                wanted[each] = before.offset + offsets
    return {
        each: min(max(offset, first[each].offset), end[each].offset)
        for each, offset in wanted.items()
    }


async def named(admin: Admin, topics: Sequence[str]) -> list[TopicPartition]:
    """Return the partitions that ``TOPIC`` or ``TOPIC:0,3-5`` mean, sorted.

    Raises :exc:`CommandError` for another form, and for a partition that does not exist.
    """
    partitions: set[TopicPartition] = set()
    for text in topics:
        topic, colon, numbers = text.partition(":")
        (described,) = await admin.describe_topics([topic])
        present = range(len(described.partitions))
        wanted = _numbers(numbers, text) if colon else present
        for number in wanted:
            if number not in present:
                raise CommandError(
                    f"--topic {text!r}: {topic} has no partition {number}; it has {len(present)}, "
                    "from 0 on"
                )
            partitions.add(TopicPartition(topic, number))
    return sorted(partitions)


def _numbers(numbers: str, text: str) -> list[int]:
    found: list[int] = []
    for piece in numbers.split(","):
        first, dash, last = piece.partition("-")
        if not (first.isdecimal() and (last.isdecimal() or not dash)):
            raise CommandError(f"--topic {text!r} is not TOPIC:P,P-P, such as web:0,3-5")
        least, most = int(first), int(last or first)
        if most - least >= PARTITIONS_PER_REQUEST_MAX:
            raise CommandError(f"--topic {text!r} names too many partitions at once")
        found.extend(range(least, most + 1))
    return found
