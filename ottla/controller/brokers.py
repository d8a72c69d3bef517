"""Brokers: who is in the cluster, and who of them serves.

A broker *registers* when its process starts, and is given a *broker epoch*. Registered brokers
are fenced until they have caught up with the metadata log and are *unfenced*; only unfenced ones
lead, are in sync, and get clients. When one is heard from no more it is fenced again.

The broker epoch tells the lives of a broker apart: what an earlier life still has under way
bears an older epoch and is refused. A process that registers again with the incarnation id it has
had -- because the first answer was lost -- gets the epoch it has.

Whoever registers with an id takes it over, whether or not another process of this id was heard
from a moment ago. A broker that was killed is so back at once, and two processes that were given
one id show it by fencing each other, not by writing to one log: the lock on the data directory
and the epochs see to that.

Hard and soft state: registration and fencing are in the metadata log. When a broker was last
heard from is not; the shell of the controller keeps that, and asks for fencing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.elections import after_fencing, after_unfencing
from ottla.controller.requests import FenceBroker, RegisterBroker, UnfenceBroker
from ottla.controller.state import MetadataState
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    InconsistentClusterIdError,
    InvalidRequestError,
    StaleBrokerEpochError,
)
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.model.image import BrokerImage, PartitionImage
from ottla.model.limits import (
    BROKER_HOST_CHARACTERS_MAX,
    BROKER_RACK_CHARACTERS_MAX,
    BROKERS_MAX,
)

INCARNATION_ID_BYTES: Final = 16
BROKER_ID_MAX: Final = 2**31 - 1
PORT_MAX: Final = 65_535


def register_broker(state: MetadataState, request: RegisterBroker) -> Decision[BrokerEpoch]:
    """Decide to register a broker, fenced; a new life of it leads nothing any more."""
    _check_registration(state, request)
    known = state.image.brokers.get(request.broker_id)
    same_life = known is not None and known.incarnation_id == request.incarnation_id
    # The batch makes the next version, which no other batch ever makes: epochs never repeat.
    epoch = BrokerEpoch(state.version + 1)
    if known is not None and same_life:
        epoch = known.broker_epoch
    broker = BrokerImage(
        broker_id=request.broker_id,
        broker_epoch=epoch,
        host=request.host,
        grpc_port=request.grpc_port,
        rack=request.rack,
        incarnation_id=request.incarnation_id,
        fenced=known.fenced if known is not None and same_life else True,
    )
    if broker == known:
        return decided(state, epoch)
    registered = records.broker_registered(broker, clean_shutdown=request.clean_shutdown)
    if same_life:
        return decided(state, epoch, (registered,))
    return decided(state, epoch, *_fencing_steps(state, request.broker_id), (registered,))


def fence_broker(state: MetadataState, request: FenceBroker) -> Decision[None]:
    """Decide that a broker serves no more: others lead what it led, if they can."""
    broker = registered_broker(state, request.broker_id, request.broker_epoch)
    # Also of one that is fenced: an unfencing of several entries may have ended half way.
    steps = _fencing_steps(state, broker.broker_id)
    if broker.fenced:
        return decided(state, None, *steps)
    fenced = records.broker_fencing_changed(broker.broker_id, broker.broker_epoch, fenced=True)
    return decided(state, None, *steps, (fenced,))


def unfence_broker(state: MetadataState, request: UnfenceBroker) -> Decision[None]:
    """Decide that a broker serves: it leads what has no leader, if it has all of it."""
    broker = registered_broker(state, request.broker_id, request.broker_epoch)
    if not broker.fenced:
        return decided(state, None)
    serving = state.unfenced_brokers | {broker.broker_id}
    elections = _steps(state, lambda partition: after_unfencing(partition, serving=serving))
    unfenced = records.broker_fencing_changed(broker.broker_id, broker.broker_epoch, fenced=False)
    return decided(state, None, *elections, (unfenced,))


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


def _fencing_steps(state: MetadataState, broker: BrokerId) -> Iterator[Step]:
    serving: AbstractSet[BrokerId] = state.unfenced_brokers - {broker}
    return _steps(state, lambda partition: after_fencing(partition, broker, serving=serving))


def _steps(
    state: MetadataState, change: Callable[[PartitionImage], PartitionImage]
) -> Iterator[Step]:
    """Apply ``change`` to every partition; each that differs then is a step of its own."""
    for topic in state.image.topics.values():
        for number, partition in enumerate(topic.partitions):
            changed = change(partition)
            if changed is not partition:
                yield (records.partition_changed(topic.topic_id, number, changed),)


def _check_registration(state: MetadataState, request: RegisterBroker) -> None:
    if request.cluster_id != state.image.cluster_id:
        raise InconsistentClusterIdError(
            f"broker {request.broker_id} belongs to cluster {request.cluster_id[:100]!r}, and "
            f"this is cluster {state.image.cluster_id!r}; check its data directory and its peers"
        )
    known = request.broker_id in state.image.brokers
    problems = {
        f"id {request.broker_id} is not from 0 to {BROKER_ID_MAX}": not (
            0 <= request.broker_id <= BROKER_ID_MAX
        ),
        f"incarnation id has {len(request.incarnation_id)} bytes, not {INCARNATION_ID_BYTES}": (
            len(request.incarnation_id) != INCARNATION_ID_BYTES
        ),
        f"host has {len(request.host)} characters, not 1 to {BROKER_HOST_CHARACTERS_MAX}": not (
            0 < len(request.host) <= BROKER_HOST_CHARACTERS_MAX
        ),
        f"port {request.grpc_port} is not from 1 to {PORT_MAX}": not (
            0 < request.grpc_port <= PORT_MAX
        ),
        f"rack has {len(request.rack)} characters, not at most {BROKER_RACK_CHARACTERS_MAX}": (
            len(request.rack) > BROKER_RACK_CHARACTERS_MAX
        ),
        f"cluster has {BROKERS_MAX} brokers, and takes no more": (
            not known and len(state.image.brokers) >= BROKERS_MAX
        ),
    }
    for problem, found in problems.items():
        if found:
            raise InvalidRequestError(f"a broker cannot register: its {problem}")
