"""Leaders are elected on request: the preferred ones, and others only where nobody else can."""

from __future__ import annotations

import pytest

from ottla.controller.leaders import imbalanced
from ottla.controller.requests import ElectLeaders
from ottla.model.errors import InvalidRequestError
from ottla.model.ids import NO_BROKER, TopicPartition
from tests.controller.metadata import Metadata, brokers, codes


def cluster(partitions: int = 1, *, min_insync_replicas: int = 1) -> Metadata:
    """Three brokers; every partition of ``web`` is on all of them, led by 1."""
    metadata = Metadata(brokers=3)
    configs = {"min.insync.replicas": str(min_insync_replicas)}
    metadata.create("web", partitions=partitions, replication_factor=3, configs=configs)
    for number in range(partitions):
        metadata.move("web", 1, 2, 3, number=number)
    return metadata


def restart(metadata: Metadata, broker: int) -> None:
    metadata.fence(broker)
    metadata.unfence(broker)


def test_preferred_leader_leads_again_in_a_new_epoch() -> None:
    metadata = cluster()
    restart(metadata, 1)
    metadata.propose("web", 1, 2, 3)
    before = metadata.partition("web")
    assert before.leader == 2

    assert metadata.elect_leader("web") == "NONE"

    after = metadata.partition("web")
    assert (after.leader, after.in_sync_replicas) == (1, brokers(1, 2, 3))
    assert after.leader_epoch == before.leader_epoch + 1


def test_preferred_leader_that_is_not_in_sync_or_stopping_is_not_available() -> None:
    metadata = cluster()
    restart(metadata, 1)

    assert metadata.elect_leader("web") == "PREFERRED_LEADER_NOT_AVAILABLE"
    metadata.propose("web", 1, 2, 3)
    metadata.begin_shutdown(1)
    assert metadata.elect_leader("web") == "PREFERRED_LEADER_NOT_AVAILABLE"


def test_election_that_would_change_nothing_is_not_needed() -> None:
    metadata = cluster()

    assert metadata.elect_leader("web") == "ELECTION_NOT_NEEDED"
    assert metadata.elect_leader("web", unclean=True) == "ELECTION_NOT_NEEDED"
    assert metadata.elect_leader("web", number=1) == "UNKNOWN_TOPIC_OR_PARTITION"


def test_unclean_election_needs_somebody_who_serves() -> None:
    metadata = cluster()
    metadata.fence(3, 2, 1)

    assert metadata.elect_leader("web", unclean=True) == "ELIGIBLE_LEADERS_NOT_AVAILABLE"


def test_unclean_election_makes_one_that_lacks_records_lead() -> None:
    metadata = cluster()
    metadata.fence(3, 2, 1)
    metadata.unfence(3)
    assert metadata.partition("web").leader == NO_BROKER

    assert metadata.elect_leader("web", unclean=True) == "NONE"

    partition = metadata.partition("web")
    assert (partition.leader, partition.in_sync_replicas) == (3, brokers(3))
    assert partition.eligible_leader_replicas == ()


def test_topic_may_allow_unclean_elections_at_any_time() -> None:
    metadata = Metadata(brokers=3)
    metadata.create("web", replication_factor=3, configs={"unclean.leader.election.enable": "true"})
    metadata.move("web", 1, 2, 3)
    metadata.fence(3, 2, 1)

    metadata.unfence(3)

    assert metadata.partition("web").leader == 3


def test_all_partitions_that_need_it_are_elected_in_one_entry() -> None:
    metadata = cluster(partitions=3)
    restart(metadata, 1)
    for number in (0, 2):
        metadata.propose("web", 1, 2, 3, number=number)
    version = metadata.machine.state.version
    assert imbalanced(metadata.machine.state) == (
        TopicPartition("web", 0),
        TopicPartition("web", 2),
    )

    results = metadata.ask(ElectLeaders(partitions=None))

    assert [result.topic_partition.partition for result in results] == [0, 1, 2]
    assert codes(results) == ["NONE", "PREFERRED_LEADER_NOT_AVAILABLE", "NONE"]
    assert metadata.machine.state.version == version + 1
    assert imbalanced(metadata.machine.state) == ()
    assert codes(metadata.ask(ElectLeaders(partitions=None))) == ["PREFERRED_LEADER_NOT_AVAILABLE"]


def test_partition_without_a_leader_is_not_called_imbalanced() -> None:
    metadata = cluster()
    metadata.fence(1, 2, 3)

    assert imbalanced(metadata.machine.state) == ()


def test_partition_is_named_once() -> None:
    metadata = cluster()

    with pytest.raises(InvalidRequestError, match="names a partition twice"):
        metadata.ask(ElectLeaders(partitions=(TopicPartition("web", 0),) * 2))
