"""One object serves all versions: each writes what it has and reads it back, and no more."""

from __future__ import annotations

from random import Random
from typing import Any
from uuid import UUID

import pytest

from ottla.wire import codec
from ottla.wire.messages import fetch, join_group, metadata, offset_fetch, produce, sync_group
from ottla.wire.plan import is_within
from ottla.wire.schema import Message
from ottla.wire.writer import BY_REFERENCE_BYTES_MIN
from tests.wire.random_messages import all_requests, all_responses, make

KINDS = [*all_requests(), *all_responses()]


def differences(sent: Any, received: Any, version: int) -> list[str]:
    """What was not read back as it was written, or is not the default if it was not written."""
    if isinstance(sent, list) and isinstance(received, list) and len(sent) == len(received):
        pairs = zip(sent, received, strict=True)
        return [found for pair in pairs for found in differences(*pair, version)]
    if not isinstance(sent, Message) or type(sent) is not type(received):
        return [] if sent == received else [f"{sent!r} came back as {received!r}"]
    found = []
    defaults = type(sent)()
    for field in sent.FIELDS:
        value = getattr(received, field.name)
        if is_within(version, field.versions):
            found += differences(getattr(sent, field.name), value, version)
        elif value != getattr(defaults, field.name):
            found.append(f"{field.name} is {value!r} and was not sent")
    return found


def test_every_version_carries_exactly_its_own_fields() -> None:
    random = Random(4)
    found = []
    for kind in KINDS:
        sent = make(kind, random)
        content = codec.write_message(sent, kind.version)
        received = codec.read_message(kind.message, kind.version, content)
        found += [f"{kind}: {text}" for text in differences(sent, received, kind.version)]

    assert found == []


def test_message_without_anything_is_written_and_read_at_every_version() -> None:
    different = []
    for kind in KINDS:
        empty = kind.message()
        if isinstance(empty, metadata.MetadataRequest) and kind.version == 0:
            empty.topics = []
        if isinstance(empty, offset_fetch.OffsetFetchRequest) and kind.version == 1:
            empty.topics = []
        content = codec.write_message(empty, kind.version)
        if codec.read_message(kind.message, kind.version, content) != empty:
            different.append(str(kind))

    assert different == []


@pytest.mark.parametrize(("version", "name"), [(6, ""), (7, None)])
def test_null_is_written_as_nothing_where_an_old_version_has_no_null(
    version: int, name: str | None
) -> None:
    content = codec.write_message(join_group.JoinGroupResponse(protocol_name=None), version)

    assert codec.read_message(join_group.JoinGroupResponse, version, content).protocol_name == name


def test_request_is_read_behind_its_header() -> None:
    request = metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name="orders")])
    frame = memoryview(b"header" + codec.write_message(request, 9))

    assert codec.read_request(3, 9, frame, 6) == request


def test_response_is_read_behind_its_header() -> None:
    response = metadata.MetadataResponse(cluster_id="c", controller_id=3)
    frame = memoryview(b"head" + codec.write_message(response, 12))

    assert codec.read_response(3, 12, frame, 4) == response


def produce_frame(version: int, records: bytes) -> memoryview:
    partition = produce.PartitionProduceData(index=3, records=records)
    topic = produce.TopicProduceData(name="orders", partition_data=[partition])
    request = produce.ProduceRequest(acks=-1, timeout_ms=500, topic_data=[topic])
    return memoryview(b"".join(codec.write_request(0, version, request)))


@pytest.mark.parametrize("version", [3, 9, 13])
def test_records_that_were_read_are_a_part_of_the_frame(version: int) -> None:
    frame = produce_frame(version, b"r" * 5000)
    request = codec.read_request(0, version, frame, 0)

    assert isinstance(request, produce.ProduceRequest)
    records = request.topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    assert records.obj is frame.obj
    assert records == b"r" * 5000


@pytest.mark.parametrize("version", [4, 12, 17])
def test_big_records_are_handed_on_and_small_ones_gathered(version: int) -> None:
    big = memoryview(bytes(BY_REFERENCE_BYTES_MIN))
    small = memoryview(bytes(BY_REFERENCE_BYTES_MIN - 1))
    partitions = [fetch.PartitionData(records=records) for records in (big, small, None, big)]
    topic = fetch.FetchableTopicResponse(topic="orders", partitions=partitions)

    parts = codec.write_parts(fetch.FetchResponse(responses=[topic]), version, bytearray(b"start"))

    assert [part is big for part in parts] == [False, True, False, True, False]
    content = b"".join(parts)
    assert content.startswith(b"start")
    response = codec.read_response(1, version, memoryview(content), 5)
    assert isinstance(response, fetch.FetchResponse)
    assert [data.records for data in response.responses[0].partitions] == [big, small, None, big]


def test_other_bytes_do_not_keep_the_frame() -> None:
    given = sync_group.SyncGroupRequestAssignment(member_id="m", assignment=b"xyz")
    frame = memoryview(codec.write_message(sync_group.SyncGroupRequest(assignments=[given]), 5))
    request = codec.read_request(14, 5, frame, 0)

    assert isinstance(request, sync_group.SyncGroupRequest)
    assert type(request.assignments[0].assignment) is bytes


def test_tagged_field_with_its_default_is_not_sent() -> None:
    plain = fetch.PartitionData()
    explicit = fetch.PartitionData(current_leader=fetch.LeaderIdAndEpoch())
    messages = [
        fetch.FetchResponse(responses=[fetch.FetchableTopicResponse(partitions=[partition])])
        for partition in (plain, explicit)
    ]

    assert codec.write_message(messages[0], 12) == codec.write_message(messages[1], 12)


def test_uuid_is_never_none() -> None:
    request = metadata.MetadataRequest(topics=[metadata.MetadataRequestTopic(name="orders")])
    received = codec.read_message(metadata.MetadataRequest, 12, codec.write_message(request, 12))

    assert received.topics is not None
    assert received.topics[0].topic_id == UUID(int=0)


def test_many_numbers_are_written_like_few() -> None:
    topic = offset_fetch.OffsetFetchRequestTopic(name="t", partition_indexes=list(range(1000)))
    request = offset_fetch.OffsetFetchRequest(group_id="g", topics=[topic])
    for version in (5, 6):
        content = codec.write_message(request, version)
        assert codec.read_message(type(request), version, content) == request


def test_version_that_does_not_exist_is_a_bug_of_the_caller() -> None:
    with pytest.raises(AssertionError, match="FetchRequest has no version 3"):
        codec.read_request(1, 3, memoryview(b""), 0)
