"""Administration of consumer groups.

The methods of :class:`ottla.client.Admin` that have these names say what they do and raise.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ottla.client.admin_session import AdminSession, results_of
from ottla.client.backoff import Backoff
from ottla.client.group_coordinator import GroupCoordinator
from ottla.client.group_offsets import (
    Committer,
    OffsetAndMetadata,
    commit_offsets,
    committed_offsets,
    delete_offsets,
    offsets_to_commit,
)
from ottla.model.errors import BrokerIdNotRegisteredError, OttlaError
from ottla.model.ids import TopicPartition
from ottla.v1 import groups_pb2


@dataclass(frozen=True, slots=True)
class GroupListing:
    """A group in a list."""

    group_id: str
    type: str
    """``classic`` or ``consumer``."""
    state: str
    protocol_type: str
    """``consumer`` for groups that read topics; other systems use groups for their own ends."""


@dataclass(frozen=True, slots=True)
class GroupMemberDescription:
    """One member of a group."""

    member_id: str
    instance_id: str
    client_id: str
    client_host: str
    rack: str
    member_epoch: int
    topics: Sequence[str]
    pattern: str
    assignment: frozenset[TopicPartition]
    target: frozenset[TopicPartition]
    """What it is about to have; of classic groups, empty."""


@dataclass(frozen=True, slots=True)
class GroupDescription:
    """One group with its members."""

    group_id: str
    type: str
    state: str
    protocol_type: str
    assignor: str
    epoch: int
    coordinator_id: int
    members: Sequence[GroupMemberDescription]


async def list_groups(
    session: AdminSession, states: Iterable[str], types: Iterable[str]
) -> list[GroupListing]:
    """See :class:`~ottla.client.Admin`."""
    request = groups_pb2.ListGroupsRequest(states=states, types=types)
    await session.metadata.connect()

    answers = await asyncio.gather(
        *(_listed_by(session, broker_id, request) for broker_id in session.metadata.picture.brokers)
    )
    # Two brokers may both name a group whose coordinator is just changing.
    found = {
        group.group_id: GroupListing(group.group_id, group.type, group.state, group.protocol_type)
        for answer in answers
        if answer is not None
        for group in answer.groups
    }
    return [found[group_id] for group_id in sorted(found)]


async def _listed_by(
    session: AdminSession, broker_id: int, request: groups_pb2.ListGroupsRequest
) -> groups_pb2.ListGroupsResponse | None:
    """Ask one broker until it answers, or is none any more; raise the last error."""
    settings = session.settings
    backoff = Backoff(settings.retry_backoff_ms, settings.retry_backoff_max_ms)
    deadline_s = time.monotonic() + settings.request_timeout_ms / 1000
    while True:
        try:
            return await session.call_one(
                broker_id, lambda connection: connection.groups.ListGroups, request
            )
        except BrokerIdNotRegisteredError:
            return None  # it has gone since, and others coordinate its groups
        except OttlaError as error:
            delay_s = backoff.next_delay_ms() / 1000
            if not error.retriable or time.monotonic() + delay_s >= deadline_s:
                raise
        await asyncio.sleep(delay_s)


async def describe_group(session: AdminSession, group_id: str) -> GroupDescription:
    """See :class:`~ottla.client.Admin`."""
    answer = await _coordinator(session, group_id).ask(
        lambda connection: connection.groups.DescribeGroup,
        groups_pb2.DescribeGroupRequest(group_id=group_id),
    )
    return GroupDescription(
        group_id=answer.group_id,
        type=answer.type,
        state=answer.state,
        protocol_type=answer.protocol_type,
        assignor=answer.assignor,
        epoch=answer.epoch,
        coordinator_id=answer.coordinator_id,
        members=[_member(each) for each in answer.members],
    )


async def delete_group(session: AdminSession, group_id: str) -> None:
    """See :class:`~ottla.client.Admin`."""
    await _coordinator(session, group_id).ask(
        lambda connection: connection.groups.DeleteGroup,
        groups_pb2.DeleteGroupRequest(group_id=group_id),
    )


async def group_offsets(
    session: AdminSession, group_id: str, partitions: Iterable[TopicPartition] | None
) -> dict[TopicPartition, OffsetAndMetadata | None]:
    """See :class:`~ottla.client.Admin`."""
    return await committed_offsets(_coordinator(session, group_id), partitions)


async def alter_group_offsets(
    session: AdminSession,
    group_id: str,
    offsets: Mapping[TopicPartition, int | OffsetAndMetadata],
) -> None:
    """See :class:`~ottla.client.Admin`."""
    await commit_offsets(_coordinator(session, group_id), offsets_to_commit(offsets), Committer())


async def delete_group_offsets(
    session: AdminSession, group_id: str, partitions: Iterable[TopicPartition]
) -> None:
    """See :class:`~ottla.client.Admin`."""
    outcomes = await delete_offsets(_coordinator(session, group_id), partitions)
    answers: dict[str, OttlaError | None] = {str(each): error for each, error in outcomes.items()}
    results_of(list(answers), answers)


def _coordinator(session: AdminSession, group_id: str) -> GroupCoordinator:
    return GroupCoordinator(group_id, session.connections, session.metadata, session.settings)


def _member(member: groups_pb2.DescribeGroupResponse.Member) -> GroupMemberDescription:
    return GroupMemberDescription(
        member_id=member.member_id,
        instance_id=member.instance_id,
        client_id=member.client_id,
        client_host=member.client_host,
        rack=member.rack,
        member_epoch=member.member_epoch,
        topics=list(member.subscription.topics),
        pattern=member.subscription.pattern,
        assignment=_partitions(member.assignment),
        target=_partitions(member.target),
    )


def _partitions(assignment: groups_pb2.GroupAssignment) -> frozenset[TopicPartition]:
    return frozenset(
        TopicPartition(topic.topic, number)
        for topic in assignment.topics
        for number in topic.partitions
    )
