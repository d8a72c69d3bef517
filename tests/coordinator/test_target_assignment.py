"""What is divided among the members of a consumer group are topics that exist, up to a bound."""

from __future__ import annotations

from ottla.coordinator.assignment import count
from ottla.coordinator.consumer_member import ConsumerMember, MemberProfile
from ottla.coordinator.subscriptions import Subscriptions
from ottla.coordinator.target_assignment import divide
from ottla.model.limits import CONSUMER_GROUP_PARTITIONS_MAX
from tests.coordinator.consumer_world import ConsumerWorld


def _divided(world: ConsumerWorld, *topics: str) -> int:
    """Return how many partitions one member is given."""
    member = ConsumerMember(member_id="a", profile=MemberProfile(topic_names=frozenset(topics)))
    subscriptions = Subscriptions(world.image)
    subscriptions.add(member.profile)
    return count(divide([member], subscriptions, "range")["a"])


def test_topic_that_does_not_exist_has_nothing_to_divide() -> None:
    assert _divided(ConsumerWorld(orders=3), "orders", "parts") == 3


def test_partitions_beyond_the_bound_stay_with_nobody() -> None:
    topics = [f"t{number}" for number in range(21)]
    world = ConsumerWorld()
    world.topics(**dict.fromkeys(topics, 10_000))

    assert _divided(world, *topics) == CONSUMER_GROUP_PARTITIONS_MAX
