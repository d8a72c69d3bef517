"""A partition moves to other brokers while it is used, and is never on too few on the way."""

from __future__ import annotations

import pytest

from ottla.controller.requests import Reassign, Reassignment
from ottla.model.errors import InvalidRequestError
from ottla.model.ids import TopicPartition
from ottla.model.image import PartitionImage
from tests.controller.metadata import Metadata, brokers


def cluster(*, min_insync_replicas: int = 2) -> Metadata:
    """Five brokers; ``web`` is on 1, 2 and 3, led by 1."""
    metadata = Metadata(brokers=5)
    configs = {"min.insync.replicas": str(min_insync_replicas)}
    metadata.create("web", replication_factor=3, configs=configs)
    metadata.move("web", 1, 2, 3)
    return metadata


def web(metadata: Metadata) -> PartitionImage:
    return metadata.partition("web")


def reassignment(partition: PartitionImage) -> tuple[tuple[int, ...], ...]:
    return partition.replicas, partition.adding_replicas, partition.removing_replicas


def test_added_replicas_come_beside_the_present_ones() -> None:
    metadata = cluster()
    before = web(metadata)

    assert metadata.reassign("web", 4, 2, 1) == "NONE"

    after = web(metadata)
    assert reassignment(after) == (brokers(4, 2, 1, 3), brokers(4), brokers(3))
    assert (after.leader, set(after.in_sync_replicas)) == (1, {1, 2, 3})
    assert after.leader_epoch == before.leader_epoch
    assert after.partition_epoch == before.partition_epoch + 1


def test_reassignment_is_complete_when_the_added_ones_are_in_sync() -> None:
    metadata = cluster()
    metadata.reassign("web", 4, 5, 1)

    metadata.propose("web", 1, 2, 3, 4)
    assert web(metadata).adding_replicas == brokers(4, 5)
    before = web(metadata)
    metadata.propose("web", 1, 2, 3, 4, 5)

    after = web(metadata)
    assert reassignment(after) == (brokers(4, 5, 1), (), ())
    assert (after.leader, after.in_sync_replicas) == (1, brokers(4, 5, 1))
    assert after.leader_epoch == before.leader_epoch + 1  # so that 2 and 3 are forgotten


def test_leader_that_goes_is_followed_by_the_first_of_the_new_ones() -> None:
    metadata = cluster()
    metadata.reassign("web", 4, 5)

    metadata.propose("web", 1, 4, 5)

    assert web(metadata).leader == 4
    assert reassignment(web(metadata)) == (brokers(4, 5), (), ())


def test_reassignment_waits_until_as_many_as_before_are_in_sync() -> None:
    metadata = cluster(min_insync_replicas=1)
    metadata.fence(2)
    metadata.reassign("web", 4, 2)

    metadata.propose("web", 1, 3, 4)
    assert web(metadata).adding_replicas == brokers(4)
    metadata.unfence(2)
    metadata.propose("web", 1, 2, 3, 4)

    assert reassignment(web(metadata)) == (brokers(4, 2), (), ())


def test_reassignment_waits_until_enough_are_in_sync_to_commit() -> None:
    metadata = cluster(min_insync_replicas=2)
    metadata.fence(2, 3)
    metadata.reassign("web", 4, 2)

    metadata.propose("web", 1, 4)
    assert web(metadata).adding_replicas == brokers(4)
    metadata.unfence(2)
    metadata.propose("web", 1, 2, 4)

    assert reassignment(web(metadata)) == (brokers(4, 2), (), ())


def test_removal_alone_is_done_at_once() -> None:
    metadata = cluster()

    metadata.reassign("web", 3, 2)

    after = web(metadata)
    assert reassignment(after) == (brokers(3, 2), (), ())
    assert (after.leader, after.in_sync_replicas) == (3, brokers(3, 2))


def test_another_order_of_the_same_replicas_changes_who_is_preferred() -> None:
    metadata = cluster()

    metadata.reassign("web", 2, 1, 3)

    after = web(metadata)
    assert (after.replicas, after.leader) == (brokers(2, 1, 3), 1)
    assert metadata.elect_leader("web") == "NONE"


def test_cancelled_reassignment_leaves_the_replicas_of_before() -> None:
    metadata = cluster()
    metadata.reassign("web", 4, 5, 1)
    metadata.propose("web", 1, 2, 3, 4)

    assert metadata.reassign("web") == "NONE"

    after = web(metadata)
    assert set(after.replicas) == set(after.in_sync_replicas) == {1, 2, 3}
    assert (after.adding_replicas, after.removing_replicas) == ((), ())
    assert metadata.reassign("web") == "NO_REASSIGNMENT_IN_PROGRESS"


def test_leader_that_was_only_being_added_leads_no_more_when_that_is_cancelled() -> None:
    metadata = cluster()
    metadata.reassign("web", 4, 5, 1)
    metadata.propose("web", 1, 3, 4)
    metadata.fence(1)
    assert web(metadata).leader == 4

    metadata.reassign("web")

    assert web(metadata).leader == 3


def test_another_target_takes_the_place_of_the_one_under_way() -> None:
    metadata = cluster()
    metadata.reassign("web", 4, 2, 1)

    metadata.reassign("web", 5, 2, 1)

    assert reassignment(web(metadata)) == (brokers(5, 2, 1, 3), brokers(5), brokers(3))


def test_those_who_would_go_at_once_may_not_be_all_that_hold_everything() -> None:
    metadata = cluster(min_insync_replicas=1)
    metadata.fence(2, 3)
    metadata.reassign("web", 4, 5, 3)
    metadata.propose("web", 1, 4)
    metadata.fence(1)

    assert metadata.reassign("web") == "INVALID_REPLICA_ASSIGNMENT"
    assert metadata.reassign("web", 5, 2) == "INVALID_REPLICA_ASSIGNMENT"
    assert web(metadata).leader == 4


def test_replicas_that_are_only_being_added_do_not_raise_the_minimum() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web", configs={"min.insync.replicas": "2"})
    metadata.move("web", 1)

    metadata.reassign("web", 1, 2)

    assert web(metadata).min_insync_needed(2) == 1
    metadata.propose("web", 1, 2)
    assert web(metadata).min_insync_needed(2) == 2


def test_new_partitions_have_as_many_replicas_as_the_topic_had_before() -> None:
    metadata = cluster()
    metadata.reassign("web", 4, 5, 1)

    metadata.grow("web", 2)

    assert len(metadata.partition("web", 1).replicas) == 3


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ((1, 1), "a broker is named twice"),
        ((1, 9), "broker 9 is not registered"),
        ((1, 5), "broker 5 is draining"),
    ],
)
def test_impossible_target_is_refused(target: tuple[int, ...], problem: str) -> None:
    metadata = cluster()
    metadata.drain(5)
    asked = Reassignment(topic_partition=TopicPartition("web", 0), replicas=brokers(*target))

    (result,) = metadata.ask(Reassign(partitions=(asked,)))

    assert result.error is not None
    assert result.error.name == "INVALID_REPLICA_ASSIGNMENT"
    assert problem in str(result.error)


@pytest.mark.parametrize(
    ("target", "code"),
    [((1, 2, 4), "NONE"), ((1, 2), "INVALID_REPLICATION_FACTOR"), ((), "NO_REASSIGNMENT_IN_")],
)
def test_number_of_replicas_can_be_held_fast(target: tuple[int, ...], code: str) -> None:
    metadata = cluster()
    asked = Reassignment(topic_partition=TopicPartition("web", 0), replicas=brokers(*target))

    (result,) = metadata.ask(Reassign(partitions=(asked,), keeps_replication_factor=True))

    assert ("NONE" if result.error is None else result.error.name).startswith(code)


def test_replica_on_a_broker_that_drains_by_now_may_stay() -> None:
    metadata = cluster()
    metadata.drain(1)

    assert metadata.reassign("web", 1, 2, 4) == "NONE"


def test_partition_is_named_once_and_exists() -> None:
    metadata = cluster()
    asked = Reassignment(topic_partition=TopicPartition("web", 0), replicas=brokers(1))

    assert metadata.reassign("web", 1, number=7) == "UNKNOWN_TOPIC_OR_PARTITION"
    with pytest.raises(InvalidRequestError, match="names a partition twice"):
        metadata.ask(Reassign(partitions=(asked, asked)))
