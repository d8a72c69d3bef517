"""Lives of a broker are told apart, and what it leads is led by others while it does not serve."""

from __future__ import annotations

import dataclasses

import pytest

from ottla.controller.registration import BROKER_ID_MAX
from ottla.controller.requests import FenceBroker, UnfenceBroker, UnregisterBroker
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    InconsistentClusterIdError,
    InvalidRequestError,
    StaleBrokerEpochError,
)
from ottla.model.ids import NO_BROKER, BrokerEpoch, BrokerId
from ottla.model.image import BrokerListener
from ottla.model.limits import (
    BROKER_HOST_CHARACTERS_MAX,
    BROKER_LISTENER_NAME_CHARACTERS_MAX,
    BROKER_LISTENERS_MAX,
    BROKER_RACK_CHARACTERS_MAX,
    BROKERS_MAX,
)
from tests.controller.metadata import Metadata, brokers, registration

# --- Registration ---


def test_registered_broker_is_fenced_until_it_is_unfenced() -> None:
    metadata = Metadata()
    metadata.register(1, rack="r1", host="h1")
    broker = metadata.broker(1)
    assert (broker.rack, broker.host, broker.grpc_port, broker.fenced) == ("r1", "h1", 7092, True)

    metadata.unfence(1)

    assert not metadata.broker(1).fenced


def test_each_registration_has_a_higher_epoch() -> None:
    metadata = Metadata()

    epochs = [
        metadata.register(1, incarnation=1),
        metadata.register(2, incarnation=2),
        metadata.register(1, incarnation=3),
    ]

    assert epochs == sorted(set(epochs))
    assert metadata.epoch_of(1) == epochs[2]


def test_process_that_registers_again_keeps_its_epoch_and_its_place() -> None:
    metadata = Metadata()
    first = metadata.register(1, incarnation=7)
    metadata.unfence(1)
    version = metadata.machine.state.version

    assert metadata.register(1, incarnation=7) == first

    assert metadata.machine.state.version == version
    assert not metadata.broker(1).fenced


def test_process_that_registers_with_a_new_address_keeps_its_epoch_and_its_place() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    before = metadata.broker(1)

    assert metadata.register(1, host="elsewhere") == before.broker_epoch

    assert metadata.broker(1) == dataclasses.replace(before, host="elsewhere")
    assert metadata.partition("web").leader == 1


def listener(name: str = "LAN", **changed: object) -> BrokerListener:
    plain = BrokerListener(name=name, host="h1", port=9092, security_protocol="PLAINTEXT")
    return dataclasses.replace(plain, **changed)  # type: ignore[arg-type]  # what a test changes


def test_registered_broker_is_found_at_the_listeners_that_it_said() -> None:
    metadata = Metadata()
    lan, net = listener(), listener("NET", port=9093, security_protocol="SSL", any_address=True)

    metadata.register(1, listeners=(lan, net))

    assert metadata.broker(1).listeners == (lan, net)
    assert metadata.broker(1).listener("NET") == net


@pytest.mark.parametrize(
    "listeners",
    [
        (listener(), listener(port=9093)),
        (listener(""),),
        (listener("L" * (BROKER_LISTENER_NAME_CHARACTERS_MAX + 1)),),
        (listener(host=""),),
        (listener(port=0),),
        (listener(port=65_536),),
        (listener(security_protocol="SASL_SSL"),),
        tuple(listener(f"L{number}") for number in range(BROKER_LISTENERS_MAX + 1)),
    ],
)
def test_listeners_that_nobody_could_be_told_of_are_refused(
    listeners: tuple[BrokerListener, ...],
) -> None:
    with pytest.raises(InvalidRequestError, match="listeners"):
        Metadata().register(1, listeners=listeners)


def test_new_life_of_a_broker_is_fenced_and_leads_nothing() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web", replication_factor=2)
    leader = metadata.partition("web").leader
    other = 3 - leader

    metadata.register(leader, incarnation=2)

    assert metadata.broker(leader).fenced
    assert metadata.partition("web").leader == other
    assert metadata.partition("web").in_sync_replicas == brokers(other)


@pytest.mark.parametrize("clean_shutdown", [True, False])
def test_last_replica_stays_in_sync_over_a_restart(*, clean_shutdown: bool) -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")

    metadata.register(1, incarnation=2, clean_shutdown=clean_shutdown)

    assert metadata.partition("web").leader == NO_BROKER
    assert metadata.partition("web").in_sync_replicas == brokers(1)


def test_broker_of_another_cluster_is_refused() -> None:
    metadata = Metadata()

    with pytest.raises(InconsistentClusterIdError, match="belongs to cluster 'other'"):
        metadata.controller.decide(registration(1, cluster_id="other"), 0)


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("broker_id", -1, "id -1 is not from 0"),
        ("broker_id", BROKER_ID_MAX + 1, "id 2147483648 is not from 0"),
        ("incarnation_id", b"short", "incarnation id has 5 bytes, not 16"),
        ("host", "", "host has 0 characters"),
        ("host", "h" * (BROKER_HOST_CHARACTERS_MAX + 1), "host has 254 characters"),
        ("grpc_port", 0, "port 0 is not from 1 to 65535"),
        ("grpc_port", 65_536, "port 65536 is not from 1 to 65535"),
        ("rack", "r" * (BROKER_RACK_CHARACTERS_MAX + 1), "rack has 256 characters"),
    ],
)
def test_impossible_registration_is_refused(field: str, value: object, problem: str) -> None:
    metadata = Metadata()
    request = dataclasses.replace(registration(1), **{field: value})  # type: ignore[arg-type]

    with pytest.raises(InvalidRequestError, match=f"a broker cannot register: its {problem}"):
        metadata.controller.decide(request, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("broker_id", 0),
        ("broker_id", BROKER_ID_MAX),
        ("host", "h" * BROKER_HOST_CHARACTERS_MAX),
        ("grpc_port", 1),
        ("grpc_port", 65_535),
        ("rack", "r" * BROKER_RACK_CHARACTERS_MAX),
    ],
)
def test_registration_at_the_edge_of_the_possible_is_accepted(field: str, value: object) -> None:
    metadata = Metadata()
    request = dataclasses.replace(registration(1), **{field: value})  # type: ignore[arg-type]

    metadata.carry_out(metadata.controller.decide(request, 0))

    assert len(metadata.machine.image.brokers) == 1


def test_cluster_takes_a_bounded_number_of_brokers() -> None:
    metadata = Metadata()
    for broker in range(BROKERS_MAX):
        metadata.register(broker)

    with pytest.raises(InvalidRequestError, match="has 1000 brokers, and takes no more"):
        metadata.register(BROKERS_MAX)
    metadata.register(5, incarnation=2)


# --- Fencing ---


def test_fenced_leader_is_followed_by_the_next_in_sync_replica() -> None:
    metadata = Metadata(brokers=3)
    metadata.create("web", replication_factor=3)
    first, second, third = metadata.partition("web").replicas

    metadata.fence(first)

    partition = metadata.partition("web")
    assert partition.leader == second
    assert partition.in_sync_replicas == (second, third)
    assert (partition.leader_epoch, partition.partition_epoch) == (1, 1)


def test_fenced_follower_leaves_the_in_sync_set_under_the_same_leader() -> None:
    metadata = Metadata(brokers=3)
    metadata.create("web", replication_factor=3)
    first, second, third = metadata.partition("web").replicas

    metadata.fence(third)

    partition = metadata.partition("web")
    assert (partition.leader, partition.in_sync_replicas) == (first, (first, second))
    assert (partition.leader_epoch, partition.partition_epoch) == (0, 1)


def test_partition_whose_last_replica_is_fenced_has_no_leader_and_remembers_who_has_all() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web", replication_factor=2)
    first, second = metadata.partition("web").replicas
    metadata.fence(first)

    metadata.fence(second)

    partition = metadata.partition("web")
    assert (partition.leader, partition.in_sync_replicas) == (NO_BROKER, (second,))
    assert (partition.leader_epoch, partition.partition_epoch) == (2, 2)


def test_replica_that_has_all_leads_again_when_it_is_unfenced() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    metadata.fence(1)

    metadata.unfence(1)

    partition = metadata.partition("web")
    assert (partition.leader, partition.in_sync_replicas) == (1, brokers(1))
    assert (partition.leader_epoch, partition.partition_epoch) == (2, 2)


def test_replica_that_missed_records_does_not_lead_when_it_is_unfenced() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web", replication_factor=2)
    first, second = metadata.partition("web").replicas
    metadata.fence(first)
    metadata.fence(second)

    metadata.unfence(first)

    assert metadata.partition("web").leader == NO_BROKER


def test_unfenced_broker_takes_no_partition_from_its_leader() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web", replication_factor=2)
    first, _ = metadata.partition("web").replicas
    metadata.fence(first)
    before = metadata.partition("web")

    metadata.unfence(first)

    assert metadata.partition("web") is before


def test_fencing_and_unfencing_twice_write_once() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    for act in (metadata.fence, metadata.unfence):
        act(1)
        version = metadata.machine.state.version
        act(1)
        assert metadata.machine.state.version == version


def test_partitions_on_other_brokers_are_not_touched() -> None:
    metadata = Metadata(brokers=2)
    metadata.create("web", partitions=2)
    (kept,) = (p for p in metadata.topic("web").partitions if p.leader == 2)

    metadata.fence(1)

    assert any(partition is kept for partition in metadata.topic("web").partitions)


def test_fencing_finishes_an_unfencing_that_ended_half_way() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")
    metadata.fence(1)
    request = UnfenceBroker(broker_id=BrokerId(1), broker_epoch=metadata.epoch_of(1))
    decision = metadata.controller.decide(request, 0)
    # The controller fails after the first of several entries.
    metadata.carry_out(dataclasses.replace(decision, steps=decision.steps[:1]))
    assert metadata.broker(1).fenced
    assert metadata.partition("web").leader == 1

    metadata.fence(1)

    assert metadata.partition("web").leader == NO_BROKER


@pytest.mark.parametrize("request_class", [FenceBroker, UnfenceBroker])
def test_unknown_broker_and_earlier_life_are_refused(
    request_class: type[FenceBroker | UnfenceBroker],
) -> None:
    metadata = Metadata(brokers=1)
    epoch = metadata.epoch_of(1)

    with pytest.raises(BrokerIdNotRegisteredError, match="broker 2 is not registered"):
        metadata.controller.decide(request_class(broker_id=BrokerId(2), broker_epoch=epoch), 0)
    stale = request_class(broker_id=BrokerId(1), broker_epoch=BrokerEpoch(epoch - 1))
    with pytest.raises(StaleBrokerEpochError, match=r"is registered with epoch 3, and .* epoch 2"):
        metadata.controller.decide(stale, 0)
    unheard_of = request_class(broker_id=BrokerId(1), broker_epoch=BrokerEpoch(epoch + 1))
    with pytest.raises(StaleBrokerEpochError):
        metadata.controller.decide(unheard_of, 0)


# --- What a broker that comes back still has ---


def web(metadata: Metadata, *, configs: dict[str, str] | None = None) -> None:
    """A topic on brokers 1, 2 and 3, led by 1."""
    metadata.create("web", replication_factor=3, configs=configs or {"min.insync.replicas": "2"})
    metadata.move("web", 1, 2, 3)


def with_directories() -> Metadata:
    metadata = Metadata()
    for broker in (1, 2, 3):
        metadata.start(broker, directory=broker)
    return metadata


def sets(metadata: Metadata) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    """Leader, in-sync set, eligible replicas."""
    partition = metadata.partition("web")
    return partition.leader, partition.in_sync_replicas, partition.eligible_leader_replicas


def test_broker_that_was_killed_and_has_its_directory_is_still_eligible() -> None:
    metadata = with_directories()
    web(metadata)
    metadata.fence(3)

    metadata.register(2, incarnation=2, directory=2)

    assert sets(metadata) == (1, (1,), (2,))


def test_broker_with_another_directory_holds_nothing() -> None:
    metadata = with_directories()
    web(metadata)
    metadata.fence(3, 2)
    assert sets(metadata) == (1, (1,), (2,))

    metadata.register(2, incarnation=2, directory=20)

    assert sets(metadata) == (1, (1,), ())
    assert metadata.broker(2).directory_id == (20).to_bytes(16, "big")


def test_partition_whose_last_holder_has_another_directory_waits_for_an_unclean_election() -> None:
    metadata = with_directories()
    web(metadata, configs={"min.insync.replicas": "1"})
    metadata.fence(3, 2, 1)
    assert sets(metadata) == (NO_BROKER, (1,), ())

    metadata.start(1, incarnation=2, directory=10)
    metadata.unfence(2, 3)
    assert sets(metadata) == (NO_BROKER, (), ())

    assert metadata.elect_leader("web", unclean=True) == "NONE"
    assert sets(metadata) == (1, (1,), ())


def test_directory_that_an_earlier_version_did_not_name_is_not_another_one() -> None:
    metadata = Metadata(brokers=1)
    metadata.create("web")

    metadata.register(1, incarnation=2, directory=7)

    assert sets(metadata) == (NO_BROKER, brokers(1), ())


def test_killed_broker_loses_its_place_where_acknowledged_means_in_memory() -> None:
    metadata = with_directories()
    web(metadata, configs={"min.insync.replicas": "2", "write.caching": "true"})
    metadata.fence(3)

    metadata.register(2, incarnation=2, directory=2)

    assert sets(metadata) == (1, (1,), ())


def test_broker_that_stopped_in_good_order_keeps_its_place() -> None:
    metadata = with_directories()
    web(metadata, configs={"min.insync.replicas": "2", "write.caching": "true"})
    metadata.fence(3)

    metadata.register(2, incarnation=2, directory=2, clean_shutdown=True)

    assert sets(metadata) == (1, (1,), (2,))


def test_process_cannot_change_its_directory() -> None:
    metadata = with_directories()

    with pytest.raises(InvalidRequestError, match="directory is another than when this process"):
        metadata.register(1, directory=9)


# --- Stopping in good order ---


def test_stopping_broker_leads_no_more_and_says_how_many_it_could_not_hand_over() -> None:
    metadata = with_directories()
    web(metadata)
    metadata.create("own")
    metadata.move("own", 1)

    assert metadata.begin_shutdown(1) == 1

    assert sets(metadata) == (2, (2, 3), ())
    assert metadata.partition("own").leader == 1
    assert metadata.broker(1).shutting_down
    assert not metadata.broker(1).fenced


def test_stopping_broker_that_asks_again_hands_over_what_became_possible() -> None:
    metadata = with_directories()
    metadata.create("web", replication_factor=2, configs={"min.insync.replicas": "2"})
    metadata.move("web", 1, 2)
    metadata.fence(2)
    assert metadata.begin_shutdown(1) == 1

    metadata.unfence(2)

    assert sets(metadata) == (2, (2,), (1,))
    assert metadata.begin_shutdown(1) == 0


def test_broker_that_is_fenced_has_nothing_to_hand_over() -> None:
    metadata = with_directories()
    metadata.fence(1)
    version = metadata.machine.state.version

    assert metadata.begin_shutdown(1) == 0

    assert metadata.machine.state.version == version


def test_stopped_broker_is_fenced_and_its_next_life_is_stopping_no_more() -> None:
    metadata = with_directories()
    metadata.begin_shutdown(1)
    metadata.begin_shutdown(2)

    metadata.fence(1)
    metadata.register(2, incarnation=2, directory=2, clean_shutdown=True)

    assert not metadata.broker(1).shutting_down
    assert not metadata.broker(2).shutting_down


def test_new_partitions_are_not_led_by_a_stopping_broker_and_not_on_a_draining_one() -> None:
    metadata = with_directories()
    metadata.begin_shutdown(1)
    metadata.create("web", partitions=6, replication_factor=3)
    assert {partition.leader for partition in metadata.topic("web").partitions} == {2, 3}
    assert all(1 not in p.in_sync_replicas for p in metadata.topic("web").partitions)

    metadata.drain(3)

    metadata.create("logs", partitions=6, replication_factor=1)
    assert {partition.leader for partition in metadata.topic("logs").partitions} == {2}
    refused = metadata.create("wide", replication_factor=3)
    assert "2 are registered, besides 1 that are draining" in str(refused.error)


# --- Brokers that leave ---


def test_draining_twice_writes_once() -> None:
    metadata = with_directories()
    metadata.drain(1)
    version = metadata.machine.state.version

    metadata.drain(1)

    assert metadata.broker(1).draining
    assert metadata.machine.state.version == version


def test_broker_without_replicas_can_be_unregistered_when_it_is_fenced() -> None:
    metadata = with_directories()
    metadata.fence(3)

    metadata.ask(UnregisterBroker(broker_id=BrokerId(3)))

    assert set(metadata.machine.image.brokers) == {1, 2}


def test_broker_that_runs_or_has_replicas_or_votes_is_not_unregistered() -> None:
    metadata = with_directories()
    metadata.register(4, directory=4, voter=True)
    web(metadata)
    metadata.fence(2)

    for broker, reason in ((1, "is running"), (2, "replicas of 1 partition,"), (4, "votes")):
        with pytest.raises(InvalidRequestError, match=reason):
            metadata.ask(UnregisterBroker(broker_id=BrokerId(broker)))
    with pytest.raises(BrokerIdNotRegisteredError):
        metadata.ask(UnregisterBroker(broker_id=BrokerId(9)))
    with pytest.raises(BrokerIdNotRegisteredError):
        metadata.drain(9)
