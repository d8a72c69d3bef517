"""Clients hear of brokers and topics as they expect it; topics come to be where they may."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from ottla.controller.requests import Reassign, Reassignment, UnfenceBroker
from ottla.model.ids import BrokerId, TopicPartition
from ottla.model.limits import METADATA_TOPICS_MAX
from ottla.wire.messages.describe_cluster import (
    DescribeClusterRequest,
    DescribeClusterResponse,
)
from ottla.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from tests.cluster.control_plane import TIMEOUT_MS, control_plane
from tests.controller.metadata import CLUSTER_ID, brokers
from tests.kafka.admin.door import AdminDoor, listener

UNKNOWN, LEADER_NOT_AVAILABLE, INVALID_TOPIC, INVALID_REQUEST = 3, 5, 17, 42
REPLICA_NOT_AVAILABLE, LISTENER_NOT_FOUND, UNKNOWN_TOPIC_ID = 9, 72, 100
NOT_ASKED = -(2**31)

# --- Brokers ------------------------------------------------------------------------


async def test_brokers_are_told_with_address_and_rack(door: AdminDoor) -> None:
    response = await door.metadata()

    assert [(b.node_id, b.host, b.port, b.rack) for b in response.brokers] == [
        (1, "host-1", 9093, None),
        (2, "host-2", 9094, None),
        (3, "host-3", 9095, "r3"),
    ]
    assert (response.cluster_id, response.controller_id) == (CLUSTER_ID, 1)


async def test_fenced_broker_is_left_out(door: AdminDoor) -> None:
    door.plane.fence(2)
    door.plane.publish()

    assert [b.node_id for b in (await door.metadata()).brokers] == [1, 3]


async def test_controller_that_cannot_be_reached_is_another_broker(door: AdminDoor) -> None:
    door.plane.fence(1)
    door.plane.publish()

    assert (await door.metadata()).controller_id == 2


async def test_broker_without_the_listener_is_left_out_and_so_are_its_partitions(
    door: AdminDoor,
) -> None:
    await door.plane.start_broker(4, listeners=(listener(4), listener(4, name="WAN")))
    await door.create("web")

    response = await door.metadata("web", name="WAN")
    old = await door.metadata("web", name="WAN", version=5)

    assert [broker.node_id for broker in response.brokers] == [4]
    for answer, code in ((response, LISTENER_NOT_FOUND), (old, LEADER_NOT_AVAILABLE)):
        parts = [p for p in answer.topics[0].partitions if p.leader_id == -1]
        assert {part.error_code for part in parts} == {code}


# --- Topics -------------------------------------------------------------------------


async def test_topic_is_described_with_id_leaders_and_epochs(door: AdminDoor) -> None:
    await door.create("web")

    (topic,) = (await door.metadata("web")).topics

    image = door.image.topics["web"]
    assert (topic.error_code, topic.name, topic.topic_id) == (0, "web", image.topic_id)
    assert not topic.is_internal
    assert [p.partition_index for p in topic.partitions] == [0, 1]
    for part, expected in zip(topic.partitions, image.partitions, strict=True):
        assert part.leader_id == expected.leader
        assert part.leader_epoch == expected.leader_epoch
        assert part.replica_nodes == list(expected.replicas)
        assert part.isr_nodes == list(expected.in_sync_replicas)
        assert part.offline_replicas == []


async def test_replica_on_a_fenced_broker_is_offline(door: AdminDoor) -> None:
    await door.create("web")
    door.plane.fence(2)
    door.plane.publish()

    (topic,) = (await door.metadata("web")).topics

    for part in topic.partitions:
        assert part.offline_replicas == [2] * (2 in part.replica_nodes)


async def test_replica_is_not_offline_any_more_when_its_broker_is_back(door: AdminDoor) -> None:
    await door.create("web")
    door.plane.fence(2)
    door.plane.publish()
    await door.metadata("web")
    epoch = door.image.brokers[BrokerId(2)].broker_epoch
    request = UnfenceBroker(broker_id=BrokerId(2), broker_epoch=epoch)
    await door.plane.driver.submit(request, timeout_ms=TIMEOUT_MS)

    (topic,) = (await door.metadata("web")).topics

    assert [part.offline_replicas for part in topic.partitions] == [[], []]


async def test_partition_without_leader_says_so_and_is_described(door: AdminDoor) -> None:
    await door.create("web")
    for broker in (1, 2, 3):
        door.plane.fence(broker)
    door.plane.publish()

    (topic,) = (await door.metadata("web")).topics

    assert topic.error_code == 0
    assert [(p.error_code, p.leader_id) for p in topic.partitions] == [
        (LEADER_NOT_AVAILABLE, -1)
    ] * 2


async def test_first_version_leaves_out_what_is_offline(door: AdminDoor) -> None:
    await door.create("web")
    door.plane.fence(2)
    door.plane.publish()

    (topic,) = (await door.metadata("web", version=0)).topics

    for part in topic.partitions:
        assert 2 not in part.replica_nodes
        assert part.error_code in {0, REPLICA_NOT_AVAILABLE}
    assert REPLICA_NOT_AVAILABLE in {part.error_code for part in topic.partitions}


async def test_answers_follow_the_metadata(door: AdminDoor) -> None:
    await door.create("web")
    before = await door.metadata("web")
    move = Reassignment(topic_partition=TopicPartition("web", 0), replicas=brokers(3, 1, 2))
    await door.plane.driver.submit(Reassign(partitions=(move,)), timeout_ms=TIMEOUT_MS)

    after = await door.metadata("web")

    assert before.topics != after.topics
    assert after.topics[0].partitions[0].replica_nodes[:3] == [3, 1, 2]


@pytest.mark.parametrize(("version", "topics"), [(0, ()), (1, None), (13, None)])
async def test_all_topics_are_all_of_them_with_the_internal_ones(
    door: AdminDoor, version: int, topics: tuple[()] | None
) -> None:
    await door.create("web", "__consumer_offsets")
    request = MetadataRequest(topics=None if topics is None else [])

    response = await door.ask(request, MetadataResponse, version=version)

    internal = {topic.name: topic.is_internal for topic in response.topics}
    assert set(internal) == {"web", "__consumer_offsets"}
    if version > 0:
        assert internal == {"web": False, "__consumer_offsets": True}


@pytest.mark.parametrize("version", [1, 13])
async def test_empty_list_of_topics_is_none_of_them(door: AdminDoor, version: int) -> None:
    await door.create("web")

    assert (await door.metadata(version=version)).topics == []


async def test_topic_is_found_by_its_id(door: AdminDoor) -> None:
    await door.create("web")
    topic_id = door.image.topics["web"].topic_id
    asked = [
        MetadataRequestTopic(name=None, topic_id=topic_id),
        MetadataRequestTopic(name=None, topic_id=UUID(int=99)),
    ]

    response = await door.ask(MetadataRequest(topics=asked), MetadataResponse)

    assert [(t.error_code, t.name, t.topic_id) for t in response.topics] == [
        (0, "web", topic_id),
        (UNKNOWN_TOPIC_ID, None, UUID(int=99)),
    ]


async def test_topic_whose_id_is_named_again_is_not_described_again(door: AdminDoor) -> None:
    await door.create("web")
    asked = [MetadataRequestTopic(name=None, topic_id=door.image.topics["web"].topic_id)] * 100

    response = await door.ask(MetadataRequest(topics=asked), MetadataResponse)

    assert [topic.name for topic in response.topics] == ["web"]


@pytest.mark.parametrize("version", [10, 11])
async def test_id_is_refused_before_the_version_that_knows_it(
    door: AdminDoor, version: int
) -> None:
    asked = [MetadataRequestTopic(name=None, topic_id=UUID(int=99))]

    response = await door.ask(MetadataRequest(topics=asked), MetadataResponse, version=version)

    assert [topic.error_code for topic in response.topics] == [INVALID_REQUEST]
    assert len(response.brokers) == 3


async def test_too_many_names_are_refused_one_by_one(door: AdminDoor) -> None:
    names = [f"t{number}" for number in range(METADATA_TOPICS_MAX + 1)]

    assert set((await door.codes_of(*names)).values()) == {INVALID_REQUEST}


@pytest.mark.parametrize("version", [8, 10, 13])
async def test_authorized_operations_are_told_when_asked_for(door: AdminDoor, version: int) -> None:
    await door.create("web")
    request = MetadataRequest(
        topics=None,
        include_cluster_authorized_operations=version <= 10,
        include_topic_authorized_operations=True,
    )

    response = await door.ask(request, MetadataResponse, version=version)

    # READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS
    assert response.topics[0].topic_authorized_operations == 0b110111111000
    if version <= 10:
        assert response.cluster_authorized_operations == 0b1111110100000 | 1 << 11


async def test_authorized_operations_are_not_told_unasked(door: AdminDoor) -> None:
    await door.create("web")

    assert (await door.metadata("web")).topics[0].topic_authorized_operations == NOT_ASKED


# --- Creating topics by asking for them ---------------------------------------------


async def test_statement_7_topic_is_created_if_the_client_asks_for_it(door: AdminDoor) -> None:
    (topic,) = (await door.metadata("new", create=True)).topics

    assert topic.error_code == 0
    assert [part.error_code for part in topic.partitions] == [0, 0]
    assert all(part.leader_id in {1, 2, 3} for part in topic.partitions)


async def test_statement_7_topic_is_not_created_if_the_client_does_not_ask_for_it(
    door: AdminDoor,
) -> None:
    assert await door.codes_of("new", create=False) == {"new": UNKNOWN}
    assert "new" not in door.image.topics


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_statement_7_old_client_cannot_say_no(door: AdminDoor, version: int) -> None:
    await door.metadata("new", create=True, version=version)

    assert "new" in door.image.topics


async def test_statement_7_topic_is_not_created_if_the_broker_is_not_to_create_any() -> None:
    async with control_plane() as plane:
        door = AdminDoor(plane, auto_create=False)

        assert await door.codes_of("new", create=True) == {"new": UNKNOWN}


@pytest.mark.parametrize("create", [False, True])
async def test_statement_7_illegal_name_is_refused_and_spoils_no_other(
    door: AdminDoor, *, create: bool
) -> None:
    codes = await door.codes_of("a b", "good", create=create)

    assert codes == {"a b": INVALID_TOPIC, "good": 0 if create else UNKNOWN}


async def test_statement_7_name_that_collides_is_refused(door: AdminDoor) -> None:
    await door.create("a.b")

    assert await door.codes_of("a_b", create=True) == {"a_b": INVALID_TOPIC}


async def test_statement_7_internal_topic_is_not_created_by_asking(door: AdminDoor) -> None:
    assert await door.codes_of("__consumer_offsets", create=True) == {"__consumer_offsets": UNKNOWN}


async def test_statement_7_all_topics_create_none(door: AdminDoor) -> None:
    await door.ask(MetadataRequest(topics=None), MetadataResponse)

    assert not door.image.topics


async def test_topic_that_cannot_be_created_now_is_to_be_asked_for_again(door: AdminDoor) -> None:
    door.plane.step_down()

    assert await door.codes_of("new", create=True) == {"new": LEADER_NOT_AVAILABLE}


# --- DescribeCluster ----------------------------------------------------------------


async def described(door: AdminDoor, **asked: Any) -> DescribeClusterResponse:
    return await door.ask(DescribeClusterRequest(**asked), DescribeClusterResponse)


async def test_cluster_is_described_with_its_brokers(door: AdminDoor) -> None:
    response = await described(door, include_cluster_authorized_operations=True)

    assert (response.error_code, response.cluster_id, response.controller_id) == (0, CLUSTER_ID, 1)
    assert [(b.broker_id, b.host, b.port, b.rack, b.is_fenced) for b in response.brokers] == [
        (1, "host-1", 9093, None, False),
        (2, "host-2", 9094, None, False),
        (3, "host-3", 9095, "r3", False),
    ]
    assert response.cluster_authorized_operations > 0


@pytest.mark.parametrize("asked", [False, True])
async def test_fenced_brokers_are_described_if_they_are_asked_for(
    door: AdminDoor, *, asked: bool
) -> None:
    door.plane.fence(2)
    door.plane.publish()

    response = await described(door, include_fenced_brokers=asked)

    fenced = {broker.broker_id: broker.is_fenced for broker in response.brokers}
    assert fenced == ({1: False, 2: True, 3: False} if asked else {1: False, 3: False})


@pytest.mark.parametrize(("kind", "code"), [(1, 0), (2, 114), (3, 115)])
async def test_only_brokers_can_be_asked_for(door: AdminDoor, kind: int, code: int) -> None:
    assert (await described(door, endpoint_type=kind)).error_code == code
