"""The work of ``ottla group lag``: what groups have committed beside what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ottla.cli.connection import Connection
from ottla.cli.group_work import existing, with_admin
from ottla.cli.output import print_json, print_table
from ottla.client.admin import Admin
from ottla.client.admin_groups import GroupDescription
from ottla.client.group_offsets import OffsetAndMetadata
from ottla.client.offset_lookup import LATEST
from ottla.model.errors import GroupIdNotFoundError
from ottla.model.ids import TopicPartition


class PartitionLag(NamedTuple):
    """One partition of one group; the field names are the columns."""

    group: str
    topic: str
    partition: int
    committed: int | None
    """``None``: the group reads the partition and has committed nothing yet."""
    end: int | None
    """``None``: the partition is gone."""
    lag: int | None
    member: str


def of_groups(connection: Connection, names: Sequence[str], *, as_json: bool) -> None:
    """Show every partition of some groups."""

    async def ask(admin: Admin) -> list[PartitionLag]:
        return [lag for name in names for lag in await lags_of(admin, name)]

    lags = with_admin(connection, ask)
    if as_json:
        print_json([lag._asdict() for lag in lags])
        return
    print_table(
        PartitionLag._fields, [["-" if cell is None else cell for cell in lag] for lag in lags]
    )


def of_all(connection: Connection, *, as_json: bool) -> None:
    """Show the sum of each group."""

    async def ask(admin: Admin) -> list[tuple[str, str, int, int]]:
        rows = []
        for listing in await admin.list_groups():
            try:
                lags = await lags_of(admin, listing.group_id)
            except GroupIdNotFoundError:
                continue  # it has gone since
            behind = sum(lag.lag or 0 for lag in lags)
            rows.append((listing.group_id, listing.state, len(lags), behind))
        return rows

    columns = ("group", "state", "partitions", "lag")
    rows = with_admin(connection, ask)
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


async def lags_of(admin: Admin, name: str) -> list[PartitionLag]:
    """Return how far a group is in all that it has committed or is reading.

    Raises :exc:`GroupIdNotFoundError`.
    """
    group = await admin.describe_group(name)
    readers = _readers(group)
    committed = await admin.group_offsets(name)
    partitions = sorted({*committed, *readers})
    there = await existing(admin, partitions)
    ends = await admin.list_offsets(dict.fromkeys(there, LATEST)) if there else {}
    return [
        _lag(name, partition, committed.get(partition), found and found.offset, readers)
        for partition in partitions
        for found in (ends.get(partition),)
    ]


def _lag(
    group: str,
    partition: TopicPartition,
    committed: OffsetAndMetadata | None,
    end: int | None,
    readers: dict[TopicPartition, str],
) -> PartitionLag:
    offset = None if committed is None else committed.offset
    return PartitionLag(
        group,
        partition.topic,
        partition.partition,
        offset,
        end,
        None if offset is None or end is None else max(0, end - offset),
        readers.get(partition, "-"),
    )


def _readers(group: GroupDescription) -> dict[TopicPartition, str]:
    return {
        partition: member.instance_id or member.client_id or member.member_id
        for member in group.members
        for partition in member.assignment
    }
