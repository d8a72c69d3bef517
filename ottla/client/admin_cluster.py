"""Administration of the cluster itself: the quorum, brokers, who replicates and leads what.

The methods of :class:`ottla.client.Admin` that have these names say what they do and raise.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence

import grpc

from ottla.client import admin_convert
from ottla.client.addresses import Address
from ottla.client.admin_session import AdminSession, Answers, results_of
from ottla.client.admin_values import MetadataChange, PlannedMove, QuorumDescription
from ottla.client.backoff import Backoff
from ottla.client.errors import BrokerUnavailableError
from ottla.client.rpc import error_from_message, error_from_status
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition
from ottla.v1 import cluster_pb2


async def describe_quorum(session: AdminSession, broker_id: int | None) -> QuorumDescription:
    """See :class:`~ottla.client.Admin`."""
    request = cluster_pb2.DescribeQuorumRequest()
    if broker_id is None:
        answer = await session.call_any(lambda broker: broker.cluster.DescribeQuorum, request)
    else:
        answer = await session.call_one(
            broker_id, lambda broker: broker.cluster.DescribeQuorum, request
        )
    return admin_convert.quorum_description(answer)


async def reassign(session: AdminSession, replicas: Mapping[TopicPartition, Sequence[int]]) -> None:
    """See :class:`~ottla.client.Admin`."""
    answer = await session.call_any(
        lambda broker: broker.cluster.Reassign,
        cluster_pb2.ReassignRequest(
            partitions=[
                cluster_pb2.ReassignRequest.Partition(
                    topic=partition.topic, partition=partition.partition, replicas=brokers
                )
                for partition, brokers in replicas.items()
            ]
        ),
    )
    results_of([str(partition) for partition in replicas], _answers(answer))


async def plan_rebalancing(session: AdminSession, draining: Sequence[int]) -> list[PlannedMove]:
    """See :class:`~ottla.client.Admin`."""
    answer = await session.call_any(
        lambda broker: broker.cluster.PlanRebalancing,
        cluster_pb2.PlanRebalancingRequest(draining=draining),
    )
    return [admin_convert.planned_move(each) for each in answer.moves]


async def elect_leaders(
    session: AdminSession, partitions: Sequence[TopicPartition] | None, *, unclean: bool
) -> list[TopicPartition]:
    """See :class:`~ottla.client.Admin`."""
    if partitions is not None and not partitions:
        return []  # no names in the request would mean all
    answer = await session.call_any(
        lambda broker: broker.cluster.ElectLeaders,
        cluster_pb2.ElectLeadersRequest(
            partitions=[
                cluster_pb2.TopicPartitionName(topic=topic, partition=number)
                for topic, number in partitions or ()
            ],
            unclean=unclean,
        ),
    )
    answers = _answers(answer)
    return results_of(list(answers) if partitions is None else list(map(str, partitions)), answers)


async def set_draining(session: AdminSession, broker_id: int, *, draining: bool) -> None:
    """See :class:`~ottla.client.Admin`."""
    await session.call_any(
        lambda broker: broker.cluster.SetDraining,
        cluster_pb2.SetDrainingRequest(broker_id=broker_id, draining=draining),
    )


async def unregister_broker(session: AdminSession, broker_id: int) -> None:
    """See :class:`~ottla.client.Admin`."""
    await session.call_any(
        lambda broker: broker.cluster.UnregisterBroker,
        cluster_pb2.UnregisterBrokerRequest(broker_id=broker_id),
    )


async def readmit_voter(session: AdminSession, broker_id: int, directory_id: bytes) -> None:
    """See :class:`~ottla.client.Admin`."""
    await session.call_any(
        lambda broker: broker.cluster.ReadmitVoter,
        cluster_pb2.ReadmitVoterRequest(broker_id=broker_id, directory_id=directory_id),
    )


async def watch_metadata(
    session: AdminSession, topics: Sequence[str]
) -> AsyncGenerator[MetadataChange]:
    """See :class:`~ottla.client.Admin`."""
    settings = session.settings
    backoff = Backoff(settings.retry_backoff_ms, settings.retry_backoff_max_ms)
    turn = 0
    while True:
        addresses = session.metadata.addresses()
        address = addresses[turn % len(addresses)]
        turn += 1
        watch = session.connections.to(address).cluster.WatchMetadata(
            cluster_pb2.WatchMetadataRequest(topics=topics)
        )
        try:
            while True:
                answer = await _read(watch, address)
                backoff.succeeded()
                yield admin_convert.metadata_change(answer)
        except OttlaError as error:
            if not error.retriable:
                raise
        finally:
            watch.cancel()
        await asyncio.sleep(backoff.next_delay_ms() / 1000)


async def _read(
    watch: grpc.aio.UnaryStreamCall[
        cluster_pb2.WatchMetadataRequest, cluster_pb2.WatchMetadataResponse
    ],
    address: Address,
) -> cluster_pb2.WatchMetadataResponse:
    # In a task of its own, for gRPC may swallow the cancellation of whoever waits for an answer.
    reading = asyncio.ensure_future(watch.read())
    try:
        await asyncio.wait((reading,))
    except asyncio.CancelledError:
        watch.cancel()
        await asyncio.wait((reading,))
        raise
    try:
        answer = reading.result()
    except grpc.aio.AioRpcError as error:
        raise error_from_status(error, address) from error
    if not isinstance(answer, cluster_pb2.WatchMetadataResponse):
        raise BrokerUnavailableError(f"the broker at {address} closed the stream")
    return answer


def _answers(response: cluster_pb2.PartitionResultsResponse) -> Answers[TopicPartition]:
    return {
        str(partition): error_from_message(result.error) if result.error.code else partition
        for result in response.results
        for partition in (TopicPartition(result.topic, result.partition),)
    }
