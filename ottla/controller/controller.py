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
from typing import Protocol, assert_never, overload

from ottla.controller.brokers import fence_broker, register_broker, unfence_broker
from ottla.controller.configs import alter_topic_configs
from ottla.controller.decisions import Decision
from ottla.controller.features import set_feature_level
from ottla.controller.producer_ids import allocate_producer_ids
from ottla.controller.requests import (
    AllocateProducerIds,
    AlterTopicConfigs,
    CreatedTopic,
    CreatePartitions,
    CreateTopics,
    DeleteTopics,
    FenceBroker,
    ProducerIdBlock,
    RegisterBroker,
    Request,
    SetFeatureLevel,
    TopicResult,
    UnfenceBroker,
)
from ottla.controller.state import MetadataState
from ottla.controller.topics import (
    TopicDefaults,
    create_partitions,
    create_topics,
    delete_topics,
)
from ottla.model.ids import BrokerEpoch, TopicId


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

    @overload
    def decide(self, request: CreateTopics, now_ms: int) -> Decision[tuple[CreatedTopic, ...]]: ...
    @overload
    def decide(
        self, request: DeleteTopics | CreatePartitions | AlterTopicConfigs, now_ms: int
    ) -> Decision[tuple[TopicResult, ...]]: ...
    @overload
    def decide(self, request: RegisterBroker, now_ms: int) -> Decision[BrokerEpoch]: ...
    @overload
    def decide(self, request: AllocateProducerIds, now_ms: int) -> Decision[ProducerIdBlock]: ...
    @overload
    def decide(
        self, request: FenceBroker | UnfenceBroker | SetFeatureLevel, now_ms: int
    ) -> Decision[None]: ...

    # Nothing that can be asked now depends on the time; every state machine is asked like this.
    def decide(self, request: Request, now_ms: int) -> Decision[object]:  # noqa: ARG002
        """Return what the request leads to in the present state. Reads, and changes nothing.

        Raises an :exc:`~ottla.model.errors.OttlaError` if the request as a whole is refused; the
        request's class lists which. One that concerns 10,000 partitions takes some 100 ms.
        """
        state = self._machine.state
        decision: Decision[object]
        match request:
            case CreateTopics():
                decision = create_topics(
                    state, request, defaults=self._defaults, new_topic_id=self._new_topic_id
                )
            case DeleteTopics():
                decision = delete_topics(state, request)
            case CreatePartitions():
                decision = create_partitions(state, request)
            case AlterTopicConfigs():
                decision = alter_topic_configs(
                    state, request, broker_configs=self._defaults.broker_configs
                )
            case RegisterBroker():
                decision = register_broker(state, request)
            case FenceBroker():
                decision = fence_broker(state, request)
            case UnfenceBroker():
                decision = unfence_broker(state, request)
            case AllocateProducerIds():
                decision = allocate_producer_ids(state, request)
            case SetFeatureLevel():
                decision = set_feature_level(state, request)
            case _:
                assert_never(request)
        return decision
