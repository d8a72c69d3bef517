"""A partition of a consumer group goes to its next owner once the last one has given it back."""

from __future__ import annotations

import pytest

from ottla.coordinator.settings import GroupSettings
from ottla.model.errors import UnknownMemberIdError
from tests.coordinator.consumer_world import MINUTE_MS, Client, ConsumerWorld, settle

EVERYTHING = {f"orders-{one}" for one in range(4)}


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld(orders=4)


def _two(world: ConsumerWorld) -> tuple[Client, Client]:
    """Return a member that has everything and one that has just joined, after the division."""
    first, second = Client(world, "a", "orders").join(), Client(world, "b", "orders").join()
    world.wait(1_000)
    return first, second


# --- Giving back --------------------------------------------------------------------------


def test_new_member_is_given_nothing_that_another_one_has(world: ConsumerWorld) -> None:
    _, second = _two(world)

    second.beat()

    assert second.has == set()


def test_owner_is_told_what_it_may_keep(world: ConsumerWorld) -> None:
    first, _ = _two(world)

    answer = first.beat()

    assert (answer.member_epoch, len(first.has)) == (1, 2)


def test_partitions_wait_until_their_owner_says_that_it_has_them_no_more(
    world: ConsumerWorld,
) -> None:
    first, second = _two(world)
    first.beat()
    first.tells = False
    first.beat()
    second.beat()

    assert second.has == set()


def test_partitions_are_given_once_their_owner_has_given_them_back(world: ConsumerWorld) -> None:
    first, second = _two(world)
    first.beat()
    first.beat()
    second.beat()

    assert (len(second.has), first.has | second.has) == (2, EVERYTHING)


def test_owner_that_still_has_some_of_it_has_given_back_nothing(world: ConsumerWorld) -> None:
    first, second = _two(world)
    topic_id = world.topic_id("orders")
    before = first.owned[topic_id]
    first.beat()
    kept = sorted(before - first.owned[topic_id])[:1]

    world.beat(world.request("a", 1, owned={topic_id: [*first.owned[topic_id], *kept]}))
    second.beat()

    assert second.has == set()


def test_owner_enters_the_new_epoch_when_it_has_given_back(world: ConsumerWorld) -> None:
    first, _ = _two(world)
    first.beat()

    assert first.beat().member_epoch == 2


def test_partitions_of_a_member_that_leaves_are_free_at_once(world: ConsumerWorld) -> None:
    first, second = _two(world)
    second.beat()

    first.leave()
    world.wait(1_000)
    second.beat()

    assert second.has == EVERYTHING


def test_member_waits_for_several_owners_and_is_given_what_is_free_meanwhile() -> None:
    world = ConsumerWorld(orders=6)
    first, second = Client(world, "a", "orders").join(), Client(world, "b", "orders").join()
    settle(world, first, second)
    third = Client(world, "c", "orders").join()
    world.wait(1_000)
    first.beat()
    first.beat()
    third.beat()
    some = len(third.has)
    second.beat()
    second.beat()
    third.beat()

    assert (some, len(third.has)) == (1, 2)


# --- Time ---------------------------------------------------------------------------------


def test_member_that_does_not_give_back_in_time_is_out(world: ConsumerWorld) -> None:
    first, _ = _two(world)
    first.beat()
    world.wait(MINUTE_MS // 2)
    first.tells = False
    first.beat()
    world.wait(MINUTE_MS // 2)

    with pytest.raises(UnknownMemberIdError):
        first.beat()


def test_member_that_gives_back_in_time_stays(world: ConsumerWorld) -> None:
    first, second = _two(world)
    first.beat()
    first.beat()
    for _ in range(30):
        world.wait(5_000)
        first.beat()
        second.beat()

    assert len(first.has) == 2


def test_silent_member_is_out_after_its_session(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    world.wait(45_000)

    assert world.group.state == "Empty"


def test_member_that_is_heard_of_stays(world: ConsumerWorld) -> None:
    client = Client(world, "a", "orders").join()
    for _ in range(3):
        world.wait(44_999)
        client.beat()

    assert client.has == EVERYTHING


def test_partitions_of_a_silent_member_go_to_others_after_its_session(
    world: ConsumerWorld,
) -> None:
    _, second = _two(world)
    settle(world, second, rounds=10)

    assert second.has == EVERYTHING


def test_members_that_join_at_once_are_worth_one_division(world: ConsumerWorld) -> None:
    for name in "abcdef":
        Client(world, name, "orders").join()
    world.wait(1_000)

    assert (world.describe().group_epoch, world.describe().assignment_epoch) == (6, 6)
    assert sum(record.key[:2] == b"\0\6" for record in world.log) == 2


def test_division_does_not_wait_if_the_interval_is_zero() -> None:
    world = ConsumerWorld(GroupSettings(consumer_assignment_interval_ms=0), orders=4)
    Client(world, "a", "orders").join()

    assert Client(world, "b", "orders").join().epoch == 2


# --- States -------------------------------------------------------------------------------


def test_group_is_empty_then_stable(world: ConsumerWorld) -> None:
    before = world.group.state
    Client(world, "a", "orders").join()

    assert (before, world.group.state) == ("Empty", "Stable")


def test_group_is_assigning_until_it_is_divided_and_reconciling_until_all_have_theirs(
    world: ConsumerWorld,
) -> None:
    first = Client(world, "a", "orders").join()
    second = Client(world, "b", "orders").join()
    states = [world.group.state]
    world.wait(1_000)
    states.append(world.group.state)
    settle(world, first, second)

    assert [*states, world.group.state] == ["Assigning", "Reconciling", "Stable"]


def test_description_shows_what_a_member_is_to_give_back_as_its_own(world: ConsumerWorld) -> None:
    first, _ = _two(world)
    first.beat()
    member = world.member("a")

    assert len(world.named(member.assignment)) == 4
    assert len(world.named(member.target_assignment)) == 2


# --- Assignors ----------------------------------------------------------------------------


def test_uniform_assignor_is_the_default(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    assert world.describe().assignor == "uniform"


def test_assignor_that_most_members_ask_for_divides() -> None:
    world = ConsumerWorld(orders=2, parts=2)
    clients = [
        Client(world, name, "orders", "parts", server_assignor=wanted).join()
        for name, wanted in (("a", "range"), ("b", "range"), ("c", "uniform"))
    ]
    settle(world, *clients)

    assert [one.has for one in clients] == [
        {"orders-0", "parts-0"},
        {"orders-1", "parts-1"},
        set(),
    ]


def test_member_that_changes_what_most_ask_for_makes_the_group_divide_anew(
    world: ConsumerWorld,
) -> None:
    client = Client(world, "a", "orders").join()

    world.beat(world.request("a", client.epoch, server_assignor="range"))

    assert world.describe().group_epoch == 2


# --- News ---------------------------------------------------------------------------------


def test_there_is_no_news_for_a_member_that_has_what_it_shall_have(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    assert not world.group.has_news("a")


def test_there_is_news_once_a_member_shall_give_back(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()
    Client(world, "b", "orders").join()
    before = world.group.has_news("a")
    world.wait(1_000)

    assert (before, world.group.has_news("a")) == (False, True)


def test_there_is_no_news_while_a_member_gives_back(world: ConsumerWorld) -> None:
    first, _ = _two(world)
    first.beat()

    assert not world.group.has_news("a")


def test_there_is_news_once_a_partition_that_a_member_waits_for_is_free(
    world: ConsumerWorld,
) -> None:
    first, second = _two(world)
    second.beat()
    first.beat()
    before = world.group.has_news("b")
    first.beat()

    assert (before, world.group.has_news("b")) == (False, True)


def test_there_is_news_for_a_member_that_is_out(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join().leave()

    assert world.group.has_news("a")


def test_revision_changes_when_there_may_be_news(world: ConsumerWorld) -> None:
    first, _ = _two(world)
    before = world.group.revision

    first.beat()

    assert world.group.revision != before


def test_revision_stays_while_members_only_say_that_they_are_alive(world: ConsumerWorld) -> None:
    client = Client(world, "a", "orders").join()
    client.beat()
    before = world.group.revision
    client.beat()

    assert world.group.revision == before
