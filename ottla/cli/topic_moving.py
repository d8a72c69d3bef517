"""The work of ``ottla topic reassign``."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ottla.cli.cluster_moving import report, report_cancelled, with_admin
from ottla.cli.connection import Connection
from ottla.cli.failure import CommandError
from ottla.cli.moves import picture_of, under_way
from ottla.cli.moves_work import cancel_all, carry_out
from ottla.cli.moves_work import reassign as begin_moves
from ottla.cli.output import print_json
from ottla.client.admin import Admin
from ottla.client.admin_values import PlannedMove
from ottla.model.ids import TopicPartition


def reassign(
    connection: Connection,
    topic: str,
    partitions: Sequence[int],
    replicas: Sequence[int],
    *,
    wait: bool,
    as_json: bool,
) -> None:
    """Move partitions to brokers, and ``wait`` until they are there."""

    async def begin(admin: Admin) -> tuple[list[PlannedMove], dict[str, str]]:
        picture = picture_of(await admin.describe_topics([topic]))
        moves = []
        for number in dict.fromkeys(partitions):
            name = TopicPartition(topic, number)
            before = picture[name].replicas if name in picture else ()
            moves.append(
                PlannedMove(topic_partition=name, replicas_before=before, replicas=tuple(replicas))
            )
        errors = await begin_moves(admin, moves)
        return moves, {name: str(error) for name, error in errors.items()}

    moves, errors = with_admin(connection, begin)
    begun = [move for move in moves if str(move.topic_partition) not in errors]
    if errors and not begun:
        raise CommandError("\n".join(f"{name}: {error}" for name, error in errors.items()))
    if wait:
        moving = carry_out(
            connection, [], begun=begun, at_once=1, go_on_with=f"ottla topic describe {topic}"
        )
        report(moving, as_json=as_json)
    elif as_json:
        print_json({"begun": [str(move.topic_partition) for move in begun]})
    else:
        print(f"begun; 'ottla topic describe {topic}' shows how far it is")
    if errors:
        raise CommandError("\n".join(f"{name}: {error}" for name, error in errors.items()))


def cancel(
    connection: Connection, topic: str, partitions: Collection[int], *, as_json: bool
) -> None:
    """Take back the moves of a topic that are under way."""

    async def ask(admin: Admin) -> tuple[list[PlannedMove], dict[str, str]]:
        moves = [
            move
            for move in under_way(picture_of(await admin.describe_topics([topic])))
            if not partitions or move.topic_partition.partition in partitions
        ]
        errors = await cancel_all(admin, moves) if moves else {}
        return moves, {name: str(error) for name, error in errors.items()}

    report_cancelled(*with_admin(connection, ask), as_json=as_json)
