"""A member says what it owns whenever that may not be known, and what it is told it does."""

from __future__ import annotations

from collections.abc import Mapping

from ottla.client.group_member import GroupMember, Subscription
from ottla.model.ids import TopicPartition
from ottla.v1 import groups_pb2

WEB, LOGS, WEB_ANEW = b"w" * 16, b"l" * 16, b"W" * 16
NAMES = {WEB: "web", LOGS: "logs", WEB_ANEW: "web"}
WEB_0, WEB_1, LOGS_0 = (
    TopicPartition("web", 0),
    TopicPartition("web", 1),
    TopicPartition("logs", 0),
)


def new_member(*, instance_id: str | None = None) -> GroupMember:
    return GroupMember(
        "mine",
        "me",
        client_id="client",
        instance_id=instance_id,
        rack="here",
        assignor="range",
        rebalance_timeout_ms=1_000,
        subscription=Subscription(("web",), "l.*"),
    )


def answer(
    epoch: int, assignment: Mapping[bytes, list[int]] | None = None
) -> groups_pb2.GroupHeartbeatResponse:
    response = groups_pb2.GroupHeartbeatResponse(
        member_id="me", member_epoch=epoch, heartbeat_interval_ms=5_000
    )
    if assignment is not None:
        response.assignment.SetInParent()
        for topic_id, partitions in assignment.items():
            response.assignment.topics.add(
                topic_id=topic_id, partitions=partitions, topic=NAMES.get(topic_id, "")
            )
    return response


def joined(assignment: Mapping[bytes, list[int]]) -> GroupMember:
    """A member that owns what it was assigned, and has said so."""
    member = new_member()
    member.heartbeat()
    member.answered(answer(1, assignment))
    for partition in member.to_take():
        member.took(partition)
    member.heartbeat()
    return member


def owned(request: groups_pb2.GroupHeartbeatRequest) -> dict[bytes, list[int]]:
    return {topic.topic_id: list(topic.partitions) for topic in request.owned.topics}


def test_joining_says_everything_and_owns_nothing() -> None:
    request = new_member().heartbeat()

    assert (request.member_id, request.member_epoch, request.max_wait_ms) == ("me", 0, 0)
    assert list(request.subscription.topics) == ["web"]
    assert request.subscription.pattern == "l.*"
    assert (request.rack, request.assignor, request.rebalance_timeout_ms) == ("here", "range", 1000)
    assert request.HasField("owned")
    assert owned(request) == {}


def test_heartbeat_with_nothing_to_say_waits_for_news() -> None:
    request = joined({WEB: [0]}).heartbeat()

    assert request.max_wait_ms == 5_000
    assert not request.HasField("owned")
    assert not request.HasField("subscription")


def test_what_was_taken_is_reported_once() -> None:
    member = new_member()
    member.heartbeat()
    assert member.answered(answer(1, {WEB: [0, 1]}))
    for partition in member.to_take():
        member.took(partition)

    assert owned(member.heartbeat()) == {WEB: [0, 1]}
    assert not member.heartbeat().HasField("owned")


def test_answer_without_an_assignment_changes_no_target() -> None:
    member = joined({WEB: [0]})

    assert not member.answered(answer(2))
    assert member.epoch == 2
    assert set(member.target) == {WEB_0}


def test_same_target_again_is_no_change() -> None:
    member = joined({WEB: [0]})
    target = member.target

    assert not member.answered(answer(2, {WEB: [0]}))
    assert member.target is target


def test_what_is_not_in_the_target_is_to_be_revoked_and_what_is_new_to_be_taken() -> None:
    member = joined({WEB: [0, 1]})
    member.answered(answer(2, {WEB: [1], LOGS: [0]}))

    assert member.to_revoke() == [WEB_0]
    assert member.to_take() == [LOGS_0]


def test_empty_assignment_takes_everything_away() -> None:
    member = joined({WEB: [0, 1]})
    member.answered(answer(2, {}))

    assert member.to_revoke() == [WEB_0, WEB_1]


def test_topic_that_was_made_anew_is_given_up_before_it_is_taken() -> None:
    member = joined({WEB: [0]})
    member.answered(answer(2, {WEB_ANEW: [0]}))
    assert (member.to_revoke(), member.to_take()) == ([WEB_0], [])
    member.revoked(WEB_0)

    assert member.to_take() == [WEB_0]


def test_topic_without_a_name_is_being_deleted() -> None:
    member = joined({WEB: [0]})
    member.answered(answer(2, {WEB: [0], b"?" * 16: [0]}))

    assert (member.to_revoke(), member.to_take()) == ([], [])


def test_lost_member_joins_as_a_new_one_under_its_old_name() -> None:
    member = joined({WEB: [0, 1]})
    assert member.lost_membership() == [WEB_0, WEB_1]
    request = member.heartbeat()

    assert (request.member_id, request.member_epoch, owned(request)) == ("me", 0, {})
    assert request.HasField("subscription")


def test_coordinator_may_know_a_member_whose_answer_is_lost() -> None:
    member = new_member()
    known = [member.may_be_known]
    member.heartbeat()
    known.append(member.may_be_known)
    assert not member.is_joined
    member.lost_membership()
    known.append(member.may_be_known)

    assert known == [False, True, False]


def test_new_subscription_is_said_with_the_next_heartbeat() -> None:
    member = joined({WEB: [0]})
    member.subscribe(Subscription(("logs",)))
    request = member.heartbeat()

    assert list(request.subscription.topics) == ["logs"]
    assert request.HasField("subscription")
    assert request.subscription.pattern == ""
    assert owned(request) == {WEB: [0]}


def test_static_member_leaves_for_a_while() -> None:
    assert new_member().leaving().member_epoch == -1
    assert new_member(instance_id="a").leaving().member_epoch == -2


def test_member_that_the_coordinator_does_not_know_joins_under_a_new_name() -> None:
    member = joined({WEB: [0]})
    member.lost_membership()
    member.rename("another")

    assert member.heartbeat().member_id == "another"
