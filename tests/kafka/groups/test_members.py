"""Members of groups get Kafka's answers, in each version that they may speak."""

from __future__ import annotations

from uuid import UUID

import pytest

from ottla.config.addresses import Address
from ottla.coordinator import requests as groups
from ottla.model.errors import (
    CoordinatorNotAvailableError,
    FencedInstanceIdError,
    FencedMemberEpochError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidRequestError,
    MemberIdRequiredError,
    NotCoordinatorError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from ottla.model.ids import BrokerId
from ottla.wire.messages.consumer_group_heartbeat import (
    ConsumerGroupHeartbeatRequest,
    RequestTopicPartitions,
)
from ottla.wire.messages.find_coordinator import FindCoordinatorRequest
from ottla.wire.messages.heartbeat import HeartbeatRequest
from ottla.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from ottla.wire.messages.leave_group import LeaveGroupRequest, MemberIdentity
from ottla.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment
from tests.kafka.groups.door import WEB_ID, GroupDoor

JOINED = groups.Joined(
    generation_id=3,
    protocol_type="consumer",
    protocol_name="range",
    leader="one",
    member_id="one",
    members=[groups.JoinedMember(member_id="one", group_instance_id="host-1", metadata=b"web")],
    skip_assignment=True,
)


def join(**fields: object) -> JoinGroupRequest:
    return JoinGroupRequest(
        **{  # type: ignore[arg-type]
            "group_id": "group",
            "session_timeout_ms": 10_000,
            "protocol_type": "consumer",
            "protocols": [JoinGroupRequestProtocol(name="range", metadata=b"web")],
            **fields,
        }
    )


# --- FindCoordinator ---------------------------------------------------------------------


@pytest.mark.parametrize("version", range(4))
async def test_one_coordinator_is_found(version: int) -> None:
    found = await GroupDoor().ask(version, FindCoordinatorRequest(key="group"))
    assert (found.error_code, found.node_id) == (0, 1)
    assert (found.host, found.port) == ("kafka.example", 9093)


@pytest.mark.parametrize("version", range(4, 7))
async def test_several_coordinators_are_found(version: int) -> None:
    request = FindCoordinatorRequest(coordinator_keys=["a", "b"])
    response = await GroupDoor().ask(version, request)
    assert [(one.key, one.node_id) for one in response.coordinators] == [("a", 1), ("b", 1)]


@pytest.mark.parametrize("version", range(7))
async def test_where_nobody_coordinates_is_said(version: int) -> None:
    door = GroupDoor()
    door.groups.coordinator = CoordinatorNotAvailableError("not yet")
    request = FindCoordinatorRequest(key="group", coordinator_keys=["group"])
    response = await door.handle(version, request)
    (only,) = response.coordinators if version >= 4 else [response]
    assert (only.error_code, only.error_message) == (15, "not yet")
    assert (only.node_id, only.host, only.port) == (-1, "", -1)


async def test_a_coordinator_that_does_not_serve_is_none() -> None:
    door = GroupDoor()
    door.groups.coordinator = BrokerId(2)
    found = await door.ask(3, FindCoordinatorRequest(key="group"))
    assert found.error_code == 15


async def test_a_coordinator_of_transactions_is_refused_with_a_sentence() -> None:
    found = await GroupDoor().ask(3, FindCoordinatorRequest(key="t", key_type=1))
    assert found.error_code == 35
    assert "transactions" in found.error_message


async def test_a_coordinator_of_shares_is_refused() -> None:
    response = await GroupDoor().ask(
        6, FindCoordinatorRequest(coordinator_keys=["share"], key_type=2)
    )
    assert response.coordinators[0].error_code == 42


# --- JoinGroup ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(10))
async def test_a_member_joins(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.JoinGroup] = JOINED
    joined = await door.ask(version, join(rebalance_timeout_ms=60_000))
    assert (joined.error_code, joined.generation_id, joined.leader) == (0, 3, "one")
    assert (joined.protocol_name, joined.members[0].metadata) == ("range", b"web")
    asked = door.asked()
    assert (asked.client_id, asked.client_host) == ("client", "/127.0.0.1")
    assert asked.rebalance_timeout_ms == (10_000 if version == 0 else 60_000)
    assert asked.requires_known_member_id == (version >= 4)
    assert asked.supports_skipping_assignment == joined.skip_assignment == (version == 9)


@pytest.mark.parametrize("version", range(5, 10))
async def test_a_static_member_joins_in_one_step(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.JoinGroup] = JOINED
    await door.ask(version, join(group_instance_id="host-1"))
    assert door.asked().group_instance_id == "host-1"
    assert not door.asked().requires_known_member_id


@pytest.mark.parametrize("version", range(4, 10))
async def test_a_member_is_told_the_id_to_join_with(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.JoinGroup] = MemberIdRequiredError("again", "client-1")
    refused = await door.ask(version, join())
    assert (refused.error_code, refused.member_id) == (79, "client-1")


@pytest.mark.parametrize("version", range(10))
async def test_a_refused_member_has_no_generation(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.JoinGroup] = InconsistentGroupProtocolError("no")
    refused = await door.ask(version, join(member_id="one"))
    assert (refused.error_code, refused.generation_id) == (23, -1)
    assert refused.member_id == "one"
    assert refused.protocol_name == (None if version >= 7 else "")


async def test_the_wait_for_other_members_is_not_the_brokers_time() -> None:
    door = GroupDoor()
    door.groups.answers[groups.JoinGroup] = JOINED
    await door.ask(9, join())
    assert len(door.left_out) == 1


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("10.0.0.7", "/10.0.0.7"),
        ("::1", "/0:0:0:0:0:0:0:1"),
        ("fe80::1%eth0", "/fe80:0:0:0:0:0:0:1"),
        ("::ffff:10.0.0.7", "/10.0.0.7"),
    ],
)
async def test_a_host_is_shown_as_kafka_shows_it(host: str, shown: str) -> None:
    door = GroupDoor(client=Address(host, 1))
    door.groups.answers[groups.JoinGroup] = JOINED
    await door.ask(9, join())
    assert door.asked().client_host == shown


# --- SyncGroup ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(6))
async def test_a_member_gets_its_assignment(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.SyncGroup] = groups.Synced(
        protocol_type="consumer", protocol_name="range", assignment=b"web-0"
    )
    request = SyncGroupRequest(
        group_id="group",
        generation_id=3,
        member_id="one",
        assignments=[SyncGroupRequestAssignment(member_id="two", assignment=b"web-1")],
    )
    if version >= 5:
        request.protocol_type, request.protocol_name = "consumer", "range"
    synced = await door.ask(version, request)
    assert (synced.error_code, synced.assignment) == (0, b"web-0")
    assert door.asked().assignments == {"two": b"web-1"}


async def test_a_member_must_say_its_protocol_where_it_can() -> None:
    refused = await GroupDoor().ask(5, SyncGroupRequest(group_id="group", protocol_name="range"))
    assert refused.error_code == 23


async def test_a_refused_member_gets_no_assignment() -> None:
    door = GroupDoor()
    door.groups.answers[groups.SyncGroup] = RebalanceInProgressError("again")
    refused = await door.ask(3, SyncGroupRequest(group_id="group"))
    assert (refused.error_code, refused.assignment) == (27, b"")


# --- Heartbeat ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(5))
async def test_a_heartbeat_is_answered(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.Heartbeat] = None
    request = HeartbeatRequest(group_id="group", generation_id=3, member_id="one")
    assert (await door.ask(version, request)).error_code == 0
    door.groups.answers[groups.Heartbeat] = IllegalGenerationError("old")
    assert (await door.ask(version, request)).error_code == 22


# --- LeaveGroup --------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3))
async def test_one_member_leaves_and_its_error_is_the_answers(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.LeaveGroup] = [UnknownMemberIdError("who?")]
    left = await door.ask(version, LeaveGroupRequest(group_id="group", member_id="one"))
    assert left.error_code == 25
    assert door.asked().members == [groups.LeavingMember(member_id="one")]


@pytest.mark.parametrize("version", range(3, 6))
async def test_several_members_leave_each_by_itself(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.LeaveGroup] = [None, FencedInstanceIdError("another")]
    members = [
        MemberIdentity(member_id="one"),
        MemberIdentity(member_id="two", group_instance_id="host-2"),
    ]
    left = await door.ask(version, LeaveGroupRequest(group_id="group", members=members))
    assert left.error_code == 0
    assert [(one.member_id, one.error_code) for one in left.members] == [("one", 0), ("two", 82)]


@pytest.mark.parametrize("version", range(6))
async def test_a_group_of_another_coordinator_is_left_nowhere(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.LeaveGroup] = NotCoordinatorError("elsewhere")
    left = await door.handle(version, LeaveGroupRequest(group_id="group", member_id="one"))
    assert (left.error_code, left.members) == (16, [])


# --- ConsumerGroupHeartbeat ------------------------------------------------------------------


@pytest.mark.parametrize("version", range(2))
async def test_a_member_of_a_consumer_group_is_told_where_it_stands(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.ConsumerHeartbeat] = groups.ConsumerHeartbeatAnswer(
        member_id="one", member_epoch=4, heartbeat_interval_ms=5_000, assignment={WEB_ID: [0, 2]}
    )
    beat = await door.ask(
        version,
        ConsumerGroupHeartbeatRequest(
            group_id="group",
            member_id="one",
            rebalance_timeout_ms=60_000,
            subscribed_topic_names=["web"],
            topic_partitions=[RequestTopicPartitions(topic_id=WEB_ID, partitions=[2])],
        ),
    )
    assert (beat.error_code, beat.member_epoch, beat.heartbeat_interval_ms) == (0, 4, 5_000)
    (assigned,) = beat.assignment.topic_partitions
    assert (assigned.topic_id, assigned.partitions) == (UUID(int=7), [0, 2])
    asked = door.asked()
    assert asked.requires_member_id == (version == 1)
    assert (asked.owned, asked.subscribed_topic_names) == ({WEB_ID: [2]}, ["web"])


async def test_what_a_member_does_not_say_is_unchanged() -> None:
    door = GroupDoor()
    door.groups.answers[groups.ConsumerHeartbeat] = groups.ConsumerHeartbeatAnswer(
        member_id="one", member_epoch=4, heartbeat_interval_ms=5_000, assignment=None
    )
    request = ConsumerGroupHeartbeatRequest(
        group_id="group", member_id="one", member_epoch=4, rebalance_timeout_ms=-1
    )
    request.topic_partitions = None
    assert (await door.ask(1, request)).assignment is None
    asked = door.asked()
    assert (asked.owned, asked.rebalance_timeout_ms) == (None, None)
    assert (asked.subscribed_topic_names, asked.subscribed_topic_regex) == (None, None)


async def test_a_member_that_is_refused_is_told_why() -> None:
    door = GroupDoor()
    door.groups.answers[groups.ConsumerHeartbeat] = FencedMemberEpochError("join anew")
    request = ConsumerGroupHeartbeatRequest(group_id="group", member_id="one", member_epoch=9)
    refused = await door.ask(1, request)
    assert (refused.error_code, refused.error_message) == (110, "join anew")
    door.groups.answers[groups.ConsumerHeartbeat] = InvalidRequestError("no subscription")
    assert (await door.ask(1, request)).error_code == 42
