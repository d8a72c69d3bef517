"""A member of a consumer group commits in its epoch, and in older ones what it has had since."""

from __future__ import annotations

import pytest

from ottla.coordinator.requests import CommitOffsets, OffsetToCommit
from ottla.model.errors import (
    OttlaError,
    StaleMemberEpochError,
    UnknownMemberIdError,
    UnsupportedVersionError,
)
from ottla.model.ids import Offset, TopicPartition
from tests.coordinator.consumer_world import Client, ConsumerWorld, settle


@pytest.fixture
def world() -> ConsumerWorld:
    return ConsumerWorld(orders=4)


def _commit(
    world: ConsumerWorld, member_id: str, epoch: int, *partitions: int, **said: object
) -> list[OttlaError | None]:
    fields: dict[str, object] = {
        "group_id": "group",
        "member_id": member_id,
        "generation_or_member_epoch": epoch,
        "offsets": [
            OffsetToCommit(topic_partition=TopicPartition("orders", one), offset=Offset(5))
            for one in partitions
        ],
        **said,
    }
    return world.group.check_commit(CommitOffsets(**fields))  # type: ignore[arg-type] # as in fields


def _in_its_second_epoch(world: ConsumerWorld) -> Client:
    """Return a member with partitions of its first epoch and some that it has given back."""
    first, second = Client(world, "a", "orders").join(), Client(world, "b", "orders").join()
    settle(world, first, second)
    assert first.epoch == 2
    return first


def test_member_commits_in_its_epoch(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    assert _commit(world, "a", 1, 0, 3) == [None, None]


def test_member_that_has_not_heard_of_its_epoch_commits_what_it_has_had_since(
    world: ConsumerWorld,
) -> None:
    first = _in_its_second_epoch(world)
    mine = min(first.owned[world.topic_id("orders")])

    assert _commit(world, "a", 1, mine) == [None]


def test_member_does_not_commit_what_it_has_given_back(world: ConsumerWorld) -> None:
    first = _in_its_second_epoch(world)
    others = min(set(range(4)) - first.owned[world.topic_id("orders")])

    assert [type(one) for one in _commit(world, "a", 1, others)] == [StaleMemberEpochError]


def test_member_commits_what_it_is_giving_back(world: ConsumerWorld) -> None:
    first, _ = Client(world, "a", "orders").join(), Client(world, "b", "orders").join()
    world.wait(1_000)
    first.beat()

    assert _commit(world, "a", 1, 0, 1, 2, 3) == [None] * 4


def test_member_does_not_commit_in_an_epoch_before_it_was_given_a_partition(
    world: ConsumerWorld,
) -> None:
    first = _in_its_second_epoch(world)
    second = next(one for one in world.describe().members if one.member_id == "b")
    theirs = second.assignment[world.topic_id("orders")][0]

    assert first.epoch == second.member_epoch
    assert [type(one) for one in _commit(world, "b", 1, theirs)] == [StaleMemberEpochError]


def test_epoch_that_is_ahead_is_refused(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(StaleMemberEpochError):
        _commit(world, "a", 2, 0)


def test_who_is_no_member_is_refused(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(UnknownMemberIdError):
        _commit(world, "b", 1, 0)


def test_nobody_commits_without_being_a_member_while_there_are_some(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(UnknownMemberIdError):
        _commit(world, "", -1, 0)


def test_anybody_commits_while_the_group_is_empty(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join().leave()

    assert _commit(world, "", -1, 0) == [None]


def test_client_that_knows_no_epochs_is_refused(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(UnsupportedVersionError, match="OffsetCommit 9"):
        _commit(world, "a", 1, 0, understands_stale_epochs=False)


def test_successor_of_a_static_member_commits_what_it_took_over(world: ConsumerWorld) -> None:
    Client(world, "a", "orders", group_instance_id="i").join().leave(-2)
    Client(world, "c", "orders", group_instance_id="i").join()

    assert _commit(world, "c", 1, 0) == [None]


def test_anybody_reads_committed_offsets_who_says_to_be_nobody(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    world.group.check_fetch(None, -1)


def test_member_reads_committed_offsets_in_its_epoch(world: ConsumerWorld) -> None:
    Client(world, "a", "orders").join()

    world.group.check_fetch("a", 1)


@pytest.mark.parametrize("epoch", [0, 2, -1], ids=str)
def test_member_does_not_read_committed_offsets_in_another_epoch(
    world: ConsumerWorld, epoch: int
) -> None:
    Client(world, "a", "orders").join()

    with pytest.raises(StaleMemberEpochError):
        world.group.check_fetch("a", epoch)


def test_who_is_out_does_not_read_committed_offsets(world: ConsumerWorld) -> None:
    with pytest.raises(UnknownMemberIdError):
        world.group.check_fetch("a", 1)
