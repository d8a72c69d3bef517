"""Create, describe, change and delete topics; look at brokers and settings; move partitions.

    async with Admin("127.0.0.1:7092") as admin:
        await admin.create_topics([NewTopic("web", partitions=6)])
        for topic in await admin.describe_topics():
            print(topic.name, len(topic.partitions))

Every method raises what went wrong as its own class: :exc:`TopicAlreadyExistsError`,
:exc:`InvalidConfigError`... A request that names several things does all it can first; if one
thing was named, its error is raised, if several, a
:exc:`~ottla.client.errors.PartialFailureError` that has all of them, and what succeeded.

What may pass -- a broker that is away, a controller that moves -- is tried again for
``request_timeout_ms``. A request whose answer was lost may have been carried out; trying it again
can then say, for example, that the topic already exists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self, Unpack

import grpc

from ottla.client import admin_cluster, admin_convert, admin_groups
from ottla.client.admin_groups import GroupDescription, GroupListing
from ottla.client.admin_session import AdminSession, Answers
from ottla.client.admin_values import (
    BrokerDescription,
    ClusterDescription,
    ConfigChange,
    ConfigEntry,
    ConfigResource,
    ConfigResourceType,
    CreatedTopic,
    MetadataChange,
    NewTopic,
    PlannedMove,
    QuorumDescription,
    TopicDescription,
)
from ottla.client.connections import BrokerConnection
from ottla.client.errors import ClientClosedError
from ottla.client.group_offsets import OffsetAndMetadata
from ottla.client.offset_lookup import OffsetFound, OffsetLookup
from ottla.client.rpc import call, error_from_message
from ottla.client.settings import ConnectionOptions, ConnectionSettings, read_settings
from ottla.model.errors import OttlaError
from ottla.model.ids import TopicPartition
from ottla.v1 import cluster_pb2, configs_pb2, log_pb2, topics_pb2


class Admin:
    """Administers a cluster; see the module for errors.

    Args:
        bootstrap_servers: ``host:port`` of one broker or several, by their gRPC ports.
        **options: the settings of :class:`~ottla.client.settings.ConnectionSettings`.

    Raises:
        InvalidConfigError: a setting has a value that makes no sense.
        TypeError: there is no such setting.
    """

    def __init__(
        self,
        bootstrap_servers: str | Iterable[str] = "127.0.0.1:7092",
        **options: Unpack[ConnectionOptions],
    ) -> None:
        self._settings = read_settings(ConnectionSettings, bootstrap_servers, options)
        self._session: AdminSession | None = None

    async def start(self) -> None:
        """Connect; no error if connected already.

        Raises:
            NoBrokersAvailableError: no broker answered within ``connect_timeout_ms``.
            AccessDeniedError: a broker does not let this client in.
        """
        if self._session is None:
            self._session = await AdminSession.start(self._settings)

    async def stop(self) -> None:
        """Disconnect. No error if stopped before."""
        session, self._session = self._session, None
        if session is not None:
            await session.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    # --- Topics -------------------------------------------------------------------------------

    async def create_topics(
        self,
        topics: Iterable[NewTopic],
        *,
        validate_only: bool = False,
        timeout_ms: int = 30_000,
    ) -> list[CreatedTopic]:
        """Create topics, and wait up to ``timeout_ms`` until every partition has a leader.

        With ``validate_only``, check and answer, but create nothing. Errors of a topic:
        TopicAlreadyExistsError, InvalidTopicError, InvalidPartitionsError,
        InvalidReplicationFactorError, InvalidConfigError.
        """

        async def ask(wanted: Sequence[NewTopic]) -> Answers[CreatedTopic]:
            response = await self._usable().call_any(
                lambda broker: broker.topics.CreateTopics,
                topics_pb2.CreateTopicsRequest(
                    topics=[
                        topics_pb2.NewTopic(
                            name=topic.name,
                            partitions=topic.partitions,
                            replication_factor=topic.replication_factor,
                            configs=topic.configs,
                        )
                        for topic in wanted
                    ],
                    validate_only=validate_only,
                    timeout_ms=timeout_ms,
                ),
            )
            return {
                answer.name: error_from_message(answer.error)
                if answer.error.code
                else admin_convert.created_topic(answer)
                for answer in response.topics
            }

        return await self._usable().ask_each(list(topics), lambda topic: topic.name, ask)

    async def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics with all their records. Error: UnknownTopicOrPartitionError."""

        async def ask(wanted: Sequence[str]) -> Answers[None]:
            response = await self._usable().call_any(
                lambda broker: broker.topics.DeleteTopics,
                topics_pb2.DeleteTopicsRequest(names=wanted),
            )
            return {
                answer.name: error_from_message(answer.error) if answer.error.code else None
                for answer in response.topics
            }

        await self._usable().ask_each(list(names), str, ask)

    async def create_partitions(
        self, totals: Mapping[str, int], *, validate_only: bool = False
    ) -> None:
        """Raise the number of partitions of topics to new totals.

        Records stay where they are, so keys may map to other partitions from then on. Errors:
        UnknownTopicOrPartitionError, InvalidPartitionsError.
        """

        async def ask(wanted: Sequence[str]) -> Answers[None]:
            response = await self._usable().call_any(
                lambda broker: broker.topics.CreatePartitions,
                topics_pb2.CreatePartitionsRequest(
                    topics=[
                        topics_pb2.CreatePartitionsRequest.Topic(name=name, partitions=totals[name])
                        for name in wanted
                    ],
                    validate_only=validate_only,
                ),
            )
            return {
                answer.name: error_from_message(answer.error) if answer.error.code else None
                for answer in response.topics
            }

        await self._usable().ask_each(list(totals), str, ask)

    async def list_topics(self, *, include_internal: bool = False) -> list[str]:
        """Return the names of all topics, sorted."""
        topics = await self.describe_topics(include_internal=include_internal)
        return sorted(topic.name for topic in topics)

    async def describe_topics(
        self, names: Iterable[str] | None = None, *, include_internal: bool = False
    ) -> list[TopicDescription]:
        """Describe the topics named, or all of them. Error: UnknownTopicOrPartitionError."""
        wanted = None if names is None else list(names)
        if wanted is None:
            response = await self._usable().call_any(
                lambda broker: broker.topics.DescribeTopics,
                topics_pb2.DescribeTopicsRequest(include_internal=include_internal),
            )
            return [admin_convert.topic_description(answer) for answer in response.topics]

        async def ask(left: Sequence[str]) -> Answers[TopicDescription]:
            response = await self._usable().call_any(
                lambda broker: broker.topics.DescribeTopics,
                topics_pb2.DescribeTopicsRequest(names=left),
            )
            return {
                answer.name: error_from_message(answer.error)
                if answer.error.code
                else admin_convert.topic_description(answer)
                for answer in response.topics
            }

        return await self._usable().ask_each(wanted, str, ask)

    # --- Configuration ------------------------------------------------------------------------

    async def describe_configs(
        self, resources: Iterable[ConfigResource], *, keys: Iterable[str] = ()
    ) -> dict[ConfigResource, list[ConfigEntry]]:
        """Return the settings of topics and brokers; only ``keys``, if any are named.

        A broker is asked for its own. Of the defaults of all brokers, only those that are set are
        returned. Errors: UnknownTopicOrPartitionError, ResourceNotFoundError,
        BrokerIdNotRegisteredError, InvalidConfigError.
        """
        wanted_keys = list(keys)

        async def ask(
            wanted: Sequence[ConfigResource],
        ) -> Answers[tuple[ConfigResource, list[ConfigEntry]]]:
            answers: Answers[tuple[ConfigResource, list[ConfigEntry]]] = {}
            for broker_id, asked in _by_broker(wanted).items():
                request = configs_pb2.DescribeConfigsRequest(
                    resources=[
                        configs_pb2.DescribeConfigsRequest.Resource(
                            resource=_resource(resource), keys=wanted_keys
                        )
                        for resource in asked
                    ]
                )
                response = (
                    await self._usable().call_any(_describe_configs, request)
                    if broker_id is None
                    else await self._usable().call_one(broker_id, _describe_configs, request)
                )
                for resource, answer in zip(asked, response.resources, strict=True):
                    answers[str(resource)] = (
                        error_from_message(answer.error)
                        if answer.error.code
                        else (resource, list(map(admin_convert.config_entry, answer.entries)))
                    )
            return answers

        return dict(await self._usable().ask_each(list(resources), str, ask))

    async def alter_configs(
        self,
        changes: Mapping[ConfigResource, Iterable[ConfigChange]],
        *,
        validate_only: bool = False,
    ) -> None:
        """Change some settings and leave the others; of one resource all changes, or none.

        Of brokers, those can be changed that are not read only, of one broker or as the default of
        all. Errors: UnknownTopicOrPartitionError, BrokerIdNotRegisteredError, InvalidConfigError.
        """
        listed = {resource: list(each) for resource, each in changes.items()}

        async def ask(wanted: Sequence[ConfigResource]) -> Answers[None]:
            response = await self._usable().call_any(
                lambda broker: broker.configs.AlterConfigs,
                configs_pb2.AlterConfigsRequest(
                    resources=[
                        configs_pb2.AlterConfigsRequest.Resource(
                            resource=_resource(resource),
                            changes=[_change(change) for change in listed[resource]],
                        )
                        for resource in wanted
                    ],
                    validate_only=validate_only,
                ),
            )
            return {
                str(resource): error_from_message(answer.error) if answer.error.code else None
                for resource, answer in zip(wanted, response.resources, strict=True)
            }

        await self._usable().ask_each(list(listed), str, ask)

    # --- Cluster ------------------------------------------------------------------------------

    async def describe_cluster(self) -> ClusterDescription:
        """Describe the cluster as a whole."""
        answer = await self._usable().call_any(
            lambda broker: broker.cluster.DescribeCluster, cluster_pb2.DescribeClusterRequest()
        )
        return admin_convert.cluster_description(answer)

    async def describe_broker(self, broker_id: int | None = None) -> BrokerDescription:
        """Describe a broker, asking it; ``None``: whichever answers first.

        Raises BrokerIdNotRegisteredError if there is no such broker, or it is not serving.
        """
        request = cluster_pb2.DescribeBrokerRequest()
        if broker_id is None:
            answer = await self._usable().call_any(
                lambda broker: broker.cluster.DescribeBroker, request
            )
            return admin_convert.broker_description(answer)
        answer = await self._usable().call_one(
            broker_id, lambda broker: broker.cluster.DescribeBroker, request
        )
        return admin_convert.broker_description(answer)

    async def describe_quorum(self, broker_id: int | None = None) -> QuorumDescription:
        """Describe the metadata quorum as a broker sees it; ``None``: whichever answers first."""
        return await admin_cluster.describe_quorum(self._usable(), broker_id)

    async def set_draining(self, broker_id: int, *, draining: bool) -> None:
        """Give a broker no new replicas, or let it have some again; it stays as it is otherwise.

        Raises BrokerIdNotRegisteredError.
        """
        await admin_cluster.set_draining(self._usable(), broker_id, draining=draining)

    async def unregister_broker(self, broker_id: int) -> None:
        """Forget a broker that is gone for good.

        Raises BrokerIdNotRegisteredError, or InvalidRequestError if it is serving or has replicas.
        """
        await admin_cluster.unregister_broker(self._usable(), broker_id)

    async def readmit_voter(self, broker_id: int, directory_id: bytes) -> None:
        """Let a voter that lost its data directory vote again, with the empty one it has now.

        ``directory_id`` is what :meth:`describe_quorum` says that it offers. Raises
        InvalidRequestError if it is no voter.
        """
        await admin_cluster.readmit_voter(self._usable(), broker_id, directory_id)

    def watch_metadata(self, topics: Iterable[str] | None = None) -> AsyncGenerator[MetadataChange]:
        """Yield brokers and topics (those named, or all), then every change, as it happens.

        Goes on at another broker when one goes away; then all there is comes again. Ends only with
        an error that will not pass. Internal topics come only if they are named.
        """
        return admin_cluster.watch_metadata(self._usable(), list(topics or ()))

    # --- Partitions ---------------------------------------------------------------------------

    async def list_offsets(
        self, positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetFound]:
        """Find offsets: by time in milliseconds since 1970, or EARLIEST, LATEST, MAX_TIMESTAMP.

        The three are constants of :mod:`ottla.client`. Raises UnknownTopicOrPartitionError, or
        what kept a leader from answering.
        """
        session = self._usable()
        lookup = OffsetLookup(session.connections, session.metadata, self._settings)
        return await lookup.find(positions)

    async def reassign(self, replicas: Mapping[TopicPartition, Sequence[int]]) -> None:
        """Begin to move partitions to other brokers, named in order of preference.

        The new replicas catch up while the old ones serve; describe the topic to see how far it is.
        No broker at all: cancel the move that is under way. Errors: UnknownTopicOrPartitionError,
        InvalidReplicaAssignmentError, NoReassignmentError.
        """
        await admin_cluster.reassign(self._usable(), replicas)

    async def plan_rebalancing(self, *, draining: Iterable[int] = ()) -> list[PlannedMove]:
        """Return which replicas to move so that every broker has its share; move nothing.

        With ``draining``, plan as if these brokers were draining, besides those that are. What is
        wanted of the plan goes to :meth:`reassign`. Raises BrokerIdNotRegisteredError.
        """
        return await admin_cluster.plan_rebalancing(self._usable(), list(draining))

    async def elect_leaders(
        self, partitions: Iterable[TopicPartition] | None = None, *, unclean: bool = False
    ) -> list[TopicPartition]:
        """Let preferred leaders lead, where they do not; return the partitions where they now do.

        ``None``: all partitions. With ``unclean``, elect any replica for partitions that have no
        leader, at the cost of what only the others have. Errors: UnknownTopicOrPartitionError,
        ElectionNotNeededError, PreferredLeaderNotAvailableError,
        EligibleLeadersNotAvailableError.
        """
        wanted = None if partitions is None else list(partitions)
        return await admin_cluster.elect_leaders(self._usable(), wanted, unclean=unclean)

    async def list_groups(
        self, *, states: Iterable[str] = (), types: Iterable[str] = ()
    ) -> list[GroupListing]:
        """Return the groups of the whole cluster, sorted, or those in some states or of some types.

        States are Kafka's (``Stable``, ``Empty``...), types are ``classic`` and ``consumer``.
        """
        return await admin_groups.list_groups(self._usable(), states, types)

    async def describe_group(self, group_id: str) -> GroupDescription:
        """Return a group with its members; raises GroupIdNotFoundError."""
        return await admin_groups.describe_group(self._usable(), group_id)

    async def delete_group(self, group_id: str) -> None:
        """Forget a group and its offsets. Errors: GroupIdNotFoundError, NonEmptyGroupError."""
        await admin_groups.delete_group(self._usable(), group_id)

    async def group_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition] | None = None
    ) -> dict[TopicPartition, OffsetAndMetadata | None]:
        """Return what a group has committed: for all its partitions, or for those named."""
        return await admin_groups.group_offsets(self._usable(), group_id, partitions)

    async def alter_group_offsets(
        self, group_id: str, offsets: Mapping[TopicPartition, int | OffsetAndMetadata]
    ) -> None:
        """Commit offsets for a group that has no members, so that it goes on there.

        Raises UnknownMemberIdError while it has some.
        """
        await admin_groups.alter_group_offsets(self._usable(), group_id, offsets)

    async def delete_group_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition]
    ) -> None:
        """Forget what a group has committed.

        Errors: GroupIdNotFoundError, GroupSubscribedToTopicError.
        """
        await admin_groups.delete_group_offsets(self._usable(), group_id, partitions)

    async def delete_records(
        self, before_offsets: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Delete the records below an offset (-1: all that are committed); return the new starts.

        Errors: OffsetOutOfRangeError above the high watermark, PolicyViolationError on compacted
        topics, UnknownTopicOrPartitionError.
        """
        metadata = self._usable().metadata
        for topic in sorted({partition.topic for partition in before_offsets}):
            await metadata.topic(topic, timeout_ms=self._settings.request_timeout_ms)

        async def ask(wanted: Sequence[TopicPartition]) -> Answers[tuple[TopicPartition, int]]:
            by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
            answers: Answers[tuple[TopicPartition, int]] = {}
            for partition in wanted:
                leader = metadata.picture.leader_of(partition)
                if leader is None:
                    answers[str(partition)] = metadata.picture.why_no_leader(partition)
                else:
                    by_leader[leader.broker_id].append(partition)
            for broker_id, partitions in by_leader.items():
                answers |= await self._delete_records_at(broker_id, partitions, before_offsets)
            return answers

        return dict(await self._usable().ask_each(list(before_offsets), str, ask))

    async def _delete_records_at(
        self,
        broker_id: int,
        partitions: Sequence[TopicPartition],
        before_offsets: Mapping[TopicPartition, int],
    ) -> Answers[tuple[TopicPartition, int]]:
        session = self._usable()
        connection = session.connections.to(session.metadata.picture.brokers[broker_id])
        request = log_pb2.DeleteRecordsRequest(
            partitions=[
                log_pb2.DeleteRecordsRequest.Partition(
                    topic=topic,
                    partition=number,
                    before_offset=before_offsets[TopicPartition(topic, number)],
                )
                for topic, number in partitions
            ]
        )
        try:
            response = await call(
                connection.log.DeleteRecords,
                request,
                address=connection.address,
                timeout_ms=self._settings.request_timeout_ms,
            )
        except OttlaError as error:
            return {str(partition): error for partition in partitions}
        return {
            str(partition): error_from_message(answer.error)
            if answer.error.code
            else (partition, answer.log_start_offset)
            for partition, answer in zip(partitions, response.partitions, strict=True)
        }

    def _usable(self) -> AdminSession:
        if self._session is None:
            raise ClientClosedError(
                "the admin client is not running; call 'await admin.start()' first, or use "
                "'async with'"
            )
        return self._session


def _describe_configs(
    broker: BrokerConnection,
) -> grpc.aio.UnaryUnaryMultiCallable[
    configs_pb2.DescribeConfigsRequest, configs_pb2.DescribeConfigsResponse
]:
    return broker.configs.DescribeConfigs


def _by_broker(resources: Sequence[ConfigResource]) -> dict[int | None, list[ConfigResource]]:
    """Sort resources by the broker that must be asked; ``None``: any."""
    by_broker: dict[int | None, list[ConfigResource]] = {}
    for resource in resources:
        is_one = resource.type is ConfigResourceType.BROKER and resource.name.isdecimal()
        by_broker.setdefault(int(resource.name) if is_one else None, []).append(resource)
    return by_broker


def _resource(resource: ConfigResource) -> configs_pb2.ConfigResource:
    return configs_pb2.ConfigResource(
        type=configs_pb2.ConfigResource.Type.Name(resource.type),
        name=resource.name,
    )


def _change(change: ConfigChange) -> configs_pb2.AlterConfigsRequest.Change:
    return configs_pb2.AlterConfigsRequest.Change(
        key=change.key, value=change.value, operation=change.operation.name
    )
