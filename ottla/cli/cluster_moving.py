"""The work of ``ottla cluster rebalance``, ``drain``, ``undrain`` and ``remove``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from ottla.cli.client_loop import run_client
from ottla.cli.connection import Connection
from ottla.cli.failure import CommandError
from ottla.cli.moves import Moving, Picture, only_of, under_way
from ottla.cli.moves_print import Plan, print_plan, summary
from ottla.cli.moves_work import ask_to_go_on, cancel_all, carry_out, look_at, named, plan_of
from ottla.cli.output import print_json, say
from ottla.client.admin import Admin
from ottla.client.admin_values import PlannedMove

T = TypeVar("T")


def rebalance(
    connection: Connection,
    *,
    brokers: Collection[int],
    at_once: int,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Give every broker its share: show the plan, ask, act."""

    async def plan(admin: Admin) -> Plan:
        moves = await admin.plan_rebalancing()
        if brokers:
            moves = only_of(moves, brokers)
        return await plan_of(admin, moves, *await look_at(admin))

    planned = with_admin(connection, plan)
    if not planned.moves and not planned.under_way:
        if as_json:
            print_plan(planned, as_json=True)
        else:
            print("nothing to move: every broker has its share")
        return
    print_plan(planned, as_json=as_json)
    if dry_run:
        return
    ask_to_go_on(f"{summary(planned)}. Go ahead?", yes=yes)
    moving = carry_out(
        connection,
        planned.moves,
        begun=planned.under_way,
        at_once=at_once,
        go_on_with="ottla cluster rebalance",
    )
    report(moving, as_json=as_json)


def cancel(connection: Connection, *, as_json: bool) -> None:
    """Take back all moves that are under way."""

    async def ask(admin: Admin) -> tuple[list[PlannedMove], dict[str, str]]:
        moves = under_way((await look_at(admin))[1])
        errors = await cancel_all(admin, moves) if moves else {}
        return moves, {name: str(error) for name, error in errors.items()}

    report_cancelled(*with_admin(connection, ask), as_json=as_json)


def drain(
    connection: Connection,
    broker_id: int,
    *,
    at_once: int,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Move everything that a broker has to others."""

    async def plan(admin: Admin) -> tuple[Plan, Picture]:
        moves = only_of(await admin.plan_rebalancing(draining=[broker_id]), [broker_id])
        cluster, picture = await look_at(admin)
        return await plan_of(admin, moves, cluster, picture), picture

    async def begin(admin: Admin) -> None:
        await admin.set_draining(broker_id, draining=True)

    planned, picture = with_admin(connection, plan)
    begun = only_of(planned.under_way, [broker_id])
    print_plan(planned, as_json=as_json)
    moving_away = {move.topic_partition for move in (*planned.moves, *begun)}
    staying = [n for n, p in picture.items() if broker_id in p.replicas and n not in moving_away]
    if staying:
        say(_why_staying(broker_id, len(staying)))
    if dry_run:
        return
    ask_to_go_on(f"Drain broker {broker_id}: {summary(planned)}. Go ahead?", yes=yes)
    with_admin(connection, begin)
    moving = carry_out(
        connection,
        planned.moves,
        begun=begun,
        at_once=at_once,
        go_on_with=f"ottla cluster drain {broker_id}",
    )
    report(moving, as_json=as_json)
    left = with_admin(connection, lambda admin: _replicas_on(admin, broker_id))
    if left:
        raise CommandError(_why_staying(broker_id, left))
    say(
        f"broker {broker_id} has no replicas and gets none: stop it, then "
        f"'ottla cluster remove {broker_id}' has the cluster forget it"
    )


def undrain(connection: Connection, broker_id: int) -> None:
    """Let a broker have replicas again."""
    with_admin(connection, lambda admin: admin.set_draining(broker_id, draining=False))
    print(f"broker {broker_id} may have replicas again")
    say("'ottla cluster rebalance' gives it its share")


def remove(connection: Connection, broker_id: int) -> None:
    """Have the cluster forget a broker that is gone for good."""
    with_admin(connection, lambda admin: admin.unregister_broker(broker_id))
    print(f"removed broker {broker_id}")


def with_admin(connection: Connection, ask: Callable[[Admin], Awaitable[T]]) -> T:
    """Ask what there is to ask, on an event loop of its own."""

    async def run() -> T:
        async with Admin(connection.servers, **connection.options()) as admin:
            return await ask(admin)

    return run_client(run())


def report(moving: Moving, *, as_json: bool) -> None:
    """Say what became of moves; raise if not all of them were made."""
    done, dropped = (
        [str(move.topic_partition) for move in moves] for moves in (moving.done, moving.dropped)
    )
    if as_json:
        print_json({"moved": done, "not_moved": dropped})
    else:
        print(f"moved {len(done):,} partition{'' if len(done) == 1 else 's'}")
    if moving.dropped:
        raise CommandError(
            f"{named(moving.dropped)} did not move: refused, cancelled, or deleted meanwhile"
        )


def report_cancelled(
    moves: Sequence[PlannedMove], errors: Mapping[str, str], *, as_json: bool
) -> None:
    """Say which of ``moves`` were taken back; raise if some could not be."""
    cancelled = [move for move in moves if str(move.topic_partition) not in errors]
    if as_json:
        print_json({"cancelled": [str(move.topic_partition) for move in cancelled]})
    elif cancelled:
        print(f"cancelled: {named(cancelled)}")
    elif not moves:
        print("nothing is being moved")
    for name, error in errors.items():
        say(f"{name}: {error}")
    if errors:
        raise CommandError(f"{len(errors):,} of {len(moves):,} moves could not be cancelled")


async def _replicas_on(admin: Admin, broker_id: int) -> int:
    _, picture = await look_at(admin)
    return sum(broker_id in part.replicas for part in picture.values())


def _why_staying(broker_id: int, count: int) -> str:
    return (
        f"{count:,} replica{'' if count == 1 else 's'} of broker {broker_id} cannot move: every "
        "other broker that serves and is not draining has one of that partition; add a broker"
    )
