"""A plan to move partitions, as a person reads it, and as programs do.

At a terminal: what it comes to, a table of the moves, a table of the brokers. In a pipe, one line
for each of these, its kind first, tabs between the cells::

    move    partition  replicas now  replicas then  bytes to copy
    broker  id  replicas now  replicas then  leaders now  leaders then
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ottla.cli.moves import BrokerLoad, brings, takes
from ottla.cli.output import ByteCount, as_size, print_json, print_table
from ottla.client.admin_values import PlannedMove
from ottla.model.ids import TopicPartition

LISTED_MAX: Final = 20

_MOVE_COLUMNS: Final = ("partition", "from", "to", "size")
_LOAD_COLUMNS: Final = ("broker", "replicas", "then", "leaders", "then")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to move, and what it changes."""

    moves: Sequence[PlannedMove]
    under_way: Sequence[PlannedMove]
    """Begun by somebody before, and not finished."""
    loads: Sequence[BrokerLoad]
    sizes: Mapping[TopicPartition, int]
    """In bytes, as far as they are known."""

    def bytes_to_copy(self, move: PlannedMove) -> int | None:
        """Return what a move copies; ``None`` if nobody said how large the partition is."""
        copies = len(brings(move))
        size = self.sizes.get(move.topic_partition)
        return 0 if not copies else None if size is None else copies * size


def print_plan(plan: Plan, *, as_json: bool) -> None:
    """Print a plan, for a person if one is there."""
    if as_json:
        print_json(_as_document(plan))
        return
    if not sys.stdout.isatty():
        print_table((), list(_lines(plan)))
        return
    print(summary(plan))
    print_table(_MOVE_COLUMNS, [_row(plan, move) for move in plan.moves[:LISTED_MAX]])
    if (more := len(plan.moves) - LISTED_MAX) > 0:
        print(f"and {more:,} more\n")
    print_table(_LOAD_COLUMNS, [_load_row(load) for load in plan.loads])


def summary(plan: Plan) -> str:
    """Return in a sentence what a plan comes to."""
    copying = [move for move in plan.moves if brings(move)]
    reordered = [move for move in plan.moves if not brings(move) and not takes(move)]
    others = len(plan.moves) - len(copying) - len(reordered)
    known = [size for move in copying if (size := plan.bytes_to_copy(move)) is not None]
    unknown = "" if len(known) == len(copying) else ", those of unknown size not counted"
    parts = []
    if copying:
        parts.append(f"{_partitions(len(copying))} to copy, {as_size(sum(known))}{unknown}")
    if others:
        parts.append(f"{_partitions(others)} to have fewer replicas")
    if reordered:
        parts.append(f"{_partitions(len(reordered))} to be led by another broker")
    if plan.under_way:
        parts.append(f"{_partitions(len(plan.under_way))} on the move already")
    return "; ".join(parts) or "nothing to move"


def _row(plan: Plan, move: PlannedMove) -> Sequence[object]:
    if not brings(move) and not takes(move):
        lead = f"led by {move.replicas_before[0]}", f"led by {move.replicas[0]}"
        return (_name(move), *lead, "")
    size = plan.sizes.get(move.topic_partition)
    return (
        _name(move),
        ",".join(map(str, takes(move))),
        ",".join(map(str, brings(move))),
        "?" if size is None else ByteCount(size),
    )


def _lines(plan: Plan) -> Iterable[Sequence[object]]:
    for move in plan.moves:
        size = plan.bytes_to_copy(move)
        before, after = (
            ",".join(map(str, brokers)) for brokers in (move.replicas_before, move.replicas)
        )
        yield ("move", _name(move), before, after, "?" if size is None else size)
    for load in plan.loads:
        yield ("broker", *_load_row(load))


def _load_row(load: BrokerLoad) -> Sequence[object]:
    return (
        load.broker_id,
        load.replicas_before,
        load.replicas,
        load.leaders_before,
        load.leaders,
    )


def _as_document(plan: Plan) -> dict[str, object]:
    return {
        "moves": [
            {
                "topic": move.topic_partition.topic,
                "partition": move.topic_partition.partition,
                "replicas_before": move.replicas_before,
                "replicas": move.replicas,
                "bytes": plan.bytes_to_copy(move),
            }
            for move in plan.moves
        ],
        "under_way": [_name(move) for move in plan.under_way],
        "brokers": [
            {
                "broker_id": load.broker_id,
                "replicas_before": load.replicas_before,
                "replicas": load.replicas,
                "leaders_before": load.leaders_before,
                "leaders": load.leaders,
            }
            for load in plan.loads
        ],
    }


def _name(move: PlannedMove) -> str:
    return str(move.topic_partition)


def _partitions(count: int) -> str:
    return f"{count:,} partition{'' if count == 1 else 's'}"
