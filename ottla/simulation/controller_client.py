"""How a simulated broker asks whoever is controller, and proposes in-sync sets.

A request goes to the node that this broker's engine believes to lead. Where nothing was done, or
the request may safely be made twice, it is made again until somebody answers.

An in-sync set is proposed until its outcome is *certain*. An answer that says "refused" is not
enough while an earlier copy of the same proposal may still be under way: that copy could yet be
applied, and the leader would have stopped to count a member that the controller then has. So it is
*withdrawn*: the leader proposes the set as it is, which raises the partition epoch, and what is
still under way comes to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ottla.controller.requests import (
    AlterPartition,
    AlterPartitions,
    PartitionResult,
    ProposedMember,
    Request,
)
from ottla.model.errors import (
    NotControllerError,
    OttlaError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import BrokerEpoch, BrokerId, TopicId
from ottla.replication.leader import IsrRefused, ProposeIsr
from ottla.simulation.controller_shell import ControllerShell, Result
from ottla.simulation.conversation import AskController, Served
from ottla.simulation.network import Network
from ottla.simulation.process import Process
from ottla.simulation.replica import Replica

CALL_TIMEOUT_MS: Final = 600
RETRY_MIN_MS: Final = 20
RETRY_MAX_MS: Final = 100

_AGAIN: Final = (NotControllerError, RequestTimedOutError, ThrottlingQuotaExceededError)


class ControllerClient:
    """Asks the controller on behalf of one broker."""

    def __init__(
        self,
        process: Process,
        network: Network,
        shell: ControllerShell,
        leader: Callable[[], BrokerId | None],
    ) -> None:
        """Ask ``shell`` if this broker's node leads, else the node that does."""
        self._process = process
        self._network = network
        self._shell = shell
        self._leader = leader

    def submit(self, request: Request, done: Callable[[Result], None]) -> None:
        """Ask until there is an answer that is final. Only for what may be done twice."""

        def answered(result: Result) -> None:
            if isinstance(result, _AGAIN):
                delay_ms = self._process.world.between(RETRY_MIN_MS, RETRY_MAX_MS)
                self._process.after(delay_ms, "ask again", lambda: self.submit(request, done))
            else:
                done(result)

        self.ask_once(request, answered)

    def ask_once(self, request: Request, done: Callable[[Result], None]) -> None:
        """Ask once. ``RequestTimedOutError``: it may be done, now or later."""
        leader = self._leader()
        if leader is None:
            done(NotControllerError("nobody is known to be the controller"))
        elif leader == self._process.number:
            self._shell.submit(request, done)
        else:

            def replied(answer: object | None) -> None:
                if answer is None:
                    done(RequestTimedOutError("no answer"))
                else:
                    assert isinstance(answer, Served | OttlaError)
                    done(answer)

            self._network.call(
                self._process,
                leader,
                AskController(request),
                replied=replied,
                timeout_ms=CALL_TIMEOUT_MS,
            )


@dataclass(slots=True)
class _Proposal:
    """A proposal without an outcome, and how many copies of it nobody knows the fate of."""

    effect: ProposeIsr
    members: tuple[ProposedMember, ...]
    copies_in_doubt: int = 0


class IsrProposals:
    """Carries the in-sync sets that this broker's leaders propose to the controller."""

    def __init__(
        self,
        process: Process,
        client: ControllerClient,
        *,
        broker_epoch: Callable[[], BrokerEpoch],
        topic_id: Callable[[Replica], TopicId | None],
    ) -> None:
        """Propose by ``client``."""
        self._process = process
        self._client = client
        self._broker_epoch = broker_epoch
        self._topic_id = topic_id

    def propose(self, replica: Replica, effect: ProposeIsr) -> None:
        """Propose until the metadata log or a certain refusal says how it ended."""
        members = tuple(ProposedMember(*member) for member in effect.members)
        self._ask(replica, _Proposal(effect, members))

    def _ask(self, replica: Replica, proposal: _Proposal) -> None:
        effect = proposal.effect
        topic_id = self._topic_id(replica)
        if topic_id is None or not _is_open(replica, effect):
            return
        request = AlterPartitions(
            broker_id=BrokerId(self._process.number),
            broker_epoch=self._broker_epoch(),
            partitions=(
                AlterPartition(
                    topic_id=topic_id,
                    partition=replica.topic_partition.partition,
                    leader_epoch=effect.leader_epoch,
                    partition_epoch=effect.partition_epoch,
                    isr=proposal.members,
                ),
            ),
        )
        self._client.ask_once(request, lambda result: self._answered(replica, proposal, result))

    def _answered(self, replica: Replica, proposal: _Proposal, result: Result) -> None:
        if not _is_open(replica, proposal.effect):
            return
        error: OttlaError | None
        if isinstance(result, Served):
            response = result.response
            assert isinstance(response, tuple)
            (partition,) = response
            assert isinstance(partition, PartitionResult)
            error = partition.error
        else:
            error = result
        if isinstance(error, RequestTimedOutError):
            proposal.copies_in_doubt += 1
        refused = error is not None and not isinstance(error, _AGAIN)
        if refused:
            self._process.note(f"is refused: {error}")
        if refused and not proposal.copies_in_doubt:
            replica.step_leader(IsrRefused(proposal.effect.number))
        elif error is not None:
            if refused:
                proposal.members = _present_members(replica)
            delay_ms = self._process.world.between(RETRY_MIN_MS, RETRY_MAX_MS)
            self._process.after(delay_ms, "propose again", lambda: self._ask(replica, proposal))


def _present_members(replica: Replica) -> tuple[ProposedMember, ...]:
    """Return the in-sync set as it is; nobody in it is looked at again."""
    assert replica.image is not None
    return tuple(
        ProposedMember(broker, BrokerEpoch(-1)) for broker in replica.image.in_sync_replicas
    )


def _is_open(replica: Replica, effect: ProposeIsr) -> bool:
    """Whether the leader still waits for this proposal."""
    leader = replica.leader
    image = replica.image
    return (
        leader is not None
        and image is not None
        and leader.leader_epoch == effect.leader_epoch
        and image.partition_epoch == effect.partition_epoch
    )
