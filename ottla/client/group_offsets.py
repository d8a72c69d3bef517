"""Committed offsets of one group: commit them, ask for them, delete them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple, TypeVar

from ottla.client.group_coordinator import GroupCoordinator
from ottla.client.rpc import error_from_message
from ottla.model.errors import InvalidRequestError, OttlaError
from ottla.model.ids import NO_OFFSET, TopicPartition
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX
from ottla.v1 import groups_pb2

Item = TypeVar("Item")


class OffsetAndMetadata(NamedTuple):
    """How far a group has come in one partition."""

    offset: int
    """Of the next record to read."""

    leader_epoch: int | None = None
    """Of the last record read, if it is known."""

    metadata: str = ""
    """Whatever the application wants to keep with it."""


class Committer(NamedTuple):
    """Who commits: a member with its epoch, or nobody in particular."""

    member_id: str = ""
    member_epoch: int = -1


async def commit_offsets(
    coordinator: GroupCoordinator,
    offsets: Mapping[TopicPartition, OffsetAndMetadata],
    committer: Committer,
) -> None:
    """Commit; raises the first error. What was committed before it stays."""
    for piece in _pieces(offsets.items()):
        request = groups_pb2.CommitOffsetsRequest(
            group_id=coordinator.group_id,
            member_id=committer.member_id,
            member_epoch=committer.member_epoch,
        )
        for partition, committed in piece:
            request.partitions.add(
                topic=partition.topic,
                partition=partition.partition,
                offset=committed.offset,
                leader_epoch=committed.leader_epoch,
                metadata=committed.metadata,
            )
        response = await coordinator.ask(
            lambda connection: connection.groups.CommitOffsets, request
        )
        for answer in response.partitions:
            if answer.HasField("error"):
                raise error_from_message(answer.error)


async def committed_offsets(
    coordinator: GroupCoordinator, partitions: Iterable[TopicPartition] | None
) -> dict[TopicPartition, OffsetAndMetadata | None]:
    """Return what the group has committed for the partitions, or for all (``None``).

    ``None`` for a partition that it has committed nothing for. Raises the first error.
    """
    committed: dict[TopicPartition, OffsetAndMetadata | None] = {}
    pieces: Iterable[list[TopicPartition]] = ([],) if partitions is None else _pieces(partitions)
    for piece in pieces:
        request = groups_pb2.FetchOffsetsRequest(group_id=coordinator.group_id)
        for partition in piece:
            request.partitions.add(topic=partition.topic, partition=partition.partition)
        response = await coordinator.ask(lambda connection: connection.groups.FetchOffsets, request)
        for answer in response.partitions:
            if answer.HasField("error"):
                raise error_from_message(answer.error)
            committed[TopicPartition(answer.topic, answer.partition)] = (
                None
                if answer.offset == NO_OFFSET
                else OffsetAndMetadata(
                    answer.offset,
                    answer.leader_epoch if answer.HasField("leader_epoch") else None,
                    answer.metadata,
                )
            )
    return committed


async def delete_offsets(
    coordinator: GroupCoordinator, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, OttlaError | None]:
    """Delete what the group has committed; return what came of it for each partition."""
    outcomes: dict[TopicPartition, OttlaError | None] = {}
    for piece in _pieces(partitions):
        request = groups_pb2.DeleteOffsetsRequest(group_id=coordinator.group_id)
        for partition in piece:
            request.partitions.add(topic=partition.topic, partition=partition.partition)
        response = await coordinator.ask(
            lambda connection: connection.groups.DeleteOffsets, request
        )
        for answer in response.partitions:
            outcomes[TopicPartition(answer.topic, answer.partition)] = (
                error_from_message(answer.error) if answer.HasField("error") else None
            )
    return outcomes


def offsets_to_commit(
    offsets: Mapping[TopicPartition, int | OffsetAndMetadata],
) -> dict[TopicPartition, OffsetAndMetadata]:
    """Return what an application gave in one form; raise :exc:`InvalidRequestError` if below 0."""
    given: dict[TopicPartition, OffsetAndMetadata] = {}
    for partition, value in offsets.items():
        committed = OffsetAndMetadata(value) if isinstance(value, int) else value
        if committed.offset < 0:
            raise InvalidRequestError(
                f"offset {committed.offset} of {TopicPartition(*partition)} cannot be committed; "
                "offsets begin at 0"
            )
        given[TopicPartition(*partition)] = committed
    return given


def _pieces(items: Iterable[Item]) -> Iterable[list[Item]]:
    rest = iter(items)
    while piece := list(islice(rest, PARTITIONS_PER_REQUEST_MAX)):
        yield piece
