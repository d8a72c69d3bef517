"""Brokers: who is in the cluster, and who of them serves.

A broker *registers* when its process starts (:mod:`ottla.controller.registration`). Registered
brokers are fenced until they have caught up with the metadata log and are *unfenced*; only
unfenced ones lead, are in sync, and get clients. When one is heard from no more it is fenced again.

Stopping in good order
----------------------
A broker that wants to stop says so, and is *shutting down*: others lead what it led, nobody
elects it, nothing new is placed on it. It goes on serving as a follower, and as leader of what
nobody else can lead. It is fenced when it is gone.

Hard and soft state: registration and fencing are in the metadata log. When a broker was last
heard from is not; the shell of the controller keeps that, and asks for fencing.
"""

from __future__ import annotations

from collections.abc import Iterator

from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.elections import (
    after_begin_shutdown,
    after_fencing,
    after_unfencing,
    available_brokers,
)
from ottla.controller.partition_steps import partition_steps
from ottla.controller.requests import (
    BeginShutdown,
    FenceBroker,
    SetDraining,
    UnfenceBroker,
    UnregisterBroker,
)
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RuleBook, TopicRules
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    InvalidRequestError,
    StaleBrokerEpochError,
)
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.model.image import BrokerImage, PartitionImage


def fence_broker(state: MetadataState, request: FenceBroker, *, rules: RuleBook) -> Decision[None]:
    """Decide that a broker serves no more: others lead what it led, if they can."""
    broker = registered_broker(state, request.broker_id, request.broker_epoch)
    # Also of one that is fenced: an unfencing of several entries may have ended half way.
    steps = _fencing_steps(state, broker.broker_id, rules)
    if broker.fenced:
        return decided(state, None, *steps)
    fenced = records.broker_fencing_changed(broker.broker_id, broker.broker_epoch, fenced=True)
    return decided(state, None, *steps, (fenced,))


def unfence_broker(
    state: MetadataState, request: UnfenceBroker, *, rules: RuleBook
) -> Decision[None]:
    """Decide that a broker serves: it leads what has no leader, if it has all of it."""
    broker = registered_broker(state, request.broker_id, request.broker_epoch)
    if not broker.fenced:
        return decided(state, None)
    available = available_brokers(state.image).serving(broker.broker_id)
    elections = partition_steps(
        state,
        rules,
        lambda partition, rules: after_unfencing(partition, available=available, rules=rules),
    )
    unfenced = records.broker_fencing_changed(broker.broker_id, broker.broker_epoch, fenced=False)
    return decided(state, None, *elections, (unfenced,))


def begin_shutdown(
    state: MetadataState, request: BeginShutdown, *, rules: RuleBook
) -> Decision[int]:
    """Decide that a broker is stopping; asked again, move what could not be moved before."""
    broker = registered_broker(state, request.broker_id, request.broker_epoch)
    if broker.fenced:
        # Nobody is served by it: there is nothing to hand over, and nothing to go back on later.
        return decided(state, 0)
    broker_id = broker.broker_id
    available = available_brokers(state.image).stops(broker_id)
    still_led = 0

    def change(partition: PartitionImage, rules: TopicRules) -> PartitionImage:
        nonlocal still_led
        after = after_begin_shutdown(partition, broker_id, available=available, rules=rules)
        still_led += after.leader == broker_id
        return after

    steps = list(partition_steps(state, rules, change))
    if not broker.shutting_down:
        steps.append((records.broker_shutting_down(broker_id, broker.broker_epoch),))
    return decided(state, still_led, *steps)


def set_draining(state: MetadataState, request: SetDraining) -> Decision[None]:
    """Decide whether a broker may get new replicas."""
    broker = _known_broker(state, request.broker_id)
    if broker.draining == request.draining:
        return decided(state, None)
    changed = records.broker_draining_changed(broker.broker_id, draining=request.draining)
    return decided(state, None, (changed,))


def unregister_broker(state: MetadataState, request: UnregisterBroker) -> Decision[None]:
    """Decide that a broker which is gone for good is not part of the cluster any more."""
    broker = _known_broker(state, request.broker_id)
    if not broker.fenced:
        raise InvalidRequestError(
            f"broker {broker.broker_id} is running, and cannot be unregistered; stop it first"
        )
    if broker.broker_id in state.image.voters:
        raise InvalidRequestError(
            f"broker {broker.broker_id} votes in the metadata quorum, and cannot be unregistered"
        )
    replicas = sum(
        broker.broker_id in partition.replicas
        for topic in state.image.topics.values()
        for partition in topic.partitions
    )
    if replicas:
        raise InvalidRequestError(
            f"broker {broker.broker_id} has replicas of {replicas} "
            f"partition{'' if replicas == 1 else 's'}, and cannot be unregistered; move them to "
            "other brokers first"
        )
    return decided(state, None, (records.broker_unregistered(broker.broker_id),))


def registered_broker(
    state: MetadataState, broker_id: BrokerId, broker_epoch: BrokerEpoch
) -> BrokerImage:
    """Return the broker; raises if it is not registered, or not in this life."""
    broker = state.image.brokers.get(broker_id)
    if broker is None:
        raise BrokerIdNotRegisteredError(
            f"broker {broker_id} is not registered with cluster {state.image.cluster_id}; "
            "register it first"
        )
    if broker.broker_epoch != broker_epoch:
        raise StaleBrokerEpochError(
            f"broker {broker_id} is registered with epoch {broker.broker_epoch}, and the request "
            f"has epoch {broker_epoch}; register again"
        )
    return broker


def _fencing_steps(state: MetadataState, broker: BrokerId, rules: RuleBook) -> Iterator[Step]:
    available = available_brokers(state.image).without(broker)
    return partition_steps(
        state,
        rules,
        lambda partition, rules: after_fencing(partition, broker, available=available, rules=rules),
    )


def _known_broker(state: MetadataState, broker_id: BrokerId) -> BrokerImage:
    broker = state.image.brokers.get(broker_id)
    if broker is None:
        raise BrokerIdNotRegisteredError(
            f"broker {broker_id} is not registered with cluster {state.image.cluster_id}"
        )
    return broker
