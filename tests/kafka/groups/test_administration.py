"""Groups are listed, described and deleted with Kafka's answers in each version."""

from __future__ import annotations

import pytest

from ottla.coordinator import requests as groups
from ottla.kafka.authorized_operations import ALL_OF_GROUP, NOT_ASKED
from ottla.model.errors import (
    CoordinatorLoadInProgressError,
    GroupIdNotFoundError,
    NonEmptyGroupError,
    NotCoordinatorError,
)
from ottla.model.ids import TopicId
from ottla.model.limits import GROUPS_PER_REQUEST_MAX
from ottla.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest
from ottla.wire.messages.delete_groups import DeleteGroupsRequest
from ottla.wire.messages.describe_groups import DescribeGroupsRequest
from ottla.wire.messages.list_groups import ListGroupsRequest
from tests.kafka.groups.door import UNKNOWN_ID, WEB_ID, GroupDoor

CLASSIC = groups.ClassicGroupDescription(
    group_id="group",
    state="Stable",
    protocol_type="consumer",
    protocol_name="range",
    members=[
        groups.ClassicMemberDescription(
            member_id="one",
            group_instance_id="host-1",
            client_id="client",
            client_host="/127.0.0.1",
            metadata=b"web",
            assignment=b"web-0",
        )
    ],
)

CONSUMER = groups.ConsumerGroupDescription(
    group_id="group",
    state="Stable",
    group_epoch=4,
    assignment_epoch=4,
    assignor="uniform",
    members=[
        groups.ConsumerMemberDescription(
            member_id="one",
            group_instance_id=None,
            rack_id=None,
            member_epoch=4,
            client_id="client",
            client_host="/127.0.0.1",
            subscribed_topic_names=["web"],
            subscribed_topic_regex=None,
            assignment={WEB_ID: [0]},
            target_assignment={WEB_ID: [0], TopicId(UNKNOWN_ID): [1]},
        )
    ],
)


@pytest.mark.parametrize("version", range(7))
async def test_a_classic_group_is_described(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.DescribeClassicGroup] = CLASSIC
    (group,) = (await door.ask(version, DescribeGroupsRequest(groups=["group"]))).groups
    assert (group.error_code, group.group_state, group.protocol_data) == (0, "Stable", "range")
    (member,) = group.members
    assert (member.client_host, member.member_assignment) == ("/127.0.0.1", b"web-0")
    assert member.group_instance_id == ("host-1" if version >= 4 else None)
    assert group.authorized_operations == NOT_ASKED


@pytest.mark.parametrize("version", range(6))
async def test_a_group_that_nobody_knows_was_a_dead_one(version: int) -> None:
    (group,) = (await GroupDoor().ask(version, DescribeGroupsRequest(groups=["group"]))).groups
    assert (group.error_code, group.group_state) == (0, "Dead")


async def test_a_group_that_nobody_knows_is_an_error_by_now() -> None:
    (group,) = (await GroupDoor().ask(6, DescribeGroupsRequest(groups=["group"]))).groups
    assert (group.error_code, group.group_state) == (69, "Dead")
    assert group.error_message == "no group group"


@pytest.mark.parametrize("version", range(7))
async def test_another_coordinators_group_is_not_described(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.DescribeClassicGroup] = NotCoordinatorError("elsewhere")
    (group,) = (await door.ask(version, DescribeGroupsRequest(groups=["group"]))).groups
    assert (group.error_code, group.group_state) == (16, "")


@pytest.mark.parametrize("version", range(3, 7))
async def test_what_may_be_done_is_told_to_who_asks(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.DescribeClassicGroup] = CLASSIC
    request = DescribeGroupsRequest(groups=["group"], include_authorized_operations=True)
    (group,) = (await door.ask(version, request)).groups
    assert group.authorized_operations == ALL_OF_GROUP


@pytest.mark.parametrize("version", range(2))
async def test_a_consumer_group_is_described(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.DescribeConsumerGroup] = CONSUMER
    request = ConsumerGroupDescribeRequest(group_ids=["group"])
    (group,) = (await door.ask(version, request)).groups
    assert (group.group_state, group.group_epoch, group.assignor_name) == ("Stable", 4, "uniform")
    (member,) = group.members
    (assigned,) = member.assignment.topic_partitions
    assert (assigned.topic_id, assigned.topic_name, assigned.partitions) == (WEB_ID, "web", [0])
    assert member.member_type == (1 if version >= 1 else -1)


async def test_a_topic_that_is_gone_is_not_described() -> None:
    door = GroupDoor()
    door.groups.answers[groups.DescribeConsumerGroup] = CONSUMER
    (group,) = (await door.ask(1, ConsumerGroupDescribeRequest(group_ids=["group"]))).groups
    (target,) = group.members[0].target_assignment.topic_partitions
    assert target.topic_name == "web"


async def test_what_is_no_consumer_group_is_not_found() -> None:
    (group,) = (await GroupDoor().ask(1, ConsumerGroupDescribeRequest(group_ids=["group"]))).groups
    assert (group.error_code, group.error_message) == (69, "no group group")


@pytest.mark.parametrize("version", range(6))
async def test_groups_are_listed(version: int) -> None:
    door = GroupDoor()
    door.groups.listed = [
        groups.GroupListing(
            group_id="connect-1",
            group_type=groups.GroupType.CLASSIC,
            protocol_type="connect",
            state="Stable",
        )
    ]
    (group,) = (await door.ask(version, ListGroupsRequest())).groups
    assert (group.group_id, group.protocol_type) == ("connect-1", "connect")
    assert group.group_state == ("Stable" if version >= 4 else "")
    assert group.group_type == ("classic" if version >= 5 else "")


async def test_groups_are_listed_by_state_and_type() -> None:
    door = GroupDoor()
    await door.ask(5, ListGroupsRequest(states_filter=["Stable"], types_filter=["classic"]))
    assert door.asked() == groups.ListGroups(states=["Stable"], types=["classic"])


async def test_groups_that_are_being_read_are_not_listed() -> None:
    door = GroupDoor()
    door.groups.listed = CoordinatorLoadInProgressError("reading")
    assert (await door.ask(5, ListGroupsRequest())).error_code == 14


@pytest.mark.parametrize("version", range(3))
async def test_groups_are_deleted_each_by_itself(version: int) -> None:
    door = GroupDoor()
    door.groups.answers[groups.DeleteGroup] = None
    request = DeleteGroupsRequest(groups_names=["group"])
    assert (await door.ask(version, request)).results[0].error_code == 0
    door.groups.answers[groups.DeleteGroup] = NonEmptyGroupError("members")
    assert (await door.ask(version, request)).results[0].error_code == 68
    door.groups.answers[groups.DeleteGroup] = GroupIdNotFoundError("none")
    assert (await door.ask(version, request)).results[0].error_code == 69


async def test_one_request_is_about_so_many_groups_only() -> None:
    door = GroupDoor()
    names = ["group"] * (GROUPS_PER_REQUEST_MAX + 1)
    response = await door.ask(2, DeleteGroupsRequest(groups_names=names))
    assert {result.error_code for result in response.results} == {42}
    assert door.groups.asked == []
