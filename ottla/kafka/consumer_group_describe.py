"""``ConsumerGroupDescribe``: consumer groups and their members (KIP-848)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.authorized_operations import ALL_OF_GROUP, NOT_ASKED
from ottla.kafka.current_leaders import Cluster
from ottla.kafka.group_requests import of_each
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicId
from ottla.wire.messages.consumer_group_describe import (
    Assignment,
    ConsumerGroupDescribeRequest,
    ConsumerGroupDescribeResponse,
    DescribedGroup,
    Member,
    TopicPartitions,
)

_CONSUMER: Final = 1
"""The type of a member that speaks the protocol of consumer groups."""


class ConsumerGroupDescribeHandler:
    """Versions 0 and 1."""

    def __init__(self, service: GroupsService, cluster: Cluster) -> None:
        self._groups = service
        self._cluster = cluster

    async def __call__(
        self, context: RequestContext, request: ConsumerGroupDescribeRequest
    ) -> ConsumerGroupDescribeResponse:
        """Answer each group by itself."""
        del context
        operations = ALL_OF_GROUP if request.include_authorized_operations else NOT_ASKED

        async def describe(group_id: str) -> DescribedGroup:
            described = self._described(
                await self._groups.submit(groups.DescribeConsumerGroup(group_id=group_id))
            )
            described.authorized_operations = operations
            return described

        def refuse(group_id: str, error: OttlaError) -> DescribedGroup:
            return DescribedGroup(
                group_id=group_id, error_code=error.code, error_message=str(error)
            )

        return ConsumerGroupDescribeResponse(
            groups=await of_each(request.group_ids, describe, refuse)
        )

    def _described(self, group: groups.ConsumerGroupDescription) -> DescribedGroup:
        return DescribedGroup(
            group_id=group.group_id,
            group_state=group.state,
            group_epoch=group.group_epoch,
            assignment_epoch=group.assignment_epoch,
            assignor_name=group.assignor,
            members=[
                Member(
                    member_id=member.member_id,
                    instance_id=member.group_instance_id,
                    rack_id=member.rack_id,
                    member_epoch=member.member_epoch,
                    client_id=member.client_id,
                    client_host=member.client_host,
                    subscribed_topic_names=list(member.subscribed_topic_names),
                    subscribed_topic_regex=member.subscribed_topic_regex,
                    assignment=self._assignment(member.assignment),
                    target_assignment=self._assignment(member.target_assignment),
                    member_type=_CONSUMER,
                )
                for member in group.members
            ],
        )

    def _assignment(self, assignment: Mapping[TopicId, Sequence[int]]) -> Assignment:
        names = self._cluster.image.topic_names
        # What was deleted a moment ago has no name to tell.
        return Assignment(
            topic_partitions=[
                TopicPartitions(
                    topic_id=topic_id, topic_name=names[topic_id], partitions=list(partitions)
                )
                for topic_id, partitions in assignment.items()
                if topic_id in names
            ]
        )
