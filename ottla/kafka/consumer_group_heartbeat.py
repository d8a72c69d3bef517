"""``ConsumerGroupHeartbeat``: all that a member of a consumer group says and is told (KIP-848)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from ottla.cluster.services import GroupsService
from ottla.coordinator import requests as groups
from ottla.kafka.group_requests import client_host
from ottla.kafka.handling import RequestContext
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicId
from ottla.wire.messages.consumer_group_heartbeat import (
    Assignment,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    ResponseTopicPartitions,
)

_UNCHANGED: Final = -1
_OWN_MEMBER_ID_FROM: Final = 1


class ConsumerGroupHeartbeatHandler:
    """Versions 0 and 1."""

    def __init__(self, service: GroupsService) -> None:
        self._groups = service

    async def __call__(
        self, context: RequestContext, request: ConsumerGroupHeartbeatRequest
    ) -> ConsumerGroupHeartbeatResponse:
        """Answer where the member stands."""
        try:
            answer = await self._groups.submit(_heartbeat(context, request))
        except OttlaError as error:
            return ConsumerGroupHeartbeatResponse(error_code=error.code, error_message=str(error))
        return ConsumerGroupHeartbeatResponse(
            member_id=answer.member_id,
            member_epoch=answer.member_epoch,
            heartbeat_interval_ms=answer.heartbeat_interval_ms,
            assignment=_assignment(answer.assignment),
        )


def _heartbeat(
    context: RequestContext, request: ConsumerGroupHeartbeatRequest
) -> groups.ConsumerHeartbeat:
    timeout_ms = request.rebalance_timeout_ms
    owned = request.topic_partitions
    return groups.ConsumerHeartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        member_epoch=request.member_epoch,
        group_instance_id=request.instance_id,
        rack_id=request.rack_id,
        rebalance_timeout_ms=None if timeout_ms == _UNCHANGED else timeout_ms,
        subscribed_topic_names=request.subscribed_topic_names,
        subscribed_topic_regex=request.subscribed_topic_regex,
        server_assignor=request.server_assignor,
        owned=None
        if owned is None
        else {TopicId(topic.topic_id): topic.partitions for topic in owned},
        client_id=context.client_id,
        client_host=client_host(context.connection),
        requires_member_id=context.api_version >= _OWN_MEMBER_ID_FROM,
    )


def _assignment(assignment: Mapping[TopicId, Sequence[int]] | None) -> Assignment | None:
    if assignment is None:
        return None
    return Assignment(
        topic_partitions=[
            ResponseTopicPartitions(topic_id=topic_id, partitions=list(partitions))
            for topic_id, partitions in assignment.items()
        ]
    )
