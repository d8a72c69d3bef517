"""Requests in, decisions out; nothing changes here.

How a node that leads the Raft quorum uses this:

1. It proposes :func:`~ottla.controller.records.encode_election` with its term, and waits until
   that is applied here. Only then it decides: before, it may not have seen everything that is
   committed.
2. For a request it calls :meth:`Controller.decide`, proposes the entries of the decision, and
   waits for their answers.
3. ``APPLIED``: it gives the decision's response. ``CONFLICT``: back to 2, for the state has
   changed since. ``NOT_CONTROLLER``, or no outcome: the caller is told so, and asks whoever is
   controller now. An entry whose outcome is unknown may be proposed again as it is.

Deciding for one request at a time, in order of arrival, avoids conflicts. Nothing else depends on
it; :mod:`ottla.controller.state_machine` says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, assert_never, cast

from ottla.controller.brokers import (
    begin_shutdown,
    fence_broker,
    set_draining,
    unfence_broker,
    unregister_broker,
)
from ottla.controller.cluster import establish_cluster, readmit_voter
from ottla.controller.configs import alter_broker_configs, alter_topic_configs
from ottla.controller.decisions import Decision
from ottla.controller.features import set_feature_level
from ottla.controller.in_sync_sets import alter_partitions
from ottla.controller.leaders import elect_leaders
from ottla.controller.producer_ids import allocate_producer_ids
from ottla.controller.quotas import alter_client_quotas
from ottla.controller.reassignments import reassign
from ottla.controller.registration import register_broker
from ottla.controller.requests import (
    AllocateProducerIds,
    AlterBrokerConfigs,
    AlterClientQuotas,
    AlterPartitions,
    AlterTopicConfigs,
    Asks,
    BeginShutdown,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    ElectLeaders,
    EstablishCluster,
    FenceBroker,
    ReadmitVoter,
    Reassign,
    RegisterBroker,
    Request,
    SetDraining,
    SetFeatureLevel,
    UnfenceBroker,
    UnregisterBroker,
)
from ottla.controller.state import MetadataState
from ottla.controller.topic_rules import RuleBook
from ottla.controller.topics import (
    TopicDefaults,
    create_partitions,
    create_topics,
    delete_topics,
)
from ottla.model.ids import TopicId

Answer = TypeVar("Answer")


class StateSource(Protocol):
    """Where the present state is; the state machine is one."""

    @property
    def state(self) -> MetadataState:
        """The state after the last applied entry."""


class Controller:
    """Decides on requests by the present state of the metadata."""

    def __init__(
        self,
        machine: StateSource,
        *,
        new_topic_id: Callable[[], TopicId],
        defaults: TopicDefaults,
    ) -> None:
        """Decide on the state of ``machine``; ``new_topic_id`` makes an id never used before."""
        self._machine = machine
        self._new_topic_id = new_topic_id
        self._defaults = defaults

    def __repr__(self) -> str:
        return f"<Controller on {self._machine.state!r}>"

    # Nothing that can be asked now depends on the time; every state machine is asked like this.
    def decide(self, request: Asks[Answer], now_ms: int) -> Decision[Answer]:  # noqa: ARG002
        """Return what the request leads to in the present state. Reads, and changes nothing.

        Raises an :exc:`~ottla.model.errors.OttlaError` if the request as a whole is refused; the
        request's class lists which. One that concerns 10,000 partitions takes some 100 ms.
        """
        state = self._machine.state
        rules = RuleBook(state.image, self._defaults.broker_configs)
        decision = self._decide(state, rules, cast("Request", request))
        # What a kind of request is answered with is said where it is declared.
        return cast("Decision[Answer]", decision)

    def _decide(  # noqa: C901, PLR0911, PLR0912 - one case a kind of request
        self, state: MetadataState, rules: RuleBook, request: Request
    ) -> Decision[object]:
        match request:
            case CreateTopics():
                return create_topics(
                    state, request, defaults=self._defaults, new_topic_id=self._new_topic_id
                )
            case DeleteTopics():
                return delete_topics(state, request)
            case CreatePartitions():
                return create_partitions(state, request)
            case AlterTopicConfigs():
                return alter_topic_configs(state, request, rules=rules)
            case RegisterBroker():
                return register_broker(state, request, rules=rules)
            case FenceBroker():
                return fence_broker(state, request, rules=rules)
            case UnfenceBroker():
                return unfence_broker(state, request, rules=rules)
            case BeginShutdown():
                return begin_shutdown(state, request, rules=rules)
            case SetDraining():
                return set_draining(state, request)
            case UnregisterBroker():
                return unregister_broker(state, request)
            case AllocateProducerIds():
                return allocate_producer_ids(state, request)
            case AlterPartitions():
                return alter_partitions(state, request, rules=rules)
            case ElectLeaders():
                return elect_leaders(state, request, rules=rules)
            case Reassign():
                return reassign(state, request, rules=rules)
            case EstablishCluster():
                return establish_cluster(state, request)
            case ReadmitVoter():
                return readmit_voter(state, request)
            case AlterBrokerConfigs():
                return alter_broker_configs(state, request, rules=rules)
            case AlterClientQuotas():
                return alter_client_quotas(state, request)
            case SetFeatureLevel():
                return set_feature_level(state, request)
        assert_never(request)
