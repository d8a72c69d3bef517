"""Registration: a broker process has started, and says who it is and what it has.

A broker that registers is given a *broker epoch*, which tells the lives of a broker apart: what
an earlier life still has under way bears an older epoch and is refused. A process that registers
again with the incarnation id it has had -- because the first answer was lost -- gets the epoch it
has.

Whoever registers with an id takes it over, whether or not another process of this id was heard
from a moment ago. A broker that was killed is so back at once, and two processes that were given
one id show it by fencing each other, not by writing to one log: the lock on the data directory
and the epochs see to that.

What it still has
-----------------
A broker registers with the id of its data directory. Another id than before means that its
replicas are gone: it is in sync nowhere and eligible nowhere any more, before it may serve. The
same id after an unclean end costs it its place only where records are acknowledged from memory
(:mod:`ottla.controller.elections`).

A broker that votes in the metadata quorum has its votes in that directory too. The first
registration *admits* the directory; a voter that comes with another is refused, for it may have
voted in the present term and not know it. :func:`~ottla.controller.cluster.readmit_voter` is the
way back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from ottla.controller import records
from ottla.controller.decisions import Decision, Step, decided
from ottla.controller.elections import (
    after_fencing,
    after_loss,
    after_unclean_restart,
    available_brokers,
)
from ottla.controller.partition_steps import partition_steps
from ottla.controller.requests import RegisterBroker
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RuleBook
from ottla.model.errors import (
    InconsistentClusterIdError,
    InconsistentVoterSetError,
    InvalidRequestError,
)
from ottla.model.ids import BrokerEpoch
from ottla.model.image import BrokerImage, BrokerListener
from ottla.model.limits import (
    BROKER_HOST_CHARACTERS_MAX,
    BROKER_LISTENER_NAME_CHARACTERS_MAX,
    BROKER_LISTENERS_MAX,
    BROKER_RACK_CHARACTERS_MAX,
    BROKERS_MAX,
)
from ottla.v1.metadata_record_pb2 import MetadataRecord

INCARNATION_ID_BYTES: Final = 16
DIRECTORY_ID_BYTES: Final = 16
BROKER_ID_MAX: Final = 2**31 - 1
PORT_MAX: Final = 65_535
SECURITY_PROTOCOLS: Final = frozenset({"PLAINTEXT", "SSL"})


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
        listeners=request.listeners,
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
        "listeners are not as they should be": not _are_listeners(request.listeners),
        "directory is another than when this process registered before": moved,
        f"cluster has {BROKERS_MAX} brokers, and takes no more": (
            known is None and len(state.image.brokers) >= BROKERS_MAX
        ),
    }
    for problem, found in problems.items():
        if found:
            raise InvalidRequestError(f"a broker cannot register: its {problem}")


def _are_listeners(listeners: Sequence[BrokerListener]) -> bool:
    """Return whether clients could be told of them: a few, each with a name of its own."""
    return len({listener.name for listener in listeners}) == len(
        listeners
    ) <= BROKER_LISTENERS_MAX and all(
        0 < len(listener.name) <= BROKER_LISTENER_NAME_CHARACTERS_MAX
        and 0 < len(listener.host) <= BROKER_HOST_CHARACTERS_MAX
        and 0 < listener.port <= PORT_MAX
        and listener.security_protocol in SECURITY_PROTOCOLS
        for listener in listeners
    )
