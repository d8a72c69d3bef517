"""Asks the controller, wherever it is.

A broker knows from its metadata quorum who leads it, and the leader is the controller. If that is
this broker the request goes to its :class:`~ottla.cluster.controller_driver.ControllerDriver`, else
over the network to the same class of another broker. Controllers come and go meanwhile::

    who leads? ──nobody──► wait until somebody does
        │
        ▼
    ask it ──served──────────────────► wait until this broker has heard of it, too; done
        ├──refused, with a reason────► the reason is the caller's
        ├──certainly not done────────► ask whom it named, or wait a moment, and begin again
        └──nobody knows──────────────► begin again if twice is as good as once, else say so

* *Certainly not done*: no connection, or ``NOT_CONTROLLER``. Anything may be asked again then.
* *Nobody knows*: the connection broke, or the controller was deposed while it was at it, or it
  hangs. Only the requests of ``REPEATABLE`` are asked again; for the others the caller is told
  ``REQUEST_TIMED_OUT`` and has to look what became of it.

Everything ends by the caller's deadline. If nobody controlled the cluster until then the error
says who is missing: with two of three voters gone a change is refused, in time, and with a reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from typing import Final, Protocol, TypeVar, cast

from ottla.cluster.controller_answers import decode_answer, decode_refusal
from ottla.cluster.controller_codec import encode_request
from ottla.cluster.controller_driver import Served
from ottla.cluster.deadline import Deadline
from ottla.cluster.metadata_cache import MetadataCache
from ottla.config.addresses import Address
from ottla.controller.raft.consensus import Role, RoleChanged
from ottla.controller.requests import (
    AllocateProducerIds,
    Asks,
    BeginShutdown,
    ElectLeaders,
    EstablishCluster,
    FenceBroker,
    ReadmitVoter,
    RegisterBroker,
    Request,
    SetDraining,
    SetFeatureLevel,
    UnfenceBroker,
)
from ottla.model.errors import (
    BrokerNotAvailableError,
    NotControllerError,
    OttlaError,
    RequestTimedOutError,
)
from ottla.model.ids import BrokerId, MetadataOffset
from ottla.v1.controller_pb2 import ControllerRequest, ControllerResponse

Answer = TypeVar("Answer")
Result = TypeVar("Result")

REPEATABLE: Final[frozenset[type]] = frozenset(
    {
        RegisterBroker,  # the same incarnation gets the epoch it has
        FenceBroker,
        UnfenceBroker,
        BeginShutdown,
        AllocateProducerIds,  # a block that nobody heard of is never given away
        ElectLeaders,
        SetDraining,
        EstablishCluster,
        ReadmitVoter,
        SetFeatureLevel,
    }
)
"""Requests that do no more when they are served twice than when they are served once, and whose
answer means the same both times. What a leader proposes for its partitions is not among them: while
one copy is under way, that another one was refused is not the end of it."""

RETRY_PAUSE_MS: Final = 50
"""Until the controller is asked again that was none yet, or not reached. Who hears meanwhile that
another one was elected goes there at once."""

DEPOSED_PATIENCE_MS: Final = 1_000
"""For the answer of a controller once another one is known: one that lives says within moments that
it was deposed, one that hangs says nothing."""

REDIRECTIONS_MAX: Final = 3
"""Followed without a pause. Brokers that each name another one are in the middle of an election."""

_ANSWER_MARGIN_MS: Final = 100
"""The far controller gives up this much earlier, so that what it has to say arrives in time."""


class LocalController(Protocol):
    """See :class:`~ottla.cluster.controller_driver.ControllerDriver`."""

    async def serve(self, request: Asks[Answer], *, timeout_ms: int) -> Served[Answer]:
        """Serve the request if this broker is the controller."""


class FarControllers(Protocol):
    """The controllers of other brokers; each may or may not be the cluster's."""

    async def connect(self, address: Address) -> None:
        """Wait until there is a connection; :exc:`BrokerNotAvailableError` if it is refused."""

    async def submit(
        self, address: Address, message: ControllerRequest, *, timeout_ms: int
    ) -> ControllerResponse:
        """Ask, and wait for the answer; :exc:`RequestTimedOutError` if there is none.

        It may have been served then. :exc:`BrokerNotAvailableError`: certainly not.
        """


class _NotServedError(Exception):
    """It is certain that nothing was done, nor will be."""

    def __init__(self, reason: OttlaError, ask_instead: BrokerId | None = None) -> None:
        super().__init__(str(reason))
        self.ask_instead = ask_instead


class ControllerClient:
    """Asks the controller on behalf of this broker. Used on one event loop."""

    def __init__(
        self,
        *,
        broker_id: BrokerId,
        local: LocalController,
        far: FarControllers,
        metadata: MetadataCache,
        voters: Mapping[BrokerId, Address],
        present: Callable[[], Collection[BrokerId]],
    ) -> None:
        """Wire it; ``voters`` is empty if this broker is alone, and is itself the only one.

        ``present`` returns the voters with which this broker has a connection, itself left out.
        """
        self._broker_id = broker_id
        self._local = local
        self._far = far
        self._metadata = metadata
        self._voters = voters
        self._present = present
        self._role = RoleChanged(Role.FOLLOWER, 0, None)
        self._moved = asyncio.Event()

    def __repr__(self) -> str:
        return f"<ControllerClient of broker {self._broker_id}: controller {self._role.leader}>"

    @property
    def controller_id(self) -> BrokerId | None:
        """Who leads the metadata quorum, as far as this broker knows; ``None``: nobody."""
        return self._role.leader

    def role_changed(self, change: RoleChanged) -> None:
        """Hear of the node's role in the quorum, after the local controller has."""
        self._role = change
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def wait_moved(self, *, timeout_ms: int) -> None:
        """Wait until the role of this node or its idea of the leader changes, or the time is up."""
        await _wait(self._moved, timeout_ms)

    def address_of(self, broker_id: BrokerId) -> Address | None:
        """Return where a controller is asked; ``None`` if neither voters nor metadata tell."""
        if broker_id in self._voters:
            return self._voters[broker_id]
        broker = self._metadata.image.brokers.get(broker_id)
        return None if broker is None else Address(broker.host, broker.grpc_port)

    async def submit(self, request: Asks[Answer], *, timeout_ms: int) -> Answer:
        """Have the controller serve ``request``; return its answer.

        By then the change is committed, and carried out by this broker: it is in the metadata
        cache. May wait as long as ``timeout_ms``, and does if there is no controller.

        Raises:
            NotControllerError: nobody was the controller in time; nothing was done.
            ThrottlingQuotaExceededError: the controller has too much to do; nothing was done.
            RequestTimedOutError: there was no answer in time; it may still be done.
            OttlaError: the request was refused as a whole; its class lists why.
        """
        deadline = Deadline(timeout_ms)
        served = await self.serve(request, timeout_ms=timeout_ms)
        await self._metadata.wait_for(
            lambda image: image.metadata_offset >= served.metadata_offset,
            timeout_ms=deadline.left_ms,
            what="the change was made; hearing of it here",
        )
        return served.answer

    async def serve(self, request: Asks[Answer], *, timeout_ms: int) -> Served[Answer]:
        """Have the controller serve ``request``; return its answer once it is committed.

        As :meth:`submit`, but this broker may not have heard of it yet.
        """
        deadline = Deadline(timeout_ms)
        ask_next: BrokerId | None = None
        redirections = 0
        problem = ""
        in_doubt = False
        while deadline.left_ms > 0:
            moved = self._moved
            asked = self._role.leader if ask_next is None else ask_next
            ask_next, problem_before = None, problem
            if asked is None:
                problem = ""
                await _wait(moved, deadline.left_ms)
                continue
            try:
                return await self._ask(asked, request, deadline)
            except _NotServedError as error:
                problem = str(error)
                if error.ask_instead not in {None, asked} and redirections < REDIRECTIONS_MAX:
                    ask_next = error.ask_instead
                    redirections += 1
                    continue
            except RequestTimedOutError as error:
                if type(request) not in REPEATABLE:
                    missing = self._missing()
                    raise RequestTimedOutError(
                        f"{error}; {missing}" if missing else str(error)
                    ) from error
                in_doubt, problem = True, problem_before or str(error)
            redirections = 0
            await _wait(moved, min(RETRY_PAUSE_MS, deadline.left_ms))
        raise self._out_of_time(problem, timeout_ms, in_doubt=in_doubt)

    def _out_of_time(self, problem: str, timeout_ms: int, *, in_doubt: bool) -> OttlaError:
        why = f"{self._why_none()} (waited {timeout_ms} ms" + (f"; {problem})" if problem else ")")
        if in_doubt:
            return RequestTimedOutError(f"{why}; the change may still be made")
        return NotControllerError(f"{why}; nothing was changed, try again")

    def _why_none(self) -> str:
        """Say what is missing for there to be a controller that answers."""
        leader, missing = self._role.leader, self._missing()
        if leader is not None:
            who = f"no answer from broker {leader}, the controller"
        elif 2 * len(self._missing_voters()) < len(self._voters):
            who = f"no controller yet, voters {_listed(self._voters)} are electing one"
        else:
            who = "no controller"
        return f"{who}: {missing}" if missing else who

    def _missing(self) -> str:
        """Say which voters this broker has no connection with; empty if none is missing."""
        missing = self._missing_voters()
        if not missing:
            return ""
        are = "is" if len(missing) == 1 else "are"
        return (
            f"{len(missing)} of {len(self._voters)} voters ({_listed(missing)}) {are} not "
            f"reachable from broker {self._broker_id}"
        )

    def _missing_voters(self) -> Collection[BrokerId]:
        return self._voters.keys() - set(self._present()) - {self._broker_id}

    # --- Asking one ---

    async def _ask(
        self, asked: BrokerId, request: Asks[Answer], deadline: Deadline
    ) -> Served[Answer]:
        if asked == self._broker_id:
            try:
                return await self._local.serve(request, timeout_ms=deadline.left_ms)
            except NotControllerError as error:
                raise _NotServedError(error) from error
        address = self.address_of(asked)
        if address is None:
            raise _NotServedError(
                NotControllerError(f"broker {asked} leads, and where it is nobody has said yet")
            )
        return await self._ask_far(asked, address, request, deadline)

    async def _ask_far(
        self, asked: BrokerId, address: Address, request: Asks[Answer], deadline: Deadline
    ) -> Served[Answer]:
        what = f"broker {asked} at {address}"
        try:
            await self._unless_deposed(asked, self._far.connect(address), deadline, patience_ms=0)
        except (BrokerNotAvailableError, RequestTimedOutError) as error:
            raise _NotServedError(NotControllerError(f"{what} is not reached: {error}")) from error
        left_ms = deadline.left_ms
        message = encode_request(
            cast("Request", request),
            sender=self._broker_id,
            timeout_ms=max(1, left_ms - _ANSWER_MARGIN_MS),
        )
        try:
            response = await self._unless_deposed(
                asked,
                self._far.submit(address, message, timeout_ms=left_ms),
                deadline,
                patience_ms=0 if type(request) in REPEATABLE else DEPOSED_PATIENCE_MS,
            )
        except BrokerNotAvailableError as error:
            raise _NotServedError(error) from error
        refusal = decode_refusal(response)
        if refusal is None:
            answer = decode_answer(request, response)
            return Served(answer, MetadataOffset(response.metadata_offset))
        reason, ask_instead = refusal
        if isinstance(reason, NotControllerError | BrokerNotAvailableError):
            raise _NotServedError(reason, ask_instead)
        raise reason

    async def _unless_deposed(
        self,
        asked: BrokerId,
        asking: Coroutine[object, object, Result],
        deadline: Deadline,
        *,
        patience_ms: int,
    ) -> Result:
        """Wait for what was asked, but not for somebody who is not the controller any more.

        Raises :exc:`RequestTimedOutError` then, or when the time is up.
        """
        call = asyncio.ensure_future(asking)
        deposed = asyncio.ensure_future(self._wait_deposed(asked))
        try:
            await asyncio.wait(
                {call, deposed},
                timeout=deadline.left_ms / 1000,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not call.done() and patience_ms:
                patience_ms = min(patience_ms, deadline.left_ms)
                await asyncio.wait({call}, timeout=patience_ms / 1000)
            if call.done():
                return call.result()
        finally:
            deposed.cancel()
            call.cancel()
        leader = self._role.leader
        since = "" if leader in {None, asked} else f", and broker {leader} leads since"
        raise RequestTimedOutError(
            f"broker {asked} has not answered{since}; the change may still be made"
        )

    async def _wait_deposed(self, asked: BrokerId) -> None:
        while True:
            await self._moved.wait()
            if self._role.leader not in {None, asked}:
                return


async def _wait(event: asyncio.Event, timeout_ms: int) -> None:
    """Wait for the event, or until the time is up."""
    try:
        async with asyncio.timeout(timeout_ms / 1000):
            await event.wait()
    except TimeoutError:
        pass


def _listed(brokers: Collection[BrokerId]) -> str:
    return ", ".join(map(str, sorted(brokers)))
