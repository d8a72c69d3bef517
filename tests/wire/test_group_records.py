"""The records of ``__consumer_offsets`` have the bytes that Kafka's own brokers write and read."""

from __future__ import annotations

from random import Random
from uuid import UUID

import pytest

from ottla.wire import group_records as records
from ottla.wire.group_records import KEY_CLASSES, VALUE_CLASSES, RecordKey, RecordValue
from ottla.wire.malformed import MalformedError
from ottla.wire.plan import is_within
from tests.wire.random_messages import make_of

TOPIC_ID = UUID(int=0x1112131415161718191A1B1C1D1E1F20)


def test_key_of_an_offset() -> None:
    key = records.OffsetCommitKey(group="g1", topic="orders", partition=3)

    content = b"\x00\x01" + b"\x00\x02g1" + b"\x00\x06orders" + b"\x00\x00\x00\x03"
    assert records.write_record_key(key) == content
    assert records.read_record_key(content) == key


def test_offset_with_its_topics_id() -> None:
    value = records.OffsetCommitValue(
        offset=42, leader_epoch=5, metadata="m", commit_timestamp_ms=1000, topic_id=TOPIC_ID
    )

    content = b"\x00\x04" + bytes(7) + b"\x2a" + b"\x00\x00\x00\x05" + b"\x02m"
    content += bytes(6) + b"\x03\xe8" + b"\x01\x00\x10" + TOPIC_ID.bytes
    assert records.write_record_value(value) == content
    assert records.read_record_value(records.OffsetCommitValue, content) == value


def test_offset_that_expires_at_a_time_of_its_own() -> None:
    value = records.OffsetCommitValue(
        offset=42, metadata="m", commit_timestamp_ms=1000, expire_timestamp_ms=2000
    )

    content = b"\x00\x01" + bytes(7) + b"\x2a" + b"\x00\x01m"
    content += bytes(6) + b"\x03\xe8" + bytes(6) + b"\x07\xd0"
    assert records.write_record_value(value, 1) == content
    assert records.read_record_value(records.OffsetCommitValue, content) == value


def test_offset_without_a_leader_epoch_of_an_old_broker() -> None:
    content = b"\x00\x00" + bytes(7) + b"\x2a" + b"\x00\x00" + bytes(8)

    value = records.read_record_value(records.OffsetCommitValue, content)

    assert value == records.OffsetCommitValue(offset=42, leader_epoch=-1)


def test_generation_of_a_classic_group() -> None:
    member = records.MemberMetadata(
        member_id="m", client_id="c", client_host="/h", rebalance_timeout_ms=1,
        session_timeout_ms=2, subscription=b"s", assignment=b"ab",
    )  # fmt: skip
    value = records.GroupMetadataValue(
        protocol_type="consumer", generation=7, protocol="range", leader="m",
        current_state_timestamp_ms=3, members=[member],
    )  # fmt: skip

    content = b"\x00\x03" + b"\x00\x08consumer" + b"\x00\x00\x00\x07" + b"\x00\x05range"
    content += b"\x00\x01m" + bytes(7) + b"\x03" + b"\x00\x00\x00\x01"
    content += b"\x00\x01m" + b"\xff\xff" + b"\x00\x01c" + b"\x00\x02/h"
    content += b"\x00\x00\x00\x01" + b"\x00\x00\x00\x02"
    content += b"\x00\x00\x00\x01s" + b"\x00\x00\x00\x02ab"
    assert records.write_record_value(value) == content
    assert records.read_record_value(records.GroupMetadataValue, content) == value
    assert records.write_record_key(records.GroupMetadataKey(group="g")) == b"\x00\x02\x00\x01g"


def test_assignment_of_a_member_with_the_epochs_at_which_it_came() -> None:
    partitions = records.CurrentTopicPartitions(
        topic_id=TOPIC_ID, partitions=[1, 2], assignment_epochs=[4]
    )
    value = records.ConsumerGroupCurrentMemberAssignmentValue(
        member_epoch=5, previous_member_epoch=4, state=1, assigned_partitions=[partitions]
    )

    content = b"\x00\x00" + b"\x00\x00\x00\x05" + b"\x00\x00\x00\x04" + b"\x01"
    content += b"\x02" + TOPIC_ID.bytes + b"\x03\x00\x00\x00\x01\x00\x00\x00\x02"
    content += b"\x01\x00\x05\x02\x00\x00\x00\x04"
    content += b"\x01" + b"\x00"
    assert records.write_record_value(value) == content
    assert records.read_record_value(type(value), content) == value


def test_member_that_speaks_the_old_protocol() -> None:
    protocol = records.ClassicProtocol(name="range", metadata=b"x")
    value = records.ConsumerGroupMemberMetadataValue(
        client_id="c",
        classic_member_metadata=records.ClassicMemberMetadata(
            session_timeout_ms=1, supported_protocols=[protocol]
        ),
    )

    content = b"\x00\x00" + b"\x00\x00" + b"\x02c\x01" + b"\x01\x00" + b"\xff\xff\xff\xff" + b"\x00"
    classic = b"\x01" + b"\x00\x00\x00\x01" + b"\x02" + b"\x06range\x02x\x00" + b"\x00"
    content += b"\x01\x00" + bytes([len(classic)]) + classic
    assert records.write_record_value(value) == content
    assert records.read_record_value(type(value), content) == value


@pytest.mark.parametrize("kind", KEY_CLASSES.values(), ids=lambda kind: kind.__name__)
def test_keys_are_read_as_they_were_written(kind: type[RecordKey]) -> None:
    key = make_of(kind, 0, Random(7))

    assert isinstance(key, kind)
    assert records.read_record_key(records.write_record_key(key)) == key


@pytest.mark.parametrize(
    "kind", dict.fromkeys(VALUE_CLASSES.values()), ids=lambda kind: kind.__name__
)
def test_values_are_read_as_they_were_written(kind: type[RecordValue]) -> None:
    versions = [version for version in range(10) if is_within(version, kind.VERSIONS)]
    assert kind.VERSION_WRITTEN in versions
    for version in versions:
        value = make_of(kind, version, Random(version))
        assert isinstance(value, kind)
        received = records.read_record_value(kind, records.write_record_value(value, version))
        for field in kind.FIELDS:
            if is_within(version, field.versions) and isinstance(field.kind, str):
                assert getattr(received, field.name) == getattr(value, field.name)


def test_key_of_an_unknown_kind_is_passed_over() -> None:
    assert records.read_record_key(b"\x00\x0b\x00\x01g") is None


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x00\x01\x00\x05g"])
def test_key_that_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedError):
        records.read_record_key(content)


def test_value_of_a_newer_version_is_refused() -> None:
    with pytest.raises(MalformedError, match="version 5, and this broker reads 0-4"):
        records.read_record_value(records.OffsetCommitValue, b"\x00\x05" + bytes(100))
