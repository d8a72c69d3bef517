"""A cluster's status as a person reads it, and as programs do.

At a terminal: facts, a table of the brokers, a table of the partitions that need attention. In a
pipe, one line for each of these, its kind first, tabs between the cells::

    cluster             ID  controller  topics  partitions  under-replicated  offline  moving
    quorum              leader  term  voters  linked voters
    broker              id  address  rack  state  leaders  replicas  part in the quorum
    offline             partition  leader  replicas  in sync
    under-replicated    (likewise)

A cluster can have more partitions in trouble than anybody reads: :data:`LISTED_MAX` of each kind
are listed for a person; programs get all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Final

from ottla.cli.cluster_status import ClusterStatus, PartitionStatus
from ottla.cli.output import print_facts, print_json, print_table
from ottla.model.ids import NO_BROKER

LISTED_MAX: Final = 20

_BROKER_COLUMNS: Final = ("broker", "address", "rack", "state", "leaders", "replicas", "metadata")
_PARTITION_COLUMNS: Final = ("partition", "leader", "replicas", "in sync")


def print_status(status: ClusterStatus) -> None:
    """Print the status, for a person if one is there."""
    if not sys.stdout.isatty():
        print_table((), list(_lines(status)))
        return
    print_facts(_facts(status))
    print()
    print_table(
        _BROKER_COLUMNS, [_broker_row(status, index) for index in range(len(status.brokers))]
    )
    for kind, partitions in _troubles(status):
        if partitions:
            print(f"{len(partitions):,} {kind}")
            print_table(_PARTITION_COLUMNS, [*map(_partition_row, partitions[:LISTED_MAX])])
            if (more := len(partitions) - LISTED_MAX) > 0:
                print(f"and {more:,} more\n")


def print_status_json(status: ClusterStatus) -> None:
    """Print the status for programs."""
    print_json(asdict(status))


def _facts(status: ClusterStatus) -> dict[str, object]:
    quorum = status.quorum
    linked = f"{len(quorum.linked)} of {len(quorum.voters)} voters linked"
    if not quorum.has_majority:
        linked += ": no majority, what follows may be old"
    leader = f"broker {quorum.leader_id} leads" if quorum.leader_id != NO_BROKER else "no leader"
    return {
        "cluster": status.cluster_id,
        "controller": _broker(status.controller_id),
        "quorum": f"{leader}, term {quorum.term:,}, {linked}",
        "topics": status.topics,
        "partitions": f"{status.partitions:,}, {_in_trouble(status)}",
    }


def _in_trouble(status: ClusterStatus) -> str:
    counts = {
        "offline": status.offline_partitions,
        "under-replicated": len(status.under_replicated),
    }
    troubles = [f"{count:,} {kind}" for kind, count in counts.items() if count] or ["all well"]
    if status.moving:
        troubles.append(f"{status.moving:,} on the move")
    return ", ".join(troubles)


def _troubles(status: ClusterStatus) -> Iterable[tuple[str, Sequence[PartitionStatus]]]:
    return (("offline", status.offline), ("under-replicated", status.under_replicated))


def _broker(broker_id: int) -> str:
    return f"broker {broker_id}" if broker_id != NO_BROKER else "none"


def _broker_row(status: ClusterStatus, index: int) -> Sequence[object]:
    broker = status.brokers[index]
    return (
        broker.broker_id,
        broker.address,
        broker.rack,
        broker.state,
        broker.leaders,
        broker.replicas,
        broker.metadata,
    )


def _partition_row(partition: PartitionStatus) -> Sequence[object]:
    return (
        partition.name,
        partition.leader if partition.leader != NO_BROKER else "none",
        ",".join(map(str, partition.replicas)),
        ",".join(map(str, partition.in_sync_replicas)),
    )


def _lines(status: ClusterStatus) -> Iterable[Sequence[object]]:
    yield (
        "cluster",
        status.cluster_id,
        status.controller_id,
        status.topics,
        status.partitions,
        len(status.under_replicated),
        status.offline_partitions,
        status.moving,
    )
    quorum = status.quorum
    yield (
        "quorum",
        quorum.leader_id,
        quorum.term,
        ",".join(map(str, quorum.voters)),
        ",".join(map(str, quorum.linked)),
    )
    for index in range(len(status.brokers)):
        yield ("broker", *_broker_row(status, index))
    for kind, partitions in _troubles(status):
        for partition in partitions:
            yield (kind, *_partition_row(partition))
