"""An administrator gets plain values back, and every failure as its own class of error."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from ottla.client import EARLIEST, LATEST, MAX_TIMESTAMP
from ottla.client.addresses import Address
from ottla.client.admin import Admin
from ottla.client.admin_values import (
    ConfigChange,
    ConfigOperation,
    ConfigResource,
    ConfigSource,
    CreatedTopic,
    NewTopic,
)
from ottla.client.errors import (
    ClientClosedError,
    NoBrokersAvailableError,
    PartialFailureError,
)
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    InvalidConfigError,
    InvalidPartitionsError,
    InvalidTopicError,
    OffsetOutOfRangeError,
    RequestTimedOutError,
    ResourceNotFoundError,
    StorageError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import TopicPartition
from tests.client.fake_admin import TOPIC_ID
from tests.client.fake_broker import FakeCluster
from tests.client.test_consumer import WEB_0, WEB_1, fill

NOT_CONTROLLER = 41
REQUEST_TIMED_OUT = 7


@pytest.fixture
async def admin(cluster: FakeCluster) -> AsyncIterator[Admin]:
    async with Admin(cluster.bootstrap, retry_backoff_ms=2) as client:
        yield client


async def test_topic_is_created_as_asked(cluster: FakeCluster, admin: Admin) -> None:
    created = await admin.create_topics([NewTopic("new", partitions=3)])

    assert created == [CreatedTopic("new", TOPIC_ID, 3, 1)]
    assert len(cluster.topics["new"]) == 3


async def test_topic_is_only_checked_if_so_asked(cluster: FakeCluster, admin: Admin) -> None:
    await admin.create_topics([NewTopic("new")], validate_only=True)

    assert "new" not in cluster.topics


async def test_topic_that_exists_is_an_error(admin: Admin) -> None:
    with pytest.raises(TopicAlreadyExistsError, match="web exists"):
        await admin.create_topics([NewTopic("web")])


async def test_failures_among_several_come_with_what_succeeded(
    cluster: FakeCluster, admin: Admin
) -> None:
    with pytest.raises(PartialFailureError, match="2 of 3 failed") as raised:
        await admin.create_topics([NewTopic("web"), NewTopic("new"), NewTopic("no/topic")])

    errors = {name: type(error) for name, error in raised.value.errors.items()}
    assert errors == {"web": TopicAlreadyExistsError, "no/topic": InvalidTopicError}
    assert raised.value.results == [CreatedTopic("new", TOPIC_ID, 1, 1)]
    assert "new" in cluster.topics


async def test_what_may_pass_is_tried_again_for_that_part_only(
    cluster: FakeCluster, admin: Admin
) -> None:
    cluster.admin_plan = iter([None, NOT_CONTROLLER, NOT_CONTROLLER])

    created = await admin.create_topics([NewTopic("a"), NewTopic("b")])

    assert [topic.name for topic in created] == ["a", "b"]


async def test_what_may_have_been_done_is_not_tried_again(
    cluster: FakeCluster, admin: Admin
) -> None:
    cluster.admin_plan = iter([REQUEST_TIMED_OUT])

    with pytest.raises(RequestTimedOutError):
        await admin.create_topics([NewTopic("a")])


async def test_call_survives_a_restart_of_the_broker(cluster: FakeCluster, admin: Admin) -> None:
    await cluster.brokers[0].restart()

    assert await admin.list_topics() == ["web"]


async def test_topics_are_deleted(cluster: FakeCluster, admin: Admin) -> None:
    await admin.delete_topics(["web"])

    assert cluster.topics == {}


async def test_deleting_a_topic_that_does_not_exist_is_an_error(admin: Admin) -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        await admin.delete_topics(["nowhere"])


async def test_partitions_are_added(cluster: FakeCluster, admin: Admin) -> None:
    await admin.create_partitions({"web": 4})

    assert len(cluster.topics["web"]) == 4
    with pytest.raises(InvalidPartitionsError):
        await admin.create_partitions({"web": 4})


async def test_topics_are_listed_in_order(cluster: FakeCluster, admin: Admin) -> None:
    cluster.create("a")

    assert await admin.list_topics() == ["a", "web"]


async def test_topic_is_described_with_its_partitions(cluster: FakeCluster, admin: Admin) -> None:
    cluster.create("web", 2)
    await fill(cluster, 5, partition=1)

    (topic,) = await admin.describe_topics(["web"])

    assert [(each.partition, each.high_watermark) for each in topic.partitions] == [(0, 0), (1, 5)]


async def test_describing_a_topic_that_does_not_exist_is_an_error(admin: Admin) -> None:
    with pytest.raises(UnknownTopicOrPartitionError):
        await admin.describe_topics(["nowhere"])


async def test_settings_are_described_with_their_source(admin: Admin) -> None:
    web = ConfigResource.topic("web")

    (entry,) = (await admin.describe_configs([web]))[web]

    assert (entry.key, entry.value, entry.source) == (
        "retention.ms",
        "604800000",
        ConfigSource.DEFAULT_CONFIG,
    )


async def test_settings_are_changed_and_set_back(admin: Admin) -> None:
    web = ConfigResource.topic("web")
    changes = [
        ConfigChange("retention.ms", "5"),
        ConfigChange("cleanup.policy", "compact", ConfigOperation.APPEND),
        ConfigChange("cleanup.policy", "delete", ConfigOperation.APPEND),
        ConfigChange("cleanup.policy", "compact", ConfigOperation.SUBTRACT),
    ]
    await admin.alter_configs({web: changes})
    entries = (await admin.describe_configs([web]))[web]
    assert {entry.key: entry.value for entry in entries} == {
        "retention.ms": "5",
        "cleanup.policy": "delete",
    }

    await admin.alter_configs(
        {web: [ConfigChange("retention.ms", operation=ConfigOperation.DELETE)]}
    )
    (entry,) = (await admin.describe_configs([web], keys=["retention.ms"]))[web]
    assert entry.source is ConfigSource.DEFAULT_CONFIG


async def test_setting_that_does_not_exist_is_an_error(admin: Admin) -> None:
    with pytest.raises(InvalidConfigError):
        await admin.alter_configs({ConfigResource.topic("web"): [ConfigChange("color", "red")]})


async def test_settings_of_a_topic_that_does_not_exist_are_an_error(admin: Admin) -> None:
    with pytest.raises(ResourceNotFoundError):
        await admin.describe_configs([ConfigResource.topic("nowhere")])


async def test_cluster_is_described(cluster: FakeCluster, admin: Admin) -> None:
    description = await admin.describe_cluster()

    assert (description.cluster_id, description.controller_id) == ("fake", 1)
    assert [broker.address for broker in description.brokers] == [
        Address("127.0.0.1", cluster.brokers[0].port)
    ]


async def test_broker_that_is_named_is_the_one_that_is_asked(trio: FakeCluster) -> None:
    async with Admin(trio.bootstrap) as admin:
        for number in (1, 2, 3):
            assert (await admin.describe_broker(number)).broker_id == number
        with pytest.raises(BrokerIdNotRegisteredError, match="there are 1, 2, 3"):
            await admin.describe_broker(4)


async def test_broker_is_described_with_its_directories(cluster: FakeCluster, admin: Admin) -> None:
    await fill(cluster, 3)

    broker = await admin.describe_broker()

    (directory,) = broker.log_directories
    assert (directory.path, directory.total_bytes) == ("/data", 10)
    assert isinstance(directory.error, StorageError)
    assert (directory.partitions[0].topic_partition, directory.partitions[0].log_end_offset) == (
        WEB_0,
        3,
    )


async def test_offsets_are_found_by_place_and_by_time(trio: FakeCluster) -> None:
    await fill(trio, 30, partition=0)
    await fill(trio, 30, partition=1)
    trio.topics["web"][0].delete_before(5)
    async with Admin(trio.bootstrap) as admin:
        assert (await admin.list_offsets({WEB_0: EARLIEST}))[WEB_0].offset == 5
        assert (await admin.list_offsets({WEB_1: LATEST}))[WEB_1].offset == 30
        assert await admin.list_offsets({WEB_0: 1_017, WEB_1: MAX_TIMESTAMP}) == {
            WEB_0: (17, 1_017),
            WEB_1: (29, 1_029),
        }


async def test_records_are_deleted_at_their_leaders(trio: FakeCluster) -> None:
    await fill(trio, 30, partition=0)
    await fill(trio, 30, partition=1)
    async with Admin(trio.bootstrap) as admin:
        assert await admin.delete_records({WEB_0: 12, WEB_1: -1}) == {WEB_0: 12, WEB_1: 30}
        with pytest.raises(OffsetOutOfRangeError):
            await admin.delete_records({WEB_0: 31})
        with pytest.raises(UnknownTopicOrPartitionError, match="no partition 5"):
            await admin.delete_records({TopicPartition("web", 5): 1})


async def test_missing_broker_is_named_with_what_to_check() -> None:
    with pytest.raises(NoBrokersAvailableError, match="'ottla up'"):
        await Admin("127.0.0.1:1", connect_timeout_ms=30, retry_backoff_ms=5).start()


async def test_admin_is_used_between_start_and_stop_only(cluster: FakeCluster) -> None:
    admin = Admin(cluster.bootstrap)
    with pytest.raises(ClientClosedError):
        await admin.list_topics()
    await admin.start()
    await admin.stop()
    await admin.stop()
    with pytest.raises(ClientClosedError):
        await admin.list_topics()
