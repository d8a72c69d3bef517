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

What a broker that registers still has
--------------------------------------
A broker registers with the id of its data directory. Another id than before means that its
replicas are gone: it is in sync nowhere and eligible nowhere any more, before it may serve. The
same id after an unclean end costs it its place only where records are acknowledged from memory
(:mod:`ottla.controller.elections`).

A broker that votes in the metadata quorum has its votes in that directory too. The first
registration *admits* the directory; a voter that comes with another is refused, for it may have
voted in the present term and not know it. :func:`~ottla.controller.cluster.readmit_voter` is the
way back.

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
from dataclasses import replace
from typing import Final

from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.elections import (
    after_begin_shutdown,
    after_fencing,
    after_loss,
    after_unclean_restart,
    after_unfencing,
    available_brokers,
)
from ottla.controller.partition_steps import partition_steps
from ottla.controller.requests import (
    BeginShutdown,
    FenceBroker,
    RegisterBroker,
    SetDraining,
    UnfenceBroker,
    UnregisterBroker,
)
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RuleBook, TopicRules
from ottla.model.errors import (
    BrokerIdNotRegisteredError,
    InconsistentClusterIdError,
    InconsistentVoterSetError,
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
from ottla.v1.metadata_record_pb2 import MetadataRecord

INCARNATION_ID_BYTES: Final = 16
DIRECTORY_ID_BYTES: Final = 16
BROKER_ID_MAX: Final = 2**31 - 1
PORT_MAX: Final = 65_535


def register_broker(
    state: MetadataState, request: RegisterBroker, *, rules: RuleBook
) -> Decision[BrokerEpoch]:
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
        fenced=True,
        directory_id=request.directory_id,
    )
    if known is not None:
        broker = replace(broker, draining=known.draining)
    if known is not None and same_life:
        broker = replace(broker, fenced=known.fenced, shutting_down=known.shutting_down)
    last: list[MetadataRecord] = []
    if broker != known:
        last.append(records.broker_registered(broker, clean_shutdown=request.clean_shutdown))
    if request.voter and request.broker_id not in state.image.voters:
        last.append(records.voter_admitted(request.broker_id, request.directory_id))
    steps: list[Step] = []
    if not same_life:
        steps.extend(_new_life_steps(state, request, rules))
    return decided(state, epoch, *steps, *([tuple(last)] if last else []))


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


def _new_life_steps(
    state: MetadataState, request: RegisterBroker, rules: RuleBook
) -> Iterator[Step]:
    broker = request.broker_id
    known = state.image.brokers.get(broker)
    # An empty id is of the first version, or of nobody yet: nothing to compare.
    new_directory = (
        known is not None
        and bool(known.directory_id and request.directory_id)
        and known.directory_id != request.directory_id
    )
    if new_directory:
        after = after_loss
    elif request.clean_shutdown:
        after = after_fencing
    else:
        after = after_unclean_restart
    available = available_brokers(state.image).without(broker)
    return partition_steps(
        state,
        rules,
        lambda partition, rules: after(partition, broker, available=available, rules=rules),
    )


def _known_broker(state: MetadataState, broker_id: BrokerId) -> BrokerImage:
    broker = state.image.brokers.get(broker_id)
    if broker is None:
        raise BrokerIdNotRegisteredError(
            f"broker {broker_id} is not registered with cluster {state.image.cluster_id}"
        )
    return broker


def _check_identity(state: MetadataState, request: RegisterBroker) -> None:
    """Check that the broker is of this cluster and, if it votes, that it has its memory."""
    image = state.image
    if image.cluster_id and request.cluster_id and request.cluster_id != image.cluster_id:
        raise InconsistentClusterIdError(
            f"broker {request.broker_id} belongs to cluster {request.cluster_id[:100]!r}, and "
            f"this is cluster {image.cluster_id!r}; check its data directory and its peers"
        )
    admitted = image.voters.get(request.broker_id)
    if request.voter and admitted not in (None, request.directory_id):
        raise InconsistentVoterSetError(
            f"voter {request.broker_id} comes with data directory {request.directory_id.hex()}, "
            f"and its votes are in {admitted.hex()}; bring that directory back or, if it is lost, "
            f"run `ottla cluster readmit-voter {request.broker_id}`"
        )


def _check_registration(state: MetadataState, request: RegisterBroker) -> None:
    _check_identity(state, request)
    known = state.image.brokers.get(request.broker_id)
    moved = (
        known is not None
        and known.incarnation_id == request.incarnation_id
        and known.directory_id != request.directory_id
    )
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
        f"directory id has {len(request.directory_id)} bytes, not {DIRECTORY_ID_BYTES}": (
            len(request.directory_id) != DIRECTORY_ID_BYTES
            and (request.voter or request.directory_id != b"")
        ),
        "directory is another than when this process registered before": moved,
        f"cluster has {BROKERS_MAX} brokers, and takes no more": (
            known is None and len(state.image.brokers) >= BROKERS_MAX
        ),
    }
    for problem, found in problems.items():
        if found:
            raise InvalidRequestError(f"a broker cannot register: its {problem}")
