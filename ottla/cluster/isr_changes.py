"""Carries to the controller what leaders propose as their in-sync sets, and brings back refusals.

Proposals gather while a request is under way; the next request has all of them (AlterPartition,
KIP-497). What comes of a proposal:

=========================  ================================================================
committed                  nothing to do: the metadata log tells the leader
the partition has changed  nothing either, for the same reason; the proposal was made on an
                           older partition epoch, or leader epoch, and the news are coming
refused                    the leader hears so, waits a little and thinks again
nobody knows               asked again, with the same content
=========================  ================================================================

When "refused" is the truth
---------------------------
The leader counts proposed members as in sync until it hears otherwise, so to say "refused" while a
copy of the proposal may still be applied would lose records. Each copy is applied only on the
partition epoch that it names, so the first one that is applied makes all others void. But a copy
that is *refused*, because a member was fenced just then, changes no epoch: an earlier copy of which
nobody knows what became, a request that timed out, could still arrive when the member is back.

So a refusal is final if no other copy is *in doubt*. If one is, the same is proposed a few times
more, for a member that is fenced is mostly on its way back. Then the proposal is *withdrawn*: the
leader's committed set, less what was to leave it, is proposed on the same epoch. The controller
gives the partition a new epoch for it even if the set stays as it is; all copies are void then, and
the leader hears of that epoch from the metadata log as it does of every other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol, TypeVar

from ottla.cluster.partition import Partition
from ottla.controller.requests import (
    AlterPartition,
    AlterPartitions,
    Asks,
    ProposedMember,
)
from ottla.model.errors import (
    FencedLeaderEpochError,
    InvalidUpdateVersionError,
    NotControllerError,
    OttlaError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
from ottla.model.ids import BrokerEpoch, BrokerId
from ottla.model.limits import ISR_CHANGES_PER_REQUEST_MAX, ISR_RETRY_BACKOFF_MS
from ottla.replication.leader import IsrRefused, ProposeIsr

Answer = TypeVar("Answer")

REQUEST_TIMEOUT_MS: Final = 2_000
"""For one request. A new controller is there well within it, if a majority of the voters is."""

RETRY_BACKOFF_MS: Final = 50
"""After a request of which nothing is known. Who asks meanwhile is in the next one."""

REFUSALS_BEFORE_WITHDRAWAL: Final = 5
"""Of a proposal with a copy in doubt, ``ISR_RETRY_BACKOFF_MS`` apart."""

_ASK_AGAIN: Final = (NotControllerError, ThrottlingQuotaExceededError)
"""Nothing was done, and nothing was said about the proposal."""

_NEWS_ARE_COMING: Final = (
    InvalidUpdateVersionError,
    FencedLeaderEpochError,
    UnknownTopicIdError,
    UnknownTopicOrPartitionError,
)
"""The partition is not any more what the leader takes it for."""


class Controller(Protocol):
    """See :class:`~ottla.cluster.controller_client.ControllerClient`.

    It must not ask twice by itself, or else say that a copy is in doubt.
    """

    async def submit(self, request: Asks[Answer], *, timeout_ms: int) -> Answer:
        """Have the controller serve ``request``."""


@dataclass(slots=True)
class _Proposal:
    """A proposal without an outcome."""

    effect: ProposeIsr
    not_before_s: float = 0.0
    """In the time of the event loop."""
    in_doubt: bool = False
    """Whether nobody knows what became of a copy."""
    refusals: int = 0


class IsrChanges:
    """The proposals of this broker's leaders that have no outcome yet. Used on one event loop."""

    def __init__(
        self,
        controller: Controller,
        *,
        broker_id: BrokerId,
        broker_epoch: Callable[[], BrokerEpoch],
        retry_backoff_ms: int = RETRY_BACKOFF_MS,
        refused_backoff_ms: int = ISR_RETRY_BACKOFF_MS,
    ) -> None:
        """Ask ``controller``, in the name of the broker with the present ``broker_epoch``."""
        self._controller = controller
        self._broker_id = broker_id
        self._broker_epoch = broker_epoch
        self._retry_backoff_ms = retry_backoff_ms
        self._refused_backoff_ms = refused_backoff_ms
        self._loop = asyncio.get_running_loop()
        self._proposals: dict[Partition, _Proposal] = {}
        self._woken = asyncio.Event()

    def __repr__(self) -> str:
        return f"<IsrChanges {len(self._proposals)} without an outcome>"

    def propose(self, partition: Partition, effect: ProposeIsr) -> None:
        """Ask for another in-sync set until that has an outcome; does not wait."""
        # A leader has one proposal at a time: the former has been settled, or was a former reign's.
        self._proposals[partition] = _Proposal(effect)
        self._woken.set()

    async def run(self) -> None:
        """Carry proposals, one request at a time, until cancelled."""
        while True:
            self._woken.clear()
            asked = self._due()
            if asked:
                await self._ask(asked)
            else:
                await self._wait()

    # --- What to ask ---

    def _due(self) -> dict[Partition, _Proposal]:
        """Forget what is settled, and return what is to be asked now."""
        now_s = self._loop.time()
        for partition, proposal in list(self._proposals.items()):
            if not _is_open(partition, proposal.effect):
                del self._proposals[partition]
        due = (item for item in self._proposals.items() if item[1].not_before_s <= now_s)
        return dict(islice(due, ISR_CHANGES_PER_REQUEST_MAX))

    async def _wait(self) -> None:
        first_s = min((p.not_before_s for p in self._proposals.values()), default=None)
        try:
            async with asyncio.timeout_at(first_s):
                await self._woken.wait()
        except TimeoutError:
            pass

    async def _ask(self, asked: Mapping[Partition, _Proposal]) -> None:
        request = AlterPartitions(
            broker_id=self._broker_id,
            broker_epoch=self._broker_epoch(),
            partitions=tuple(_as_request(*item) for item in asked.items()),
        )
        try:
            results = await self._controller.submit(request, timeout_ms=REQUEST_TIMEOUT_MS)
        except OttlaError as error:
            for partition, proposal in asked.items():
                self._answered(partition, proposal, error)
            return
        for (partition, proposal), result in zip(asked.items(), results, strict=True):
            self._answered(partition, proposal, result.error)

    # --- What came of it ---

    def _answered(
        self, partition: Partition, proposal: _Proposal, error: OttlaError | None
    ) -> None:
        if self._proposals.get(partition) is not proposal:
            return  # The leader proposes something else by now.
        if not _is_open(partition, proposal.effect):
            del self._proposals[partition]
        elif isinstance(error, RequestTimedOutError):
            proposal.in_doubt = True
            self._again(proposal, self._retry_backoff_ms)
        elif isinstance(error, _ASK_AGAIN):
            self._again(proposal, self._retry_backoff_ms)
        elif error is None or isinstance(error, _NEWS_ARE_COMING):
            # They have not come yet. Should they never, the next answer says more.
            self._again(proposal, self._refused_backoff_ms)
        elif proposal.in_doubt:
            proposal.refusals += 1
            self._again(proposal, self._refused_backoff_ms)
        else:
            del self._proposals[partition]
            partition.step_leader(IsrRefused(proposal.effect.number))

    def _again(self, proposal: _Proposal, delay_ms: int) -> None:
        proposal.not_before_s = self._loop.time() + delay_ms / 1000


def _is_open(partition: Partition, effect: ProposeIsr) -> bool:
    """Whether the leader still waits for this proposal."""
    if not partition.is_leader:
        return False
    leader = partition.leader
    return (
        leader.leader_epoch == effect.leader_epoch
        and leader.partition_epoch == effect.partition_epoch
    )


def _as_request(partition: Partition, proposal: _Proposal) -> AlterPartition:
    """Say what is proposed, or withdraw it."""
    effect = proposal.effect
    members = effect.members
    if proposal.in_doubt and proposal.refusals >= REFUSALS_BEFORE_WITHDRAWAL:
        committed = partition.leader.isr
        members = tuple(member for member in members if member.broker_id in committed)
    return AlterPartition(
        topic_id=partition.topic_id,
        partition=partition.topic_partition.partition,
        leader_epoch=effect.leader_epoch,
        partition_epoch=effect.partition_epoch,
        isr=tuple(ProposedMember(*member) for member in members),
    )
