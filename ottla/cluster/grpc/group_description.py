"""How the gRPC door describes a group, of either kind."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator.requests import (
    ClassicGroupDescription,
    ConsumerGroupDescription,
    DescribeClassicGroup,
    DescribeConsumerGroup,
    GroupType,
)
from ottla.model.errors import GroupIdNotFoundError
from ottla.model.ids import TopicId
from ottla.model.image import ClusterImage
from ottla.v1 import groups_pb2
from ottla.wire.codec import read_message
from ottla.wire.malformed import MalformedError
from ottla.wire.messages.consumer_protocol_assignment import (
    ConsumerProtocolAssignment,
    TopicPartition,
)

CONSUMER_PROTOCOL: Final = "consumer"

_VERSION: Final = struct.Struct(">h")
_VERSION_MAX: Final = 3


async def described(
    groups: GroupsService, image: ClusterImage, group_id: str
) -> groups_pb2.DescribeGroupResponse:
    """Describe the group, whichever kind it is.

    Raises what :meth:`~ottla.cluster.services.GroupsService.submit` raises, and
    :exc:`GroupIdNotFoundError` if there is no group of this name.
    """
    try:
        response = _consumer_group(
            await groups.submit(DescribeConsumerGroup(group_id=group_id)), image
        )
    except GroupIdNotFoundError:
        response = _classic_group(
            await groups.submit(DescribeClassicGroup(group_id=group_id)), image
        )
    response.coordinator_id = await groups.coordinator_of(group_id)
    return response


def _consumer_group(
    group: ConsumerGroupDescription, image: ClusterImage
) -> groups_pb2.DescribeGroupResponse:
    response = groups_pb2.DescribeGroupResponse(
        group_id=group.group_id,
        type=GroupType.CONSUMER.value,
        state=group.state,
        protocol_type=CONSUMER_PROTOCOL,
        assignor=group.assignor,
        epoch=group.group_epoch,
    )
    for member in group.members:
        described_member = response.members.add(
            member_id=member.member_id,
            instance_id=member.group_instance_id or "",
            client_id=member.client_id,
            client_host=member.client_host,
            rack=member.rack_id or "",
            member_epoch=member.member_epoch,
        )
        described_member.subscription.topics.extend(member.subscribed_topic_names)
        described_member.subscription.pattern = member.subscribed_topic_regex or ""
        _add(described_member.assignment, member.assignment, image)
        _add(described_member.target, member.target_assignment, image)
    return response


def _classic_group(
    group: ClassicGroupDescription, image: ClusterImage
) -> groups_pb2.DescribeGroupResponse:
    response = groups_pb2.DescribeGroupResponse(
        group_id=group.group_id,
        type=GroupType.CLASSIC.value,
        state=group.state,
        protocol_type=group.protocol_type,
        assignor=group.protocol_name,
    )
    for member in group.members:
        described_member = response.members.add(
            member_id=member.member_id,
            instance_id=member.group_instance_id or "",
            client_id=member.client_id,
            client_host=member.client_host,
        )
        if group.protocol_type == CONSUMER_PROTOCOL:
            assigned = _assigned(member.assignment)
            for topic in assigned:
                known = image.topics.get(topic.topic)
                described_member.assignment.topics.add(
                    topic=topic.topic,
                    topic_id=b"" if known is None else known.topic_id.bytes,
                    partitions=sorted(topic.partitions),
                )
    return response


def _assigned(assignment: bytes) -> list[TopicPartition]:
    """Return what the leader of a classic group gave a member, as far as it can be read."""
    if len(assignment) < _VERSION.size:
        return []
    (version,) = _VERSION.unpack_from(assignment)
    kind = ConsumerProtocolAssignment
    try:
        # Later versions only add to what earlier ones say.
        message = read_message(kind, min(max(version, 0), _VERSION_MAX), assignment[2:])
    except MalformedError:
        return []
    return message.assigned_partitions


def _add(
    assignment: groups_pb2.GroupAssignment,
    partitions: Mapping[TopicId, Sequence[int]],
    image: ClusterImage,
) -> None:
    for topic_id, numbers in partitions.items():
        assignment.topics.add(
            topic_id=topic_id.bytes,
            partitions=sorted(numbers),
            topic=image.topic_names.get(topic_id, ""),
        )
