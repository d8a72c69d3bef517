"""Carrying out moves: plan, show, ask, begin a few at a time, wait for them.

How it stands comes from a watch of the metadata, so that each step follows at once on the one
before it; only how much is copied is asked for now and then. Ctrl-C ends the waiting and nothing
else: the cluster finishes what was begun, and is in a legal state before, during and after.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Final, Never

import click

from ottla.cli.client_loop import run_client
from ottla.cli.connection import Connection
from ottla.cli.failure import CommandError
from ottla.cli.moves import Moving, Picture, brings, loads, picture_of, under_way
from ottla.cli.moves_print import Plan
from ottla.cli.moves_progress import MovesProgress
from ottla.cli.output import say
from ottla.client.admin import Admin
from ottla.client.admin_values import ClusterDescription, PartitionDescription, PlannedMove
from ottla.client.errors import PartialFailureError
from ottla.model.errors import (
    ElectionNotNeededError,
    OttlaError,
    PreferredLeaderNotAvailableError,
)
from ottla.model.ids import TopicPartition
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX, TOPICS_PER_REQUEST_MAX

NAMED_MAX: Final = 5
"""Partitions that a sentence names."""

COPIES_INTERVAL_S: Final = 2.0
"""Between two looks at how large the copies are: every broker tells of all that it has."""


async def look_at(admin: Admin) -> tuple[ClusterDescription, Picture]:
    """Return the brokers and all partitions."""
    cluster = await admin.describe_cluster()
    topics = await admin.describe_topics(include_internal=True)
    return cluster, picture_of(topics)


async def plan_of(
    admin: Admin,
    moves: Iterable[PlannedMove],
    cluster: ClusterDescription,
    picture: Picture,
) -> Plan:
    """Return a plan that consists of ``moves``, with what they mean."""
    moves = list(moves)
    brokers = [broker.broker_id for broker in cluster.brokers]
    serving = [broker.broker_id for broker in cluster.brokers if not broker.is_fenced]
    return Plan(
        moves=moves,
        under_way=under_way(picture),
        loads=loads(brokers, picture, moves),
        sizes=_largest(await _sizes_by_broker(admin, serving)) if moves else {},
    )


def ask_to_go_on(question: str, *, yes: bool) -> None:
    """Ask a person whether to go on; raise if nobody is there to ask, or the answer is no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandError("nothing was changed: nobody is there to ask; --yes goes ahead")
    if not click.confirm(question, err=True):
        raise CommandError("nothing was changed")


def carry_out(
    connection: Connection,
    moves: Sequence[PlannedMove],
    *,
    begun: Sequence[PlannedMove],
    at_once: int,
    go_on_with: str,
) -> Moving:
    """Carry out moves, and wait for those that were ``begun``; return how it ended.

    ``go_on_with`` is the command that goes on where this one was interrupted.
    """

    async def work() -> Moving:
        async with Admin(connection.servers, **connection.options()) as admin:
            moving = Moving(moves, begun=begun, at_once=at_once)
            try:
                await _move(admin, moving)
            except asyncio.CancelledError:
                say(interrupted(moving, go_on_with))
                raise
            return moving

    return run_client(work())


async def elect_preferred(admin: Admin, partitions: Sequence[TopicPartition]) -> None:
    """Let the preferred leaders of partitions lead, where they can."""
    for some in _portions(partitions):
        for name, error in (await _errors_of_election(admin, some)).items():
            if not isinstance(error, ElectionNotNeededError | PreferredLeaderNotAvailableError):
                say(f"{name}: {error}")


def interrupted(moving: Moving, go_on_with: str) -> str:
    """Return what there is to say after Ctrl-C."""
    total = len(moving.done) + len(moving.begun) + len(moving.waiting)
    sentences = [f"interrupted: {len(moving.done):,} of {total:,} partitions have moved"]
    if moving.begun:
        sentences.append(f"the cluster finishes {named(moving.begun)} by itself")
    if moving.waiting:
        sentences.append(f"{len(moving.waiting):,} did not begin")
    advice = f"'{go_on_with}' goes on, 'ottla cluster rebalance --cancel' takes back what began"
    return f"{'; '.join(sentences)}\n{advice}"


def named(moves: Sequence[PlannedMove]) -> str:
    """Return the partitions of moves, the first few by name."""
    names = ", ".join(str(move.topic_partition) for move in moves[:NAMED_MAX])
    more = len(moves) - NAMED_MAX
    return f"{names} and {more:,} more" if more > 0 else names


async def cancel_all(admin: Admin, moves: Sequence[PlannedMove]) -> dict[str, OttlaError]:
    """Take moves back; return what kept some from it."""
    return await _reassign(admin, {move.topic_partition: () for move in moves})


async def reassign(admin: Admin, moves: Sequence[PlannedMove]) -> dict[str, OttlaError]:
    """Begin moves; return why some could not."""
    return await _reassign(admin, {move.topic_partition: move.replicas for move in moves})


async def _reassign(
    admin: Admin, replicas: dict[TopicPartition, tuple[int, ...]]
) -> dict[str, OttlaError]:
    errors: dict[str, OttlaError] = {}
    for some in _portions(list(replicas)):
        try:
            await admin.reassign({partition: replicas[partition] for partition in some})
        except PartialFailureError as error:
            errors |= error.errors
        except OttlaError as error:
            if len(some) > 1 or error.retriable:
                raise
            errors[str(some[0])] = error
    return errors


async def _move(admin: Admin, moving: Moving) -> None:
    moves = [*moving.begun, *moving.waiting]
    if not moves:
        return
    picture = dict((await look_at(admin))[1])
    with MovesProgress(moving, total=len(moves)) as progress:
        looking = asyncio.create_task(_look_at_copies(admin, moving, progress))
        try:
            await _move_all(admin, moving, picture, progress)
        finally:
            looking.cancel()
            await asyncio.wait([looking])
    await elect_preferred(
        admin,
        [
            move.topic_partition
            for move in moving.done
            if picture[move.topic_partition].leader != move.replicas[0]
        ],
    )


async def _move_all(
    admin: Admin,
    moving: Moving,
    picture: dict[TopicPartition, PartitionDescription],
    progress: MovesProgress,
) -> None:
    """Begin one move after another until all have ended; keep ``picture`` up to date."""
    topics = sorted({move.topic_partition.topic for move in (*moving.begun, *moving.waiting)})
    everything = len(topics) > TOPICS_PER_REQUEST_MAX
    async with aclosing(admin.watch_metadata(None if everything else topics)) as changes:
        async for change in changes:
            picture.update(picture_of(change.topics))
            for name in [name for name in picture if name.topic in change.deleted_topics]:
                del picture[name]
            while beginning := moving.step(picture):
                errors = await reassign(admin, beginning)
                for move in beginning:
                    if (error := errors.get(str(move.topic_partition))) is not None:
                        say(f"{move.topic_partition}: {error}")
                        moving.refused(move.topic_partition)
                if not errors:
                    break
            progress.show()
            if moving.is_finished:
                return


async def _look_at_copies(admin: Admin, moving: Moving, progress: MovesProgress) -> Never:
    """Say now and then how much of what moves is there."""
    while True:
        await asyncio.sleep(COPIES_INTERVAL_S)
        copies = [
            (move.topic_partition, broker) for move in moving.begun for broker in brings(move)
        ]
        if not copies:
            continue
        try:
            cluster = await admin.describe_cluster()
        except OttlaError:
            continue  # whoever waits for the moves says it, if that does not pass
        serving = [broker.broker_id for broker in cluster.brokers if not broker.is_fenced]
        sizes = await _sizes_by_broker(admin, serving)
        largest = _largest(sizes)
        progress.copied(
            sum(sizes.get(broker, {}).get(name, 0) for name, broker in copies),
            of_bytes=sum(largest.get(name, 0) for name, _ in copies),
        )


async def _errors_of_election(
    admin: Admin, partitions: Sequence[TopicPartition]
) -> dict[str, OttlaError]:
    try:
        await admin.elect_leaders(partitions)
    except PartialFailureError as error:
        return dict(error.errors)
    except OttlaError as error:
        if len(partitions) > 1:
            raise
        return {str(partitions[0]): error}
    return {}


async def _sizes_by_broker(
    admin: Admin, brokers: Sequence[int]
) -> dict[int, dict[TopicPartition, int]]:
    """Return how large the replicas on brokers are; those that do not answer are left out."""
    answers = await asyncio.gather(*map(admin.describe_broker, brokers), return_exceptions=True)
    sizes: dict[int, dict[TopicPartition, int]] = {}
    for answer in answers:
        if isinstance(answer, OttlaError):
            continue
        if isinstance(answer, BaseException):
            raise answer
        sizes[answer.broker_id] = {
            hosted.topic_partition: hosted.size_bytes
            for directory in answer.log_directories
            for hosted in directory.partitions
        }
    return sizes


def _largest(sizes: Mapping[int, Mapping[TopicPartition, int]]) -> dict[TopicPartition, int]:
    """Return the size of each partition's largest replica, which has everything."""
    largest: dict[TopicPartition, int] = {}
    for replicas in sizes.values():
        for name, size in replicas.items():
            largest[name] = max(size, largest.get(name, 0))
    return largest


def _portions(partitions: Sequence[TopicPartition]) -> Iterable[Sequence[TopicPartition]]:
    for start in range(0, len(partitions), PARTITIONS_PER_REQUEST_MAX):
        yield partitions[start : start + PARTITIONS_PER_REQUEST_MAX]
