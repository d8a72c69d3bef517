"""``ottla.v1.Groups``: consumer groups and their offsets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from ottla.cluster.grpc.calls import Call, Calls
from ottla.cluster.grpc.errors import to_message
from ottla.cluster.grpc.group_description import described
from ottla.cluster.services import Services
from ottla.coordinator.requests import (
    NO_LEADER_EPOCH,
    CommitOffsets,
    ConsumerHeartbeat,
    ConsumerHeartbeatAnswer,
    DeleteGroup,
    DeleteOffsets,
    FetchOffsets,
    ListGroups,
    OffsetToCommit,
)
from ottla.model.errors import CoordinatorNotAvailableError, InvalidRequestError, OttlaError
from ottla.model.ids import LeaderEpoch, Offset, TopicId, TopicPartition
from ottla.model.limits import FETCH_WAIT_MAX_MS, PARTITIONS_PER_REQUEST_MAX
from ottla.runtime.clock import Clock
from ottla.v1 import groups_pb2, groups_pb2_grpc

if TYPE_CHECKING:
    from ottla.cluster.grpc.errors import Context

_TOPIC_ID_BYTES = 16


class GroupsServicer(groups_pb2_grpc.GroupsServicer):
    """Translates; see ``proto/ottla/v1/groups.proto`` for what each method means."""

    def __init__(self, services: Services, clock: Clock, calls: Calls) -> None:
        self._groups = services.groups
        self._cluster = services.cluster
        self._clock = clock
        self._calls = calls

    async def FindCoordinator(
        self, request: groups_pb2.FindCoordinatorRequest, context: Context
    ) -> groups_pb2.FindCoordinatorResponse:
        async with self._calls.call("FindCoordinator", context):
            return await self._find_coordinator(request)

    async def Heartbeat(
        self, request: groups_pb2.GroupHeartbeatRequest, context: Context
    ) -> groups_pb2.GroupHeartbeatResponse:
        async with self._calls.call("Heartbeat", context) as call:
            return await self._heartbeat(request, _host_of(context.peer()), call)

    async def CommitOffsets(
        self, request: groups_pb2.CommitOffsetsRequest, context: Context
    ) -> groups_pb2.CommitOffsetsResponse:
        async with self._calls.call("CommitOffsets", context):
            return await self._commit_offsets(request)

    async def FetchOffsets(
        self, request: groups_pb2.FetchOffsetsRequest, context: Context
    ) -> groups_pb2.FetchOffsetsResponse:
        async with self._calls.call("FetchOffsets", context):
            return await self._fetch_offsets(request)

    async def DeleteOffsets(
        self, request: groups_pb2.DeleteOffsetsRequest, context: Context
    ) -> groups_pb2.DeleteOffsetsResponse:
        async with self._calls.call("DeleteOffsets", context):
            return await self._delete_offsets(request)

    async def ListGroups(
        self, request: groups_pb2.ListGroupsRequest, context: Context
    ) -> groups_pb2.ListGroupsResponse:
        async with self._calls.call("ListGroups", context):
            return await self._list_groups(request)

    async def DescribeGroup(
        self, request: groups_pb2.DescribeGroupRequest, context: Context
    ) -> groups_pb2.DescribeGroupResponse:
        async with self._calls.call("DescribeGroup", context):
            return await described(self._groups, self._cluster.image, request.group_id)

    async def DeleteGroup(
        self, request: groups_pb2.DeleteGroupRequest, context: Context
    ) -> groups_pb2.DeleteGroupResponse:
        async with self._calls.call("DeleteGroup", context):
            await self._groups.submit(DeleteGroup(group_id=request.group_id))
            return groups_pb2.DeleteGroupResponse()

    async def _find_coordinator(
        self, request: groups_pb2.FindCoordinatorRequest
    ) -> groups_pb2.FindCoordinatorResponse:
        broker_id = await self._groups.coordinator_of(request.group_id)
        broker = self._cluster.image.brokers.get(broker_id)
        if broker is None:
            raise CoordinatorNotAvailableError(
                f"broker {broker_id}, which coordinates group {request.group_id!r}, "
                "is not known here yet"
            )
        return groups_pb2.FindCoordinatorResponse(
            broker_id=broker_id, host=broker.host, port=broker.grpc_port
        )

    async def _heartbeat(
        self, request: groups_pb2.GroupHeartbeatRequest, host: str, call: Call
    ) -> groups_pb2.GroupHeartbeatResponse:
        if not 0 <= request.max_wait_ms <= FETCH_WAIT_MAX_MS:
            raise InvalidRequestError(
                f"max_wait_ms is {request.max_wait_ms}: it takes 0 to {FETCH_WAIT_MAX_MS}"
            )
        asked = _heartbeat_in(request, host)
        answer = await self._groups.submit(asked)
        is_member = asked.member_epoch >= 0
        if request.max_wait_ms and is_member and not _is_news(asked, answer):
            began_ms = self._clock.now_ms()
            news = await self._groups.wait_for_news(
                asked.group_id, asked.member_id, timeout_ms=request.max_wait_ms
            )
            call.leave_out((self._clock.now_ms() - began_ms) / 1000)
            if news:
                answer = await self._groups.submit(_nothing_new(asked, answer.member_epoch))
        return self._heartbeat_out(answer)

    def _heartbeat_out(self, answer: ConsumerHeartbeatAnswer) -> groups_pb2.GroupHeartbeatResponse:
        response = groups_pb2.GroupHeartbeatResponse(
            member_id=answer.member_id,
            member_epoch=answer.member_epoch,
            heartbeat_interval_ms=answer.heartbeat_interval_ms,
        )
        if answer.assignment is not None:
            response.assignment.SetInParent()
            names = self._cluster.image.topic_names
            for topic_id, partitions in answer.assignment.items():
                response.assignment.topics.add(
                    topic_id=topic_id.bytes, partitions=partitions, topic=names.get(topic_id, "")
                )
        return response

    async def _commit_offsets(
        self, request: groups_pb2.CommitOffsetsRequest
    ) -> groups_pb2.CommitOffsetsResponse:
        _check_count(len(request.partitions))
        results = await self._groups.submit(
            CommitOffsets(
                group_id=request.group_id,
                member_id=request.member_id,
                generation_or_member_epoch=request.member_epoch if request.member_id else -1,
                offsets=[
                    OffsetToCommit(
                        topic_partition=TopicPartition(one.topic, one.partition),
                        offset=Offset(one.offset),
                        leader_epoch=LeaderEpoch(one.leader_epoch)
                        if one.HasField("leader_epoch")
                        else NO_LEADER_EPOCH,
                        metadata=one.metadata,
                    )
                    for one in request.partitions
                ],
            )
        )
        response = groups_pb2.CommitOffsetsResponse()
        for asked, error in zip(request.partitions, results, strict=True):
            answer = response.partitions.add(topic=asked.topic, partition=asked.partition)
            if error is not None:
                answer.error.CopyFrom(to_message(error))
        return response

    async def _fetch_offsets(
        self, request: groups_pb2.FetchOffsetsRequest
    ) -> groups_pb2.FetchOffsetsResponse:
        _check_count(len(request.partitions))
        committed = await self._groups.submit(
            FetchOffsets(
                group_id=request.group_id,
                partitions=[TopicPartition(one.topic, one.partition) for one in request.partitions]
                or None,
            )
        )
        response = groups_pb2.FetchOffsetsResponse()
        for one in committed:
            answer = response.partitions.add(
                topic=one.topic_partition.topic,
                partition=one.topic_partition.partition,
                offset=one.offset,
                metadata=one.metadata,
                commit_timestamp_ms=one.commit_timestamp_ms,
            )
            if one.leader_epoch != NO_LEADER_EPOCH:
                answer.leader_epoch = one.leader_epoch
            if one.error is not None:
                answer.error.CopyFrom(to_message(one.error))
        return response

    async def _delete_offsets(
        self, request: groups_pb2.DeleteOffsetsRequest
    ) -> groups_pb2.DeleteOffsetsResponse:
        _check_count(len(request.partitions))
        results: Sequence[OttlaError | None] = await self._groups.submit(
            DeleteOffsets(
                group_id=request.group_id,
                partitions=[TopicPartition(one.topic, one.partition) for one in request.partitions],
            )
        )
        response = groups_pb2.DeleteOffsetsResponse()
        for asked, error in zip(request.partitions, results, strict=True):
            answer = response.partitions.add(topic=asked.topic, partition=asked.partition)
            if error is not None:
                answer.error.CopyFrom(to_message(error))
        return response

    async def _list_groups(
        self, request: groups_pb2.ListGroupsRequest
    ) -> groups_pb2.ListGroupsResponse:
        listings = await self._groups.list_groups(
            ListGroups(states=tuple(request.states), types=tuple(request.types))
        )
        response = groups_pb2.ListGroupsResponse()
        for one in listings:
            response.groups.add(
                group_id=one.group_id,
                type=one.group_type.value,
                state=one.state,
                protocol_type=one.protocol_type,
            )
        return response


def _heartbeat_in(request: groups_pb2.GroupHeartbeatRequest, host: str) -> ConsumerHeartbeat:
    subscribed = request.HasField("subscription")
    return ConsumerHeartbeat(
        group_id=request.group_id,
        member_id=request.member_id,
        member_epoch=request.member_epoch,
        group_instance_id=request.instance_id or None,
        rack_id=request.rack or None,
        rebalance_timeout_ms=request.rebalance_timeout_ms or None,
        subscribed_topic_names=list(request.subscription.topics) if subscribed else None,
        subscribed_topic_regex=request.subscription.pattern if subscribed else None,
        server_assignor=request.assignor or None,
        owned=_partitions_in(request.owned.topics) if request.HasField("owned") else None,
        client_id=request.client_id,
        client_host=host,
    )


def _nothing_new(asked: ConsumerHeartbeat, member_epoch: int) -> ConsumerHeartbeat:
    """Return the heartbeat of a member that has nothing to say."""
    return replace(
        asked,
        member_epoch=member_epoch,
        rack_id=None,
        rebalance_timeout_ms=None,
        subscribed_topic_names=None,
        subscribed_topic_regex=None,
        server_assignor=None,
        owned=None,
    )


def _is_news(asked: ConsumerHeartbeat, answer: ConsumerHeartbeatAnswer) -> bool:
    return answer.assignment is not None or answer.member_epoch != asked.member_epoch


def _partitions_in(
    topics: Iterable[groups_pb2.GroupTopicPartitions],
) -> Mapping[TopicId, Sequence[int]]:
    partitions: dict[TopicId, Sequence[int]] = {}
    for topic in topics:
        if len(topic.topic_id) != _TOPIC_ID_BYTES:
            raise InvalidRequestError(
                f"a topic id has {_TOPIC_ID_BYTES} bytes; one here has {len(topic.topic_id)}"
            )
        partitions[TopicId(UUID(bytes=topic.topic_id))] = list(topic.partitions)
    _check_count(sum(map(len, partitions.values())))
    return partitions


def _check_count(partitions: int) -> None:
    if partitions > PARTITIONS_PER_REQUEST_MAX:
        raise InvalidRequestError(
            f"{partitions} partitions in one request; it takes {PARTITIONS_PER_REQUEST_MAX}"
        )


def _host_of(peer: str) -> str:
    """Return the address in what gRPC calls a peer, such as ``ipv4:127.0.0.1:4711``."""
    _, _, address = peer.partition(":")
    host, _, _ = address.rpartition(":")
    return "/" + host.replace("%5B", "").replace("%5D", "").strip("[]")
