"""An in-sync set changes as its leader proposes, if it proposes on what the partition is now."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from ottla.controller.requests import AlterPartition, AlterPartitions, ProposedMember
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    InvalidRequestError,
    StaleBrokerEpochError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch, TopicId
from ottla.model.limits import PARTITIONS_PER_REQUEST_MAX
from tests.controller.metadata import Metadata, brokers


def three(min_insync_replicas: int = 1) -> Metadata:
    """Three brokers; topic ``web`` is on all of them, led by 1."""
    metadata = Metadata(brokers=3)
    configs = {"min.insync.replicas": str(min_insync_replicas)}
    metadata.create("web", replication_factor=3, configs=configs)
    metadata.move("web", 1, 2, 3)
    return metadata


def sets(metadata: Metadata) -> tuple[tuple[int, ...], tuple[int, ...]]:
    partition = metadata.partition("web")
    return partition.in_sync_replicas, partition.eligible_leader_replicas


def test_set_is_what_the_leader_proposes_under_the_same_leader() -> None:
    metadata = three()
    before = metadata.partition("web")

    assert metadata.propose("web", 1, 2) == "NONE"

    assert metadata.partition("web") == replace(
        before,
        in_sync_replicas=brokers(1, 2),
        partition_epoch=PartitionEpoch(before.partition_epoch + 1),
    )


def test_members_are_kept_in_the_order_of_preference() -> None:
    metadata = three()
    metadata.propose("web", 1)

    metadata.propose("web", 3, 2, 1)

    assert sets(metadata) == ((1, 2, 3), ())


def test_who_leaves_a_set_below_the_minimum_is_eligible_until_it_is_reached_again() -> None:
    metadata = three(min_insync_replicas=2)

    metadata.propose("web", 1)
    assert sets(metadata) == ((1,), (2, 3))

    metadata.propose("web", 1, 3)
    assert sets(metadata) == ((1, 3), ())


def test_eligible_replica_leads_when_the_whole_set_is_gone() -> None:
    metadata = three(min_insync_replicas=2)
    metadata.propose("web", 1)

    metadata.fence(1)

    assert metadata.partition("web").leader == 2
    assert sets(metadata) == ((2,), (1, 3))


def test_proposal_of_the_present_set_raises_the_epoch_so_that_late_copies_are_refused() -> None:
    metadata = three()
    before = metadata.partition("web")

    assert metadata.propose("web", 1, 2, 3) == "NONE"

    after = metadata.partition("web")
    assert after == replace(before, partition_epoch=PartitionEpoch(before.partition_epoch + 1))


def test_partitions_are_decided_on_one_by_one_and_changed_in_one_entry() -> None:
    metadata = Metadata(brokers=3)
    metadata.create("web", partitions=3, replication_factor=3)
    for number in range(3):
        metadata.move("web", 1, 2, 3, number=number)
    good = metadata.proposal("web", 1, 2, number=0)
    stale = replace(metadata.proposal("web", 1, 2, number=1), partition_epoch=PartitionEpoch(0))
    other = metadata.proposal("web", 1, 3, number=2)
    version = metadata.machine.state.version

    assert metadata.ask_leader("web", good, stale, other) == "NONE INVALID_UPDATE_VERSION NONE"

    assert metadata.machine.state.version == version + 1
    isrs = [partition.in_sync_replicas for partition in metadata.topic("web").partitions]
    assert isrs == [(1, 2), (1, 2, 3), (1, 3)]


# --- What is refused ---


def changed(proposal: AlterPartition, **fields: object) -> AlterPartition:
    return replace(proposal, **fields)  # type: ignore[arg-type] # fields of any type


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"topic_id": TopicId(UUID(int=5))}, "UNKNOWN_TOPIC_ID"),
        ({"partition": 1}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"partition": -1}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"leader_epoch": LeaderEpoch(0)}, "FENCED_LEADER_EPOCH"),
        ({"leader_epoch": LeaderEpoch(9)}, "FENCED_LEADER_EPOCH"),
        ({"partition_epoch": PartitionEpoch(0)}, "INVALID_UPDATE_VERSION"),
        ({"partition_epoch": PartitionEpoch(9)}, "INVALID_UPDATE_VERSION"),
        ({"isr": ()}, "INVALID_REQUEST"),
        ({"isr": (ProposedMember(BrokerId(2), BrokerEpoch(4)),)}, "INVALID_REQUEST"),
        # The first that is wrong is the one that is said.
        (
            {"leader_epoch": LeaderEpoch(0), "partition_epoch": PartitionEpoch(0), "isr": ()},
            "FENCED_LEADER_EPOCH",
        ),
        ({"partition_epoch": PartitionEpoch(0), "isr": ()}, "INVALID_UPDATE_VERSION"),
    ],
)
def test_proposal_that_does_not_fit_the_partition_is_refused(
    fields: dict[str, object], error: str
) -> None:
    metadata = three()
    proposal = changed(metadata.proposal("web", 1, 2), **fields)
    leader = BrokerId(1)

    request = AlterPartitions(
        broker_id=leader, broker_epoch=metadata.epoch_of(1), partitions=(proposal,)
    )
    (result,) = metadata.ask(request)

    assert result.error is not None
    assert result.error.name == error
    assert sets(metadata) == ((1, 2, 3), ())


def test_broker_that_does_not_lead_is_refused() -> None:
    metadata = three()
    request = AlterPartitions(
        broker_id=BrokerId(2),
        broker_epoch=metadata.epoch_of(2),
        partitions=(metadata.proposal("web", 1, 2),),
    )

    (result,) = metadata.ask(request)

    assert result.error is not None
    assert str(result.error) == (
        "broker 2 proposes in leader epoch 1 of web-0, which broker 1 leads in epoch 1"
    )


def test_member_that_does_not_replicate_the_partition_or_is_named_twice_is_refused() -> None:
    metadata = three()
    metadata.start(4)

    assert metadata.propose("web", 1, 4) == "INVALID_REQUEST"
    assert metadata.propose("web", 1, 2, 2) == "INVALID_REQUEST"


def test_newcomer_that_is_fenced_stopping_or_in_another_life_is_refused() -> None:
    metadata = three()
    metadata.propose("web", 1)

    metadata.fence(2)
    assert metadata.propose("web", 1, 2) == "INELIGIBLE_REPLICA"
    metadata.begin_shutdown(3)
    assert metadata.propose("web", 1, 3) == "INELIGIBLE_REPLICA"
    metadata.unfence(2)
    caught_up = metadata.proposal("web", 1, 2)
    metadata.start(2, incarnation=2)
    assert metadata.ask_leader("web", caught_up) == "INELIGIBLE_REPLICA"
    assert metadata.propose("web", 1, 2) == "NONE"


def test_broker_that_is_not_known_or_in_another_life_may_propose_nothing() -> None:
    metadata = three()
    proposals = (metadata.proposal("web", 1),)

    for broker, epoch, error in (
        (1, metadata.epoch_of(1) - 1, StaleBrokerEpochError),
        (9, 1, BrokerIdNotRegisteredError),
    ):
        request = AlterPartitions(
            broker_id=BrokerId(broker), broker_epoch=BrokerEpoch(epoch), partitions=proposals
        )
        with pytest.raises(error):
            metadata.ask(request)


def test_partition_is_proposed_for_once_and_requests_are_bounded() -> None:
    metadata = three()
    proposal = metadata.proposal("web", 1)

    assert metadata.ask_leader("web", proposal, proposal) == "INVALID_REQUEST INVALID_REQUEST"
    with pytest.raises(InvalidRequestError, match="a request about 10001 partitions is too large"):
        metadata.ask_leader("web", *[proposal] * (PARTITIONS_PER_REQUEST_MAX + 1))
