"""Topics, configs and the cluster are administered and described as their pages say."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ottla.v1 import cluster_pb2, configs_pb2, log_pb2, topics_pb2, types_pb2
from tests.grpc.running_broker import RunningBroker, batch, produce, refusal

Error = types_pb2.Error
TOPIC, BROKER = configs_pb2.ConfigResource.TOPIC, configs_pb2.ConfigResource.BROKER
Alter = configs_pb2.AlterConfigsRequest


@pytest.fixture
async def broker() -> AsyncIterator[RunningBroker]:
    running = await RunningBroker().start()
    yield running
    await running.end()


async def create(
    broker: RunningBroker, *topics: topics_pb2.NewTopic, validate_only: bool = False
) -> list[topics_pb2.CreateTopicsResponse.Topic]:
    response = await broker.topics.CreateTopics(
        topics_pb2.CreateTopicsRequest(topics=topics, validate_only=validate_only)
    )
    return list(response.topics)


async def alter(
    broker: RunningBroker, *changes: configs_pb2.AlterConfigsRequest.Change, name: str = "web"
) -> types_pb2.Error:
    resource = configs_pb2.ConfigResource(type=TOPIC, name=name)
    response = await broker.configs.AlterConfigs(
        Alter(resources=[Alter.Resource(resource=resource, changes=changes)])
    )
    return response.resources[0].error


async def alter_brokers(broker: RunningBroker, name: str, key: str, value: str) -> Error:
    resource = configs_pb2.ConfigResource(type=BROKER, name=name)
    change = Alter.Change(key=key, value=value)
    response = await broker.configs.AlterConfigs(
        Alter(resources=[Alter.Resource(resource=resource, changes=[change])])
    )
    error: Error = response.resources[0].error
    return error


async def settings(
    broker: RunningBroker, name: str = "web", kind: int = TOPIC
) -> dict[str, configs_pb2.ConfigEntry]:
    resource = configs_pb2.ConfigResource(type=kind, name=name)  # type: ignore[arg-type]
    asked = configs_pb2.DescribeConfigsRequest.Resource(resource=resource)
    response = await broker.configs.DescribeConfigs(
        configs_pb2.DescribeConfigsRequest(resources=[asked])
    )
    assert not response.resources[0].error.code, response
    return {entry.key: entry for entry in response.resources[0].entries}


# --- Topics -------------------------------------------------------------------------------


async def test_created_topic_can_be_used_at_once(broker: RunningBroker) -> None:
    (created,) = await create(broker, topics_pb2.NewTopic(name="web", partitions=3))

    response = await broker.log.Produce(produce(*((n, batch()) for n in range(3))))

    assert (created.partitions, created.replication_factor) == (3, 1)
    assert len(created.topic_id) == 16
    assert [part.error.code for part in response.partitions] == [0, 0, 0]


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (topics_pb2.NewTopic(name=""), Error.INVALID_TOPIC_EXCEPTION),
        (topics_pb2.NewTopic(name=".."), Error.INVALID_TOPIC_EXCEPTION),
        (topics_pb2.NewTopic(name="a/b"), Error.INVALID_TOPIC_EXCEPTION),
        (topics_pb2.NewTopic(name="x" * 250), Error.INVALID_TOPIC_EXCEPTION),
        (topics_pb2.NewTopic(name="there"), Error.TOPIC_ALREADY_EXISTS),
        (topics_pb2.NewTopic(name="n", partitions=-1), Error.INVALID_PARTITIONS),
        (topics_pb2.NewTopic(name="r", replication_factor=2), Error.INVALID_REPLICATION_FACTOR),
        (topics_pb2.NewTopic(name="c", configs={"retention.mss": "1"}), Error.INVALID_CONFIG),
        (topics_pb2.NewTopic(name="v", configs={"retention.ms": "long"}), Error.INVALID_CONFIG),
    ],
)
async def test_topic_that_cannot_be_fails_alone(
    broker: RunningBroker, topic: topics_pb2.NewTopic, code: int
) -> None:
    await broker.create_topic("there")

    bad, good = await create(broker, topic, topics_pb2.NewTopic(name="good"))

    assert (bad.error.code, good.error.code) == (code, Error.NONE)
    assert {key.rpartition("-")[0] for key in await broker.log_ends()} == {"there", "good"}


async def test_validated_topic_is_not_created(broker: RunningBroker) -> None:
    (validated,) = await create(broker, topics_pb2.NewTopic(name="web"), validate_only=True)

    assert validated.error.code == Error.NONE
    assert not await broker.log_ends()


async def test_too_many_topics_are_refused_as_a_whole(broker: RunningBroker) -> None:
    call = create(broker, *(topics_pb2.NewTopic(name=f"t{n}") for n in range(1_001)))

    assert await refusal(call) == (grpc.StatusCode.INVALID_ARGUMENT, Error.INVALID_REQUEST)


async def test_deleted_topic_is_gone_and_its_name_is_free(broker: RunningBroker) -> None:
    await broker.create_topic("web")
    await broker.append()

    response = await broker.topics.DeleteTopics(
        topics_pb2.DeleteTopicsRequest(names=["web", "unknown"])
    )
    gone = await broker.append()
    await broker.create_topic("web")

    assert [topic.error.code for topic in response.topics] == [0, 3]
    assert gone.error.code == Error.UNKNOWN_TOPIC_OR_PARTITION
    assert (await broker.append()).base_offset == 0


async def test_partitions_are_added(broker: RunningBroker) -> None:
    await broker.create_topic("web", partitions=1)
    more = topics_pb2.CreatePartitionsRequest.Topic

    grown, not_more = [
        (
            await broker.topics.CreatePartitions(
                topics_pb2.CreatePartitionsRequest(topics=[more(name="web", partitions=count)])
            )
        ).topics[0]
        for count in (3, 3)
    ]

    assert (grown.error.code, not_more.error.code) == (0, Error.INVALID_PARTITIONS)
    assert (await broker.append(partition=2)).base_offset == 0


async def test_topics_are_described_with_their_logs(broker: RunningBroker) -> None:
    await broker.create_topic("web", partitions=1)
    await broker.append(batch(b"a", b"b"))

    response = await broker.topics.DescribeTopics(
        topics_pb2.DescribeTopicsRequest(names=["web", "unknown"])
    )

    web, unknown = response.topics
    (part,) = web.partitions
    assert (part.leader, list(part.replicas), list(part.in_sync_replicas)) == (0, [0], [0])
    assert (part.log_start_offset, part.high_watermark) == (0, 2)
    assert part.size_bytes > 0
    assert unknown.error.code == Error.UNKNOWN_TOPIC_OR_PARTITION


# --- Configs ------------------------------------------------------------------------------------


async def test_altered_setting_counts_at_once_and_survives_a_crash(broker: RunningBroker) -> None:
    await broker.create_topic("web")

    error = await alter(broker, Alter.Change(key="max.message.bytes", value="100"))
    refused = await broker.append(batch(bytes(200)))
    await broker.crash_and_start()

    assert error.code == Error.NONE
    assert refused.error.code == Error.MESSAGE_TOO_LARGE
    entry = (await settings(broker))["max.message.bytes"]
    assert (entry.value, entry.default_value) == ("100", "1048588")
    assert entry.source == configs_pb2.ConfigEntry.DYNAMIC_TOPIC_CONFIG


async def test_one_bad_change_keeps_the_others_of_its_topic_out(broker: RunningBroker) -> None:
    await broker.create_topic("web")

    error = await alter(
        broker,
        Alter.Change(key="retention.ms", value="5"),
        Alter.Change(key="segment.bytes", value="-7"),
    )

    assert error.code == Error.INVALID_CONFIG
    assert "segment.bytes" in error.message
    assert (await settings(broker))["retention.ms"].value == "604800000"


async def test_setting_that_a_broker_only_reads_at_its_start_is_not_altered(
    broker: RunningBroker,
) -> None:
    described = await settings(broker, "0", BROKER)

    error = await alter_brokers(broker, "0", "num.partitions", "3")

    assert described["num.partitions"].read_only
    assert described["log.dir"].source == configs_pb2.ConfigEntry.STATIC_BROKER_CONFIG
    assert error.code == Error.INVALID_CONFIG


async def test_setting_altered_for_all_brokers_is_what_a_partition_works_with(
    broker: RunningBroker,
) -> None:
    await broker.create_topic("web")

    error = await alter_brokers(broker, "", "log.retention.ms", "5000")

    assert error.code == Error.NONE
    entry = (await settings(broker))["retention.ms"]
    assert entry.value == "5000"
    assert entry.source == configs_pb2.ConfigEntry.DYNAMIC_DEFAULT_BROKER_CONFIG
    assert [one.key for one in (await settings(broker, "", BROKER)).values()] == [
        "log.retention.ms"
    ]


# --- The cluster ---------------------------------------------------------------------------


async def test_metadata_names_brokers_and_leaders(broker: RunningBroker) -> None:
    await broker.create_topic("web", partitions=2)

    metadata = await broker.cluster.GetMetadata(cluster_pb2.GetMetadataRequest())

    assert broker.broker is not None
    (listed,) = metadata.brokers
    assert (listed.id, listed.port) == (0, broker.broker.grpc_address.port)
    assert not listed.fenced
    assert [part.leader for part in metadata.topics[0].partitions] == [0, 0]
    assert metadata.controller_id == 0


async def test_missing_topic_is_created_if_the_client_wishes(broker: RunningBroker) -> None:
    ask = cluster_pb2.GetMetadataRequest

    without = await broker.cluster.GetMetadata(ask(topics=["new"]))
    with_wish = await broker.cluster.GetMetadata(ask(topics=["new"], allow_auto_creation=True))

    assert without.topics[0].error.code == Error.UNKNOWN_TOPIC_OR_PARTITION
    assert with_wish.topics[0].error.code == Error.NONE
    response = await broker.log.Produce(produce((0, batch()), topic="new"))
    assert response.partitions[0].error.code == Error.NONE


async def test_cluster_is_described(broker: RunningBroker) -> None:
    await broker.create_topic("web", partitions=2)

    described = await broker.cluster.DescribeCluster(cluster_pb2.DescribeClusterRequest())

    assert (described.topics, described.partitions) == (1, 2)
    assert (described.offline_partitions, described.under_replicated_partitions) == (0, 0)


async def test_broker_describes_its_directory(broker: RunningBroker) -> None:
    await broker.create_topic("web", partitions=1)
    await broker.append()

    described = await broker.cluster.DescribeBroker(cluster_pb2.DescribeBrokerRequest())

    (directory,) = described.log_directories
    (part,) = directory.partitions
    assert directory.error.code == Error.NONE
    assert (part.log_end_offset, part.durable_end_offset, part.high_watermark) == (1, 1, 1)
    assert part.segments == 1


async def test_failed_directory_is_described_and_the_health_service_says_so(
    broker: RunningBroker,
) -> None:
    await broker.create_topic("web", partitions=1)
    health = health_pb2_grpc.HealthStub(broker.channel)
    before = await health.Check(health_pb2.HealthCheckRequest(service="ottla.v1.Log"))
    broker.disk.fail("append", errno.ENOSPC, name_suffix=".log")
    await broker.append()

    described = await broker.cluster.DescribeBroker(cluster_pb2.DescribeBrokerRequest())
    after = await health.Check(health_pb2.HealthCheckRequest(service="ottla.v1.Log"))

    assert described.log_directories[0].error.code == Error.KAFKA_STORAGE_ERROR
    assert before.status == health_pb2.HealthCheckResponse.SERVING
    assert after.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_producer_ids_are_not_given_again_after_a_restart(broker: RunningBroker) -> None:
    first = await broker.log.InitProducerId(log_pb2.InitProducerIdRequest())
    await broker.crash_and_start()

    second = await broker.log.InitProducerId(log_pb2.InitProducerIdRequest())

    assert second.producer_id > first.producer_id
