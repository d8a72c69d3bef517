"""Brokers, partitions, features and the quorum are administered as Kafka's tools expect."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.cluster.services import HostedPartitionDescription, LogDirectoryDescription
from ottla.controller.requests import Reassign, Reassignment
from ottla.model.errors import StorageError
from ottla.model.ids import BrokerId, Offset, TopicPartition
from ottla.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ReassignablePartition,
    ReassignableTopic,
)
from ottla.wire.messages.alter_replica_log_dirs import (
    AlterReplicaLogDir,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopic,
)
from ottla.wire.messages.create_topics import CreatableReplicaAssignment, CreatableTopic
from ottla.wire.messages.describe_log_dirs import (
    DescribableLogDirTopic,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
)
from ottla.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    RequestPartitionData,
    RequestTopicData,
)
from ottla.wire.messages.elect_leaders import (
    ElectLeadersRequest,
    ElectLeadersResponse,
    TopicPartitions,
)
from ottla.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    ListPartitionReassignmentsTopics,
)
from ottla.wire.messages.unregister_broker import (
    UnregisterBrokerRequest,
    UnregisterBrokerResponse,
)
from ottla.wire.messages.update_features import (
    FeatureUpdateKey,
    UpdateFeaturesRequest,
    UpdateFeaturesResponse,
)
from tests.cluster.control_plane import TIMEOUT_MS
from tests.kafka.admin.door import AdminDoor

UNKNOWN, REPLICA_NOT_AVAILABLE, INVALID_REPLICATION_FACTOR, INVALID_ASSIGNMENT = 3, 9, 38, 39
INVALID_REQUEST, STORAGE_ERROR, LOG_DIR_NOT_FOUND = 42, 56, 57
PREFERRED_NOT_AVAILABLE, NOT_NEEDED, NO_REASSIGNMENT = 80, 84, 85
INVALID_UPDATE_VERSION, NOT_REGISTERED = 95, 102

# --- Log directories ----------------------------------------------------------------


def hosted(
    name: str, partition: int, *, end: int = 10, high_watermark: int = 10
) -> HostedPartitionDescription:
    return HostedPartitionDescription(
        topic_partition=TopicPartition(name, partition),
        size_bytes=100 + partition,
        segment_count=1,
        log_start_offset=Offset(0),
        log_end_offset=Offset(end),
        durable_end_offset=Offset(end),
        high_watermark=Offset(high_watermark),
    )


def with_directory(door: AdminDoor, *, error: StorageError | None = None) -> None:
    parts = [hosted("app", 0), hosted("web", 0), hosted("web", 1, end=7)]
    door.hosted.directories = [LogDirectoryDescription("/data", error, 1_000, 400, parts)]


async def described(
    door: AdminDoor, *asked: tuple[str, list[int]], every: bool = False, version: int = -1
) -> DescribeLogDirsResponse:
    topics = [DescribableLogDirTopic(topic=name, partitions=parts) for name, parts in asked]
    request = DescribeLogDirsRequest(topics=None if every else topics)
    return await door.ask(request, DescribeLogDirsResponse, version=version)


async def test_directory_is_described_with_all_partitions(door: AdminDoor) -> None:
    with_directory(door)

    (result,) = (await described(door, every=True)).results

    assert (result.error_code, result.log_dir) == (0, "/data")
    assert (result.total_bytes, result.usable_bytes) == (1_000, 400)
    assert [
        (
            topic.name,
            [(p.partition_index, p.partition_size, p.offset_lag) for p in topic.partitions],
        )
        for topic in result.topics
    ] == [("app", [(0, 100, 0)]), ("web", [(0, 100, 0), (1, 101, 3)])]


async def test_only_the_partitions_asked_for_are_described(door: AdminDoor) -> None:
    with_directory(door)

    (result,) = (await described(door, ("web", [1, 9]), ("no", [0]), version=1)).results

    assert [(t.name, [p.partition_index for p in t.partitions]) for t in result.topics] == [
        ("web", [1])
    ]


async def test_failed_directory_is_an_error_without_partitions(door: AdminDoor) -> None:
    with_directory(door, error=StorageError("gone"))

    (result,) = (await described(door, every=True)).results

    assert (result.error_code, result.topics) == (STORAGE_ERROR, [])


@pytest.mark.parametrize(
    ("path", "topic", "failed", "code"),
    [
        ("/data", "web", False, 0),
        ("/data", "elsewhere", False, REPLICA_NOT_AVAILABLE),
        ("/other", "web", False, LOG_DIR_NOT_FOUND),
        ("/data", "web", True, STORAGE_ERROR),
    ],
)
async def test_replica_can_only_be_where_it_is(
    door: AdminDoor, path: str, topic: str, *, failed: bool, code: int
) -> None:
    with_directory(door, error=StorageError("gone") if failed else None)
    asked = AlterReplicaLogDir(
        path=path, topics=[AlterReplicaLogDirTopic(name=topic, partitions=[1])]
    )

    response = await door.ask(AlterReplicaLogDirsRequest(dirs=[asked]), AlterReplicaLogDirsResponse)

    (result,) = response.results
    assert result.topic_name == topic
    assert [(p.partition_index, p.error_code) for p in result.partitions] == [(1, code)]


# --- Elections ----------------------------------------------------------------------


async def elect(
    door: AdminDoor, topics: dict[str, list[int]] | None, *, kind: int = 0, version: int = -1
) -> dict[tuple[str, int], int]:
    named = None
    if topics is not None:
        named = [TopicPartitions(topic=name, partitions=parts) for name, parts in topics.items()]
    response = await door.ask(
        ElectLeadersRequest(election_type=kind, topic_partitions=named),
        ElectLeadersResponse,
        version=version,
    )
    return {
        (topic.topic, result.partition_id): result.error_code
        for topic in response.replica_election_results
        for result in topic.partition_result
    }


async def led_by_another(door: AdminDoor) -> TopicPartition:
    """Return a partition whose preferred leader was away, and is back."""
    await door.create("web")
    preferred = door.image.topics["web"].partitions[0].replicas[0]
    door.plane.fence(preferred)
    await door.plane.start_broker(preferred)
    return TopicPartition("web", 0)


@pytest.mark.parametrize("version", [0, 2])
async def test_partition_that_its_preferred_leader_leads_needs_no_election(
    door: AdminDoor, version: int
) -> None:
    await door.create("web")

    results = await elect(door, {"web": [0, 9], "no": [0]}, version=version)

    assert results == {("web", 0): NOT_NEEDED, ("web", 9): UNKNOWN, ("no", 0): UNKNOWN}


async def test_election_without_a_good_preferred_leader_says_so(door: AdminDoor) -> None:
    name, number = await led_by_another(door)

    # It is back, but not in sync: nobody leads the partition who could add it.
    assert await elect(door, {name: [number]}) == {(name, number): PREFERRED_NOT_AVAILABLE}


async def test_nothing_named_is_nothing_elected_and_null_is_all_that_need_it(
    door: AdminDoor,
) -> None:
    chosen = CreatableReplicaAssignment(partition_index=0, broker_ids=[1, 2])
    wanted = CreatableTopic(
        name="web", num_partitions=-1, replication_factor=-1, assignments=[chosen]
    )
    await door.create(wanted, "app")
    await move(door, ("web", 0, [2, 1]))

    assert await elect(door, {}) == {}
    assert door.image.topics["web"].partitions[0].leader == 1
    assert await elect(door, None) == {("web", 0): 0}
    assert door.image.topics["web"].partitions[0].leader == 2


async def test_unknown_type_of_election_is_refused(door: AdminDoor) -> None:
    await door.create("web")

    assert await elect(door, {"web": [0]}, kind=7) == {("web", 0): INVALID_REQUEST}


# --- Reassignments ------------------------------------------------------------------


async def move(
    door: AdminDoor, *moves: tuple[str, int, list[int] | None], **options: Any
) -> dict[tuple[str, int], int]:
    topics = [
        ReassignableTopic(
            name=name, partitions=[ReassignablePartition(partition_index=number, replicas=brokers)]
        )
        for name, number, brokers in moves
    ]
    response = await door.ask(
        AlterPartitionReassignmentsRequest(topics=topics, **options),
        AlterPartitionReassignmentsResponse,
    )
    assert response.error_code == 0, response.error_message
    return {
        (topic.name, result.partition_index): result.error_code
        for topic in response.responses
        for result in topic.partitions
    }


async def test_partitions_are_moved_each_for_itself(door: AdminDoor) -> None:
    await door.create("web")

    results = await move(
        door,
        ("web", 0, [3, 1, 2]),
        ("web", 1, []),
        ("web", 9, [1]),
        ("no", 0, [1]),
    )

    assert results == {
        ("web", 0): 0,
        ("web", 1): INVALID_ASSIGNMENT,
        ("web", 9): UNKNOWN,
        ("no", 0): UNKNOWN,
    }
    assert door.image.topics["web"].partitions[0].adding_replicas


@pytest.mark.parametrize("brokers", [[1, 1], [1, 9]])
async def test_brokers_that_cannot_be_are_refused(door: AdminDoor, brokers: list[int]) -> None:
    await door.create("web")

    assert await move(door, ("web", 0, brokers)) == {("web", 0): INVALID_ASSIGNMENT}


async def test_null_cancels_and_needs_something_to_cancel(door: AdminDoor) -> None:
    await door.create("web")
    assert await move(door, ("web", 0, None)) == {("web", 0): NO_REASSIGNMENT}
    before = door.image.topics["web"].partitions[0].replicas
    await move(door, ("web", 0, [3, 1, 2]))

    assert await move(door, ("web", 0, None)) == {("web", 0): 0}
    assert set(door.image.topics["web"].partitions[0].replicas) == set(before)


async def test_number_of_replicas_can_be_held_fast(door: AdminDoor) -> None:
    await door.create("web")

    results = await move(door, ("web", 0, [1, 2, 3]), allow_replication_factor_change=False)

    assert results == {("web", 0): INVALID_REPLICATION_FACTOR}


async def listed(
    door: AdminDoor, topics: dict[str, list[int]] | None
) -> list[tuple[str, int, list[int], list[int]]]:
    asked = None
    if topics is not None:
        asked = [
            ListPartitionReassignmentsTopics(name=name, partition_indexes=parts)
            for name, parts in topics.items()
        ]
    response = await door.ask(
        ListPartitionReassignmentsRequest(topics=asked), ListPartitionReassignmentsResponse
    )
    return [
        (topic.name, part.partition_index, part.adding_replicas, part.removing_replicas)
        for topic in response.topics
        for part in topic.partitions
    ]


@pytest.mark.parametrize("asked", [None, {"web": [0, 1, 7], "no": [0]}])
async def test_moves_under_way_are_listed(
    door: AdminDoor, asked: dict[str, list[int]] | None
) -> None:
    await door.create("web", "app")
    before = door.image.topics["web"].partitions[0].replicas
    (other,) = {1, 2, 3} - set(before)
    target = (BrokerId(other), before[0])
    partition = TopicPartition("web", 0)
    request = Reassign(partitions=(Reassignment(topic_partition=partition, replicas=target),))
    await door.plane.driver.submit(request, timeout_ms=TIMEOUT_MS)

    assert await listed(door, asked) == [("web", 0, [other], [before[1]])]
    assert await listed(door, {"web": [1]}) == []


# --- The quorum, features, brokers --------------------------------------------------


async def quorum(door: AdminDoor, topic: str, *partitions: int) -> DescribeQuorumResponse:
    parts = [RequestPartitionData(partition_index=partition) for partition in partitions]
    request = DescribeQuorumRequest(topics=[RequestTopicData(topic_name=topic, partitions=parts)])
    return await door.ask(request, DescribeQuorumResponse)


async def test_quorum_is_described_as_the_partition_that_kafka_has(door: AdminDoor) -> None:
    response = await quorum(door, "__cluster_metadata", 0)

    (described,) = response.topics[0].partitions
    assert (described.error_code, described.leader_id, described.leader_epoch) == (0, 1, 7)
    assert described.high_watermark == 42
    voters = [(v.replica_id, v.log_end_offset) for v in described.current_voters]
    assert voters == [(1, 42), (2, -1)]
    assert [observer.replica_id for observer in described.observers] == [3]


@pytest.mark.parametrize(("topic", "partition"), [("web", 0), ("__cluster_metadata", 1)])
async def test_other_partitions_have_no_quorum(door: AdminDoor, topic: str, partition: int) -> None:
    (described,) = (await quorum(door, topic, partition)).topics[0].partitions

    assert described.error_code == UNKNOWN


async def test_quorum_is_described_once_in_an_answer(door: AdminDoor) -> None:
    response = await quorum(door, "__cluster_metadata", 0, 0)

    assert (response.error_code, response.topics) == (INVALID_REQUEST, [])


async def update(
    door: AdminDoor, *levels: tuple[str, int], version: int, validate_only: bool = False
) -> UpdateFeaturesResponse:
    updates = [
        FeatureUpdateKey(feature=name, max_version_level=level, upgrade_type=1)
        for name, level in levels
    ]
    request = UpdateFeaturesRequest(feature_updates=updates, validate_only=validate_only)
    return await door.ask(request, UpdateFeaturesResponse, version=version)


async def test_feature_is_raised_to_a_level_that_there_is(door: AdminDoor) -> None:
    await update(door, ("metadata.version", 1), version=2, validate_only=True)
    assert not door.plane.machine.state.feature_levels

    response = await update(door, ("metadata.version", 1), version=2)

    assert response.error_code == 0
    assert door.plane.machine.state.feature_levels == {"metadata.version": 1}


@pytest.mark.parametrize(
    "wanted", [("metadata.version", 99), ("metadata.version", -1), ("transaction.version", 2)]
)
async def test_level_that_there_is_not_is_refused_and_nothing_is_set(
    door: AdminDoor, wanted: tuple[str, int]
) -> None:
    new = await update(door, ("metadata.version", 1), wanted, version=2)
    old = await update(door, ("metadata.version", 1), wanted, version=1)

    assert (new.error_code, new.results) == (INVALID_UPDATE_VERSION, [])
    assert wanted[0] in (new.error_message or "")
    assert [(r.feature, r.error_code) for r in old.results] == [
        (wanted[0], INVALID_UPDATE_VERSION) if name == wanted[0] else (name, INVALID_UPDATE_VERSION)
        for name in ("metadata.version", wanted[0])
    ]
    assert not door.plane.machine.state.feature_levels


@pytest.mark.parametrize(("broker", "code"), [(9, NOT_REGISTERED), (2, INVALID_REQUEST), (3, 0)])
async def test_broker_that_is_gone_is_unregistered(door: AdminDoor, broker: int, code: int) -> None:
    door.plane.fence(3)
    door.plane.publish()

    response = await door.ask(UnregisterBrokerRequest(broker_id=broker), UnregisterBrokerResponse)

    assert response.error_code == code
    assert (BrokerId(3) in door.image.brokers) == (code != 0)
