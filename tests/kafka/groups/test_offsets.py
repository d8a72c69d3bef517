"""Offsets of groups are committed, fetched and deleted with Kafka's answers in each version."""

from __future__ import annotations

import pytest

from ottla.coordinator import requests as groups
from ottla.model.errors import (
    CoordinatorNotAvailableError,
    GroupSubscribedToTopicError,
    NonEmptyGroupError,
    NotCoordinatorError,
    OffsetMetadataTooLargeError,
    StaleMemberEpochError,
    UnstableOffsetCommitError,
)
from ottla.model.ids import LeaderEpoch, Offset, TopicPartition
from ottla.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from ottla.wire.messages.offset_delete import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from ottla.wire.messages.offset_fetch import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from tests.kafka.groups.door import UNKNOWN_ID, WEB_ID, GroupDoor

WEB = TopicPartition("web", 0)
COMMITTED = groups.CommittedOffset(
    topic_partition=WEB, offset=Offset(7), leader_epoch=LeaderEpoch(2), metadata="note"
)


def commit(version: int, *offsets: int) -> OffsetCommitRequest:
    """Commit an offset for each partition of ``web``."""
    topic = OffsetCommitRequestTopic(
        partitions=[
            OffsetCommitRequestPartition(partition_index=number, committed_offset=offset)
            for number, offset in enumerate(offsets)
        ]
    )
    if version >= 10:
        topic.topic_id = WEB_ID
    else:
        topic.name = "web"
    return OffsetCommitRequest(
        group_id="group", generation_id_or_member_epoch=3, member_id="one", topics=[topic]
    )


# --- OffsetCommit ------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2, 11))
async def test_each_partition_has_its_outcome(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.CommitOffsets] = [None, OffsetMetadataTooLargeError("long")]
    response = await door.ask(version, commit(version, 7, 8))
    (topic,) = response.topics
    assert [(one.partition_index, one.error_code) for one in topic.partitions] == [(0, 0), (1, 12)]
    assert topic.topic_id == WEB_ID if version >= 10 else topic.name == "web"
    asked = door.asked()
    assert [one.topic_partition for one in asked.offsets] == [WEB, TopicPartition("web", 1)]
    assert [one.offset for one in asked.offsets] == [7, 8]
    assert asked.understands_stale_epochs == (version >= 9)


@pytest.mark.parametrize("version", range(2, 11))
async def test_an_error_of_the_group_is_one_of_each_partition(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.CommitOffsets] = StaleMemberEpochError("old")
    (topic,) = (await door.ask(version, commit(version, 7, 8))).topics
    assert [one.error_code for one in topic.partitions] == [113, 113]


async def test_metadata_and_leader_epoch_are_committed() -> None:
    door = GroupDoor()
    door.groups.answers[groups.CommitOffsets] = [None]
    request = commit(8, 7)
    partition = request.topics[0].partitions[0]
    partition.committed_metadata, partition.committed_leader_epoch = "note", 2
    await door.ask(8, request)
    (asked,) = door.asked().offsets
    assert (asked.metadata, asked.leader_epoch) == ("note", 2)


async def test_no_metadata_is_empty_metadata() -> None:
    door = GroupDoor()
    door.groups.answers[groups.CommitOffsets] = [None]
    request = commit(8, 7)
    request.topics[0].partitions[0].committed_metadata = None
    await door.ask(8, request)
    assert door.asked().offsets[0].metadata == ""


async def test_a_topic_of_an_unknown_id_keeps_nothing_of_the_others_out() -> None:
    door = GroupDoor()
    door.groups.answers[groups.CommitOffsets] = [None]
    request = commit(10, 7)
    request.topics.insert(
        0,
        OffsetCommitRequestTopic(
            topic_id=UNKNOWN_ID, partitions=[OffsetCommitRequestPartition(partition_index=4)]
        ),
    )
    unknown, known = (await door.ask(10, request)).topics
    assert (unknown.topic_id, unknown.partitions[0].error_code) == (UNKNOWN_ID, 100)
    assert (known.topic_id, known.partitions[0].error_code) == (WEB_ID, 0)
    assert [one.topic_id for one in door.asked().offsets] == [WEB_ID]


# --- OffsetFetch -------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(1, 8))
async def test_offsets_of_one_group_are_fetched(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = [COMMITTED]
    topics = [OffsetFetchRequestTopic(name="web", partition_indexes=[0])]
    response = await door.ask(version, OffsetFetchRequest(group_id="group", topics=topics))
    assert response.error_code == 0
    (topic,) = response.topics
    (found,) = topic.partitions
    assert (topic.name, found.committed_offset, found.metadata) == ("web", 7, "note")
    assert found.committed_leader_epoch == (2 if version >= 5 else -1)
    assert door.asked().partitions == [WEB]


@pytest.mark.parametrize("version", range(2, 8))
async def test_all_offsets_of_one_group_are_fetched(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = [COMMITTED]
    response = await door.ask(version, OffsetFetchRequest(group_id="group", topics=None))
    assert response.topics[0].partitions[0].committed_offset == 7
    assert door.asked().partitions is None


async def test_a_topic_is_answered_once() -> None:
    door = GroupDoor()
    places = [TopicPartition("web", 0), TopicPartition("logs", 0), TopicPartition("web", 1)]
    door.groups.answers[groups.FetchOffsets] = [
        groups.CommittedOffset(topic_partition=place, offset=Offset(1)) for place in places
    ]
    response = await door.ask(7, OffsetFetchRequest(group_id="group", topics=None))
    assert [(one.name, len(one.partitions)) for one in response.topics] == [("logs", 1), ("web", 2)]


async def test_the_oldest_version_has_errors_of_partitions_only() -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = NotCoordinatorError("elsewhere")
    topics = [OffsetFetchRequestTopic(name="web", partition_indexes=[0])]
    response = await door.ask(1, OffsetFetchRequest(group_id="group", topics=topics))
    (found,) = response.topics[0].partitions
    assert (found.error_code, found.committed_offset) == (16, -1)


@pytest.mark.parametrize("version", range(2, 8))
async def test_an_error_of_the_group_stands_alone(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = NotCoordinatorError("elsewhere")
    topics = [OffsetFetchRequestTopic(name="web", partition_indexes=[0])]
    response = await door.ask(version, OffsetFetchRequest(group_id="group", topics=topics))
    assert (response.error_code, response.topics) == (16, [])


async def test_an_open_transaction_is_an_error_of_its_partition() -> None:
    door = GroupDoor()
    unstable = groups.CommittedOffset(topic_partition=WEB, error=UnstableOffsetCommitError("open"))
    door.groups.answers[groups.FetchOffsets] = [unstable]
    topics = [OffsetFetchRequestTopic(name="web", partition_indexes=[0])]
    request = OffsetFetchRequest(group_id="group", topics=topics, require_stable=True)
    (found,) = (await door.ask(7, request)).topics[0].partitions
    assert (found.error_code, found.committed_offset) == (88, -1)
    assert door.asked().require_stable


@pytest.mark.parametrize("version", [8, 9])
async def test_offsets_of_several_groups_are_fetched(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = [COMMITTED]
    some = OffsetFetchRequestGroup(
        group_id="a", topics=[OffsetFetchRequestTopics(name="web", partition_indexes=[0])]
    )
    everything = OffsetFetchRequestGroup(group_id="b", topics=None)
    response = await door.ask(version, OffsetFetchRequest(groups=[some, everything]))
    assert [one.group_id for one in response.groups] == ["a", "b"]
    for group in response.groups:
        (found,) = group.topics[0].partitions
        assert (group.error_code, found.committed_offset) == (0, 7)
        assert (found.committed_leader_epoch, found.metadata) == (2, "note")


async def test_a_member_of_a_consumer_group_says_which_it_is() -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = [COMMITTED]
    group = OffsetFetchRequestGroup(group_id="a", member_id="one", member_epoch=4, topics=None)
    await door.ask(9, OffsetFetchRequest(groups=[group]))
    assert (door.asked().member_id, door.asked().member_epoch) == ("one", 4)


async def test_offsets_are_fetched_by_the_ids_of_topics() -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = [COMMITTED]
    group = OffsetFetchRequestGroup(
        group_id="a",
        topics=[
            OffsetFetchRequestTopics(topic_id=UNKNOWN_ID, partition_indexes=[3]),
            OffsetFetchRequestTopics(topic_id=WEB_ID, partition_indexes=[0]),
        ],
    )
    (answer,) = (await door.ask(10, OffsetFetchRequest(groups=[group]))).groups
    by_id = {topic.topic_id: topic.partitions[0] for topic in answer.topics}
    assert by_id[WEB_ID].committed_offset == 7
    assert (by_id[UNKNOWN_ID].error_code, by_id[UNKNOWN_ID].committed_offset) == (100, -1)
    assert door.asked().partitions == [WEB]


async def test_a_topic_that_is_gone_has_no_id_to_tell() -> None:
    door = GroupDoor()
    gone = groups.CommittedOffset(topic_partition=TopicPartition("gone", 0), offset=Offset(1))
    door.groups.answers[groups.FetchOffsets] = [COMMITTED, gone]
    group = OffsetFetchRequestGroup(group_id="a", topics=None)
    (answer,) = (await door.ask(10, OffsetFetchRequest(groups=[group]))).groups
    assert [topic.topic_id for topic in answer.topics] == [WEB_ID]


@pytest.mark.parametrize("version", [8, 10])
async def test_what_is_named_again_is_not_answered_again(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = [COMMITTED]
    topics = [
        OffsetFetchRequestTopics(name="web", topic_id=WEB_ID, partition_indexes=[0, 0])
        for _ in range(2)
    ]
    for topic in topics if version >= 10 else ():
        topic.name = ""
    group = OffsetFetchRequestGroup(group_id="a", topics=topics)
    response = await door.ask(version, OffsetFetchRequest(groups=[group, group]))
    assert [one.error_code for one in response.groups] == [0, 42]
    assert len(door.groups.asked) == 1
    assert door.asked().partitions == [WEB]


@pytest.mark.parametrize("version", [8, 9, 10])
async def test_each_group_has_its_error(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = NotCoordinatorError("elsewhere")
    group = OffsetFetchRequestGroup(group_id="a", topics=None)
    (answer,) = (await door.ask(version, OffsetFetchRequest(groups=[group]))).groups
    assert (answer.group_id, answer.error_code, answer.topics) == ("a", 16, [])


@pytest.mark.parametrize("version", range(2, 11))
async def test_a_log_that_takes_no_records_is_another_coordinators(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.FetchOffsets] = CoordinatorNotAvailableError("not now")
    request = OffsetFetchRequest(
        group_id="a", groups=[OffsetFetchRequestGroup(group_id="a", topics=None)]
    )
    response = await door.handle(version, request)
    (answer,) = response.groups if version >= 8 else [response]
    assert answer.error_code == 16


# --- OffsetDelete ------------------------------------------------------------------------


def delete() -> OffsetDeleteRequest:
    partitions = [OffsetDeleteRequestPartition(partition_index=number) for number in range(2)]
    topic = OffsetDeleteRequestTopic(name="web", partitions=partitions)
    return OffsetDeleteRequest(group_id="group", topics=[topic])


async def test_offsets_that_a_member_needs_stay() -> None:
    door = GroupDoor()
    door.groups.answers[groups.DeleteOffsets] = [None, GroupSubscribedToTopicError("read")]
    response = await door.ask(0, delete())
    (topic,) = response.topics
    assert response.error_code == 0
    assert [one.error_code for one in topic.partitions] == [0, 86]


async def test_offsets_of_a_group_that_is_not_empty_stay() -> None:
    door = GroupDoor()
    door.groups.answers[groups.DeleteOffsets] = NonEmptyGroupError("members")
    response = await door.ask(0, delete())
    assert (response.error_code, response.topics) == (68, [])
