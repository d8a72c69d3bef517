"""Topics are created, deleted and grown as Kafka's tools expect, each for itself."""

from __future__ import annotations

from uuid import UUID

import pytest

from ottla.config.topic_settings import INERT_SETTINGS, TOPIC_SETTINGS
from ottla.model.ids import BrokerId
from ottla.wire.messages.create_partitions import (
    CreatePartitionsAssignment,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
)
from ottla.wire.messages.create_topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsResponse,
)
from ottla.wire.messages.delete_topics import (
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from ottla.wire.messages.describe_topic_partitions import (
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    RequestCursor,
    TopicRequest,
)
from ottla.wire.messages.metadata import MetadataRequest, MetadataResponse
from tests.kafka.admin.door import AdminDoor

UNKNOWN, INVALID_TOPIC, EXISTS, INVALID_PARTITIONS = 3, 17, 36, 37
INVALID_REPLICATION_FACTOR, INVALID_ASSIGNMENT, INVALID_CONFIG, INVALID_REQUEST = 38, 39, 40, 42
UNKNOWN_TOPIC_ID = 100


def topic(
    name: str,
    partitions: int = -1,
    replication_factor: int = -1,
    *,
    assigned: dict[int, list[int]] | None = None,
    **configs: str | None,
) -> CreatableTopic:
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        assignments=[
            CreatableReplicaAssignment(partition_index=number, broker_ids=brokers)
            for number, brokers in (assigned or {}).items()
        ],
        configs=[
            CreatableTopicConfig(name=key.replace("_", "."), value=value)
            for key, value in configs.items()
        ],
    )


def codes(response: CreateTopicsResponse) -> dict[str, int]:
    return {answer.name: answer.error_code for answer in response.topics}


# --- CreateTopics -------------------------------------------------------------------


@pytest.mark.parametrize("version", [2, 4, 7])
async def test_statement_9_number_that_is_not_given_is_the_brokers_default(
    door: AdminDoor, version: int
) -> None:
    assert codes(await door.create("web", version=version)) == {"web": 0}

    partitions = door.image.topics["web"].partitions
    assert (len(partitions), len(partitions[0].replicas)) == (2, 2)


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (topic("bad", retention_ms="soon"), INVALID_CONFIG),
        (topic("bad", cleanup_policy="compress"), INVALID_CONFIG),
        (topic("bad", remote_storage_enable="true"), INVALID_CONFIG),
        (topic("bad", no_such="1"), INVALID_CONFIG),
        (topic("bad", retention_ms=None), INVALID_CONFIG),
        (topic("bad", partitions=0), INVALID_PARTITIONS),
        (topic("bad", partitions=-2), INVALID_PARTITIONS),
        (topic("bad", replication_factor=0), INVALID_REPLICATION_FACTOR),
        (topic("bad", replication_factor=4), INVALID_REPLICATION_FACTOR),
        (topic("present"), EXISTS),
        (topic("bad name"), INVALID_TOPIC),
        (topic("a_b"), INVALID_TOPIC),
        (topic("x" * 250), INVALID_TOPIC),
    ],
    ids=lambda value: value.name[:9] if isinstance(value, CreatableTopic) else str(value),
)
async def test_statement_9_bad_topic_is_refused_and_the_good_one_is_created(
    door: AdminDoor, wanted: CreatableTopic, code: int
) -> None:
    await door.create("present", "a.b")

    response = await door.create(topic("good"), wanted)

    assert codes(response) == {"good": 0, wanted.name: code}
    assert set(door.image.topics) == {"present", "a.b", "good"}
    assert len(response.topics[1].error_message or "") > 20


async def test_statement_9_topic_that_is_named_twice_is_refused_once(door: AdminDoor) -> None:
    response = await door.create("web", "web", "other")

    assert [(answer.name, answer.error_code) for answer in response.topics] == [
        ("web", INVALID_REQUEST),
        ("other", 0),
    ]


async def test_statement_9_setting_that_is_given_twice_is_refused(door: AdminDoor) -> None:
    wanted = topic("web", retention_ms="1")
    wanted.configs *= 2

    assert codes(await door.create(wanted)) == {"web": INVALID_REQUEST}


async def test_statement_9_validation_creates_nothing_and_tells_what_there_would_be(
    door: AdminDoor,
) -> None:
    response = await door.create(topic("web", 5, 3, retention_ms="9"), validate_only=True)

    (answer,) = response.topics
    assert (answer.error_code, answer.num_partitions, answer.replication_factor) == (0, 5, 3)
    assert {c.name: c.value for c in answer.configs or ()}["retention.ms"] == "9"
    assert not door.image.topics


async def test_statement_9_answer_has_all_settings_with_their_sources(door: AdminDoor) -> None:
    response = await door.create(topic("web", segment_ms="1000"))

    (answer,) = response.topics
    settings = {
        config.name: (config.value, config.config_source) for config in answer.configs or ()
    }
    assert set(settings) == {*TOPIC_SETTINGS, *INERT_SETTINGS}
    assert settings["segment.ms"] == ("1000", 1)
    assert settings["retention.ms"] == ("7000", 4)
    assert settings["cleanup.policy"] == ("delete", 5)


async def test_statement_9_answer_has_the_id_from_version_7_on(door: AdminDoor) -> None:
    first = await door.create("first", version=7)
    second = await door.create("second", version=6)

    assert first.topics[0].topic_id == door.image.topics["first"].topic_id
    assert second.topics[0].topic_id == UUID(int=0)
    assert second.topics[0].num_partitions == 2


async def test_statement_9_replicas_are_those_that_were_chosen(door: AdminDoor) -> None:
    await door.create(topic("web", assigned={1: [3, 1], 0: [2, 3]}))

    assert [p.replicas for p in door.image.topics["web"].partitions] == [(2, 3), (3, 1)]
    assert [p.leader for p in door.image.topics["web"].partitions] == [2, 3]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        (topic("web", 2, assigned={0: [1], 1: [2]}), INVALID_REQUEST),
        (topic("web", replication_factor=1, assigned={0: [1]}), INVALID_REQUEST),
        (topic("web", assigned={0: [1], 2: [1]}), INVALID_ASSIGNMENT),
        (topic("web", assigned={0: [1, 1]}), INVALID_ASSIGNMENT),
        (topic("web", assigned={0: [1, 9]}), INVALID_ASSIGNMENT),
        (topic("web", assigned={0: [1, 2], 1: [3]}), INVALID_ASSIGNMENT),
        (topic("web", assigned={0: []}), INVALID_ASSIGNMENT),
    ],
)
async def test_statement_9_choice_of_replicas_that_cannot_be_is_refused(
    door: AdminDoor, wanted: CreatableTopic, code: int
) -> None:
    assert codes(await door.create(wanted)) == {"web": code}
    assert not door.image.topics


async def test_statement_8_topic_that_asking_has_created_exists_for_a_later_creation(
    door: AdminDoor,
) -> None:
    await door.metadata("web", create=True)

    assert codes(await door.create(topic("web", retention_ms="1"))) == {"web": EXISTS}


async def test_request_without_controller_is_refused_topic_by_topic(door: AdminDoor) -> None:
    door.plane.step_down()

    assert set(codes(await door.create("a", "b")).values()) == {41}


# --- DeleteTopics -------------------------------------------------------------------


async def delete(door: AdminDoor, *topics: DeleteTopicState) -> DeleteTopicsResponse:
    return await door.ask(DeleteTopicsRequest(topics=list(topics)), DeleteTopicsResponse)


@pytest.mark.parametrize("version", [1, 5])
async def test_topics_are_deleted_by_name(door: AdminDoor, version: int) -> None:
    await door.create("web")
    request = DeleteTopicsRequest(topic_names=["web", "nope"])

    response = await door.ask(request, DeleteTopicsResponse, version=version)

    assert [(a.name, a.error_code) for a in response.responses] == [("web", 0), ("nope", UNKNOWN)]
    assert not door.image.topics


async def test_topics_are_deleted_by_id(door: AdminDoor) -> None:
    await door.create("web")
    topic_id = door.image.topics["web"].topic_id

    response = await delete(
        door, DeleteTopicState(topic_id=topic_id), DeleteTopicState(topic_id=UUID(int=99))
    )

    assert [(a.name, a.topic_id, a.error_code) for a in response.responses] == [
        ("web", topic_id, 0),
        (None, UUID(int=99), UNKNOWN_TOPIC_ID),
    ]
    assert not door.image.topics


async def test_ids_and_names_may_be_mixed(door: AdminDoor) -> None:
    await door.create("a", "b")
    topic_id = door.image.topics["a"].topic_id

    response = await delete(
        door,
        DeleteTopicState(topic_id=topic_id),
        DeleteTopicState(name="b"),
        DeleteTopicState(),
        DeleteTopicState(name="c", topic_id=topic_id),
    )

    assert [(a.name, a.error_code) for a in response.responses] == [
        ("a", 0),
        ("b", 0),
        (None, INVALID_REQUEST),
        ("c", INVALID_REQUEST),
    ]


async def test_topic_that_is_named_by_name_and_id_is_refused(door: AdminDoor) -> None:
    await door.create("web")
    topic_id = door.image.topics["web"].topic_id

    response = await delete(door, DeleteTopicState(name="web"), DeleteTopicState(topic_id=topic_id))

    assert [answer.error_code for answer in response.responses] == [INVALID_REQUEST] * 2
    assert "web" in door.image.topics


async def test_statement_12_topic_that_is_created_again_has_another_id(door: AdminDoor) -> None:
    first = (await door.create("web")).topics[0].topic_id
    await delete(door, DeleteTopicState(name="web"))
    second = (await door.create("web")).topics[0].topic_id

    assert first != second
    response = await delete(door, DeleteTopicState(topic_id=first))
    assert [answer.error_code for answer in response.responses] == [UNKNOWN_TOPIC_ID]


# --- CreatePartitions ---------------------------------------------------------------


async def grow(door: AdminDoor, *topics: CreatePartitionsTopic) -> list[tuple[str, int]]:
    request = CreatePartitionsRequest(topics=list(topics), timeout_ms=1_000)
    response = await door.ask(request, CreatePartitionsResponse)
    return [(result.name, result.error_code) for result in response.results]


async def test_statement_10_there_is_a_result_for_every_topic(door: AdminDoor) -> None:
    await door.create("a", "b")

    results = await grow(
        door,
        CreatePartitionsTopic(name="a", count=4),
        CreatePartitionsTopic(name="b", count=3),
        CreatePartitionsTopic(name="c", count=3),
    )

    assert results == [("a", 0), ("b", 0), ("c", UNKNOWN)]
    assert len(door.image.topics["a"].partitions) == 4


@pytest.mark.parametrize("count", [2, 1, 0, -1])
async def test_statement_10_number_that_is_not_higher_is_refused(
    door: AdminDoor, count: int
) -> None:
    await door.create("web")

    results = await grow(door, CreatePartitionsTopic(name="web", count=count))

    assert results == [("web", INVALID_PARTITIONS)]


async def test_statement_10_topic_that_is_named_twice_is_refused_once(door: AdminDoor) -> None:
    await door.create("web")

    wanted = CreatePartitionsTopic(name="web", count=4)
    assert await grow(door, wanted, wanted) == [("web", INVALID_REQUEST)]


@pytest.mark.parametrize(
    ("brokers", "code"),
    [
        ([[3, 2]], 0),
        ([[3]], INVALID_ASSIGNMENT),
        ([[3, 9]], INVALID_ASSIGNMENT),
        ([[3, 2], [2, 3]], INVALID_ASSIGNMENT),
        ([], INVALID_ASSIGNMENT),
    ],
)
async def test_statement_10_replicas_may_be_chosen_for_those_that_are_added(
    door: AdminDoor, brokers: list[list[int]], code: int
) -> None:
    await door.create("web")
    chosen = [CreatePartitionsAssignment(broker_ids=ids) for ids in brokers]

    results = await grow(door, CreatePartitionsTopic(name="web", count=3, assignments=chosen))

    assert results == [("web", code)]
    partitions = door.image.topics["web"].partitions
    assert [p.replicas for p in partitions[2:]] == ([] if code else [(BrokerId(3), BrokerId(2))])


# --- DescribeTopicPartitions --------------------------------------------------------


async def pages(door: AdminDoor, *names: str, limit: int) -> list[DescribeTopicPartitionsResponse]:
    found: list[DescribeTopicPartitionsResponse] = []
    cursor = None
    while not found or found[-1].next_cursor is not None:
        request = DescribeTopicPartitionsRequest(
            topics=[TopicRequest(name=name) for name in names],
            response_partition_limit=limit,
            cursor=cursor,
        )
        found.append(await door.ask(request, DescribeTopicPartitionsResponse))
        after = found[-1].next_cursor
        if after is not None:
            cursor = RequestCursor(
                topic_name=after.topic_name, partition_index=after.partition_index
            )
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 2_000])
async def test_statement_13_pages_add_up_to_the_metadata(door: AdminDoor, limit: int) -> None:
    await door.create(topic("c", 3), topic("a", 4), topic("b", 1))

    found = await pages(door, limit=limit)

    paged = [
        (answer.name, part.partition_index, part.leader_id, part.leader_epoch, part.replica_nodes)
        for page in found
        for answer in page.topics
        for part in answer.partitions
    ]
    metadata = await door.ask(MetadataRequest(topics=None), MetadataResponse)
    told = [
        (answer.name, part.partition_index, part.leader_id, part.leader_epoch, part.replica_nodes)
        for answer in metadata.topics
        for part in answer.partitions
    ]
    assert paged == sorted(told)
    assert all(sum(len(t.partitions) for t in page.topics) <= limit for page in found)
    assert all(answer.partitions for page in found for answer in page.topics)


async def test_statement_13_topics_named_are_described_in_order_with_those_that_are_unknown(
    door: AdminDoor,
) -> None:
    await door.create("web", "app")

    (page,) = await pages(door, "web", "nope", "app", "a b", limit=100)

    assert [(answer.name, answer.error_code) for answer in page.topics] == [
        ("a b", INVALID_TOPIC),
        ("app", 0),
        ("nope", UNKNOWN),
        ("web", 0),
    ]


@pytest.mark.parametrize(
    "cursor",
    [
        RequestCursor(topic_name="other", partition_index=0),
        RequestCursor(topic_name="web", partition_index=-1),
    ],
)
async def test_statement_13_cursor_that_is_none_is_refused(
    door: AdminDoor, cursor: RequestCursor
) -> None:
    await door.create("web")
    request = DescribeTopicPartitionsRequest(topics=[TopicRequest(name="web")], cursor=cursor)

    response = await door.ask(request, DescribeTopicPartitionsResponse)

    assert [answer.error_code for answer in response.topics] == [INVALID_REQUEST]
