"""Create, describe, change and delete topics; look at brokers and settings.

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

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc

from ottla.client import admin_convert
from ottla.client.admin_values import (
    BrokerDescription,
    ClusterDescription,
    ConfigChange,
    ConfigEntry,
    ConfigResource,
    CreatedTopic,
    NewTopic,
    TopicDescription,
)
from ottla.client.any_broker import call_any_broker
from ottla.client.backoff import Backoff
from ottla.client.connections import BrokerConnection, Connections
from ottla.client.errors import ClientClosedError, PartialFailureError
from ottla.client.metadata import MetadataCache
from ottla.client.offset_lookup import OffsetFound, OffsetLookup
from ottla.client.rpc import call, error_from_message
from ottla.client.settings import ConnectionOptions, ConnectionSettings, read_settings
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    OttlaError,
    RequestTimedOutError,
)
from ottla.model.ids import TopicPartition
from ottla.v1 import cluster_pb2, configs_pb2, log_pb2, topics_pb2

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")
Result = TypeVar("Result")

Answers = dict[str, Result | OttlaError]
"""By name: what came of each part of a request."""


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
        self._connections: Connections | None = None
        self._metadata: MetadataCache | None = None

    async def start(self) -> None:
        """Connect; no error if connected already.

        Raises:
            NoBrokersAvailableError: no broker answered within ``connect_timeout_ms``.
            AccessDeniedError: a broker does not let this client in.
        """
        if self._connections is not None:
            return
        connections = Connections(self._settings)
        metadata = MetadataCache(
            connections, self._settings, create_topics=False, on_update=_do_nothing
        )
        try:
            await metadata.connect()
        except BaseException:
            await connections.close()
            raise
        self._connections, self._metadata = connections, metadata

    async def stop(self) -> None:
        """Disconnect. No error if stopped before."""
        connections, self._connections, self._metadata = self._connections, None, None
        if connections is not None:
            await connections.close()

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
            response = await self._call_any(
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

        return await self._ask_each(list(topics), lambda topic: topic.name, ask)

    async def delete_topics(self, names: Iterable[str]) -> None:
        """Delete topics with all their records. Error: UnknownTopicOrPartitionError."""

        async def ask(wanted: Sequence[str]) -> Answers[None]:
            response = await self._call_any(
                lambda broker: broker.topics.DeleteTopics,
                topics_pb2.DeleteTopicsRequest(names=wanted),
            )
            return {
                answer.name: error_from_message(answer.error) if answer.error.code else None
                for answer in response.topics
            }

        await self._ask_each(list(names), str, ask)

    async def create_partitions(
        self, totals: Mapping[str, int], *, validate_only: bool = False
    ) -> None:
        """Raise the number of partitions of topics to new totals.

        Records stay where they are, so keys may map to other partitions from then on. Errors:
        UnknownTopicOrPartitionError, InvalidPartitionsError.
        """

        async def ask(wanted: Sequence[str]) -> Answers[None]:
            response = await self._call_any(
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

        await self._ask_each(list(totals), str, ask)

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
            response = await self._call_any(
                lambda broker: broker.topics.DescribeTopics,
                topics_pb2.DescribeTopicsRequest(include_internal=include_internal),
            )
            return [admin_convert.topic_description(answer) for answer in response.topics]

        async def ask(left: Sequence[str]) -> Answers[TopicDescription]:
            response = await self._call_any(
                lambda broker: broker.topics.DescribeTopics,
                topics_pb2.DescribeTopicsRequest(names=left),
            )
            return {
                answer.name: error_from_message(answer.error)
                if answer.error.code
                else admin_convert.topic_description(answer)
                for answer in response.topics
            }

        return await self._ask_each(wanted, str, ask)

    # --- Configuration ------------------------------------------------------------------------

    async def describe_configs(
        self, resources: Iterable[ConfigResource], *, keys: Iterable[str] = ()
    ) -> dict[ConfigResource, list[ConfigEntry]]:
        """Return the settings of topics and brokers; only ``keys``, if any are named.

        Errors: UnknownTopicOrPartitionError, ResourceNotFoundError, InvalidConfigError.
        """
        wanted_keys = list(keys)

        async def ask(
            wanted: Sequence[ConfigResource],
        ) -> Answers[tuple[ConfigResource, list[ConfigEntry]]]:
            response = await self._call_any(
                lambda broker: broker.configs.DescribeConfigs,
                configs_pb2.DescribeConfigsRequest(
                    resources=[
                        configs_pb2.DescribeConfigsRequest.Resource(
                            resource=_resource(resource), keys=wanted_keys
                        )
                        for resource in wanted
                    ]
                ),
            )
            return {
                str(resource): error_from_message(answer.error)
                if answer.error.code
                else (resource, [admin_convert.config_entry(each) for each in answer.entries])
                for resource, answer in zip(wanted, response.resources, strict=True)
            }

        return dict(await self._ask_each(list(resources), str, ask))

    async def alter_configs(
        self,
        changes: Mapping[ConfigResource, Iterable[ConfigChange]],
        *,
        validate_only: bool = False,
    ) -> None:
        """Change some settings and leave the others; of one resource all changes, or none.

        Errors: UnknownTopicOrPartitionError, ResourceNotFoundError, InvalidConfigError.
        """
        listed = {resource: list(each) for resource, each in changes.items()}

        async def ask(wanted: Sequence[ConfigResource]) -> Answers[None]:
            response = await self._call_any(
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

        await self._ask_each(list(listed), str, ask)

    # --- Cluster ------------------------------------------------------------------------------

    async def describe_cluster(self) -> ClusterDescription:
        """Describe the cluster as a whole."""
        answer = await self._call_any(
            lambda broker: broker.cluster.DescribeCluster, cluster_pb2.DescribeClusterRequest()
        )
        return admin_convert.cluster_description(answer)

    async def describe_broker(self, broker_id: int | None = None) -> BrokerDescription:
        """Describe a broker, asking it; ``None``: whichever answers first.

        Raises BrokerIdNotRegisteredError if there is no such broker, or it is not serving.
        """
        request = cluster_pb2.DescribeBrokerRequest()
        if broker_id is None:
            answer = await self._call_any(lambda broker: broker.cluster.DescribeBroker, request)
            return admin_convert.broker_description(answer)
        connections, metadata = self._usable()
        await metadata.connect()
        address = metadata.picture.brokers.get(broker_id)
        if address is None:
            known = ", ".join(str(each) for each in sorted(metadata.picture.brokers))
            raise BrokerIdNotRegisteredError(f"there is no broker {broker_id}; there are {known}")
        answer = await call(
            connections.to(address).cluster.DescribeBroker,
            request,
            address=address,
            timeout_ms=self._settings.request_timeout_ms,
        )
        return admin_convert.broker_description(answer)

    # --- Partitions ---------------------------------------------------------------------------

    async def list_offsets(
        self, positions: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetFound]:
        """Find offsets: by time in milliseconds since 1970, or EARLIEST, LATEST, MAX_TIMESTAMP.

        The three are constants of :mod:`ottla.client`. Raises UnknownTopicOrPartitionError, or
        what kept a leader from answering.
        """
        connections, metadata = self._usable()
        return await OffsetLookup(connections, metadata, self._settings).find(positions)

    async def delete_records(
        self, before_offsets: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Delete the records below an offset (-1: all that are committed); return the new starts.

        Errors: OffsetOutOfRangeError above the high watermark, PolicyViolationError on compacted
        topics, UnknownTopicOrPartitionError.
        """
        _, metadata = self._usable()
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

        return dict(await self._ask_each(list(before_offsets), str, ask))

    async def _delete_records_at(
        self,
        broker_id: int,
        partitions: Sequence[TopicPartition],
        before_offsets: Mapping[TopicPartition, int],
    ) -> Answers[tuple[TopicPartition, int]]:
        connections, metadata = self._usable()
        connection = connections.to(metadata.picture.brokers[broker_id])
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

    # --- Inside -------------------------------------------------------------------------------

    def _usable(self) -> tuple[Connections, MetadataCache]:
        if self._connections is None or self._metadata is None:
            raise ClientClosedError(
                "the admin client is not running; call 'await admin.start()' first, or use "
                "'async with'"
            )
        return self._connections, self._metadata

    async def _call_any(
        self,
        method: Callable[[BrokerConnection], grpc.aio.UnaryUnaryMultiCallable[Request, Response]],
        request: Request,
    ) -> Response:
        connections, metadata = self._usable()
        return await call_any_broker(connections, metadata, self._settings, method, request)

    async def _ask_each(
        self,
        items: Sequence[Item],
        name_of: Callable[[Item], str],
        ask: Callable[[Sequence[Item]], Awaitable[Answers[Result]]],
    ) -> list[Result]:
        """Ask for every item, again for those that may succeed later; results in their order."""
        deadline_ms = _now_ms() + self._settings.request_timeout_ms
        backoff = Backoff(self._settings.retry_backoff_ms, self._settings.retry_backoff_max_ms)
        names = [name_of(item) for item in items]
        answers: Answers[Result] = {}
        left = list(items)
        while left:
            answers |= await ask(left)
            delay_ms = backoff.next_delay_ms()
            left = [item for item in left if _may_pass(answers.get(name_of(item)))]
            if not left or _now_ms() + delay_ms >= deadline_ms:
                break
            _, metadata = self._usable()
            await asyncio.sleep(delay_ms / 1000)
            await metadata.connect()
        results: list[Result] = []
        errors: dict[str, OttlaError] = {}
        for name in names:
            answer = answers.get(name, OttlaError(f"the broker did not answer for {name!r}"))
            if isinstance(answer, OttlaError):
                errors[name] = answer
            else:
                results.append(answer)
        if len(names) == 1 and errors:
            raise errors[names[0]]
        if errors:
            raise PartialFailureError(errors=errors, results=results)
        return results


def _may_pass(answer: object) -> bool:
    """Whether asking again is worth it: nothing was done, and that was nobody's mistake."""
    if not isinstance(answer, OttlaError) or isinstance(answer, RequestTimedOutError):
        return False
    return answer.retriable and answer.status != "NOT_FOUND"


def _resource(resource: ConfigResource) -> configs_pb2.ConfigResource:
    return configs_pb2.ConfigResource(
        type=configs_pb2.ConfigResource.Type.Name(resource.type),
        name=resource.name,
    )


def _change(change: ConfigChange) -> configs_pb2.AlterConfigsRequest.Change:
    return configs_pb2.AlterConfigsRequest.Change(
        key=change.key, value=change.value, operation=change.operation.name
    )


def _do_nothing() -> None:
    """Nobody else uses the metadata."""


def _now_ms() -> float:
    return time.monotonic() * 1000
