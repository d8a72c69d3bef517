"""From requests to entries of the metadata log, as :mod:`ottla.cluster.controller_driver` does it.

The rules are those: an elected node takes over with an entry of its own; one request is served at
a time; a decision that changes nothing waits for a barrier; an entry is proposed when the one
before it is applied; a conflict means to decide again.

A request under way is a generator. It yields what it asks of the engine, and gets the outcome.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Final

from ottla.controller.controller import Controller
from ottla.controller.decisions import Decision
from ottla.controller.raft.consensus import Answered, Outcome, Role, RoleChanged
from ottla.controller.raft.engine import RaftEngine
from ottla.controller.records import AnswerOutcome, MetadataAnswer, encode_election
from ottla.controller.requests import Request
from ottla.model.errors import (
    NotControllerError,
    OttlaError,
    RequestTimedOutError,
    ThrottlingQuotaExceededError,
)
from ottla.model.ids import NO_METADATA, BrokerId, ControllerEpoch, MetadataOffset
from ottla.simulation.conversation import Served
from ottla.simulation.quorum import QuorumNode

DECISIONS_MAX: Final = 3

Result = Served | OttlaError
Ask = Callable[[RaftEngine, Answered], None]
Work = Generator[Ask, tuple[Outcome, bytes], None]


class ControllerShell:
    """The controller of one node: refuses requests unless it is the cluster's."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        controller: Controller,
        wall_ms: Callable[[], int],
        client_id: int,
        became_active: Callable[[], None],
    ) -> None:
        """Wire it; ``client_id`` names this process in the metadata log."""
        self._broker_id = broker_id
        self._controller = controller
        self._wall_ms = wall_ms
        self._client_id = client_id
        self._became_active = became_active
        self._quorum: QuorumNode | None = None
        self._next_sequence = 1
        self._role = RoleChanged(Role.FOLLOWER, 0, None)
        self._active_term: int | None = None
        self._submissions: deque[tuple[Request, Callable[[Result], None]]] = deque()
        self._serving = False

    @property
    def is_active(self) -> bool:
        """Whether this node is the controller, as far as it knows."""
        return self._role.role is Role.LEADER and self._active_term == self._role.term

    def connect(self, quorum: QuorumNode) -> None:
        """Propose to this node's engine."""
        self._quorum = quorum

    def role_changed(self, change: RoleChanged) -> None:
        """Hear of the node's role in the quorum."""
        self._role = change
        if change.role is Role.LEADER:
            self._run(self._take_over(change.term))
        else:
            while self._submissions:
                self._submissions.popleft()[1](self._not_controller())

    def close(self) -> None:
        """Be no controller any more: the broker ends."""
        self.role_changed(RoleChanged(Role.FOLLOWER, self._role.term, None))

    def submit(self, request: Request, done: Callable[[Result], None]) -> None:
        """Serve a request; ``done`` gets what came of it."""
        if self._role.role is not Role.LEADER:
            done(self._not_controller())
            return
        self._submissions.append((request, done))
        self._serve_next()

    # --- Work ---

    def _serve_next(self) -> None:
        if self.is_active and self._submissions and not self._serving:
            self._serving = True
            self._run(self._serve(*self._submissions.popleft()))

    def _run(self, work: Work) -> None:
        """Let a piece of work go on until it waits for the engine."""
        self._advance(work, None)

    def _advance(self, work: Work, value: tuple[Outcome, bytes] | None) -> None:
        assert self._quorum is not None
        try:
            ask = next(work) if value is None else work.send(value)
        except StopIteration:
            return
        ask(self._quorum.engine, lambda outcome, answer: self._advance(work, (outcome, answer)))
        self._quorum.wake()

    def _take_over(self, term: int) -> Work:
        entry = encode_election(
            self._broker_id,
            ControllerEpoch(term),
            client_id=self._client_id,
            sequence=self._take_sequences(1),
        )
        outcome, answer = yield lambda engine, answered: engine.propose(entry, answered)
        if outcome is Outcome.APPLIED and self._role == RoleChanged(
            Role.LEADER, term, self._broker_id
        ):
            assert MetadataAnswer.decode(answer).outcome is AnswerOutcome.APPLIED, answer
            self._active_term = term
            self._became_active()
            self._serve_next()

    def _serve(self, request: Request, done: Callable[[Result], None]) -> Work:
        try:
            served = yield from self._decide_and_apply(request)
        except OttlaError as error:
            done(error)
        else:
            done(served)
        self._serving = False
        self._serve_next()

    def _decide_and_apply(self, request: Request) -> Generator[Ask, tuple[Outcome, bytes], Served]:
        for _ in range(DECISIONS_MAX):
            decision = self._decide(request)
            if not decision.steps:
                yield from self._settle()
                decision = self._decide(request)
            metadata_offset = yield from self._apply(decision)
            if metadata_offset is not None:
                return Served(decision.response, metadata_offset)
        raise ThrottlingQuotaExceededError("the metadata changed again and again; try again")

    def _settle(self) -> Generator[Ask, tuple[Outcome, bytes], None]:
        outcome, _ = yield lambda engine, answered: engine.barrier(answered)
        _check(outcome)

    def _apply(
        self, decision: Decision[object]
    ) -> Generator[Ask, tuple[Outcome, bytes], MetadataOffset | None]:
        metadata_offset = NO_METADATA
        for entry in decision.entries(
            client_id=self._client_id, first_sequence=self._take_sequences(len(decision.steps))
        ):
            outcome, answer = yield _proposal(entry)
            _check(outcome)
            decoded = MetadataAnswer.decode(answer)
            if decoded.outcome is AnswerOutcome.NOT_CONTROLLER:
                raise self._not_controller()
            if decoded.outcome is AnswerOutcome.CONFLICT:
                return None
            metadata_offset = decoded.metadata_offset
        return metadata_offset

    def _decide(self, request: Request) -> Decision[object]:
        decide: Callable[..., Decision[object]] = self._controller.decide
        return decide(request, self._wall_ms())

    def _take_sequences(self, count: int) -> int:
        first = self._next_sequence
        self._next_sequence += count
        return first

    def _not_controller(self) -> NotControllerError:
        return NotControllerError(f"broker {self._broker_id} is not the controller")


def _proposal(entry: bytes) -> Ask:
    return lambda engine, answered: engine.propose(entry, answered)


def _check(outcome: Outcome) -> None:
    if outcome is Outcome.REFUSED:
        raise NotControllerError("this broker stopped being the controller; nothing was changed")
    if outcome is Outcome.UNKNOWN:
        raise RequestTimedOutError("this broker stopped being the controller; it may be done")
