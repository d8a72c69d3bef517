"""Runs the controller while this node leads the metadata quorum.

To lead is not yet to decide. A new leader may not have applied all that earlier leaders committed,
and an old one learns late that it was deposed. So:

1. On becoming leader in a term, propose ``ControllerElected`` with that term. Once it is applied
   here, and the term is still the same, everything before it is applied too: the controller is
   *active*. The first one ever gives the cluster its identity before anything else.
2. Serve one request at a time, in order of arrival but for *urgent* ones, which go first: decide on
   the present state, propose the entries of the decision one after another, each when the one
   before it is applied, give the response.
3. A decision that changes nothing is given after a barrier, so that it is not a deposed
   controller's memory.
4. An entry whose outcome was not known in time may still be on its way, and would change the state
   under the next decision. So that one is made after a barrier too: by then the entry is applied,
   or never will be.
5. An entry that is answered ``CONFLICT`` all the same was not applied: decide again, a few times.

::

    follower ──leader in term t──► taking over ──elected, applied, still in t──► active
        ▲                              │                                           │
        └────────────── any other role or term: requests are refused ◄─────────────┘

What happens to a request whose node stops leading: refused if it is certain that nothing of it
was or will be applied (``NOT_CONTROLLER``), else its outcome is unknown (``REQUEST_TIMED_OUT``).

Requests of other brokers come through :class:`~ottla.cluster.grpc.controller_servicer`, to
:meth:`ControllerDriver.serve`; those of this one through
:class:`~ottla.cluster.controller_client.ControllerClient`, which knows whether to come here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, cast
from uuid import uuid4

from ottla.cluster.metadata_cache import MetadataCache
from ottla.cluster.raft_driver import Proposed
from ottla.controller.controller import Controller
from ottla.controller.decisions import Decision
from ottla.controller.raft.consensus import Outcome, Role, RoleChanged
from ottla.controller.records import AnswerOutcome, MetadataAnswer, encode_election
from ottla.controller.requests import Asks, EstablishCluster, Request
from ottla.model.errors import (
    NotControllerError,
    OttlaError,
    RequestTimedOutError,
    RetriableError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import (
    BrokerId,
    ControllerEpoch,
    MetadataOffset,
)
from ottla.model.limits import (
    CONTROLLER_DECISIONS_MAX,
    CONTROLLER_PROPOSAL_TIMEOUT_MS,
    CONTROLLER_REQUESTS_MAX,
)
from ottla.runtime.clock import Clock
from ottla.storage.uuid_text import uuid_to_text

Answer = TypeVar("Answer")

ActiveListener = Callable[[ControllerEpoch | None], None]
"""Hears in which epoch this node is the controller now; ``None``: it is not any more."""

_TAKE_OVER_RETRY_S: Final = 0.02
"""One tick of the engine."""


class Proposer(Protocol):
    """The quorum, as the controller uses it; see :class:`~ottla.cluster.raft_driver.RaftDriver`."""

    async def propose(self, entry: bytes, *, timeout_ms: int) -> Proposed:
        """Propose an entry and wait for its outcome."""

    async def barrier(self, *, timeout_ms: int) -> Proposed:
        """Wait until everything committed before is applied here."""


class Served(NamedTuple, Generic[Answer]):
    """An answer, and where in the metadata log what it is about can be seen."""

    answer: Answer
    metadata_offset: MetadataOffset


@dataclass(slots=True)
class _Submission:
    request: Request
    served: asyncio.Future[Served[object]]
    begun: bool = False
    """From then on it is not certain that nothing was done."""


def _random_cluster_id() -> str:
    return uuid_to_text(uuid4())


class ControllerDriver:
    """The controller of this node: refuses requests unless it is the cluster's."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        quorum: Proposer,
        metadata: MetadataCache,
        controller: Controller,
        clock: Clock,
        client_id: int,
        new_cluster_id: Callable[[], str] = _random_cluster_id,
    ) -> None:
        """Wire it; ``client_id`` is random and names this process in the metadata log.

        ``metadata`` has what is applied, whether or not this broker has carried it out.

        ``new_cluster_id`` is asked once, by the first controller that a cluster has.
        """
        self._broker_id = broker_id
        self._quorum = quorum
        self._metadata = metadata
        self._controller = controller
        self._clock = clock
        self._client_id = client_id
        self._new_cluster_id = new_cluster_id
        self._listeners: list[ActiveListener] = []
        self._next_sequence = 1
        self._role = RoleChanged(Role.FOLLOWER, 0, None)
        self._active_term: int | None = None
        self._submissions: deque[_Submission] = deque()
        self._in_doubt = False
        """An entry of ours has no outcome: it may be applied at any time."""
        self._woken = asyncio.Event()
        self._became_active = asyncio.Event()

    def __repr__(self) -> str:
        state = "active" if self.is_active else "not active"
        return (
            f"<ControllerDriver {self._role.role.value} in term {self._role.term}, {state}, "
            f"{len(self._submissions)} waiting>"
        )

    @property
    def is_active(self) -> bool:
        """Whether this node is the controller, as far as it knows."""
        return self._leads and self._active_term == self._role.term

    @property
    def leader(self) -> BrokerId | None:
        """Who leads the metadata quorum, as far as this node knows; it may be this one."""
        return self._role.leader

    def subscribe(self, listener: ActiveListener) -> None:
        """Tell ``listener`` from now on when this node becomes the controller, or ceases to be."""
        self._listeners.append(listener)

    async def wait_active(self) -> None:
        """Wait until this node is the controller; for a broker that is alone in its quorum."""
        while not self.is_active:
            self._became_active.clear()
            await self._became_active.wait()

    def role_changed(self, change: RoleChanged) -> None:
        """Hear of the node's role in the quorum."""
        was_active = self.is_active
        self._role = change
        if was_active and not self.is_active:
            self._tell(None)
        if not self._leads:
            self._refuse_all()
        self._woken.set()

    async def submit(self, request: Asks[Answer], *, timeout_ms: int) -> Answer:
        """Have the controller serve ``request``; return its answer.

        By then the change is committed and applied, and in this broker's metadata. Raises what
        :meth:`serve` raises.
        """
        deadline_s = asyncio.get_running_loop().time() + timeout_ms / 1000
        served = await self.serve(request, timeout_ms=timeout_ms)
        left_s = deadline_s - asyncio.get_running_loop().time()
        await self._metadata.wait_for(
            lambda image: image.metadata_offset >= served.metadata_offset,
            timeout_ms=max(0, round(left_s * 1000)),
            what="carrying out the change here",
        )
        return served.answer

    async def serve(
        self, request: Asks[Answer], *, timeout_ms: int, urgent: bool = False
    ) -> Served[Answer]:
        """Have the controller serve ``request``; return its answer once it is committed.

        An ``urgent`` one waits only for the one that is being served. This broker may not have
        carried it out yet.

        Raises:
            NotControllerError: another node leads, or nobody; nothing was done.
            ThrottlingQuotaExceededError: too many requests are waiting; nothing was done.
            RequestTimedOutError: there was no answer in time; it may still be done.
            OttlaError: the request was refused as a whole; its class lists why.
        """
        if not self._leads:
            raise self._not_controller()
        if len(self._submissions) >= CONTROLLER_REQUESTS_MAX:
            raise ThrottlingQuotaExceededError(
                f"{CONTROLLER_REQUESTS_MAX} changes of metadata are waiting already; try again"
            )
        submission = _Submission(
            cast("Request", request), asyncio.get_running_loop().create_future()
        )
        if urgent:
            self._submissions.appendleft(submission)
        else:
            self._submissions.append(submission)
        self._woken.set()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return cast("Served[Answer]", await submission.served)
        except TimeoutError:
            doubt = "it may still be" if submission.begun else "nothing was changed"
            raise RequestTimedOutError(
                f"the change was not made within {timeout_ms} ms; {doubt}"
            ) from None

    async def run(self) -> None:
        """Take over when elected, and serve requests, until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            if self._leads and not self.is_active:
                await self._take_over(self._role.term)
            while self.is_active and self._submissions:
                submission = self._submissions.popleft()
                if not submission.served.done():  # nobody has given up on it
                    await self._serve(submission)

    # --- Taking over ---

    @property
    def _leads(self) -> bool:
        return self._role.role is Role.LEADER

    async def _take_over(self, term: int) -> None:
        entry = encode_election(
            self._broker_id,
            ControllerEpoch(term),
            client_id=self._client_id,
            sequence=self._take_sequences(1),
        )
        # An election may be proposed again as it is: the second is recognised.
        while self._leads and self._role.term == term:
            try:
                proposed = await self._quorum.propose(
                    entry, timeout_ms=CONTROLLER_PROPOSAL_TIMEOUT_MS
                )
            except RetriableError:
                await asyncio.sleep(_TAKE_OVER_RETRY_S)
                continue
            if proposed.outcome is Outcome.APPLIED:
                answer = MetadataAnswer.decode(proposed.answer)
                if answer.outcome is AnswerOutcome.APPLIED and self._role.term == term:
                    self._active_term = term
                    await self._establish_cluster()
                if self.is_active:
                    self._became_active.set()
                    self._tell(ControllerEpoch(term))
                return
            # The role change that explains this outcome is on its way to this loop.
            await asyncio.sleep(_TAKE_OVER_RETRY_S)

    async def _establish_cluster(self) -> None:
        """Give the cluster its identity if it has none; nothing else makes sense before."""
        while self.is_active and not self._metadata.image.cluster_id:
            try:
                await self._decide_and_apply(EstablishCluster(cluster_id=self._new_cluster_id()))
            except RetriableError:
                await asyncio.sleep(_TAKE_OVER_RETRY_S)
            else:
                return

    def _tell(self, epoch: ControllerEpoch | None) -> None:
        for listener in self._listeners:
            listener(epoch)

    def _refuse_all(self) -> None:
        while self._submissions:
            served = self._submissions.popleft().served
            if not served.done():
                served.set_exception(self._not_controller())

    def _not_controller(self) -> NotControllerError:
        leader = self._role.leader
        where = "nobody is at the moment" if leader is None else f"ask broker {leader}"
        return NotControllerError(f"broker {self._broker_id} is not the controller; {where}")

    # --- Serving one request ---

    async def _serve(self, submission: _Submission) -> None:
        served = submission.served
        submission.begun = True
        try:
            result = await self._decide_and_apply(submission.request)
        except OttlaError as error:
            if not served.done():
                served.set_exception(error)
            return
        if not served.done():
            served.set_result(result)

    async def _decide_and_apply(self, request: Request) -> Served[object]:
        for _ in range(CONTROLLER_DECISIONS_MAX):
            decision = await self._settled_decision(request)
            metadata_offset = await self._apply(decision)
            if metadata_offset is not None:
                return Served(decision.response, metadata_offset)
        raise ThrottlingQuotaExceededError(
            f"the metadata changed {CONTROLLER_DECISIONS_MAX} times between a decision on the "
            "request and its entry in the log; nothing was changed, try again shortly"
        )

    async def _settled_decision(self, request: Request) -> Decision[object]:
        """Decide on a state that nothing proposed earlier can change any more."""
        if self._in_doubt:
            await self._settle()
        decision = self._decide(request)
        if not decision.steps:
            await self._settle()
            decision = self._decide(request)
        return decision

    async def _settle(self) -> None:
        """Wait until everything proposed so far is applied here, or never will be."""
        _check_outcome(await self._quorum.barrier(timeout_ms=CONTROLLER_PROPOSAL_TIMEOUT_MS))
        self._in_doubt = False

    async def _apply(self, decision: Decision[object]) -> MetadataOffset | None:
        """Propose the entries, and return where what was decided can be seen.

        ``None``: the state was another. With no entries it can be seen where the log is now.
        """
        entries = decision.entries(
            client_id=self._client_id, first_sequence=self._take_sequences(len(decision.steps))
        )
        metadata_offset = self._metadata.image.metadata_offset
        # One at a time. If all were under way at once and something else were applied before the
        # first, the first would be refused, and the second found fit: its base version is the one
        # that the other entry has made.
        for number, entry in enumerate(entries):
            self._in_doubt = True
            proposed = await self._quorum.propose(entry, timeout_ms=CONTROLLER_PROPOSAL_TIMEOUT_MS)
            # If it is unknown, we do not lead: our next decision is in another term.
            self._in_doubt = False
            try:
                answer = self._checked_answer(proposed)
            except NotControllerError as error:
                if number == 0:
                    raise
                raise RequestTimedOutError(
                    f"{number} of {len(entries)} parts of the change were made, for {error}"
                ) from error
            if answer.outcome is AnswerOutcome.CONFLICT:
                assert number == 0, f"entry {number} of a decision conflicts: {answer}"
                return None
            metadata_offset = answer.metadata_offset
        return metadata_offset

    def _checked_answer(self, proposed: Proposed) -> MetadataAnswer:
        _check_outcome(proposed)
        answer = MetadataAnswer.decode(proposed.answer)
        if answer.outcome is AnswerOutcome.NOT_CONTROLLER:
            raise self._not_controller()
        return answer

    def _decide(self, request: Request) -> Decision[object]:
        return self._controller.decide(request, self._clock.wall_ms())

    def _take_sequences(self, count: int) -> int:
        first = self._next_sequence
        self._next_sequence += count
        return first


def _check_outcome(proposed: Proposed) -> None:
    if proposed.outcome is Outcome.REFUSED:
        if proposed.answer == ThrottlingQuotaExceededError.name.encode():
            raise ThrottlingQuotaExceededError(
                "the metadata quorum has more changes waiting than it may; nothing was changed, "
                "try again shortly"
            )
        raise NotControllerError("this broker stopped being the controller; nothing was changed")
    if proposed.outcome is Outcome.UNKNOWN:
        raise RequestTimedOutError(
            "this broker stopped being the controller; the change may still be made"
        )
