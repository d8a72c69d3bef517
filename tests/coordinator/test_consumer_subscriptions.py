"""Members of a consumer group read the topics that their names and expressions mean at the time."""

from __future__ import annotations

from uuid import UUID

import pytest

from ottla.coordinator.subscriptions import check_expression
from ottla.model.errors import InvalidRegularExpressionError, InvalidRequestError
from ottla.model.ids import TopicId
from tests.coordinator.consumer_world import Client, ConsumerWorld, settle


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld(orders=2, orders_old=1, parts=1)


def _by_expression(world: ConsumerWorld, expression: str, *names: str) -> Client:
    return Client(world, "a", *names, subscribed_topic_regex=expression).join()


# --- Expressions --------------------------------------------------------------------------


def test_expression_means_the_topics_whose_whole_names_match(world: ConsumerWorld) -> None:
    assert _by_expression(world, "orders").has == {"orders-0", "orders-1"}


def test_expression_means_every_topic_that_matches(world: ConsumerWorld) -> None:
    assert _by_expression(world, "orders.*").has == {"orders-0", "orders-1", "orders-old-0"}


def test_names_and_expression_add_up(world: ConsumerWorld) -> None:
    assert _by_expression(world, ".*-old", "parts").has == {"orders-old-0", "parts-0"}


def test_expression_means_no_topic_that_the_cluster_keeps_for_itself(
    world: ConsumerWorld,
) -> None:
    world.rename("parts", "__consumer_offsets")

    assert _by_expression(world, ".*").has == {"orders-0", "orders-1", "orders-old-0"}


@pytest.mark.parametrize("expression", ["(", "a**", "[b-a]", "(?<x", "*"], ids=str)
def test_expression_that_is_none_is_refused(world: ConsumerWorld, expression: str) -> None:
    with pytest.raises(InvalidRegularExpressionError, match="as RE2 has them"):
        _by_expression(world, expression)


def test_look_ahead_is_refused_for_it_is_not_linear() -> None:
    with pytest.raises(InvalidRegularExpressionError):
        check_expression("(?!orders).*")


def test_long_expression_is_refused() -> None:
    with pytest.raises(InvalidRegularExpressionError, match="1001 characters"):
        check_expression("a" * 1_001)


def test_expression_that_takes_much_memory_is_refused() -> None:
    with pytest.raises(InvalidRegularExpressionError, match="too large"):
        check_expression(".{900}")


def test_refused_expression_changes_nothing(world: ConsumerWorld) -> None:
    client = Client(world, "a", "parts").join()

    with pytest.raises(InvalidRegularExpressionError):
        world.beat(world.request("a", client.epoch, subscribed_topic_regex="("))

    assert world.member("a").subscribed_topic_regex is None


def test_group_has_so_many_expressions_at_most(world: ConsumerWorld) -> None:
    for number in range(50):
        Client(world, f"m{number}", subscribed_topic_regex=f"t{number}").join()

    with pytest.raises(InvalidRequestError, match="50 different"):
        _by_expression(world, "one.more")


def test_expression_that_a_group_has_already_is_never_too_many(world: ConsumerWorld) -> None:
    for number in range(50):
        Client(world, f"m{number}", subscribed_topic_regex=f"t{number}").join()

    assert _by_expression(world, "t0").epoch > 0


# --- Changing one's mind ------------------------------------------------------------------


def test_member_that_subscribes_to_something_else_gives_the_rest_back_at_once(
    world: ConsumerWorld,
) -> None:
    client = Client(world, "a", "orders").join()
    client.take(world.beat(world.request("a", client.epoch, "parts")))

    assert client.has == set()


def test_member_that_subscribes_to_something_else_gets_it(world: ConsumerWorld) -> None:
    client = Client(world, "a", "orders").join()
    client.take(world.beat(world.request("a", client.epoch, "parts")))

    settle(world, client)

    assert client.has == {"parts-0"}


def test_names_that_are_left_out_stay_and_empty_ones_do_not(world: ConsumerWorld) -> None:
    client = _by_expression(world, ".*-old", "parts")
    client.take(world.beat(world.request("a", client.epoch, subscribed_topic_names=())))
    settle(world, client)

    assert client.has == {"orders-old-0"}


def test_empty_expression_ends_it(world: ConsumerWorld) -> None:
    client = _by_expression(world, ".*-old", "parts")
    client.take(world.beat(world.request("a", client.epoch, subscribed_topic_regex="")))
    settle(world, client)

    assert (client.has, world.group.is_subscribed_to("orders-old")) == ({"parts-0"}, False)


def test_same_topics_in_another_order_are_nothing_new(world: ConsumerWorld) -> None:
    client = Client(world, "a", "orders", "parts").join()

    world.beat(world.request("a", client.epoch, "parts", "orders"))

    assert world.describe().group_epoch == 1


def test_group_is_subscribed_to_what_names_and_expressions_mean(world: ConsumerWorld) -> None:
    _by_expression(world, ".*-old", "nothing-yet")
    asked = ("orders-old", "nothing-yet", "orders")

    assert [world.group.is_subscribed_to(one) for one in asked] == [True, True, False]


# --- Topics -------------------------------------------------------------------------------


def test_topic_that_appears_under_a_name_is_read(world: ConsumerWorld) -> None:
    client = Client(world, "a", "news").join()
    world.topics(news=2)
    settle(world, client)

    assert client.has == {"news-0", "news-1"}


def test_topic_that_appears_and_matches_is_read(world: ConsumerWorld) -> None:
    client = _by_expression(world, "n.*")
    world.topics(news=2)
    settle(world, client)

    assert client.has == {"news-0", "news-1"}


def test_partitions_that_are_added_are_read(world: ConsumerWorld) -> None:
    client = Client(world, "a", "parts").join()
    world.topics(parts=3)
    settle(world, client)

    assert client.has == {"parts-0", "parts-1", "parts-2"}


@pytest.mark.parametrize(
    "said", [{"subscribed_topic_names": ("parts",)}, {"subscribed_topic_regex": "p.*"}]
)
def test_topic_that_vanishes_is_taken_away(world: ConsumerWorld, said: dict[str, object]) -> None:
    client = Client(world, "a", **said).join()
    world.topics(parts=0)
    settle(world, client)

    assert (client.has, client.told, world.group.state) == (set(), {}, "Stable")


def test_expression_does_not_mean_a_topic_that_has_vanished(world: ConsumerWorld) -> None:
    client = _by_expression(world, "p.*")
    world.topics(parts=0)
    settle(world, client)

    assert not world.group.is_subscribed_to("parts")


def test_topic_that_is_made_anew_is_another_one(world: ConsumerWorld) -> None:
    client = Client(world, "a", "parts").join()
    world.topics(parts=0)
    world.topics(parts=1)
    settle(world, client)

    assert client.owned == {TopicId(UUID(int=4)): {0}}


def test_burst_of_new_topics_is_one_reason_to_divide(world: ConsumerWorld) -> None:
    client = _by_expression(world, "n.*")
    for number in range(20):
        world.topics(**{f"n{number}": 1})
    settle(world, client)

    assert (len(client.has), world.describe().group_epoch) == (20, 2)


def test_topic_that_nobody_reads_is_no_reason_to_divide(world: ConsumerWorld) -> None:
    client = Client(world, "a", "parts").join()
    world.topics(news=1, orders=9)
    settle(world, client)

    assert (client.epoch, world.describe().group_epoch) == (1, 1)


def test_topics_do_not_wake_a_group_without_members(world: ConsumerWorld) -> None:
    Client(world, "a", "parts").join().leave()
    world.topics(parts=3)

    assert world.group.deadline_ms() is None
