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
    lags = with_admin(connection, lambda admin: lags_of_groups(admin, names))
    if as_json:
        print_json([lag._asdict() for lag in lags])
        return
    print_table(
        PartitionLag._fields, [["-" if cell is None else cell for cell in lag] for lag in lags]
    )


def of_all(connection: Connection, *, as_json: bool) -> None:
    """Show the sum of each group."""
    columns = ("group", "state", "partitions", "lag")
    rows = with_admin(connection, lags_of_all)
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


async def lags_of_groups(admin: Admin, names: Sequence[str]) -> list[PartitionLag]:
    """Return how far groups are in all that they have committed or are reading.

    Raises :exc:`GroupIdNotFoundError`.
    """
    return [lag for lags in (await _lags(admin, names)).values() for lag in lags]


async def lags_of_all(admin: Admin) -> list[tuple[str, str, int, int]]:
    """Return name, state, number of partitions and lag of every group."""
    states = {listing.group_id: listing.state for listing in await admin.list_groups()}
    found = await _lags(admin, list(states), is_strict=False)
    return [
        (name, states[name], len(lags), sum(lag.lag or 0 for lag in lags))
        for name, lags in found.items()
    ]


async def _lags(
    admin: Admin, names: Sequence[str], *, is_strict: bool = True
) -> dict[str, list[PartitionLag]]:
    """Return the lags of several groups; unless ``is_strict``, of those that there are."""
    readers: dict[str, dict[TopicPartition, str]] = {}
    committed: dict[str, dict[TopicPartition, OffsetAndMetadata | None]] = {}
    for name in names:
        try:
            readers[name] = _readers(await admin.describe_group(name))
            committed[name] = await admin.group_offsets(name)
        except GroupIdNotFoundError:
            if is_strict:
                raise
            readers.pop(name, None)  # it has gone since
    partitions = {name: sorted({*committed[name], *readers[name]}) for name in readers}
    # Asked once for all groups, which may read the same topics.
    there = await existing(admin, sorted({each for found in partitions.values() for each in found}))
    ends = await admin.list_offsets(dict.fromkeys(there, LATEST)) if there else {}
    return {
        name: [
            _lag(name, partition, committed[name].get(partition), found and found.offset, its)
            for partition in partitions[name]
            for found in (ends.get(partition),)
        ]
        for name, its in readers.items()
    }


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
