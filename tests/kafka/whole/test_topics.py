"""Asking for topics creates them when it should and never else: statements 7, 8, 12 and 13.

The numbers are those of docs/compatibility-statements.md.
"""

from __future__ import annotations

import pytest

from ottla.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
)
from ottla.wire.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from ottla.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    TopicRequest,
)
from ottla.wire.messages.list_offsets import (
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
)
from ottla.wire.messages.metadata import MetadataRequest
from tests.kafka.whole.broker import PARTITIONS, TIMEOUT_MS, WholeBroker, batch

pytestmark = pytest.mark.asyncio(loop_scope="module")

NONE, OUT_OF_RANGE, UNKNOWN_TOPIC, INVALID_TOPIC = 0, 1, 3, 17
UNKNOWN_TOPIC_ID = 100
TOPIC_RESOURCE = 2


async def exists(broker: WholeBroker, name: str) -> bool:
    everything = await broker.ask(12, MetadataRequest(topics=None))
    return name in {topic.name for topic in everything.topics}


async def policy(broker: WholeBroker, name: str) -> str | None:
    resource = DescribeConfigsResource(
        resource_type=TOPIC_RESOURCE, resource_name=name, configuration_keys=["cleanup.policy"]
    )
    response = await broker.ask(4, DescribeConfigsRequest(resources=[resource]))
    (result,) = response.results
    return None if result.error_code else result.configs[0].value


@pytest.mark.parametrize("version", [0, 3, 4, 9, 12])
async def test_statement_7_a_topic_that_a_producer_asks_for_can_be_written_to(
    broker: WholeBroker, version: int
) -> None:
    name = f"asked-for-{version}"

    (told,) = (await broker.metadata(name, create=True, version=version)).topics

    assert (told.error_code, len(told.partitions)) == (NONE, PARTITIONS)
    assert (await broker.produce(batch(), name=name)).error_code == NONE


async def test_statement_7_nothing_is_created_for_who_does_not_want_it(
    broker: WholeBroker,
) -> None:
    (told,) = (await broker.metadata("unwanted")).topics
    (illegal,) = (await broker.metadata("not/a/name", create=True)).topics

    assert (told.error_code, illegal.error_code) == (UNKNOWN_TOPIC, INVALID_TOPIC)
    assert not await exists(broker, "unwanted")
    assert not await exists(broker, "not/a/name")


async def test_statement_8_looking_for_a_topic_leaves_its_settings_to_who_creates_it(
    broker: WholeBroker,
) -> None:
    """As schema registries and connectors do: they look first, and then create it compacted."""
    name = "_schemas"
    assert await policy(broker, name) is None
    await broker.metadata(name)
    await broker.ask(0, DescribeTopicPartitionsRequest(topics=[TopicRequest(name=name)]))
    latest = ListOffsetsPartition(timestamp=-1)
    topic = ListOffsetsTopic(name=name, partitions=[latest])
    await broker.ask(7, ListOffsetsRequest(topics=[topic]))
    await broker.fetch(name=name)
    await broker.produce(batch(), name=name)
    tried = CreatableTopic(name=name, num_partitions=1, replication_factor=1)
    await broker.ask(
        7, CreateTopicsRequest(topics=[tried], timeout_ms=TIMEOUT_MS, validate_only=True)
    )

    await broker.create(name, cleanup_policy="compact")

    assert await policy(broker, name) == "compact"


async def test_statement_9_a_bad_setting_spoils_no_other_topic(broker: WholeBroker) -> None:
    def wanted(name: str, **configs: str) -> CreatableTopic:
        return CreatableTopic(
            name=name,
            num_partitions=-1,
            replication_factor=-1,
            configs=[
                CreatableTopicConfig(name=key.replace("_", "."), value=value)
                for key, value in configs.items()
            ],
        )

    request = CreateTopicsRequest(
        topics=[wanted("good"), wanted("bad", retention_ms="soon"), wanted("good-too")],
        timeout_ms=TIMEOUT_MS,
    )

    response = await broker.ask(4, request)

    codes = {topic.name: topic.error_code for topic in response.topics}
    assert codes == {"good": NONE, "bad": 40, "good-too": NONE}
    assert not await exists(broker, "bad")
    assert (await broker.produce(batch(), name="good-too")).error_code == NONE


async def test_statement_12_the_id_of_a_topic_that_was_is_unknown(broker: WholeBroker) -> None:
    before = await broker.create("again")
    await broker.produce(batch(b"old"), name="again")
    await broker.delete("again")
    after = await broker.create("again")

    old = await broker.fetch(topic_id=before, version=13)
    new = await broker.fetch(topic_id=after, version=13)
    (told,) = (await broker.metadata("again")).topics

    assert old.error_code == UNKNOWN_TOPIC_ID
    assert (new.error_code, new.high_watermark) == (NONE, 0)
    assert told.topic_id == after != before


async def test_statement_12_a_reader_beyond_the_end_of_the_new_topic_begins_anew(
    broker: WholeBroker,
) -> None:
    await broker.create("shorter")
    await broker.produce(batch(b"a", b"b", b"c"), name="shorter")
    await broker.delete("shorter")
    await broker.create("shorter")
    await broker.produce(batch(b"d"), name="shorter")

    assert (await broker.fetch(3, name="shorter")).error_code == OUT_OF_RANGE
    assert (await broker.fetch(0, name="shorter")).high_watermark == 1


async def test_statement_13_pages_of_a_topic_add_up_to_its_metadata(broker: WholeBroker) -> None:
    wide = CreatableTopic(name="wide", num_partitions=5, replication_factor=1)
    await broker.ask(7, CreateTopicsRequest(topics=[wide], timeout_ms=TIMEOUT_MS))
    paged: list[int] = []
    request = DescribeTopicPartitionsRequest(
        topics=[TopicRequest(name="wide")], response_partition_limit=2
    )
    while True:
        page = await broker.ask(0, request)
        paged += [one.partition_index for topic in page.topics for one in topic.partitions]
        if page.next_cursor is None:
            break
        request.cursor = page.next_cursor

    (told,) = (await broker.metadata("wide")).topics
    assert paged == [one.partition_index for one in told.partitions] == [0, 1, 2, 3, 4]
