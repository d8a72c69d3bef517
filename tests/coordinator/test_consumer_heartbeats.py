"""A heartbeat must say what Kafka asks for, and is answered as Kafka would."""

from __future__ import annotations

import pytest

from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import (
    FencedMemberEpochError,
    GroupMaxSizeReachedError,
    InvalidRequestError,
    UnknownMemberIdError,
    UnsupportedAssignorError,
)
from tests.coordinator.consumer_world import Client, ConsumerWorld, settle


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld(orders=4)


# --- What the first one must say ----------------------------------------------------------


@pytest.mark.parametrize(
    "missing", ["rebalance_timeout_ms", "owned", "subscribed_topic_names"], ids=str
)
def test_first_heartbeat_without_everything_is_refused(world: ConsumerWorld, missing: str) -> None:
    request = world.request("a", 0, "orders", **{missing: None})

    with pytest.raises(InvalidRequestError):
        world.beat(request)


def test_member_that_joins_must_own_nothing(world: ConsumerWorld) -> None:
    request = world.request("a", 0, "orders", owned={world.topic_id("orders"): [0]})

    with pytest.raises(InvalidRequestError, match="owns no partitions"):
        world.beat(request)


def test_member_may_subscribe_to_nothing(world: ConsumerWorld) -> None:
    answer = world.beat(world.request("a", 0, subscribed_topic_names=()))

    assert (answer.member_epoch, answer.assignment) == (1, {})


@pytest.mark.parametrize("epoch", [0, 3, -1], ids=str)
def test_client_must_make_its_own_member_id(world: ConsumerWorld, epoch: int) -> None:
    with pytest.raises(InvalidRequestError, match="no member id"):
        world.beat(world.request("", epoch, "orders"))


def test_client_of_the_first_version_is_given_a_member_id(world: ConsumerWorld) -> None:
    answer = world.beat(world.request("", 0, "orders", requires_member_id=False))

    assert answer.member_id == "client-1"


@pytest.mark.parametrize("field", ["group_id", "group_instance_id", "rack_id"], ids=str)
def test_empty_id_is_refused(world: ConsumerWorld, field: str) -> None:
    with pytest.raises(InvalidRequestError, match="is empty"):
        world.beat(world.request("a", 0, "orders", **{field: ""}))


def test_epoch_below_those_with_a_meaning_is_refused(world: ConsumerWorld) -> None:
    with pytest.raises(InvalidRequestError, match="-3 is no member epoch"):
        world.beat(world.request("a", -3))


def test_assignor_that_nobody_knows_is_refused(world: ConsumerWorld) -> None:
    with pytest.raises(UnsupportedAssignorError, match="uniform, range"):
        world.beat(world.request("a", 0, "orders", server_assignor="best"))


def test_member_id_that_no_record_could_hold_is_refused(world: ConsumerWorld) -> None:
    with pytest.raises(InvalidRequestError, match="member id of 10000 characters"):
        world.beat(world.request("a" * 10_000, 0, "orders"))


def test_subscription_that_no_record_could_hold_is_refused(world: ConsumerWorld) -> None:
    topics = [f"{number:0200}" for number in range(2_000)]

    with pytest.raises(InvalidRequestError, match="2000 topics"):
        world.beat(world.request("a", 0, *topics))


@pytest.mark.parametrize("timeout_ms", [-5, 2**31], ids=str)
def test_rebalance_timeout_that_no_record_could_hold_is_refused(
    world: ConsumerWorld, timeout_ms: int
) -> None:
    with pytest.raises(InvalidRequestError, match="rebalance timeout"):
        world.beat(world.request("a", 0, "orders", rebalance_timeout_ms=timeout_ms))


# --- What is answered ---------------------------------------------------------------------


def test_first_member_gets_everything_at_once(world: ConsumerWorld) -> None:
    assert Client(world, "a", "orders").join().has == {f"orders-{one}" for one in range(4)}


def test_members_are_told_the_heartbeat_interval() -> None:
    world = ConsumerWorld(GroupSettings(consumer_heartbeat_interval_ms=700), orders=1)

    assert world.beat(world.request("a", 0, "orders")).heartbeat_interval_ms == 700


def test_heartbeat_without_news_has_no_assignment(world: ConsumerWorld) -> None:
    client = Client(world, "a", "orders").join()
    client.beat()

    assert client.beat().assignment is None


def test_heartbeat_without_news_writes_nothing(world: ConsumerWorld) -> None:
    client = Client(world, "a", "orders").join()
    client.beat()
    before = len(world.log)

    client.beat()

    assert len(world.log) == before


def test_heartbeat_that_says_everything_is_told_the_assignment_again(
    world: ConsumerWorld,
) -> None:
    client = Client(world, "a", "orders").join()
    request = world.request(
        "a", client.epoch, "orders", owned=client.owned, rebalance_timeout_ms=1_000
    )

    assert world.named(world.beat(request).assignment) == client.has


def test_member_that_joins_again_keeps_its_epoch_and_is_told_everything(
    world: ConsumerWorld,
) -> None:
    before = Client(world, "a", "orders").join()
    again = Client(world, "a", "orders").join()

    assert (again.epoch, again.has) == (before.epoch, before.has)


def test_heartbeat_of_somebody_who_is_no_member_is_refused(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(UnknownMemberIdError):
        world.beat(world.request("b", 1))


def test_full_group_takes_nobody_in() -> None:
    world = ConsumerWorld(GroupSettings(consumer_group_size_max=1), orders=4)
    Client(world, "a", "orders").join()

    with pytest.raises(GroupMaxSizeReachedError):
        Client(world, "b", "orders").join()


def test_member_of_a_full_group_may_join_again() -> None:
    world = ConsumerWorld(GroupSettings(consumer_group_size_max=1), orders=4)
    Client(world, "a", "orders").join()

    assert len(Client(world, "a", "orders").join().has) == 4


# --- Epochs -------------------------------------------------------------------------------


def _moved_on(world: ConsumerWorld) -> Client:
    """Return a member that has come to another epoch, and been given more, by its last answer."""
    leaver, client = Client(world, "b", "orders").join(), Client(world, "a", "orders").join()
    settle(world, leaver, client)
    leaver.leave()
    world.wait(1_000)
    client.beat()
    assert (client.epoch, len(client.has)) == (3, 4)
    return client


def test_epoch_ahead_of_the_members_is_fenced(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(FencedMemberEpochError, match="is ahead of 1"):
        world.beat(world.request("a", 2))


def test_epoch_before_the_previous_one_is_fenced(world: ConsumerWorld) -> None:
    client = _moved_on(world)

    with pytest.raises(FencedMemberEpochError, match="is behind 3"):
        world.beat(world.request("a", 1, owned=client.owned))


def test_previous_epoch_is_accepted_from_a_member_that_lost_the_answer(
    world: ConsumerWorld,
) -> None:
    client = _moved_on(world)
    held = {world.topic_id("orders"): sorted(client.owned[world.topic_id("orders")])[:2]}

    answer = world.beat(world.request("a", 2, owned=held))

    assert (answer.member_epoch, world.named(answer.assignment)) == (3, client.has)


def test_previous_epoch_is_fenced_if_the_member_owns_what_it_was_not_given(
    world: ConsumerWorld,
) -> None:
    _moved_on(world)

    with pytest.raises(FencedMemberEpochError):
        world.beat(world.request("a", 2, owned={world.topic_id("orders"): [0, 9]}))


def test_previous_epoch_is_fenced_if_the_member_does_not_say_what_it_owns(
    world: ConsumerWorld,
) -> None:
    _moved_on(world)

    with pytest.raises(FencedMemberEpochError):
        world.beat(world.request("a", 2))


# --- Leaving ------------------------------------------------------------------------------


def test_leaving_is_answered_with_the_epoch_of_leaving(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    answer = world.beat(world.request("a", -1))

    assert (answer.member_id, answer.member_epoch, answer.assignment) == ("a", -1, None)


def test_group_that_all_have_left_is_empty(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join().leave()

    assert (world.group.state, world.group.deadline_ms()) == ("Empty", None)


def test_nobody_leaves_twice(world: ConsumerWorld) -> None:
    client = Client(world, "a", "orders").join()
    client.leave()

    with pytest.raises(UnknownMemberIdError):
        client.leave()


def test_who_joins_an_emptied_group_gets_everything_at_once(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join().leave()

    assert len(Client(world, "b", "orders").join().has) == 4


def test_what_a_heartbeat_leaves_out_is_as_it_was(world: ConsumerWorld) -> None:
    client = Client(world, "a", "orders", rack_id="r1").join()

    client.beat()

    assert world.member("a").rack_id == "r1"
